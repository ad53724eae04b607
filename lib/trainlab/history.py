"""What each update used and saw, and the one way of a rate: from its schedule into the history."""

import copy
from collections.abc import Callable, Sequence

import numpy as np

from trainlab import checks
from trainlab.schedules import Schedule


class History:
    """One row an update, in arrays that are made before a call of ``fit`` and filled as it goes on.

    A row counts once its update is done: `until` leaves out what lies after.
    """

    def __init__(self, shape: tuple, clipped: bool):
        names = ["rate", "loss", *(["gradient_norm"] if clipped else []), "scheduled"]
        self._empty = {"step": np.empty(0, np.int64)} | {
            name: np.empty((0, *shape)) for name in names
        }
        self.rows: dict[str, np.ndarray] = {}  # until the first call

    def until(self, step: int) -> dict[str, np.ndarray]:
        """Return the rows of the updates before `step`."""
        return {name: rows[:step] for name, rows in self.rows.items()}

    def only(self, replicas: Sequence[int]) -> "History":
        """Return a copy with the columns of some replicas."""
        kept = copy.copy(self)
        kept._empty, kept.rows = (
            {name: rows if name == "step" else rows[:, replicas] for name, rows in each.items()}
            for each in (self._empty, self.rows)
        )
        return kept

    def seen(self, step: int) -> dict[str, np.ndarray]:
        """Return them without ``"scheduled"``: the rates before the scale, which only a resume compares."""
        return {name: rows for name, rows in self.until(step).items() if name != "scheduled"}

    def table(self, step: int, seeds: Sequence[int]) -> list[dict]:
        """Return the rows before `step` as dicts, one an update and seed."""
        columns = self.seen(step)
        steps = columns.pop("step").tolist() if columns else []
        columns = {name: rows.reshape(len(rows), -1).tolist() for name, rows in columns.items()}
        return [
            {"step": step, "seed": seed} | {name: rows[t][r] for name, rows in columns.items()}
            for t, step in enumerate(steps)
            for r, seed in enumerate(seeds)
        ]

    def reserve(self, step: int, steps: int) -> None:
        """Make room for `steps` more rows after those before `step`.

        A column that only a part of a training has, the norm of clipped gradients, is NaN in the
        other part.
        """
        known = self.until(step)
        self.rows = {
            name: np.concatenate([known.get(name, _no_rows(step, like)), _no_rows(steps, like)])
            for name, like in (self._empty | known).items()
        }

    def write(self, place: int, **row: float | np.ndarray) -> None:
        """Fill in the row of an update, or a part of it."""
        for name, value in row.items():
            self.rows[name][place] = value


def _no_rows(count, like):
    """Return rows without numbers, in the shape and type of the rows of `like`."""
    return np.full((count, *like.shape[1:]), np.nan if like.dtype.kind == "f" else 0, like.dtype)


class Rates:
    """What the schedules of a training say: a float for each update, or an array of shape (R,).

    Schedules of the library are pure, so asking ahead is asking: they are asked for all updates of
    a call at once. Any other callable is asked update by update. Either way each is asked once.
    """

    def __init__(self, schedules: Sequence[Callable], replicas: int | None):
        self.schedules, self.replicas = schedules, replicas
        # Rates of one update after the other, and the step of the first.
        self._known: tuple = (0, ())

    def ask(self, step: int, steps: int) -> None:
        """Ask for the rates of the next updates as far as they may be asked now."""
        pure = all(isinstance(schedule, Schedule) for schedule in self.schedules)
        self._known = step, self._asked(np.arange(step, step + steps)) if pure and steps else ()

    def __call__(self, step: int) -> float | np.ndarray:
        """Return the rate of the update after `step` finished ones."""
        first, rates = self._known
        if not 0 <= step - first < len(rates):
            first, rates = self._known = step, self._asked(np.array([step]))
        return rates[step - first]

    def _asked(self, steps):
        """Return the rates of one update or more, as far as they can be used; the first has to be."""
        # Replicas often share a schedule; each distinct one is asked once.
        distinct = {id(schedule): schedule for schedule in self.schedules}
        answers = {key: _answers(schedule, steps) for key, schedule in distinct.items()}
        good = np.array([(rates >= 0) & (rates < np.inf) for rates in answers.values()])
        if not good[:, 0].all():
            key = list(answers)[int(np.argmin(good[:, 0]))]
            raise ValueError(
                f"{checks.describe(distinct[key])} returned the rate {answers[key][0]} at step {steps[0]}"
            )
        # A wrong rate of a later update is for that update to complain of.
        usable = len(steps) if good.all() else int(np.argmin(good.all(axis=0)))
        if self.replicas is None:
            return answers[id(self.schedules[0])][:usable].tolist()
        return np.stack([answers[id(schedule)][:usable] for schedule in self.schedules], axis=-1)


def _answers(schedule, steps):
    """Return the rates of a schedule, one a step; one that is not the library's is asked for a single step."""
    if isinstance(schedule, Schedule):
        return schedule(steps)
    rate = schedule(int(steps[0]))
    # A NumPy number will do, an array or a text will not.
    number = np.asarray(rate)
    if number.ndim != 0 or number.dtype.kind not in "iuf":
        raise ValueError(f"{checks.describe(schedule)} returned the rate {rate} at step {steps[0]}")
    return np.array([float(number)])
