"""Callbacks: what a training does after its updates, other than updating.

``fit(callback=...)`` takes any function of the trainer, or a list of them. The classes here
also remember something from call to call. They keep it in ``state``, a dict of arrays, which
``Trainer.save`` writes into the checkpoint, so that a resumed run goes on as if never stopped.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks


class Evaluation:
    """Evaluate the model on other examples every so many updates, and keep what comes out.

    Parameters
    ----------
    x, y : arrays of n examples each
    every : int, at least 1
        Evaluate after each `every` updates.
    measure : callable, optional
        ``measure(trainer, x, y)`` returns a float, or an array of shape (R,) with replicas. The
        default is the mean loss, ``trainer.evaluate(x, y)``.

    Attributes
    ----------
    history : dict of arrays
        ``"step"`` (E,), the updates made at each evaluation, and ``"value"`` (E,) or (E, R).

    Raises
    ------
    ValueError
        If `every` is below 1, or if a measured value is NaN.

    Examples
    --------
    >>> from trainlab import data, losses, models, optimizers, schedules
    >>> from trainlab.trainer import Trainer
    >>> points, watch = data.four_points(), Evaluation(*data.four_points(), every=10)
    >>> trainer = Trainer(models.Linear(1, 1), losses.squared_error, optimizers.SGD(),
    ...                   schedules.Constant(0.05), batch_size=4)
    >>> _ = trainer.fit(points.x, points.y, steps=25, callback=watch, progress=False)
    >>> watch.history["step"].tolist()
    [10, 20]
    """

    def __init__(self, x: ArrayLike, y: ArrayLike, *, every: int, measure: Callable | None = None):
        self.x, self.y, self.measure = x, y, measure
        self.every = checks.integer("every", every, low=1)
        self.state: dict[str, np.ndarray] = {}

    @property
    def history(self) -> dict[str, np.ndarray]:
        """The steps and the values measured there."""
        return {name: np.array(self.state.get(name, [])) for name in ("step", "value")}

    def __call__(self, trainer):
        """Evaluate if it is time, and record; return the value, or ``None``."""
        if trainer.step % self.every:
            return None
        value = trainer.evaluate(self.x, self.y) if self.measure is None else self.measure(trainer, self.x, self.y)
        value = np.asarray(value, np.float64)
        if value.shape != trainer.diverged.shape or np.isnan(value).any():
            raise ValueError(
                f"a measure must return numbers of shape {trainer.diverged.shape}, received {value} at step {trainer.step}"
            )
        for name, new in (("step", trainer.step), ("value", value)):
            row = np.asarray(new)[None]
            self.state[name] = np.concatenate([self.state[name], row]) if name in self.state else row
        return value


class _Patience(Evaluation):
    """Evaluate, and count for each replica how many evaluations in a row brought no improvement."""

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        every: int,
        patience: int,
        threshold: float = 0.0,
        measure: Callable | None = None,
    ):
        super().__init__(x, y, every=every, measure=measure)
        self.patience = checks.integer("patience", patience, low=1)
        self.threshold = checks.number("threshold", threshold, low=0, below=1)

    def __call__(self, trainer):
        """Evaluate if it is time; return which replicas improved, or ``None``."""
        value = super().__call__(trainer)
        if value is None:
            return None
        best = self.state.setdefault("best", np.full(value.shape, np.inf))
        waited = self.state.setdefault("waited", np.zeros(value.shape, np.int64))
        # Relative to the size of the best value, whatever its sign; at the start nothing is known.
        margin = self.threshold * np.where(np.isfinite(best), np.abs(best), 0)
        # Those of an early stopping whose patience was spent before are past improving.
        improved = (value < best - margin) & ~self.state.get("spent", np.zeros(value.shape, bool))
        self.state["best"] = np.where(improved, value, best)
        self.state["waited"] = np.where(improved, 0, waited + 1)
        return improved


class EarlyStopping(_Patience):
    r"""Stop when the loss on other examples has not improved for a while; remember the best parameters.

    Prechelt (1998), *Early stopping, but when?* A replica counts as stopped as soon as its own
    patience is spent, and its best is looked for no further; the call of ``fit`` ends when all are.

    Parameters
    ----------
    x, y : arrays of n examples each
        Validation examples: not those of the updates, not those of the final test.
    every : int, at least 1
        Evaluate after each `every` updates.
    patience : int, at least 1
        So many evaluations in a row without improvement stop the run.
    threshold : float, 0 <= threshold < 1
        An improvement is a value below ``best - threshold * abs(best)``.
    measure : callable, optional
        As for :class:`Evaluation`; smaller is better.

    Attributes
    ----------
    best : float, or array of shape (R,)
        The smallest value.
    best_step : int, or array of shape (R,)
        The number of updates that gave it.
    best_params : dict of arrays
        The parameters that gave it; ``trainer.params = stopping.best_params`` goes back to them.

    Raises
    ------
    ValueError
        If an option is out of its range, or as :class:`Evaluation` does.
    """

    def __call__(self, trainer):
        """Evaluate if it is time; raise ``StopIteration`` when every replica's patience is spent."""
        improved = super().__call__(trainer)
        if improved is None:
            return
        self.state["best_step"] = np.where(improved, trainer.step, self.state.get("best_step", 0))
        for name, value in trainer.params.items():
            old = self.state.get(f"best_params/{name}", value)
            mask = improved.reshape(improved.shape + (1,) * (value.ndim - improved.ndim))
            self.state[f"best_params/{name}"] = np.where(mask, value, old)
        self.state["spent"] = self.state["waited"] >= self.patience
        if self.state["spent"].all():
            raise StopIteration

    @property
    def best(self) -> float | np.ndarray:
        """The smallest value so far."""
        return self._known("best")

    @property
    def best_step(self) -> int | np.ndarray:
        """The number of updates that gave the smallest value."""
        return self._known("best_step")

    @property
    def best_params(self) -> dict[str, np.ndarray]:
        """A copy of the parameters that gave the smallest value."""
        self._known("best")
        names = [name for name in self.state if name.startswith("best_params/")]
        return {name.removeprefix("best_params/"): self.state[name].copy() for name in names}

    def _known(self, name):
        if name not in self.state:
            raise ValueError(f"nothing was evaluated yet: the first evaluation comes after {self.every} updates")
        value = self.state[name]
        return value.item() if value.ndim == 0 else value


class ReduceOnPlateau(_Patience):
    """Multiply the rate by a factor whenever the loss on other examples stops improving.

    It is no schedule: it looks at the run. It multiplies what the trainer's schedule says, for
    each replica by itself, through ``trainer.rate_scale``.

    Parameters
    ----------
    x, y, every, threshold, measure
        As for :class:`EarlyStopping`.
    patience : int, at least 1
        So many evaluations in a row without improvement reduce the rate; then counting starts again.
    factor : float, 0 < factor < 1
    smallest : float, at least 0
        The product of all reductions does not fall below this.

    Raises
    ------
    ValueError
        If an option is out of its range, or as :class:`Evaluation` does.
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        every: int,
        patience: int,
        factor: float = 0.1,
        threshold: float = 1e-4,
        smallest: float = 0.0,
        measure: Callable | None = None,
    ):
        super().__init__(x, y, every=every, patience=patience, threshold=threshold, measure=measure)
        self.factor = checks.number("factor", factor, above=0, below=1)
        self.smallest = checks.number("smallest", smallest, low=0, below=1)

    def __call__(self, trainer):
        """Evaluate if it is time, and reduce the rate of the replicas whose patience is spent."""
        if super().__call__(trainer) is None:
            return
        spent = self.state["waited"] >= self.patience
        reduced = np.maximum(trainer.rate_scale * self.factor, self.smallest)
        # A scale already below the smallest, set by hand, is not raised.
        scale = np.where(spent, np.minimum(reduced, trainer.rate_scale), trainer.rate_scale)
        trainer.rate_scale = float(scale) if scale.ndim == 0 else scale
        self.state["waited"] = np.where(spent, 0, self.state["waited"])


class Checkpoint:
    """Save the training every so many updates, and keep the last few files.

    Each file appears whole or not at all. ``Trainer.resume(folder, ...)`` takes the newest that is
    whole. In a list of callbacks it has to come last, so that it saves what the others did.

    Parameters
    ----------
    folder : path
        Made if needed. It holds ``step-000000100.npz`` and the like.
    every : int, at least 1
    keep : int, at least 1
        How many files stay; older ones are deleted after a newer one is safe. With two, a file
        that the disk spoils later costs `every` updates, not the run.

    Raises
    ------
    ValueError
        If an option is below 1.
    OSError
        If the disk is full, say; the files from before are untouched.
    """

    def __init__(self, folder: str | os.PathLike, *, every: int, keep: int = 2):
        self.folder = Path(folder)
        self.every, self.keep = checks.integer("every", every, low=1), checks.integer("keep", keep, low=1)

    def __call__(self, trainer):
        """Save if it is time."""
        if trainer.step % self.every == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            trainer.save(self.folder / f"step-{trainer.step:09d}.npz")
            for old in saved_files(self.folder)[self.keep :]:
                old.unlink(missing_ok=True)


def saved_files(folder: str | os.PathLike) -> list[Path]:
    """Return a folder's checkpoints, newest first; half-written ones have another name."""
    names = [name for name in os.listdir(folder) if re.fullmatch(r"step-\d+\.npz", name)]
    return [Path(folder, name) for name in sorted(names, key=lambda name: int(name[5:-4]), reverse=True)]
