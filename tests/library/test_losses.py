"""Losses against mpmath, SciPy and scikit-learn; their gradients against central differences."""

import copy
import functools
import math
import pickle
import tracemalloc
from collections.abc import Callable
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from trainlab import losses
from trainlab.losses import classification, softmax_cross_entropy, squared_error
from trainlab.losses.sums import weighed_losses
from trainlab.transformer import Decoder

mpmath.mp.dps = 50
INF, NAN = np.inf, np.nan
RNG = np.random.default_rng(0)
N, K = 6, 4

LOGITS = RNG.normal(0, 2, (N, K))
LABELS = np.array([0, 3, 1, 1, 2, 0])
NUMBERS, TARGETS = RNG.normal(size=(N, 2)), RNG.normal(size=(N, 2))
ANSWERS = np.array([[0, 1], [1, 0], [1, 1], [0, 0], [1, 0], [0, 1]])
SHARES = scipy.special.softmax(RNG.normal(size=(N, K)), axis=1)
SHARES[1] = [0, 1, 0, 0]
CHANCES = RNG.uniform(0.05, 0.95, (N, 2))
DISTANCES = RNG.uniform(1, 3, (N, 2))
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25])


class Case(NamedTuple):
    """A loss, where to differentiate it, its other arguments and options."""

    loss: Callable
    x: np.ndarray
    arguments: tuple = ()
    options: dict = {}
    shape: tuple = (N, 2)  # of the values

    def __call__(self, x, rows=slice(None), **more):
        return self.loss(
            x, *(argument[rows] for argument in self.arguments), **self.options, **more
        )


CASES = {
    "squared_error": Case(losses.squared_error, NUMBERS, (TARGETS,)),
    "absolute_error": Case(losses.absolute_error, NUMBERS, (TARGETS,)),
    "huber": Case(losses.huber, NUMBERS, (TARGETS,)),
    "huber delta=0.3": Case(losses.huber, NUMBERS, (TARGETS,), {"delta": 0.3}),
    "log_cosh": Case(losses.log_cosh, 2 * NUMBERS, (TARGETS,)),
    "quantile": Case(losses.quantile, NUMBERS, (TARGETS,), {"level": 0.9}),
    "gaussian_nll": Case(losses.gaussian_nll, NUMBERS, (TARGETS[:, 0],), {}, (N,)),
    "binary_cross_entropy": Case(losses.binary_cross_entropy, NUMBERS, (ANSWERS,)),
    "binary_cross_entropy shares": Case(losses.binary_cross_entropy, NUMBERS, (CHANCES,)),
    "focal": Case(losses.focal, NUMBERS, (ANSWERS,)),
    "focal gamma=0.5 alpha=0.25": Case(
        losses.focal, NUMBERS, (ANSWERS,), {"gamma": 0.5, "alpha": 0.25}
    ),
    "hinge": Case(losses.hinge, 2 * NUMBERS, (2 * ANSWERS - 1,)),
    "soft_cross_entropy": Case(losses.soft_cross_entropy, LOGITS, (SHARES,), {}, (N,)),
    "cross_entropy": Case(
        losses.cross_entropy, scipy.special.softmax(LOGITS / 2, axis=1), (SHARES,), {}, (N,)
    ),
    "log_loss": Case(losses.log_loss, CHANCES, (ANSWERS,)),
    "kl_divergence": Case(losses.kl_divergence, LOGITS, (SHARES,), {}, (N,)),
    "distillation": Case(
        losses.distillation, LOGITS, (RNG.normal(0, 3, (N, K)),), {"temperature": 2.5}, (N,)
    ),
    "info_nce": Case(losses.info_nce, RNG.normal(size=(N, 2, 3)), (), {"temperature": 0.5}),
    "triplet": Case(losses.triplet, DISTANCES, (DISTANCES[::-1],), {"margin": 0.4}),
    "preference": Case(losses.preference, NUMBERS, (TARGETS,), {"beta": 0.7}),
}
for options in (
    {},
    {"label_smoothing": 0.1},
    {"z_loss": 0.3},
    {"ignore_index": 1},
    {"label_smoothing": 0.2, "z_loss": 0.01, "ignore_index": 0},
):
    name = " ".join(f"{key}={value}" for key, value in options.items()) or "plain"
    CASES["softmax_cross_entropy " + name] = Case(
        softmax_cross_entropy, LOGITS, (LABELS,), options, (N,)
    )


def weights_of(kind, shape):
    return (
        None
        if kind is None
        else np.broadcast_to(WEIGHTS.reshape((N,) + (1,) * (len(shape) - 1)), shape)
    )


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
    loss = CASES[case]
    x, shape = loss.x, loss.shape
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
        sklearn.metrics.mean_squared_error(TARGETS[:, 0], NUMBERS[:, 0], sample_weight=weights),
        rel=1e-14,
    )
    both = squared_error(NUMBERS, TARGETS).value
    assert both == pytest.approx(sklearn.metrics.mean_squared_error(TARGETS, NUMBERS), rel=1e-14)


# --- Cross-entropy -------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_sklearns_log_loss(weights):
    probabilities = scipy.special.softmax(LOGITS, axis=1)
    expected = sklearn.metrics.log_loss(
        LABELS, probabilities, sample_weight=weights, labels=range(K)
    )
    assert softmax_cross_entropy(LOGITS, LABELS, weights=weights).value == pytest.approx(
        expected, rel=1e-14
    )


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
    np.testing.assert_allclose(
        with_z - plain, 0.3 * scipy.special.logsumexp(LOGITS, axis=1) ** 2, rtol=1e-12
    )


def mp_cross_entropy(logits, label, smoothing, zeta):
    """The definition, from probabilities, in 50 digits."""
    log_total = mpmath.log(mpmath.fsum(mpmath.exp(z) for z in logits))
    target = [
        mpmath.mpf(smoothing) / len(logits) + ((1 - mpmath.mpf(smoothing)) if k == label else 0)
        for k in range(len(logits))
    ]
    return (
        mpmath.fsum(q * (log_total - z) for q, z in zip(target, logits))
        + mpmath.mpf(zeta) * log_total**2
    )


@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("smoothing, zeta", [(0.0, 0.0), (0.125, 0.0), (0.0, 0.25), (0.125, 0.25)])
@pytest.mark.parametrize(
    "logits",
    [
        [40.0, 0.0, 1.0],
        [0.0, -40.0, -41.0],
        [0.0, 37.0, -3.0],
        [0.0, 0.0, 0.0],
        [-30.0, -30.0, -31.0],
        [1e-9, 0.0, -1e-9],
    ],
    ids=str,
)
def test_cross_entropy_and_gradient_have_the_digits_of_mpmath(logits, label, smoothing, zeta):
    exact = [mpmath.mpf(z) for z in logits]
    value, gradient = softmax_cross_entropy(
        [logits], [label], label_smoothing=smoothing, z_loss=zeta, reduction="none"
    )
    assert float(value[0]) == pytest.approx(
        float(mp_cross_entropy(exact, label, smoothing, zeta)), rel=4e-15, abs=0
    )
    for k in range(3):
        slope = mpmath.diff(
            lambda z: mp_cross_entropy(exact[:k] + [z] + exact[k + 1 :], label, smoothing, zeta),
            exact[k],
        )
        # Without smoothing no digit is lost, however small the entry; with it, 1 - 0.875 - ...
        # cancels.
        absolute = 1e-24 if smoothing == zeta == 0 else 1e-14
        assert gradient[0, k] == pytest.approx(float(slope), rel=2e-14, abs=absolute)


def test_the_loss_of_a_sure_and_right_answer_keeps_its_digits():
    # mpmath.log1p(mpmath.exp(-40)) = 4.2483542552915889862e-18, and the gradient is -p and p of the
    # other class.
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
    assert softmax_cross_entropy([[0.0, -INF]], [1], label_smoothing=0.1).value == INF


def test_each_row_is_shifted_by_its_own_maximum():
    value, gradient = softmax_cross_entropy(
        [[1000.0, 1000.0], [-1000.0, -1000.0]], [0, 1], reduction="none"
    )
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


# --- The other losses against definitions in 50 digits -------------------------------------------

mp, log, exp = mpmath.mpf, mpmath.log, mpmath.exp


def mp_sigmoid(x):
    return 1 / (1 + exp(-x))


def mp_huber(r, delta=1):
    delta = mp(delta)
    return r**2 / 2 if abs(r) <= delta else delta * (abs(r) - delta / 2)


def mp_focal(x, y, gamma, alpha):
    p = mp_sigmoid(x if y == 1 else -x)
    share = 1 if alpha is None else mp(alpha) if y == 1 else 1 - mp(alpha)
    return -share * (1 - p) ** mp(gamma) * log(p)


# name: (loss, other arguments, options, its definition at one number, where)
FAR = [-1e4, -745.0, -40.0, -37.0, -1.5, -1e-3, -1e-9, 1e-12, 0.25, 1.0, 36.0, 40.0, 700.0, 1e4]
ELEMENTWISE = {
    "squared_error": (losses.squared_error, 0.0, {}, lambda r: r**2, FAR + [1e100]),
    "absolute_error": (losses.absolute_error, 0.0, {}, abs, FAR + [1e308]),
    "huber": (losses.huber, 0.0, {}, mp_huber, FAR + [1e200, -1e308]),
    "huber delta=1e-3": (losses.huber, 0.0, {"delta": 1e-3}, lambda r: mp_huber(r, 1e-3), FAR),
    "log_cosh": (
        losses.log_cosh,
        0.0,
        {},
        lambda r: log(mpmath.cosh(r)),
        FAR + [0.999, 1.001, 1e300, 1e-150],
    ),
    "quantile 0.9": (
        losses.quantile,
        0.0,
        {"level": 0.9},
        lambda r: (mp(1) - mp(0.9) if r > 0 else -mp(0.9)) * r,
        FAR,
    ),
    "binary_cross_entropy yes": (
        losses.binary_cross_entropy,
        1.0,
        {},
        lambda x: log(1 + exp(-x)),
        FAR,
    ),
    "binary_cross_entropy no": (
        losses.binary_cross_entropy,
        0.0,
        {},
        lambda x: log(1 + exp(x)),
        FAR,
    ),
    "binary_cross_entropy 1/4": (
        losses.binary_cross_entropy,
        0.25,
        {},
        lambda x: log(1 + exp(x)) - x / 4,
        FAR,
    ),
    "focal yes": (losses.focal, 1, {}, lambda x: mp_focal(x, 1, 2, None), FAR),
    "focal no gamma=0.5": (
        losses.focal,
        0,
        {"gamma": 0.5},
        lambda x: mp_focal(x, 0, 0.5, None),
        FAR,
    ),
    "focal yes gamma=5 alpha=0.3": (
        losses.focal,
        1,
        {"gamma": 5, "alpha": 0.3},
        lambda x: mp_focal(x, 1, 5, 0.3),
        FAR,
    ),
    "focal no gamma=0 alpha=0.3": (
        losses.focal,
        0,
        {"gamma": 0, "alpha": 0.3},
        lambda x: mp_focal(x, 0, 0, 0.3),
        FAR,
    ),
    "hinge": (losses.hinge, 1, {}, lambda x: max(mp(0), 1 - x), FAR),
    "log_loss yes": (
        losses.log_loss,
        1.0,
        {},
        lambda p: -log(p),
        [1e-300, 1e-9, 0.5, 0.999, 1 - 2**-53],
    ),
    "log_loss no": (
        losses.log_loss,
        0.0,
        {},
        lambda p: -log(1 - p),
        [1e-300, 1e-9, 0.5, 0.999, 1 - 2**-53],
    ),
    "log_loss 1/4": (
        losses.log_loss,
        0.25,
        {},
        lambda p: -log(p) / 4 - 3 * log(1 - p) / 4,
        [1e-300, 1e-9, 0.5, 0.999],
    ),
    "preference": (losses.preference, 0.0, {}, lambda c: log(1 + exp(-c)), FAR),
    "preference beta=0.125": (
        losses.preference,
        1.0,
        {"beta": 0.125},
        lambda c: log(1 + exp((1 - c) / 8)),
        FAR,
    ),
}
TINY = 5e-324  # the smallest number above 0: below about 1e-308 float64 has fewer digits to be right in


@pytest.mark.parametrize(
    "name, x", [(name, x) for name, row in ELEMENTWISE.items() for x in row[-1]], ids=str
)
def test_value_and_gradient_have_the_digits_of_the_definition(name, x):
    loss, other, options, definition, _ = ELEMENTWISE[name]
    with mpmath.workdps(400):
        value, slope = (
            float(definition(mp(x))),
            float(mpmath.diff(definition, mp(x), h=mp(10) ** -380 * max(1, abs(mp(x))))),
        )
    if x in (1.0,) and name in ("huber", "hinge"):
        slope = {"huber": 1.0, "hinge": 0.0}[name]  # the documented slope at the kink
    ours = loss([x], [other], **options)
    assert ours.value == pytest.approx(value, rel=2e-15, abs=2 * TINY)
    assert ours.gradient[0] == pytest.approx(
        slope, rel=2e-15 if "beta" not in name else 3e-15, abs=2 * TINY
    )


@pytest.mark.parametrize("log_variance", [-40.0, -1.0, 0.0, 3.0, 700.0, -700.0])
@pytest.mark.parametrize("error", [0.0, 1e-9, -0.5, 30.0])
def test_gaussian_nll_is_the_normal_densitys_logarithm(error, log_variance):
    def definition(mean, s):
        variance = exp(s)
        return -log(
            exp(-((mean - 2) ** 2) / (2 * variance)) / mpmath.sqrt(2 * mpmath.pi * variance)
        )

    mean, s = mp(2) + mp(error), mp(log_variance)
    mean = mp(float(mean))
    square = (mean - 2) ** 2 / exp(s)
    with mpmath.workdps(60):
        value = definition(mean, s) if square < 1e4 else (log(2 * mpmath.pi) + s + square) / 2
    ours = losses.gaussian_nll([[float(mean), log_variance]], [2.0])
    assert ours.value == pytest.approx(float(value), rel=4e-15)
    assert ours.gradient[0, 0] == pytest.approx(float((mean - 2) / exp(s)), rel=4e-15, abs=0)
    assert ours.gradient[0, 1] == pytest.approx(float((1 - square) / 2), rel=4e-15)


def test_gaussian_nll_is_scipys():
    predictions = RNG.normal(size=(N, 2))
    expected = -scipy.stats.norm.logpdf(
        TARGETS[:, 0], predictions[:, 0], np.exp(predictions[:, 1] / 2)
    )
    ours = losses.gaussian_nll(predictions, TARGETS[:, 0], reduction="none").value
    np.testing.assert_allclose(ours, expected, rtol=1e-13)


def mp_softmax(logits):
    terms = [exp(mp(z)) for z in logits]
    return [term / mpmath.fsum(terms) for term in terms]


ROWS = [
    ([40.0, 0.0, 1.0], [1.0, 0.0, 0.0]),
    ([40.0, 0.0, 1.0], [0.0, 1.0, 0.0]),
    ([0.0, -40.0, -41.0], [0.5, 0.25, 0.25]),
    ([37.0, 0.0, -745.0], [1 - 2**-40, 2**-41, 2**-41]),
    ([1e4, 0.0, 1.0], [0.0, 0.5, 0.5]),
    ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
]


@pytest.mark.parametrize("logits, targets", ROWS, ids=str)
def test_distribution_losses_have_the_digits_of_the_definition(logits, targets):
    with mpmath.workdps(6000):  # exp(-1e4) has its first digit at place 4343
        p, q = mp_softmax(logits), [mp(t) for t in targets]
        cross = float(-mpmath.fsum(b * log(a) for a, b in zip(p, q)))
        divergence = float(mpmath.fsum(b * log(b / a) for a, b in zip(p, q) if b > 0))
        slope = [float(a - b) for a, b in zip(p, q)]
    ours = losses.soft_cross_entropy([logits], [targets])
    assert ours.value == pytest.approx(cross, rel=4e-15, abs=0)
    np.testing.assert_allclose(ours.gradient[0], slope, rtol=4e-15, atol=0)
    ours = losses.kl_divergence([logits], [targets])
    # Where both nearly agree the terms nearly cancel, and what is left has fewer digits.
    assert ours.value == pytest.approx(
        divergence, rel=4e-15, abs=1e-15 if "99" in str(targets) else 0
    )
    np.testing.assert_allclose(ours.gradient[0], slope, rtol=4e-15, atol=0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 8.0])
@pytest.mark.parametrize(
    "student, teacher",
    [
        ([40.0, 0.0, 1.0], [0.0, 2.0, 1.0]),
        ([40.0, 0.0, 1.0], [40.0, 1.0, 0.0]),
        ([0.0, 0.0, 0.0], [9.0, 0.0, 0.0]),
    ],
)
def test_distillation_has_the_digits_of_the_definition(student, teacher, temperature):
    T = mp(temperature)
    p, q = mp_softmax([z / T for z in student]), mp_softmax([z / T for z in teacher])
    value = float(T**2 * mpmath.fsum(b * log(b / a) for a, b in zip(p, q)))
    slope = [float(T * (a - b)) for a, b in zip(p, q)]
    ours = losses.distillation([student], [teacher], temperature=temperature)
    # Probabilities of almost the same size cancel; what is left has their absolute accuracy.
    assert ours.value == pytest.approx(value, rel=1e-14, abs=1e-17)
    np.testing.assert_allclose(ours.gradient[0], slope, rtol=1e-14, atol=1e-16)


# --- The other losses against SciPy, scikit-learn and each other ---------------------------------


def test_regression_losses_are_sklearns_and_scipys():
    x, y = NUMBERS[:, 0], TARGETS[:, 0]
    assert losses.absolute_error(x, y).value == pytest.approx(
        sklearn.metrics.mean_absolute_error(y, x), rel=1e-14
    )
    for level in (0.1, 0.5, 0.9):
        assert losses.quantile(x, y, level=level).value == pytest.approx(
            sklearn.metrics.mean_pinball_loss(y, x, alpha=level), rel=1e-14
        )
    for delta in (0.1, 1.0, 3.0):
        np.testing.assert_allclose(
            losses.huber(x, y, delta=delta, reduction="none").value,
            scipy.special.huber(delta, x - y),
            rtol=1e-14,
        )


def test_the_pinball_of_level_half_is_half_the_absolute_error():
    for mine, theirs in zip(
        losses.quantile(NUMBERS, TARGETS, level=0.5), losses.absolute_error(NUMBERS, TARGETS)
    ):
        np.testing.assert_allclose(mine, theirs / 2, rtol=1e-15)


def test_the_best_constant_is_the_quantile_the_median_the_mean():
    values = np.sort(RNG.normal(size=101))
    grid = np.repeat(values[:, None], 101, axis=1)
    everyone = np.broadcast_to(values, (101, 101))
    for level in (0.1, 0.5, 0.9):
        cost = losses.quantile(grid, everyone, level=level, reduction="none").value.sum(axis=1)
        assert values[cost.argmin()] == np.quantile(values, level)
    assert values[
        losses.absolute_error(grid, everyone, reduction="none").value.sum(axis=1).argmin()
    ] == np.median(values)
    assert losses.squared_error(
        np.full(101, values.mean()), values, reduction="sum"
    ).gradient.sum() == pytest.approx(0, abs=1e-13)


def test_binary_cross_entropy_is_that_of_two_classes_and_sklearns_log_loss():
    x, y = NUMBERS[:, 0], ANSWERS[:, 0]
    value, gradient = losses.binary_cross_entropy(x, y)
    two = softmax_cross_entropy(np.column_stack([np.zeros(N), x]), y)
    assert value == pytest.approx(two.value, rel=1e-14)
    np.testing.assert_allclose(gradient, two.gradient[:, 1], rtol=1e-13)
    assert value == pytest.approx(sklearn.metrics.log_loss(y, scipy.special.expit(x)), rel=1e-14)


def test_binary_cross_entropy_agrees_with_sklearns_own_loss():
    from sklearn._loss import HalfBinomialLoss

    x, y = (
        np.array([-800.0, -40.0, -1.0, 0.0, 3.0, 40.0, 800.0]),
        np.array([0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]),
    )
    value, gradient = HalfBinomialLoss().loss_gradient(y_true=y, raw_prediction=x)
    ours = losses.binary_cross_entropy(x, y, reduction="none")
    np.testing.assert_allclose(ours.value, value, rtol=1e-15)
    np.testing.assert_allclose(ours.gradient, gradient, rtol=1e-15)


def test_the_articles_two_forms_are_one_and_both_are_sklearns():
    p, y = CHANCES[:, 0], ANSWERS[:, 0]
    pair, hot = np.column_stack([1 - p, p]), np.eye(2)[y]
    value = losses.log_loss(p, y).value
    assert value == pytest.approx(losses.cross_entropy(pair, hot).value, rel=1e-14)
    assert value == pytest.approx(sklearn.metrics.log_loss(y, p), rel=1e-14)


def test_cross_entropy_on_probabilities_is_that_on_logits():
    p = scipy.special.softmax(LOGITS, axis=1)
    by_logits = losses.soft_cross_entropy(LOGITS, SHARES, reduction="none").value
    np.testing.assert_allclose(
        losses.cross_entropy(p, SHARES, reduction="none").value, by_logits, rtol=1e-14
    )
    hot = np.eye(K)[LABELS]
    np.testing.assert_allclose(
        losses.soft_cross_entropy(LOGITS, hot).gradient,
        softmax_cross_entropy(LOGITS, LABELS).gradient,
        rtol=1e-14,
    )
    assert losses.soft_cross_entropy(LOGITS, hot).value == pytest.approx(
        softmax_cross_entropy(LOGITS, LABELS).value, rel=1e-14
    )


def test_kl_divergence_is_scipys_and_the_cross_entropy_less_the_entropy():
    p = scipy.special.softmax(LOGITS, axis=1)
    ours = losses.kl_divergence(LOGITS, SHARES, reduction="none")
    np.testing.assert_allclose(
        ours.value, scipy.special.rel_entr(SHARES, p).sum(axis=1), rtol=1e-13
    )
    cross = losses.soft_cross_entropy(LOGITS, SHARES, reduction="none")
    np.testing.assert_allclose(
        ours.value, cross.value - scipy.stats.entropy(SHARES, axis=1), rtol=1e-13
    )
    np.testing.assert_array_equal(ours.gradient, cross.gradient)


def test_distillation_at_temperature_one_is_the_divergence_from_the_teacher():
    teacher = RNG.normal(size=(N, K))
    ours = losses.distillation(LOGITS, teacher, temperature=1.0)
    other = losses.kl_divergence(LOGITS, scipy.special.softmax(teacher, axis=1))
    assert ours.value == pytest.approx(other.value, rel=1e-13)
    np.testing.assert_allclose(ours.gradient, other.gradient, rtol=1e-12, atol=1e-16)


def test_hot_distillation_compares_centred_logits():
    # Hinton et al. (2015), section 2.1: for a large T the gradient is the logits' difference over
    # K.
    teacher = RNG.normal(size=(N, K))
    student = LOGITS - LOGITS.mean(axis=1, keepdims=True)
    teacher -= teacher.mean(axis=1, keepdims=True)
    gradient = losses.distillation(student, teacher, temperature=1e5, reduction="sum").gradient
    np.testing.assert_allclose(gradient, (student - teacher) / K, atol=1e-4)


def test_focal_without_focus_is_binary_cross_entropy():
    for mine, theirs in zip(
        losses.focal(NUMBERS, ANSWERS, gamma=0), losses.binary_cross_entropy(NUMBERS, ANSWERS)
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-14)


def test_info_nce_by_hand_and_in_both_directions():
    s = np.log([[2.0, 1.0, 1.0], [1.0, 6.0, 1.0]])
    value, gradient = losses.info_nce(s, temperature=1.0, reduction="none")
    np.testing.assert_allclose(value, [np.log(2), np.log(4 / 3)], rtol=1e-15)
    np.testing.assert_allclose(gradient, [[-0.5, 0.25, 0.25], [0.125, -0.25, 0.125]], rtol=1e-15)
    halves = losses.info_nce(s / 2, temperature=0.5, reduction="none")
    np.testing.assert_allclose(halves.value, value, rtol=1e-15)
    np.testing.assert_allclose(halves.gradient, 2 * gradient, rtol=1e-15)


def test_info_nce_can_leave_out_a_pair():
    s = RNG.normal(size=(3, 3))
    s[0, 2] = -INF
    value, gradient = losses.info_nce(s, temperature=1.0, reduction="none")
    assert value[0] == pytest.approx(losses.info_nce(s[:1, :2], temperature=1.0).value, rel=1e-15)
    assert gradient[0, 2] == 0


def test_preference_and_triplet_turn_around_with_their_arguments():
    # The gradient for the second argument is minus that for the first.
    up = losses.preference(NUMBERS, TARGETS, beta=0.3, reduction="none").value
    for loss, options in ((losses.preference, {"beta": 0.3}), (losses.triplet, {"margin": 0.4})):
        x, y = (
            (NUMBERS, TARGETS) if loss is losses.preference else (DISTANCES, DISTANCES[::-1].copy())
        )
        slope = central_differences(lambda y: loss(x, y, **options, reduction="sum").value, y)
        np.testing.assert_allclose(
            slope, -loss(x, y, **options, reduction="sum").gradient, atol=1e-8
        )
    # -log sigma(m) + log sigma(-m) = -m
    down = losses.preference(TARGETS, NUMBERS, beta=0.3, reduction="none").value
    np.testing.assert_allclose(up - down, -0.3 * (NUMBERS - TARGETS), rtol=1e-12)


def test_triplet_gives_the_embeddings_gradients_of_its_docstring():
    a, p, n = RNG.normal(size=(3, N, 4))

    def value(a, p, n):
        return losses.triplet(
            ((a - p) ** 2).sum(-1), ((a - n) ** 2).sum(-1), margin=2.0, reduction="sum"
        )

    active = value(a, p, n).gradient[:, None]
    assert 0 < active.sum() < N
    np.testing.assert_allclose(
        central_differences(lambda a: value(a, p, n).value, a), active * 2 * (n - p), atol=1e-8
    )
    np.testing.assert_allclose(
        central_differences(lambda p: value(a, p, n).value, p), active * 2 * (p - a), atol=1e-8
    )
    np.testing.assert_allclose(
        central_differences(lambda n: value(a, p, n).value, n), active * 2 * (a - n), atol=1e-8
    )


KINKS = [
    (lambda: losses.absolute_error([2.0], [2.0]), 0.0, 0.0),
    (lambda: losses.quantile([2.0], [2.0], level=0.9), 0.0, 0.0),
    (lambda: losses.huber([1.0], [0.0]), 0.5, 1.0),
    (lambda: losses.huber([-1.0], [0.0]), 0.5, -1.0),
    (lambda: losses.hinge([1.0], [1]), 0.0, 0.0),
    (lambda: losses.hinge([-1.0], [-1]), 0.0, 0.0),
    (lambda: losses.triplet([1.0], [2.0], margin=1.0), 0.0, 0.0),
    (lambda: losses.triplet([1.0], [1.0], margin=0.0), 0.0, 0.0),
    (lambda: losses.hinge([-3.0], [-1]), 0.0, 0.0),
    (lambda: losses.hinge([-3.0], [1]), 4.0, -1.0),
    (lambda: losses.hinge([3.0], [-1]), 4.0, 1.0),
]


@pytest.mark.parametrize("call, value, slope", KINKS)
def test_at_the_kinks(call, value, slope):
    assert call() == (value, [slope])


IMPOSSIBLE = [
    # loss, value, gradient
    (lambda: losses.soft_cross_entropy([[0.0, -INF]], [[1, 0]]), 0.0, [0.0, 0.0]),
    (lambda: losses.soft_cross_entropy([[0.0, -INF]], [[0, 1]]), INF, [1.0, -1.0]),
    (lambda: losses.soft_cross_entropy([[0.0, -INF]], [[0.5, 0.5]]), INF, [0.5, -0.5]),
    (lambda: losses.kl_divergence([[0.0, -INF]], [[1, 0]]), 0.0, [0.0, 0.0]),
    (lambda: losses.kl_divergence([[0.0, -INF]], [[0, 1]]), INF, [1.0, -1.0]),
    (
        lambda: losses.distillation([[0.0, 0.0, -INF]], [[0.0, 0.0, -INF]], temperature=2),
        0.0,
        [0.0, 0.0, 0.0],
    ),
    (lambda: losses.distillation([[0.0, -INF]], [[0.0, 0.0]], temperature=1), INF, [0.5, -0.5]),
    (
        lambda: losses.distillation([[1e308, -1e308]], [[1e308, -1e308]], temperature=1e-3),
        0.0,
        [0.0, 0.0],
    ),
    (lambda: losses.info_nce([[1e300, 0.0]], temperature=1e-10), 0.0, [0.0, 0.0]),
    (lambda: losses.cross_entropy([[0.0, 1.0]], [[1, 0]]), INF, [-INF, 0.0]),
    (lambda: losses.cross_entropy([[0.0, 1.0]], [[0, 1]]), 0.0, [0.0, -1.0]),
    (lambda: losses.cross_entropy([[1e-320, 1.0]], [[0, 1]]), 0.0, [0.0, -1.0]),
    (lambda: losses.log_loss([0.0, 1.0], [1, 0], reduction="sum"), INF, [-INF, INF]),
    (lambda: losses.log_loss([1.0, 0.0], [1, 0], reduction="sum"), 0.0, [-1.0, 1.0]),
    (lambda: losses.focal([1e4], [1], gamma=0.5), 0.0, [0.0]),
    (lambda: losses.focal([-1e4], [1], gamma=0.5), 1e4, [-1.0]),
    (lambda: losses.gaussian_nll([[1.0, -1e308]], [0.0]), INF, [INF, -INF]),
    (lambda: losses.gaussian_nll([[0.0, 1e4]], [0.0]), 5000 + np.log(2 * np.pi) / 2, [0.0, 0.5]),
    (lambda: losses.gaussian_nll([[0.0, -1e4]], [0.0]), -5000 + np.log(2 * np.pi) / 2, [0.0, 0.5]),
]


@pytest.mark.parametrize("call, value, gradient", IMPOSSIBLE)
def test_at_the_edges(call, value, gradient):
    loss = call()
    assert loss.value == pytest.approx(value, rel=1e-15)
    assert np.ravel(loss.gradient).tolist() == gradient


def test_a_weightless_row_may_be_infinite():
    loss = losses.cross_entropy([[0.0, 1.0], [0.5, 0.5]], [[1, 0], [1, 0]], weights=[0, 2])
    assert loss.value == np.log(2) and loss.gradient.tolist() == [[0, 0], [-2, 0]]


def test_the_blocks_of_rows_leave_no_seam(monkeypatch):
    # More rows than fit one block, a last block that is not full, and rows too long for a block.
    monkeypatch.setattr(classification, "BLOCK", 1000)
    for rows, classes in ((310, 40), (2, 1003)):
        rng = np.random.default_rng(0)
        logits, labels = rng.normal(size=(rows, classes)), rng.integers(0, classes, rows)
        ours = softmax_cross_entropy(logits, labels, weights=np.arange(1.0, rows + 1))
        p = scipy.special.softmax(logits, axis=1)
        weights = np.arange(1.0, rows + 1) / np.arange(1.0, rows + 1).sum()
        assert ours.value == pytest.approx(
            -(weights * np.log(p[np.arange(rows), labels])).sum(), rel=1e-13
        )
        p[np.arange(rows), labels] -= 1
        np.testing.assert_allclose(ours.gradient, weights[:, None] * p, rtol=1e-9, atol=1e-17)


def test_a_bad_row_is_named_in_whichever_block_it_lies(monkeypatch):
    monkeypatch.setattr(classification, "BLOCK", 1000)
    logits = np.zeros((3, 100, 40))
    logits[2, 90, 7] = NAN
    with pytest.raises(ValueError, match=r"at index \(2, 90\)"):
        softmax_cross_entropy(logits, np.zeros((3, 100), int))


# --- Properties ----------------------------------------------------------------------------------


@every_case
@every_weighting
def test_none_sum_and_mean_are_consistent(case, weighting):
    loss = CASES[case]
    x, shape = loss.x, loss.shape
    weights = weights_of(weighting, shape)
    none, total, mean = (
        loss(x, weights=weights, reduction=reduction) for reduction in ("none", "sum", "mean")
    )
    kept = np.ones(shape) if weights is None else weights.copy()
    if "ignore_index=1" in case:
        kept[LABELS == 1] = 0
    if "ignore_index=0" in case:
        kept[LABELS == 0] = 0
    assert none.value.shape == shape
    assert total.value == pytest.approx(none.value.sum(), rel=1e-14)
    assert mean.value * kept.sum() == pytest.approx(total.value, rel=1e-14)
    np.testing.assert_array_equal(total.gradient, none.gradient)
    np.testing.assert_allclose(mean.gradient * kept.sum(), total.gradient, rtol=1e-14, atol=1e-15)


@every_case
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weight_zero_removes_the_row(case, reduction):
    loss = CASES[case]
    x, shape = loss.x, loss.shape
    keep = np.array([True, True, False, True, True, False])
    weights = np.broadcast_to(keep.reshape((N,) + (1,) * (len(shape) - 1)), shape).astype(float)
    zeroed = loss(x, weights=weights, reduction=reduction)
    removed = loss(x[keep], rows=keep, reduction=reduction)
    assert zeroed.value == pytest.approx(removed.value, rel=1e-14)
    np.testing.assert_allclose(zeroed.gradient[keep], removed.gradient, rtol=1e-14)
    assert not zeroed.gradient[~keep].any()


def test_weight_zero_removes_even_an_infinite_loss():
    loss = softmax_cross_entropy([[0.0, -INF], [0.0, 0.0]], [1, 0], weights=[0, 1])
    assert loss.value == pytest.approx(np.log(2)) and loss.gradient.tolist() == [
        [0, 0],
        [-0.5, 0.5],
    ]


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
    loss = CASES[case]
    x, shape = loss.x, loss.shape
    doubled = loss(x, weights=np.full(shape, 2.0), reduction="sum")
    plain = loss(x, reduction="sum")
    assert doubled.value == pytest.approx(2 * plain.value, rel=1e-14)
    np.testing.assert_allclose(doubled.gradient, 2 * plain.gradient, rtol=1e-14)


@every_case
@every_reduction
def test_examples_are_treated_alike_in_any_order(case, reduction):
    loss = CASES[case]
    order = np.random.default_rng(1).permutation(N)
    straight = loss(loss.x, reduction=reduction)
    shuffled = loss(loss.x[order], rows=order, reduction=reduction)
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
    np.testing.assert_allclose(
        shuffled.gradient, straight.gradient[:, order], rtol=1e-13, atol=1e-16
    )


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


@every_case
def test_replicas_are_examples_side_by_side(case):
    loss = CASES[case]
    orders = np.stack([np.random.default_rng(r).permutation(N) for r in range(3)])
    stacked = loss(loss.x[orders], rows=orders, reduction="none")
    for order, value, gradient in zip(orders, *stacked):
        alone = loss(loss.x[order], rows=order, reduction="none")
        np.testing.assert_array_equal(value, alone.value)
        np.testing.assert_array_equal(gradient, alone.gradient)


# --- Types ---------------------------------------------------------------------------------------


@every_case
@every_weighting
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_of_the_predictions_is_kept(case, weighting, dtype):
    loss = CASES[case]
    x, shape = loss.x, loss.shape
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
    loss = CASES[case]
    x, shape = loss.x, loss.shape
    copy, weights = x.copy(), weights_of("weights", shape).copy()
    loss(copy, weights=weights)
    assert np.array_equal(copy, x) and np.array_equal(weights, weights_of("weights", shape))
    assert LABELS.tolist() == [0, 3, 1, 1, 2, 0]


def test_the_loss_is_a_pair_by_name_and_by_position():
    loss = squared_error([1.0], [0.0])
    assert loss.value == loss[0] == 1.0 and loss.gradient is loss[1]
    assert isinstance(loss, losses.Loss)


# --- What counts -----------------------------------------------------------------------------------


@every_case
@every_weighting
def test_a_loss_says_how_much_each_value_counts(case, weighting):
    loss = CASES[case]
    weights = weights_of(weighting, loss.shape)
    none, total, mean = (
        loss(loss.x, weights=weights, reduction=reduction) for reduction in ("none", "sum", "mean")
    )
    assert total.weights is None and mean.weights is None
    counts = np.ones(loss.shape) if weights is None else weights
    if "ignore_index" in loss.options:
        counts = np.where(LABELS == loss.options["ignore_index"], 0, counts)
    if weighting is None and "ignore_index" not in loss.options:
        assert none.weights is None
    else:
        np.testing.assert_array_equal(none.weights, counts)
        assert none.value.shape == none.weights.shape
    assert mean.value == pytest.approx(none.value.sum() / counts.sum(), rel=1e-14)


def test_what_counts_is_an_attribute_and_no_member_of_the_pair():
    loss = softmax_cross_entropy(LOGITS, LABELS, weights=WEIGHTS, ignore_index=1, reduction="none")
    counts = np.where(LABELS == 1, 0, WEIGHTS)
    value, gradient = loss
    assert (
        len(loss) == 2 and value is loss[0] is loss.value and gradient is loss[1] is loss.gradient
    )
    assert loss._fields == ("value", "gradient") and isinstance(loss, tuple)
    assert repr(loss) == f"Loss(value={value!r}, gradient={gradient!r})"
    copies = [copy.copy(loss), copy.deepcopy(loss), loss._replace()]
    copies += [
        pickle.loads(pickle.dumps(loss, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for again in copies:
        assert type(again) is losses.Loss
        assert np.array_equal(again.value, value) and np.array_equal(again.gradient, gradient)
        assert np.array_equal(again.weights, counts)
    assert losses.Loss(1.0, gradient).weights is None
    changed = loss._replace(value=3.0, weights=WEIGHTS)
    assert changed.value == 3.0 and changed.gradient is gradient and changed.weights is WEIGHTS


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", ">i4", "i8", "u8", ">u8"])
@every_reduction
def test_several_labels_may_be_ignored_in_every_type(dtype, reduction):
    labels = np.array([0, 100, 1, 127, 2, 100])
    keep = labels < K
    for ignored in ([100, 127], (127, 100, -1), {100, 127}, np.array([100, 127], "u1")):
        loss = softmax_cross_entropy(
            LOGITS, labels.astype(dtype), ignore_index=ignored, reduction=reduction
        )
        removed = softmax_cross_entropy(LOGITS[keep], labels[keep], reduction=reduction)
        value = loss.value[keep] if reduction == "none" else loss.value
        np.testing.assert_allclose(value, removed.value, rtol=1e-15)
        np.testing.assert_allclose(loss.gradient[keep], removed.gradient, rtol=1e-15)
        assert not loss.gradient[~keep].any()


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.0], np.array([1, 2, 3], "u1")])
@pytest.mark.parametrize("ignored", [-1, (-1, -2)])
def test_a_part_of_a_batch_may_be_ignored_altogether(weights, ignored):
    labels = np.array([-1, -1, -1] if ignored == -1 else [-1, -2, -1])
    loss = softmax_cross_entropy(
        LOGITS[:3], labels, weights=weights, ignore_index=ignored, reduction="none"
    )
    assert not loss.value.any() and not loss.gradient.any() and loss.weights.tolist() == [0, 0, 0]
    value, gradient = softmax_cross_entropy(
        LOGITS[:3], labels, weights=weights, ignore_index=ignored, reduction="sum"
    )
    assert value == 0 and type(value) is float and not gradient.any()
    with pytest.raises(ValueError, match="nothing is left to average"):
        softmax_cross_entropy(LOGITS[:3], labels, weights=weights, ignore_index=ignored)


def test_an_ignored_row_may_hold_the_only_weight():
    loss = softmax_cross_entropy(
        [[0.0, 0.0]] * 2, [0, -1], weights=[0.0, 1.0], ignore_index=-1, reduction="sum"
    )
    assert loss.value == 0 and not loss.gradient.any()


# --- Label smoothing with class weights: ours and PyTorch's ------------------------------------------

CLASS_WEIGHTS = np.array([0.5, 2.0, 1.0, 4.0])


def pytorchs_smoothed_mean(logits, labels, class_weights, smoothing):
    """PyTorch weighs each class's term of the smoothed sum (aten/src/ATen/native/LossNLL.cpp)."""
    minus_log_p = -scipy.special.log_softmax(logits, axis=1)
    own = class_weights[labels] * minus_log_p[np.arange(len(labels)), labels]
    spread = (class_weights * minus_log_p).sum(axis=1)
    return ((1 - smoothing) * own + smoothing / logits.shape[1] * spread).sum() / class_weights[
        labels
    ].sum()


def our_smoothed_mean(logits, labels, class_weights, smoothing):
    """Each example's smoothed loss, weighed by its label's weight."""
    targets = (1 - smoothing) * np.eye(logits.shape[1])[labels] + smoothing / logits.shape[1]
    return losses.soft_cross_entropy(logits, targets, weights=class_weights[labels]).value


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("class_weights", [np.ones(K), np.full(K, 3.0), CLASS_WEIGHTS], ids=str)
def test_smoothing_with_class_weights_is_ours_and_where_it_is_pytorchs(smoothing, class_weights):
    ours = softmax_cross_entropy(
        LOGITS, LABELS, weights=class_weights[LABELS], label_smoothing=smoothing
    ).value
    assert ours == pytest.approx(
        our_smoothed_mean(LOGITS, LABELS, class_weights, smoothing), rel=1e-13
    )
    theirs = pytorchs_smoothed_mean(LOGITS, LABELS, class_weights, smoothing)
    if smoothing == 0 or len(set(class_weights)) == 1:
        assert ours == pytest.approx(theirs, rel=1e-13)
    else:
        assert abs(ours - theirs) > 0.01


# --- Sums and means that overflow only on their way --------------------------------------------------


def test_the_mean_of_many_short_floats_is_that_of_long_ones():
    # 40,000 losses of about 2.7 sum to more than 65,504, the largest number of float16.
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40_000, 10)).astype(np.float16), rng.integers(0, 10, 40_000)
    value, gradient = softmax_cross_entropy(logits, labels)
    exact = softmax_cross_entropy(logits.astype(np.float64), labels)
    assert value == exact.value == pytest.approx(2.73, abs=0.02)
    assert gradient.dtype == np.float16 and np.array_equal(
        gradient, exact.gradient.astype(np.float16)
    )
    assert softmax_cross_entropy(logits, labels, reduction="sum").value == pytest.approx(
        40_000 * value
    )


def test_the_mean_over_more_short_floats_than_their_type_can_count():
    twos = np.full((300, 300), 2, np.float16)
    value, gradient = squared_error(twos, np.zeros_like(twos))
    assert value == 4 and gradient[0, 0] == np.float16(4 / 90_000) > 0
    assert squared_error(twos, 0 * twos, reduction="sum").value == 360_000
    assert squared_error(twos, 0 * twos, weights=np.full((300, 300), 5e4)).value == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_of_short_floats_is_made_in_long_ones(dtype):
    # In float32 the ones would be lost beside 2 ** 24.
    x = np.array([2.0**24] + [1.0] * 7, dtype)
    assert losses.absolute_error(x, 0 * x, reduction="sum").value == 2.0**24 + 7
    assert losses.absolute_error(x, 0 * x, weights=np.ones(8)).value == (2.0**24 + 7) / 8
    # Nor are weights lost from their total.
    assert losses.absolute_error(np.ones_like(x), 0 * x, weights=x).value == 1


@pytest.mark.parametrize(
    "weights", [None, np.ones(10), np.full(10, 1e308), np.full(10, 1e-320), np.arange(10.0)]
)
@pytest.mark.parametrize("largest", [1.7e308, np.finfo(np.float64).max])
def test_a_mean_is_finite_where_its_sum_is_not(weights, largest):
    x = np.full(10, largest)
    value, gradient = losses.absolute_error(x, 0 * x, weights=weights)
    assert value == pytest.approx(largest, rel=1e-15)
    assert gradient.sum() == pytest.approx(1, rel=1e-13)
    assert losses.absolute_error(x, 0 * x, weights=weights, reduction="sum").value in (
        INF,
        pytest.approx(1.7e-11),
    )


@pytest.mark.parametrize("count", [3, 7])
def test_a_mean_of_the_largest_numbers_is_in_its_place_between_them(count):
    # Divided by 3 and added up it is infinite; divided by 7 it comes out too small.
    largest = np.finfo(np.float64).max
    x = np.full(count, largest)
    assert losses.absolute_error(x, 0 * x).value == largest
    x = np.array([largest, 0, largest, largest])
    assert losses.absolute_error(x, 0 * x).value == pytest.approx(0.75 * largest, rel=1e-15)


def test_weights_of_any_size_give_the_same_mean():
    plain = squared_error(NUMBERS, TARGETS, weights=weights_of("weights", NUMBERS.shape))
    for power in (-1000, 1000):
        scaled = squared_error(
            NUMBERS, TARGETS, weights=weights_of("weights", NUMBERS.shape) * 2.0**power
        )
        assert scaled.value == plain.value and np.array_equal(scaled.gradient, plain.gradient)


def test_an_infinite_result_comes_without_a_warning_in_every_type():
    big = np.array([6e4, 0.0], np.float16)
    assert squared_error(big, -big, reduction="none").value.tolist() == [INF, 0]
    assert squared_error(big, -big).value == 2 * float(big[0]) ** 2
    big = np.array([3e38, 0.0], np.float32)
    assert squared_error(big, -big).value == INF
    assert losses.absolute_error(big, -big, reduction="none").gradient.tolist() == [1, 0]


def test_what_a_type_cannot_hold_is_refused():
    for call in (
        lambda: squared_error(np.ones(2, "f4"), [0.0, 1e300]),
        lambda: losses.gaussian_nll(np.ones((2, 2), "f4"), [0.0, 1e300]),
    ):
        with pytest.raises(
            ValueError, match=r"targets must fit float32, received 1e\+300 at index \(1,\)"
        ):
            call()
    with pytest.raises(
        ValueError, match=r"weights must fit float32, received 1e\+300 at index \(0,\)"
    ):
        squared_error(np.ones(2, "f4"), np.ones(2, "f4"), weights=[1e300, 1])
    with pytest.raises(ValueError, match="weights must fit float32, received 1e"):
        softmax_cross_entropy(np.ones((2, 3), "f4"), [0, 1], weights=[1e300, 1])
    with pytest.raises(ValueError, match="weights must not all be zero"):
        squared_error(np.ones(1, "f4"), np.ones(1, "f4"), weights=[1e-300])
    # float16 is computed in float64, which holds them.
    assert squared_error(np.zeros(2, "f2"), [0, 100_000]).value == 5e9


def test_smoothing_and_z_loss_overflow_only_where_the_result_does():
    large = np.full((1, 10), 1e308)
    # log 10, less the tenth of it that is lost beside 1e308.
    assert softmax_cross_entropy(large, [0], label_smoothing=0.1).value == pytest.approx(
        0.9 * np.log(10), rel=1e-12
    )
    rows = np.stack([large[0], np.arange(10.0)])
    both = softmax_cross_entropy(rows, [0, 3], label_smoothing=0.1, reduction="none").value
    alone = softmax_cross_entropy(rows[1:], [3], label_smoothing=0.1, reduction="none").value
    np.testing.assert_allclose(both, [0.9 * np.log(10), alone[0]], rtol=1e-12)
    high = softmax_cross_entropy(np.array([[1e20]], "f4"), [0], z_loss=1e-4, reduction="none")
    assert high.value[0] == pytest.approx(1e36, rel=1e-6)
    # 1 + 2 * 0.5 * -1 = 0 stands in a denominator; the gradient is p - q + 2 zeta p log p.
    assert softmax_cross_entropy([[-1.0]], [0], z_loss=0.5) == (0.5, [[-1.0]])


@pytest.mark.parametrize("label", [2**64 - 1, 2**63, 256])
def test_a_huge_unsigned_label_is_out_of_range(label):
    with pytest.raises(ValueError, match=f"labels must be 0 to 1, received {label} at index"):
        softmax_cross_entropy([[0.0, 0.0]], np.array([label], "u8"))


# --- Rows and a matrix ---------------------------------------------------------------------------


def of_all_logits(rows, matrix, labels, **options):
    """The same value and gradients, by way of all logits at once."""
    value, slope = softmax_cross_entropy(rows @ matrix.T, labels, **options)
    flat = slope.reshape(-1, len(matrix))
    return value, slope @ matrix, flat.T @ rows.reshape(-1, matrix.shape[1])


LINEAR_OPTIONS = [
    {},
    {"reduction": "sum"},
    {"label_smoothing": 0.1, "z_loss": 0.01},
    {"ignore_index": [3, -1]},
    {"ignore_index": 3, "reduction": "sum"},
    {"weights": True, "ignore_index": 2},
    {"weights": True, "reduction": "sum"},
]


@pytest.mark.parametrize("options", LINEAR_OPTIONS, ids=str)
@pytest.mark.parametrize("chunk", [1, 4, 13, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loss_of_rows_and_a_matrix_is_that_of_their_logits(options, chunk, dtype):
    rng = np.random.default_rng(0)
    rows, matrix = rng.normal(size=(5, 8, 6)).astype(dtype), rng.normal(size=(7, 6)).astype(dtype)
    labels = rng.integers(0, 7, (5, 8))
    if options.get("weights"):
        options = options | {"weights": rng.integers(0, 3, (5, 8)) * 0.7}
    found = losses.linear_cross_entropy(rows, matrix, labels, chunk=chunk, **options)
    expected = of_all_logits(rows, matrix, labels, **options)
    eps = float(np.finfo(dtype).eps)
    assert found.value == pytest.approx(expected[0], rel=4 * eps)
    for mine, right in zip(found[1:], expected[1:]):
        assert mine.dtype == dtype and mine.shape == right.shape
        np.testing.assert_allclose(mine, right, rtol=0, atol=8 * eps * np.abs(right).max())


def test_in_one_chunk_the_value_is_that_of_the_logits_to_the_last_bit():
    rng = np.random.default_rng(0)
    rows, matrix = rng.normal(size=(50, 6)), rng.normal(size=(7, 6))
    labels = rng.integers(0, 7, 50)
    for options in ({}, {"reduction": "sum"}, {"weights": rng.random(50)}):
        value = of_all_logits(rows, matrix, labels, **options)[0]
        assert losses.linear_cross_entropy(rows, matrix, labels, **options).value == value


@pytest.mark.parametrize("options", LINEAR_OPTIONS, ids=str)
def test_the_gradients_of_rows_and_matrix_agree_with_central_differences(options):
    rng = np.random.default_rng(1)
    rows, matrix, labels = rng.normal(size=(6, 3)), rng.normal(size=(4, 3)), LABELS
    if options.get("weights"):
        options = options | {"weights": WEIGHTS}
    loss = functools.partial(losses.linear_cross_entropy, labels=labels, chunk=4, **options)
    _, gradient, matrix_gradient = loss(rows, matrix)
    np.testing.assert_allclose(
        gradient, central_differences(lambda x: loss(x, matrix).value, rows), atol=1e-8
    )
    np.testing.assert_allclose(
        matrix_gradient, central_differences(lambda U: loss(rows, U).value, matrix), atol=1e-8
    )


def test_the_gradients_of_a_decoders_last_layer_are_those_of_its_backward_pass():
    rng = np.random.default_rng(0)
    model = Decoder(7, 6, 8, 2, 1, np.float64, tied=False)
    params, tokens, labels = model.init(rng), rng.integers(0, 7, (3, 5)), rng.integers(0, 7, (3, 5))
    logits, cache = model.forward(params, tokens)
    value, slope = softmax_cross_entropy(logits, labels)
    rows = cache[3]
    found = losses.linear_cross_entropy(rows, params["U"], labels.ravel(), chunk=4)
    assert found.value == pytest.approx(value, rel=1e-14)
    expected = model.backward(params, cache, slope)["U"]
    np.testing.assert_allclose(found.matrix_gradient, expected, rtol=1e-12, atol=1e-16)


def peak_of(call):
    """The most memory that a call held at one time, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_logits_are_never_held_all_at_once():
    rng = np.random.default_rng(0)
    n, classes, width, chunk = 2048, 4096, 16, 64
    rows, matrix = (
        rng.normal(size=shape).astype(np.float32) for shape in ((n, width), (classes, width))
    )
    labels = rng.integers(0, classes, n)
    all_logits = 4 * n * classes
    direct = peak_of(lambda: of_all_logits(rows, matrix, labels))
    ours = peak_of(lambda: losses.linear_cross_entropy(rows, matrix, labels, chunk=chunk))
    # The logits of a chunk and their gradient, the gradients of rows and matrix, and what a product
    # needs on its way; 34 MB of logits and as much for their gradient in the other.
    assert direct > 2 * all_logits and ours < all_logits / 8 and ours < direct / 20
    assert ours > 2 * 4 * chunk * classes


def test_rows_that_do_not_count_cost_nothing_and_change_nothing():
    rng = np.random.default_rng(0)
    rows, matrix, labels = rng.normal(size=(6, 3)), rng.normal(size=(4, 3)), LABELS
    some = losses.linear_cross_entropy(rows, matrix, labels, weights=WEIGHTS, ignore_index=3)
    counts = (WEIGHTS > 0) & (labels != 3)
    alone = losses.linear_cross_entropy(
        rows[counts], matrix, labels[counts], weights=WEIGHTS[counts]
    )
    assert some.value == alone.value
    np.testing.assert_array_equal(some.gradient[counts], alone.gradient)
    np.testing.assert_array_equal(some.matrix_gradient, alone.matrix_gradient)
    assert not some.gradient[~counts].any()
    nothing = losses.linear_cross_entropy(
        rows, matrix, np.full(6, -1), ignore_index=-1, reduction="sum"
    )
    assert nothing.value == 0 and not nothing.gradient.any() and not nothing.matrix_gradient.any()


def test_a_mean_over_rows_is_finite_where_its_sum_is_not():
    # Each loss is the difference of its logits, 1e308 and 0.
    found = losses.linear_cross_entropy([[1e308], [1e308]], [[1.0], [0.0]], [1, 1])
    assert found.value == 1e308 and found.gradient.tolist() == [[0.5], [0.5]]


def test_one_row_without_an_axis_of_examples_has_a_loss():
    found = losses.linear_cross_entropy([1.0, 2.0], [[0.0, 0.0], [0.0, 0.0]], 1)
    assert found.value == pytest.approx(math.log(2)) and type(found.value) is float
    assert found.gradient.tolist() == [0, 0]
    assert found.matrix_gradient.tolist() == [[0.5, 1.0], [-0.5, -1.0]]
    assert repr(losses.LinearLoss(1.0, 2, 3)) == (
        "LinearLoss(value=1.0, gradient=2, matrix_gradient=3)"
    )


ONES = np.ones((4, 2))


@pytest.mark.parametrize(
    "change, error, message",
    [
        (
            {"matrix": np.ones((3, 4))},
            ValueError,
            "rows of shape (..., D) need a matrix of shape (K, D), received (4, 2) and (3, 4)",
        ),
        (
            {"matrix": np.ones((1, 3, 2))},
            ValueError,
            "rows of shape (..., D) need a matrix of shape (K, D), received (4, 2) and (1, 3, 2)",
        ),
        (
            {"rows": 1.0},
            ValueError,
            "rows of shape (..., D) need a matrix of shape (K, D), received () and (3, 2)",
        ),
        ({"rows": ONES[:0]}, ValueError, "rows must not be empty, received shape (0, 2)"),
        ({"rows": NAN * ONES}, ValueError, "rows must be finite, received nan at index (0, 0)"),
        (
            {"matrix": [[1.0, INF]]},
            ValueError,
            "matrix must be finite, received inf at index (0, 1)",
        ),
        (
            {"labels": [0, 1]},
            ValueError,
            "labels have shape (2,), the logits ask for (4,); losses do not broadcast",
        ),
        ({"labels": [0, 1, 3, 0]}, ValueError, "labels must be 0 to 2, received 3 at index (2,)"),
        ({"labels": np.ones(4)}, TypeError, "labels must be whole numbers, received dtype float64"),
        ({"chunk": 0}, ValueError, "chunk must be at least 1, received 0"),
        ({"chunk": 2.0}, TypeError, "chunk must be a whole number, received 2.0"),
        (
            {"reduction": "none"},
            ValueError,
            "reduction must be one of 'mean', 'sum', received 'none'",
        ),
        (
            {"weights": np.ones(3)},
            ValueError,
            "weights have shape (3,), the losses (4,); losses do not broadcast",
        ),
        (
            {"weights": np.zeros(4)},
            ValueError,
            "weights must not all be zero: a weighted mean would divide by zero",
        ),
        (
            {"ignore_index": 0},
            ValueError,
            "all 4 labels equal ignore_index=0: nothing is left to average",
        ),
        (
            {"labels": [0, 0, 1, 1], "ignore_index": 0, "weights": [1, 1, 0, 0]},
            ValueError,
            "weights must not all be zero: a weighted mean would divide by zero",
        ),
        ({"matrix": [["a", "b"]]}, TypeError, "matrix must be real numbers, received dtype <U1"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing must be below 1, received 1.0"),
        (
            {"rows": np.array([[1, 1], [1, 1], [1, 1], [-3e38, 1]], np.float32)},
            ValueError,
            "logits must be finite, received -inf at index (3,)",
        ),
        (
            {"rows": np.float32(ONES), "matrix": [[1e300, 0.0]]},
            ValueError,
            "matrix must fit float32, received 1e+300 at index (0, 0)",
        ),
        (
            {"rows": np.float32(ONES), "weights": [1.0, 1.0, 1e300, 1.0]},
            ValueError,
            "weights must fit float32, received 1e+300 at index (2,)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rows_and_a_matrix_that_do_not_fit_are_refused_and_named(change, error, message):
    call = {"rows": ONES, "matrix": 9 * np.ones((3, 2)), "labels": [0, 0, 0, 0], "chunk": 2}
    with pytest.raises(error) as caught:
        losses.linear_cross_entropy(**call | change)
    assert str(caught.value) == message


# --- Refusals ------------------------------------------------------------------------------------

REFUSALS = [
    (
        lambda: squared_error(np.ones((4, 1)), np.ones(4)),
        ValueError,
        "predictions have shape (4, 1), targets (4,)",
    ),
    (
        lambda: squared_error(np.ones(4), np.ones((4, 1))),
        ValueError,
        "predictions have shape (4,), targets (4, 1)",
    ),
    (
        lambda: squared_error([1.0, NAN], [0.0, 0.0]),
        ValueError,
        "predictions must be finite, received nan at index (1,)",
    ),
    (
        lambda: squared_error([1.0, 2.0], [INF, 0.0]),
        ValueError,
        "targets must be finite, received inf at index (0,)",
    ),
    (
        lambda: squared_error([], []),
        ValueError,
        "predictions must not be empty, received shape (0,)",
    ),
    (
        lambda: squared_error([1.0], []),
        ValueError,
        "targets must not be empty, received shape (0,)",
    ),
    (
        lambda: squared_error(["1"], [1.0]),
        TypeError,
        "predictions must be real numbers, received dtype <U1",
    ),
    (
        lambda: squared_error([1.0], [1.0], reduction="avg"),
        ValueError,
        "reduction must be one of 'mean', 'sum', 'none', received 'avg'",
    ),
    (
        lambda: squared_error([1.0, 1.0], [1.0, 1.0], weights=[1.0]),
        ValueError,
        "weights have shape (1,), the losses (2,)",
    ),
    (
        lambda: squared_error([1.0], [1.0], weights=[-1.0]),
        ValueError,
        "weights must not be negative, received -1.0 at index (0,)",
    ),
    (
        lambda: squared_error([1.0], [1.0], weights=[0.0]),
        ValueError,
        "weights must not all be zero",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [2]),
        ValueError,
        "labels must be 0 to 1, received 2 at index (0,)",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [-1]),
        ValueError,
        "labels must be 0 to 1, received -1 at index (0,)",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [[0]]),
        ValueError,
        "labels have shape (1, 1), the logits ask for (1,)",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [0, 1]),
        ValueError,
        "labels have shape (2,), the logits ask for (1,)",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [0.0]),
        TypeError,
        "labels must be whole numbers, received dtype float64",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0], [NAN, 0.0]], [0, 0]),
        ValueError,
        "logits need a finite maximum in each row, received [nan  0.] at index (1,)",
    ),
    (
        lambda: softmax_cross_entropy([[INF, 0.0]], [0]),
        ValueError,
        "received [inf  0.] at index (0,)",
    ),
    (
        lambda: softmax_cross_entropy([[-INF, -INF]], [0]),
        ValueError,
        "received [-inf -inf] at index (0,)",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 1.0], [0.0, NAN]], [0, 0]),
        ValueError,
        "received [ 0. nan] at index (1,)",
    ),
    (
        lambda: softmax_cross_entropy(np.ones((0, 3)), np.ones(0, int)),
        ValueError,
        "logits must not be empty, received shape (0, 3)",
    ),
    (
        lambda: softmax_cross_entropy(np.ones((3, 0)), np.ones(3, int)),
        ValueError,
        "logits must not be empty, received shape (3, 0)",
    ),
    (
        lambda: softmax_cross_entropy(1.0, 0),
        ValueError,
        "logits need an axis of classes, received shape ()",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]] * 2, [-1, -1], ignore_index=-1),
        ValueError,
        "all 2 labels equal ignore_index=-1",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [0], label_smoothing=1.0),
        ValueError,
        "label_smoothing must be below 1, received 1.0",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [0], label_smoothing=-0.1),
        ValueError,
        "label_smoothing must be at least 0, received -0.1",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [0], z_loss=-1),
        ValueError,
        "z_loss must be at least 0, received -1",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [0], z_loss=NAN),
        ValueError,
        "z_loss must be finite, received nan",
    ),
    (lambda: softmax_cross_entropy([[0.0, 0.0]], [0], reduction=None), ValueError, "received None"),
    (
        lambda: softmax_cross_entropy(
            [[0.0, 0.0]] * 2, [0, -1], weights=[0.0, 1.0], ignore_index=-1
        ),
        ValueError,
        "weights must not all be zero",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [0], ignore_index=1.5),
        TypeError,
        "ignore_index must be a whole number, received 1.5",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [0], ignore_index=True),
        TypeError,
        "ignore_index must be a whole number, received True",
    ),
    (
        lambda: softmax_cross_entropy([[0.0, 0.0]], [0], ignore_index=[-1, "2"]),
        TypeError,
        "ignore_index must be a whole number, received '2'",
    ),
    (lambda: losses.huber([1.0], [1.0], delta=0), ValueError, "delta must be above 0, received 0"),
    (
        lambda: losses.huber([1.0], [1.0], delta=NAN),
        ValueError,
        "delta must be finite, received nan",
    ),
    (
        lambda: losses.quantile([1.0], [1.0], level=1),
        ValueError,
        "level must be below 1, received 1",
    ),
    (
        lambda: losses.quantile([1.0], [1.0], level=0),
        ValueError,
        "level must be above 0, received 0",
    ),
    (
        lambda: losses.gaussian_nll(np.ones((3, 2)), np.ones((3, 1))),
        ValueError,
        "predictions have shape (3, 2), targets (3, 1)",
    ),
    (
        lambda: losses.gaussian_nll(np.ones(3), np.ones(3)),
        ValueError,
        "ask for (3, 2); losses do not broadcast",
    ),
    (
        lambda: losses.gaussian_nll([[0.0, NAN]], [0.0]),
        ValueError,
        "predictions must be finite, received nan at index (0, 1)",
    ),
    (
        lambda: losses.gaussian_nll([[0.0, 1.0]], [INF]),
        ValueError,
        "targets must be finite, received inf at index (0,)",
    ),
    (
        lambda: losses.binary_cross_entropy([0.0], [2.0]),
        ValueError,
        "targets must lie between 0 and 1, received 2.0 at index (0,)",
    ),
    (
        lambda: losses.binary_cross_entropy([0.0], [-0.5]),
        ValueError,
        "targets must lie between 0 and 1, received -0.5",
    ),
    (
        lambda: losses.binary_cross_entropy([INF], [1.0]),
        ValueError,
        "logits must be finite, received inf at index (0,)",
    ),
    (
        lambda: losses.binary_cross_entropy([[0.0]], [1.0]),
        ValueError,
        "logits have shape (1, 1), targets (1,)",
    ),
    (
        lambda: losses.focal([0.0], [0.5]),
        ValueError,
        "labels must be 0 or 1, received 0.5 at index (0,)",
    ),
    (
        lambda: losses.focal([0.0], [1], gamma=-1),
        ValueError,
        "gamma must be at least 0, received -1",
    ),
    (lambda: losses.focal([0.0], [1], alpha=2), ValueError, "alpha must be at most 1, received 2"),
    (
        lambda: losses.focal([0.0], [1], alpha=-0.5),
        ValueError,
        "alpha must be at least 0, received -0.5",
    ),
    (lambda: losses.focal([0.0], [[1]]), ValueError, "logits have shape (1,), labels (1, 1)"),
    (
        lambda: losses.hinge([0.0], [0]),
        ValueError,
        "targets must be -1 or 1, received 0.0 at index (0,)",
    ),
    (lambda: losses.hinge([0.0], [[1]]), ValueError, "scores have shape (1,), targets (1, 1)"),
    (
        lambda: losses.soft_cross_entropy([[0.0, 0.0]], [[0.5, 0.4]]),
        ValueError,
        "targets must sum to 1 in each row, received the sum 0.9 at index (0,)",
    ),
    (
        lambda: losses.soft_cross_entropy([[0.0, 0.0]], [[1.5, -0.5]]),
        ValueError,
        "targets must lie between 0 and 1, received 1.5 at index (0, 0)",
    ),
    (
        lambda: losses.soft_cross_entropy([[0.0, 0.0]], [[NAN, 1.0]]),
        ValueError,
        "targets must lie between 0 and 1, received nan",
    ),
    (
        lambda: losses.soft_cross_entropy([[0.0, 0.0]], [1.0]),
        ValueError,
        "logits have shape (1, 2), targets (1,)",
    ),
    (
        lambda: losses.soft_cross_entropy([[0.0, NAN]], [[1, 0]]),
        ValueError,
        "logits need a finite maximum in each row, received [ 0. nan] at index (0,)",
    ),
    (
        lambda: losses.soft_cross_entropy(0.0, [1]),
        ValueError,
        "logits need an axis of classes, received shape ()",
    ),
    (
        lambda: losses.soft_cross_entropy([0.0], 1),
        ValueError,
        "targets need an axis of classes, received shape ()",
    ),
    (
        lambda: losses.cross_entropy([[0.5, 0.4]], [[1, 0]]),
        ValueError,
        "predicted must sum to 1 in each row, received the sum 0.9",
    ),
    (
        lambda: losses.cross_entropy([[0.5, 0.5]], [[1, 1]]),
        ValueError,
        "target must sum to 1 in each row, received the sum 2.0",
    ),
    (
        lambda: losses.cross_entropy([[0.5, 0.5]], [1.0]),
        ValueError,
        "predicted have shape (1, 2), target (1,)",
    ),
    (
        lambda: losses.log_loss([1.5], [1]),
        ValueError,
        "predicted must lie between 0 and 1, received 1.5 at index (0,)",
    ),
    (
        lambda: losses.log_loss([0.5], [-1]),
        ValueError,
        "target must lie between 0 and 1, received -1.0 at index (0,)",
    ),
    (lambda: losses.log_loss([[0.5]], [1]), ValueError, "predicted have shape (1, 1), target (1,)"),
    (
        lambda: losses.kl_divergence([[0.0, 0.0]], [[1, 1]]),
        ValueError,
        "targets must sum to 1 in each row, received the sum 2.0",
    ),
    (
        lambda: losses.kl_divergence([[0.0, 0.0]], [[1.0]]),
        ValueError,
        "logits have shape (1, 2), targets (1, 1)",
    ),
    (
        lambda: losses.distillation([[0.0, 0.0]], [[INF, 0.0]], temperature=1),
        ValueError,
        "teacher need a finite maximum",
    ),
    (
        lambda: losses.distillation([[0.0, NAN]], [[0.0, 0.0]], temperature=1),
        ValueError,
        "student need a finite maximum",
    ),
    (
        lambda: losses.distillation([[0.0, 0.0]], [[0.0]], temperature=1),
        ValueError,
        "student have shape (1, 2), teacher (1, 1)",
    ),
    (
        lambda: losses.distillation([[0.0]], [[0.0]], temperature=0),
        ValueError,
        "temperature must be above 0, received 0",
    ),
    (
        lambda: losses.info_nce([[0.0], [0.0]], temperature=1),
        ValueError,
        "similarities need a column for each row at least, received shape (2, 1)",
    ),
    (
        lambda: losses.info_nce([0.0, 0.0], temperature=1),
        ValueError,
        "similarities need a column for each row at least, received shape (2,)",
    ),
    (
        lambda: losses.info_nce([[NAN]], temperature=1),
        ValueError,
        "similarities need a finite maximum",
    ),
    (
        lambda: losses.info_nce([[0.0]], temperature=-1),
        ValueError,
        "temperature must be above 0, received -1",
    ),
    (
        lambda: losses.triplet([1.0], [-1.0]),
        ValueError,
        "negative must be at least 0, received -1.0 at index (0,)",
    ),
    (
        lambda: losses.triplet([-1.0], [1.0]),
        ValueError,
        "positive must be at least 0, received -1.0 at index (0,)",
    ),
    (
        lambda: losses.triplet([1.0], [[1.0]]),
        ValueError,
        "positive have shape (1,), negative (1, 1)",
    ),
    (
        lambda: losses.triplet([1.0], [1.0], margin=-1),
        ValueError,
        "margin must be at least 0, received -1",
    ),
    (
        lambda: losses.preference([1.0], [[1.0]]),
        ValueError,
        "chosen have shape (1,), rejected (1, 1)",
    ),
    (
        lambda: losses.preference([1.0], [NAN]),
        ValueError,
        "rejected must be finite, received nan at index (0,)",
    ),
    (
        lambda: losses.preference([1.0], [1.0], beta=0),
        ValueError,
        "beta must be above 0, received 0",
    ),
]


@pytest.mark.parametrize("call, error, message", REFUSALS, ids=[row[2] for row in REFUSALS])
def test_wrong_input_is_refused_and_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


@every_case
@pytest.mark.parametrize(
    "options, message",
    [
        ({"reduction": "avg"}, "reduction must be one of"),
        ({"weights": [1.0]}, "weights have shape (1,)"),
    ],
)
def test_every_loss_checks_the_common_options(case, options, message):
    loss = CASES[case]
    with pytest.raises(ValueError) as caught:
        loss(loss.x, **options)
    assert message in str(caught.value)


def test_every_public_loss_is_under_these_tests():
    functions = {
        name
        for name in losses.__all__
        if callable(getattr(losses, name)) and not name.endswith("Loss")
    }
    # The one of rows and a matrix has two gradients, and tests of its own.
    of_one = {case.loss.__name__ for case in CASES.values()}
    assert functions == of_one | {"linear_cross_entropy"}


# --- What mutations of the code showed to be missing ---------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        losses.squared_error,
        losses.absolute_error,
        losses.huber,
        losses.log_cosh,
        functools.partial(losses.quantile, level=0.3),
    ],
)
def test_only_the_difference_from_the_target_counts(loss):
    # Powers of two, so that the differences are exact.
    shifted, plain = (
        loss([3.5, -2.0, 7.25], [1.5, 2.0, 7.0]),
        loss([2.0, -4.0, 0.25], [0.0, 0.0, 0.0]),
    )
    assert shifted.value == plain.value
    np.testing.assert_array_equal(shifted.gradient, plain.gradient)


def test_triplet_and_preference_by_hand():
    value, gradient = losses.triplet([1.0, 1.0, 4.0], [3.0, 1.5, 1.0], reduction="none")
    assert value.tolist() == [0.0, 0.5, 4.0] and gradient.tolist() == [0.0, 1.0, 1.0]
    assert losses.triplet([2.0], [1.0], margin=0.25).value == 1.25
    value, gradient = losses.preference([np.log(3.0)], [0.0])
    assert value == pytest.approx(np.log(4 / 3), rel=1e-15) and gradient[0] == pytest.approx(
        -0.25, rel=1e-15
    )


@pytest.mark.parametrize("loss", [losses.soft_cross_entropy, losses.kl_divergence])
def test_targets_that_sum_almost_to_one_are_taken_as_they_are(loss):
    targets = SHARES * (1 + np.linspace(-9e-4, 9e-4, N)[:, None])
    slope = central_differences(lambda z: loss(z, targets, reduction="sum").value, LOGITS)
    np.testing.assert_allclose(loss(LOGITS, targets, reduction="sum").gradient, slope, atol=1e-8)


def test_rows_far_apart_do_not_share_their_maximum():
    logits, targets = np.array([[0.0, 1.0], [4000.0, 4001.0]]), np.array([[0.5, 0.5], [0.5, 0.5]])
    for loss in (
        losses.soft_cross_entropy,
        losses.kl_divergence,
        functools.partial(losses.distillation, temperature=2.0),
    ):
        value, gradient = loss(logits, targets, reduction="none")
        assert value[0] == value[1] > 0 and gradient[0].tolist() == gradient[1].tolist()
    value, _ = losses.info_nce(
        np.array([[0.0, 1.0], [4001.0, 4000.0]]), temperature=0.01, reduction="none"
    )
    assert value.tolist() == [100.0, 100.0]


def test_a_perfect_answer_costs_zero_not_minus_zero():
    for value, gradient in (
        losses.cross_entropy([[1.0, 0.0]], [[1, 0]], reduction="none"),
        losses.log_loss([1.0], [1.0], reduction="none"),
        losses.focal([1e4], [1], reduction="none"),
    ):
        assert not np.signbit(value).any()
    assert not np.signbit(losses.cross_entropy([[0.5, 0.5]], [[1, 0]]).gradient[0, 1])
    assert not np.signbit(losses.focal([1e4], [0], gamma=2.0).gradient).any()
    assert not np.signbit(losses.focal([-1e4], [0], gamma=2.0).gradient).any()


def test_a_tiny_probability_of_what_did_not_happen_is_no_overflow():
    assert losses.log_loss([1e-320], [0.0]).gradient.tolist() == [1.0]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: losses.gaussian_nll([], []), "predictions must not be empty"),
        (lambda: losses.gaussian_nll([[1.0, 1.0]], []), "targets must not be empty"),
        (lambda: losses.kl_divergence([[NAN, 0.0]], [[1, 0]]), "logits need a finite maximum"),
        (
            lambda: losses.kl_divergence(np.ones((0, 2)), np.ones((0, 2))),
            "logits must not be empty",
        ),
        (
            lambda: losses.cross_entropy(np.ones((0, 2)), np.ones((0, 2))),
            "predicted must not be empty",
        ),
        (lambda: squared_error([1.0], [1.0], weights=[]), "weights must not be empty"),
        (
            lambda: squared_error([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], weights=[0.5, 0.0, -2.0]),
            "received -2.0 at index (2,)",
        ),
        (lambda: losses.info_nce(np.zeros((2, 3, 2)), temperature=1), "received shape (2, 3, 2)"),
    ],
)
def test_more_wrong_input_is_named(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value)


def test_similarities_may_have_leading_axes():
    value, _ = losses.info_nce(np.zeros((2, 2, 3)), temperature=1, reduction="none")
    assert value == pytest.approx(np.full((2, 2), np.log(3)))


def test_a_run_is_lost_by_its_predictions_or_by_its_losses():
    predictions = np.array([[np.nan, 0.0], [1.0, 1.0], [2.0, 2.0]])  # three runs of two examples

    def infinite_at_one(predictions, targets, reduction):
        return np.where(predictions == 1, np.inf, predictions), np.ones_like(predictions)

    told = []
    value, weight, gradient, lost = weighed_losses(
        infinite_at_one,
        predictions,
        None,
        None,
        1,
        lambda runs, what: told.append((list(runs), what)),
    )
    assert lost.tolist() == [True, True, False]
    assert told == [([True, False, False], "predictions"), ([False, True, False], "losses")]
    assert np.isnan(gradient[:2]).all() and gradient[2].tolist() == [1, 1]
    assert value[2] == 4 and weight == 2 and type(weight) is int
