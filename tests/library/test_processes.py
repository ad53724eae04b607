"""Real processes: what they compute together, and that none of them is left, whatever happens."""

import subprocess
import sys
import tempfile
import time

import numpy as np
import psutil
import pytest

from trainlab import processes
from trainlab.processes import cluster, mpiexec

# Windows has no MPI from the packages that this book pins.
with_mpi = pytest.mark.skipif(sys.platform == "win32", reason="no MPI is pinned for Windows")

ENDLESS = """
import os
from mpi4py import MPI
everybody = MPI.COMM_WORLD.allgather(os.getpid())
if MPI.COMM_WORLD.rank == 0:
    print(*everybody, flush=True)
while True:
    MPI.COMM_WORLD.allreduce(1)
"""


def descendants():
    """All processes that this one has started, and those that they have started."""
    return set(psutil.Process().children(recursive=True))


def left(processes, seconds=20):
    """Those of `processes` that still run after so many seconds at most."""
    _, alive = psutil.wait_procs(list(processes), timeout=seconds)
    return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def awkward_folder(tmp_path, monkeypatch):
    """A folder whose name processes could trip over, to be in and to write to."""
    folder = tmp_path / "a cöpy"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@with_mpi
def test_four_processes_add_up_and_are_gone(awkward_folder, capfd):
    def sum_of_shares(numbers):  # in here, so that it travels by value
        from mpi4py import MPI

        world = MPI.COMM_WORLD
        total = np.empty_like(numbers)
        world.Allreduce(numbers * (world.rank + 1), total)
        return world.size, total

    before, numbers = descendants(), np.random.default_rng(0).normal(size=1000)
    with cluster(4) as view:
        started = descendants() - before
        found = view.apply_sync(sum_of_shares, numbers)
    assert [size for size, _ in found] == [4] * 4
    for _, total in found:
        np.testing.assert_allclose(total, 10 * numbers, rtol=1e-14)
        np.testing.assert_array_equal(total, found[0][1])
    assert len(started) > 4 and left(started) == []
    assert list(awkward_folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@with_mpi
def test_an_error_inside_stops_the_processes():
    before = descendants()
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        with cluster(2):
            started = descendants() - before
            raise ZeroDivisionError("on purpose")
    assert len(started) > 2 and left(started) == []


@with_mpi
def test_a_killed_process_ends_its_job_within_seconds():
    before = descendants()
    command = [mpiexec(), "-n", "3", sys.executable, "-c", ENDLESS]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        pids = [int(pid) for pid in job.stdout.readline().split()]
        started = descendants() - before
        assert len(pids) == 3 and set(pids) <= {process.pid for process in started}
        begin = time.monotonic()
        psutil.Process(pids[1]).kill()
        said, _ = job.communicate(timeout=60)
        assert time.monotonic() - begin < 30
        assert job.returncode != 0
        assert "BAD TERMINATION" in said and "EXIT CODE: 9" in said
        assert left(started) == []
    finally:
        job.kill()


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(processes.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ImportError, match="pip install ipyparallel mpi4py"):
        mpiexec()


@with_mpi
def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyparallel", None)
    with pytest.raises(ImportError, match="pip install ipyparallel mpi4py"):
        with cluster(1):
            pass


def test_no_process_is_refused():
    with pytest.raises(ValueError, match="n must be"):
        with cluster(0):
            pass
