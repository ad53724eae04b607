"""Several processes that know one another by MPI, started from a notebook and stopped in every case."""

import logging
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from trainlab import checks

NEEDED = "several processes need MPI: pip install ipyparallel mpi4py " + (
    "impi-rt" if sys.platform == "win32" else "mpich"
)


def mpiexec() -> str:
    """Return the path of the program that starts MPI's processes: that of this environment, or the system's.

    Raises
    ------
    ImportError
        If there is none, or if ``mpi4py`` is missing; the message says what to install.
    """
    scripts = [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    found = shutil.which("mpiexec", path=os.pathsep.join(scripts))
    try:
        version("mpi4py")  # imported by the processes, and not in this one
    except PackageNotFoundError:
        found = None
    if found is None:
        raise ImportError(NEEDED)
    return found


@contextmanager
def cluster(n: int) -> Iterator[Any]:
    """Start `n` processes on this machine, and stop them at the end of the ``with``, whatever happens in it.

    Each cluster has a folder of its own for what it writes, so any number can run beside one
    another. Nothing is printed.

    Parameters
    ----------
    n : int, at least 1
        More than there are cores work, and wait for one another a lot.

    Yields
    ------
    ipyparallel.DirectView
        ``view.apply_sync(function, *arguments)`` calls a function in every process and returns a
        list of what they return. A function takes along what it uses. In it, ``from mpi4py import
        MPI`` and ``MPI.COMM_WORLD`` are those of the process.

    Raises
    ------
    ImportError
        If ``ipyparallel``, ``mpi4py`` or an MPI is missing; the message says what to install.
    """
    checks.integer("n", n, low=1)
    command = mpiexec()
    try:
        import ipyparallel
    except ImportError:
        raise ImportError(NEEDED) from None
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        group = ipyparallel.Cluster(
            n=n,
            engines="mpi",
            profile_dir=folder,
            delay=0,
            engine_timeout=120,
            log_level=logging.CRITICAL,
            controller_args=[
                "--HeartMonitor.period=300"
            ],  # a process is registered by its second beat
        )
        group.config.MPILauncher.mpi_cmd = [command]
        client = None
        try:
            group.start_controller_sync()
            group.start_engines_sync(n)
            client = group.connect_client_sync(timeout=60)
            client.wait_for_engines(n, timeout=120, interactive=False)
            view = client[:]
            view.use_cloudpickle().get()
            yield view
        finally:
            if client is not None:
                client.close()
            group.stop_engines_sync()
            group.stop_controller_sync()
