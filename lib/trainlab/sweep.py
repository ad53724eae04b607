"""Sweeps: many trainings, replicas inside a process, processes outside.

You write one function that trains one arm (one learning rate, say) for a list of seeds. The sweep
calls it for every arm, several at a time, and puts the results into one array.

Processes come from joblib: those of this machine by default. On a cluster, start a Dask client
and put the same call under ``with joblib.parallel_config(backend="dask"):``.
"""

import copy
import itertools
import json
import os
import re
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainlab import checks
from trainlab.files import read_arrays, write_arrays
from trainlab.identity import fingerprint
from trainlab.progress import progress_bar


def grid(**choices: Sequence) -> dict[str, dict]:
    """Return an arm for each combination of the choices: a dict from its name to its options.

    Raises
    ------
    ValueError
        If there is no choice, if a value comes twice, or if two values would give their arms one
        name, as two lambdas do: then write the dict of arms yourself, with names of your own.

    Examples
    --------
    >>> grid(rate=[0.1, 0.2], batch_size=[8])
    {'rate=0.1, batch_size=8': {'rate': 0.1, 'batch_size': 8}, 'rate=0.2, batch_size=8': {'rate': 0.2, 'batch_size': 8}}
    """
    if not choices:
        raise ValueError("a grid needs at least one choice, received none")
    arms: dict[str, dict] = {}
    for values in itertools.product(*choices.values()):
        options = dict(zip(choices, values))
        name = ", ".join(f"{key}={checks.describe(value)}" for key, value in options.items())
        if name in arms:
            for key, value in options.items():
                if not _same(arms[name][key], value):
                    raise ValueError(
                        f"a grid names its arms by their values, and two different ones of {key!r} are called "
                        f"{checks.describe(value)}: write a dict of arms instead, with names of your own"
                    )
            raise ValueError(f"a grid needs different values, received {name} twice")
        arms[name] = options
    return arms


def _same(first, second):
    try:
        return first is second or fingerprint(first) == fingerprint(second)
    except TypeError:
        return False


@dataclass(frozen=True)
class Results:
    """What a sweep measured.

    Attributes
    ----------
    arms : dict of dicts
        Each arm's name and its options, in their order.
    seeds : list of int
    values : dict of arrays, shape (A, S) or (A, S, ...)
        Each measured quantity, one row an arm, one column a seed.
    """

    arms: dict
    seeds: list
    values: dict

    def __getitem__(self, quantity: str) -> np.ndarray:
        """Return one quantity's array, shape (A, S, ...)."""
        return self.values[quantity]

    def table(self) -> list[dict]:
        """Return one row an arm and seed, a list of dicts: ``pandas.DataFrame(results.table())``.

        Raises
        ------
        ValueError
            If an option is called "arm", as is the column of the arms' names.
        """
        if named := [name for name, options in self.arms.items() if "arm" in options]:
            raise ValueError(
                f"the table's column 'arm' holds the arms' names, received an option 'arm' in arm {named[0]!r}"
            )
        return [
            {"arm": name}
            | options
            | {"seed": seed}
            | {key: rows[a, s].tolist() for key, rows in self.values.items()}
            for a, (name, options) in enumerate(self.arms.items())
            for s, seed in enumerate(self.seeds)
        ]


def sweep(
    train: Callable[..., dict],
    arms: dict[str, dict],
    *,
    seeds: Sequence[int],
    chunk: int | None = None,
    folder: str | os.PathLike | None = None,
    changed: Sequence[str] = (),
    n_jobs: int = -1,
    progress: bool = True,
) -> Results:
    """Train every arm with every seed, in parallel, and return what was measured.

    The results do not depend on the number of processes, nor on which of them finishes first; nor
    on `chunk`, if `train` uses replicas, because a replica is bit for bit the run alone.

    Parameters
    ----------
    train : callable
        ``train(seeds, **options)`` trains one arm for a list of seeds, as replicas of one
        :class:`~trainlab.trainer.Trainer`, and returns a dict from names to arrays of shape
        (len(seeds), ...). A lambda or a function of a notebook will do.
    arms : dict of dicts
        From the name of an arm to its options; see :func:`grid`.
    seeds : sequence of different ints
    chunk : int, optional
        How many seeds one call of `train` gets; all of them by default.
    folder : path, optional
        Where each finished call is kept. A sweep that was interrupted, by Ctrl-C, an error or a
        kill, goes on from there when it is started again. Results of other code or other options
        are never taken: `train` and the options are compared by their
        :func:`~trainlab.identity.fingerprint`.
    changed : sequence of str
        What need not be as it was when the folder was made, or cannot be compared: "train", or
        names of options. What is finished is then taken as it is, so you answer for it that the
        change does not matter: a faster helper, say, or a lock.
    n_jobs : int
        Processes; -1 takes one for each core. joblib shares the cores' threads among them.
    progress : bool
        Show a bar in a terminal, or wherever TRAINLAB_PROGRESS is set (needs tqdm).

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        If arms or seeds are missing or repeated, if `train` returns other shapes than asked for,
        or other shapes or kinds of numbers for one arm than for another, or if `folder` holds
        another sweep; the message names the differences.
    TypeError
        If there is a `folder` and a part of the sweep cannot be compared, unless `changed` names
        it.
    RuntimeError
        If `train` fails; the message names the arm and the seeds, a note holds the traceback.

    Notes
    -----
    Any error on the way, and Ctrl-C, has an attribute ``finished`` with what was trained until
    then: a dict from an arm's name to a list of ``(seeds, values)``, one for each finished call.

    Examples
    --------
    >>> def train(seeds, rate):
    ...     return {"loss": np.array([rate * seed for seed in seeds])}
    >>> results = sweep(train, grid(rate=[0.5, 2.0]), seeds=range(3), n_jobs=1)
    >>> results["loss"].tolist()
    [[0.0, 0.5, 1.0], [0.0, 2.0, 4.0]]
    >>> results.table()[4]
    {'arm': 'rate=2.0', 'rate': 2.0, 'seed': 1, 'loss': 2.0}
    """
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise ImportError("sweeps need joblib: pip install 'trainlab[sweep]'") from error

    if not callable(train):
        raise TypeError(f"train must be callable, received {train!r}")
    if not isinstance(seeds, (list, tuple, range, np.ndarray)):
        raise TypeError(f"seeds must be a list of whole numbers, received {seeds!r}")
    arms, seeds = _checked_arms(arms), [checks.integer("a seed", seed, low=0) for seed in seeds]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different numbers, at least one, received {seeds}")
    if checks.integer("n_jobs", n_jobs) == 0:
        raise ValueError("n_jobs must not be 0: -1 takes every core, 1 stays in this process")
    chunk = len(seeds) if chunk is None else checks.integer("chunk", chunk, low=1)
    parts = ["train", *dict.fromkeys(key for options in arms.values() for key in options)]
    if not isinstance(changed, (list, tuple, set)) or not all(part in parts for part in changed):
        raise ValueError(
            f"changed must be a list of parts of this sweep, out of {parts}, received {changed!r}"
        )
    tasks = [(name, start) for name in arms for start in range(0, len(seeds), chunk)]

    about = None if folder is None else _about(train, arms, seeds, chunk, changed)
    done = {} if folder is None else _open(folder, about, tasks, changed)
    left = [number for number in range(len(tasks)) if number not in done]
    calls = [
        delayed(_call)(train, number, *_task(tasks[number], arms, seeds, chunk), os.getpid())
        for number in left
    ]
    # Unordered and one by one, so that what is finished is kept at once and waits for no other
    # task.
    finished = Parallel(n_jobs=n_jobs, batch_size=1, return_as="generator_unordered")(calls)
    # The bar's iterator has a name, because one without would be closed, and with it joblib's,
    # before the except.
    shown = iter(progress_bar(finished, progress, unit="tasks", total=len(left)))
    try:
        for number in done:
            _check_quantities(number, done, tasks, parts)
        for number, values in shown:
            if isinstance(values, Exception):
                raise values
            done[number] = values
            _check_quantities(number, done, tasks, parts)
            if folder is not None:
                write_arrays(
                    _file(folder, number), _stored(values, _about_task(about, tasks[number]))
                )
    except BaseException as error:
        error.finished = {}  # type: ignore[attr-defined]
        for number, values in sorted(done.items()):
            name, _, its_seeds = _task(tasks[number], arms, seeds, chunk)
            error.finished.setdefault(name, []).append((its_seeds, values))  # type: ignore[attr-defined]
        error.add_note(
            f"what {len(done)} of {len(tasks)} calls of train returned is in the attribute `finished` of this error"
        )
        # Inside joblib's generator the error stops the tasks still running; closing it would warn
        # of each.
        finished.throw(error)

    names = list(done[0])
    rows = len(tasks) // len(arms)
    values = {
        name: np.stack(
            [
                np.concatenate([done[a * rows + r][name] for r in range(rows)])
                for a in range(len(arms))
            ]
        )
        for name in names
    }
    return Results(arms, seeds, values)


def _checked_arms(arms):
    if not isinstance(arms, dict) or not arms:
        raise ValueError(f"arms must be a dict of at least one arm, received {arms!r}")
    for name, options in arms.items():
        if not isinstance(options, dict):
            raise TypeError(f"an arm must be a dict of options, received {options!r} for {name!r}")
        if reserved := sorted(options.keys() & {"seed", "seeds"}):
            raise ValueError(
                f"an option must not be called {reserved[0]!r}, received one in arm {name!r}"
            )
    named: dict[str, object] = {}
    for name in arms:
        if str(name) in named:
            raise ValueError(
                f"arms need names that differ as text, received {named[str(name)]!r} and {name!r}"
            )
        named[str(name)] = name
    return {str(name): dict(options) for name, options in arms.items()}


def _task(task, arms, seeds, chunk):
    name, start = task
    return name, arms[name], seeds[start : start + chunk]


def _call(train, number, name, options, seeds, home):
    """Return a task's number and its result, or an error: one raised here would overtake finished tasks."""
    try:
        if os.getpid() == home:
            # Another process has a copy anyway; here, what train does to its options would reach
            # the next task.
            options = copy.deepcopy(options)
        values = train(list(seeds), **options)
    except Exception as error:
        failure = RuntimeError(
            f"arm {name!r} with seeds {seeds} failed: {type(error).__name__}: {error}"
        )
        # A note travels between processes, a traceback does not.
        failure.add_note(traceback.format_exc())
        return number, failure
    try:
        return number, _checked_values(values, name, seeds)
    except ValueError as error:
        return number, error


def _checked_values(values, name, seeds):
    if not isinstance(values, dict) or not values:
        raise ValueError(
            f"train must return a dict of arrays, received {values!r} from arm {name!r}"
        )
    for key, value in values.items():
        if not isinstance(key, str):
            raise ValueError(
                f"train must name its quantities by text, received {key!r} from arm {name!r}"
            )
        if isinstance(value, np.ma.MaskedArray):
            raise ValueError(
                f"train must return numbers, received masked ones as {key!r} of arm {name!r}: fill them first"
            )
    try:
        # Copies, because train may fill the same array again for its next arm.
        values = {key: np.array(value) for key, value in values.items()}
    except ValueError as error:
        raise ValueError(
            f"train must return arrays, received from arm {name!r} what is none: {error}"
        ) from None
    for key, value in values.items():
        if value.ndim == 0 or len(value) != len(seeds) or value.dtype.kind not in "biuf":
            raise ValueError(
                f"train must return numbers, one row a seed: {key!r} of arm {name!r} has shape {value.shape} "
                f"and dtype {value.dtype} for {len(seeds)} seeds"
            )
    return values


def _check_quantities(number, done, tasks, parts):
    """Refuse a result that has no place in one array with the first."""
    first, values, before = next(iter(done)), done[number], next(iter(done.values()))
    if set(values) != set(before):
        raise ValueError(
            f"train must return the same quantities for every arm, received {list(before)} and {list(values)}"
        )
    if taken := sorted(set(values) & {"arm", "seed"}):
        raise ValueError(
            f"a quantity must not be called as another column of the table, received {taken[0]!r}"
        )
    if taken := sorted(set(values) & set(parts[1:])):
        raise ValueError(
            f"a quantity must not be called as an option is, received the quantity and the option {taken[0]!r}"
        )
    for key, rows in values.items():
        if rows.shape[1:] != before[key].shape[1:] or rows.dtype.kind != before[key].dtype.kind:
            raise ValueError(
                f"train must return one shape and one kind of numbers for every arm and seed: a row of {key!r} has shape "
                f"{before[key].shape[1:]} and dtype {before[key].dtype} for arm {tasks[first][0]!r}, "
                f"shape {rows.shape[1:]} and dtype {rows.dtype} for arm {tasks[number][0]!r}"
            )


# --- The folder: a label that says which sweep it is of, and a file for each task, which says so too.


def _stored(values, about):
    # With a prefix no quantity's name is one of the arguments of np.savez.
    return {"about": np.array(json.dumps(about))} | {
        f"values/{name}": value for name, value in values.items()
    }


def _file(folder, number):
    return Path(folder, f"task-{number:05d}.npz")


def _about(train, arms, seeds, chunk, changed):
    """Return what decides the results; of `train` and each option a text to be read, and its fingerprint."""

    def both(part, called, thing):
        try:
            return [checks.describe(thing), fingerprint(thing)]
        except TypeError as error:
            if part in changed:
                return [checks.describe(thing), None]
            raise TypeError(
                f"{called} would not be known again in the folder: {error}; add {part!r} to `changed` if it stays the same"
            ) from None

    options = {
        name: {key: both(key, f"{key} of arm {name!r}", its[key]) for key in its}
        for name, its in arms.items()
    }
    return {"train": both("train", "train", train), "arms": options, "seeds": seeds, "chunk": chunk}


def _about_task(about, task):
    name, start = task
    return about | {
        "arms": {name: about["arms"][name]},
        "seeds": about["seeds"][start : start + about["chunk"]],
    }


def _parts(about, changed):
    """Return the parts that are compared, each a text and a fingerprint, by what a message calls them."""
    parts = {} if "train" in changed else {"train": about["train"]}
    for name, options in about["arms"].items():
        parts |= {
            f"{key} of arm {name!r}": both for key, both in options.items() if key not in changed
        }
    return parts


def _texts(about, changed):
    options = {
        name: {key: text for key, (text, _) in its.items() if key not in changed}
        for name, its in about["arms"].items()
    }
    train = {} if "train" in changed else {"train": about["train"][0]}
    return train | {"arms": options, "seeds": about["seeds"], "chunk": about["chunk"]}


def _differences(saved, own, changed):
    """Return a sentence for each difference, but in what may have changed."""
    before, now = _parts(saved, changed), _parts(own, changed)
    for called in before.keys() & now.keys():
        if before[called][1] == now[called][1]:
            # Then they are equal, whatever their texts: that of a set has another order in another
            # process.
            before[called][0] = now[called][0]
    first, second = _texts(saved, changed), _texts(own, changed)
    if found := [
        f"{name}: saved {first[name]}, received {second[name]}"
        for name in second
        if first[name] != second[name]
    ]:
        return found
    if list(saved["arms"]) != list(own["arms"]):
        # Tasks are numbered, so the same arms in another order would swap their results.
        return [f"order of the arms: saved {list(saved['arms'])}, received {list(own['arms'])}"]
    return [
        f"{called}: its {'code' if called == 'train' else 'content'} or what it refers to has changed since"
        for called in now
        if before[called] != now[called]
    ]


def _read(file):
    """Return what a file is about, and its values."""
    arrays = read_arrays(file)
    try:
        about = json.loads(arrays.pop("about").item())
        _differences(about, about, ())  # fails if something is missing
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{file} is not of a sweep") from None
    return about, {name.removeprefix("values/"): value for name, value in arrays.items()}


def _open(folder, about, tasks, changed):
    """Return what a folder keeps of this very sweep, by task; make the folder if there is none."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    label = Path(folder, "sweep.npz")
    if not label.exists():
        write_arrays(label, _stored({}, about))
    if differing := _differences(_read(label)[0], about, changed):
        raise ValueError(f"{folder} holds another sweep; " + "; ".join(differing))

    done = {}
    for name in sorted(os.listdir(folder)):
        match = re.fullmatch(r"task-(\d+)\.npz", name)
        if match and int(match[1]) < len(tasks):
            task = tasks[int(match[1])]
            own = _about_task(about, task)
            try:
                saved, values = _read(Path(folder, name))
                # Another sweep may have used the folder meanwhile, or a file have come from
                # elsewhere.
                if differing := _differences(saved, own, changed):
                    raise ValueError(
                        f"{Path(folder, name)} is of another sweep; " + "; ".join(differing)
                    )
                done[int(match[1])] = _checked_values(values, task[0], own["seeds"])
            except ValueError as error:
                warnings.warn(f"computed again: {error}", stacklevel=3)
    return done
