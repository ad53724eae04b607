"""The fair comparison as a value.

Every arm is tuned by itself, with the same number of trials, on seeds of its own; what was chosen
is then judged on fresh seeds. The result says what a reader has to know to believe it: what was
tried and chosen, whether a choice lies at the edge of what was tried, and how many runs were lost.
"""

import functools
import itertools
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from trainlab import checks
from trainlab.evidence.intervals import Interval, paired
from trainlab.optimizers import SGD
from trainlab.sweep import sweep
from trainlab.trainer import Trainer


class Arm:
    """A recipe, and the values that each of its numbers is chosen from.

    Parameters
    ----------
    recipe : callable
        From one value of each choice to what is trained: a schedule, or a dict of options for the
        task. By default the dict of the values themselves.
    **choices : sequences of different values
        What is tuned, by name: every combination is a trial. None means that nothing is tuned.

    Raises
    ------
    TypeError
        If `recipe` is not callable or a choice is no list of values.
    ValueError
        If a choice is empty or holds a value twice.

    Examples
    --------
    >>> from trainlab.schedules import Exponential
    >>> arm = Arm(lambda peak, end: Exponential(peak, end, every=100), peak=[0.5, 0.25], end=[0.1, 0.01])
    >>> arm.trials[1]
    {'peak': 0.5, 'end': 0.01}
    >>> arm.setting({"peak": 0.5, "end": 0.01})
    {'schedule': Exponential(peak=0.5, factor=0.01, every=100, staircase=False)}
    """

    def __init__(self, recipe: Callable = dict, /, **choices: Sequence):
        if not callable(recipe):
            raise TypeError(f"a recipe must be callable, received {recipe!r}")
        for name, values in choices.items():
            if not isinstance(values, (list, tuple, range, np.ndarray)):
                raise TypeError(
                    f"{name} must be a list of values to choose from, received {values!r}"
                )
            if len(values) == 0 or any(
                a is b or a == b for a, b in itertools.combinations(values, 2)
            ):
                raise ValueError(
                    f"{name} must be a list of different values, at least one, received {values!r}"
                )
        self.recipe = recipe
        self.choices = {name: list(values) for name, values in choices.items()}

    @property
    def trials(self) -> list[dict]:
        """Every combination of the choices, a list of dicts."""
        return [
            dict(zip(self.choices, values)) for values in itertools.product(*self.choices.values())
        ]

    def setting(self, values: dict) -> dict:
        """Return what the recipe makes of `values`, as a dict of options."""
        made = self.recipe(**values)
        return dict(made) if isinstance(made, Mapping) else {"schedule": made}

    def but(self, **options: Any) -> "Arm":
        """Return this arm with more options of the task in every run.

        >>> from trainlab.schedules import Constant
        >>> Arm(Constant, peak=[0.1, 0.2]).but(batch_size=8).setting({"peak": 0.2})
        {'schedule': Constant(peak=0.2), 'batch_size': 8}
        """
        return Arm(lambda **values: self.setting(values) | options, **self.choices)

    def edges(self, values: dict) -> dict[str, str]:
        """Say which of `values` is the lowest or the highest number of its list, a dict by name.

        >>> Arm(rate=[0.1, 0.3, 1.0], size=[8, 16], name=["a", "b"]).edges({"rate": 0.3, "size": 8, "name": "a"})
        {'size': 'lowest'}
        """
        found: dict[str, str] = {}
        for name, tried in self.choices.items():
            if len(tried) > 1 and all(isinstance(value, Real) for value in tried):
                ends = {min(tried): "lowest", max(tried): "highest"}
                found |= {name: ends[values[name]]} if values[name] in ends else {}
        return found


@dataclass(frozen=True)
class Task:
    """What all arms of a comparison share. Called with settings and seeds, it trains every pair of them.

    Settings that differ in their schedule alone are trained as replicas in one call, and all seeds
    with them, also where a split is a function of the seed. Let such a function draw from a stream
    of its own, as ``default_rng([1, seed])``: the initial parameters come from that of
    ``default_rng(seed)``.

    Parameters
    ----------
    model, loss
        As for :class:`~trainlab.trainer.Trainer`.
    split : :class:`~trainlab.data.Split`, or a function from a seed to one
        A function gives every seed its own examples. Measures then see the runs of one seed at a
        time; seeds whose examples differ in shape, and all where there is a callback, are trained
        by themselves.
    updates : int, at least 1
        The budget of a run.
    batch_size : int
    optimizer
    schedule : callable, optional
        From the number of finished updates to the rate, for settings that have none of their own.
    measure : callable, optional
        ``measure(trainer, split)`` returns a dict of arrays with one row a replica. By default the
        mean loss on each part of the split, "train", "validation" and "test". Lower is better.
    every : int, optional
        Measure every so many updates too, from the first such update on. Of each measure "m" there
        is then a "curve/m" with one more axis, of the looks.
    callback : callable, or a list of them, optional
        As for ``fit``.
    max_norm, accumulate
        As for :class:`~trainlab.trainer.Trainer`.

    Notes
    -----
    A setting is a dict with any of these names: what it gives replaces what all share. A run that
    diverges goes on as one whose loss is infinite, so it is a result.

    Examples
    --------
    >>> from trainlab import data, losses, models
    >>> from trainlab.schedules import Constant
    >>> task = Task(models.Linear(10, 1), losses.squared_error, data.diabetes(), updates=20, batch_size=8)
    >>> found = task([{"schedule": Constant(0.1)}, {"schedule": Constant(0.01)}], seeds=[0, 1, 2])
    >>> found["test"].shape
    (2, 3)
    """

    model: Any
    loss: Callable
    split: Any
    updates: int
    batch_size: int
    optimizer: Any = SGD()
    schedule: Callable | None = None
    measure: Callable | None = None
    every: int | None = None
    callback: Any = None
    max_norm: float | None = None
    accumulate: int = 1

    def __call__(self, settings: Sequence[dict], seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """Return what was measured, a dict of arrays of shape (settings, seeds, ...)."""
        shared = [
            {name: value for name, value in setting.items() if name != "schedule"}
            for setting in settings
        ]
        rows: list = [None] * len(settings)
        for number, options in enumerate(shared):
            if rows[number] is not None:
                continue
            alike = [
                other
                for other in range(number, len(settings))
                if rows[other] is None and _alike(shared[other], options)
            ]
            schedules = [settings[other].get("schedule", self.schedule) for other in alike]
            values = self.but(**options)._trained(schedules, seeds)
            for place, other in enumerate(alike):
                rows[other] = {name: rows_of[place] for name, rows_of in values.items()}
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def but(self, **options: Any) -> "Task":
        """Return this task with other options.

        Raises
        ------
        ValueError
            If it has no option of that name.
        """
        names = tuple(field.name for field in fields(self))
        for name in options:
            checks.one_of("an option of a task", name, names)
        return replace(self, **options)

    @property
    def budget(self) -> str:
        """The budget of a run in words.

        >>> Task(None, None, None, updates=20, batch_size=8).budget
        '20 updates of 8 examples'
        """
        examples = self.batch_size * self.accumulate
        return f"{self.updates} updates of {examples} example{'s' * (examples > 1)}"

    def _trained(self, schedules, seeds):
        """Train every schedule with every seed: a dict of arrays (schedules, seeds, ...)."""
        if not callable(self.split):
            return self._measured(schedules, seeds, self.split)
        splits = [self.split(seed) for seed in seeds]
        alike: dict[Any, list] = {}
        for place, split in enumerate(splits):
            shapes = tuple(map(np.shape, split[0])) if self.callback is None else place
            alike.setdefault(shapes, []).append(place)
        found = [
            self._measured(
                schedules, *([each[place] for place in places] for each in (seeds, splits))
            )
            for places in alike.values()
        ]
        order = np.argsort([place for places in alike.values() for place in places])
        return {
            name: np.concatenate([values[name] for values in found], axis=1)[:, order]
            for name in found[0]
        }

    def _measured(self, schedules, seeds, split):
        """Train them in one call; `split` is that of all, or a list with one for each seed."""
        trainer = Trainer(
            self.model,
            self.loss,
            self.optimizer,
            schedule=[schedule for schedule in schedules for _ in seeds],
            seed=[seed for _ in schedules for seed in seeds],
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            max_norm=self.max_norm,
            on_divergence="record",
        )
        looks = []

        def look(trainer):
            if trainer.step % self.every == 0:
                looks.append(self._look(trainer, split))

        callbacks = (
            []
            if self.callback is None
            else self.callback
            if isinstance(self.callback, list)
            else [self.callback]
        )
        callbacks = [*callbacks, look] if self.every else callbacks
        own = callable(self.split)
        if own:  # one row a replica, in the order of the schedules and seeds above
            x, y = (np.stack([part[i] for part, *_ in split] * len(schedules)) for i in (0, 1))
        else:
            x, y = split[0]
        trainer.fit(
            x, y, steps=self.updates, callback=callbacks or None, progress=False, per_replica=own
        )
        found = self._look(trainer, split)
        found |= {
            f"curve/{name}": np.stack([look[name] for look in looks], axis=-1)
            for name in (looks[0] if looks else ())
        }
        return {
            name: values.reshape(len(schedules), len(seeds), *values.shape[1:])
            for name, values in found.items()
        }

    def _look(self, trainer, split):
        """Return what there is to measure, a dict of arrays with one row a replica."""
        if not callable(self.split):
            return self._measure(trainer, split)
        one_each = [
            self._measure(trainer.only(range(place, trainer.replicas, len(split))), each)
            for place, each in enumerate(split)
        ]
        by_name = {name: [values[name] for values in one_each] for name in one_each[0]}
        return {
            name: np.stack(values, axis=1).reshape(-1, *values[0].shape[1:])
            for name, values in by_name.items()
        }

    def _measure(self, trainer, split):
        if self.measure is None:
            return {
                name: np.asarray(trainer.evaluate(*part)) for name, part in split._asdict().items()
            }
        return {name: np.asarray(values) for name, values in self.measure(trainer, split).items()}


@dataclass(frozen=True)
class Contest:
    """What a contest found.

    Attributes
    ----------
    values : dict of dicts of arrays, shape (S, ...)
        Of each measure, what every arm's chosen setting reached with each fresh seed.
        ``found["test"]["cosine"]`` is short for ``found.values["test"]["cosine"]``.
    chosen : dict of dicts
        From an arm to its chosen values, by name; empty where nothing was tuned. Of a contest that
        repeats its choice, a list of values by name, one for each repeat.
    settings : dict of dicts
        From an arm to what its recipe made of them; a list of dicts if the choice was repeated.
    at_the_edge : dict of dicts
        The arms with a choice at the edge of what was tried, and which edge, "lowest" or "highest",
        by name. There a better value may lie outside.
    tuning : dict of dicts of arrays, shape (trials, tuning seeds, ...)
        What every trial reached; empty where nothing was tuned.
    curves : dict of dicts of arrays, shape (S, looks)
        The measures on the way, of a task that looks `every` so many updates.
    looks : array, shape (looks,)
        The updates at which it looked.
    by : str or None
        The measure that chose.
    tuning_seeds, seeds : lists of int
    budget : str
    repeats : int
        How many times the choice was made. If more than once, an interval is over the means of the
        repeats.
    luck : tuple of str
        Whose luck the intervals hold: always "training"; "split" if every seed has its own; "choice"
        if it was repeated.
    """

    values: dict
    chosen: dict
    settings: dict
    at_the_edge: dict
    tuning: dict
    curves: dict
    looks: np.ndarray
    by: str | None
    tuning_seeds: list
    seeds: list
    budget: str
    repeats: int = 1
    luck: tuple = ("training",)

    def __getitem__(self, measure: str) -> dict[str, np.ndarray]:
        """Return every arm's values of one measure."""
        checks.one_of("a measure", measure, tuple(self.values))
        return self.values[measure]

    def difference(
        self, measure: str, first: str, second: str, confidence: float = 0.95
    ) -> Interval:
        """Return the interval of `first` minus `second`, seed by seed: "lower" means that `first` is the better one.

        Where a run was lost the difference has no mean: the interval is then all numbers, and its
        verdict "undecided".
        """
        one, other = self._two(measure, first, second)
        return self._interval(one, other, confidence)

    def ratio(self, measure: str, first: str, second: str, confidence: float = 0.95) -> Interval:
        """Return the interval of `first` over `second`, the geometric mean of the pairs: below 1, `first` is the better one."""
        one, other = self._two(measure, first, second)
        return self._interval(_logarithm(one), _logarithm(other), confidence).exp()

    def differences(
        self, measure: str, baseline: str, confidence: float = 0.95
    ) -> dict[str, Interval]:
        """Return the difference of every other arm to `baseline`; all intervals hold at once with this confidence.

        See :func:`paired_all`.
        """
        return {
            arm: self.difference(measure, arm, baseline, each)
            for arm, each in self._each(baseline, confidence)
        }

    def ratios(self, measure: str, baseline: str, confidence: float = 0.95) -> dict[str, Interval]:
        """Return the ratio of every other arm to `baseline`; all intervals hold at once with this confidence."""
        return {
            arm: self.ratio(measure, arm, baseline, each)
            for arm, each in self._each(baseline, confidence)
        }

    def lost(self, measure: str, arm: str) -> int:
        """Return how many runs of an arm ended without a number."""
        return int(
            np.sum(~np.isfinite(self[measure][checks.one_of("an arm", arm, tuple(self.chosen))]))
        )

    def __str__(self) -> str:
        tuned = self.by is not None
        lines = [f"{self.budget}; {len(self.seeds)} seeds"]
        if tuned:
            trials = len(next(iter(self.tuning[self.by].values())))
            others = len(self.tuning_seeds) // self.repeats
            fresh = f"{len(self.seeds)} fresh seeds; {self.by} chose out of {trials}, with {others} other seeds"
            lines = [f"{self.budget}; {fresh}"]
        if self.repeats > 1:
            lines[0] += f", {self.repeats} times"
        lines.append(f"intervals hold the luck of {', of '.join(self.luck)}")
        measures = [
            name
            for name, arms in self.values.items()
            if all(values.ndim == 1 for values in arms.values())
        ]
        table = [["arm", *measures, *(["chosen"] if tuned else [])]]
        for arm, chosen in self.chosen.items():
            edges = self.at_the_edge.get(arm, {})
            words = [
                f"{name} {_texts(value)}{f' ({edges[name]})' if name in edges else ''}"
                for name, value in chosen.items()
            ]
            row = [arm]
            for name in measures:
                lost = self.lost(name, arm)
                kept = self[name][arm][np.isfinite(self[name][arm])]
                mean = [_text(kept.mean())] if len(kept) else []
                row.append(" ".join([*mean, *([f"({lost} lost)"] if lost else [])]))
            table.append([*row, *([", ".join(words)] if tuned else [])])
        widths = [max(map(len, column)) for column in zip(*table)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in table
        ]
        return "\n".join(lines)

    def _two(self, measure, *arms):
        for arm in arms:
            checks.one_of("an arm", arm, tuple(self.chosen))
        return [self[measure][arm] for arm in arms]

    def _interval(self, first, second, confidence):
        if self.repeats > 1:
            first, second = (
                values.reshape(self.repeats, -1).mean(axis=1) for values in (first, second)
            )
        return _paired(first, second, confidence)

    def _each(self, baseline, confidence):
        checks.one_of("baseline", baseline, tuple(self.chosen))
        checks.number("confidence", confidence, above=0, below=1)
        others = [arm for arm in self.chosen if arm != baseline]
        return [(arm, 1 - (1 - confidence) / len(others)) for arm in others]


def contest(
    task: Callable[..., dict],
    arms: Mapping[str, Arm],
    *,
    seeds: Sequence[int],
    tuning_seeds: Sequence[int] = (),
    by: str | None = None,
    repeats: int = 1,
    budget: str | None = None,
    folder: str | os.PathLike | None = None,
    n_jobs: int = 1,
    progress: bool = True,
) -> Contest:
    """Tune every arm by itself, and judge what was chosen on fresh seeds.

    Of each arm's trials the one with the lowest mean of the measure `by` over the tuning seeds is
    chosen, the first of them where they tie; a trial that loses a run is as bad as can be.

    Parameters
    ----------
    task : :class:`Task` or another callable
        ``task(settings, seeds)`` returns a dict of arrays of shape (settings, seeds, ...).
    arms : dict of :class:`Arm`
        By name, the same number of trials in each.
    seeds : sequence of different ints
        They judge.
    tuning_seeds : sequence of different ints
        They choose: none of them may judge.
    by : str
        The measure that chooses. Take one on examples that do not judge: "validation", say.
        Not needed where no arm has more than one trial.
    repeats : int, at least 1
        Choose so many times, with a share of the seeds each: the first share of `tuning_seeds`
        chooses what the first share of `seeds` judges, and so on. With one choice, an interval
        holds the luck of the training alone: all seeds judge the same choice, lucky or not. With
        repeats it is over their means, and holds the luck of the choice, too.
    budget : str, optional
        In words, for the result to say; a :class:`Task` knows its own.
    folder : path, optional
        Where every finished arm is kept, as for :func:`~trainlab.sweep.sweep`: a contest that was
        interrupted goes on from there. Without it, see `finished` there.
    n_jobs : int
        Processes, one arm in each; -1 takes one for each core. A Dask cluster as for
        :func:`~trainlab.sweep.sweep`.
    progress : bool
        Show a bar in a terminal, or wherever TRAINLAB_PROGRESS is set (needs tqdm).

    Returns
    -------
    Contest

    Raises
    ------
    ValueError
        If there is no arm, if arms have unequal numbers of trials, if a seed tunes and judges,
        if `by` is missing or not measured, or if the seeds cannot be shared out among the repeats.
    RuntimeError
        If a training fails; the message names the arm and the seeds.

    Examples
    --------
    >>> from trainlab import data, losses, models
    >>> from trainlab.schedules import Constant, LinearDecay
    >>> task = Task(models.Linear(10, 1), losses.squared_error, data.diabetes(), updates=100, batch_size=8)
    >>> peaks = [0.1, 0.03, 0.01]
    >>> arms = {"constant": Arm(Constant, peak=peaks), "linear": Arm(lambda peak: LinearDecay(peak, 100), peak=peaks)}
    >>> found = contest(task, arms, by="validation", tuning_seeds=range(100, 104), seeds=range(8))
    >>> print(found)
    100 updates of 8 examples; 8 fresh seeds; validation chose out of 3, with 4 other seeds
    intervals hold the luck of training
    arm       train  validation  test   chosen
    constant  0.434  0.54        0.495  peak 0.03
    linear    0.442  0.54        0.481  peak 0.03
    >>> print(found.ratio("test", "linear", "constant"))
    0.973 [0.944, 1]
    """
    arms = {str(name): arm for name, arm in arms.items()}
    for name, arm in arms.items():
        if not isinstance(arm, Arm):
            raise TypeError(f"arms must be a dict of Arm, received {arm!r} for {name!r}")
    trials = {name: arm.trials for name, arm in arms.items()}
    counts = {name: len(values) for name, values in trials.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(
            f"a fair contest gives every arm the same number of trials, at least one, received {counts}"
        )
    settings = {
        name: [arm.setting(values) for values in trials[name]] for name, arm in arms.items()
    }
    tuned = max(counts.values()) > 1
    checks.integer("repeats", repeats, low=1)
    if repeats > 1 and not tuned:
        raise ValueError(
            f"nothing is chosen here that could be repeated, received repeats {repeats}"
        )
    for name, given in {"seeds": seeds, "tuning_seeds": tuning_seeds}.items():
        if len(given) % repeats:
            raise ValueError(
                f"{name} must be shared out among {repeats} repeats, received {len(given)} of them"
            )
    places, tuning = {name: [0] * repeats for name in arms}, {}
    options = {"n_jobs": n_jobs, "progress": progress}

    if tuned:
        if by is None or len(tuning_seeds) == 0:
            raise ValueError(
                f"to choose, a contest needs by and tuning_seeds, received {by!r} and {tuning_seeds!r}"
            )
        if both := sorted({int(seed) for seed in seeds} & {int(seed) for seed in tuning_seeds}):
            raise ValueError(f"a seed must not tune and judge, received {both} for both")
        # Curves are for what is judged.
        tuner = task.but(every=None) if isinstance(task, Task) else task
        tuning = _sweep(tuner, settings, tuning_seeds, folder, "tuning", options)
        checks.one_of("by", by, tuple(tuning))
        for name, values in tuning[by].items():
            if values.ndim != 2:
                raise ValueError(
                    f"by must be a measure with one number a run, received {by!r} with shape {values.shape[2:]} a run"
                )
            places[name] = [_best(share) for share in np.split(values, repeats, axis=1)]

    best = {name: [settings[name][place] for place in places[name]] for name in arms}
    parts = []
    for number, share in enumerate(_shares(seeds, repeats)):
        one = {name: [each[number]] for name, each in best.items()}
        part = "judging" if repeats == 1 else f"judging {number + 1} of {repeats}"
        parts.append(_sweep(task, one, share, folder, part, options))
    found = {
        name: {arm: np.concatenate([part[name][arm][0] for part in parts]) for arm in by_arm}
        for name, by_arm in parts[0].items()
    }
    chosen: dict[str, dict] = {}
    edges: dict[str, dict] = {}
    for name, arm in arms.items():
        values = [trials[name][place] for place in places[name]]
        ends = [arm.edges(each) for each in values]
        if repeats == 1:
            chosen[name], edge = values[0], ends[0]
        else:
            chosen[name] = {choice: [each[choice] for each in values] for choice in arm.choices}
            edge = {choice: _how_often(choice, ends) for each in ends for choice in each}
        edges |= {name: edge} if edge else {}
    curves = {
        name.removeprefix("curve/"): found.pop(name)
        for name in list(found)
        if name.startswith("curve/")
    }
    every = getattr(task, "every", None)
    looks = np.arange(every, task.updates + 1, every) if every else np.arange(0)  # type: ignore[attr-defined]
    if budget is None:
        budget = "; ".join(
            dict.fromkeys(_budget(task, setting) for each in best.values() for setting in each)
        )
    shared = getattr(task, "task", task)
    own_split = isinstance(shared, Task) and callable(shared.split)
    return Contest(
        found,
        chosen,
        best if repeats > 1 else {name: each[0] for name, each in best.items()},
        edges,
        tuning,
        curves,
        looks,
        by if tuning else None,
        list(tuning_seeds),
        list(seeds),
        budget,
        repeats,
        ("training", *["split"] * own_split, *["choice"] * (repeats > 1)),
    )


def _shares(seeds, repeats):
    size = len(seeds) // repeats
    return [seeds[part * size : (part + 1) * size] for part in range(repeats)]


def _best(values):
    """The row with the lowest mean; a row that has lost a run is as bad as can be."""
    means = np.where(np.isfinite(values), values, np.inf).mean(axis=1)
    # Counts of mistakes tie, and a tie must not be decided by a rounding: the first one wins.
    return int(np.argmax(means <= means.min() + 1e-9 * abs(means.min())))


def _how_often(choice, ends):
    """Say how many of the repeats chose an edge, and which.

    >>> _how_often("rate", [{"rate": "lowest"}, {}, {"rate": "highest"}, {"rate": "lowest"}])
    'lowest in 2, highest in 1 of 4'
    """
    counts = Counter(each[choice] for each in ends if choice in each)
    return ", ".join(f"{edge} in {n}" for edge, n in counts.items()) + f" of {len(ends)}"


def held_out(trainer: Trainer, split: Any) -> dict[str, np.ndarray]:
    """Return the mean loss on the validation and on the test examples: a measure that leaves out the many others.

    >>> from trainlab import data, losses, models, optimizers, schedules
    >>> trainer = Trainer(models.Linear(10, 1), losses.squared_error, optimizers.SGD(),
    ...                   schedules.Constant(0.1), batch_size=8, replicas=3)
    >>> {name: loss.shape for name, loss in held_out(trainer, data.diabetes()).items()}
    {'validation': (3,), 'test': (3,)}
    """
    parts = {"validation": split.validation, "test": split.test}
    return {name: np.asarray(trainer.evaluate(*part)) for name, part in parts.items()}


def _sweep(task, settings, seeds, folder, part, options):
    """Train all settings of every arm: a dict from a measure to a dict from an arm to (settings, seeds, ...)."""

    def train(seeds, settings):
        # A sweep has one row a seed.
        return {
            name: np.moveaxis(np.asarray(values), 0, 1)
            for name, values in task(settings, seeds).items()
        }

    arms = {name: {"settings": tried} for name, tried in settings.items()}
    results = sweep(
        train, arms, seeds=seeds, folder=None if folder is None else Path(folder, part), **options
    )
    return {
        name: {arm: np.moveaxis(values[a], 0, 1) for a, arm in enumerate(arms)}
        for name, values in results.values.items()
    }


def _budget(task, setting):
    task = getattr(task, "task", task)  # that of a record
    if not isinstance(task, Task):
        return "the task's own budget"
    return task.but(**{name: value for name, value in setting.items() if name != "schedule"}).budget


def _alike(first, second):
    """Say whether two options are the same; those with partial arguments and dicts are, if their parts are."""
    if isinstance(first, functools.partial) and isinstance(second, functools.partial):
        return all(
            _alike(getattr(first, part), getattr(second, part))
            for part in ("func", "args", "keywords")
        )
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(
            _alike(first[name], second[name]) for name in first
        )
    try:
        return first is second or bool(first == second)
    except ValueError:  # arrays: then they are trained apart
        return False


def _texts(value):
    """A chosen value as text, or how often each of a list was chosen.

    >>> _texts([0.1, 0.3, 0.1])
    '2 x 0.1, 1 x 0.3'
    """
    if not isinstance(value, list):
        return _text(value)
    counts = Counter(map(_text, value))
    return ", ".join(f"{count} x {each}" for each, count in counts.items())


def _text(value):
    if not isinstance(value, Real):
        return checks.describe(value)
    size = abs(float(value))
    return f"{value:,.0f}" if 1000 <= size < 1e6 else f"{value:.3g}"


def _logarithm(values):
    with np.errstate(divide="ignore"):
        return np.log(values)


def _paired(first, second, confidence):
    if np.isfinite(first).all() and np.isfinite(second).all():
        return paired(first, second, confidence)
    with np.errstate(invalid="ignore"):
        mean = float(np.mean(np.asarray(first, float) - second))
    return Interval(mean, -np.inf, np.inf, len(first), confidence)
