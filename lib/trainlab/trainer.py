"""The training loop: batches, schedule, accumulation, history, checkpoints, replicas.

Everything that decides a run is a function of numbers you can write down: the batch order of
``(seed, epoch)``, the rate of ``step``. So a checkpoint is parameters, optimizer state and one
integer, and a resumed run is bit-identical to one that never stopped.

All that an update changes is one value, replaced as a whole when the update is done. So whatever
interrupts a training, Ctrl-C say, an update has happened or it has not, and ``fit`` goes on.
"""

import copy
import inspect
import json
import math
import os
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trainlab import buffers, checkpoints, checks
from trainlab.callbacks import Checkpoint, EarlyStopping, Evaluation, ReduceOnPlateau, StopTraining
from trainlab.files import write_arrays
from trainlab.identity import fingerprint
from trainlab.losses.sums import divided, gradient_of_mean, weighed_sum
from trainlab.models import Params
from trainlab.optimizers import clip_by_global_norm
from trainlab.schedules import Schedule

__all__ = ["Trainer", "batch_order", "Checkpoint", "EarlyStopping", "Evaluation", "ReduceOnPlateau", "StopTraining"]


def batch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """Return the order in which an epoch visits its n examples: a permutation of ``0 .. n - 1``.

    Examples
    --------
    >>> batch_order(seed=0, epoch=0, n=5).tolist() == batch_order(seed=0, epoch=0, n=5).tolist()
    True
    """
    # Stream 0 of a seed makes the initial parameters, hence the 1.
    return np.random.default_rng([seed, 1 + epoch]).permutation(n)


class _Moment(NamedTuple):
    """All that an update changes."""

    step: int
    params: Params
    state: Params
    diverged: np.ndarray
    owed: tuple  # callbacks that have still to see the last update
    stopping: bool  # whether one that saw it asked to stop


class _Data(NamedTuple):
    """The examples of a training, known again by their fingerprints, and where it began with them."""

    prints: dict
    examples: int
    step: int
    epoch: int


class Trainer:
    r"""Train a model by mini-batch gradient descent: one run, or R replicas in one call.

    One update draws ``batch_size * accumulate`` examples, averages their gradients, and steps:

    .. math:: \theta_{t+1} = \text{optimizer}\Big(\theta_t,\;
              \frac{\sum_i w_i \nabla \ell_i(\theta_t)}{\sum_i w_i},\; \eta_t = \text{schedule}(t)\Big)

    The weights :math:`w_i` are those that the loss returns beside its values (:class:`trainlab.losses.Loss`;
    0 for a target that it ignores), times those given to ``fit``, and 1 without either. Both sums run over
    the whole update, so micro-batches with unequal weights give what the whole batch gives. A loss of
    your own that leaves targets out has to return their weights too: what counts is never guessed.

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
        ``loss(predictions, targets, reduction="none")`` returning a :class:`trainlab.losses.Loss`, or
        a pair of values and gradient where every value counts once.
    optimizer : object with ``init`` and ``update``
        See :mod:`trainlab.optimizers`. One whose ``update`` has no ``out`` gets copies to change.
    schedule : callable, or a list of R callables
        ``schedule(step)`` is the rate of the update after `step` finished ones. It has to be a
        function of the step: ``resume`` asks for steps of the past. A list gives each replica its own.
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
        Overwritten by the next updates: copy what you want to keep. What you assign is copied.
    rate_scale : float, or array of shape (R,)
        Multiplies the schedule's rate; 1 unless a callback changed it.
    diverged : bool, or array of shape (R,)
        Which runs were lost.
    run : str
        The name of this run, drawn at random. A resumed trainer has that of the run it goes on with.

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
        params = runs[0]
        if self.replicas is not None:
            params = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
        self._nobody = np.zeros(self._shape, bool)
        params = buffers.pack(params, self.replicas is not None)
        self._now = _Moment(0, params, optimizer.init(params), self._nobody, (), False)
        self._writes_out = [_takes_out(method) for method in (model.backward, optimizer.update)]
        self._rooms = [buffers.empty_like(params) for _ in range(min(2, self.accumulate))]  # for gradients
        self._pairs: tuple = ()
        self.rate_scale = 1.0 if self.replicas is None else np.ones(self.replicas)
        self.run = uuid.uuid4().hex
        self.token = object()  # tells trainers apart; two may go on with one run
        self._data: _Data | None = None
        self._epoch: tuple | None = None
        self._record: dict[str, np.ndarray] = {}
        self._callbacks: list = []
        self._callback_states: dict | None = None

    @property
    def step(self) -> int:
        """The number of updates made so far."""
        return self._now.step

    @property
    def params(self) -> Params:
        """The parameters, a dict of arrays, with a leading axis of R where there are replicas."""
        return self._now.params

    @params.setter
    def params(self, params: Params) -> None:
        self._now = self._now._replace(params=_copied("params", params, self._now.params))

    @property
    def state(self) -> Params:
        """The optimizer's state."""
        return self._now.state

    @state.setter
    def state(self, state: Params) -> None:
        self._now = self._now._replace(state=_copied("state", state, self._now.state))

    @property
    def diverged(self) -> np.ndarray:
        """Which runs were lost, a truth value or an array of shape (R,)."""
        return self._now.diverged

    @property
    def history(self) -> dict[str, np.ndarray]:
        """What each update used and saw: a dict of arrays with one row an update.

        ``"step"`` (T,), ``"rate"`` and ``"loss"`` (T,) or (T, R), and ``"gradient_norm"`` where
        `max_norm` is set. The loss is that of the update's own batch, before the update.
        """
        return {name: rows[: self.step] for name, rows in self._record.items() if name != "scheduled"}

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
        new_data: bool = False,
    ) -> "Trainer":
        """Make more updates; call it again to go on, after an interruption too.

        An interrupted update has not happened, unless it was done; then the callbacks that had not
        returned are called first when ``fit`` is called again with them. A callback of your own may
        so be asked twice at one step.

        Parameters
        ----------
        x, y : arrays of n examples each
            Shared by all replicas. Real numbers are cast to the model's type once.
        weights : array, shape (n,) or that of the unreduced losses, optional
            How much each example counts, at least 0; an update's loss is the weighted mean.
        steps, epochs : int, at least 0
            How many more updates, or epochs; give one of the two.
        callback : callable, or a list of them, optional
            ``callback(trainer)`` after every update; raising :class:`~trainlab.callbacks.StopTraining`
            ends the call, once the others of the list had their turn. Any other exception is an
            error. See :mod:`trainlab.callbacks`.
        progress : bool
            Show a bar in a terminal (needs tqdm).
        new_data : bool
            Go on with other examples or weights than before; without it they are refused. If their
            number is the same the epoch goes on, otherwise one of the new examples begins.

        Returns
        -------
        Trainer
            Itself.

        Raises
        ------
        ValueError
            If the data are empty, not finite, of different lengths or fewer than one update
            needs, or others than before; if all weights of an update are 0, if a schedule returns a
            negative or non-finite rate, or if a resumed run lacks the callbacks it was saved with.
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
        per_epoch = len(x) // per_update
        if steps is not None and epochs is None:
            steps = checks.integer("steps", steps, low=0)
        elif epochs is not None and steps is None:
            steps = per_epoch * checks.integer("epochs", epochs, low=0)
        else:
            raise ValueError(f"give steps or epochs, received steps={steps} and epochs={epochs}")
        data = self._known_data(x, y, weights, new_data)
        self._adopt(callback)
        self._reserve(steps)
        self._plan(steps)
        self._data = data

        try:
            for _ in progress_bar(range(0 if self._ask_callbacks() else steps), progress):
                epoch, position = divmod(self.step - data.step, per_epoch)
                rows = self._order(data.epoch + epoch, len(x))[..., position * per_update : (position + 1) * per_update]
                self._update(x.take(rows, axis=0), y.take(rows, axis=0), None if weights is None else weights[rows])
                if self._callbacks and self._ask_callbacks():
                    break
        finally:
            self._settle()
        self._now = self._now._replace(stopping=False)
        for each in self._callbacks:
            if hasattr(each, "end"):
                each.end(self)
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
            value, weight, _, lost = self._losses(predictions, y, weights)
            value = np.where(lost, np.inf, value / self._checked_weight(weight))
        return float(value) if self.replicas is None else value

    def save(self, path: str | os.PathLike) -> None:
        """Write a checkpoint to exactly `path`; it appears there whole or not at all.

        A symbolic link at `path` stays one: the file that it leads to is written.
        """
        now: _Moment = self._now
        groups: dict[str, dict] = {"params": now.params, "state": now.state}
        groups["history"] = {name: rows[: now.step] for name, rows in self._record.items()}
        memory = self._callback_memory()
        groups |= {f"callback{place}": state for place, state in enumerate(memory.pop("states"))}
        arrays = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        arrays |= {"diverged": now.diverged, "rate_scale": np.asarray(self.rate_scale)}
        about = self._about() | {"run": self.run, "step": now.step, "data": self._data, "callbacks": memory}
        arrays["about"] = np.array(json.dumps(about))
        write_arrays(path, arrays)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike,
        model: Any,
        loss: Callable,
        optimizer: Any,
        schedule: Callable | Sequence[Callable],
        *,
        changed: Sequence[str] = (),
        **options: Any,
    ) -> "Trainer":
        """Return a trainer that goes on where ``save(path)`` left off, bit for bit.

        Pass what the saved trainer was made with, and to ``fit`` the same examples and the same kinds
        of callbacks, whose memory comes back too. Functions and objects are compared by their code
        and their values, schedules by the rates of the updates that were made: one that agrees on
        those and differs afterwards (a decay at the end, say) is welcome.

        Parameters
        ----------
        path : path
            A file that ``save`` wrote, or the folder of a :class:`~trainlab.callbacks.Checkpoint`:
            then the newest file that is whole, with a warning about each that is not.
        model, loss, optimizer, schedule, **options
            As for :class:`Trainer`.
        changed : sequence of "model", "loss", "optimizer", "schedule"
            What may differ from the saved run, or cannot be compared with it. An optimizer keeps its
            state if that still fits, and begins anew otherwise.

        Raises
        ------
        FileNotFoundError
            If there is no such file, or no checkpoint in the folder.
        ValueError
            If the file is not a whole checkpoint, or was made with another model, loss, optimizer,
            option or past of the schedule; the message names each difference.
        """
        for name in changed:
            checks.one_of("changed", name, (*checkpoints.PARTS, "schedule"))
        trainer = cls(model, loss, optimizer, schedule, **options)
        path, about, saved = checkpoints.newest(path)
        checkpoints.check_same(path, about, trainer._about(), changed)

        def group(prefix):
            return {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}

        params, state = _copied("params", group("params/"), trainer.params), group("state/")
        if _shapes(state) == _shapes(trainer.state):
            state = _copied("state", state, trainer.state)
        elif "optimizer" in changed:
            state = trainer.state
        trainer._record = group("history/")
        if "schedule" not in changed:
            checkpoints.check_past(path, saved.get("history/scheduled", np.empty(0)), trainer.schedules)
        trainer._now = _Moment(about["step"], params, state, saved["diverged"], (), about["callbacks"]["stopping"])
        trainer.run, trainer._data = about["run"], None if about["data"] is None else _Data(*about["data"])
        scale = saved["rate_scale"]
        trainer.rate_scale = float(scale) if scale.ndim == 0 else scale
        states = [group(f"callback{place}/") for place in range(len(about["callbacks"]["names"]))]
        trainer._callback_states = about["callbacks"] | {"states": states}
        return trainer

    def _stateful(self):
        return [each for each in self._callbacks if hasattr(each, "state")]

    def _callback_memory(self):
        """What a checkpoint keeps of the callbacks: names, states, which are owed the last update, and a stop."""
        if self._callback_states is not None:
            # A resumed trainer that was not fitted since still holds what its callbacks will need.
            return dict(self._callback_states)
        each = self._stateful()
        owed = [place for place, one in enumerate(each) if any(one is other for other in self._now.owed)]
        names, states = [type(one).__name__ for one in each], [one.state for one in each]
        return {"names": names, "states": states, "owed": owed, "stopping": self._now.stopping}

    def _adopt(self, callback):
        """Take over a call's callbacks; the first after a resume get their memory back."""
        callbacks = list(callback) if isinstance(callback, (list, tuple)) else [] if callback is None else [callback]
        for each in callbacks:
            if not callable(each):
                raise TypeError(f"a callback must be callable, received {each!r}")
        if any(isinstance(each, Checkpoint) for each in callbacks[:-1]):
            raise ValueError("a Checkpoint must be the last callback: it saves what those before it did")
        if len({id(each) for each in callbacks}) < len(callbacks):
            raise ValueError("callbacks must be different objects, received one of them twice")
        stateful, memory = [each for each in callbacks if hasattr(each, "state")], self._callback_states
        if memory is not None and memory["names"]:
            received = [type(each).__name__ for each in stateful]
            if memory["names"] != received:
                raise ValueError(f"this training was saved with the callbacks {memory['names']}, received {received}")
        for each in callbacks:
            if hasattr(each, "begin"):
                each.begin(self)
        owed = self._now.owed
        if memory is not None:
            for each, state in zip(stateful, memory["states"]):
                each.state = state
            owed = [stateful[place] for place in memory["owed"]]
        self._now = self._now._replace(owed=tuple(each for each in callbacks if any(each is one for one in owed)))
        self._callbacks, self._callback_states = callbacks, None

    def _ask_callbacks(self):
        """Call those that have not seen the last update; return whether one of them asked to stop."""
        while self._now.owed:
            first, *rest = self._now.owed
            stopping = self._now.stopping
            try:
                first(self)
            except StopTraining:
                stopping = True
            self._now = self._now._replace(owed=tuple(rest), stopping=stopping)
        return self._now.stopping

    def _about(self):
        """Everything that must be equal for a resumed run to continue the same training."""
        return {
            **{name: checkpoints.part(getattr(self, name)) for name in checkpoints.PARTS},
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
        return checks.fitting("x", checks.finite("x", checks.floating("x", x)), self.model.input_dtype)

    def _checked_data(self, x, y, weights):
        x, y = self._inputs(x), checks.plain("y", y)
        if y.ndim == 0 or x.ndim == 0 or len(x) != len(y):
            raise ValueError(f"x and y must have one row an example, received shapes {x.shape} and {y.shape}")
        if y.dtype.kind == "f":
            y = checks.fitting("y", checks.finite("y", y), self.model.dtype)
        if weights is not None:
            shape = np.shape(weights)
            if shape != y.shape[: len(shape)] or len(shape) == 0:
                raise ValueError(f"weights must have shape {y.shape[:1]} or that of the losses, received {shape}")
            weights = checks.weights(weights, shape, self.model.dtype)
        return x, y, weights

    def _known_data(self, x, y, weights, new_data):
        """Return what the training knows of its examples; refuse others than before."""
        prints = {"x": fingerprint(x), "y": fingerprint(y), "weights": fingerprint(weights)}
        before = self._data
        if before is None:
            return _Data(prints, len(x), 0, 0)
        if before.step == self.step or new_data and before.examples == len(x):
            return before._replace(prints=prints, examples=len(x))  # no update was made with them, or as many go on
        if not new_data:
            if len(x) != before.examples:
                raise ValueError(
                    f"this training began with {before.examples} examples, received {len(x)}; new_data=True takes them"
                )
            if differing := [name for name in prints if prints[name] != before.prints[name]]:
                raise ValueError(f"this training began with other {', '.join(differing)}; new_data=True takes them")
            return before
        # An epoch that was begun is over.
        per_epoch = before.examples // (self.batch_size * self.accumulate)
        return _Data(prints, len(x), self.step, before.epoch - (before.step - self.step) // per_epoch)

    def _order(self, epoch, n):
        """Return the epoch's visiting order, shape (n,) or (R, n), made once an epoch."""
        if self._epoch is None or self._epoch[0] != (epoch, n):
            # Replicas that differ in their schedule alone share a seed.
            order_of = {seed: batch_order(seed, epoch, n) for seed in dict.fromkeys(self.seeds)}
            orders = np.stack([order_of[seed] for seed in self.seeds])
            self._epoch = (epoch, n), orders[0] if self.replicas is None else orders
        return self._epoch[1]

    def _reserve(self, steps):
        """Make room for `steps` more rows of history."""
        names = {"step": ((), np.int64), "rate": (self._shape, np.float64), "loss": (self._shape, np.float64)}
        if self.max_norm is not None:
            names["gradient_norm"] = (self._shape, np.float64)
        names["scheduled"] = (self._shape, np.float64)  # the rates before the scale, for a resume to compare
        record = {}
        for name, (shape, dtype) in names.items():
            room = np.empty((steps,) + shape, dtype)
            record[name] = np.concatenate([self._record[name][: self.step], room]) if name in self._record else room
        self._record = record

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
        """Return what the schedule says for this update: a float, or an array of shape (R,)."""
        if self._planned is not None:
            return self._planned[self.step - self._planned_from]
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
            return rates[id(self.schedules[0])]
        return np.array([rates[id(schedule)] for schedule in self.schedules])

    def _losses(self, predictions, targets, weights):
        """Return each run's weighted sum of losses, its weight, the derivative of each loss, and which runs are lost."""
        runs, lost = len(self._shape), self._nobody
        axes = tuple(range(runs, predictions.ndim))
        if not np.isfinite(predictions).all():
            lost = ~np.isfinite(predictions).all(axis=axes)
            self._refuse(lost, "predictions")
            predictions = np.where(np.expand_dims(lost, axes), 0, predictions)
        loss = self.loss(predictions, targets, reduction="none")
        value, weight = weighed_sum(loss, weights, runs)
        gradient = loss[1]
        if not (math.isfinite(value) if self.replicas is None else np.isfinite(value).all()):
            self._refuse(~np.isfinite(value), "losses")
            lost = lost | ~np.isfinite(value)
        if lost is not self._nobody:
            gradient = np.where(np.expand_dims(lost, axes), gradient.dtype.type(np.nan), gradient)
        return value, weight, gradient, lost

    def _checked_weight(self, weight):
        if type(weight) is not int and not np.all(weight > 0):  # a whole number counts examples
            which = "" if self.replicas is None else f" of replicas {np.flatnonzero(weight == 0).tolist()}"
            raise ValueError(f"the weights{which} at step {self.step} are all zero: nothing is left to average")
        return weight

    def _refuse(self, lost, what):
        if self.on_divergence == "raise":
            which = "" if self.replicas is None else f" of replicas {np.flatnonzero(lost).tolist()}"
            raise FloatingPointError(f"the {what}{which} stopped being finite at step {self.step}")

    def _update(self, x, y, weights):
        scheduled, axis, now = self._rate(), len(self._shape), self._now
        rate = scheduled * self.rate_scale
        value, weight, lost = 0.0, 0, now.diverged
        gradients: Params = {}
        # A run that diverges overflows on its way, and says so by its loss.
        with np.errstate(over="ignore", invalid="ignore"):
            for part in range(self.accumulate):
                micro_x, micro_y, micro_weights = x, y, weights
                if self.accumulate > 1:
                    rows = (slice(None),) * axis + (slice(part * self.batch_size, (part + 1) * self.batch_size),)
                    micro_x, micro_y, micro_weights = x[rows], y[rows], None if weights is None else weights[rows]
                predictions, cache = self.model.forward(now.params, micro_x)
                part_value, part_weight, gradient, bad = self._losses(predictions, micro_y, micro_weights)
                value, weight = value + part_value, weight + part_weight
                lost = lost if bad is self._nobody else lost | bad
                # Of several parts the weight is known after the last; until then the number of examples stands in.
                total = self._checked_weight(weight) if self.accumulate == 1 else x.shape[axis]
                gradient = gradient_of_mean(gradient, micro_weights, total)
                part_gradients = self._backward(now.params, cache, gradient, self._rooms[min(part, 1)])
                gradients = buffers.add(gradients, part_gradients) if part else part_gradients
            if self.accumulate > 1 and np.any(weight != total):
                share = self._checked_weight(weight) / total
                gradients = buffers.gather(self._rooms[0], {name: divided(g, share) for name, g in gradients.items()})
            if self.max_norm is not None:
                place = gradients if gradients is self._rooms[0] else None
                gradients, norm = clip_by_global_norm(
                    gradients, self.max_norm, replicas=self.replicas is not None, out=place
                )
                self._record["gradient_norm"][now.step] = norm
            # An optimizer may see an overflow that no loss would show; only a record of divergences goes on.
            with np.errstate(over="ignore" if self.on_divergence == "record" else "warn"):
                params, state = self._stepped(gradients, rate)
        loss = value / weight
        if lost is not self._nobody:
            loss = np.where(lost, np.inf, loss)
        self._record["step"][now.step] = now.step
        self._record["scheduled"][now.step] = scheduled
        self._record["rate"][now.step] = rate
        self._record["loss"][now.step] = loss
        self._now = _Moment(now.step + 1, params, state, lost, tuple(self._callbacks), False)

    def _stepped(self, gradients, rate):
        """Return the parameters and the state after this update; those before it stay as they are."""
        now = self._now
        if not self._writes_out[1]:
            params, state = copy.deepcopy((now.params, now.state))
            self.optimizer.update(params, gradients, state, rate)
            return params, state
        if not self._pairs:
            self._pairs = (now.params, now.state), (buffers.empty_like(now.params), buffers.empty_like(now.state))
        # Of the two pairs one holds this moment; after an assignment from outside perhaps half of one, or none.
        first, second = self._pairs
        out = second if now.params is first[0] or now.state is first[1] else first
        self.optimizer.update(now.params, gradients, now.state, rate, out=out)
        return out

    def _backward(self, params, cache, gradient, room):
        """Return the parameters' gradients, in the trainer's own memory if their types fit."""
        if self._writes_out[0] and gradient.dtype == self.model.dtype:
            return self.model.backward(params, cache, gradient, out=room)
        return buffers.gather(room, self.model.backward(params, cache, gradient))

    def _settle(self):
        """Let the arrays that held the parameters before a call hold them again: somebody may keep them by name."""
        if self._pairs and self.params is self._pairs[1][0]:
            for home, away in zip(self._pairs[0], self._pairs[1]):
                buffers.copy_into(home, away)
            self._now = self._now._replace(params=self._pairs[0][0], state=self._pairs[0][1])


def _takes_out(method):
    return "out" in inspect.signature(method).parameters


def _shapes(arrays):
    return {name: (value.shape, value.dtype) for name, value in arrays.items()}


def _copied(name, given, own):
    """Return a copy of a dict of arrays in the types of those it replaces; refuse other names or shapes."""
    shapes = [{key: np.shape(value) for key, value in arrays.items()} for arrays in (own, given)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name} must have the shapes {shapes[0]}, received {shapes[1]}")
    copy = buffers.empty_like(own)
    buffers.copy_into(copy, given)
    return copy


def _as_number(rate, schedule, step):
    """Return what a schedule gave as a ``float``: a NumPy number will do, an array or a text will not."""
    number = np.asarray(rate)
    if number.ndim != 0 or number.dtype.kind not in "iuf":
        raise ValueError(f"{checks.describe(schedule)} returned the rate {rate} at step {step}")
    return float(number)


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
