"""The training loop: batches, schedule, accumulation, history, checkpoints, replicas.

Everything that decides a run is a function of numbers you can write down: the batch order of
``(seed, epoch)``, the rate of ``step``. So a checkpoint is parameters, optimizer state and one
integer, and a resumed run is bit-identical to one that never stopped.

All that an update changes is one value, replaced as a whole when the update is done. So whatever
interrupts a training, Ctrl-C say, an update has happened or it has not, and ``fit`` goes on.
"""

import copy
import os
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trainlab import batches, buffers, callbacks, checkpoints, checks
from trainlab.batches import batch_order
from trainlab.callbacks import Checkpoint, EarlyStopping, Evaluation, ReduceOnPlateau, StopTraining
from trainlab.history import History, Rates
from trainlab.losses.sums import divided, gradient_of_mean, some_weight, weighed_losses
from trainlab.models import Params
from trainlab.optimizers import clip_by_global_norm
from trainlab.progress import progress_bar
from trainlab.replicas import initial, per_replica

__all__ = [
    "Trainer",
    "batch_order",
    "Checkpoint",
    "EarlyStopping",
    "Evaluation",
    "ReduceOnPlateau",
    "StopTraining",
]


class _Moment(NamedTuple):
    """All that an update changes."""

    step: int
    params: Params
    state: Params
    diverged: np.ndarray
    owed: tuple  # callbacks that have still to see the last update
    stopping: bool  # whether one that saw it asked to stop


class Trainer:
    r"""Train a model by mini-batch gradient descent: one run, or R replicas in one call.

    One update draws ``batch_size * accumulate`` examples, averages their gradients, and steps:

    .. math:: \theta_{t+1} = \text{optimizer}\Big(\theta_t,\;
              \frac{\sum_i w_i \nabla \ell_i(\theta_t)}{\sum_i w_i},\; \eta_t = \text{schedule}(t)\Big)

    The weights :math:`w_i` are those that the loss returns beside its values
    (:class:`trainlab.losses.Loss`; 0 for a target that it ignores), times those given to ``fit``,
    and 1 without either. Both sums run over the whole update, so micro-batches with unequal weights
    give what the whole batch gives. A loss of your own that leaves targets out has to return their
    weights too: what counts is never guessed.

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
        See :mod:`trainlab.models`. Where ``backward`` takes ``out``, it has to write every gradient
        there.
    loss : callable
        ``loss(predictions, targets, reduction="none")`` returning a :class:`trainlab.losses.Loss`,
        or a pair of values and gradient where every value counts once.
    optimizer : object with ``init`` and ``update``
        See :mod:`trainlab.optimizers`. One whose ``update`` has no ``out`` gets copies to change.
    schedule : callable, or a list of R callables
        ``schedule(step)`` is the rate of the update after `step` finished ones. It has to be a
        function of the step: ``resume`` asks for steps of the past. A list gives each replica its
        own.
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
        The name of this run, drawn at random. A resumed trainer has that of the run it goes on
        with.

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
        self.replicas, self.seeds, self.schedules = per_replica(replicas, seed, schedule)
        self._shape = () if self.replicas is None else (self.replicas,)

        buffers.keep_freed_memory()
        params = initial(model, self.seeds, self.replicas)
        self._nobody = np.zeros(self._shape, bool)
        self._now = _Moment(0, params, optimizer.init(params), self._nobody, (), False)
        self._twice, self._rooms = (
            buffers.Twice(),
            [buffers.room(params) for _ in range(min(2, self.accumulate))],
        )
        self._backward_takes_out = buffers.takes_out(model.backward)
        self._update_takes_out = buffers.takes_out(optimizer.update)
        self.rate_scale = 1.0 if self.replicas is None else np.ones(self.replicas)
        self.run = uuid.uuid4().hex
        self.token = object()  # tells trainers apart; two may go on with one run
        self._rates, self._orders = (
            Rates(self.schedules, self.replicas),
            batches.Orders(self.seeds, self.replicas),
        )
        self._history = History(self._shape, clipped=self.max_norm is not None)
        self._data: batches.Known | None = None
        self._callbacks: list = []
        self._memory: dict | None = None  # what a resumed trainer's callbacks will be given back

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
        self._now = self._now._replace(params=buffers.copied("params", params, self._now.params))

    @property
    def state(self) -> Params:
        """The optimizer's state."""
        return self._now.state

    @state.setter
    def state(self, state: Params) -> None:
        self._now = self._now._replace(state=buffers.copied("state", state, self._now.state))

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
        return self._history.seen(self.step)

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
        return self._history.table(self.step, self.seeds)

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
        per_replica: bool = False,
    ) -> "Trainer":
        """Make more updates; call it again to go on, after an interruption too.

        An interrupted update has not happened, unless it was done; then the callbacks that had not
        returned are called first when ``fit`` is called again with them. A callback of your own may
        so be asked twice at one step.

        Parameters
        ----------
        x, y : arrays of n examples each
            Shared by all replicas, unless `per_replica` says otherwise. Real numbers are cast to
            the model's type once.
        weights : array, shape (n,) or that of the unreduced losses, optional
            How much each example counts, at least 0; an update's loss is the weighted mean.
        steps, epochs : int, at least 0
            How many more updates, or epochs; give one of the two.
        callback : callable, or a list of them, optional
            ``callback(trainer)`` after every update; raising
            :class:`~trainlab.callbacks.StopTraining` ends the call, once the others of the list had
            their turn. Any other exception is an error. See :mod:`trainlab.callbacks`.
        progress : bool
            Show a bar in a terminal, or wherever TRAINLAB_PROGRESS is set (needs tqdm).
        new_data : bool
            Go on with other examples or weights than before; without it they are refused. If their
            number is the same the epoch goes on, otherwise one of the new examples begins.
        per_replica : bool
            Each replica has n examples of its own: `x`, `y` and `weights` have a leading axis of R.

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
        x, y, weights = self._examples(x, y, weights, per_replica)
        n = x.shape[1] if per_replica else len(x)
        steps, per_epoch, per_update = batches.counts(
            n, self.batch_size, self.accumulate, steps, epochs
        )
        given = {"x": x, "y": y, "weights": weights}
        data = batches.recognised(self._data, given, n, self.step, per_update, new_data)
        adopted, owed = callbacks.adopted(callback, self, self._now.owed, self._memory)
        self._now = self._now._replace(owed=owed)
        self._callbacks, self._memory = adopted, None
        self._history.reserve(self.step, steps)
        self._rates.ask(self.step, steps)
        self._data = data
        if per_replica:
            x, y, weights = batches.end_to_end(x, y, weights)

        try:
            for _ in progress_bar(range(0 if self._ask_callbacks() else steps), progress):
                epoch, place = divmod(self.step - data.step, per_epoch)
                rows = self._orders(data.epoch + epoch, n, per_replica)[
                    ..., place * per_update : (place + 1) * per_update
                ]
                self._update(
                    x.take(rows, axis=0),
                    y.take(rows, axis=0),
                    None if weights is None else weights[rows],
                )
                if self._callbacks and self._ask_callbacks():
                    break
        finally:
            params, state = self._twice.home(self.params, self.state)
            self._now = self._now._replace(params=params, state=state)
        self._now = self._now._replace(stopping=False)
        for each in self._callbacks:
            if hasattr(each, "end"):
                each.end(self)
        return self

    def _examples(self, x, y, weights, per_replica):
        if per_replica and self.replicas is None:
            raise ValueError(
                "per_replica is for a trainer with replicas, this one has a single run"
            )
        return batches.examples(self.model, x, y, weights, self.replicas if per_replica else None)

    def _update(self, x, y, weights):
        """Make one update: all of it, or none."""
        now, scheduled = self._now, self._rates(self._now.step)
        rate = scheduled * self.rate_scale
        # A run that diverges overflows on its way, and says so by its loss.
        with np.errstate(over="ignore", invalid="ignore"):
            loss, gradients, lost = self._gradients(x, y, weights)
            if self.max_norm is not None:
                place, one_each = (
                    gradients if gradients is self._rooms[0] else None,
                    self.replicas is not None,
                )
                gradients, norm = clip_by_global_norm(
                    gradients, self.max_norm, replicas=one_each, out=place
                )
                self._history.write(now.step, gradient_norm=norm)
            # An optimizer may see an overflow that no loss would show; only a record of divergences
            # goes on.
            with np.errstate(over="ignore" if self.on_divergence == "record" else "warn"):
                params, state = self._stepped(gradients, rate)
        self._history.write(now.step, step=now.step, scheduled=scheduled, rate=rate, loss=loss)
        self._now = _Moment(now.step + 1, params, state, lost, tuple(self._callbacks), False)

    def _gradients(self, x, y, weights):
        """Return the mean loss of an update's examples, its gradients, and which runs are lost."""
        params, lost = self._now.params, self._now.diverged
        gradients: Params = {}
        axis = len(self._shape)
        value, weight, count = 0.0, 0, x.shape[axis]
        parts = batches.parts(x, y, weights, self.accumulate, axis)
        for part, (part_x, part_y, part_weights) in enumerate(parts):
            predictions, cache = self.model.forward(params, part_x)
            part_value, part_weight, gradient, bad = weighed_losses(
                self.loss, predictions, part_y, part_weights, axis, self._refuse
            )
            value, weight = value + part_value, weight + part_weight
            lost = lost if bad is None else lost | bad
            # Of several parts the weight is known after the last; until then the number of examples
            # stands in.
            total = some_weight(weight, self.step) if self.accumulate == 1 else count
            gradient = gradient_of_mean(gradient, part_weights, total)
            part_gradients = self._backward(params, cache, gradient, self._rooms[min(part, 1)])
            gradients = buffers.add(gradients, part_gradients) if part else part_gradients
        if self.accumulate > 1 and np.any(weight != count):
            share = some_weight(weight, self.step) / count
            gradients = buffers.gather(
                self._rooms[0], {name: divided(g, share) for name, g in gradients.items()}
            )
        loss = value / weight
        return loss if lost is self._nobody else np.where(lost, np.inf, loss), gradients, lost

    def _refuse(self, lost, what):
        if self.on_divergence == "raise":
            which = "" if self.replicas is None else f" of replicas {np.flatnonzero(lost).tolist()}"
            raise FloatingPointError(f"the {what}{which} stopped being finite at step {self.step}")

    def _backward(self, params, cache, gradient, room):
        """Return the parameters' gradients, in the trainer's own memory if their types fit."""
        if self._backward_takes_out and gradient.dtype == self.model.dtype:
            return self.model.backward(params, cache, gradient, out=room)
        return buffers.gather(room, self.model.backward(params, cache, gradient))

    def _stepped(self, gradients, rate):
        """Return the parameters and the state after this update; those before it stay as they are."""
        params, state = self._now.params, self._now.state
        if self._update_takes_out:
            out = self._twice.other(params, state)
            self.optimizer.update(params, gradients, state, rate, out=out)
            return out
        params, state = copy.deepcopy((params, state))
        self.optimizer.update(params, gradients, state, rate)
        return params, state

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

    def _remembered(self):
        """Return what a checkpoint keeps of the callbacks; a resumed trainer holds what they will need until ``fit``."""
        return self._memory or callbacks.remembered(
            self._callbacks, self._now.owed, self._now.stopping
        )

    def predict(self, x: ArrayLike) -> np.ndarray:
        """Return the model's outputs for `x`, shape (n, k) or (R, n, k).

        Inputs are shared by all replicas, or have a leading axis of R.
        """
        x = batches.inputs(self.model, x)
        with np.errstate(over="ignore", invalid="ignore"):
            return self.model.forward(self.params, x)[0]

    def evaluate(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        per_replica: bool = False,
    ) -> float | np.ndarray:
        """Return the mean loss over all examples: a float, or an array of shape (R,).

        It is the weighted mean where `weights` are given, and over each replica's own examples
        with `per_replica`, both as in ``fit``. A run that diverged has an infinite loss if
        `on_divergence` is "record"; otherwise non-finite predictions are a ``FloatingPointError``.
        """
        x, y, weights = self._examples(x, y, weights, per_replica)
        shape = () if per_replica else self._shape
        y = np.broadcast_to(y, shape + y.shape)
        weights = None if weights is None else np.broadcast_to(weights, shape + weights.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            predictions = self.model.forward(self.params, x)[0]
            value, weight, _, lost = weighed_losses(
                self.loss, predictions, y, weights, len(self._shape), self._refuse
            )
            value = value / some_weight(weight, self.step)
            value = value if lost is None else np.where(lost, np.inf, value)
        return float(value) if self.replicas is None else value

    def only(self, replicas: Sequence[int]) -> "Trainer":
        """Return a trainer of some of the replicas, by their places, to look at or to go on with.

        It has their seeds, schedules, parameters, optimizer state and history, and goes on as they
        would; this trainer stays as it is.

        Raises
        ------
        ValueError
            If this trainer has no replicas, or none at such a place.

        Examples
        --------
        >>> from trainlab import losses, models, optimizers, schedules
        >>> trainer = Trainer(models.Linear(1, 1), losses.squared_error, optimizers.SGD(),
        ...                   schedules.Constant(0.5), batch_size=1, seed=[7, 8, 9])
        >>> trainer.only([2, 0]).seeds
        [9, 7]
        """
        runs = checks.integer("the number of replicas", self.replicas or 0, low=1)
        rows = [checks.integer("a replica", replica, low=0, below=runs) for replica in replicas]
        kept = copy.copy(self)
        kept.replicas, kept._shape = len(rows), (len(rows),)
        kept.seeds = [self.seeds[r] for r in rows]
        kept.schedules = [self.schedules[r] for r in rows]
        kept._rates = Rates(kept.schedules, kept.replicas)
        kept._orders = batches.Orders(kept.seeds, kept.replicas)
        kept._history = self._history.only(rows)
        params = buffers.pack({name: values[rows] for name, values in self.params.items()}, True)
        state = self.optimizer.init(params)
        for name, values in self.state.items():
            # Some of an optimizer's state, its number of updates say, belongs to all replicas.
            state[name][...] = values[rows] if values.shape[:1] == (runs,) else values
        diverged = self.diverged[rows]
        kept._nobody = np.zeros(kept._shape, bool)
        lost = diverged if diverged.any() else kept._nobody
        kept._now = _Moment(self.step, params, state, lost, (), False)
        kept._twice = buffers.Twice()
        kept._rooms = [buffers.room(params) for _ in self._rooms]
        kept.rate_scale = np.array(np.broadcast_to(self.rate_scale, runs)[rows])
        kept.run, kept.token = uuid.uuid4().hex, object()
        kept._callbacks, kept._memory = [], None
        return kept

    def save(self, path: str | os.PathLike) -> None:
        """Write a checkpoint to exactly `path`; it appears there whole or not at all.

        A symbolic link at `path` stays one: the file that it leads to is written.
        """
        checkpoints.save(path, self)

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

        Pass what the saved trainer was made with, and to ``fit`` the same examples and the same
        kinds of callbacks, whose memory comes back too. Functions and objects are compared by their
        code and their values, schedules by the rates of the updates that were made: one that agrees
        on those and differs afterwards (a decay at the end, say) is welcome.

        Parameters
        ----------
        path : path
            A file that ``save`` wrote, or the folder of a :class:`~trainlab.callbacks.Checkpoint`:
            then the newest file that is whole, with a warning about each that is not.
        model, loss, optimizer, schedule, **options
            As for :class:`Trainer`.
        changed : sequence of "model", "loss", "optimizer", "schedule", "max_norm", "seed"
            What may differ from the saved run, or cannot be compared with it. An optimizer keeps
            its state if that still fits, and begins anew otherwise. After a spike, a new `max_norm`
            clips what comes, and a new `seed` meets the examples in another order.

        Raises
        ------
        FileNotFoundError
            If there is no such file, or no checkpoint in the folder.
        ValueError
            If the file is not a whole checkpoint, or was made with another model, loss, optimizer,
            option or past of the schedule; the message names each difference.
        """
        for name in changed:
            checks.one_of("changed", name, checkpoints.CHANGES)
        trainer = cls(model, loss, optimizer, schedule, **options)
        checkpoints.restore(path, trainer, changed)
        return trainer
