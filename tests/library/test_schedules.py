"""Schedules against tables worked out by hand, mpmath, and the laws every schedule obeys."""

import copy
import dataclasses
import pickle

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlab import schedules as library
from trainlab.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Cyclical,
    Exponential,
    InverseSqrt,
    InverseTime,
    Join,
    LinearDecay,
    OneCycle,
    Piecewise,
    Polynomial,
    Schedule,
    StepDecay,
    StepSubtract,
    Warmup,
    WarmupStableDecay,
)

FAR = 10**15
NAN, INF = float("nan"), float("inf")

# Powers of two throughout, so that the rates below are exact.
TABLES = [
    (Constant(0.25), {0: 0.25, 1: 0.25, FAR: 0.25}),
    (Constant(0), {0: 0.0, 5: 0.0}),
    (Exponential(1.0, factor=0.5), {0: 1.0, 1: 0.5, 2: 0.25, 10: 2.0**-10, FAR: 0.0}),
    (Exponential(8.0, factor=0.25, every=2), {0: 8.0, 1: 4.0, 2: 2.0, 3: 1.0, 4: 0.5}),
    (Exponential(3.0, factor=1.0, every=7), {0: 3.0, 6: 3.0, 7: 3.0, FAR: 3.0}),
    (
        Exponential(1.0, factor=0.5, every=10, staircase=True),
        {0: 1.0, 9: 1.0, 10: 0.5, 11: 0.5, 19: 0.5, 20: 0.25, 29: 0.25, 30: 0.125, FAR: 0.0},
    ),
    (
        StepDecay(1.0, factor=0.5, every=10),
        {0: 1.0, 9: 1.0, 10: 0.5, 11: 0.5, 19: 0.5, 20: 0.25, 21: 0.25, FAR: 0.0},
    ),
    (StepDecay(4.0, factor=0.25, every=1), {0: 4.0, 1: 1.0, 2: 0.25}),
    (
        StepSubtract(1.0, amount=0.25, every=10),
        {
            0: 1.0,
            9: 1.0,
            10: 0.75,
            11: 0.75,
            19: 0.75,
            20: 0.5,
            30: 0.25,
            39: 0.25,
            40: 0.0,
            41: 0.0,
            50: 0.0,
            FAR: 0.0,
        },
    ),
    (
        StepSubtract(1.0, amount=0.25, every=10, floor=0.375),
        {0: 1.0, 29: 0.5, 30: 0.375, 31: 0.375, FAR: 0.375},
    ),
    (StepSubtract(0.5, amount=0, every=3), {0: 0.5, 3: 0.5, FAR: 0.5}),
    (
        Piecewise([10, 15], [0.5, 0.25, 0.125]),
        {0: 0.5, 9: 0.5, 10: 0.25, 11: 0.25, 14: 0.25, 15: 0.125, 16: 0.125, FAR: 0.125},
    ),
    (Piecewise([1], [0.0, 0.5]), {0: 0.0, 1: 0.5, 2: 0.5}),
    (Piecewise([], [0.5]), {0: 0.5, FAR: 0.5}),
    (Warmup(Constant(1.0), 4), {0: 0.0, 1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0, 5: 1.0, FAR: 1.0}),
    (Warmup(Constant(1.0), 4, start=0.5), {0: 0.5, 1: 0.625, 3: 0.875, 4: 1.0, 5: 1.0}),
    (Warmup(Constant(1.0), 1), {0: 0.0, 1: 1.0, 2: 1.0}),
    (Warmup(StepDecay(1.0, 0.5, 10), 0), {0: 1.0, 9: 1.0, 10: 0.5}),
    (
        Warmup(StepDecay(1.0, 0.5, 10), 4),
        {0: 0.0, 3: 0.75, 4: 1.0, 5: 1.0, 13: 1.0, 14: 0.5, 15: 0.5, 23: 0.5, 24: 0.25, FAR: 0.0},
    ),
    # nanoGPT's (step + 1) / (steps + 1): the first update is not lost.
    (Warmup(Constant(1.0), 3, start=0.25), {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0}),
    (
        Join([Constant(0.5), StepDecay(2.0, 0.5, 10), Constant(0.125)], [100, 125]),
        {
            0: 0.5,
            99: 0.5,
            100: 2.0,
            101: 2.0,
            109: 2.0,
            110: 1.0,
            111: 1.0,
            120: 0.5,
            124: 0.5,
            125: 0.125,
            126: 0.125,
            FAR: 0.125,
        },
    ),
    (
        Join([Warmup(Constant(1.0), 2), Warmup(Constant(4.0), 2)], [3]),
        {0: 0.0, 1: 0.5, 2: 1.0, 3: 0.0, 4: 2.0, 5: 4.0, 6: 4.0},
    ),
    (Join([Constant(0.5)], []), {0: 0.5, FAR: 0.5}),
    (LinearDecay(1.0, 4), {0: 1.0, 1: 0.75, 3: 0.25, 4: 0.0, 5: 0.0, FAR: 0.0}),
    (LinearDecay(1.0, 8, floor=0.5), {0: 1.0, 4: 0.75, 7: 0.5625, 8: 0.5, 9: 0.5, FAR: 0.5}),
    (Polynomial(1.0, 4), {0: 1.0, 1: 0.5625, 2: 0.25, 3: 0.0625, 4: 0.0, 5: 0.0, FAR: 0.0}),
    (Polynomial(2.0, 2, floor=1.0, power=3), {0: 2.0, 1: 1.125, 2: 1.0, 3: 1.0}),
    (Cosine(1.0, 2), {0: 1.0, 1: 0.5, 2: 0.0, 3: 0.0, 4: 0.0, FAR: 0.0}),
    (Cosine(1.0, 4, floor=0.5), {0: 1.0, 2: 0.75, 4: 0.5, 5: 0.5, 8: 0.5, FAR: 0.5}),
    (CosineRestarts(1.0, 2), {0: 1.0, 1: 0.5, 2: 1.0, 3: 0.5, 4: 1.0, FAR: 1.0, FAR + 1: 0.5}),
    (
        CosineRestarts(1.0, 2, growth=2, floor=0.5),
        {0: 1.0, 1: 0.75, 2: 1.0, 4: 0.75, 6: 1.0, 10: 0.75, 14: 1.0, 22: 0.75, 30: 1.0},
    ),
    (InverseTime(1.0, decay=1.0), {0: 1.0, 1: 0.5, 3: 0.25, 7: 0.125}),
    (InverseTime(2.0, decay=0.5, every=4), {0: 2.0, 8: 1.0, 24: 0.5}),
    (InverseTime(0.5, decay=0), {0: 0.5, FAR: 0.5}),
    (InverseSqrt(1.0, 4), {0: 1.0, 12: 0.5, 60: 0.25}),
    # Vaswani et al. (2017): up to the peak at the last warm-up step, then one over the square root
    # of the step.
    (Warmup(InverseSqrt(1.0, 4), 4), {0: 0.0, 2: 0.5, 4: 1.0, 16: 0.5, 64: 0.25}),
    (
        WarmupStableDecay(1.0, 2, 6, 4),
        {0: 0.0, 1: 0.5, 2: 1.0, 3: 1.0, 7: 1.0, 8: 1.0, 9: 0.5, 12: 0.0, 13: 0.0, FAR: 0.0},
    ),
    (
        WarmupStableDecay(1.0, 0, 2, 4, floor=0.5, shape="linear"),
        {0: 1.0, 2: 1.0, 3: 0.875, 5: 0.625, 6: 0.5, 7: 0.5, FAR: 0.5},
    ),
    (WarmupStableDecay(1.0, 0, 0, 2, shape="cosine"), {0: 1.0, 1: 0.5, 2: 0.0, 3: 0.0}),
    (WarmupStableDecay(1.0, 4, 0, 0), {0: 0.0, 3: 0.75, 4: 1.0, 5: 1.0, FAR: 1.0}),
    (
        OneCycle(1.0, 8, rise=0.5, start=0.5, floor=0.25),
        {0: 0.5, 2: 0.75, 4: 1.0, 6: 0.625, 8: 0.25, 9: 0.25, FAR: 0.25},
    ),
    (OneCycle(25.0, 10, rise=0.2), {0: 1.0, 1: 13.0, 2: 25.0, 6: 12.5, 10: 0.0, 11: 0.0}),
    # Shares that would round to no climb or no fall still leave a step of each.
    (OneCycle(1.0, 2, rise=0.01, start=0.0), {0: 0.0, 1: 1.0, 2: 0.0, 3: 0.0}),
    (OneCycle(1.0, 2, rise=0.99, start=0.0), {0: 0.0, 1: 1.0, 2: 0.0, 3: 0.0}),
    (
        Cyclical(1.0, 2, 0.5),
        {0: 0.5, 1: 0.75, 2: 1.0, 3: 0.75, 4: 0.5, 5: 0.75, 6: 1.0, 8: 0.5, 4 * 10**14: 0.5},
    ),
]


@pytest.mark.parametrize("schedule, table", TABLES, ids=[repr(row[0]) for row in TABLES])
def test_the_rate_at_and_around_every_boundary(schedule, table):
    assert {step: schedule(step) for step in table} == table
    assert schedule(np.array(list(table))).tolist() == list(table.values())


@pytest.mark.parametrize("step", [0, 1, 49, 50, 99, 100, 101, 777, 5000])
def test_exponential_has_the_digits_of_mpmath(step):
    true = mpmath.mpf(0.3) * mpmath.power(mpmath.mpf(0.9), mpmath.mpf(step) / 100)
    # The exponent step / 100 is rounded once, which the power magnifies by step / 100 * log(0.9).
    assert Exponential(0.3, factor=0.9, every=100)(step) == pytest.approx(
        float(true), rel=4e-15, abs=0
    )


@pytest.mark.parametrize("step", range(0, 101, 10))
def test_cosine_has_the_digits_of_mpmath(step):
    share = (1 + mpmath.cos(mpmath.pi * step / 100)) / 2
    true = mpmath.mpf(0.1) * (1 - share) + mpmath.mpf(0.3) * share
    assert Cosine(0.3, 100, floor=0.1)(step) == pytest.approx(float(true), rel=4e-16, abs=0)


def test_restarts_fall_on_exact_steps():
    # At step 847 of 7 * 3 ** k, libraries that take a logarithm miss the restart.
    schedule, starts = CosineRestarts(1.0, first_cycle=7, growth=3), [0]
    while starts[-1] < 10**15:
        starts.append(starts[-1] + 7 * 3 ** (len(starts) - 1))
    assert 847 in starts
    assert [schedule(start) for start in starts] == [1.0] * len(starts)
    assert all(schedule(start - 1) < 0.1 for start in starts[1:12])


# --- Laws ----------------------------------------------------------------------------------------

rates = st.floats(1e-6, 10)
lengths = st.integers(1, 50)
decays = st.one_of(
    st.builds(Constant, rates),
    st.builds(Exponential, rates, st.floats(0.01, 1), lengths, st.booleans()),
    st.builds(StepDecay, rates, st.floats(0.01, 1), lengths),
    st.builds(StepSubtract, rates, st.floats(0, 1), lengths),
    rates.flatmap(
        lambda peak: st.builds(
            StepSubtract, st.just(peak), st.floats(0, 1), lengths, st.floats(0, peak)
        )
    ),
    st.lists(st.integers(1, 200), max_size=4, unique=True).flatmap(
        lambda cuts: st.builds(
            Piecewise,
            st.just(sorted(cuts)),
            st.lists(rates, min_size=len(cuts) + 1, max_size=len(cuts) + 1).map(
                lambda values: sorted(values, reverse=True)
            ),
        )
    ),
)
falls = rates.flatmap(
    lambda peak: st.one_of(
        st.builds(LinearDecay, st.just(peak), lengths, st.floats(0, peak)),
        st.builds(Polynomial, st.just(peak), lengths, st.floats(0, peak), st.floats(0.1, 5)),
        st.builds(Cosine, st.just(peak), lengths, st.floats(0, peak)),
        st.builds(InverseTime, st.just(peak), st.floats(0, 5), lengths),
        st.builds(InverseSqrt, st.just(peak), lengths),
        st.builds(
            WarmupStableDecay,
            st.just(peak),
            st.just(0),
            st.integers(0, 50),
            st.integers(0, 50),
            st.floats(0, peak),
            st.sampled_from(["1-sqrt", "linear", "cosine"]),
        ),
    )
)
waves = rates.flatmap(
    lambda peak: st.one_of(
        st.builds(CosineRestarts, st.just(peak), lengths, st.integers(1, 4), st.floats(0, peak)),
        st.builds(
            WarmupStableDecay,
            st.just(peak),
            lengths,
            st.integers(0, 50),
            st.integers(0, 50),
            st.floats(0, peak),
        ),
        st.builds(
            OneCycle,
            st.just(peak),
            st.integers(2, 100),
            st.floats(0.01, 0.99),
            st.floats(0, peak),
            st.floats(0, peak),
        ),
        st.builds(Cyclical, st.just(peak), lengths, st.floats(0, peak)),
    )
)
ROUNDING = 1 + 4e-16
schedules = st.recursive(
    st.one_of(decays, falls, waves),
    lambda inner: st.one_of(
        st.builds(Warmup, inner, st.integers(0, 50)),
        st.lists(inner, min_size=1, max_size=3).flatmap(
            lambda pieces: st.builds(
                Join,
                st.just(pieces),
                st.lists(
                    st.integers(1, 200),
                    min_size=len(pieces) - 1,
                    max_size=len(pieces) - 1,
                    unique=True,
                ).map(sorted),
            )
        ),
    ),
    max_leaves=4,
)
steps = st.lists(st.integers(0, 400), min_size=1, max_size=40)


def peak_of(schedule):
    if isinstance(schedule, Piecewise):
        return max(schedule.rates)
    if isinstance(schedule, Warmup):
        return peak_of(schedule.after)
    if isinstance(schedule, Join):
        return max(map(peak_of, schedule.pieces))
    return schedule.peak


@given(schedules, steps)
def test_one_step_gives_exactly_what_an_array_of_steps_gives(schedule, steps):
    together = schedule(np.array(steps))
    assert together.shape == (len(steps),) and together.dtype == np.float64
    assert [schedule(step) for step in steps] == together.tolist()


@given(schedules, steps)
def test_the_order_of_the_questions_does_not_matter(schedule, steps):
    forwards = [schedule(step) for step in steps]
    assert [schedule(step) for step in reversed(steps)] == forwards[::-1]
    assert [copy.deepcopy(schedule)(step) for step in steps] == forwards


@given(schedules, steps)
def test_the_rate_stays_between_zero_and_the_peak(schedule, steps):
    rate = schedule(np.array(steps))
    assert (rate >= 0).all() and (rate <= peak_of(schedule) * ROUNDING).all()


@given(falls)
def test_a_fall_starts_at_its_peak_and_never_rises(schedule):
    rate = schedule(np.arange(400))
    assert rate[0] == schedule.peak
    assert (rate[1:] <= rate[:-1] * ROUNDING).all()


@given(
    rates.flatmap(
        lambda peak: st.tuples(
            st.sampled_from([LinearDecay, Polynomial, Cosine]),
            st.just(peak),
            lengths,
            st.floats(0, peak),
        )
    )
)
def test_a_fall_reaches_its_floor_at_the_horizon_and_holds_it(case):
    kind, peak, total, floor = case
    assert kind(peak, total, floor)(np.arange(total, total + 50)).tolist() == [floor] * 50


@given(decays)
def test_a_decay_starts_at_its_peak_and_never_rises(schedule):
    rate = schedule(np.arange(400))
    assert rate[0] == peak_of(schedule)
    assert (np.diff(rate) <= 0).all()


@given(decays, st.integers(1, 50))
def test_a_warmup_rises_to_what_follows_and_then_only_shifts_it(after, length):
    schedule = Warmup(after, length)
    rate = schedule(np.arange(length + 100))
    assert rate[0] == 0
    assert (np.diff(rate[: length + 1]) > 0).all()
    np.testing.assert_allclose(np.diff(rate[: length + 1]), after(0) / length, rtol=1e-9)
    assert rate[length:].tolist() == after(np.arange(100)).tolist()


@given(decays, decays, st.integers(1, 100))
def test_the_pieces_of_a_join_count_from_their_own_zero(first, second, boundary):
    rate = Join([first, second], [boundary])(np.arange(boundary + 100))
    assert rate[:boundary].tolist() == first(np.arange(boundary)).tolist()
    assert rate[boundary:].tolist() == second(np.arange(100)).tolist()


@given(rates, st.floats(0.01, 1), lengths)
def test_step_decay_is_a_staircase_and_a_piecewise_constant(peak, factor, every):
    steps = np.arange(4 * every)
    rate = StepDecay(peak, factor, every)(steps)
    assert rate.tolist() == Exponential(peak, factor, every, staircase=True)(steps).tolist()
    by_hand = Piecewise(
        [every, 2 * every, 3 * every], [peak, peak * factor, peak * factor**2, peak * factor**3]
    )
    np.testing.assert_allclose(rate, by_hand(steps), rtol=1e-14)


@given(rates, st.floats(0.01, 1), lengths)
def test_the_smooth_exponential_meets_its_staircase_at_the_multiples(peak, factor, every):
    multiples = every * np.arange(10)
    smooth, stairs = (
        Exponential(peak, factor, every),
        Exponential(peak, factor, every, staircase=True),
    )
    assert smooth(multiples).tolist() == stairs(multiples).tolist()
    assert (smooth(np.arange(200)) <= stairs(np.arange(200))).all()


# --- What goes in, what comes out ----------------------------------------------------------------

EXAMPLES = [row[0] for row in TABLES]
examples = pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)


@examples
@pytest.mark.parametrize(
    "step", [3, 3.0, np.int64(3), np.uint8(3), np.float64(3)], ids=lambda step: type(step).__name__
)
def test_a_number_gives_a_python_float(schedule, step):
    assert type(schedule(step)) is float
    assert schedule(step) == schedule(3)


@examples
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_the_type_of_the_steps_does_not_change_the_rate(schedule, dtype):
    assert schedule(np.arange(40, dtype=dtype)).tolist() == schedule(np.arange(40)).tolist()


def test_small_whole_number_types_reach_no_limit():
    few = np.arange(3, dtype=np.uint8)
    assert StepDecay(1.0, 0.5, every=1000)(few).tolist() == [1.0, 1.0, 1.0]
    assert Join([Constant(1.0), Constant(2.0)], [1000])(few).tolist() == [1.0, 1.0, 1.0]


@examples
def test_an_array_keeps_its_shape_and_a_list_is_an_array(schedule):
    grid = np.arange(24).reshape(2, 3, 4)
    assert schedule(grid).shape == grid.shape
    assert (
        schedule(grid).ravel().tolist()
        == schedule(list(range(24))).tolist()
        == schedule(tuple(range(24))).tolist()
    )
    assert grid.ravel().tolist() == list(range(24))


@examples
@pytest.mark.parametrize(
    "step, error, message",
    [
        (-1, ValueError, "step must be finite and at least 0, received -1"),
        (np.array([0, 5, -3]), ValueError, "step must be finite and at least 0, received -3"),
        (
            -(2**63),
            ValueError,
            "step must be at least 0 and below 2**63, received a number of 64 bits",
        ),
        (NAN, ValueError, "step must be finite and at least 0, received nan"),
        (INF, ValueError, "step must be finite and at least 0, received inf"),
        (None, TypeError, "step must be a number or an array, received None"),
        ("3", TypeError, "step must be a number or an array, received '3'"),
        (["3"], TypeError, "step must be a number or an array of numbers, received dtype <U1"),
        (True, TypeError, "step must be a number or an array of numbers, received dtype bool"),
    ],
)
def test_a_wrong_step_is_refused_and_named(schedule, step, error, message):
    with pytest.raises(error) as caught:
        schedule(step)
    assert str(caught.value) == message


@examples
def test_a_schedule_is_a_value(schedule):
    assert isinstance(schedule, Schedule)
    assert copy.deepcopy(schedule) == schedule and hash(copy.deepcopy(schedule)) == hash(schedule)
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert eval(repr(schedule)) == schedule
    field = dataclasses.fields(schedule)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, field, getattr(schedule, field))


def test_linear_decay_has_its_old_name_too():
    assert library.Linear is LinearDecay


def test_defaults():
    assert Exponential(1.0, 0.5) == Exponential(1.0, 0.5, every=1, staircase=False)
    assert StepSubtract(1.0, 0.1, 5) == StepSubtract(1.0, 0.1, 5, floor=0.0)
    assert Warmup(Constant(1.0), 5) == Warmup(Constant(1.0), 5, start=0.0)
    assert LinearDecay(1.0, 5) == LinearDecay(1.0, 5, floor=0.0)
    assert Polynomial(1.0, 5) == Polynomial(1.0, 5, floor=0.0, power=2.0)
    assert Cosine(1.0, 5) == Cosine(1.0, 5, floor=0.0)
    assert CosineRestarts(1.0, 5) == CosineRestarts(1.0, 5, growth=1, floor=0.0)
    assert InverseTime(1.0, 0.5) == InverseTime(1.0, 0.5, every=1)
    assert WarmupStableDecay(1.0, 1, 2, 3) == WarmupStableDecay(
        1.0, 1, 2, 3, floor=0.0, shape="1-sqrt"
    )
    assert OneCycle(1.0, 10) == OneCycle(1.0, 10, rise=0.3, start=1 / 25, floor=0.0)


def test_whole_numbers_as_rates_do_not_make_whole_number_schedules():
    # In Keras, ExponentialDecay(1, 10, 0.5) with an integer rate gives 1, 0, 0.
    assert [Exponential(1, 0.5, 10)(step) for step in (0, 10, 20)] == [1.0, 0.5, 0.25]
    assert type(Constant(1).peak) is float


# --- Traced arguments ----------------------------------------------------------------------------


class Tracer:
    """An array as a compiler sees it: it has operators and a namespace, but no numbers to look at."""

    __array_ufunc__ = None  # NumPy's functions must not touch it.

    def __init__(self, array, namespace):
        self.hidden, self.namespace = array, namespace

    def __array_namespace__(self, api_version=None):
        return self.namespace

    def __bool__(self):
        raise TypeError("a traced value is neither true nor false")

    def __array__(self, *_, **__):
        raise TypeError("a traced value is not a NumPy array")

    __float__ = __int__ = __index__ = __iter__ = __len__ = __bool__


def _operator(name):
    def method(self, other):
        other = other.hidden if isinstance(other, Tracer) else other
        assert isinstance(other, (int, float, np.ndarray)), f"{name} received {other!r}"
        return Tracer(getattr(self.hidden, name)(other), self.namespace)

    return method


for (
    _name
) in "add radd sub rsub mul rmul truediv rtruediv floordiv mod pow rpow ge gt le lt".split():
    setattr(Tracer, f"__{_name}__", _operator(f"__{_name}__"))


class Namespace:
    """The few functions of the array API standard that a schedule may use, all recorded."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        if name not in (
            "where",
            "maximum",
            "minimum",
            "zeros_like",
            "ones_like",
            "asarray",
            "floor",
            "abs",
            "cos",
            "sqrt",
        ):
            raise AttributeError(f"a schedule asked for {name}")

        def function(*arguments):
            self.calls.append(name)
            hidden = [a.hidden if isinstance(a, Tracer) else a for a in arguments]
            return Tracer(getattr(np, name)(*hidden), self)

        return function


NAMESPACE_CALLS = {
    Constant: False,
    Exponential: False,
    StepDecay: False,
    StepSubtract: True,
    Piecewise: True,
    Join: True,
}


@examples
def test_a_traced_step_meets_operators_and_its_own_namespace_only(schedule):
    steps, namespace = np.arange(40), Namespace()
    rate = schedule.__call__(Tracer(steps, namespace))
    assert isinstance(rate, Tracer)
    np.testing.assert_array_equal(rate.hidden, schedule(steps))
    if type(schedule) in NAMESPACE_CALLS and getattr(schedule, "boundaries", True):
        assert bool(namespace.calls) == NAMESPACE_CALLS[type(schedule)]


def test_the_tracer_refuses_numpy_so_that_the_test_above_means_something():
    tracer = Tracer(np.arange(3), Namespace())
    for attempt in (
        lambda: np.maximum(tracer, 0),
        lambda: np.asarray(tracer),
        lambda: bool(tracer > 1),
        lambda: float(tracer),
    ):
        with pytest.raises(TypeError):
            attempt()


# --- Refusals ------------------------------------------------------------------------------------

C = Constant(0.1)
REFUSALS = [
    (lambda: Constant(-0.1), ValueError, "peak must be at least 0, received -0.1"),
    (lambda: Constant(NAN), ValueError, "peak must be finite, received nan"),
    (lambda: Constant("0.1"), TypeError, "peak must be a number, received '0.1'"),
    (lambda: Exponential(-1, 0.5), ValueError, "peak must be at least 0, received -1"),
    (lambda: Exponential(1, 0), ValueError, "factor must be above 0, received 0"),
    (lambda: Exponential(1, 1.1), ValueError, "factor must be at most 1, received 1.1"),
    (lambda: Exponential(1, 0.5, 0), ValueError, "every must be at least 1, received 0"),
    (lambda: Exponential(1, 0.5, 1.5), TypeError, "every must be a whole number, received 1.5"),
    (lambda: StepDecay(-1, 0.5, 1), ValueError, "peak must be at least 0, received -1"),
    (lambda: StepDecay(1, -0.5, 1), ValueError, "factor must be above 0, received -0.5"),
    (lambda: StepDecay(1, 2, 1), ValueError, "factor must be at most 1, received 2"),
    (lambda: StepDecay(1, 0.5, 0), ValueError, "every must be at least 1, received 0"),
    (lambda: StepSubtract(-1, 0.5, 1), ValueError, "peak must be at least 0, received -1"),
    (lambda: StepSubtract(1, -0.5, 1), ValueError, "amount must be at least 0, received -0.5"),
    (lambda: StepSubtract(1, 0.5, 0), ValueError, "every must be at least 1, received 0"),
    (
        lambda: StepSubtract(1, 0.5, 1, floor=1.5),
        ValueError,
        "floor must be at most 1.0, received 1.5",
    ),
    (
        lambda: StepSubtract(1, 0.5, 1, floor=-0.5),
        ValueError,
        "floor must be at least 0, received -0.5",
    ),
    (
        lambda: Piecewise([20, 10], [1, 2, 3]),
        ValueError,
        "boundaries must increase, received 10 after 20",
    ),
    (
        lambda: Piecewise([10, 10], [1, 2, 3]),
        ValueError,
        "boundaries must increase, received 10 after 10",
    ),
    (lambda: Piecewise([0], [1, 2]), ValueError, "a boundary must be at least 1, received 0"),
    (lambda: Piecewise([10], [1]), ValueError, "1 boundaries need 2 rates, received 1"),
    (lambda: Piecewise([10], [1, 2, 3]), ValueError, "1 boundaries need 2 rates, received 3"),
    (lambda: Piecewise([10], [1, -2]), ValueError, "a rate must be at least 0, received -2"),
    (lambda: Warmup(lambda step: 0.1, 5), TypeError, "expected a schedule, received <function"),
    (lambda: Warmup(0.1, 5), TypeError, "expected a schedule, received 0.1"),
    (lambda: Warmup(C, -1), ValueError, "steps must be at least 0, received -1"),
    (lambda: Warmup(C, 2.5), TypeError, "steps must be a whole number, received 2.5"),
    (lambda: Warmup(C, 5, start=0.2), ValueError, "start must be at most 0.1, received 0.2"),
    (lambda: Warmup(C, 5, start=-0.1), ValueError, "start must be at least 0, received -0.1"),
    (lambda: Join([C, C], [5, 4]), ValueError, "boundaries must increase, received 4 after 5"),
    (lambda: Join([C, C], []), ValueError, "0 boundaries need 1 pieces, received 2"),
    (lambda: Join([], []), ValueError, "0 boundaries need 1 pieces, received 0"),
    (lambda: Join([C, 0.1], [5]), TypeError, "expected a schedule, received 0.1"),
    (lambda: LinearDecay(-1, 5), ValueError, "peak must be at least 0, received -1"),
    (lambda: LinearDecay(1, 0), ValueError, "total_steps must be at least 1, received 0"),
    (lambda: LinearDecay(1, 5, floor=2), ValueError, "floor must be at most 1.0, received 2"),
    (lambda: Polynomial(1, 5, power=0), ValueError, "power must be above 0, received 0"),
    (lambda: Polynomial(1, 5.5), TypeError, "total_steps must be a whole number, received 5.5"),
    (lambda: Cosine(1, 5, floor=-0.1), ValueError, "floor must be at least 0, received -0.1"),
    (lambda: CosineRestarts(1, 0), ValueError, "first_cycle must be at least 1, received 0"),
    (lambda: CosineRestarts(1, 5, growth=0), ValueError, "growth must be at least 1, received 0"),
    (
        lambda: CosineRestarts(1, 5, growth=1.5),
        TypeError,
        "growth must be a whole number, received 1.5",
    ),
    (lambda: CosineRestarts(1, 5, floor=2), ValueError, "floor must be at most 1.0, received 2"),
    (lambda: InverseTime(1, -1), ValueError, "decay must be at least 0, received -1"),
    (lambda: InverseTime(1, 1, 0), ValueError, "every must be at least 1, received 0"),
    (lambda: InverseSqrt(-1, 5), ValueError, "peak must be at least 0, received -1"),
    (lambda: InverseSqrt(1, 0), ValueError, "timescale must be at least 1, received 0"),
    (
        lambda: WarmupStableDecay(1, -1, 2, 3),
        ValueError,
        "warmup_steps must be at least 0, received -1",
    ),
    (
        lambda: WarmupStableDecay(1, 1, -2, 3),
        ValueError,
        "stable_steps must be at least 0, received -2",
    ),
    (
        lambda: WarmupStableDecay(1, 1, 2, -3),
        ValueError,
        "decay_steps must be at least 0, received -3",
    ),
    (
        lambda: WarmupStableDecay(1, 1, 2, 3, shape="cubic"),
        ValueError,
        "shape must be one of '1-sqrt', 'linear', 'cosine', received 'cubic'",
    ),
    (
        lambda: WarmupStableDecay(1, 1, 2, 3, floor=2),
        ValueError,
        "floor must be at most 1.0, received 2",
    ),
    (lambda: OneCycle(1, 1), ValueError, "total_steps must be at least 2, received 1"),
    (lambda: OneCycle(1, 10, rise=0), ValueError, "rise must be above 0, received 0"),
    (lambda: OneCycle(1, 10, rise=1), ValueError, "rise must be below 1, received 1"),
    (lambda: OneCycle(1, 10, start=2), ValueError, "start must be at most 1.0, received 2"),
    (lambda: OneCycle(1, 10, floor=2), ValueError, "floor must be at most 1.0, received 2"),
    (lambda: Cyclical(1, 0, 0), ValueError, "half_cycle must be at least 1, received 0"),
    (lambda: Cyclical(1, 5, 2), ValueError, "floor must be at most 1.0, received 2"),
    (lambda: Join([C, C, C], [9, 3]), ValueError, "boundaries must increase, received 3 after 9"),
]


@pytest.mark.parametrize("call, error, message", REFUSALS, ids=[row[2] for row in REFUSALS])
def test_a_wrong_parameter_is_refused_and_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


# --- What mutations of the code showed to be missing ---------------------------------------------


@pytest.mark.parametrize(
    "schedule",
    [
        Warmup(Constant(1e308), 10),
        WarmupStableDecay(1e308, warmup_steps=10, stable_steps=1, decay_steps=1),
    ],
    ids=repr,
)
def test_a_share_of_a_huge_rate_does_not_overflow_on_its_way(schedule):
    assert schedule([5, 10]) == pytest.approx([5e307, 1e308], rel=1e-15)


BUILD = {
    "Constant": lambda **k: library.Constant(**{"peak": 0.5} | k),
    "Exponential": lambda **k: library.Exponential(**{"peak": 0.5, "factor": 0.5} | k),
    "StepDecay": lambda **k: library.StepDecay(**{"peak": 0.5, "factor": 0.5, "every": 3} | k),
    "StepSubtract": lambda **k: library.StepSubtract(
        **{"peak": 0.5, "amount": 0.125, "every": 3} | k
    ),
    "LinearDecay": lambda **k: library.LinearDecay(**{"peak": 0.5, "total_steps": 8} | k),
    "Polynomial": lambda **k: library.Polynomial(**{"peak": 0.5, "total_steps": 8} | k),
    "Cosine": lambda **k: library.Cosine(**{"peak": 0.5, "total_steps": 8} | k),
    "CosineRestarts": lambda **k: library.CosineRestarts(**{"peak": 0.5, "first_cycle": 8} | k),
    "InverseTime": lambda **k: library.InverseTime(**{"peak": 0.5, "decay": 0.5} | k),
    "InverseSqrt": lambda **k: library.InverseSqrt(**{"peak": 0.5, "timescale": 8} | k),
    "WarmupStableDecay": lambda **k: library.WarmupStableDecay(
        **{"peak": 0.5, "warmup_steps": 2, "stable_steps": 2, "decay_steps": 2} | k
    ),
    "OneCycle": lambda **k: library.OneCycle(**{"peak": 0.5, "total_steps": 8} | k),
    "Cyclical": lambda **k: library.Cyclical(**{"peak": 0.5, "half_cycle": 4, "floor": 0.125} | k),
}
every_builder = pytest.mark.parametrize("build", BUILD.values(), ids=list(BUILD))


@every_builder
def test_a_negative_rate_is_refused_by_name(build):
    for field in ("peak", "floor", "start"):
        if hasattr(build(), field):
            with pytest.raises(ValueError) as caught:
                build(**{field: -0.25})
            assert str(caught.value) == f"{field} must be at least 0, received -0.25"


@every_builder
def test_a_rate_of_zero_and_a_rate_below_one_are_allowed(build):
    lowest = {name: 0.0 for name in ("floor", "start") if hasattr(build(), name)}
    if isinstance(build(), library.StepSubtract):
        lowest["amount"] = 0.0
    assert build(peak=0.0, **lowest)(0) == 0.0


@every_builder
def test_numbers_of_numpy_are_stored_as_pythons(build):
    schedule = build(peak=np.float32(0.5))
    assert type(schedule.peak) is float and type(schedule(3)) is float
    assert schedule == build(peak=0.5) and repr(schedule) == repr(build(peak=0.5))


@pytest.mark.parametrize("shape", ["1-sqrt", "linear"])
def test_warmup_stable_decay_with_phases_of_one_step(shape):
    rate = library.WarmupStableDecay(0.5, 1, 1, 1, shape=shape)
    assert [rate(step) for step in range(5)] == [0.0, 0.5, 0.5, 0.0, 0.0]


def test_the_shortest_one_cycle_peaks_after_one_step():
    rate = library.OneCycle(0.5, 10, rise=0.01, start=0.25)
    assert rate(0) == 0.25 and rate(1) == 0.5 and rate(2) < 0.5


def test_a_schedule_without_a_rate_cannot_be_made():
    class Nothing(library.Schedule):
        pass

    with pytest.raises(TypeError, match="abstract method '?_rate'?"):
        Nothing()
