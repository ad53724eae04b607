"""Every refusal names what was received; what is accepted comes back unharmed."""

import numpy as np
import pytest

from trainlab import checks

NAN, INF = float("nan"), float("inf")

REFUSALS = [
    # number
    (lambda: checks.number("a", "0.1"), TypeError, "a must be a number, received '0.1'"),
    (lambda: checks.number("a", None), TypeError, "a must be a number, received None"),
    (lambda: checks.number("a", True), TypeError, "a must be a number, received True"),
    (lambda: checks.number("a", np.True_), TypeError, "a must be a number, received np.True_"),
    (lambda: checks.number("a", 1j), TypeError, "a must be a number, received 1j"),
    (lambda: checks.number("a", NAN), ValueError, "a must be finite, received nan"),
    (lambda: checks.number("a", INF), ValueError, "a must be finite, received inf"),
    (lambda: checks.number("a", -INF), ValueError, "a must be finite, received -inf"),
    (lambda: checks.number("a", -0.5, low=0), ValueError, "a must be at least 0, received -0.5"),
    (lambda: checks.number("a", 0, above=0), ValueError, "a must be above 0, received 0"),
    (lambda: checks.number("a", 1.5, high=1), ValueError, "a must be at most 1, received 1.5"),
    (lambda: checks.number("a", 1, below=1), ValueError, "a must be below 1, received 1"),
    (
        lambda: checks.number("a", 10**400),
        ValueError,
        "a must be finite, received a whole number beyond the range of float",
    ),
    # integer
    (lambda: checks.integer("a", 2.0), TypeError, "a must be a whole number, received 2.0"),
    (lambda: checks.integer("a", "2"), TypeError, "a must be a whole number, received '2'"),
    (lambda: checks.integer("a", True), TypeError, "a must be a whole number, received True"),
    (
        lambda: checks.integer("a", np.False_),
        TypeError,
        "a must be a whole number, received np.False_",
    ),
    (lambda: checks.integer("a", 0, low=1), ValueError, "a must be at least 1, received 0"),
    (lambda: checks.integer("a", 3, below=3), ValueError, "a must be below 3, received 3"),
    (lambda: checks.updates("a", 2**62), ValueError, f"a must be below {2**62}, received {2**62}"),
    # one_of
    (
        lambda: checks.one_of("a", "avg", ("mean", "sum")),
        ValueError,
        "a must be one of 'mean', 'sum', received 'avg'",
    ),
    # boundaries
    (lambda: checks.boundaries([3, 3]), ValueError, "boundaries must increase, received 3 after 3"),
    (
        lambda: checks.boundaries([1, 5, 4]),
        ValueError,
        "boundaries must increase, received 4 after 5",
    ),
    (lambda: checks.boundaries([0, 5]), ValueError, "a boundary must be at least 1, received 0"),
    (
        lambda: checks.boundaries([1.5]),
        TypeError,
        "a boundary must be a whole number, received 1.5",
    ),
    # floating
    (lambda: checks.floating("a", ["x"]), TypeError, "a must be real numbers, received dtype <U1"),
    (
        lambda: checks.floating("a", [1j]),
        TypeError,
        "a must be real numbers, received dtype complex128",
    ),
    (
        lambda: checks.floating("a", [None]),
        TypeError,
        "a must be real numbers, received dtype object",
    ),
    (lambda: checks.floating("a", []), ValueError, "a must not be empty, received shape (0,)"),
    (
        lambda: checks.floating("a", np.ones((3, 0))),
        ValueError,
        "a must not be empty, received shape (3, 0)",
    ),
    # whole
    (
        lambda: checks.whole("a", [1.5]),
        TypeError,
        "a must be whole numbers, received dtype float64",
    ),
    (
        lambda: checks.whole("a", np.ones((0, 2), int)),
        ValueError,
        "a must not be empty, received shape (0, 2)",
    ),
    # fitting
    (
        lambda: checks.fitting("a", np.array([[1.0, -1e39]]), np.float32),
        ValueError,
        "a must fit float32, received -1e+39 at index (0, 1)",
    ),
    # axis
    (lambda: checks.axis(0.5, np.ones(3)), TypeError, "axis must be a whole number, received 0.5"),
    (
        lambda: checks.axis(2, np.ones((3, 4))),
        ValueError,
        "axis must be one of the array's 2, received axis 2 for shape (3, 4)",
    ),
    (
        lambda: checks.axis(-3, np.ones((3, 4))),
        ValueError,
        "axis must be one of the array's 2, received axis -3 for shape (3, 4)",
    ),
    (
        lambda: checks.axis(1, np.ones((3, 0))),
        ValueError,
        "the array must not be empty along axis 1, received shape (3, 0)",
    ),
    # finite: the first bad entry, not the last
    (
        lambda: checks.finite("a", np.array([[0, 1.0], [INF, NAN]])),
        ValueError,
        "a must be finite, received inf at index (1, 0)",
    ),
    (
        lambda: checks.finite("a", np.array([1, -INF])),
        ValueError,
        "a must be finite, received -inf at index (1,)",
    ),
    # same_shape
    (
        lambda: checks.same_shape(np.ones((4, 1)), np.ones(4)),
        ValueError,
        "predictions have shape (4, 1), targets (4,); losses do not broadcast",
    ),
    # labels
    (
        lambda: checks.labels([0.0], (1,), 2),
        TypeError,
        "labels must be whole numbers, received dtype float64",
    ),
    (
        lambda: checks.labels([True], (1,), 2),
        TypeError,
        "labels must be whole numbers, received dtype bool",
    ),
    (
        lambda: checks.labels([0, 2], (2,), 2),
        ValueError,
        "labels must be 0 to 1, received 2 at index (1,)",
    ),
    (
        lambda: checks.labels([0, -1], (2,), 2),
        ValueError,
        "labels must be 0 to 1, received -1 at index (1,)",
    ),
    (
        lambda: checks.labels([-100, 7], (2,), 3, -100),
        ValueError,
        "labels must be 0 to 2, received 7 at index (1,)",
    ),
    (
        lambda: checks.labels([[0], [1]], (2,), 2),
        ValueError,
        "labels have shape (2, 1), the logits ask for (2,); losses do not broadcast",
    ),
    (
        lambda: checks.labels([0], (1,), 2, 0.5),
        TypeError,
        "ignore_index must be a whole number, received 0.5",
    ),
    # weights
    (
        lambda: checks.weights([], (0,), "f8"),
        ValueError,
        "weights must not be empty, received shape (0,)",
    ),
    (
        lambda: checks.weights([1e39], (1,), np.float32),
        ValueError,
        "weights must fit float32, received 1e+39 at index (0,)",
    ),
    (
        lambda: checks.weights([1.0], (2,), np.float64),
        ValueError,
        "weights have shape (1,), the losses (2,); losses do not broadcast",
    ),
    (
        lambda: checks.weights([0.0, 0.5, -2.0], (3,), np.float64),
        ValueError,
        "weights must not be negative, received -2.0 at index (2,)",
    ),
    (
        lambda: checks.weights([NAN, 1.0], (2,), np.float64),
        ValueError,
        "weights must be finite, received nan at index (0,)",
    ),
    (
        lambda: checks.weights([0.0, 0.0], (2,), np.float64),
        ValueError,
        "weights must not all be zero: a weighted mean would divide by zero",
    ),
]


@pytest.mark.parametrize("call, error, message", REFUSALS, ids=[row[2] for row in REFUSALS])
def test_a_refusal_says_exactly_what_was_received(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "value, limits",
    [
        (0, {"low": 0}),
        (1, {"high": 1}),
        (1e-300, {"above": 0}),
        (0.9999999999999999, {"below": 1}),
        (np.float32(0.5), {}),
        (np.int64(3), {}),
    ],
)
def test_a_number_inside_its_limits_comes_back_as_a_float(value, limits):
    number = checks.number("a", value, **limits)
    assert type(number) is float and number == value


@pytest.mark.parametrize("value", [1, np.int32(1), np.uint8(1)])
def test_an_integer_at_its_limit_comes_back_as_an_int(value):
    number = checks.integer("a", value, low=1)
    assert type(number) is int and number == 1


def test_a_number_of_updates_may_be_none():
    assert checks.updates("a", 0) == 0


@pytest.mark.parametrize("axis", [-2, -1, 0, 1])
def test_an_axis_counts_from_both_ends(axis):
    assert checks.axis(axis, np.ones((3, 4))) == axis


def test_boundaries_may_be_none_one_or_adjacent():
    assert checks.boundaries([]) == ()
    assert checks.boundaries([1]) == (1,)
    assert checks.boundaries(np.array([1, 2, 9])) == (1, 2, 9)
    assert type(checks.boundaries(np.array([1]))[0]) is int


@pytest.mark.parametrize(
    "values, dtype",
    [
        ([1, 2], "f8"),
        ([True], "f8"),
        (np.ones(2, "u1"), "f8"),
        (np.ones(2, "f4"), "f4"),
        (np.ones(2, "f2"), "f2"),
        (2.5, "f8"),
    ],
)
def test_whole_numbers_become_float64_and_floats_keep_their_type(values, dtype):
    assert checks.floating("a", values).dtype == np.dtype(dtype)


def test_a_mask_that_hides_nothing_is_none():
    array = np.ma.array([1.0, 2.0], mask=[False, False])
    assert checks.plain("a", array).tolist() == [1, 2]
    array.mask = [False, True]
    for values in (array, [array, array]):
        with pytest.raises(ValueError, match="^a must not be masked"):
            checks.plain("a", values)


def test_whole_numbers_fit_64_bits_with_a_sign_or_are_refused():
    most = np.array([0, 2**63 - 1], np.uint64)
    whole = checks.whole("a", most)
    assert whole.dtype == np.int64 and whole.tolist() == [0, 2**63 - 1]
    with pytest.raises(
        ValueError, match=r"^a must be below 2\*\*63, received 9223372036854775808 at index \(1,\)$"
    ):
        checks.whole("a", most + np.array([0, 1], np.uint64))


def test_first_index_is_the_first_in_reading_order():
    mask = np.array([[False, False], [True, True]])
    assert checks.first_index(mask) == (1, 0)
    assert type(checks.first_index(mask)[0]) is int


@pytest.mark.parametrize("dtype", ["i1", "u1", "i8", "u8"])
def test_labels_of_any_whole_number_type_pass_at_both_ends(dtype):
    labels = np.array([0, 2], dtype)
    for order in "<>":
        whole, kept = checks.labels(labels.astype(labels.dtype.newbyteorder(order)), (2,), 3)
        assert whole.tolist() == [0, 2] and whole.dtype == np.int64 and kept is None


@pytest.mark.parametrize(
    "labels, ignored",
    [
        ([-100, 0], -100),
        (np.array([255, 0], "u1"), 255),
        (np.array([2**64 - 1, 0], "u8"), 2**64 - 1),
        (np.array([-1, 0], ">i2"), np.int64(-1)),
        ([7, 0], (-100, 7, 2**70)),
        ([7, 0], np.array([7], "u1")),
    ],
    ids=str,
)
def test_an_ignored_label_may_lie_out_of_range_and_becomes_zero(labels, ignored):
    whole, kept = checks.labels(labels, (2,), 1, ignored)
    assert whole.tolist() == [0, 0] and kept.tolist() == [False, True]


def test_an_unsigned_label_is_not_taken_for_an_ignored_negative_one():
    # As 64 signed bits it would be -1.
    with pytest.raises(ValueError, match="received 18446744073709551615 at index"):
        checks.labels(np.array([2**64 - 1], "u8"), (1,), 2, -1)


def test_weights_take_the_type_of_the_losses_and_may_be_zero_in_part():
    weights = checks.weights([0, 2], (2,), np.float32)
    assert weights.dtype == np.float32 and weights.tolist() == [0, 2]


def test_finite_returns_the_same_array():
    array = np.array([1.0, -1e308])
    assert checks.finite("a", array) is array


def test_rows_of_unequal_lengths_are_shown_up_to_sixty_letters():
    for digits in range(1, 70):
        ragged = [[10**digits], [1, 2]]
        text = repr(ragged)
        with pytest.raises(ValueError) as caught:
            checks.plain("x", ragged)
        shown = text if len(text) <= 60 else text[:57] + "..."
        assert str(caught.value) == f"x must have rows of equal lengths, received {shown}"
    assert len(text) > 60
