"""Every number type and every kind of array, for every public function: the result of float64, or a refusal in our words.

An input is first rounded to its type; what float64 makes of the rounded numbers is the truth that
the result in that type has to meet, to the type's precision. Infinity is right only where the truth
is beyond the type. A refusal has to come from a line of this library, not from the inside of NumPy,
and no warning may escape (conftest.py makes them errors).
"""

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainlab import evidence, losses, numerics, schedules

quickly = settings(max_examples=25, deadline=None, derandomize=True)

WHOLE = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
FLOATS = ["f2", "f4", "f8"]
HUGE = {"f2": 1e4, "f4": 1e30, "f8": 1e200}

# What may be done to an array without changing what it says.
DISGUISES = {
    "as it is": lambda a: a,
    "list": lambda a: a.tolist(),
    "tuple of rows": lambda a: tuple(a) if a.ndim else a,
    "read-only": lambda a: _read_only(a.copy()),
    "every second": lambda a: np.stack([a, a], axis=-1)[..., 0],
    "backwards": lambda a: a[::-1].copy()[::-1] if a.ndim else a,
    "column order": lambda a: np.asfortranarray(a),
    "foreign bytes": lambda a: a.astype(a.dtype.newbyteorder("S")),
    "masked nowhere": lambda a: np.ma.array(a, mask=np.zeros(a.shape, bool)),
}
# What no function may take: how it is made of an array, the error, and words of its message.
NONSENSE = {
    "masked": (
        lambda a: np.ma.array(a, mask=np.eye(1, a.size, dtype=bool).reshape(a.shape)),
        ValueError,
        "must not be masked",
    ),
    "a list with a masked entry": (
        lambda a: [np.ma.masked] * len(np.atleast_1d(a)),
        ValueError,
        "must not be masked",
    ),
    "ragged": (lambda a: [[1.0, 2.0], [3.0]], ValueError, "rows of equal lengths"),
    "objects": (lambda a: a.astype(object), TypeError, "dtype object"),
    "a huge Python int": (lambda a: [2**70], TypeError, "dtype object"),
    "text": (lambda a: a.astype(str), TypeError, "dtype <U"),
    "complex": (lambda a: a + 0j, TypeError, "dtype complex128"),
    "dates": (lambda a: a.astype("i8").astype("M8[s]"), TypeError, "dtype datetime64[s]"),
    "durations": (lambda a: a.astype("i8").astype("m8[s]"), TypeError, "dtype timedelta64[s]"),
    "nothing": (lambda a: None, TypeError, ""),
}


def _read_only(array):
    array.flags.writeable = False
    return array


def outcome(call):
    """The result of a call, or its refusal, which has to be our own."""
    try:
        return call(), None
    except (ValueError, TypeError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        assert "/trainlab/" in frame.filename, (
            f"{type(error).__name__} from {frame.filename}: {error}"
        )
        return None, error


def assert_is_the_truth(ours, truth, dtype, digits=16):
    """`ours` is `truth` to `digits` roundings of the type, infinite only where the truth is beyond it."""
    ours, truth = np.asarray(ours), np.asarray(truth, np.float64)
    limits = np.finfo(dtype)
    assert ours.shape == truth.shape
    assert not np.isnan(ours).any(), (ours, truth)
    beyond = np.abs(truth) > float(limits.max)
    ours = ours.astype(np.float64)
    assert np.array_equal(np.sign(ours[beyond]), np.sign(truth[beyond]))
    # Where float64 is past the type's largest number, that number or infinity may stand.
    assert (np.abs(ours[beyond]) >= float(limits.max) * (1 - 4 * float(limits.eps))).all()
    near, right = ours[~beyond], truth[~beyond]
    size = np.maximum(np.abs(right), float(limits.smallest_normal))
    assert (np.abs(near - right) <= digits * float(limits.eps) * size).all(), (near, right)


# --- Losses --------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A loss, arguments that every type can hold, its options, and the arguments that must be whole numbers."""

    arguments: tuple
    options: dict = {}
    whole: tuple = ()
    huge: Callable = lambda arguments, size: (arguments[0] * size, *arguments[1:])


YES, SIGNS = np.array([0, 1, 1, 0]), np.array([1, 1, 1, 1])
NUMBERS, OTHERS = np.array([1, 0, 1, 1]), np.array([0, 1, 1, 0])
LOGITS, LABELS = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]]), np.array([0, 1, 1, 0])
ONE_HOT = np.eye(3, dtype=int)[[0, 2, 1, 1]]
PAIRS = np.array([[1, 0], [0, 0], [1, 1], [0, 1]])
LOSSES = {
    "squared_error": Row((NUMBERS, OTHERS)),
    "absolute_error": Row((NUMBERS, OTHERS)),
    "huber": Row((NUMBERS, OTHERS)),
    "log_cosh": Row((NUMBERS, OTHERS)),
    "quantile": Row((NUMBERS, OTHERS), {"level": 0.75}),
    "gaussian_nll": Row((PAIRS, OTHERS), huge=lambda a, size: (a[0] * [size, 1], a[1])),
    "softmax_cross_entropy": Row((LOGITS, LABELS), whole=(1,)),
    "soft_cross_entropy": Row((LOGITS, ONE_HOT)),
    "binary_cross_entropy": Row((NUMBERS, YES)),
    "focal": Row((NUMBERS, YES)),
    "hinge": Row((NUMBERS, SIGNS)),
    "cross_entropy": Row((ONE_HOT[[0, 0, 1, 1]], ONE_HOT[[0, 0, 1, 1]]), huge=lambda a, size: a),
    "log_loss": Row((YES, YES), huge=lambda a, size: a),
    "kl_divergence": Row((LOGITS, ONE_HOT)),
    "distillation": Row((LOGITS, ONE_HOT), {"temperature": 2.0}),
    "info_nce": Row((LOGITS[:3],), {"temperature": 0.5}),
    "triplet": Row((NUMBERS, OTHERS)),
    "preference": Row((NUMBERS, OTHERS), {"beta": 0.5}),
}
# It has two gradients; its tests stand behind those of the others.
OF_A_MATRIX = {"linear_cross_entropy"}
every_loss = pytest.mark.parametrize("name", LOSSES)
REDUCTIONS = ("none", "mean", "sum")


def test_every_public_loss_has_a_row():
    functions = {name for name in losses.__all__ if inspect.isfunction(getattr(losses, name))}
    assert functions == set(LOSSES) | OF_A_MATRIX


def loss_of(name, arguments, **options):
    return getattr(losses, name)(*arguments, **LOSSES[name].options, **options)


def check_loss(name, arguments, dtype, disguise=lambda a: a, **options):
    """Compare a loss with float64's, for arguments of the given type in the given disguise."""
    row = LOSSES[name]
    typed = [
        np.asarray(a) if i in row.whole else np.asarray(a).astype(dtype)
        for i, a in enumerate(arguments)
    ]
    exact = [
        a if a.dtype.kind in "iub" and i in row.whole else a.astype(np.float64)
        for i, a in enumerate(typed)
    ]
    before = [a.copy() for a in typed]
    # A list has no type, so its numbers are float64.
    result_type = np.asarray(disguise(typed[0])).dtype
    result_type = result_type.newbyteorder("=") if result_type.kind == "f" else np.dtype(np.float64)
    precision = np.dtype(dtype) if np.dtype(dtype).kind == "f" else np.dtype(np.float64)
    for reduction in REDUCTIONS:
        ours = loss_of(name, [disguise(a) for a in typed], reduction=reduction, **options)
        truth = loss_of(name, exact, reduction=reduction, **options)
        if reduction == "none":
            assert type(ours.value) is np.ndarray and ours.value.dtype == result_type
        else:
            assert type(ours.value) is float
        # A mean of float16 is a float: it can say more than float16 can.
        value_type = np.float64 if reduction != "none" and precision == np.float16 else precision
        assert_is_the_truth(ours.value, truth.value, value_type)
        assert (
            type(ours.gradient) is np.ndarray
            and ours.gradient.dtype == result_type
            and ours.gradient.dtype.isnative
        )
        assert_is_the_truth(ours.gradient, truth.gradient, precision)
    assert all(np.array_equal(a, b) for a, b in zip(typed, before))


@every_loss
@pytest.mark.parametrize("dtype", WHOLE + FLOATS)
def test_a_loss_of_any_type_is_that_of_float64(name, dtype):
    check_loss(name, LOSSES[name].arguments, dtype)


@every_loss
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_loss_sees_through_every_kind_of_array(name, disguise):
    for dtype in ("f2", "f4", "f8", "u1", "i8"):
        check_loss(name, LOSSES[name].arguments, dtype, DISGUISES[disguise])
    check_loss(
        name,
        LOSSES[name].arguments,
        "f4",
        weights=DISGUISES[disguise](np.array([1, 2, 0, 3][: len(LOSSES[name].arguments[0])], "f4")),
    )


@every_loss
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_loss_of_huge_numbers_is_finite_wherever_the_type_is(name, dtype):
    row = LOSSES[name]
    for sign in (1, -1):
        arguments = row.huge(
            [
                np.asarray(a, np.float64) if i not in row.whole else a
                for i, a in enumerate(row.arguments)
            ],
            sign * HUGE[dtype],
        )
        if name == "triplet" and sign < 0:
            continue  # a distance
        # float64 has no wider type here to be compared with; of it this says that nothing is NaN
        # and no warning escapes.
        check_loss(name, arguments, dtype)


@every_loss
@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200, 1e308, -1e308])
def test_a_loss_is_the_same_for_those_who_want_every_error(name, size):
    arguments = [
        np.asarray(a, np.float64 if i not in LOSSES[name].whole else int)
        for i, a in enumerate(LOSSES[name].arguments)
    ]
    arguments = LOSSES[name].huge(arguments, abs(size) if name == "triplet" else size)
    for reduction in REDUCTIONS:
        usual = loss_of(name, arguments, reduction=reduction)
        with np.errstate(all="raise"):
            strict = loss_of(name, arguments, reduction=reduction)
        np.testing.assert_array_equal(strict.value, usual.value)
        np.testing.assert_array_equal(strict.gradient, usual.gradient)


@every_loss
@pytest.mark.parametrize("kind", NONSENSE)
def test_a_loss_refuses_nonsense_in_our_words(name, kind):
    make, error, message = NONSENSE[kind]
    arguments = LOSSES[name].arguments
    for place in range(len(arguments)):
        spoilt = [make(np.asarray(a)) if i == place else a for i, a in enumerate(arguments)]
        result, refusal = outcome(lambda: loss_of(name, spoilt))
        assert result is None and type(refusal) is error and message in str(refusal)
    weights = make(np.ones(len(arguments[0])))
    result, refusal = outcome(lambda: loss_of(name, arguments, weights=weights))
    if kind != "nothing":  # no weights are no nonsense
        assert result is None and type(refusal) is error and message in str(refusal)


@every_loss
def test_a_loss_of_nothing_or_of_one_number_is_right_or_refused(name):
    arguments = LOSSES[name].arguments
    empty = [np.asarray(a)[:0] for a in arguments]
    result, refusal = outcome(lambda: loss_of(name, empty))
    assert result is None and "must not be empty" in str(refusal)
    single = [np.asarray(a).ravel()[0] for a in arguments]
    result, refusal = outcome(lambda: loss_of(name, single, reduction="none"))
    if refusal is None:
        assert result.value.shape == result.gradient.shape == ()
        check_loss(name, single, "f2")
    else:
        assert "shape ()" in str(refusal)


@every_loss
@quickly
@given(
    st.data(),
    st.sampled_from(FLOATS),
    st.sampled_from(sorted(DISGUISES)),
    st.sampled_from([1e-3, 1.0, 30.0, None]),
)
def test_a_loss_of_any_numbers_is_that_of_float64(name, data, dtype, disguise, scale):
    row, scale = LOSSES[name], HUGE[dtype] if scale is None else scale
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    arguments = [np.asarray(a) for a in row.arguments]
    if name in ("cross_entropy", "log_loss"):
        p = rng.dirichlet(np.ones(3), 4)
        arguments[0] = p if name == "cross_entropy" else p[:, 0]
    elif name == "gaussian_nll":
        # A log-variance beyond 700 has a variance that no type holds.
        arguments[0] = np.stack([rng.normal(size=4) * scale, rng.normal(size=4)], axis=-1)
    else:
        arguments[0] = rng.normal(size=arguments[0].shape) * scale
        if name == "triplet":
            arguments[0] = np.abs(arguments[0])
    row_type = np.dtype(dtype)
    typed = [a if i in row.whole else a.astype(row_type) for i, a in enumerate(arguments)]
    exact = [a if i in row.whole else a.astype(np.float64) for i, a in enumerate(typed)]
    ours = loss_of(name, [DISGUISES[disguise](a) for a in typed], reduction="none")
    truth = loss_of(name, exact, reduction="none")
    limits = np.finfo(row_type)
    for mine, right in zip(ours, truth):
        assert not np.isnan(mine).any()
        fits = np.abs(right) <= float(limits.max)
        assert np.isfinite(np.asarray(mine)[fits]).all()
        # Nearby terms cancel, so digits are counted in units of the largest.
        size = max(1.0, float(np.abs(right[fits]).max(initial=0)))
        assert (
            np.abs(np.asarray(mine, np.float64)[fits] - right[fits])
            <= 200 * float(limits.eps) * size
        ).all()


# --- A loss of rows and a matrix -----------------------------------------------------------------

ROWS, MATRIX = LOGITS[:, :2], np.array([[1, 0], [0, 1], [1, 1]])


@pytest.mark.parametrize("dtype", WHOLE + FLOATS)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_loss_of_rows_and_a_matrix_of_any_type_is_that_of_float64(dtype, disguise):
    dress, precision = DISGUISES[disguise], dtype if dtype in FLOATS else "f8"
    rows, matrix = ROWS.astype(dtype), MATRIX.astype(dtype)
    labels, weights = LABELS.astype("i2"), np.array([1, 2, 0, 3], "f4")
    before = [a.copy() for a in (rows, matrix, labels, weights)]
    kept = np.asarray(dress(rows)).dtype
    kept = kept.newbyteorder("=") if kept.kind == "f" else np.dtype("f8")
    for reduction in ("mean", "sum"):
        options = {"reduction": reduction, "weights": dress(weights), "chunk": 2}
        ours = losses.linear_cross_entropy(dress(rows), dress(matrix), dress(labels), **options)
        truth = losses.linear_cross_entropy(
            rows.astype("f8"), matrix.astype("f8"), labels, **options
        )
        assert type(ours.value) is float
        assert_is_the_truth(ours.value, truth.value, "f8" if precision == "f2" else precision)
        for mine, right in zip(ours[1:], truth[1:]):
            assert type(mine) is np.ndarray and mine.dtype == kept and mine.dtype.isnative
            # Sums of terms that cancel: digits are counted in units of the largest entry.
            off = np.abs(mine.astype("f8") - right).max() / np.abs(right).max()
            assert off <= 16 * float(np.finfo(precision).eps)
    assert all(np.array_equal(a, b) for a, b in zip((rows, matrix, labels, weights), before))


def test_rows_and_a_matrix_of_two_types_have_gradients_of_theirs():
    found = losses.linear_cross_entropy(ROWS.astype("f4"), MATRIX.astype("f8"), LABELS)
    assert (found.gradient.dtype, found.matrix_gradient.dtype) == (np.float32, np.float64)
    found = losses.linear_cross_entropy(ROWS.astype("f2"), MATRIX, LABELS)
    assert (found.gradient.dtype, found.matrix_gradient.dtype) == (np.float16, np.float64)


@pytest.mark.parametrize("kind", NONSENSE)
def test_a_loss_of_rows_and_a_matrix_refuses_nonsense_in_our_words(kind):
    make, error, message = NONSENSE[kind]
    arguments = (ROWS, MATRIX, LABELS)
    for place in range(3):
        spoilt = [make(a) if i == place else a for i, a in enumerate(arguments)]
        result, refusal = outcome(lambda: losses.linear_cross_entropy(*spoilt))
        assert result is None and type(refusal) is error and message in str(refusal)
    if kind != "nothing":
        weights = make(np.ones(4))
        result, refusal = outcome(lambda: losses.linear_cross_entropy(*arguments, weights=weights))
        assert result is None and type(refusal) is error and message in str(refusal)


# --- Numerics ------------------------------------------------------------------------------------

SUMMED = {"log_sum_exp", "log_softmax", "softmax"}
NUMERICS = {
    "log_sum_exp": (LOGITS,),
    "log_softmax": (LOGITS,),
    "softmax": (LOGITS,),
    "sigmoid": (LOGITS,),
    "softplus": (LOGITS,),
    "zero_safe_product": (NUMBERS, OTHERS),
}
every_numeric = pytest.mark.parametrize("name", NUMERICS)


def public_functions(module):
    return {
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__.startswith(module.__name__)
        and not name.startswith("_")
    }


def test_every_numeric_function_has_a_row():
    assert public_functions(numerics) == set(NUMERICS)


@pytest.mark.parametrize("dtype", WHOLE + FLOATS)
@pytest.mark.parametrize("disguise", DISGUISES)
@every_numeric
def test_a_numeric_function_of_any_type_is_that_of_float64(name, dtype, disguise):
    typed = [a.astype(dtype) for a in NUMERICS[name]]
    given_type = np.asarray(DISGUISES[disguise](typed[0])).dtype
    function = getattr(numerics, name)
    for scale in (1, -1) if np.dtype(dtype).kind in "if" else (1,):
        typed = [a * np.array(scale, dtype) for a in typed]
        ours = function(*(DISGUISES[disguise](a) for a in typed))
        truth = function(*(a.astype(np.float64) for a in typed))
        assert ours.dtype == (
            given_type.newbyteorder("=") if given_type.kind == "f" else np.float64
        )
        assert_is_the_truth(ours, truth, dtype if dtype in FLOATS else np.float64)


@every_numeric
@pytest.mark.parametrize("dtype", WHOLE)
def test_the_ends_of_a_whole_number_type_do_not_wrap(name, dtype):
    ends = [0, 1] if dtype == "?" else [np.iinfo(dtype).min, 0, 1, np.iinfo(dtype).max]
    x = np.array(ends, dtype)
    arguments = (x,) * len(NUMERICS[name])
    ours = getattr(numerics, name)(*arguments)
    truth = getattr(numerics, name)(*(a.astype(np.float64) for a in arguments))
    np.testing.assert_array_equal(ours, truth)


@every_numeric
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_numeric_function_of_huge_numbers_is_finite_wherever_the_type_is(name, dtype):
    x = np.array([1, -1, 0, 0.5, 1], dtype) * np.array(HUGE[dtype], dtype)
    arguments = (x,) * len(NUMERICS[name])
    truth = getattr(numerics, name)(*(a.astype(np.float64) for a in arguments))
    assert_is_the_truth(getattr(numerics, name)(*arguments), truth, dtype)


@every_numeric
@pytest.mark.parametrize("kind", NONSENSE)
def test_a_numeric_function_refuses_nonsense_in_our_words(name, kind):
    make, error, message = NONSENSE[kind]
    for place in range(len(NUMERICS[name])):
        spoilt = [make(a) if i == place else a for i, a in enumerate(NUMERICS[name])]
        result, refusal = outcome(lambda: getattr(numerics, name)(*spoilt))
        assert result is None and type(refusal) is error and message in str(refusal)


@pytest.mark.parametrize("name", sorted(SUMMED))
@pytest.mark.parametrize(
    "x, axis, error, message",
    [
        (1.0, -1, ValueError, "axis must be one of the array's 0, received axis -1 for shape ()"),
        ([1.0], 1, ValueError, "axis must be one of the array's 1, received axis 1 for shape (1,)"),
        ([1.0], -2, ValueError, "received axis -2 for shape (1,)"),
        ([1.0], 0.5, TypeError, "axis must be a whole number, received 0.5"),
        ([1.0], None, TypeError, "axis must be a whole number, received None"),
        ([[1.0]], (0, 1), TypeError, "axis must be a whole number, received (0, 1)"),
        ([], -1, ValueError, "the array must not be empty along axis -1, received shape (0,)"),
        (
            np.ones((3, 0)),
            1,
            ValueError,
            "the array must not be empty along axis 1, received shape (3, 0)",
        ),
    ],
    ids=str,
)
def test_an_axis_that_is_none_is_refused(name, x, axis, error, message):
    result, refusal = outcome(lambda: getattr(numerics, name)(x, axis))
    assert result is None and type(refusal) is error and message in str(refusal)


@every_numeric
def test_no_rows_give_no_results(name):
    x = np.ones((0, 3), "f4")
    result = getattr(numerics, name)(*(x,) * len(NUMERICS[name]))
    assert (
        result.shape == ((0,) if name == "log_sum_exp" else (0, 3)) and result.dtype == np.float32
    )


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_row_without_a_finite_maximum_has_no_softmax(name, bad, dtype):
    x = np.array([[0.0, 1.0], [bad, bad]], dtype)
    result, refusal = outcome(lambda: getattr(numerics, name)(x))
    assert (
        result is None
        and f"needs a finite maximum along axis -1, received {bad} at index (1, 0)" in str(refusal)
    )
    result, refusal = outcome(lambda: getattr(numerics, name)(x.T, axis=0))
    assert result is None and f"along axis 0, received {bad} at index (0, 1)" in str(refusal)


@pytest.mark.parametrize("dtype", FLOATS)
def test_log_sum_exp_of_infinities_in_every_type(dtype):
    rows = np.array([[-np.inf, -np.inf], [np.inf, 1], [np.inf, -np.inf], [-np.inf, 3]], dtype)
    assert numerics.log_sum_exp(rows).tolist() == [-np.inf, np.inf, np.inf, 3]


def test_unequal_shapes_have_no_product():
    result, refusal = outcome(lambda: numerics.zero_safe_product(np.ones((2, 1)), np.ones(2)))
    assert result is None and "x has shape (2, 1), y (2,)" in str(refusal)


def test_the_product_of_two_types_has_the_wider_one():
    assert numerics.zero_safe_product(
        np.array([0, 2], "u1"), np.array([np.inf, 300], "f4")
    ).tolist() == [0, 600]
    assert numerics.zero_safe_product(np.ones(1, "f4"), np.ones(1, "f2")).dtype == np.float32


# --- Schedules -----------------------------------------------------------------------------------

SCHEDULES = {
    "Constant": schedules.Constant(0.5),
    "Exponential": schedules.Exponential(0.5, 0.9, every=7),
    "StepDecay": schedules.StepDecay(0.5, 0.5, every=1000),
    "StepSubtract": schedules.StepSubtract(0.5, 0.1, every=20, floor=0.1),
    "Piecewise": schedules.Piecewise([50, 1000], [0.5, 0.1, 0.2]),
    "Warmup": schedules.Warmup(schedules.Cosine(0.5, 1000), 300),
    "Join": schedules.Join(
        [schedules.LinearDecay(0.5, 1000), schedules.InverseTime(0.5, 0.5, every=3)], [1000]
    ),
    "LinearDecay": schedules.LinearDecay(0.5, 1000, floor=0.1),
    "Polynomial": schedules.Polynomial(0.5, 1000, power=3.0),
    "Cosine": schedules.Cosine(0.5, 1000),
    "CosineRestarts": schedules.CosineRestarts(0.5, 40, growth=2),
    "InverseTime": schedules.InverseTime(0.5, 0.5, every=3),
    "InverseSqrt": schedules.InverseSqrt(0.5, 50),
    "WarmupStableDecay": schedules.WarmupStableDecay(0.5, 300, 300, 400),
    "OneCycle": schedules.OneCycle(0.5, 1000),
    "Cyclical": schedules.Cyclical(0.5, 300, 0.1),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))
STEPS = np.array([[0, 1, 7, 19], [20, 49, 50, 127]])


def test_every_schedule_has_a_row():
    classes = {
        value
        for value in vars(schedules).values()
        if inspect.isclass(value) and issubclass(value, schedules.Schedule)
    }
    assert {each.__name__ for each in classes - {schedules.Schedule}} == set(SCHEDULES)


STEP_TYPES = WHOLE[:-1] + FLOATS + ["g"]


@every_schedule
@pytest.mark.parametrize("disguise", DISGUISES)
def test_the_type_of_a_step_does_not_change_its_rate(schedule, disguise):
    for dtype in STEP_TYPES:
        rate = schedule(DISGUISES[disguise](STEPS.astype(dtype)))
        assert rate.dtype == np.float64 and rate.tolist() == schedule(STEPS).tolist()


@every_schedule
@pytest.mark.parametrize("step", [0, 20, 127])
def test_one_step_of_any_type_has_its_rate(schedule, step):
    for dtype in STEP_TYPES:
        scalar = np.dtype(dtype).type(step)
        assert type(schedule(scalar)) is float and schedule(scalar) == schedule(step)
        alone = schedule(np.array(step, dtype))
        assert type(alone) is np.ndarray and alone.shape == () and alone == schedule(step)


@every_schedule
@pytest.mark.parametrize("step", [0, 10**6, 2**61, 2**63 - 1, 0.5, [3, 2**62]], ids=str)
def test_a_rate_is_the_same_for_those_who_want_every_error(schedule, step):
    usual = schedule(step)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(schedule(step), usual)


@every_schedule
@pytest.mark.parametrize("kind", [kind for kind in NONSENSE if kind != "nothing"])
def test_a_schedule_refuses_nonsense_in_our_words(schedule, kind):
    make, error, message = NONSENSE[kind]
    result, refusal = outcome(lambda: schedule(make(STEPS)))
    assert result is None and type(refusal) is error and message in str(refusal)


@every_schedule
@pytest.mark.parametrize(
    "step, error, message",
    [
        (
            2**63,
            ValueError,
            "step must be at least 0 and below 2**63, received a number of 64 bits",
        ),
        (2**70, ValueError, "received a number of 71 bits"),
        (10**5000, ValueError, "received a number of 16610 bits"),
        (
            -(2**70),
            ValueError,
            "step must be at least 0 and below 2**63, received a number of 71 bits",
        ),
        (np.uint64(2**63), ValueError, "received a number of 64 bits"),
        (
            np.array([0, 2**63], "u8"),
            ValueError,
            "step must be below 2**63, received 9223372036854775808",
        ),
        (
            np.array([0, 2**63], ">u8"),
            ValueError,
            "step must be below 2**63, received 9223372036854775808",
        ),
        ([0, 2**64 - 1], ValueError, "step must be below 2**63, received 1.8446744073709552e+19"),
        (1e300, ValueError, "step must be below 2**63, received 1e+300"),
        (np.float16(np.inf), ValueError, "step must be finite and at least 0, received inf"),
        (
            np.array([1, np.nan], "f2"),
            ValueError,
            "step must be finite and at least 0, received nan",
        ),
        (np.array([0, -1], "i1"), ValueError, "step must be finite and at least 0, received -1"),
        (np.array([True]), TypeError, "received dtype bool"),
        (np.True_, TypeError, "received dtype bool"),
        (np.complex64(1), TypeError, "received dtype complex64"),
        (np.ma.masked, ValueError, "must not be masked"),
        (range(3), TypeError, "step must be a number or an array, received range(0, 3)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_step_that_is_none_is_refused(schedule, step, error, message):
    result, refusal = outcome(lambda: schedule(step))
    assert result is None and type(refusal) is error and message in str(refusal)


@every_schedule
def test_the_last_step_of_all_has_a_rate(schedule):
    last = 2**63 - 1
    rate = schedule(last)
    assert 0 <= rate <= 0.5
    assert (
        schedule(np.array([last])).tolist() == schedule(np.array([last], "u8")).tolist() == [rate]
    )


@every_schedule
def test_no_steps_have_no_rates(schedule):
    for nothing in ([], (), np.zeros((2, 0), "i8"), np.zeros(0, "f2")):
        rate = schedule(nothing)
        assert rate.shape == np.shape(nothing) and rate.dtype == np.float64


EXTREME = [
    # schedule, step, rate
    (schedules.InverseTime(1.0, decay=1e308), 100, 0.0),
    (schedules.InverseTime(1.0, decay=1e308, every=1000), 100, 1e-307),
    (schedules.InverseTime(1e308, decay=1e308), 1, 1.0),
    (schedules.Exponential(1.0, 1e-300), 100, 0.0),
    (schedules.Exponential(1.0, 0.5), 2**62, 0.0),
    (schedules.StepDecay(1e308, 5e-324, 1), 2, 0.0),
    (schedules.StepSubtract(1.0, 1e308, 1, floor=0.25), 1000, 0.25),
    (schedules.Warmup(schedules.Constant(1e308), 1000), 500, 5e307),
    (schedules.Warmup(schedules.Constant(1e308), 1000), 10**9, 1e308),
    (schedules.WarmupStableDecay(1e308, 1000, 1, 1), 500, 5e307),
    (schedules.WarmupStableDecay(1e308, 1000, 10, 10), 1005, 1e308),
    (schedules.Polynomial(1.0, 10, power=1e308), 5, 0.0),
    (schedules.CosineRestarts(1.0, 1, growth=2**61), 2**62, 1.0),
    (schedules.Cyclical(1.0, 2**61, 0.0), 2**61, 1.0),
    (schedules.Join([schedules.Constant(1.0), schedules.Constant(0.5)], [2**61]), 2**61, 0.5),
]


@pytest.mark.parametrize("schedule, step, rate", EXTREME, ids=lambda value: repr(value)[:60])
def test_an_extreme_schedule_has_the_rate_of_its_formula(schedule, step, rate):
    assert schedule(step) == pytest.approx(rate, rel=1e-12, abs=1e-307 if rate == 0 else 0)
    assert schedule(np.array([step, 0]))[0] == schedule(step)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: schedules.LinearDecay(1.0, 2**62),
            "total_steps must be below 4611686018427387904, received 4611686018427387904",
        ),
        (lambda: schedules.StepDecay(1.0, 0.5, 2**70), "every must be below"),
        (lambda: schedules.Piecewise([2**70], [1.0, 0.5]), "a boundary must be below"),
        (lambda: schedules.Join([schedules.Constant(1)] * 2, [2**70]), "a boundary must be below"),
        (lambda: schedules.CosineRestarts(1.0, 2**70), "first_cycle must be below"),
        (lambda: schedules.CosineRestarts(1.0, 2, growth=10**400), "growth must be below"),
        (lambda: schedules.InverseSqrt(1.0, 10**400), "timescale must be below"),
        (lambda: schedules.Cyclical(1.0, 2**62, 0.0), "half_cycle must be below"),
        (lambda: schedules.Warmup(schedules.Constant(1.0), 2**70), "steps must be below"),
        (lambda: schedules.WarmupStableDecay(1.0, 0, 2**70, 1), "stable_steps must be below"),
        (
            lambda: schedules.Constant(10**400),
            "peak must be finite, received a whole number beyond the range of float",
        ),
    ],
)
def test_a_length_that_no_array_can_count_is_refused(make, message):
    result, refusal = outcome(make)
    assert result is None and message in str(refusal)


# --- Evidence ------------------------------------------------------------------------------------

FIRST, SECOND = np.array([1, 0, 3, 2]), np.array([2, 3, 1, 100])
EVIDENCE = {
    "interval": (evidence.interval, (FIRST,)),
    "paired": (evidence.paired, (FIRST, SECOND)),
    "paired_all": (lambda a, b: evidence.paired_all({"a": a, "b": b}, "a")["b"], (FIRST, SECOND)),
    "bootstrap": (functools.partial(evidence.bootstrap, resamples=100), (FIRST,)),
    "calibration_error": (evidence.calibration_error, (FIRST % 2, SECOND % 2)),
}
# They take single numbers and words, no arrays.
WITHOUT_ARRAYS = {"held_out", "making", "student_t_quantile", "confirm", "contest"}
every_evidence = pytest.mark.parametrize("name", EVIDENCE)


def test_every_function_of_evidence_has_a_row():
    assert public_functions(evidence) == set(EVIDENCE) | WITHOUT_ARRAYS


@every_evidence
@pytest.mark.parametrize("disguise", DISGUISES)
def test_evidence_of_any_type_is_that_of_float64(name, disguise):
    function, arguments = EVIDENCE[name]
    truth = function(*(a.astype(np.float64) for a in arguments))
    for dtype in WHOLE[:-1] + FLOATS:
        assert function(*(DISGUISES[disguise](a.astype(dtype)) for a in arguments)) == truth


@pytest.mark.parametrize("name", [name for name in EVIDENCE if name != "calibration_error"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_evidence_of_huge_numbers_is_finite(name, dtype):
    function, arguments = EVIDENCE[name]
    typed = [(a * (HUGE[dtype] / 100)).astype(dtype) for a in arguments]
    ours, small = function(*typed), function(*arguments)
    for field in ("mean", "low", "high"):
        assert getattr(ours, field) == pytest.approx(
            getattr(small, field) * HUGE[dtype] / 100, rel=2e-3 if dtype == "f2" else 1e-6
        )


@every_evidence
@pytest.mark.parametrize("kind", NONSENSE)
def test_evidence_refuses_nonsense_in_our_words(name, kind):
    make, error, message = NONSENSE[kind]
    function, arguments = EVIDENCE[name]
    for place in range(len(arguments)):
        spoilt = [make(a) if i == place else a for i, a in enumerate(arguments)]
        result, refusal = outcome(lambda: function(*spoilt))
        assert result is None and type(refusal) is error and message in str(refusal)


def test_unsigned_differences_do_not_wrap():
    lower = evidence.paired(np.array([1, 2, 3], "u1"), np.array([3, 5, 4], "u1"))
    assert lower.mean == -2 and lower == evidence.paired([1.0, 2.0, 3.0], [3.0, 5.0, 4.0])


def test_a_difference_or_a_ratio_beyond_every_number_is_said_so():
    result, refusal = outcome(lambda: evidence.paired([1e308, 0.0], [-1e308, 0.0]))
    assert result is None and "differences must be finite, received inf at index (0,)" in str(
        refusal
    )
    assert evidence.Interval(1e3, 0.0, 1e4, n=3).exp().high == np.inf
    assert evidence.interval([1.7e308] * 10).mean == pytest.approx(1.7e308, rel=1e-15)
