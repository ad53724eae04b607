"""Works measured in turn, ratios within a round, and times that are kept."""

import contextlib
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from trainlab import timing
from trainlab.timing import Timings, interleaved, kept, machine


def test_a_ratio_is_the_geometric_mean_of_the_rounds():
    times = Timings({"a": np.array([2.0, 8.0, 4.0]), "b": np.array([1.0, 2.0, 2.0])}, "a desk")
    ratio = times.ratio("a", "b")
    assert ratio.mean == pytest.approx(16 ** (1 / 3))
    assert ratio.n == 3 and ratio.low < ratio.mean < ratio.high
    assert times.ratio("a", "b", 0.5).low > ratio.low
    assert times.ratio("b", "a").mean == pytest.approx(1 / ratio.mean)
    assert times.median("a") == 4.0
    assert not times.kept


@pytest.mark.parametrize("call", [lambda t: t.median("c"), lambda t: t.ratio("a", "c")])
def test_a_work_that_was_not_measured_is_named(call):
    times = Timings({"a": np.ones(2), "b": np.ones(2)}, "a desk")
    with pytest.raises(ValueError, match="a work must be one of 'a', 'b', received 'c'"):
        call(times)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only works move, and a work that takes so many seconds and notes that it was called."""
    state = {"now": 5.0, "calls": []}
    monkeypatch.setattr(time, "perf_counter", lambda: state["now"])

    def work(name, *seconds):
        def run():
            state["calls"].append(name)
            done = state["calls"].count(name) - 1
            state["now"] += seconds[min(done, len(seconds) - 1)]

        return run

    return state["calls"], work


def test_each_work_is_measured_once_a_round_after_two_calls(clock):
    calls, work = clock
    times = interleaved({"a": work("a", 9.0, 9.0, 2.0), "b": work("b", 3.0)}, rounds=4)
    assert calls[:4] == ["a", "a", "b", "b"]
    rounds = [tuple(calls[at : at + 2]) for at in range(4, 12, 2)]
    assert all(sorted(each) == ["a", "b"] for each in rounds) and len(set(rounds)) == 2
    assert len(calls) == 12
    assert times.seconds["a"].tolist() == [2.0] * 4 and times.seconds["b"].tolist() == [3.0] * 4
    assert times.machine == machine()


def test_a_short_work_is_called_several_times_in_a_row_and_averaged(clock):
    calls, work = clock
    times = interleaved({"a": work("a", 4.0, 0.25, 1.0)}, rounds=2, at_least=0.6)
    assert len(calls) == 2 + 2 * 3
    assert times.seconds["a"].tolist() == [1.0, 1.0]


def test_something_can_be_entered_around_a_work_outside_of_its_time(clock):
    calls, work = clock
    slow = work("around", 100.0)

    @contextlib.contextmanager
    def around(name):
        assert name == "a"
        slow()
        yield
        slow()

    times = interleaved({"a": work("a", 1.0)}, rounds=2, around=around)
    assert times.seconds["a"].tolist() == [1.0, 1.0]
    assert calls.count("around") == 2 * 4


@pytest.mark.parametrize(
    "resolution, own, seconds", [(1e-9, True, 1.0), (1e-2, True, 2.0), (1e-9, False, 2.0)]
)
def test_its_own_time_is_that_of_the_processor_where_the_system_tells_it(
    clock, monkeypatch, resolution, own, seconds
):
    monkeypatch.setattr(time, "get_clock_info", lambda name: SimpleNamespace(resolution=resolution))
    wall = time.perf_counter
    monkeypatch.setattr(time, "process_time", lambda: wall() / 2)
    times = interleaved({"a": clock[1]("a", 2.0)}, rounds=2, own=own)
    assert times.seconds["a"].tolist() == [seconds] * 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rounds": 1}, "rounds must be at least 2, received 1"),
        ({"rounds": 2, "at_least": 0}, "at_least must be above 0, received 0"),
    ],
)
def test_too_few_rounds_and_no_time_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        interleaved({"a": lambda: None}, **options)


def test_times_are_read_only_if_they_were_measured_with_these_settings(tmp_path):
    path, measured = tmp_path / "times.json", []

    def measure():
        measured.append(1)
        return Timings({"a": np.array([1.23456, 2.0]), "b": np.array([1.0, 1e-7])}, "a desk")

    assert not kept(path, {"sizes": (1, 2)}, measure).kept
    assert not path.exists() and len(measured) == 1
    written = kept(path, {"sizes": (1, 2)}, measure, again=True)
    assert not written.kept and len(measured) == 2
    read = kept(path, {"sizes": [1, 2]}, measure)
    assert read.kept and len(measured) == 2
    assert read.machine == "a desk"
    assert read.seconds["a"].tolist() == [1.235, 2.0] and read.seconds["b"].tolist() == [1.0, 1e-7]
    before = path.read_text("utf-8")
    assert not kept(path, {"sizes": [1, 3]}, measure).kept and len(measured) == 3
    assert path.read_text("utf-8") == before
    kept(path, {"sizes": [1, 3]}, measure, again=True)
    assert json.loads(path.read_text("utf-8"))["settings"] == {"sizes": [1, 3]}


def test_the_machine_is_described_where_nothing_is_known_of_its_processor(monkeypatch):
    files = {"/proc/cpuinfo": "nothing"}

    def read_text(path, *options):
        if path.as_posix() not in files:
            raise FileNotFoundError(path)
        return files[path.as_posix()]

    monkeypatch.setattr(timing.Path, "read_text", read_text)
    monkeypatch.setattr(timing.platform, "processor", lambda: "")
    monkeypatch.setattr(timing.platform, "machine", lambda: "x1")
    assert machine().startswith("x1 (x1), ")
    files["/proc/cpuinfo"] = "a: b\nmodel name\t: Fast One: 2\n"
    assert machine().startswith("Fast One: 2 (x1), ")
    files.clear()
    assert machine().startswith("x1 (x1), ")
    monkeypatch.setattr(timing.importlib.util, "find_spec", lambda name: None)
    assert machine().endswith(f"NumPy {np.__version__}")


def test_what_computes_the_products_is_named_and_what_shares_out_loops_is_not(monkeypatch):
    pools = [
        {"user_api": "openmp", "internal_api": "openmp", "version": "5"},
        {"user_api": "blas", "internal_api": "openblas", "version": "0.3"},
    ]
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: pools)
    assert machine().endswith(f"NumPy {np.__version__}, openblas 0.3")
