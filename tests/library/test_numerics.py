"""Exponentials and logarithms against mpmath (50 digits) and SciPy."""

import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trainlab import numerics

mpmath.mp.dps = 50
INF, NAN = np.inf, np.nan
EPS = np.finfo(np.float64).eps
TINY = np.finfo(np.float64).tiny

# The places where naive formulas break: around 0, 37 (1 + exp(-37) is 1), 710 and 745 (exp
# overflows, underflows).
ARGUMENTS = [
    0.0,
    1e-300,
    1e-9,
    1e-3,
    0.5,
    1.0,
    2.5,
    18.0,
    36.0,
    37.0,
    40.0,
    700.0,
    708.5,
    710.0,
    745.0,
    746.0,
    1e4,
    1e20,
]
SIGNED = ARGUMENTS + [-x for x in ARGUMENTS]

ROWS = [
    [0.0, -40.0],
    [-40.0, 0.0],
    [40.0, 0.0, 1.0],
    [0.0, 0.0],
    [1000.0, 1000.0],
    [-1000.0, -1000.5, -1001.0],
    [1e4, 0.0],
    [0.0, -745.0],
    [1e-9, -1e-9, 0.0],
    [-37.0, -37.0, -37.0, 0.0],
    [3.5],
    [1e20, 1e20, -1e20],
    [-INF, 2.0],
    [2.0, -INF, -INF, 1.0],
]


def exact(value):
    return mpmath.mpf(value)


def close(ours, true, ulps=4, size=None):
    """`ours` differs from `true` by a few units in the last place of `size` (of `true` itself if not given)."""
    true = exact(true)
    size = abs(true) if size is None else size
    return abs(exact(float(ours)) - true) <= ulps * EPS * size + TINY


@pytest.mark.parametrize("x", SIGNED)
def test_softplus_has_all_digits(x):
    assert close(numerics.softplus(x), mpmath.log1p(mpmath.exp(exact(x))))


@pytest.mark.parametrize("x", SIGNED)
def test_sigmoid_has_all_digits(x):
    assert close(numerics.sigmoid(x), 1 / (1 + mpmath.exp(-exact(x))))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_log_sum_exp_has_all_digits(row):
    true = mpmath.log(mpmath.fsum(mpmath.exp(exact(x)) for x in row))
    assert close(numerics.log_sum_exp(row), true)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_softmax_has_all_digits(row):
    total = mpmath.fsum(mpmath.exp(exact(x)) for x in row)
    for ours, x in zip(numerics.softmax(row), row):
        assert close(ours, mpmath.exp(exact(x)) / total)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_log_softmax_is_exact_to_the_size_of_its_terms(row):
    total = mpmath.log(mpmath.fsum(mpmath.exp(exact(x)) for x in row))
    for ours, x in zip(numerics.log_softmax(row), row):
        if x == -INF:
            assert ours == -INF
        else:
            assert close(ours, exact(x) - total, size=max(abs(x), abs(total)))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("scale", [1, 500])
def test_every_axis_agrees_with_scipy(axis, scale):
    x = np.random.default_rng(0).normal(0, scale, (3, 4, 5))
    np.testing.assert_allclose(
        numerics.log_sum_exp(x, axis), scipy.special.logsumexp(x, axis), rtol=1e-14, atol=1e-14
    )
    np.testing.assert_allclose(
        numerics.log_softmax(x, axis), scipy.special.log_softmax(x, axis), rtol=1e-14, atol=1e-12
    )
    np.testing.assert_allclose(
        numerics.softmax(x, axis), scipy.special.softmax(x, axis), rtol=1e-12, atol=1e-300
    )


def test_each_row_is_shifted_by_its_own_maximum():
    # exp(-2000) is 0: with the maximum of the whole array, the second row would be log(0) and 0 /
    # 0.
    x = np.array([[1000.0, 1000.0], [-1000.0, -1000.0]])
    assert numerics.log_sum_exp(x) == pytest.approx(
        [1000 + np.log(2), -1000 + np.log(2)], rel=1e-15
    )
    assert numerics.softmax(x).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert numerics.log_softmax(x) == pytest.approx(np.full((2, 2), -np.log(2)), rel=1e-12)


@pytest.mark.parametrize(
    "row, expected",
    [
        ([-INF, -INF], -INF),
        ([INF, 0.0], INF),
        ([INF, -INF], INF),
        ([NAN, 0.0], NAN),
        ([0.0, NAN], NAN),
    ],
)
def test_log_sum_exp_of_infinities_and_nan(row, expected):
    assert np.array_equal(numerics.log_sum_exp(row), expected, equal_nan=True)


def test_softplus_and_sigmoid_at_the_infinities():
    assert numerics.softplus([-INF, INF]).tolist() == [0.0, INF]
    assert numerics.sigmoid([-INF, INF]).tolist() == [0.0, 1.0]


ELEMENTWISE = [numerics.sigmoid, numerics.softplus, numerics.softmax, numerics.log_softmax]


@pytest.mark.parametrize("function", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_type_are_kept(function, dtype):
    x = np.linspace(-100, 100, 24, dtype=dtype).reshape(2, 3, 4)
    result = function(x)
    assert result.shape == x.shape and result.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_sum_exp_drops_its_axis_and_keeps_the_type(dtype):
    x = np.zeros((2, 3, 4), dtype)
    assert numerics.log_sum_exp(x, 1).shape == (2, 4)
    assert numerics.log_sum_exp(x, 1).dtype == dtype


@pytest.mark.parametrize("function", ELEMENTWISE + [numerics.log_sum_exp])
def test_whole_numbers_are_accepted_and_the_argument_is_not_changed(function):
    x = np.array([1, 2, 3])
    assert np.array_equal(function(x), function([1.0, 2.0, 3.0]))
    floats = np.array([1.0, 2.0, 3.0])
    function(floats)
    assert floats.tolist() == [1.0, 2.0, 3.0]


VECTORS = hnp.arrays(np.float64, st.integers(1, 6), elements=st.floats(-700, 700))


@given(VECTORS, st.floats(-1e3, 1e3))
def test_a_shift_moves_log_sum_exp_and_leaves_softmax(x, shift):
    size = np.abs(x).max() + abs(shift) + 1
    assert numerics.log_sum_exp(x + shift) == pytest.approx(
        numerics.log_sum_exp(x) + shift, abs=8 * EPS * size
    )
    np.testing.assert_allclose(
        numerics.softmax(x + shift), numerics.softmax(x), rtol=8 * EPS * size, atol=TINY
    )


@given(VECTORS)
def test_log_sum_exp_lies_between_the_maximum_and_the_maximum_plus_log_n(x):
    value, slack = numerics.log_sum_exp(x), 1 + 4 * EPS
    assert x.max() <= value
    assert value - x.max() <= np.log(len(x)) * slack + 4 * EPS * np.abs(x).max()


@given(VECTORS)
def test_softmax_is_a_probability_and_exp_of_log_softmax(x):
    p = numerics.softmax(x)
    assert (p >= 0).all() and p.sum() == pytest.approx(1, rel=8 * EPS)
    np.testing.assert_allclose(np.exp(numerics.log_softmax(x)), p, rtol=1e-12, atol=TINY)


@given(st.floats(-700, 700))
def test_sigmoid_is_the_derivative_and_the_mirror_image(x):
    assert numerics.sigmoid(x) + numerics.sigmoid(-x) == pytest.approx(1, rel=4 * EPS)
    assert numerics.softplus(x) - numerics.softplus(-x) == pytest.approx(
        x, abs=4 * EPS * (abs(x) + 1)
    )


def test_rows_are_shifted_by_their_own_maximum():
    x = np.array([[0.0, 1.0, 2.0], [4000.0, 4001.0, 4002.0]])
    for function in (numerics.log_softmax, numerics.softmax):
        np.testing.assert_array_equal(function(x)[0], function(x)[1])
        np.testing.assert_array_equal(function(x.T, axis=0).T, function(x))


def test_a_difference_that_overflows_is_infinite_without_a_warning():
    for dtype in (np.float64, np.float32, np.float16):
        x = np.array([1, -1], dtype) * np.finfo(dtype).max
        assert numerics.log_sum_exp(x) == x[0]
        assert numerics.log_softmax(x).tolist() == [0, -INF]
        assert numerics.softmax(x).tolist() == [1, 0]
        assert numerics.zero_safe_product(x, x).tolist() == [INF, INF]


@pytest.mark.parametrize("function", [numerics.log_sum_exp, numerics.log_softmax, numerics.softmax])
def test_terms_that_vanish_are_no_error_to_those_who_want_every_error(function):
    with np.errstate(all="raise"):
        assert np.isfinite(function(np.array([0.0, -740.0, -1e300]))).any()


def test_a_product_has_the_wider_type_and_one_shape():
    short, wide = np.array([1, 0], np.float32), np.array([3, INF])
    for x, y in ((short, wide), (wide, short)):
        assert numerics.zero_safe_product(x[:1], y[:1]).dtype == np.float64
    assert numerics.zero_safe_product(short, wide).tolist() == [3, 0]
    assert numerics.zero_safe_product(short, short).dtype == np.float32
    with pytest.raises(ValueError, match=r"x has shape \(2,\), y \(1,\); this product does not"):
        numerics.zero_safe_product(short, wide[:1])
    for name, pair in (("x", ("a", 1.0)), ("y", (1.0, "a"))):
        with pytest.raises(TypeError, match=f"^{name} must be real numbers, received dtype <U1"):
            numerics.zero_safe_product(*pair)


def test_only_the_summed_axis_goes():
    assert numerics.log_sum_exp(np.zeros((1, 3, 1))).shape == (1, 3)
    assert numerics.log_sum_exp(np.zeros((1, 3, 1)), axis=0).shape == (3, 1)
