"""Checkpoints: the files of a training, and whether one belongs to the training that goes on.

A file holds arrays, and one text, ``about``: what the training was made of. Models, losses and
optimizers are there as words for people and as a fingerprint of their code and values.
"""

import json
import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from trainlab import checks
from trainlab.files import read_arrays
from trainlab.identity import fingerprint
from trainlab.schedules import Schedule

PARTS = ("model", "loss", "optimizer")


def saved_files(folder: str | os.PathLike) -> list[Path]:
    """Return a folder's checkpoints, newest first; half-written ones have another name."""
    names = [name for name in os.listdir(folder) if re.fullmatch(r"step-\d+\.npz", name)]
    return [Path(folder, name) for name in sorted(names, key=lambda name: int(name[5:-4]), reverse=True)]


def read(path: str | os.PathLike) -> tuple[dict, dict[str, np.ndarray]]:
    """Return what a checkpoint is about, and its arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a whole checkpoint.
    """
    try:
        saved = read_arrays(path)
        about = json.loads(saved["about"].item())
        if not {"run", "step"} <= about.keys():
            raise ValueError("it does not say of which run it is")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error}") from error
    return about, saved


def newest(path: str | os.PathLike) -> tuple[str | os.PathLike, dict, dict[str, np.ndarray]]:
    """Return the path and the content of a checkpoint file, or of a folder's newest that is whole."""
    if not os.path.isdir(path):
        return (path, *read(path))
    broken = None
    for file in saved_files(path):
        try:
            return (file, *read(file))
        except ValueError as error:
            warnings.warn(f"passed over: {error}", stacklevel=3)
            broken = error
    if broken is not None:
        raise ValueError(f"no checkpoint in {path} is whole") from broken
    raise FileNotFoundError(f"no checkpoint in {path}")


def part(thing: Any) -> list:
    """Return a part of a training in words, and its fingerprint or ``None`` if it cannot have one."""
    try:
        return [checks.describe(thing), fingerprint(thing)]
    except TypeError:
        return [checks.describe(thing), None]


def check_same(path: str | os.PathLike, saved: dict, own: dict, changed: Iterable[str]) -> None:
    """Refuse a checkpoint of another training; name each difference that `changed` does not allow."""
    differing = []
    for name in own:
        before, now = saved.get(name), own[name]
        if name in changed:
            continue
        if name not in PARTS or before is None:
            if before != now:
                differing.append(f"{name}: saved {before}, received {now}")
        elif before[1] is None or now[1] is None:
            differing.append(f"{name}: {now[0]} cannot be compared with the one that was saved; changed=[{name!r}] takes it")
        elif before[1] != now[1] and before[0] != now[0]:
            differing.append(f"{name}: saved {before[0]}, received {now[0]}")
        elif before[1] != now[1]:
            differing.append(f"{name}: the code or the values of {now[0]} are not those that were saved; changed=[{name!r}] takes them")
    if differing:
        raise ValueError(f"{path} is a checkpoint of another training; " + "; ".join(differing))


def check_past(path: str | os.PathLike, made: np.ndarray, schedules: list) -> None:
    """Refuse schedules that would not have given the rates that were used, (T,) or (T, R), before any scale."""
    steps = np.arange(len(made))
    for used, schedule in zip(made.reshape(len(made), len(schedules)).T, schedules):
        rates = schedule(steps) if isinstance(schedule, Schedule) else np.array([schedule(step) for step in steps.tolist()])
        # Another processor may round a cosine differently.
        bad = np.flatnonzero(~np.isclose(rates, used, rtol=1e-12, atol=1e-12 * used.max(initial=0)))
        if len(bad):
            step = bad[0]
            raise ValueError(
                f"{path} is a checkpoint of another training; schedule: the update of step {step} had the rate "
                f"{used[step]}, {checks.describe(schedule)} says {rates[step]}; changed=['schedule'] takes it"
            )
