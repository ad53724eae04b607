"""Learning-rate schedules: the rate as a function of the number of updates already made.

A schedule is a value: a frozen dataclass that you call with `step`. The first update of a
run uses ``schedule(0)``. There is no state, so you may ask for any step in any order.

* A whole number gives a Python ``float``; an array gives an array of the same shape.
* Rates are absolute. With ``peak=1.0`` a schedule is a multiplier.
* ``schedule.__call__`` plugs into ``torch.optim.lr_scheduler.LambdaLR`` and, traced by
  ``jax.jit``, into Optax: the array namespace is taken from the argument.
"""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from trainlab import checks


class Schedule:
    """What all schedules share: the call, with its checks and its conversions.

    A subclass defines ``_rate(step, xp)``, where `step` is an array of the namespace `xp`.
    """

    def __call__(self, step):
        """Return the rate of the update that follows `step` finished updates.

        Parameters
        ----------
        step : int, or array of any shape
            Number of updates already made, at least 0.

        Returns
        -------
        float, or array of the same shape
            The rate, in the unit of the schedule's peak.

        Raises
        ------
        ValueError
            If a step is negative or not finite.
        """
        if isinstance(step, Real):
            # One entry of an array, not a scalar: NumPy's scalar powers may differ in the last bit.
            return float(self._checked(np.array([step]))[0])
        if isinstance(step, (np.ndarray, list, tuple)):
            return self._checked(np.asarray(step))
        if hasattr(step, "__array_namespace__"):
            return self._rate(step, step.__array_namespace__())
        raise TypeError(f"step must be a number or an array, received {step!r}")

    def _checked(self, step):
        if step.dtype.kind not in "iuf":
            raise TypeError(f"step must be a number or an array of numbers, received dtype {step.dtype}")
        bad = ~(np.isfinite(step) & (step >= 0))
        if bad.any():
            raise ValueError(f"step must be finite and at least 0, received {step[bad][0]}")
        if step.dtype.kind in "iu" and step.dtype.itemsize < 8:
            # Small integer types cannot hold a boundary of 1000, and unsigned ones wrap below 0.
            step = step.astype(np.int64)
        return self._rate(step, np)


def _set(schedule, **values):
    """Store checked fields on a frozen dataclass, whose plain assignment is blocked."""
    for name, value in values.items():
        object.__setattr__(schedule, name, value)


@dataclass(frozen=True)
class Constant(Schedule):
    r"""The same rate for every update.

    .. math:: \eta_t = \text{peak}

    Parameters
    ----------
    peak : float, at least 0

    Raises
    ------
    ValueError
        If `peak` is negative or not finite.

    Examples
    --------
    >>> Constant(0.1)(0), Constant(0.1)(10**6)
    (0.1, 0.1)
    """

    peak: float

    def __post_init__(self):
        _set(self, peak=checks.number("peak", self.peak, low=0))

    def _rate(self, step, xp):
        return self.peak + 0.0 * step


@dataclass(frozen=True)
class Exponential(Schedule):
    r"""Multiply the rate by `factor` once in every `every` updates, smoothly or in stairs.

    .. math:: \eta_t = \text{peak} \cdot \gamma^{\,t / s}, \qquad
              \text{in stairs: } \eta_t = \text{peak} \cdot \gamma^{\lfloor t / s \rfloor}

    with :math:`\gamma` = `factor` and :math:`s` = `every`. Used with stairs by Szegedy et al.
    (2015), *Going deeper with convolutions* (4 % less every 8 epochs).

    Parameters
    ----------
    peak : float, at least 0
        The rate of the first update.
    factor : float, 0 < factor <= 1
    every : int, at least 1
        The number of updates that multiplies the rate by `factor` once.
    staircase : bool
        Hold the rate between multiples of `every`.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = Exponential(0.1, factor=0.5, every=100)
    >>> rate(0), rate(100), rate(200)
    (0.1, 0.05, 0.025)
    >>> round(rate(50), 4)
    0.0707
    >>> Exponential(0.1, factor=0.5, every=100, staircase=True)(99)
    0.1
    """

    peak: float
    factor: float
    every: int = 1
    staircase: bool = False

    def __post_init__(self):
        _set(
            self,
            peak=checks.number("peak", self.peak, low=0),
            factor=checks.number("factor", self.factor, above=0, high=1),
            every=checks.integer("every", self.every, low=1),
        )

    def _rate(self, step, xp):
        exponent = step // self.every if self.staircase else step / self.every
        return self.peak * self.factor ** (1.0 * exponent)


@dataclass(frozen=True)
class StepDecay(Schedule):
    r"""Multiply the rate by `factor` after each `every` updates: what the field calls step decay.

    .. math:: \eta_t = \text{peak} \cdot \gamma^{\lfloor t / s \rfloor}

    with :math:`\gamma` = `factor` and :math:`s` = `every`. He et al. (2016), *Deep residual
    learning*, divide by 10 whenever the error stops falling; with fixed periods it is this
    schedule. It equals ``Exponential(..., staircase=True)``.

    Parameters
    ----------
    peak : float, at least 0
    factor : float, 0 < factor <= 1
    every : int, at least 1
        Length of a stair, in updates.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = StepDecay(0.1, factor=0.5, every=100)
    >>> rate(0), rate(99), rate(100), rate(199), rate(200)
    (0.1, 0.1, 0.05, 0.05, 0.025)
    """

    peak: float
    factor: float
    every: int

    def __post_init__(self):
        _set(
            self,
            peak=checks.number("peak", self.peak, low=0),
            factor=checks.number("factor", self.factor, above=0, high=1),
            every=checks.integer("every", self.every, low=1),
        )

    def _rate(self, step, xp):
        return self.peak * self.factor ** (1.0 * (step // self.every))


@dataclass(frozen=True)
class StepSubtract(Schedule):
    r"""Subtract `amount` from the rate after each `every` updates, down to a floor.

    .. math:: \eta_t = \max\big(\text{floor},\ \text{peak} - a \lfloor t / s \rfloor\big)

    with :math:`a` = `amount` and :math:`s` = `every`. This is the source article's 步长衰减
    (sections 2.1.3 and 3.1.1.3). Without the floor the rate would turn negative, and
    training would climb the loss.

    Parameters
    ----------
    peak : float, at least 0
    amount : float, at least 0
        In the unit of `peak`.
    every : int, at least 1
        Length of a stair, in updates.
    floor : float, 0 <= floor <= peak

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = StepSubtract(1.0, amount=0.25, every=100, floor=0.125)
    >>> rate(0), rate(99), rate(100), rate(300), rate(400), rate(10**6)
    (1.0, 1.0, 0.75, 0.25, 0.125, 0.125)
    """

    peak: float
    amount: float
    every: int
    floor: float = 0.0

    def __post_init__(self):
        peak = checks.number("peak", self.peak, low=0)
        _set(
            self,
            peak=peak,
            amount=checks.number("amount", self.amount, low=0),
            every=checks.integer("every", self.every, low=1),
            floor=checks.number("floor", self.floor, low=0, high=peak),
        )

    def _rate(self, step, xp):
        return xp.maximum(self.peak - self.amount * (step // self.every), xp.asarray(self.floor))


@dataclass(frozen=True)
class Piecewise(Schedule):
    r"""A rate for each stretch of training, written down by hand.

    .. math:: \eta_t = \text{rates}_k \quad\text{with } k = \#\{b \in \text{boundaries} : b \le t\}

    A step equal to a boundary belongs to the new stretch.

    Parameters
    ----------
    boundaries : sequence of int, increasing, each at least 1
    rates : sequence of float, each at least 0, one more than `boundaries`

    Raises
    ------
    ValueError
        If the boundaries do not increase, the lengths do not fit, or a rate is negative.

    Examples
    --------
    >>> rate = Piecewise([100, 150], [0.1, 0.01, 0.001])
    >>> rate(0), rate(99), rate(100), rate(149), rate(150)
    (0.1, 0.1, 0.01, 0.01, 0.001)
    """

    boundaries: tuple
    rates: tuple

    def __post_init__(self):
        boundaries = checks.boundaries(self.boundaries)
        rates = tuple(checks.number("a rate", rate, low=0) for rate in self.rates)
        if len(rates) != len(boundaries) + 1:
            raise ValueError(
                f"{len(boundaries)} boundaries need {len(boundaries) + 1} rates, received {len(rates)}"
            )
        _set(self, boundaries=boundaries, rates=rates)

    def _rate(self, step, xp):
        rate = self.rates[0] + 0.0 * step
        for boundary, after in zip(self.boundaries, self.rates[1:]):
            rate = xp.where(step >= boundary, after, rate)
        return rate


@dataclass(frozen=True)
class Warmup(Schedule):
    r"""Ramp linearly up to another schedule, then follow it from its own step 0.

    .. math:: \eta_t = \begin{cases}
                 \text{start} + (\text{after}(0) - \text{start})\, t / w & t < w \\
                 \text{after}(t - w)                                     & t \ge w
              \end{cases}

    with :math:`w` = `steps`. Goyal et al. (2017), *Accurate, large minibatch SGD*. With
    ``start=0`` the first update changes nothing; ``start=after(0) / (steps + 1)`` avoids that.

    Parameters
    ----------
    after : Schedule
        What follows. It is shifted, not cut: ``Warmup(after, w)(w) == after(0)``.
    steps : int, at least 0
        Length of the ramp, in updates; 0 means no ramp.
    start : float, 0 <= start <= after(0)
        The rate of the first update.

    Raises
    ------
    TypeError
        If `after` is not a schedule.
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = Warmup(StepDecay(1.0, factor=0.5, every=10), steps=4)
    >>> [rate(step) for step in (0, 1, 3, 4, 13, 14)]
    [0.0, 0.25, 0.75, 1.0, 1.0, 0.5]
    """

    after: Schedule
    steps: int
    start: float = 0.0

    def __post_init__(self):
        _require_schedules([self.after])
        _set(
            self,
            steps=checks.integer("steps", self.steps, low=0),
            start=checks.number("start", self.start, low=0, high=self.after(0)),
        )

    def _rate(self, step, xp):
        if self.steps == 0:
            return self.after._rate(step, xp)
        ramp = self.start + (self.after(0) - self.start) * step / self.steps
        later = xp.maximum(step - self.steps, xp.zeros_like(step))
        return xp.where(step < self.steps, ramp, self.after._rate(later, xp))


@dataclass(frozen=True)
class Join(Schedule):
    r"""One schedule after the other, each counting from its own step 0.

    .. math:: \eta_t = \text{pieces}_k(t - b_k) \quad\text{for } b_k \le t < b_{k+1}

    with :math:`b_0 = 0` and :math:`b_1, b_2, \dots` = `boundaries`. A step equal to a boundary
    belongs to the new piece. The last piece goes on for ever.

    Parameters
    ----------
    pieces : sequence of Schedule
    boundaries : sequence of int, increasing, each at least 1, one fewer than `pieces`

    Raises
    ------
    TypeError
        If a piece is not a schedule.
    ValueError
        If the boundaries do not increase or the lengths do not fit.

    Examples
    --------
    >>> rate = Join([Constant(0.5), StepDecay(0.25, factor=0.5, every=10)], [100])
    >>> rate(99), rate(100), rate(109), rate(110)
    (0.5, 0.25, 0.25, 0.125)
    """

    pieces: tuple
    boundaries: tuple

    def __post_init__(self):
        pieces = tuple(self.pieces)
        _require_schedules(pieces)
        boundaries = checks.boundaries(self.boundaries)
        if len(pieces) != len(boundaries) + 1:
            raise ValueError(
                f"{len(boundaries)} boundaries need {len(boundaries) + 1} pieces, received {len(pieces)}"
            )
        _set(self, pieces=pieces, boundaries=boundaries)

    def _rate(self, step, xp):
        rate = self.pieces[0]._rate(step, xp)
        for boundary, piece in zip(self.boundaries, self.pieces[1:]):
            own_step = xp.maximum(step - boundary, xp.zeros_like(step))
            rate = xp.where(step >= boundary, piece._rate(own_step, xp), rate)
        return rate


def _require_schedules(pieces):
    for piece in pieces:
        if not isinstance(piece, Schedule):
            raise TypeError(f"expected a schedule, received {piece!r}")
