"""The training loop: batches, schedule, accumulation, history, checkpoints, replicas.

Everything that decides a run is a function of numbers you can write down: the batch order of
``(seed, epoch)``, the rate of ``step``. So a checkpoint is parameters, optimizer state and one
integer, and a resumed run is bit-identical to one that never stopped.
"""

import contextlib
import functools
import json
import os
import zipfile

import numpy as np

from trainlab import checks
from trainlab.optimizers import clip_by_global_norm


def batch_order(seed, epoch, n):
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

    .. math:: \theta_{t+1} = \text{optimizer}\big(\theta_t,\; \tfrac1B \textstyle\sum_i \nabla \ell_i(\theta_t),\;
              \eta_t = \text{schedule}(t)\big)

    An epoch is ``n // (batch_size * accumulate)`` updates in an order that depends on the seed
    and the epoch alone; the rest of the examples, another one each epoch, is left out.

    **Replicas.** With ``replicas=R`` every parameter gets a leading axis of R independent runs,
    each with its own seed and, if wanted, its own schedule. A replica's parameters equal those
    of the same run trained alone, bit for bit: NumPy multiplies stacked matrices one at a time
    with the routine it uses for a single one, and every sum keeps its order. (NumPy does not
    promise this for every platform; the tests check it on yours.)

    Parameters
    ----------
    model : object with ``init``, ``forward``, ``backward`` and ``dtype``
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
        Micro-batches for one update: their gradients are summed before the optimizer sees them.
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
        model,
        loss,
        optimizer,
        schedule,
        *,
        batch_size,
        seed=0,
        replicas=None,
        accumulate=1,
        max_norm=None,
        on_divergence="raise",
    ):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.batch_size = checks.integer("batch_size", batch_size, low=1)
        self.accumulate = checks.integer("accumulate", accumulate, low=1)
        self.max_norm = None if max_norm is None else checks.number("max_norm", max_norm, above=0)
        self.on_divergence = checks.one_of("on_divergence", on_divergence, ("raise", "record"))
        self.replicas, self.seeds, self.schedules = _per_replica(replicas, seed, schedule)

        runs = [model.init(np.random.default_rng([seed, 0])) for seed in self.seeds]
        if self.replicas is None:
            self.params = runs[0]
        else:
            self.params = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
        self.state = optimizer.init(self.params)
        self.step = 0
        self.diverged = np.zeros(self._shape, bool)
        self._examples = None
        self._epoch = None
        self._record = {}

    @property
    def _shape(self):
        return () if self.replicas is None else (self.replicas,)

    @property
    def history(self):
        """What each update used and saw: a dict of arrays with one row an update.

        ``"step"`` (T,), ``"rate"`` and ``"loss"`` (T,) or (T, R), and ``"gradient_norm"`` where
        `max_norm` is set. The loss is that of the update's own batch, before the update.
        """
        return {name: rows[: self.step] for name, rows in self._record.items()}

    def fit(self, x, y, *, steps=None, epochs=None, callback=None, progress=True):
        """Make more updates; call it again to go on.

        Parameters
        ----------
        x, y : arrays of n examples each
            Shared by all replicas. Real numbers are cast to the model's type once.
        steps, epochs : int, at least 0
            How many more updates, or epochs; give one of the two.
        callback : callable, optional
            ``callback(trainer)`` after every update; raising ``StopIteration`` ends the call.
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
            needs, or if a schedule returns a negative or non-finite rate.
        FloatingPointError
            If predictions or losses stop being finite and `on_divergence` is "raise". The
            history up to that update is kept and the parameters are those before it.
        """
        x, y = self._checked_data(x, y)
        per_update = self.batch_size * self.accumulate
        per_epoch = len(x) // per_update
        if (steps is None) == (epochs is None):
            raise ValueError(f"give steps or epochs, received steps={steps} and epochs={epochs}")
        if steps is None:
            steps = per_epoch * checks.integer("epochs", epochs, low=0)
        self._reserve(checks.integer("steps", steps, low=0))
        self._examples = len(x)

        for _ in _progress_bar(range(steps), progress):
            epoch, position = divmod(self.step, per_epoch)
            rows = self._order(epoch, len(x))[..., position * per_update : (position + 1) * per_update]
            self._update(x, y, rows)
            if callback is not None:
                try:
                    callback(self)
                except StopIteration:
                    break
        return self

    def predict(self, x):
        """Return the model's outputs for `x`, shape (n, k) or (R, n, k)."""
        x = checks.finite("x", checks.floating("x", x)).astype(self.model.dtype, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            return self.model.forward(self.params, x)[0]

    def evaluate(self, x, y):
        """Return the mean loss over all examples: a float, or an array of shape (R,).

        A run that diverged has an infinite loss if `on_divergence` is "record"; otherwise
        non-finite predictions are a ``FloatingPointError``.
        """
        predictions = self.predict(x)
        y = np.broadcast_to(y, self._shape + np.shape(y))
        values, _, _ = self._losses(predictions, y)
        return float(values) if self.replicas is None else values

    def save(self, path):
        """Write a checkpoint to exactly `path`; it appears there whole or not at all."""
        groups = {"params": self.params, "state": self.state, "history": self.history}
        arrays = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        arrays["diverged"] = self.diverged
        arrays["about"] = np.array(json.dumps(self._about() | {"step": self.step, "examples": self._examples}))
        temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    @classmethod
    def resume(cls, path, model, loss, optimizer, schedule, **options):
        """Return a trainer that goes on where ``save(path)`` left off, bit for bit.

        Pass what the saved trainer was made with. The schedule is not compared: it is a
        function of the step, and going on with another one (a decay at the end, say) is a use
        of its own.

        Raises
        ------
        ValueError
            If the file is not a whole checkpoint, or was made with another model, loss,
            optimizer or option; the message names each difference.
        """
        trainer = cls(model, loss, optimizer, schedule, **options)
        try:
            # Opened here, because np.load leaves the file of a broken archive open.
            with open(path, "rb") as whole, np.load(whole, allow_pickle=False) as file:
                saved = {name: file[name] for name in file.files}
            about = json.loads(saved["about"].item())
        except (zipfile.BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a whole checkpoint: {error}") from error
        own = trainer._about()
        differing = [f"{name}: saved {about.get(name)}, received {own[name]}" for name in own if about.get(name) != own[name]]
        if differing:
            raise ValueError(f"{path} is a checkpoint of another training; " + "; ".join(differing))
        trainer.step, trainer._examples = about["step"], about["examples"]
        trainer.diverged = saved["diverged"]
        groups = {"params": trainer.params, "state": trainer.state, "history": trainer._record}
        for group, values in groups.items():
            values.update({name.removeprefix(group + "/"): saved[name] for name in saved if name.startswith(group + "/")})
        return trainer

    def _about(self):
        """Everything that must be equal for a resumed run to continue the same training."""
        return {
            "model": _describe(self.model),
            "loss": _describe(self.loss),
            "optimizer": _describe(self.optimizer),
            "seeds": self.seeds,
            "replicas": self.replicas,
            "batch_size": self.batch_size,
            "accumulate": self.accumulate,
            "max_norm": self.max_norm,
            "on_divergence": self.on_divergence,
        }

    def _checked_data(self, x, y):
        x, y = checks.finite("x", checks.floating("x", x)), np.asarray(y)
        if y.ndim == 0 or x.ndim == 0 or len(x) != len(y):
            raise ValueError(f"x and y must have one row an example, received shapes {x.shape} and {y.shape}")
        if y.dtype.kind == "f":
            y = checks.finite("y", y).astype(self.model.dtype, copy=False)
        if len(x) < self.batch_size * self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} x accumulate {self.accumulate} asks for "
                f"{self.batch_size * self.accumulate} examples an update, received {len(x)} in all"
            )
        if self._examples not in (None, len(x)):
            raise ValueError(f"this training began with {self._examples} examples, received {len(x)}")
        return x.astype(self.model.dtype, copy=False), y

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

    def _rate(self):
        """Return the rate of this update: a float, or an array of shape (R,)."""
        # Replicas often share a schedule; each distinct one is asked once.
        rates = {}
        for schedule in self.schedules:
            if id(schedule) in rates:
                continue
            rate = np.asarray(schedule(self.step))
            if rate.ndim != 0 or rate.dtype.kind not in "iuf" or not np.isfinite(rate) or rate < 0:
                raise ValueError(f"{_describe(schedule)} returned the rate {rate} at step {self.step}")
            rates[id(schedule)] = float(rate)
        if self.replicas is None:
            return rates[id(self.schedules[0])]
        return np.array([rates[id(schedule)] for schedule in self.schedules], np.float64)

    def _losses(self, predictions, targets):
        """Return each run's mean loss, the gradient of that mean, and which runs are lost."""
        axes = tuple(range(len(self._shape), predictions.ndim))
        lost = ~np.isfinite(predictions).all(axis=axes)
        if lost.any():
            self._refuse(lost, "predictions")
            predictions = np.where(np.expand_dims(lost, axes), 0, predictions)
        with np.errstate(over="ignore", invalid="ignore"):
            values, gradient = self.loss(predictions, targets, reduction="none")
            count = values.size // len(self.seeds)
            values = values.reshape(self._shape + (-1,)).sum(axis=-1, dtype=np.float64) / count
        gradient = gradient / gradient.dtype.type(count)
        if not np.isfinite(values).all():
            self._refuse(~np.isfinite(values), "losses")
        lost = lost | ~np.isfinite(values)
        if lost.any():
            values = np.where(lost, np.inf, values)
            gradient = np.where(np.expand_dims(lost, axes), gradient.dtype.type(np.nan), gradient)
        return values, gradient, lost

    def _refuse(self, lost, what):
        if self.on_divergence == "raise":
            which = "" if self.replicas is None else f" of replicas {np.flatnonzero(lost).tolist()}"
            raise FloatingPointError(f"the {what}{which} stopped being finite at step {self.step}")

    def _update(self, x, y, rows):
        rate = self._rate()
        loss, gradients, lost = 0.0, None, self.diverged
        for micro in np.split(rows, self.accumulate, axis=-1):
            with np.errstate(over="ignore", invalid="ignore"):
                predictions, cache = self.model.forward(self.params, x[micro])
                values, gradient, bad = self._losses(predictions, y[micro])
                part = self.model.backward(self.params, cache, gradient)
            loss, lost = loss + values / self.accumulate, lost | bad
            if gradients is None:
                gradients = part
            else:
                gradients = {name: gradients[name] + part[name] for name in part}
        if self.accumulate > 1:
            gradients = {name: g / g.dtype.type(self.accumulate) for name, g in gradients.items()}
        with np.errstate(over="ignore", invalid="ignore"):
            if self.max_norm is not None:
                gradients, norm = clip_by_global_norm(gradients, self.max_norm, replicas=self.replicas is not None)
                self._record["gradient_norm"][self.step] = norm
            self.optimizer.update(self.params, gradients, self.state, rate)
        self._record["step"][self.step] = self.step
        self._record["rate"][self.step] = rate
        self._record["loss"][self.step] = loss
        self.diverged = lost
        self.step += 1


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


def _describe(thing):
    """Return a text that is the same in every process, unlike the ``repr`` of a function."""
    if isinstance(thing, functools.partial):
        return f"{_describe(thing.func)}{thing.args}{thing.keywords}"
    return getattr(thing, "__qualname__", None) or repr(thing)


def _progress_bar(steps, wanted):
    if not wanted:
        return steps
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    # disable=None shows the bar in terminals only, so that notebooks store no speeds.
    return tqdm(steps, desc="updates", disable=None)
