"""Sweeps: many trainings, replicas inside a process, processes outside.

You write one function that trains one arm (one learning rate, say) for a list of seeds. The sweep
calls it for every arm, several at a time, and puts the results into one array.

Processes come from joblib: those of this machine by default. On a cluster, start a Dask client
and put the same call under ``with joblib.parallel_config(backend="dask"):``.
"""

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
from trainlab.trainer import progress_bar


def grid(**choices: Sequence) -> dict[str, dict]:
    """Return an arm for each combination of the choices: a dict from its name to its options.

    Examples
    --------
    >>> grid(rate=[0.1, 0.2], batch_size=[8])
    {'rate=0.1, batch_size=8': {'rate': 0.1, 'batch_size': 8}, 'rate=0.2, batch_size=8': {'rate': 0.2, 'batch_size': 8}}
    """
    if not choices:
        raise ValueError("a grid needs at least one choice, received none")
    arms = {}
    for values in itertools.product(*choices.values()):
        options = dict(zip(choices, values))
        name = ", ".join(f"{key}={checks.describe(value)}" for key, value in options.items())
        if name in arms:
            raise ValueError(f"a grid needs different values, received {name} twice")
        arms[name] = options
    return arms


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
        """Return one row an arm and seed, a list of dicts: ``pandas.DataFrame(results.table())``."""
        return [
            {"arm": name} | options | {"seed": seed} | {key: rows[a, s].tolist() for key, rows in self.values.items()}
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
        kill, goes on from there when it is started again.
    n_jobs : int
        Processes; -1 takes one for each core. joblib shares the cores' threads among them.
    progress : bool
        Show a bar in a terminal (needs tqdm).

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        If arms or seeds are missing or repeated, if `train` returns other shapes than asked for,
        or if `folder` holds another sweep; the message names the differences.
    RuntimeError
        If `train` fails; the message names the arm and the seeds, a note holds the traceback.

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
    tasks = [(name, start) for name in arms for start in range(0, len(seeds), chunk)]

    done = {} if folder is None else _open(folder, train, arms, seeds, chunk, tasks)
    left = [number for number in range(len(tasks)) if number not in done]
    calls = [delayed(_call)(train, number, *_task(tasks[number], arms, seeds, chunk)) for number in left]
    # Unordered and one by one, so that what is finished is kept at once and waits for no other task.
    finished = Parallel(n_jobs=n_jobs, batch_size=1, return_as="generator_unordered")(calls)
    # The bar's iterator has a name, because one without would be closed, and with it joblib's, before the except.
    shown = iter(progress_bar(finished, progress, unit="tasks", total=len(left)))
    try:
        for number, values in shown:
            if isinstance(values, Exception):
                raise values
            _check_quantities(values, next(iter(done.values()), values))
            done[number] = values
            if folder is not None:
                write_arrays(_file(folder, number), _stored(values))
    except BaseException as error:
        # Inside joblib's generator the error stops the tasks still running; closing it would warn of each.
        finished.throw(error)

    names = list(done[0])
    rows = len(tasks) // len(arms)
    values = {
        name: np.stack([np.concatenate([done[a * rows + r][name] for r in range(rows)]) for a in range(len(arms))])
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
            raise ValueError(f"an option must not be called {reserved[0]!r}, received one in arm {name!r}")
    return {str(name): dict(options) for name, options in arms.items()}


def _task(task, arms, seeds, chunk):
    name, start = task
    return name, arms[name], seeds[start : start + chunk]


def _call(train, number, name, options, seeds):
    """Return a task's number and its result, or an error: one raised here would overtake finished tasks."""
    try:
        values = train(list(seeds), **options)
    except Exception as error:
        failure = RuntimeError(f"arm {name!r} with seeds {seeds} failed: {type(error).__name__}: {error}")
        # A note travels between processes, a traceback does not.
        failure.add_note(traceback.format_exc())
        return number, failure
    try:
        return number, _checked_values(values, name, seeds)
    except ValueError as error:
        return number, error


def _checked_values(values, name, seeds):
    if not isinstance(values, dict) or not values:
        raise ValueError(f"train must return a dict of arrays, received {values!r} from arm {name!r}")
    values = {key: np.asarray(value) for key, value in values.items()}
    for key, value in values.items():
        if value.ndim == 0 or len(value) != len(seeds) or value.dtype.kind not in "biuf":
            raise ValueError(
                f"train must return numbers, one row a seed: {key!r} of arm {name!r} has shape {value.shape} "
                f"and dtype {value.dtype} for {len(seeds)} seeds"
            )
    return values


def _check_quantities(values, before):
    if set(values) != set(before):
        raise ValueError(f"train must return the same quantities for every arm, received {list(before)} and {list(values)}")
    if taken := sorted(set(values) & {"arm", "seed"}):
        raise ValueError(f"a quantity must not be called as another column of the table, received {taken[0]!r}")


def _stored(values):
    # With a prefix no quantity's name is one of the arguments of np.savez.
    return {f"values/{name}": value for name, value in values.items()}


def _file(folder, number):
    return Path(folder, f"task-{number:05d}.npz")


def _open(folder, train, arms, seeds, chunk, tasks):
    """Return what a folder keeps of this very sweep, by task; make the folder if there is none."""
    about = {
        "train": checks.describe(train),
        "arms": {name: {key: checks.describe(value) for key, value in options.items()} for name, options in arms.items()},
        "seeds": seeds,
        "chunk": chunk,
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    label = Path(folder, "sweep.npz")
    if not label.exists():
        write_arrays(label, {"about": np.array(json.dumps(about))})
    saved = json.loads(read_arrays(label)["about"].item())
    differing = [f"{name}: saved {saved.get(name)}, received {about[name]}" for name in about if saved.get(name) != about[name]]
    if not differing and list(saved["arms"]) != list(about["arms"]):
        # Tasks are numbered, so the same arms in another order would swap their results.
        differing = [f"order of the arms: saved {list(saved['arms'])}, received {list(about['arms'])}"]
    if differing:
        raise ValueError(f"{folder} holds another sweep; " + "; ".join(differing))

    done = {}
    for name in os.listdir(folder):
        match = re.fullmatch(r"task-(\d+)\.npz", name)
        if match and int(match[1]) < len(tasks):
            try:
                saved_values = read_arrays(Path(folder, name))
                arm, _, its_seeds = _task(tasks[int(match[1])], arms, seeds, chunk)
                values = {key.removeprefix("values/"): value for key, value in saved_values.items()}
                done[int(match[1])] = _checked_values(values, arm, its_seeds)
            except ValueError as error:
                warnings.warn(f"computed again: {error}", stacklevel=3)
    return done
