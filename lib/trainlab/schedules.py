"""Learning-rate schedules: the rate as a function of the number of updates already made.

A schedule is a value: a frozen dataclass that you call with `step`. The first update of a
run uses ``schedule(0)``. There is no state, so you may ask for any step in any order.

* A whole number gives a Python ``float``; an array, of any type of numbers, gives a float64 array
  of the same shape.
* Rates are absolute. With ``peak=1.0`` a schedule is a multiplier.
* ``schedule.__call__`` plugs into ``torch.optim.lr_scheduler.LambdaLR`` and, traced by
  ``jax.jit``, into Optax: the array namespace is taken from the argument.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, overload

import numpy as np

from trainlab import checks

# A step from here on does not fit the 64 bits that arrays count in, and nobody makes as many
# updates.
TOO_MANY = 2**63


class Schedule(ABC):
    """What all schedules share: the call, with its checks and its conversions.

    A subclass defines ``_rate(step, xp)``, where `step` is an array of the namespace `xp`.
    """

    @overload
    def __call__(self, step: int | float) -> float: ...

    @overload
    def __call__(self, step: np.ndarray | list | tuple) -> np.ndarray: ...

    @overload
    def __call__(self, step: Any) -> Any: ...

    def __call__(self, step):
        """Return the rate of the update that follows `step` finished updates.

        Parameters
        ----------
        step : int, or array of any shape
            Number of updates already made, at least 0 and below 2**63.

        Returns
        -------
        float, or array of the same shape
            The rate, in the unit of the schedule's peak.

        Raises
        ------
        ValueError
            If a step is negative, not finite, masked, or 2**63 or more.
        TypeError
            If a step is no number.
        """
        if type(step) is int and 0 <= step < TOO_MANY:
            with np.errstate(all="ignore"):
                # As below, with nothing left to check.
                return float(self._rate(np.array([step]), np)[0])
        if isinstance(step, Integral) and not -TOO_MANY < int(step) < TOO_MANY:
            raise ValueError(
                f"step must be at least 0 and below 2**63, received a number of {int(step).bit_length()} bits"
            )
        if isinstance(step, Real):
            # One entry of an array, not a scalar: NumPy's scalar powers may differ in the last bit.
            return float(self._checked([step])[0])
        if isinstance(step, (np.ndarray, np.generic, list, tuple)):
            return self._checked(step)
        if hasattr(step, "__array_namespace__"):
            return self._rate(step, step.__array_namespace__())
        raise TypeError(f"step must be a number or an array, received {step!r}")

    @abstractmethod
    def _rate(self, step: Any, xp: Any) -> Any:
        """Return the rate at an array of steps that were checked, with the functions of `xp`."""

    def _checked(self, step):
        step = checks.plain("step", step, "iuf", "a number or an array of numbers")
        if step.dtype.kind == "f":
            # A shorter type has too few digits for large steps.
            step = step.astype(np.float64, copy=False)
        bad = ~(np.isfinite(step) & (step >= 0))
        if bad.any():
            raise ValueError(f"step must be finite and at least 0, received {step[bad][0]}")
        bad = step >= TOO_MANY
        if bad.any():
            raise ValueError(f"step must be below 2**63, received {step[bad][0]}")
        if step.dtype.kind in "iu":
            # Small integer types cannot hold a boundary of 1000, and unsigned ones wrap below 0.
            step = step.astype(np.int64, copy=False)
        # A rate that a number cannot tell from 0 is 0, and no accident.
        with np.errstate(all="ignore"):
            return self._rate(np.atleast_1d(step), np).reshape(step.shape)


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
            every=checks.updates("every", self.every, low=1),
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
            every=checks.updates("every", self.every, low=1),
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
            every=checks.updates("every", self.every, low=1),
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
            steps=checks.updates("steps", self.steps, low=0),
            start=checks.number("start", self.start, low=0, high=self.after(0)),
        )

    def _rate(self, step, xp):
        if self.steps == 0:
            return self.after._rate(step, xp)
        ramp = self.start + _times_share(self.after(0) - self.start, step, self.steps, xp)
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


@dataclass(frozen=True)
class LinearDecay(Schedule):
    r"""Fall in a straight line from `peak` to `floor`, then hold the floor.

    .. math:: \eta_t = \text{floor} + (\text{peak} - \text{floor})\,(1 - \min(t / T, 1))

    with :math:`T` = `total_steps`. Defazio et al. (2023), *When, why and how much? Adaptive
    learning rate scheduling by refinement*, find it hard to beat.

    Parameters
    ----------
    peak : float, at least 0
    total_steps : int, at least 1
    floor : float, 0 <= floor <= peak

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = LinearDecay(1.0, total_steps=4)
    >>> [rate(step) for step in (0, 1, 3, 4, 5)]
    [1.0, 0.75, 0.25, 0.0, 0.0]
    """

    peak: float
    total_steps: int
    floor: float = 0.0

    def __post_init__(self):
        _set(self, **_fall(self))

    def _rate(self, step, xp):
        return _mix(self.floor, self.peak, 1 - _progress(step, self.total_steps, xp))


Linear = LinearDecay  # its old name, which trainlab.models has for a model


@dataclass(frozen=True)
class Polynomial(Schedule):
    r"""Fall from `peak` to `floor` along a power of the steps that are left.

    .. math:: \eta_t = \text{floor} + (\text{peak} - \text{floor})\,(1 - \min(t / T, 1))^p

    with :math:`T` = `total_steps` and :math:`p` = `power`; with a power of 1 it is
    :class:`LinearDecay`. Liu, Rabinovich and Berg (2015), *ParseNet*.

    Parameters
    ----------
    peak : float, at least 0
    total_steps : int, at least 1
    floor : float, 0 <= floor <= peak
    power : float, above 0

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = Polynomial(1.0, total_steps=4)
    >>> [rate(step) for step in (0, 1, 2, 4, 5)]
    [1.0, 0.5625, 0.25, 0.0, 0.0]
    """

    peak: float
    total_steps: int
    floor: float = 0.0
    power: float = 2.0

    def __post_init__(self):
        _set(self, **_fall(self), power=checks.number("power", self.power, above=0))

    def _rate(self, step, xp):
        left = 1 - _progress(step, self.total_steps, xp)
        return _mix(self.floor, self.peak, left**self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    r"""Fall from `peak` to `floor` along half a cosine, then hold the floor.

    .. math:: \eta_t = \text{floor} + \tfrac12 (\text{peak} - \text{floor})
                       \big(1 + \cos(\pi \min(t / T, 1))\big)

    with :math:`T` = `total_steps`. Loshchilov and Hutter (2017), *SGDR*. Some libraries let
    the rate rise again after the horizon; this one holds.

    Parameters
    ----------
    peak : float, at least 0
    total_steps : int, at least 1
    floor : float, 0 <= floor <= peak

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = Cosine(1.0, total_steps=100)
    >>> [round(rate(step), 4) for step in (0, 25, 50, 75, 100, 200)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """

    peak: float
    total_steps: int
    floor: float = 0.0

    def __post_init__(self):
        _set(self, **_fall(self))

    def _rate(self, step, xp):
        return _mix(self.floor, self.peak, _half_cosine(_progress(step, self.total_steps, xp), xp))


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    r"""Half a cosine, again and again; each cycle `growth` times as long as the one before.

    .. math:: \eta_t = \text{floor} + \tfrac12 (\text{peak} - \text{floor})
                       \big(1 + \cos(\pi\, u_t / c_t)\big)

    where :math:`u_t` counts the updates since the last restart and :math:`c_t` is the length of
    the current cycle: `first_cycle`, then :math:`\text{first\_cycle} \cdot \text{growth}`, and so
    on. A step at which a cycle begins has the rate `peak`. Loshchilov and Hutter (2017), *SGDR*.

    Parameters
    ----------
    peak : float, at least 0
    first_cycle : int, at least 1
        In updates.
    growth : int, at least 1
        A whole number, so that restarts fall on exact steps.
    floor : float, 0 <= floor <= peak
        Approached at the end of a cycle, never reached: the next step is a restart.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = CosineRestarts(1.0, first_cycle=2, growth=3)
    >>> [round(rate(step), 4) for step in (0, 1, 2, 5, 7, 8)]
    [1.0, 0.5, 1.0, 0.5, 0.067, 1.0]
    """

    peak: float
    first_cycle: int
    growth: int = 1
    floor: float = 0.0

    def __post_init__(self):
        peak = checks.number("peak", self.peak, low=0)
        _set(
            self,
            peak=peak,
            first_cycle=checks.updates("first_cycle", self.first_cycle, low=1),
            growth=checks.updates("growth", self.growth, low=1),
            floor=checks.number("floor", self.floor, low=0, high=peak),
        )

    def _rate(self, step, xp):
        if self.growth == 1:
            since, cycle = step % self.first_cycle, self.first_cycle
        else:
            since, cycle = step, 1.0 * self.first_cycle + 0.0 * step
            start, length = self.first_cycle, self.first_cycle * self.growth
            # JAX counts steps in 32 bits unless told otherwise.
            largest = TOO_MANY if xp is np else 2**31
            # Compared with exact whole numbers; a logarithm would miss some restarts by one.
            while start < largest:
                since = xp.where(step >= start, step - start, since)
                cycle = xp.where(step >= start, 1.0 * length, cycle)
                start, length = start + length, length * self.growth
        return _mix(self.floor, self.peak, _half_cosine(since / cycle, xp))


@dataclass(frozen=True)
class InverseTime(Schedule):
    r"""Fall like one over the number of updates.

    .. math:: \eta_t = \frac{\text{peak}}{1 + d\, t / s}

    with :math:`d` = `decay` and :math:`s` = `every`. Robbins and Monro (1951), *A stochastic
    approximation method*: with such rates noisy descent reaches the bottom.

    Parameters
    ----------
    peak : float, at least 0
    decay : float, at least 0
    every : int, at least 1
        The number of updates that counts as one unit of time.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = InverseTime(1.0, decay=1.0, every=10)
    >>> [rate(step) for step in (0, 10, 30)]
    [1.0, 0.5, 0.25]
    """

    peak: float
    decay: float
    every: int = 1

    def __post_init__(self):
        _set(
            self,
            peak=checks.number("peak", self.peak, low=0),
            decay=checks.number("decay", self.decay, low=0),
            every=checks.updates("every", self.every, low=1),
        )

    def _rate(self, step, xp):
        return self.peak / (1 + _times_share(self.decay, step, self.every, xp))


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    r"""Fall like one over the square root of the number of updates.

    .. math:: \eta_t = \text{peak} \sqrt{\frac{\tau}{\tau + t}}

    with :math:`\tau` = `timescale`. Behind a :class:`Warmup` of `timescale` steps it is the
    schedule of Vaswani et al. (2017), *Attention is all you need*.

    Parameters
    ----------
    peak : float, at least 0
    timescale : int, at least 1
        In updates. After three times as many the rate is half of `peak`.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = InverseSqrt(1.0, timescale=100)
    >>> [rate(step) for step in (0, 300, 1500)]
    [1.0, 0.5, 0.25]
    """

    peak: float
    timescale: int

    def __post_init__(self):
        _set(
            self,
            peak=checks.number("peak", self.peak, low=0),
            timescale=checks.updates("timescale", self.timescale, low=1),
        )

    def _rate(self, step, xp):
        return self.peak * xp.sqrt(self.timescale / (1.0 * self.timescale + step))


DECAYS = {
    # name: what is left of the rate when the share u of the decay is done
    "1-sqrt": lambda u, xp: 1 - xp.sqrt(u),
    "linear": lambda u, xp: 1 - u,
    "cosine": lambda u, xp: _half_cosine(u, xp),
}


@dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    r"""Climb to `peak`, stay there, and decay at the end: the trapezoid of large language models.

    .. math:: \eta_t = \begin{cases}
                 \text{peak} \cdot t / w                                    & t < w \\
                 \text{peak}                                                & w \le t < w + s \\
                 \text{floor} + (\text{peak} - \text{floor})\, f(u)         & \text{after that}
              \end{cases}

    with :math:`w` = `warmup_steps`, :math:`s` = `stable_steps`, :math:`u = \min((t - w - s) / d,
    1)` for :math:`d` = `decay_steps`, and :math:`f(u) = 1 - \sqrt u` if `shape` is "1-sqrt". Hu et
    al. (2024), *MiniCPM*; the shape is that of Hägele et al. (2024), *Scaling laws and
    compute-optimal training beyond fixed training durations*.

    Parameters
    ----------
    peak : float, at least 0
    warmup_steps, stable_steps, decay_steps : int, at least 0
        A phase of length 0 is left out; without a decay the rate stays at `peak`.
    floor : float, 0 <= floor <= peak
    shape : "1-sqrt", "linear" or "cosine"

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = WarmupStableDecay(1.0, warmup_steps=2, stable_steps=6, decay_steps=4)
    >>> [round(rate(step), 4) for step in (0, 1, 2, 8, 9, 11, 12, 13)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.134, 0.0, 0.0]
    """

    peak: float
    warmup_steps: int
    stable_steps: int
    decay_steps: int
    floor: float = 0.0
    shape: str = "1-sqrt"

    def __post_init__(self):
        peak = checks.number("peak", self.peak, low=0)
        _set(
            self,
            peak=peak,
            floor=checks.number("floor", self.floor, low=0, high=peak),
            shape=checks.one_of("shape", self.shape, tuple(DECAYS)),
            **{
                name: checks.updates(name, getattr(self, name))
                for name in ("warmup_steps", "stable_steps", "decay_steps")
            },
        )

    def _rate(self, step, xp):
        rate = self.peak + 0.0 * step
        if self.decay_steps > 0:
            decaying = xp.maximum(step - self.warmup_steps - self.stable_steps, xp.zeros_like(step))
            left = DECAYS[self.shape](_progress(decaying, self.decay_steps, xp), xp)
            rate = _mix(self.floor, self.peak, left)
        if self.warmup_steps > 0:
            rate = xp.where(
                step < self.warmup_steps, _times_share(self.peak, step, self.warmup_steps, xp), rate
            )
        return rate


@dataclass(frozen=True)
class OneCycle(Schedule):
    r"""Climb from `start` to `peak` and fall to `floor`, each along half a cosine.

    .. math:: \eta_t = \begin{cases}
                 \text{peak} - \tfrac12 (\text{peak} - \text{start})(1 + \cos(\pi\, t / r))     & t < r \\
                 \text{floor} + \tfrac12 (\text{peak} - \text{floor})
                       \big(1 + \cos(\pi \min(\tfrac{t - r}{T - r}, 1))\big)                    & t \ge r
              \end{cases}

    with :math:`T` = `total_steps` and the climb :math:`r` = ``round(rise * total_steps)``. Smith
    and Topin (2017), *Super-convergence*.

    Parameters
    ----------
    peak : float, at least 0
    total_steps : int, at least 2
    rise : float, 0 < rise < 1
        The share of the steps that climb; at least one step climbs and one falls.
    start : float, 0 <= start <= peak, optional
        ``peak / 25`` if not given.
    floor : float, 0 <= floor <= peak

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = OneCycle(1.0, total_steps=10, rise=0.4, start=0.2)
    >>> [round(rate(step), 4) for step in (0, 2, 4, 7, 10, 11)]
    [0.2, 0.6, 1.0, 0.5, 0.0, 0.0]
    """

    peak: float
    total_steps: int
    rise: float = 0.3
    start: float | None = None
    floor: float = 0.0

    def __post_init__(self):
        peak = checks.number("peak", self.peak, low=0)
        _set(
            self,
            peak=peak,
            total_steps=checks.updates("total_steps", self.total_steps, low=2),
            rise=checks.number("rise", self.rise, above=0, below=1),
            start=checks.number(
                "start", peak / 25 if self.start is None else self.start, low=0, high=peak
            ),
            floor=checks.number("floor", self.floor, low=0, high=peak),
        )

    def _rate(self, step, xp):
        climb = min(max(round(self.rise * self.total_steps), 1), self.total_steps - 1)
        up = _mix(self.peak, self.start, _half_cosine(_progress(step, climb, xp), xp))
        later = xp.maximum(step - climb, xp.zeros_like(step))
        down = _mix(
            self.floor, self.peak, _half_cosine(_progress(later, self.total_steps - climb, xp), xp)
        )
        return xp.where(step < climb, up, down)


@dataclass(frozen=True)
class Cyclical(Schedule):
    r"""Climb and fall in straight lines between `floor` and `peak`, again and again.

    .. math:: \eta_t = \text{floor} + (\text{peak} - \text{floor})
                       \Big(1 - \Big|\, 1 - \frac{t \bmod 2h}{h} \Big|\Big)

    with :math:`h` = `half_cycle`. It starts at the floor. Smith (2017), *Cyclical learning
    rates for training neural networks*.

    Parameters
    ----------
    peak : float, at least 0
    half_cycle : int, at least 1
        Updates from the floor to the peak.
    floor : float, 0 <= floor <= peak

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> rate = Cyclical(1.0, half_cycle=2, floor=0.5)
    >>> [rate(step) for step in (0, 1, 2, 3, 4, 5)]
    [0.5, 0.75, 1.0, 0.75, 0.5, 0.75]
    """

    peak: float
    half_cycle: int
    floor: float

    def __post_init__(self):
        peak = checks.number("peak", self.peak, low=0)
        _set(
            self,
            peak=peak,
            half_cycle=checks.updates("half_cycle", self.half_cycle, low=1),
            floor=checks.number("floor", self.floor, low=0, high=peak),
        )

    def _rate(self, step, xp):
        height = 1 - xp.abs(1 - step % (2 * self.half_cycle) / self.half_cycle)
        return _mix(self.floor, self.peak, height)


def _fall(schedule):
    """Return the checked fields that every fall from a peak to a floor has."""
    peak = checks.number("peak", schedule.peak, low=0)
    return {
        "peak": peak,
        "total_steps": checks.updates("total_steps", schedule.total_steps, low=1),
        "floor": checks.number("floor", schedule.floor, low=0, high=peak),
    }


def _times_share(height, step, steps, xp):
    """Return ``height * step / steps``, also where the product alone would overflow."""
    product = height * step / steps
    return xp.where(product < np.inf, product, height * (step / steps))


def _progress(step, steps, xp):
    """Return the share of `steps` that is done, 1 at the horizon and after it."""
    share = step / steps
    return xp.minimum(share, xp.ones_like(share))


def _half_cosine(share, xp):
    """Return 1 at the beginning, 0 when all of `share` is done, and half a cosine between."""
    return (1 + xp.cos(np.pi * share)) / 2


def _mix(floor, peak, share):
    """Return `share` of the way from `floor` to `peak`, exact at both ends."""
    return floor * (1 - share) + peak * share
