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

from trainlab import buffers, checks
from trainlab.batches import Known
from trainlab.files import read_arrays, write_arrays
from trainlab.identity import fingerprint
from trainlab.schedules import Schedule

PARTS = ("model", "loss", "optimizer")
# What may change as well, by the name of the option, and the name it is kept by.
OPTIONS = {"max_norm": "max_norm", "seed": "seeds"}
CHANGES = (*PARTS, "schedule", *OPTIONS)


def saved_files(folder: str | os.PathLike) -> list[Path]:
    """Return a folder's checkpoints, newest first; half-written ones have another name."""
    names = [name for name in os.listdir(folder) if re.fullmatch(r"step-\d+\.npz", name)]
    return [
        Path(folder, name) for name in sorted(names, key=lambda name: int(name[5:-4]), reverse=True)
    ]


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


def save(path: str | os.PathLike, training: Any) -> None:
    """Write all that a training needs to go on, in groups of arrays."""
    now, memory = training._now, dict(training._remembered())
    groups = {
        "params": now.params,
        "state": now.state,
        "history": training._history.until(now.step),
    }
    groups |= {f"callback{place}": state for place, state in enumerate(memory.pop("states"))}
    arrays = {
        f"{group}/{name}": value
        for group, values in groups.items()
        for name, value in values.items()
    }
    arrays |= {"diverged": now.diverged, "rate_scale": np.asarray(training.rate_scale)}
    about = _made_of(training) | {
        "run": training.run,
        "step": now.step,
        "data": training._data,
        "callbacks": memory,
    }
    write_arrays(path, arrays | {"about": np.array(json.dumps(about))})


def restore(path: str | os.PathLike, training: Any, changed: Iterable[str]) -> None:
    """Bring a new training to where the saved one was; refuse one that is made of other parts, but for `changed`."""
    path, about, saved = newest(path)
    _check_same(path, about, _made_of(training), changed)

    def group(name):
        return {
            key.removeprefix(f"{name}/"): value
            for key, value in saved.items()
            if key.startswith(f"{name}/")
        }

    params, state = buffers.copied("params", group("params"), training.params), group("state")
    if buffers.alike(state, training.state):
        state = buffers.copied("state", state, training.state)
    elif "optimizer" in changed:
        state = training.state
    training._history.rows = group("history")
    if "schedule" not in changed:
        _check_past(path, saved.get("history/scheduled", np.empty(0)), training.schedules)
    memory = about["callbacks"]
    training._memory = memory | {
        "states": [group(f"callback{place}") for place in range(len(memory["names"]))]
    }
    training._now = training._now._replace(
        step=about["step"],
        params=params,
        state=state,
        diverged=saved["diverged"],
        stopping=memory["stopping"],
    )
    training.run, training._data = (
        about["run"],
        None if about["data"] is None else Known(*about["data"]),
    )
    scale = saved["rate_scale"]
    training.rate_scale = float(scale) if scale.ndim == 0 else scale


def _made_of(training):
    """Return everything that must be equal for a resumed run to continue the same training."""
    return {
        **{name: part(getattr(training, name)) for name in PARTS},
        "seeds": training.seeds,
        "replicas": training.replicas,
        "batch_size": training.batch_size,
        "accumulate": training.accumulate,
        "max_norm": training.max_norm,
        "on_divergence": training.on_divergence,
    }


def newest(path: str | os.PathLike) -> tuple[str | os.PathLike, dict, dict[str, np.ndarray]]:
    """Return the path and the content of a checkpoint file, or of a folder's newest that is whole."""
    if not os.path.isdir(path):
        return (path, *read(path))
    broken = None
    for file in saved_files(path):
        try:
            return (file, *read(file))
        except ValueError as error:
            warnings.warn(f"passed over: {error}", stacklevel=4)
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


def _check_same(path: str | os.PathLike, saved: dict, own: dict, changed: Iterable[str]) -> None:
    """Refuse a checkpoint of another training; name each difference that `changed` does not allow."""
    differing = []
    option_of = {kept: option for option, kept in OPTIONS.items()}
    for name in own:
        before, now = saved.get(name), own[name]
        if option_of.get(name, name) in changed:
            continue
        if name not in PARTS or before is None:
            if before != now:
                hint = f"; changed=[{option_of[name]!r}] takes it" if name in option_of else ""
                differing.append(f"{name}: saved {before}, received {now}{hint}")
        elif before[1] is None or now[1] is None:
            differing.append(
                f"{name}: {now[0]} cannot be compared with the one that was saved; changed=[{name!r}] takes it"
            )
        elif before[1] != now[1] and before[0] != now[0]:
            differing.append(f"{name}: saved {before[0]}, received {now[0]}")
        elif before[1] != now[1]:
            differing.append(
                f"{name}: the code or the values of {now[0]} are not those that were saved; changed=[{name!r}] takes them"
            )
    if differing:
        raise ValueError(f"{path} is a checkpoint of another training; " + "; ".join(differing))


def _check_past(path: str | os.PathLike, made: np.ndarray, schedules: list) -> None:
    """Refuse schedules that would not have given the rates that were used, (T,) or (T, R), before any scale."""
    steps = np.arange(len(made))
    for used, schedule in zip(made.reshape(len(made), len(schedules)).T, schedules):
        rates = (
            schedule(steps)
            if isinstance(schedule, Schedule)
            else np.array([schedule(step) for step in steps.tolist()])
        )
        # Another processor may round a cosine differently.
        bad = np.flatnonzero(~np.isclose(rates, used, rtol=1e-12, atol=1e-12 * used.max(initial=0)))
        if len(bad):
            step = bad[0]
            raise ValueError(
                f"{path} is a checkpoint of another training; schedule: the update of step {step} had the rate "
                f"{used[step]}, {checks.describe(schedule)} says {rates[step]}; changed=['schedule'] takes it"
            )
