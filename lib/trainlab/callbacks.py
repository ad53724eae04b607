"""Callbacks: what a training does after its updates, other than updating.

``fit(callback=...)`` takes any function of the trainer, or a list of them; raising
:class:`StopTraining` ends the call. The classes here also remember something from call to call.
They keep it in ``state``, a dict of arrays, which ``Trainer.save`` writes into the checkpoint, so
that a resumed run goes on as if never stopped. Each training has a memory of its own: a callback
used for a second one begins anew there, and finds its old memory when it comes back to the first.

What is called between two updates may be interrupted. So a callback changes its ``state`` by one
assignment, and asked a second time at the same step it only acts again on what it knows.
"""

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks
from trainlab.checkpoints import read, saved_files
from trainlab.models import Params


class StopTraining(Exception):
    """Raised by a callback to end the call of ``fit`` after this update, once the others had their turn."""


def checked(callback: Callable | Sequence[Callable] | None, memory: dict | None) -> list:
    """Return the callbacks of a call of ``fit`` as a list.

    Raises
    ------
    TypeError
        If one of them cannot be called.
    ValueError
        If a :class:`Checkpoint` is not the last, one is there twice, or they are not those of
        `memory`, what
        :func:`remembered` once returned.
    """
    callbacks: list = (
        list(callback)
        if isinstance(callback, (list, tuple))
        else []
        if callback is None
        else [callback]
    )
    for each in callbacks:
        if not callable(each):
            raise TypeError(f"a callback must be callable, received {each!r}")
    if any(isinstance(each, Checkpoint) for each in callbacks[:-1]):
        raise ValueError(
            "a Checkpoint must be the last callback: it saves what those before it did"
        )
    if len({id(each) for each in callbacks}) < len(callbacks):
        raise ValueError("callbacks must be different objects, received one of them twice")
    if memory is not None and memory["names"]:
        received = [type(each).__name__ for each in stateful(callbacks)]
        if memory["names"] != received:
            raise ValueError(
                f"this training was saved with the callbacks {memory['names']}, received {received}"
            )
    return callbacks


def stateful(callbacks: Iterable[Callable]) -> list:
    """Return those of the callbacks that remember something."""
    return [each for each in callbacks if hasattr(each, "state")]


def among(each: object, others: Iterable[object]) -> bool:
    """Say whether this very object is one of the others."""
    return any(each is other for other in others)


def remembered(callbacks: Iterable[Callable], owed: Iterable[Callable], stopping: bool) -> dict:
    """Return what a checkpoint keeps of callbacks: names, states, which are owed the last update, and a stop."""
    kept = stateful(callbacks)
    return {
        "names": [type(each).__name__ for each in kept],
        "states": [each.state for each in kept],
        "owed": [place for place, each in enumerate(kept) if among(each, owed)],
        "stopping": stopping,
    }


def adopted(
    callback: Any, trainer: Any, owed: Iterable[Callable], memory: dict | None
) -> tuple[list, tuple]:
    """Return a call's callbacks, and which of them are owed the last update.

    The first after a resume get their states of a `memory` back, and are owed what that says.
    """
    callbacks = checked(callback, memory)
    for each in callbacks:
        if hasattr(each, "begin"):
            each.begin(trainer)
    if memory is not None:
        kept = stateful(callbacks)
        for each, state in zip(kept, memory["states"]):
            each.state = state
        owed = [kept[place] for place in memory["owed"]]
    return callbacks, tuple(each for each in callbacks if among(each, owed))


class _Memory:
    """A state for each training."""

    def __init__(self):
        self._memories: dict = {}
        self._training: object = None

    @property
    def state(self) -> dict[str, np.ndarray]:
        """What is remembered of the training that the callback served last."""
        return self._memories.setdefault(self._training, {})

    @state.setter
    def state(self, state: dict[str, np.ndarray]) -> None:
        self._memories[self._training] = state

    def begin(self, trainer):
        """Turn to a training and to what is remembered of it; ``fit`` calls this before its first update."""
        self._training = trainer.token

    def __call__(self, trainer):
        """Look at the training after an update."""
        raise NotImplementedError


class Evaluation(_Memory):
    """Evaluate the model on other examples every so many updates, and keep what comes out.

    Parameters
    ----------
    x, y : arrays of n examples each
    every : int, at least 1
        Evaluate after each `every` updates.
    measure : callable, optional
        ``measure(trainer, x, y)`` returns a float, or an array of shape (R,) with replicas. The
        default is the mean loss, ``trainer.evaluate(x, y, weights=weights)``.
    weights : array, shape (n,) or that of the unreduced losses, optional
        How much each example counts in the mean loss. A measure of your own weighs by itself.

    Attributes
    ----------
    history : dict of arrays
        ``"step"`` (E,), the updates made at each evaluation, and ``"value"`` (E,) or (E, R); of the
        training that the callback served last.

    Raises
    ------
    ValueError
        If `every` is below 1, if weights come with a measure, or if a measured value is NaN.

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

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        every: int,
        measure: Callable | None = None,
        weights: ArrayLike | None = None,
    ):
        if measure is not None and weights is not None:
            raise ValueError(
                "weights are for the mean loss, received weights and a measure, which weighs by itself"
            )
        self.x, self.y, self.measure, self.weights = x, y, measure, weights
        self.every = checks.integer("every", every, low=1)
        super().__init__()

    @property
    def history(self) -> dict[str, np.ndarray]:
        """The steps and the values measured there."""
        return {name: np.array(self.state.get(name, [])) for name in ("step", "value")}

    def __call__(self, trainer):
        """Evaluate and record if it is time, and act on it."""
        self.begin(trainer)
        if trainer.step % self.every:
            return
        if "step" not in self.state or self.state["step"][-1] != trainer.step:
            self.state = self._after(trainer, self._measured(trainer))
        self._act(trainer)

    def _measured(self, trainer):
        if self.measure is None:
            value = trainer.evaluate(self.x, self.y, weights=self.weights)
        else:
            value = self.measure(trainer, self.x, self.y)
        value = np.asarray(value, np.float64)
        if value.shape != trainer.diverged.shape or np.isnan(value).any():
            raise ValueError(
                f"a measure must return numbers of shape {trainer.diverged.shape}, received {value} at step {trainer.step}"
            )
        return value

    def _after(self, trainer, value):
        """Return the state with one evaluation more."""
        state = dict(self.state)
        for name, row in (("step", np.array([trainer.step])), ("value", value[None])):
            state[name] = np.concatenate([state[name], row]) if name in state else row
        return state

    def _act(self, trainer):
        """Do what the state asks for, however often this is called."""


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
        better: str | None = None,
        weights: ArrayLike | None = None,
    ):
        super().__init__(x, y, every=every, measure=measure, weights=weights)
        self.patience = checks.integer("patience", patience, low=1)
        self.threshold = checks.number("threshold", threshold, low=0, below=1)
        if better is None and measure is not None:
            raise ValueError(
                "a measure of your own needs better='lower' or better='higher', received none: an accuracy is no loss"
            )
        self.better = checks.one_of(
            "better", "lower" if better is None else better, ("lower", "higher")
        )

    def _after(self, trainer, value):
        state = super()._after(trainer, value)
        sign = 1 if self.better == "lower" else -1
        best = self.state.get("best", np.full(value.shape, sign * np.inf))
        waited = self.state.get("waited", np.zeros(value.shape, np.int64))
        # Relative to the size of the best value, whatever its sign; at the start nothing is known.
        margin = self.threshold * np.where(np.isfinite(best), np.abs(best), 0)
        # Those of an early stopping whose patience was spent before are past improving.
        improved = (sign * value < sign * best - margin) & ~self.state.get(
            "spent", np.zeros(value.shape, bool)
        )
        state |= {
            "best": np.where(improved, value, best),
            "waited": np.where(improved, 0, waited + 1),
        }
        return self._decided(trainer, state, improved)

    def _decided(self, trainer, state, improved):
        """Return the state with what follows from which replicas improved."""
        return state


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
        An improvement is a value better than `best` by more than ``threshold * abs(best)``.
    measure, weights
        As for :class:`Evaluation`.
    better : "lower" or "higher"
        Which values are better. A loss is better when it is lower; for a measure of your own you
        have to say it: "higher" for an accuracy.

    Attributes
    ----------
    best : float, or array of shape (R,)
        The best value.
    best_step : int, or array of shape (R,)
        The number of updates that gave it.
    best_params : dict of arrays
        The parameters that gave it; ``trainer.params = stopping.best_params`` goes back to them.

    Raises
    ------
    ValueError
        If an option is out of its range, if a measure comes without `better`, or as
        :class:`Evaluation` does.
    """

    def _decided(self, trainer, state, improved):
        state["best_step"] = np.where(improved, trainer.step, self.state.get("best_step", 0))
        for name, value in trainer.params.items():
            old = self.state.get(f"best_params/{name}", value)
            mask = improved.reshape(improved.shape + (1,) * (value.ndim - improved.ndim))
            state[f"best_params/{name}"] = np.where(mask, value, old)
        state["spent"] = state["waited"] >= self.patience
        return state

    def _act(self, trainer):
        """Raise :class:`StopTraining` when every replica's patience is spent."""
        if self.state["spent"].all():
            raise StopTraining

    @property
    def best(self) -> float | np.ndarray:
        """The best value so far."""
        return self._known("best")

    @property
    def best_step(self) -> int | np.ndarray:
        """The number of updates that gave the best value."""
        return self._known("best_step")

    @property
    def best_params(self) -> dict[str, np.ndarray]:
        """A copy of the parameters that gave the best value."""
        self._known("best")
        names = [name for name in self.state if name.startswith("best_params/")]
        return {name.removeprefix("best_params/"): self.state[name].copy() for name in names}

    def _known(self, name):
        if name not in self.state:
            raise ValueError(
                f"nothing was evaluated yet: the first evaluation comes after {self.every} updates"
            )
        value = self.state[name]
        return value.item() if value.ndim == 0 else value


class ReduceOnPlateau(_Patience):
    """Multiply the rate by a factor whenever the loss on other examples stops improving.

    It is no schedule: it looks at the run. It multiplies what the trainer's schedule says, for
    each replica by itself, through ``trainer.rate_scale``.

    Parameters
    ----------
    x, y, every, threshold, measure, better, weights
        As for :class:`EarlyStopping`.
    patience : int, at least 1
        So many evaluations in a row without improvement reduce the rate; then counting starts
        again.
    factor : float, 0 < factor < 1
    smallest : float, at least 0
        The product of all reductions does not fall below this.

    Raises
    ------
    ValueError
        If an option is out of its range, or as :class:`EarlyStopping` does.
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
        better: str | None = None,
        weights: ArrayLike | None = None,
    ):
        super().__init__(
            x,
            y,
            every=every,
            patience=patience,
            threshold=threshold,
            measure=measure,
            better=better,
            weights=weights,
        )
        self.factor = checks.number("factor", factor, above=0, below=1)
        self.smallest = checks.number("smallest", smallest, low=0, below=1)

    def _decided(self, trainer, state, improved):
        spent = state["waited"] >= self.patience
        reduced = np.maximum(trainer.rate_scale * self.factor, self.smallest)
        # A scale already below the smallest, set by hand, is not raised.
        state["scale"] = np.where(
            spent, np.minimum(reduced, trainer.rate_scale), trainer.rate_scale
        )
        state["waited"] = np.where(spent, 0, state["waited"])
        return state

    def _act(self, trainer):
        """Give the trainer its scale."""
        scale = self.state["scale"]
        trainer.rate_scale = float(scale) if scale.ndim == 0 else scale.copy()


class Average(_Memory):
    r"""Average the parameters over the updates, to evaluate with instead of the last ones.

    .. math:: \bar\theta \leftarrow \bar\theta + w_k\, (\theta - \bar\theta), \qquad
              w_k = \frac{1}{k} \quad \text{or, with a decay } d, \quad
              w_k = \frac{1 - d}{1 - d^k}

    with :math:`\theta` the parameters after an update, and :math:`k` how many of them are in the
    average :math:`\bar\theta`, these included. Without a decay all weigh the same: Polyak and
    Juditsky (1992), *Acceleration of stochastic approximation by averaging*; Izmailov et al.
    (2018), *Averaging weights leads to wider optima and better generalization*. With one,
    parameters of `age` updates ago weigh :math:`d^\text{age}`, and all weights sum to 1 from the
    first on: Morales-Brotons, Vogels and Hendrikx (2024), *Exponential moving average of weights in
    deep learning*. The training goes on as it would without.

    Parameters
    ----------
    start : int, at least 0
        The first parameters in the average are those after so many updates; 0 means the same as 1.
    decay : float, 0 <= decay < 1, optional
        Its memory is about ``1 / (1 - decay)`` parameters long.
    every : int, at least 1
        Take the parameters after each `every` updates.

    Attributes
    ----------
    count : int
        How many parameters are in the average.
    params : dict of arrays
        The average, in the types of the parameters; it is kept in float64.
        ``trainer.params = average.params`` goes on with it.

    Raises
    ------
    ValueError
        If an option is out of its range, or `params` are asked for before there are any.
    TypeError
        If an option is of the wrong kind.

    Examples
    --------
    Steps of size 1 against a gradient of the sign alone, back and forth over the best W, 0:

    >>> from trainlab import losses, models, optimizers, schedules
    >>> from trainlab.trainer import Trainer
    >>> average = Average(start=10)
    >>> watch = Evaluation([[1.0]], [[0.5]], every=20, measure=average.evaluate)
    >>> trainer = Trainer(models.Linear(1, 1), losses.absolute_error, optimizers.SGD(),
    ...                   schedules.Constant(0.5), batch_size=1)
    >>> _ = trainer.fit([[1.0]], [[0.5]], steps=20, callback=[average, watch], progress=False)
    >>> average.count, bool(watch.history["value"][0] < trainer.evaluate([[1.0]], [[0.5]]))
    (11, True)
    """

    def __init__(self, *, start: int = 0, decay: float | None = None, every: int = 1):
        self.start = checks.integer("start", start, low=0)
        self.decay = None if decay is None else checks.number("decay", decay, low=0, below=1)
        self.every = checks.integer("every", every, low=1)
        super().__init__()
        self._types: dict = {}

    def begin(self, trainer):
        """Turn to a training and to what is remembered of it; ``fit`` calls this before its first update."""
        super().begin(trainer)
        self._types = {name: value.dtype for name, value in trainer.params.items()}

    def __call__(self, trainer):
        """Take the parameters into the average if it is time, and if they are not in it."""
        self.begin(trainer)
        due = trainer.step >= self.start and trainer.step % self.every == 0
        if due and self.state.get("step") != trainer.step:
            self.state = self._after(trainer)

    def _after(self, trainer):
        """Return the state with these parameters in it."""
        count = self.count + 1
        share = 1 / count if self.decay is None else (1 - self.decay) / (1 - self.decay**count)
        state = {"step": np.array(trainer.step), "count": np.array(count)}
        # A run that was lost is NaN, or on its way there.
        with np.errstate(over="ignore", invalid="ignore"):
            for name, value in trainer.params.items():
                # In float32 a change of one part in ten million would be lost, update by update.
                new = value.astype(np.promote_types(value.dtype, np.float64))
                old = self.state.get(f"params/{name}", new)
                state[f"params/{name}"] = old + share * (new - old)
        return state

    @property
    def count(self) -> int:
        """How many parameters are in the average."""
        return int(self.state.get("count", 0))

    @property
    def params(self) -> Params:
        """A copy of the average."""
        if not self.count:
            first = max(1, -(-self.start // self.every)) * self.every
            raise ValueError(
                f"nothing was averaged yet: the first parameters are those after {first} updates"
            )
        return {
            name: self.state[f"params/{name}"].astype(kind) for name, kind in self._types.items()
        }

    def evaluate(self, trainer: Any, x: ArrayLike, y: ArrayLike, **options: Any) -> Any:
        """Return what ``trainer.evaluate`` returns, for the average in place of the trainer's parameters.

        So it is a measure, too: ``Evaluation(x, y, every=10, measure=average.evaluate)``, in the
        list of callbacks behind the average.
        """
        averaged = copy.copy(trainer)
        averaged.params = self.params
        return averaged.evaluate(x, y, **options)


class Checkpoint:
    """Save the training every so many updates and at the end of ``fit``, and keep the last few files.

    Each file appears whole or not at all. ``Trainer.resume(folder, ...)`` takes the newest that is
    whole. In a list of callbacks it has to come last, so that it saves what the others did. The end
    of ``fit`` is its last update, or the one after which a callback stopped it.

    Parameters
    ----------
    folder : path
        Made if needed. It holds ``step-000000100.npz`` and the like, of one run: that which made
        them, or one resumed from them.
    every : int, at least 1
    keep : int, at least 1
        How many files stay; older ones are deleted after a newer one is safe. With two, a file
        that the disk spoils later costs `every` updates, not the run.

    Raises
    ------
    ValueError
        If an option is below 1; before the first update, if the folder holds checkpoints of another
        run, or of later updates than this run has made.
    OSError
        If the disk is full, say; the files from before are untouched.
    """

    def __init__(self, folder: str | os.PathLike, *, every: int, keep: int = 2):
        self.folder = Path(folder)
        self.every, self.keep = (
            checks.integer("every", every, low=1),
            checks.integer("keep", keep, low=1),
        )
        self._known: set = set()

    def begin(self, trainer):
        """Refuse a folder that is not this run's."""
        if self.folder.is_dir():
            self._own_files(trainer)

    def __call__(self, trainer):
        """Save if it is time."""
        if trainer.step % self.every == 0:
            self._save(trainer)

    def end(self, trainer):
        """Save, whatever the number of updates."""
        self._save(trainer)

    def _save(self, trainer):
        self.folder.mkdir(parents=True, exist_ok=True)
        self._own_files(trainer)
        trainer.save(self._file(trainer))
        self._known.add(self._name(trainer, self._file(trainer)))
        for old in self._own_files(trainer)[self.keep :]:
            old.unlink(missing_ok=True)

    def _own_files(self, trainer):
        """Return the files of this run that are whole, newest first; refuse those of another one or of its future."""
        own = []
        for file in saved_files(self.folder):
            if self._name(trainer, file) not in self._known:
                try:
                    about, _ = read(file)
                except ValueError:
                    continue  # damaged: resuming passes it over, and a new file of its name replaces it
                if about["run"] != trainer.run:
                    raise ValueError(
                        f"{self.folder} holds checkpoints of another run, {file.name} for one: "
                        "resume that run, delete them, or take another folder"
                    )
                self._known.add(self._name(trainer, file))
            if int(file.name[5:-4]) > trainer.step:
                raise ValueError(
                    f"{self.folder} holds {file.name} of this run, which is back at step {trainer.step}: "
                    "resume from it, delete it, or take another folder"
                )
            own.append(file)
        return own

    def _file(self, trainer):
        return self.folder / f"step-{trainer.step:09d}.npz"

    def _name(self, trainer, file):
        """Name a run's file as it is now, so that one that was read need not be read again."""
        return trainer.run, file.name, file.stat().st_mtime_ns
