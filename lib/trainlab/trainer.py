"""The training loop: batches, schedule, accumulation, history, checkpoints, replicas.

Everything that decides a run is a function of numbers you can write down: the batch order of
``(seed, epoch)``, the rate of ``step``. So a checkpoint is parameters, optimizer state and one
integer, and a resumed run is bit-identical to one that never stopped.
"""

import functools
import json
import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks
from trainlab.callbacks import Checkpoint, EarlyStopping, Evaluation, ReduceOnPlateau, saved_files
from trainlab.files import read_arrays, write_arrays
from trainlab.models import Params
from trainlab.optimizers import clip_by_global_norm
from trainlab.schedules import Schedule

__all__ = ["Trainer", "batch_order", "Checkpoint", "EarlyStopping", "Evaluation", "ReduceOnPlateau"]


def batch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """Return the order in which an epoch visits its n examples: a permutation of ``0 .. n - 1``.

    Examples
    --------
    >>> batch_order(seed=0, epoch=0, n=5).tolist() == batch_order(seed=0, epoch=0, n=5).tolist()
    True
    """
    # Stream 0 of a seed makes the initial parameters, hence the 1.
    return np.random.default_rng([seed, 1 + epoch]).permutation(n)


class Trainer:
    r"""Train a model by mini-batch gradient descent: one run, or R replicas in one call.

    One update draws ``batch_size * accumulate`` examples, averages their gradients, and steps:

    .. math:: \theta_{t+1} = \text{optimizer}\Big(\theta_t,\;
              \frac{\sum_i w_i \nabla \ell_i(\theta_t)}{\sum_i w_i},\; \eta_t = \text{schedule}(t)\Big)

    The weights :math:`w_i` are 1 unless you give others to ``fit``. Targets that a loss ignores,
    ``functools.partial(softmax_cross_entropy, ignore_index=-100)``, have weight 0. Both sums run over
    the whole update, so micro-batches with unequal weights give what the whole batch gives.

    An epoch is ``n // (batch_size * accumulate)`` updates in an order that depends on the seed
    and the epoch alone; the rest of the examples, another one each epoch, is left out.

    **Replicas.** With ``replicas=R`` every parameter gets a leading axis of R independent runs,
    each with its own seed and, if wanted, its own schedule. A replica's parameters equal those
    of the same run trained alone, bit for bit: NumPy multiplies stacked matrices one at a time
    with the routine it uses for a single one, and every sum keeps its order. (NumPy does not
    promise this for every platform; the tests check it on yours.)

    Parameters
    ----------
    model : object with ``init``, ``forward``, ``backward``, ``dtype`` and ``input_dtype``
        See :mod:`trainlab.models`.
    loss : callable
        ``loss(predictions, targets, reduction="none")`` returning a :class:`trainlab.losses.Loss`.
    optimizer : object with ``init`` and ``update``
        See :mod:`trainlab.optimizers`.
    schedule : callable, or a list of R callables
        ``schedule(step)`` is the rate of the update after `step` finished ones. A list gives
        each replica its own.
    batch_size : int, at least 1
    seed : int, or a list of R ints
        Replica r has seed ``seed + r``, or ``seed[r]``. The same seed means the same initial
        parameters and the same batches, which makes comparisons paired.
    replicas : int, optional
        R. Not needed where `seed` or `schedule` is a list.
    accumulate : int, at least 1
        Micro-batches of `batch_size` examples for one update: their gradients are summed before
        the optimizer sees them, at the memory of one.
    max_norm : float, optional
        Clip the gradient of each replica by its global norm.
    on_divergence : "raise" or "record"
        What to do when predictions or losses stop being finite. "raise" ends ``fit`` with
        ``FloatingPointError``. "record" keeps going, which is for showing divergence: the run's
        parameters become NaN and its loss reads ``inf`` from that update on.

    Attributes
    ----------
    step : int
        Updates made so far.
    params : dict of arrays
    rate_scale : float, or array of shape (R,)
        Multiplies the schedule's rate; 1 unless a callback changed it.
    diverged : bool, or array of shape (R,)
        Which runs were lost.

    Raises
    ------
    ValueError
        If an option is out of its range or lists differ in length.

    Examples
    --------
    >>> from trainlab import data, losses, models, optimizers, schedules
    >>> points = data.four_points()
    >>> trainer = Trainer(models.Linear(1, 1, dtype=np.float64), losses.squared_error,
    ...                   optimizers.SGD(), schedules.Constant(0.1), batch_size=4)
    >>> _ = trainer.fit(points.x, points.y, steps=500, progress=False)
    >>> W, b = trainer.params["W"].item(), trainer.params["b"].item()
    >>> round(W, 6), abs(round(b, 6))
    (2.0, 0.0)
    """

    def __init__(
        self,
        model: Any,
        loss: Callable,
        optimizer: Any,
        schedule: Callable | Sequence[Callable],
        *,
        batch_size: int,
        seed: int | Sequence[int] = 0,
        replicas: int | None = None,
        accumulate: int = 1,
        max_norm: float | None = None,
        on_divergence: str = "raise",
    ):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.batch_size = checks.integer("batch_size", batch_size, low=1)
        self.accumulate = checks.integer("accumulate", accumulate, low=1)
        self.max_norm = None if max_norm is None else checks.number("max_norm", max_norm, above=0)
        self.on_divergence = checks.one_of("on_divergence", on_divergence, ("raise", "record"))
        self.replicas, self.seeds, self.schedules = _per_replica(replicas, seed, schedule)
        self._shape = () if self.replicas is None else (self.replicas,)

        runs = [model.init(np.random.default_rng([seed, 0])) for seed in self.seeds]
        if self.replicas is None:
            self.params = runs[0]
        else:
            self.params = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
        self.state = optimizer.init(self.params)
        self.step = 0
        self.rate_scale = 1.0 if self.replicas is None else np.ones(self.replicas)
        self._nobody = self.diverged = np.zeros(self._shape, bool)
        self._ignored = loss.keywords.get("ignore_index") if isinstance(loss, functools.partial) else None
        self._examples: int | None = None
        self._epoch: tuple | None = None
        self._record: dict[str, np.ndarray] = {}
        self._callbacks: list = []
        self._callback_states: tuple | None = None

    @property
    def history(self) -> dict[str, np.ndarray]:
        """What each update used and saw: a dict of arrays with one row an update.

        ``"step"`` (T,), ``"rate"`` and ``"loss"`` (T,) or (T, R), and ``"gradient_norm"`` where
        `max_norm` is set. The loss is that of the update's own batch, before the update.
        """
        return {name: rows[: self.step] for name, rows in self._record.items()}

    def table(self) -> list[dict]:
        """Return the history as rows, a list of dicts: ``pandas.DataFrame(trainer.table())`` is a table.

        One row an update, or one an update and replica, with its ``"seed"``.

        Examples
        --------
        >>> from trainlab import losses, models, optimizers, schedules
        >>> trainer = Trainer(models.Linear(1, 1), losses.squared_error, optimizers.SGD(),
        ...                   schedules.Constant(0.5), batch_size=1, seed=[7, 8])
        >>> rows = trainer.fit([[0.0]], [[1.0]], steps=1, progress=False).table()
        >>> rows[1]
        {'step': 0, 'seed': 8, 'rate': 0.5, 'loss': 1.0}
        """
        columns = self.history
        steps = columns.pop("step").tolist() if columns else []
        columns = {name: rows.reshape(len(rows), -1).tolist() for name, rows in columns.items()}
        return [
            {"step": step, "seed": seed} | {name: rows[t][r] for name, rows in columns.items()}
            for t, step in enumerate(steps)
            for r, seed in enumerate(self.seeds)
        ]

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        steps: int | None = None,
        epochs: int | None = None,
        callback: Callable | Sequence[Callable] | None = None,
        progress: bool = True,
    ) -> "Trainer":
        """Make more updates; call it again to go on.

        Parameters
        ----------
        x, y : arrays of n examples each
            Shared by all replicas. Real numbers are cast to the model's type once.
        weights : array, shape (n,) or that of the unreduced losses, optional
            How much each example counts, at least 0; an update's loss is the weighted mean.
        steps, epochs : int, at least 0
            How many more updates, or epochs; give one of the two.
        callback : callable, or a list of them, optional
            ``callback(trainer)`` after every update; raising ``StopIteration`` ends the call, once
            the others of the list had their turn. See :mod:`trainlab.callbacks`.
        progress : bool
            Show a bar in a terminal (needs tqdm).

        Returns
        -------
        Trainer
            Itself.

        Raises
        ------
        ValueError
            If the data are empty, not finite, of different lengths or fewer than one update
            needs, if all weights of an update are 0, if a schedule returns a negative or
            non-finite rate, or if a resumed run lacks the callbacks it was saved with.
        FloatingPointError
            If predictions or losses stop being finite and `on_divergence` is "raise". The
            history up to that update is kept and the parameters are those before it.
        """
        x, y, weights = self._checked_data(x, y, weights)
        per_update = self.batch_size * self.accumulate
        if len(x) < per_update:
            raise ValueError(
                f"batch_size {self.batch_size} x accumulate {self.accumulate} asks for "
                f"{per_update} examples an update, received {len(x)} in all"
            )
        if self._examples not in (None, len(x)):
            raise ValueError(f"this training began with {self._examples} examples, received {len(x)}")
        per_epoch = len(x) // per_update
        if steps is not None and epochs is None:
            steps = checks.integer("steps", steps, low=0)
        elif epochs is not None and steps is None:
            steps = per_epoch * checks.integer("epochs", epochs, low=0)
        else:
            raise ValueError(f"give steps or epochs, received steps={steps} and epochs={epochs}")
        self._adopt(callback)
        self._reserve(steps)
        self._plan(steps)
        self._examples = len(x)

        for _ in progress_bar(range(steps), progress):
            epoch, position = divmod(self.step, per_epoch)
            rows = self._order(epoch, len(x))[..., position * per_update : (position + 1) * per_update]
            self._update(x.take(rows, axis=0), y.take(rows, axis=0), None if weights is None else weights[rows])
            stopped = False
            for each in self._callbacks:
                try:
                    each(self)
                except StopIteration:
                    stopped = True
            if stopped:
                break
        return self

    def predict(self, x: ArrayLike) -> np.ndarray:
        """Return the model's outputs for `x`, shape (n, k) or (R, n, k)."""
        x = self._inputs(x)
        with np.errstate(over="ignore", invalid="ignore"):
            return self.model.forward(self.params, x)[0]

    def evaluate(self, x: ArrayLike, y: ArrayLike, *, weights: ArrayLike | None = None) -> float | np.ndarray:
        """Return the mean loss over all examples: a float, or an array of shape (R,).

        It is the weighted mean where `weights` are given, as in ``fit``. A run that diverged has an
        infinite loss if `on_divergence` is "record"; otherwise non-finite predictions are a
        ``FloatingPointError``.
        """
        x, y, weights = self._checked_data(x, y, weights)
        y = np.broadcast_to(y, self._shape + y.shape)
        weights = None if weights is None else np.broadcast_to(weights, self._shape + weights.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            predictions = self.model.forward(self.params, x)[0]
            values, _, _ = self._losses(predictions, y, *self._weighing(y, weights))
        return float(values) if self.replicas is None else values

    def save(self, path: str | os.PathLike) -> None:
        """Write a checkpoint to exactly `path`; it appears there whole or not at all."""
        groups = {"params": self.params, "state": self.state, "history": self.history}
        arrays = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        # A resumed trainer that was not fitted since still holds what its callbacks will need.
        states = [each.state for each in self._stateful()] if self._callback_states is None else self._callback_states[1]
        for place, state in enumerate(states):
            arrays |= {f"callback{place}/{name}": value for name, value in state.items()}
        arrays |= {"diverged": self.diverged, "rate_scale": self.rate_scale}
        counts = {"step": self.step, "examples": self._examples, "callbacks": self._callback_names()}
        arrays["about"] = np.array(json.dumps(self._about() | counts))
        write_arrays(path, arrays)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike,
        model: Any,
        loss: Callable,
        optimizer: Any,
        schedule: Callable | Sequence[Callable],
        **options: Any,
    ) -> "Trainer":
        """Return a trainer that goes on where ``save(path)`` left off, bit for bit.

        Pass what the saved trainer was made with, and to ``fit`` the same kinds of callbacks, whose
        memory comes back too. The schedule is not compared: it is a function of the step, and
        going on with another one (a decay at the end, say) is a use of its own.

        Parameters
        ----------
        path : path
            A file that ``save`` wrote, or the folder of a :class:`~trainlab.callbacks.Checkpoint`:
            then the newest file that is whole, with a warning about each that is not.

        Raises
        ------
        FileNotFoundError
            If there is no such file, or no checkpoint in the folder.
        ValueError
            If the file is not a whole checkpoint, or was made with another model, loss,
            optimizer or option; the message names each difference.
        """
        trainer = cls(model, loss, optimizer, schedule, **options)
        path, saved = _newest(path)
        about = json.loads(saved["about"].item())
        own = trainer._about()
        differing = [f"{name}: saved {about.get(name)}, received {own[name]}" for name in own if about.get(name) != own[name]]
        if differing:
            raise ValueError(f"{path} is a checkpoint of another training; " + "; ".join(differing))

        def group(prefix):
            return {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}

        trainer.step, trainer._examples = about["step"], about["examples"]
        trainer.diverged, scale = saved["diverged"], saved["rate_scale"]
        trainer.rate_scale = float(scale) if scale.ndim == 0 else scale
        trainer.params, trainer.state, trainer._record = group("params/"), group("state/"), group("history/")
        states = [group(f"callback{place}/") for place in range(len(about["callbacks"]))]
        trainer._callback_states = about["callbacks"], states
        return trainer

    def _stateful(self):
        return [each for each in self._callbacks if hasattr(each, "state")]

    def _callback_names(self):
        if self._callback_states is not None:
            return self._callback_states[0]
        return [type(each).__name__ for each in self._stateful()]

    def _adopt(self, callback):
        """Take over a call's callbacks; the first after a resume get their memory back."""
        callbacks = list(callback) if isinstance(callback, (list, tuple)) else [] if callback is None else [callback]
        for each in callbacks:
            if not callable(each):
                raise TypeError(f"a callback must be callable, received {each!r}")
        if any(isinstance(each, Checkpoint) for each in callbacks[:-1]):
            raise ValueError("a Checkpoint must be the last callback: it saves what those before it did")
        before, self._callbacks = self._callbacks, callbacks
        if self._callback_states is not None:
            (names, states), received = self._callback_states, [type(each).__name__ for each in self._stateful()]
            if names != received:
                self._callbacks = before
                raise ValueError(f"this training was saved with the callbacks {names}, received {received}")
            for each, state in zip(self._stateful(), states):
                each.state = state
            self._callback_states = None

    def _about(self):
        """Everything that must be equal for a resumed run to continue the same training."""
        return {
            "model": checks.describe(self.model),
            "loss": checks.describe(self.loss),
            "optimizer": checks.describe(self.optimizer),
            "seeds": self.seeds,
            "replicas": self.replicas,
            "batch_size": self.batch_size,
            "accumulate": self.accumulate,
            "max_norm": self.max_norm,
            "on_divergence": self.on_divergence,
        }

    def _inputs(self, x):
        if np.dtype(self.model.input_dtype).kind == "i":
            return checks.whole("x", x)
        return checks.finite("x", checks.floating("x", x)).astype(self.model.input_dtype, copy=False)

    def _checked_data(self, x, y, weights):
        x, y = self._inputs(x), np.asarray(y)
        if y.ndim == 0 or x.ndim == 0 or len(x) != len(y):
            raise ValueError(f"x and y must have one row an example, received shapes {x.shape} and {y.shape}")
        if y.dtype.kind == "f":
            y = checks.finite("y", y).astype(self.model.dtype, copy=False)
        if weights is not None:
            shape = np.shape(weights)
            if shape != y.shape[: len(shape)] or len(shape) == 0:
                raise ValueError(f"weights must have shape {y.shape[:1]} or that of the losses, received {shape}")
            weights = checks.weights(weights, shape, self.model.dtype)
        return x, y, weights

    def _weighing(self, y, weights):
        """Return the weights of some targets and their sum for each run, or ``None`` twice for equal weights."""
        if self._ignored is not None:
            counted = (y != self._ignored).astype(self.model.dtype)
            weights = counted if weights is None else counted * _trailing(weights, y)
        if weights is None:
            return None, None
        total = weights.sum(axis=tuple(range(len(self._shape), weights.ndim)), dtype=np.float64)
        if not np.all(total > 0):
            which = "" if self.replicas is None else f" of replicas {np.flatnonzero(total == 0).tolist()}"
            raise ValueError(f"the weights{which} at step {self.step} are all zero: nothing is left to average")
        return weights, total

    def _order(self, epoch, n):
        """Return the epoch's visiting order, shape (n,) or (R, n), made once an epoch."""
        if self._epoch is None or self._epoch[0] != epoch:
            orders = np.stack([batch_order(seed, epoch, n) for seed in self.seeds])
            self._epoch = epoch, orders[0] if self.replicas is None else orders
        return self._epoch[1]

    def _reserve(self, steps):
        """Make room for `steps` more rows of history."""
        names = {"step": ((), np.int64), "rate": (self._shape, np.float64), "loss": (self._shape, np.float64)}
        if self.max_norm is not None:
            names["gradient_norm"] = (self._shape, np.float64)
        old = self.history
        for name, (shape, dtype) in names.items():
            room = np.empty((steps,) + shape, dtype)
            self._record[name] = np.concatenate([old[name], room]) if name in old else room

    def _plan(self, steps):
        """Work out the rates of the next updates at once, where the schedules are the library's.

        They are pure, so asking ahead is asking. Any other callable is asked update by update.
        """
        self._planned, self._planned_from = None, self.step
        schedules = {id(schedule): schedule for schedule in self.schedules}
        if all(isinstance(schedule, Schedule) for schedule in schedules.values()):
            ahead = np.arange(self.step, self.step + steps)
            rates = {key: schedule(ahead) for key, schedule in schedules.items()}
            planned = np.stack([rates[id(schedule)] for schedule in self.schedules], axis=-1)
            # A wrong rate is for its own update to complain of.
            if np.all((planned >= 0) & (planned < np.inf)):
                self._planned = planned[:, 0].tolist() if self.replicas is None else planned

    def _rate(self):
        """Return the rate of this update: a float, or an array of shape (R,)."""
        if self._planned is not None:
            return self._planned[self.step - self._planned_from] * self.rate_scale
        # Replicas often share a schedule; each distinct one is asked once.
        rates = {}
        for schedule in self.schedules:
            if id(schedule) not in rates:
                rate = schedule(self.step)
                if type(rate) is not float:
                    rate = _as_number(rate, schedule, self.step)
                if not 0 <= rate < np.inf:
                    raise ValueError(f"{checks.describe(schedule)} returned the rate {rate} at step {self.step}")
                rates[id(schedule)] = rate
        if self.replicas is None:
            return rates[id(self.schedules[0])] * self.rate_scale
        return np.array([rates[id(schedule)] for schedule in self.schedules]) * self.rate_scale

    def _losses(self, predictions, targets, weights, total, parts=1):
        """Return each run's mean loss, the gradient of that mean, and which runs are lost.

        For one of several `parts` of an update, the mean's share that falls to it: `total` is the
        weight of the whole update.
        """
        runs, lost = len(self._shape), self._nobody
        axes = tuple(range(runs, predictions.ndim))
        if not np.isfinite(predictions).all():
            lost = ~np.isfinite(predictions).all(axis=axes)
            self._refuse(lost, "predictions")
            predictions = np.where(np.expand_dims(lost, axes), 0, predictions)
        values, gradient = self.loss(predictions, targets, reduction="none")
        if weights is None:
            total = values.size // len(self.seeds) * parts
            gradient = gradient / gradient.dtype.type(total)
        else:
            if weights.shape != values.shape[: weights.ndim]:
                raise ValueError(f"weights have shape {weights.shape}, the losses {values.shape}; losses do not broadcast")
            # One weight for an example of several numbers counts for each of them.
            total = total * (values.size // weights.size)
            share = weights / np.expand_dims(total, tuple(range(runs, weights.ndim)))
            gradient = gradient * _trailing(share, gradient).astype(gradient.dtype)
            values = values * _trailing(weights, values)
        if self.replicas is None:
            values = float(values.sum(dtype=np.float64)) / total
        else:
            values = values.reshape(self.replicas, -1).sum(axis=-1, dtype=np.float64) / total
        if not (math.isfinite(values) if self.replicas is None else np.isfinite(values).all()):
            self._refuse(~np.isfinite(values), "losses")
            lost = lost | ~np.isfinite(values)
        if lost is not self._nobody:
            values = np.where(lost, np.inf, values)
            gradient = np.where(np.expand_dims(lost, axes), gradient.dtype.type(np.nan), gradient)
        return values, gradient, lost

    def _refuse(self, lost, what):
        if self.on_divergence == "raise":
            which = "" if self.replicas is None else f" of replicas {np.flatnonzero(lost).tolist()}"
            raise FloatingPointError(f"the {what}{which} stopped being finite at step {self.step}")

    def _update(self, x, y, weights):
        rate, axis = self._rate(), len(self._shape)
        weights, total = self._weighing(y, weights)
        loss, lost = 0.0, self.diverged
        gradients: Params = {}
        # A run that diverges overflows on its way, and says so by its loss.
        with np.errstate(over="ignore", invalid="ignore"):
            for part in range(self.accumulate):
                micro_x, micro_y, micro_weights = x, y, weights
                if self.accumulate > 1:
                    rows = (slice(None),) * axis + (slice(part * self.batch_size, (part + 1) * self.batch_size),)
                    micro_x, micro_y, micro_weights = x[rows], y[rows], None if weights is None else weights[rows]
                predictions, cache = self.model.forward(self.params, micro_x)
                value, gradient, bad = self._losses(predictions, micro_y, micro_weights, total, self.accumulate)
                part_gradients = self.model.backward(self.params, cache, gradient)
                loss, lost = loss + value, lost | bad
                if part == 0:
                    gradients = part_gradients
                else:
                    gradients = {name: gradients[name] + part_gradients[name] for name in gradients}
            if self.max_norm is not None:
                gradients, norm = clip_by_global_norm(gradients, self.max_norm, replicas=self.replicas is not None)
                self._record["gradient_norm"][self.step] = norm
            self.optimizer.update(self.params, gradients, self.state, rate)
        self._record["step"][self.step] = self.step
        self._record["rate"][self.step] = rate
        self._record["loss"][self.step] = loss
        self.diverged = lost
        self.step += 1


def _trailing(weights, array):
    """Return `weights` with axes of length 1 at the end, to multiply an array of more axes."""
    return weights.reshape(weights.shape + (1,) * (array.ndim - weights.ndim))


def _as_number(rate, schedule, step):
    """Return what a schedule gave as a ``float``: a NumPy number will do, an array or a text will not."""
    number = np.asarray(rate)
    if number.ndim != 0 or number.dtype.kind not in "iuf":
        raise ValueError(f"{checks.describe(schedule)} returned the rate {rate} at step {step}")
    return float(number)


def _newest(path):
    """Return the path and the arrays of a checkpoint file, or of a folder's newest that is whole."""
    if not os.path.isdir(path):
        return path, _read(path)
    broken = None
    for file in saved_files(path):
        try:
            return file, _read(file)
        except ValueError as error:
            warnings.warn(f"passed over: {error}", stacklevel=3)
            broken = error
    if broken is not None:
        raise ValueError(f"no checkpoint in {path} is whole") from broken
    raise FileNotFoundError(f"no checkpoint in {path}")


def _read(path):
    try:
        saved = read_arrays(path)
        json.loads(saved["about"].item())
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error}") from error
    return saved


def _per_replica(replicas, seed, schedule):
    """Return R or None, the seeds and the schedules, one for each run."""
    seeds = list(seed) if isinstance(seed, (list, tuple, range, np.ndarray)) else None
    schedules = list(schedule) if isinstance(schedule, (list, tuple)) else None
    lengths = {"replicas": replicas, "seed": seeds, "schedule": schedules}
    lengths = {
        name: len(length) if isinstance(length, list) else length for name, length in lengths.items() if length is not None
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


def progress_bar(steps, wanted, unit="updates", total=None):
    """Return `steps`, with a bar around it if `wanted`, if there is a terminal, and if tqdm is installed."""
    if not wanted:
        return steps
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    # disable=None shows the bar in terminals only, so that notebooks store no speeds.
    return tqdm(steps, desc=unit, total=total, disable=None)
