"""Times that a sentence can stand on: works measured in turn, on a machine that is described, and kept in a file.

A single time says little: another program may have had the processor. So works are measured in
rounds, each of them once a round, and what is compared is the ratio within a round: a busy moment
hits both. Of many rounds there is an interval, as of many seeds.
"""

import contextlib
import importlib.util
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainlab import checks
from trainlab.evidence import Interval, paired

DIGITS = 4  # of a kept time


@dataclass(frozen=True)
class Timings:
    """What was measured, and where.

    Attributes
    ----------
    seconds : dict of arrays, shape (rounds,)
        From each work to its time in every round.
    machine : str
        As :func:`machine` says.
    kept : bool
        Whether it was read from a file.

    Examples
    --------
    >>> times = Timings({"long": np.array([2.0, 4.2]), "short": np.array([1.0, 2.0])}, "a desk", kept=True)
    >>> times.median("long")
    3.1
    >>> round(times.ratio("long", "short").mean, 2)
    2.05
    """

    seconds: dict[str, np.ndarray]
    machine: str
    kept: bool = False

    def median(self, work: str) -> float:
        """Return the middle of a work's times, in seconds."""
        return float(np.median(self.seconds[self._known(work)]))

    def ratio(self, first: str, second: str, confidence: float = 0.95) -> Interval:
        """Return the time of `first` over that of `second`, the geometric mean of the rounds: below 1, `first` is faster."""
        one, other = (np.log(self.seconds[self._known(work)]) for work in (first, second))
        return paired(one, other, confidence).exp()

    def _known(self, work):
        return checks.one_of("a work", work, tuple(self.seconds))


def interleaved(
    works: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    at_least: float = 0.001,
    around: Callable[[str], Any] | None = None,
    own: bool = False,
) -> Timings:
    """Measure works in turn, each of them once a round, in an order that is drawn for every round.

    Before that each is called twice: the first call of a work is often slower.

    Parameters
    ----------
    works : dict of callables without arguments
    rounds : int, at least 2
    at_least : float, above 0
        Seconds of one measurement: a short work is called so many times in a row, and its time is
        the mean.
    around : callable, optional
        From a work's name to a context manager that is entered before the clock starts.
    own : bool
        Take only the time that the processors spend on this program, where the system tells it
        finely enough: then a busy machine does not lengthen a work that waits for nobody. The time
        of several threads is added up.

    Returns
    -------
    Timings

    Examples
    --------
    >>> times = interleaved({"short": lambda: sum(range(100)), "long": lambda: sum(range(100_000))}, rounds=5)
    >>> times.ratio("short", "long").high < 1
    True
    """
    checks.integer("rounds", rounds, low=2)
    at_least = checks.number("at_least", at_least, above=0)
    around = around or (lambda name: contextlib.nullcontext())
    fine = time.get_clock_info("process_time").resolution < at_least / 100
    clock = time.process_time if own and fine else time.perf_counter

    def measured(name, calls):
        with around(name):
            start = clock()
            for _ in range(calls):
                works[name]()
            return (clock() - start) / calls

    calls = {}
    for name in works:
        measured(name, 1)
        calls[name] = max(1, math.ceil(at_least / max(measured(name, 1), 1e-9)))
    rng, names = np.random.default_rng(0), list(works)
    seconds: dict[str, list] = {name: [] for name in names}
    for _ in range(rounds):
        for place in rng.permutation(len(names)):
            seconds[names[place]].append(measured(names[place], calls[names[place]]))
    return Timings({name: np.array(times) for name, times in seconds.items()}, machine())


def kept(
    path: str | os.PathLike,
    settings: Mapping[str, Any],
    measure: Callable[[], Timings],
    again: bool = False,
) -> Timings:
    """Return the times that a file holds, if they were measured with these settings; otherwise measure now.

    Parameters
    ----------
    path : path
        A file of JSON.
    settings : dict of what JSON can hold
        What decides which works are measured.
    measure : callable without arguments
        Returns :class:`Timings`.
    again : bool
        Measure in any case, and write the file anew. Without it nothing is written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "times.json")
    >>> measure = lambda: interleaved({"sum": lambda: sum(range(100))}, rounds=2)
    >>> kept(path, {"numbers": 100}, measure, again=True).kept
    False
    >>> kept(path, {"numbers": 100}, measure).kept, kept(path, {"numbers": 50}, measure).kept
    (True, False)
    """
    path, spelled = Path(path), json.loads(json.dumps(dict(settings)))
    if path.exists() and not again:
        found = json.loads(path.read_text("utf-8"))
        if found["settings"] == spelled:
            seconds = {name: np.array(times) for name, times in found["seconds"].items()}
            return Timings(seconds, found["machine"], kept=True)
    times = measure()
    if again:
        seconds = {
            name: [float(f"{value:.{DIGITS}g}") for value in values]
            for name, values in times.seconds.items()
        }
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(v)}" for name, v in seconds.items())
        head = "\n".join(
            f" {json.dumps(name)}: {json.dumps(value)},"
            for name, value in (("machine", times.machine), ("settings", spelled))
        )
        path.write_text(f'{{\n{head}\n "seconds": {{\n{lines}\n }}\n}}\n', "utf-8")
    return times


def machine() -> str:
    """Say what a time was measured on: the processor, its cores, the system, and what computes the products.

    >>> f"NumPy {np.__version__}" in machine()
    True
    """
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    parts = [f"{name} ({platform.machine()})", f"{os.cpu_count()} cores", platform.system()]
    parts += [f"Python {platform.python_version()}", f"NumPy {np.__version__}"]
    if importlib.util.find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_info

        for pool in threadpool_info():
            if pool["user_api"] == "blas":
                parts.append(f"{pool['internal_api']} {pool['version']}")
    return ", ".join(dict.fromkeys(parts))
