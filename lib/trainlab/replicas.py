"""What makes the runs of a training differ: their seeds and their schedules, one for each replica."""

from collections.abc import Callable
from typing import Any

import numpy as np

from trainlab import buffers, checks


def per_replica(
    replicas: int | None, seed: Any, schedule: Any
) -> tuple[int | None, list[int], list[Callable]]:
    """Return R or None, the seeds and the schedules, one for each run."""
    seeds = list(seed) if isinstance(seed, (list, tuple, range, np.ndarray)) else None
    schedules = list(schedule) if isinstance(schedule, (list, tuple)) else None
    lengths = {"replicas": replicas, "seed": seeds, "schedule": schedules}
    lengths = {
        name: len(length) if isinstance(length, list) else length
        for name, length in lengths.items()
        if length is not None
    }
    if len(set(lengths.values())) > 1:
        raise ValueError("replicas, seed and schedule must agree, received lengths " + str(lengths))
    count = next(iter(lengths.values()), None)
    if count is not None:
        count = checks.integer("replicas", count, low=1)
    runs = 1 if count is None else count
    if seeds is None:
        first = checks.integer("seed", seed, low=0)
        seeds = [first + r for r in range(runs)]
    seeds = [checks.integer("seed", value, low=0) for value in seeds]
    schedules = [schedule] * runs if schedules is None else schedules
    for given in schedules:
        if not callable(given):
            raise TypeError(f"a schedule must be callable, received {given!r}")
    return count, seeds, schedules


def initial(model: Any, seeds: list[int], replicas: int | None) -> buffers.Arrays:
    """Return the parameters that the model draws for each seed: one run's, or R of them along a leading axis."""
    runs = [model.init(np.random.default_rng([seed, 0])) for seed in seeds]
    params = runs[0]
    if replicas is not None:
        params = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
    return buffers.pack(params, replicas is not None)
