"""Losses against mpmath, SciPy and scikit-learn; their gradients against central differences."""

import functools

import mpmath
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from trainlab import losses
from trainlab.losses import softmax_cross_entropy, squared_error

mpmath.mp.dps = 50
INF, NAN = np.inf, np.nan
RNG = np.random.default_rng(0)
N, K = 6, 4

LOGITS = RNG.normal(0, 2, (N, K))
LABELS = np.array([0, 3, 1, 1, 2, 0])
NUMBERS, TARGETS = RNG.normal(size=(N, 2)), RNG.normal(size=(N, 2))
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25])

# name: (loss of one array, where to differentiate it, the weights' shape)
CASES = {"squared_error": (lambda x, **k: squared_error(x, TARGETS, **k), NUMBERS, (N, 2))}
for options in (
    {},
    {"label_smoothing": 0.1},
    {"z_loss": 0.3},
    {"ignore_index": 1},
    {"label_smoothing": 0.2, "z_loss": 0.01, "ignore_index": 0},
):
    name = ", ".join(f"{key}={value}" for key, value in options.items()) or "plain"
    CASES["cross_entropy " + name] = (
        lambda x, options=options, **k: softmax_cross_entropy(x, LABELS, **options, **k),
        LOGITS,
        (N,),
    )


def weights_of(kind, shape):
    return None if kind is None else np.broadcast_to(WEIGHTS.reshape((N,) + (1,) * (len(shape) - 1)), shape)


every_case = pytest.mark.parametrize("case", CASES)
every_weighting = pytest.mark.parametrize("weighting", [None, "weights"])
every_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


# --- Gradients -----------------------------------------------------------------------------------


def central_differences(function, x, h=1e-5):
    """The Jacobian of an array-valued function: shape of the value, then the shape of x."""
    columns = []
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        columns.append((np.asarray(function(up)) - np.asarray(function(down))) / (2 * h))
    jacobian = np.stack(columns, axis=-1)
    return jacobian.reshape(jacobian.shape[:-1] + x.shape)


@every_case
@every_weighting
@every_reduction
def test_the_gradient_agrees_with_central_differences(case, weighting, reduction):
    loss, x, shape = CASES[case]
    loss = functools.partial(loss, weights=weights_of(weighting, shape), reduction=reduction)
    jacobian = central_differences(lambda x: loss(x).value, x)
    gradient = loss(x).gradient
    assert gradient.shape == x.shape
    if reduction == "none":
        # Each value depends on its own example alone, so the other entries of the Jacobian are 0.
        own = np.zeros(shape + x.shape)
        for index in np.ndindex(shape):
            own[index + index] = gradient[index]
        gradient = own
    np.testing.assert_allclose(gradient, jacobian, rtol=1e-7, atol=1e-8)


# --- Squared error -------------------------------------------------------------------------------


def test_squared_error_by_hand():
    predictions, targets = [[1.0, 2.0], [4.0, -1.0]], [[1.0, 4.0], [1.0, -1.5]]
    value, gradient = squared_error(predictions, targets, reduction="none")
    assert value.tolist() == [[0.0, 4.0], [9.0, 0.25]]
    assert gradient.tolist() == [[0.0, -4.0], [6.0, 1.0]]
    assert squared_error(predictions, targets, reduction="sum").value == 13.25
    mean = squared_error(predictions, targets)
    assert mean.value == 13.25 / 4
    assert mean.gradient.tolist() == [[0.0, -1.0], [1.5, 0.25]]


def test_squared_error_with_weights_by_hand():
    value, gradient = squared_error([1.0, 2.0], [0.0, 0.0], weights=[1.0, 3.0])
    assert value == (1 * 1 + 3 * 4) / 4
    assert gradient.tolist() == [1 * 2 / 4, 3 * 4 / 4]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_squared_error_is_sklearns(weights):
    value = squared_error(NUMBERS[:, 0], TARGETS[:, 0], weights=weights).value
    assert value == pytest.approx(
        sklearn.metrics.mean_squared_error(TARGETS[:, 0], NUMBERS[:, 0], sample_weight=weights), rel=1e-14
    )
    both = squared_error(NUMBERS, TARGETS).value
    assert both == pytest.approx(sklearn.metrics.mean_squared_error(TARGETS, NUMBERS), rel=1e-14)


# --- Cross-entropy -------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_sklearns_log_loss(weights):
    probabilities = scipy.special.softmax(LOGITS, axis=1)
    expected = sklearn.metrics.log_loss(LABELS, probabilities, sample_weight=weights, labels=range(K))
    assert softmax_cross_entropy(LOGITS, LABELS, weights=weights).value == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_is_scipys_log_softmax_against_smoothed_targets(smoothing):
    targets = np.full((N, K), smoothing / K)
    targets[np.arange(N), LABELS] += 1 - smoothing
    expected = -(targets * scipy.special.log_softmax(LOGITS, axis=1)).sum(axis=1)
    ours = softmax_cross_entropy(LOGITS, LABELS, label_smoothing=smoothing, reduction="none").value
    np.testing.assert_allclose(ours, expected, rtol=1e-13)


def test_z_loss_adds_the_squared_log_normaliser():
    plain = softmax_cross_entropy(LOGITS, LABELS, reduction="none").value
    with_z = softmax_cross_entropy(LOGITS, LABELS, z_loss=0.3, reduction="none").value
    np.testing.assert_allclose(with_z - plain, 0.3 * scipy.special.logsumexp(LOGITS, axis=1) ** 2, rtol=1e-12)


def mp_cross_entropy(logits, label, smoothing, zeta):
    """The definition, from probabilities, in 50 digits."""
    log_total = mpmath.log(mpmath.fsum(mpmath.exp(z) for z in logits))
    target = [mpmath.mpf(smoothing) / len(logits) + ((1 - mpmath.mpf(smoothing)) if k == label else 0) for k in range(len(logits))]
    return mpmath.fsum(q * (log_total - z) for q, z in zip(target, logits)) + mpmath.mpf(zeta) * log_total**2


@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("smoothing, zeta", [(0.0, 0.0), (0.125, 0.0), (0.0, 0.25), (0.125, 0.25)])
@pytest.mark.parametrize(
    "logits",
    [[40.0, 0.0, 1.0], [0.0, -40.0, -41.0], [0.0, 37.0, -3.0], [0.0, 0.0, 0.0], [-30.0, -30.0, -31.0], [1e-9, 0.0, -1e-9]],
    ids=str,
)
def test_cross_entropy_and_gradient_have_the_digits_of_mpmath(logits, label, smoothing, zeta):
    exact = [mpmath.mpf(z) for z in logits]
    value, gradient = softmax_cross_entropy(
        [logits], [label], label_smoothing=smoothing, z_loss=zeta, reduction="none"
    )
    assert float(value[0]) == pytest.approx(float(mp_cross_entropy(exact, label, smoothing, zeta)), rel=4e-15, abs=0)
    for k in range(3):
        slope = mpmath.diff(lambda z: mp_cross_entropy(exact[:k] + [z] + exact[k + 1 :], label, smoothing, zeta), exact[k])
        # Without smoothing no digit is lost, however small the entry; with it, 1 - 0.875 - ... cancels.
        absolute = 1e-24 if smoothing == zeta == 0 else 1e-14
        assert gradient[0, k] == pytest.approx(float(slope), rel=2e-14, abs=absolute)


def test_the_loss_of_a_sure_and_right_answer_keeps_its_digits():
    # mpmath.log1p(mpmath.exp(-40)) = 4.2483542552915889862e-18, and the gradient is -p and p of the other class.
    value, gradient = softmax_cross_entropy([[40.0, 0.0]], [0])
    # pytest.approx forgives 1e-12 unless told otherwise, which would forgive everything here.
    expected = pytest.approx(4.248354255291589e-18, rel=1e-15, abs=0)
    assert value == expected
    assert gradient[0, 1] == expected and -gradient[0, 0] == expected


EDGES = [
    # logits, label, value, gradient
    ([1e4, 0.0], 1, 1e4, [1.0, -1.0]),
    ([1e4, 0.0], 0, 0.0, [0.0, 0.0]),
    ([0.0, -1e308], 1, 1e308, [1.0, -1.0]),
    ([0.0, -INF], 0, 0.0, [0.0, 0.0]),
    ([0.0, -INF], 1, INF, [1.0, -1.0]),
    ([0.0, 0.0, -INF], 0, np.log(2), [-0.5, 0.5, 0.0]),
    ([-INF, 5.0, -INF], 1, 0.0, [0.0, 0.0, 0.0]),
    ([7.0], 0, 0.0, [0.0]),
    ([-1e308, -1e308], 0, np.log(2), [-0.5, 0.5]),
]


@pytest.mark.parametrize("logits, label, value, gradient", EDGES)
@every_reduction
def test_cross_entropy_at_the_edges(logits, label, value, gradient, reduction):
    loss = softmax_cross_entropy([logits], [label], reduction=reduction)
    assert np.asarray(loss.value).item() == pytest.approx(value, rel=1e-15)
    assert loss.gradient == pytest.approx(np.array([gradient]), abs=1e-15)


def test_label_smoothing_makes_an_impossible_class_infinitely_costly():
    assert softmax_cross_entropy([[0.0, -INF]], [0], label_smoothing=0.1).value == INF


def test_each_row_is_shifted_by_its_own_maximum():
    value, gradient = softmax_cross_entropy([[1000.0, 1000.0], [-1000.0, -1000.0]], [0, 1], reduction="none")
    assert value.tolist() == [pytest.approx(np.log(2))] * 2
    assert gradient.tolist() == [[-0.5, 0.5], [0.5, -0.5]]


def test_one_example_without_an_axis_of_examples():
    value, gradient = softmax_cross_entropy([0.0, 0.0], 1)
    assert value == pytest.approx(np.log(2)) and gradient.tolist() == [0.5, -0.5]


def test_class_weights_give_the_weighted_mean_by_hand():
    # Losses log 2 and log 4; the classes weigh 3 and 1: (3 log 2 + 1 log 4) / 4 = 5/4 log 2.
    logits, labels = np.log([[1.0, 1.0], [3.0, 1.0]]), np.array([0, 1])
    value = softmax_cross_entropy(logits, labels, weights=np.array([3.0, 1.0])[labels]).value
    assert value == pytest.approx(1.25 * np.log(2), rel=1e-15)


# --- Properties ----------------------------------------------------------------------------------


@every_case
@every_weighting
def test_none_sum_and_mean_are_consistent(case, weighting):
    loss, x, shape = CASES[case]
    weights = weights_of(weighting, shape)
    none, total, mean = (loss(x, weights=weights, reduction=reduction) for reduction in ("none", "sum", "mean"))
    kept = np.ones(shape) if weights is None else weights.copy()
    if "ignore_index=1" in case:
        kept[LABELS == 1] = 0
    if "ignore_index=0" in case:
        kept[LABELS == 0] = 0
    assert none.value.shape == shape
    assert total.value == pytest.approx(none.value.sum(), rel=1e-14)
    assert mean.value * kept.sum() == pytest.approx(total.value, rel=1e-14)
    np.testing.assert_array_equal(total.gradient, none.gradient)
    np.testing.assert_allclose(mean.gradient * kept.sum(), total.gradient, rtol=1e-14)


@every_case
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weight_zero_removes_the_row(case, reduction):
    loss, x, shape = CASES[case]
    keep = np.array([True, True, False, True, True, False])
    weights = np.broadcast_to(keep.reshape((N,) + (1,) * (len(shape) - 1)), shape).astype(float)
    zeroed = loss(x, weights=weights, reduction=reduction)
    if case == "squared_error":
        removed = squared_error(x[keep], TARGETS[keep], reduction=reduction)
    else:
        options = dict(pair.split("=") for pair in case.removeprefix("cross_entropy ").split(", ") if "=" in pair)
        options = {key: int(value) if key == "ignore_index" else float(value) for key, value in options.items()}
        removed = softmax_cross_entropy(x[keep], LABELS[keep], **options, reduction=reduction)
    assert zeroed.value == pytest.approx(removed.value, rel=1e-14)
    np.testing.assert_allclose(zeroed.gradient[keep], removed.gradient, rtol=1e-14)
    assert not zeroed.gradient[~keep].any()


def test_weight_zero_removes_even_an_infinite_loss():
    loss = softmax_cross_entropy([[0.0, -INF], [0.0, 0.0]], [1, 0], weights=[0, 1])
    assert loss.value == pytest.approx(np.log(2)) and loss.gradient.tolist() == [[0, 0], [-0.5, 0.5]]


@pytest.mark.parametrize("ignored", [-100, 2])
def test_an_ignored_row_is_a_removed_row(ignored):
    labels = np.array([0, ignored, 1, 1, ignored, 0])
    keep = labels != ignored
    loss = softmax_cross_entropy(LOGITS, labels, ignore_index=ignored)
    removed = softmax_cross_entropy(LOGITS[keep], labels[keep])
    assert loss.value == pytest.approx(removed.value, rel=1e-15)
    np.testing.assert_allclose(loss.gradient[keep], removed.gradient, rtol=1e-15)
    assert not loss.gradient[~keep].any()
    none = softmax_cross_entropy(LOGITS, labels, ignore_index=ignored, reduction="none")
    assert not none.value[~keep].any() and not none.gradient[~keep].any()


@every_case
def test_weights_of_two_are_two_copies(case):
    loss, x, shape = CASES[case]
    doubled = loss(x, weights=np.full(shape, 2.0), reduction="sum")
    plain = loss(x, reduction="sum")
    assert doubled.value == pytest.approx(2 * plain.value, rel=1e-14)
    np.testing.assert_allclose(doubled.gradient, 2 * plain.gradient, rtol=1e-14)


@every_reduction
def test_squared_error_treats_examples_alike_in_any_order(reduction):
    order = np.random.default_rng(1).permutation(N)
    straight = squared_error(NUMBERS, TARGETS, reduction=reduction)
    shuffled = squared_error(NUMBERS[order], TARGETS[order], reduction=reduction)
    expected = straight.value[order] if reduction == "none" else straight.value
    np.testing.assert_allclose(shuffled.value, expected, rtol=1e-14)
    np.testing.assert_array_equal(shuffled.gradient, straight.gradient[order])


@every_reduction
def test_cross_entropy_treats_examples_alike_in_any_order(reduction):
    order = np.random.default_rng(1).permutation(N)
    straight = softmax_cross_entropy(LOGITS, LABELS, reduction=reduction)
    shuffled = softmax_cross_entropy(LOGITS[order], LABELS[order], reduction=reduction)
    expected = straight.value[order] if reduction == "none" else straight.value
    np.testing.assert_allclose(shuffled.value, expected, rtol=1e-14)
    np.testing.assert_array_equal(shuffled.gradient, straight.gradient[order])


@pytest.mark.parametrize("smoothing, zeta", [(0.0, 0.0), (0.1, 0.2)])
def test_cross_entropy_treats_classes_alike_in_any_order(smoothing, zeta):
    order = np.array([2, 0, 3, 1])
    options = {"label_smoothing": smoothing, "z_loss": zeta, "reduction": "none"}
    straight = softmax_cross_entropy(LOGITS, LABELS, **options)
    # Column c of the shuffled logits is column order[c], so the label l moves to where order is l.
    shuffled = softmax_cross_entropy(LOGITS[:, order], np.argsort(order)[LABELS], **options)
    np.testing.assert_allclose(shuffled.value, straight.value, rtol=1e-14)
    np.testing.assert_allclose(shuffled.gradient, straight.gradient[:, order], rtol=1e-13, atol=1e-16)


logit_rows = st.lists(st.floats(-50, 50), min_size=2, max_size=5)


@given(logit_rows, st.data())
def test_a_shift_of_a_rows_logits_changes_nothing(row, data):
    label = data.draw(st.integers(0, len(row) - 1))
    shift = data.draw(st.integers(-1000, 1000))
    smoothing = data.draw(st.sampled_from([0.0, 0.1]))
    plain = softmax_cross_entropy([row], [label], label_smoothing=smoothing)
    moved = softmax_cross_entropy([np.add(row, shift)], [label], label_smoothing=smoothing)
    assert moved.value == pytest.approx(plain.value, abs=1e-11)
    np.testing.assert_allclose(moved.gradient, plain.gradient, atol=1e-11)


@given(logit_rows, st.data())
def test_a_rows_gradient_sums_to_zero_and_the_loss_is_not_negative(row, data):
    label = data.draw(st.integers(0, len(row) - 1))
    smoothing = data.draw(st.floats(0, 0.99))
    value, gradient = softmax_cross_entropy([row], [label], label_smoothing=smoothing)
    assert value >= 0
    assert gradient.sum() == pytest.approx(0, abs=1e-15)
    assert gradient[0, label] <= 0 or smoothing > 0


@given(st.floats(-1e150, 1e150), st.floats(-1e150, 1e150))
def test_squared_error_is_symmetric_and_zero_only_at_the_target(a, b):
    assert squared_error([a], [b]).value == squared_error([b], [a]).value >= 0
    assert squared_error([a], [b]).gradient[0] == -squared_error([b], [a]).gradient[0]
    assert squared_error([a], [a]) == (0.0, [0.0])


def test_replicas_are_examples_side_by_side():
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(3, N, K)), rng.integers(0, K, (3, N))
    stacked = softmax_cross_entropy(logits, labels, label_smoothing=0.1, z_loss=0.1, reduction="none")
    predictions, targets = rng.normal(size=(3, N, 2)), rng.normal(size=(3, N, 2))
    errors = squared_error(predictions, targets, reduction="none")
    for r in range(3):
        alone = softmax_cross_entropy(logits[r], labels[r], label_smoothing=0.1, z_loss=0.1, reduction="none")
        np.testing.assert_array_equal(stacked.value[r], alone.value)
        np.testing.assert_array_equal(stacked.gradient[r], alone.gradient)
        alone = squared_error(predictions[r], targets[r], reduction="none")
        np.testing.assert_array_equal(errors.value[r], alone.value)
        np.testing.assert_array_equal(errors.gradient[r], alone.gradient)


# --- Types ---------------------------------------------------------------------------------------


@every_case
@every_weighting
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_of_the_predictions_is_kept(case, weighting, dtype):
    loss, x, shape = CASES[case]
    weights = weights_of(weighting, shape)
    for reduction in ("mean", "sum"):
        value, gradient = loss(x.astype(dtype), weights=weights, reduction=reduction)
        assert type(value) is float and gradient.dtype == dtype
    value, gradient = loss(x.astype(dtype), weights=weights, reduction="none")
    assert value.dtype == dtype and gradient.dtype == dtype


def test_whole_numbers_become_float64():
    value, gradient = squared_error([1, 2], [0, 4])
    assert value == 2.5 and gradient.dtype == np.float64
    value, gradient = softmax_cross_entropy([[2, 2]], [0])
    assert value == pytest.approx(np.log(2)) and gradient.dtype == np.float64


@every_case
def test_the_arguments_are_not_changed(case):
    loss, x, shape = CASES[case]
    copy, weights = x.copy(), weights_of("weights", shape).copy()
    loss(copy, weights=weights)
    assert np.array_equal(copy, x) and np.array_equal(weights, weights_of("weights", shape))
    assert LABELS.tolist() == [0, 3, 1, 1, 2, 0]


def test_the_loss_is_a_pair_by_name_and_by_position():
    loss = squared_error([1.0], [0.0])
    assert loss.value == loss[0] == 1.0 and loss.gradient is loss[1]
    assert isinstance(loss, losses.Loss)


# --- Refusals ------------------------------------------------------------------------------------

REFUSALS = [
    (lambda: squared_error(np.ones((4, 1)), np.ones(4)), ValueError, "predictions have shape (4, 1), targets (4,)"),
    (lambda: squared_error(np.ones(4), np.ones((4, 1))), ValueError, "predictions have shape (4,), targets (4, 1)"),
    (lambda: squared_error([1.0, NAN], [0.0, 0.0]), ValueError, "predictions must be finite, received nan at index (1,)"),
    (lambda: squared_error([1.0, 2.0], [INF, 0.0]), ValueError, "targets must be finite, received inf at index (0,)"),
    (lambda: squared_error([], []), ValueError, "predictions must not be empty, received shape (0,)"),
    (lambda: squared_error([1.0], []), ValueError, "targets must not be empty, received shape (0,)"),
    (lambda: squared_error(["1"], [1.0]), TypeError, "predictions must be real numbers, received dtype <U1"),
    (lambda: squared_error([1.0], [1.0], reduction="avg"), ValueError, "reduction must be one of 'mean', 'sum', 'none', received 'avg'"),
    (lambda: squared_error([1.0, 1.0], [1.0, 1.0], weights=[1.0]), ValueError, "weights have shape (1,), the losses (2,)"),
    (lambda: squared_error([1.0], [1.0], weights=[-1.0]), ValueError, "weights must not be negative, received -1.0 at index (0,)"),
    (lambda: squared_error([1.0], [1.0], weights=[0.0]), ValueError, "weights must not all be zero"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [2]), ValueError, "labels must be 0 to 1, received 2 at index (0,)"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [-1]), ValueError, "labels must be 0 to 1, received -1 at index (0,)"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [[0]]), ValueError, "labels have shape (1, 1), the logits ask for (1,)"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [0, 1]), ValueError, "labels have shape (2,), the logits ask for (1,)"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [0.0]), TypeError, "labels must be whole numbers, received dtype float64"),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0], [NAN, 0.0]], [0, 0]),
        ValueError,
        "logits need a finite maximum in each row, received [nan  0.] at index (1,)",
    ),
    (lambda: softmax_cross_entropy([[INF, 0.0]], [0]), ValueError, "received [inf  0.] at index (0,)"),
    (lambda: softmax_cross_entropy([[-INF, -INF]], [0]), ValueError, "received [-inf -inf] at index (0,)"),
    (lambda: softmax_cross_entropy([[0.0, 1.0], [0.0, NAN]], [0, 0]), ValueError, "received [ 0. nan] at index (1,)"),
    (lambda: softmax_cross_entropy(np.ones((0, 3)), np.ones(0, int)), ValueError, "logits must not be empty, received shape (0, 3)"),
    (lambda: softmax_cross_entropy(np.ones((3, 0)), np.ones(3, int)), ValueError, "logits must not be empty, received shape (3, 0)"),
    (lambda: softmax_cross_entropy(1.0, 0), ValueError, "logits need an axis of classes, received shape ()"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]] * 2, [-1, -1], ignore_index=-1), ValueError, "all 2 labels equal ignore_index=-1"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [0], label_smoothing=1.0), ValueError, "label_smoothing must be below 1, received 1.0"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [0], label_smoothing=-0.1), ValueError, "label_smoothing must be at least 0, received -0.1"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [0], z_loss=-1), ValueError, "z_loss must be at least 0, received -1"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [0], z_loss=NAN), ValueError, "z_loss must be finite, received nan"),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [0], reduction=None), ValueError, "received None"),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]] * 2, [0, -1], weights=[0.0, 1.0], ignore_index=-1),
        ValueError,
        "weights must not all be zero",
    ),
]


@pytest.mark.parametrize("call, error, message", REFUSALS, ids=[row[2] for row in REFUSALS])
def test_wrong_input_is_refused_and_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
