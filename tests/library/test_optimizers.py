"""Updates worked out by hand, and against other ways of writing the same method."""

import itertools
import math
import re
import warnings

import mpmath
import numpy as np
import pytest

from trainlab.buffers import empty_like, pack
from trainlab.callbacks import Evaluation
from trainlab.losses import softmax_cross_entropy, squared_error
from trainlab.models import MLP, Linear
from trainlab.optimizers import (
    BIASES,
    NEWTON_SCHULZ,
    NO_DECAY,
    SGD,
    Adam,
    AdamW,
    Group,
    Muon,
    ScheduleFreeAdamW,
    clip_by_global_norm,
    orthogonalise,
)
from trainlab.schedules import Constant
from trainlab.trainer import Trainer
from trainlab.transformer import Decoder


def walk(optimizer, start, gradient_of, rates):
    """The parameter after each update, starting with `start`."""
    params = {"w": np.array(start, np.float64)}
    state = optimizer.init(params)
    path = [params["w"].copy()]
    for rate in rates:
        optimizer.update(params, {"w": gradient_of(params["w"])}, state, rate)
        path.append(params["w"].copy())
    return np.array(path)


def copies(arrays):
    return {name: value.copy() for name, value in arrays.items()}


# Gradients 1, 2, 4 one after the other, start 8, rate 1/2 (momentum 1/2, decay 1/4 where there are
# any).
TABLES = {
    "plain": (SGD(), [8, 7.5, 6.5, 4.5]),
    # v = 1, 2.5, 5.25
    "momentum": (SGD(0.5), [8, 7.5, 6.25, 3.625]),
    # steps g + v / 2 = 1.5, 3.25, 6.625
    "nesterov": (SGD(0.5, nesterov=True), [8, 7.25, 5.625, 2.3125]),
    # g + w / 4 = 3, 3.625, 5.171875
    "weight decay": (SGD(weight_decay=0.25), [8, 6.5, 4.6875, 2.1015625]),
    # g + w / 4 = 3, 3.625, 4.984375 and v = 3, 1.5 + 3.625, 2.5625 + 4.984375
    "momentum and weight decay": (SGD(0.5, weight_decay=0.25), [8, 6.5, 3.9375, 0.1640625]),
}


@pytest.mark.parametrize("name", TABLES)
def test_three_updates_by_hand(name):
    optimizer, expected = TABLES[name]
    gradients = iter([1.0, 2.0, 4.0])
    path = walk(optimizer, [8.0], lambda w: np.array([next(gradients)]), [0.5] * 3)
    assert path.ravel().tolist() == expected


def test_the_rate_of_each_update_multiplies_the_velocity_not_the_gradient():
    # v = 1, then 1.5: steps 1 * 1 and 0.5 * 1.5. Scaling the gradient first would give 1 and 0.5 +
    # 0.5.
    path = walk(SGD(0.5), [0.0], np.ones_like, [1.0, 0.5])
    assert path.ravel().tolist() == [0, -1, -1.75]


HESSIAN = np.array([[2.0, 0.3], [0.3, 0.5]])


def slope(w):
    return HESSIAN @ w


def test_momentum_is_polyaks_heavy_ball():
    # w[t+1] = w[t] - rate g(w[t]) + momentum (w[t] - w[t-1])
    rate, momentum = 0.2, 0.9
    expected = [np.array([1.0, -2.0])] * 2
    for _ in range(50):
        expected.append(
            expected[-1] - rate * slope(expected[-1]) + momentum * (expected[-1] - expected[-2])
        )
    np.testing.assert_allclose(
        walk(SGD(momentum), [1.0, -2.0], slope, [rate] * 50), expected[1:], rtol=0, atol=1e-13
    )


def test_nesterov_looks_ahead():
    # Sutskever: v = m v - rate g(w + m v); w = w + v. Ours walks the point w + m v that is looked
    # at.
    rate, momentum = 0.2, 0.9
    w, v, seen = np.array([1.0, -2.0]), np.zeros(2), [np.array([1.0, -2.0])]
    for _ in range(50):
        v = momentum * v - rate * slope(w + momentum * v)
        w = w + v
        seen.append(w + momentum * v)
    np.testing.assert_allclose(
        walk(SGD(momentum, nesterov=True), [1.0, -2.0], slope, [rate] * 50),
        seen,
        rtol=0,
        atol=1e-13,
    )


def test_gradient_descent_on_a_quadratic_is_a_matrix_power():
    start, rate = np.array([1.0, -2.0]), 0.2
    values, vectors = np.linalg.eigh(HESSIAN)
    expected = [vectors @ ((1 - rate * values) ** t * (vectors.T @ start)) for t in range(51)]
    np.testing.assert_allclose(walk(SGD(), start, slope, [rate] * 50), expected, rtol=0, atol=1e-14)


def test_weight_decay_is_the_gradient_of_half_the_squared_norm():
    decayed = walk(SGD(0.9, weight_decay=0.1), [1.0, -2.0], slope, [0.2] * 30)
    penalised = walk(SGD(0.9), [1.0, -2.0], lambda w: slope(w) + 0.1 * w, [0.2] * 30)
    np.testing.assert_allclose(decayed, penalised, rtol=0, atol=1e-14)


# --- Adam ----------------------------------------------------------------------------------------


def adam_as_printed(start, gradients, rates, beta1, beta2, epsilon, decay=0):
    """Algorithm 1 of Kingma and Ba, and the decay of Loshchilov and Hutter, in 50 digits, one number."""
    with mpmath.workdps(50):
        theta, m, v = mpmath.mpf(start), mpmath.mpf(0), mpmath.mpf(0)
        beta1, beta2, epsilon, decay = (
            mpmath.mpf(value) for value in (beta1, beta2, epsilon, decay)
        )
        path = [float(theta)]
        for t, (g, rate) in enumerate(zip(gradients, rates), start=1):
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
            m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
            theta = theta - mpmath.mpf(rate) * decay * theta
            theta -= mpmath.mpf(rate) * m_hat / (mpmath.sqrt(v_hat) + epsilon)
            path.append(float(theta))
    return path


@pytest.mark.parametrize(
    "optimizer, options",
    [
        (Adam(), (0.9, 0.999, 1e-8)),
        (Adam(0.5, 0.75, 0.125), (0.5, 0.75, 0.125)),
        (Adam(0.0, 0.0), (0.0, 0.0, 1e-8)),
        (AdamW(), (0.9, 0.999, 1e-8, 0.01)),
        (AdamW(0.5, 0.75, 0.125, weight_decay=0.5), (0.5, 0.75, 0.125, 0.5)),
    ],
    ids=str,
)
def test_adam_is_its_algorithm_as_printed(optimizer, options):
    gradients, rates = [1.0, -2.0, 0.25, 0.25, 100.0, 1e-6], [0.1, 0.2, 0.0, 0.4, 0.1, 0.1]
    left = iter(gradients)
    path = walk(optimizer, [3.0], lambda w: np.array([next(left)]), rates)
    np.testing.assert_allclose(
        path[:, 0], adam_as_printed(3.0, gradients, rates, *options), rtol=1e-13
    )


def test_adams_first_step_by_hand():
    # m / (1 - beta1) = g and v / (1 - beta2) = g^2, so the step is rate * g / (|g| + epsilon).
    path = walk(Adam(epsilon=1.0), [0.0, 0.0], lambda w: np.array([3.0, -1.0]), [0.5])
    np.testing.assert_allclose(path[1], [-0.375, 0.25], rtol=1e-14)


def test_adam_does_not_care_for_the_gradients_scale():
    small, large = (
        walk(Adam(epsilon=1e-300), [1.0], lambda w: scale * w, [0.1] * 5) for scale in (1e-6, 1e6)
    )
    np.testing.assert_allclose(small, large, rtol=1e-12)


def test_without_decay_adamw_is_adam_and_the_decay_is_not_l2():
    gradient_of = lambda w: HESSIAN @ w  # noqa: E731
    adam = walk(Adam(), [1.0, -2.0], gradient_of, [0.1] * 5)
    np.testing.assert_array_equal(
        walk(AdamW(weight_decay=0.0), [1.0, -2.0], gradient_of, [0.1] * 5), adam
    )
    decoupled = walk(AdamW(weight_decay=0.5), [1.0, -2.0], gradient_of, [0.1])
    np.testing.assert_allclose(decoupled[1], adam[1] - 0.1 * 0.5 * adam[0], rtol=1e-14)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Adam(beta1=1.0), "beta1 must be below 1, received 1.0"),
        (lambda: Adam(beta2=-0.1), "beta2 must be at least 0, received -0.1"),
        (lambda: Adam(epsilon=0), "epsilon must be above 0, received 0"),
        (lambda: AdamW(beta2=1.0), "beta2 must be below 1, received 1.0"),
        (lambda: AdamW(weight_decay=-1), "weight_decay must be at least 0, received -1"),
    ],
)
def test_adams_wrong_options_are_refused_and_named(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "kind, options",
    [
        (SGD, {"momentum": 0.5, "weight_decay": 0.25}),
        (Adam, {"beta1": 0.5, "beta2": 0.75, "epsilon": 0.125}),
        (AdamW, {"beta1": 0.5, "beta2": 0.75, "epsilon": 0.125, "weight_decay": 0.25}),
        (ScheduleFreeAdamW, {"beta1": 0.5, "weight_decay": 0.25}),
        (Muon, {"momentum": 0.5, "beta1": 0.75, "beta2": 0.25, "epsilon": 0.125, "steps": 3}),
    ],
)
def test_numbers_of_numpy_are_stored_as_pythons(kind, options):
    given = {name: np.asarray(value)[()] for name, value in options.items()}
    assert all(isinstance(value, np.generic) for value in given.values())
    assert repr(kind(**given)) == repr(kind(**options))


# --- All of them ---------------------------------------------------------------------------------

OPTIMIZERS = [
    SGD(),
    SGD(0.9),
    SGD(0.9, nesterov=True),
    SGD(0.9, weight_decay=0.1),
    SGD(weight_decay=0.1),
    Adam(),
    AdamW(0.5, 0.75, weight_decay=0.1),
]
MUONS = [
    Muon(matrices="W", weight_decay=0.1),
    Muon(0.5, nesterov=False, weight_decay=0.0, matrices="W", steps=3),
]
FREE = [ScheduleFreeAdamW(), ScheduleFreeAdamW(0.5, 0.75, weight_decay=0.1)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS + MUONS + FREE, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_rate_for_each_replica_is_each_replica_alone(optimizer, dtype):
    rng = np.random.default_rng(0)
    start = {
        "W": rng.normal(size=(3, 4, 2)).astype(dtype),
        "b": rng.normal(size=(3, 2)).astype(dtype),
    }
    gradients = [
        {name: rng.normal(size=value.shape).astype(dtype) for name, value in start.items()}
        for _ in range(4)
    ]
    rates = rng.random((4, 3))
    together = {name: value.copy() for name, value in start.items()}
    state = optimizer.init(together)
    for gradient, rate in zip(gradients, rates):
        optimizer.update(together, gradient, state, rate)
    for r in range(3):
        alone = {name: value[r].copy() for name, value in start.items()}
        state = optimizer.init(alone)
        for gradient, rate in zip(gradients, rates):
            optimizer.update(
                alone, {name: value[r] for name, value in gradient.items()}, state, float(rate[r])
            )
        for name in alone:
            assert together[name].dtype == dtype
            np.testing.assert_array_equal(together[name][r], alone[name])


def test_the_decay_of_adamw_rounds_alike_alone_and_among_replicas():
    # 1 - rate * decay in float32 would differ from its float64 value in 1 of 60 rates like these.
    optimizer, rates = AdamW(weight_decay=0.1), np.random.default_rng(0).random(1000) / 2
    together, still = {"w": np.ones((1000, 1), np.float32)}, np.zeros((1000, 1), np.float32)
    optimizer.update(together, {"w": still}, optimizer.init(together), rates)
    for r, rate in enumerate(rates):
        alone = {"w": np.ones(1, np.float32)}
        optimizer.update(alone, {"w": still[r]}, optimizer.init(alone), float(rate))
        assert alone["w"] == together["w"][r]


@pytest.mark.parametrize(
    "rate",
    [0.1, np.float64(0.1), np.float32(0.1), np.array(0.1)],
    ids=lambda rate: type(rate).__name__,
)
def test_the_type_of_the_rate_does_not_change_a_float32_update(rate):
    params, gradient = {"w": np.float32([1.7, -0.3])}, {"w": np.float32([0.9, 0.7])}
    SGD().update(params, gradient, {}, rate)
    assert (
        params["w"].tolist()
        == (np.float32([1.7, -0.3]) - np.float32(0.1) * np.float32([0.9, 0.7])).tolist()
    )


@pytest.mark.parametrize(
    "rates",
    [
        np.array([16, 20], np.int8),
        np.array([0, 1], np.uint8),
        np.array([0.1, 0.7], np.float32),
        np.array([0.1, 0.7], np.float16),
    ],
    ids=lambda rates: rates.dtype.name,
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS + MUONS + FREE, ids=repr)
def test_the_type_of_the_rates_of_replicas_does_not_change_an_update(optimizer, rates):
    rng = np.random.default_rng(0)
    start = {"W": rng.normal(size=(2, 4, 3)), "b": rng.normal(size=(2, 3))}
    gradients = {name: rng.normal(size=value.shape) for name, value in start.items()}
    found = []
    for each in (rates, rates.astype(np.float64)):
        params = copies(start)
        state = optimizer.init(params)
        for _ in range(2):
            optimizer.update(params, gradients, state, each)
        found.append(params | state)
    for name, value in found[0].items():
        np.testing.assert_array_equal(value, found[1][name])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_parameters_and_state_change_in_place_and_gradients_do_not_change(optimizer):
    params, gradient = {"w": np.array([1.0])}, {"w": np.array([2.0])}
    array, state = params["w"], optimizer.init(params)
    before = dict(state)
    optimizer.update(params, gradient, state, 0.1)
    optimizer.update(params, gradient, state, 0.1)
    assert params["w"] is array and array[0] < 1
    assert gradient["w"].tolist() == [2.0]
    assert state.keys() == before.keys()
    assert all(state[name] is before[name] and np.all(state[name] > 0) for name in state)
    assert bool(state) == (optimizer != SGD() and optimizer != SGD(weight_decay=0.1))


@pytest.mark.parametrize("optimizer", OPTIMIZERS + MUONS + FREE, ids=repr)
@pytest.mark.parametrize("rate", [0.1, np.array([0.1, 0.7])], ids=["alone", "replicas"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_update_into_other_arrays_is_the_update_in_place_and_leaves_the_old_values(
    optimizer, rate, dtype
):
    rng = np.random.default_rng(0)
    here = {
        "W": rng.normal(size=(2, 4, 3)).astype(dtype),
        "b": rng.normal(size=(2, 3)).astype(dtype),
    }
    there = copies(here)
    here_state, there_state = optimizer.init(here), optimizer.init(there)
    spare = (
        {name: np.full_like(value, 7) for name, value in here.items()},
        {name: np.full_like(value, 7) for name, value in here_state.items()},
    )
    for _ in range(4):
        gradients = {
            name: rng.normal(size=value.shape).astype(dtype) for name, value in here.items()
        }
        before = copies(there), copies(there_state)
        optimizer.update(here, gradients, here_state, rate)
        optimizer.update(there, gradients, there_state, rate, out=spare)
        for old, kept in zip(before, (there, there_state)):
            assert all(np.array_equal(old[name], kept[name]) for name in old)
        (there, there_state), spare = spare, (there, there_state)
        for expected, found in ((here, there), (here_state, there_state)):
            assert expected.keys() == found.keys()
            assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS + MUONS + FREE, ids=repr)
def test_an_update_into_views_of_the_parameters_is_the_update_in_place(optimizer):
    rng = np.random.default_rng(0)
    here = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
    gradients = {name: rng.normal(size=value.shape) for name, value in here.items()}
    seen = copies(here)
    views = {name: value[:] for name, value in seen.items()}
    optimizer.update(here, gradients, optimizer.init(here), 0.1)
    state = optimizer.init(seen)
    optimizer.update(seen, gradients, state, 0.1, out=(views, state))
    for name, value in here.items():
        np.testing.assert_array_equal(seen[name], value)


def test_two_states_are_independent_and_start_at_zero():
    optimizer, params = SGD(0.9), {"w": np.ones(2, np.float32)}
    first, second = optimizer.init(params), optimizer.init(params)
    assert first["w"].dtype == np.float32 and not first["w"].any()
    optimizer.update(params, {"w": np.ones(2, np.float32)}, first, 0.1)
    assert first["w"].any() and not second["w"].any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"momentum": 1.0}, "momentum must be below 1, received 1.0"),
        ({"momentum": -0.1}, "momentum must be at least 0, received -0.1"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, received -0.1"),
        ({"momentum": float("nan")}, "momentum must be finite, received nan"),
        ({"nesterov": True}, "nesterov needs a momentum above 0, received momentum=0"),
    ],
)
def test_a_wrong_option_is_refused_and_named(options, message):
    with pytest.raises(ValueError) as caught:
        SGD(**options)
    assert str(caught.value) == message


# --- Types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_float16_is_computed_in_float32_and_rounded_once(optimizer):
    rng = np.random.default_rng(0)
    half = {"w": rng.normal(size=50).astype(np.float16)}
    single = {"w": half["w"].astype(np.float32)}
    state, single_state = optimizer.init(half), optimizer.init(single)
    assert {value.dtype for name, value in state.items() if name != "updates"} <= {
        np.dtype(np.float32)
    }
    for _ in range(5):
        gradient = (rng.normal(size=50) * 10.0 ** rng.integers(-7, 4, 50)).astype(np.float16)
        optimizer.update(half, {"w": gradient}, state, 0.1)
        optimizer.update(single, {"w": gradient.astype(np.float32)}, single_state, 0.1)
        single["w"][...] = single["w"].astype(np.float16)
        np.testing.assert_array_equal(half["w"], single["w"])
    assert half["w"].dtype == np.float16


@pytest.mark.parametrize("optimizer", OPTIMIZERS + MUONS + FREE, ids=repr)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("arrange", [copies, pack])
def test_the_state_is_wide_and_its_updates_are_whole_numbers(optimizer, dtype, arrange):
    params = arrange({"W": np.ones((2, 2), dtype), "b": np.ones(2, dtype)})
    # The rates whose squares are summed are not of the parameters' type.
    types = {"updates": np.int64, "squares": np.float64}
    wide = np.float64 if dtype is np.float64 else np.float32
    for name, value in optimizer.init(params).items():
        assert value.dtype == types.get(name.split("/")[0], wide), name


@pytest.mark.parametrize("gradient", [0.0, 1e-4, 1e4])
def test_adam_moves_float16_parameters_by_the_rate_however_small_the_gradient(gradient):
    params = {"w": np.ones(2, np.float16)}
    optimizer = Adam()
    optimizer.update(params, {"w": np.full(2, gradient, np.float16)}, optimizer.init(params), 0.25)
    assert params["w"].tolist() == [1.0 if gradient == 0 else 0.75] * 2


def test_whole_numbers_do_not_wrap_when_they_are_squared():
    for dtype in (np.uint8, np.int8, np.int64, bool):
        params, wanted = {"w": np.ones(2, np.float32)}, {"w": np.ones(2, np.float32)}
        gradient = np.array([100, 1]).astype(dtype)
        for each, given in ((params, gradient), (wanted, gradient.astype(np.float32))):
            optimizer = Adam(epsilon=1.0)
            optimizer.update(each, {"w": given}, optimizer.init(each), 0.5)
        np.testing.assert_allclose(params["w"], wanted["w"], rtol=1e-6)


def test_a_gradient_without_axes_may_be_one_of_numpys_numbers():
    params = {"w": np.array(2.0)}
    SGD().update(params, {"w": 3 * params["w"]}, {}, 0.5)
    assert params["w"] == -1


UPDATE = {
    "params": {"w": np.ones(5), "b": np.ones(1)},
    "gradients": {"w": np.ones(5), "b": np.ones(1)},
    "rate": 0.1,
}
REFUSALS = [
    (
        {"gradients": {"w": np.ones(5)}},
        ValueError,
        "gradients must have the parameters' names ['w', 'b'], received ['w']",
    ),
    (
        {"gradients": UPDATE["gradients"] | {"c": np.ones(1)}},
        ValueError,
        "gradients must have the parameters' names ['w', 'b'], received ['w', 'b', 'c']",
    ),
    (
        {"gradients": UPDATE["gradients"] | {"w": np.ones(1)}},
        ValueError,
        "the gradient of 'w' has shape (1,), the parameter (5,)",
    ),
    (
        {"gradients": UPDATE["gradients"] | {"b": np.ones((1, 1))}},
        ValueError,
        "the gradient of 'b' has shape (1, 1), the parameter (1,)",
    ),
    (
        {"gradients": UPDATE["gradients"] | {"b": [1.0]}},
        TypeError,
        "the gradient of 'b' must be a NumPy array, received list",
    ),
    (
        {"gradients": UPDATE["gradients"] | {"b": np.array([1j])}},
        TypeError,
        "the gradient of 'b' must be real numbers, received dtype complex128",
    ),
    (
        {"params": UPDATE["params"] | {"b": np.array([1])}},
        TypeError,
        "the parameter 'b' must be of a floating-point type, received dtype int64",
    ),
    (
        {"params": UPDATE["params"] | {"b": 1.0}},
        TypeError,
        "the parameter 'b' must be a NumPy array, received float",
    ),
    ({"rate": -0.1}, ValueError, "rate must be finite and at least 0, received -0.1"),
    ({"rate": float("nan")}, ValueError, "rate must be finite and at least 0, received nan"),
    ({"rate": float("inf")}, ValueError, "rate must be finite and at least 0, received inf"),
    (
        {"rate": np.array([0.1, np.nan])},
        ValueError,
        "rate must be finite and at least 0, received nan",
    ),
    (
        {"rate": np.array([0.1, -0.2])},
        ValueError,
        "rate must be finite and at least 0, received -0.2",
    ),
    (
        {"rate": np.array([0.1, np.inf])},
        ValueError,
        "rate must be finite and at least 0, received inf",
    ),
    (
        {"rate": np.array([0.1, 0.2])},
        ValueError,
        "a rate of shape (2,) is one for each replica, the parameter 'w' has shape (5,)",
    ),
    (
        {"rate": np.array([0.1])},
        ValueError,
        "a rate of shape (1,) is one for each replica, the parameter 'w' has shape (5,)",
    ),
    (
        {"rate": np.ones((5, 1))},
        ValueError,
        "rate must be a number or have shape (R,), received shape (5, 1)",
    ),
    (
        {"rate": "0.1"},
        TypeError,
        "rate must be a number, or an array with one for each replica, received '0.1'",
    ),
    (
        {"rate": True},
        TypeError,
        "rate must be a number, or an array with one for each replica, received True",
    ),
    (
        {"out": ({"w": np.ones(5)}, {})},
        TypeError,
        "the parameter 'b' must be a NumPy array, received NoneType",
    ),
    (
        {"out": ({"w": np.ones(5), "b": np.ones((2, 1))}, {})},
        ValueError,
        "out must hold 'b' as float64 of shape (1,), received float64 of shape (2, 1)",
    ),
    (
        {"out": ({"w": np.ones(5), "b": np.ones(1, np.float32)}, {})},
        ValueError,
        "out must hold 'b' as float64 of shape (1,), received float32 of shape (1,)",
    ),
    # Gradients and room that fit each other, and not the parameters.
    (
        {
            "gradients": UPDATE["gradients"] | {"b": np.ones((2, 1))},
            "out": ({"w": np.ones(5), "b": np.ones((2, 1))}, {}),
        },
        ValueError,
        "the gradient of 'b' has shape (2, 1), the parameter (1,)",
    ),
    (
        {
            "gradients": UPDATE["gradients"] | {"b": np.ones(1, np.float32)},
            "out": ({"w": np.ones(5), "b": np.zeros(1, np.float32)}, {}),
        },
        ValueError,
        "out must hold 'b' as float64 of shape (1,), received float32 of shape (1,)",
    ),
]


@pytest.mark.parametrize("changed, error, message", REFUSALS, ids=[row[2] for row in REFUSALS])
@pytest.mark.parametrize("optimizer", [SGD(0.9), AdamW()], ids=repr)
def test_a_wrong_update_is_refused_and_named_and_changes_nothing(
    optimizer, changed, error, message
):
    call = UPDATE | changed
    state = optimizer.init(UPDATE["params"])
    with pytest.raises(error) as caught:
        optimizer.update(state=state, **call)
    assert str(caught.value) == message
    assert (UPDATE["params"]["w"] == 1).all() and not any(value.any() for value in state.values())


@pytest.mark.parametrize(
    "masked",
    [
        which
        for count in (1, 2, 3)
        for which in itertools.combinations(["params", "gradients", "out"], count)
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("optimizer", [SGD(), AdamW(), ScheduleFreeAdamW()], ids=repr)
def test_masked_arrays_are_refused_wherever_they_come(optimizer, masked):
    arrays = {name: np.ones(3) for name in ("params", "gradients", "out")}
    state = optimizer.init({"w": arrays["params"]})
    arrays |= {name: np.ma.array(arrays[name], mask=[True, False, False]) for name in masked}
    params, gradients, out = ({"w": array} for array in arrays.values())
    what = "gradient of" if masked[0] == "gradients" else "parameter"
    with pytest.raises(TypeError, match=f"^the {what} 'w' must be a NumPy array, received Masked"):
        optimizer.update(params, gradients, state, 0.1, out=(out, copies(state)))
    assert all((array == 1).all() for array in arrays.values())


def test_read_only_parameters_are_updated_elsewhere_or_not_at_all():
    params = {"w": np.ones(2)}
    params["w"].flags.writeable = False
    with pytest.raises(
        ValueError, match="the parameter 'w' cannot be written to: its array is read-only"
    ):
        SGD().update(params, {"w": np.ones(2)}, {}, 0.5)
    out = {"w": np.empty(2)}, {}
    SGD().update(params, {"w": np.ones(2)}, {}, 0.5, out=out)
    assert out[0]["w"].tolist() == [0.5, 0.5] and params["w"].tolist() == [1, 1]


def test_gradients_that_are_not_finite_are_no_error():
    # The trainer's record of a divergence rests on it.
    for optimizer in OPTIMIZERS:
        params = {"w": np.ones(2)}
        optimizer.update(params, {"w": np.array([np.nan, 1.0])}, optimizer.init(params), 0.5)
        assert np.isnan(params["w"]).tolist() == [True, False]


# --- Groups --------------------------------------------------------------------------------------


def test_three_updates_of_two_groups_by_hand():
    # As "momentum" and "weight decay" in the tables above, where the decay is 1/4 and the rates
    # 1/2.
    optimizer = SGD(
        weight_decay=0.125,
        groups=[Group("b*", weight_decay=0.0), Group(("W*", "a"), rate=0.5, weight_decay=0.25)],
    )
    params = {name: np.array([8.0]) for name in ("b", "W", "other")}
    for gradient in (1.0, 2.0, 4.0):
        optimizer.update(params, {name: np.array([gradient]) for name in params}, {}, 1.0)
        if gradient == 1:
            # 8 - 1, 8 - (1 + 2) / 2, 8 - (1 + 1)
            assert {name: value.item() for name, value in params.items()} == {
                "b": 7,
                "W": 6.5,
                "other": 6,
            }
    assert params["b"] == 1 and params["W"] == 2.1015625


def test_the_first_group_that_matches_holds():
    groups = (Group("b1", rate=0.0), Group("b*", rate=2.0), Group("*", rate=3.0))
    params = {name: np.array([0.0]) for name in ("W1", "b1", "b2")}
    SGD(groups=groups).update(params, {name: np.array([-1.0]) for name in params}, {}, 1.0)
    assert {name: value.item() for name, value in params.items()} == {"W1": 3, "b1": 0, "b2": 2}


@pytest.mark.parametrize(
    "optimizer", [SGD(0.9, weight_decay=0.1), Adam(), AdamW(weight_decay=0.1)], ids=repr
)
def test_a_group_with_a_rate_is_an_optimizer_with_that_rate_and_a_rate_of_zero_freezes(optimizer):
    kind, options = type(optimizer), {"momentum": 0.9} if isinstance(optimizer, SGD) else {}
    if kind is not Adam:
        options["weight_decay"] = 0.1
    grouped = kind(**options, groups=(Group("slow", rate=0.25), Group("frozen", rate=0)))
    rng = np.random.default_rng(0)
    start = {name: rng.normal(size=4) for name in ("slow", "frozen", "free")}
    found = copies(start)
    alone = {
        "slow": ({"w": start["slow"].copy()}, 0.25),
        "free": ({"w": start["free"].copy()}, 1.0),
    }
    state, states = (
        grouped.init(found),
        {name: optimizer.init(each) for name, (each, _) in alone.items()},
    )
    for _ in range(5):
        gradients = {name: rng.normal(size=4) for name in start}
        grouped.update(found, gradients, state, 0.5)
        for name, (each, multiple) in alone.items():
            optimizer.update(each, {"w": gradients[name]}, states[name], 0.5 * multiple)
    for name, (each, _) in alone.items():
        np.testing.assert_array_equal(found[name], each["w"])
    np.testing.assert_array_equal(found["frozen"], start["frozen"])


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.9, groups=[Group("b", 0.3, 0.2)]),
        Adam(groups=[Group("b", 0.3)]),
        AdamW(groups=[Group("b", 0.3, 0.2)]),
        Muon(matrices="W", groups=[Group("W", 0.3, 0.2), Group("b", 0.5)]),
        ScheduleFreeAdamW(groups=[Group("b", 0.3, 0.2)]),
    ],
    ids=repr,
)
def test_replicas_with_groups_are_each_replica_alone(optimizer):
    test_one_rate_for_each_replica_is_each_replica_alone(optimizer, np.float64)
    test_one_rate_for_each_replica_is_each_replica_alone(optimizer, np.float32)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.9, weight_decay=0.1, groups=[Group("b", 0.3, 0.2)]),
        Adam(groups=[Group("b", 0.3)]),
        AdamW(groups=[Group("b", 0.3, 0.2)]),
    ],
    ids=repr,
)
def test_groups_in_one_buffer_are_groups_in_single_arrays(optimizer):
    rng = np.random.default_rng(0)
    plain = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
    packed = pack(plain)
    plain_state, state = optimizer.init(plain), optimizer.init(packed)
    for _ in range(3):
        gradients = {name: rng.normal(size=value.shape) for name, value in plain.items()}
        given = packed.like()
        for name, value in gradients.items():
            given[name][...] = value
        optimizer.update(plain, gradients, plain_state, 0.1)
        optimizer.update(packed, given, state, 0.1)
    for name, value in plain.items():
        np.testing.assert_array_equal(packed[name], value)


@pytest.mark.parametrize(
    "model, group, decayed",
    [
        (
            Decoder(5, 6, 4, 2, 2),
            NO_DECAY,
            {f"W_{part}{i}" for part in ("qkv", "mix", "up", "down") for i in (1, 2)},
        ),
        (
            Decoder(5, 6, 4, 2, 1, tied=False),
            NO_DECAY,
            {"W_qkv1", "W_mix1", "W_up1", "W_down1", "U"},
        ),
        (MLP((3, 4, 2)), BIASES, {"W1", "W2"}),
        (Linear(3, 2), BIASES, {"W"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_by_convention_weights_decay_and_nothing_else(model, group, decayed):
    params = {
        name: np.ones_like(value) for name, value in model.init(np.random.default_rng(0)).items()
    }
    optimizer = AdamW(weight_decay=0.5, groups=[group])
    optimizer.update(
        params,
        {name: np.zeros_like(value) for name, value in params.items()},
        optimizer.init(params),
        1.0,
    )
    assert {name for name, value in params.items() if (value == 0.5).all()} == decayed
    assert all((value == 1).all() for name, value in params.items() if name not in decayed)


def test_an_optimizer_with_groups_is_a_value():
    one, other = AdamW(groups=[Group("b*", 2)]), AdamW(groups=(Group(["b*"], 2.0),))
    assert one == other and hash(one) == hash(other) and one != AdamW()
    assert repr(Group("b*", 2)) == "Group(names=('b*',), rate=2.0, weight_decay=None)"
    assert repr(SGD(groups=[BIASES])) == (
        "SGD(momentum=0.0, nesterov=False, weight_decay=0.0, groups=(Group(names=('b*',), rate=1.0, weight_decay=0.0),))"
    )
    # Without groups, as before there were any: checkpoints compare it.
    assert repr(SGD(0.9)) == "SGD(momentum=0.9, nesterov=False, weight_decay=0.0)"
    assert repr(AdamW()) == "AdamW(beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.01)"


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Group("b", rate=-1), ValueError, "rate must be at least 0, received -1"),
        (lambda: Group("b", rate=None), TypeError, "rate must be a number, received None"),
        (
            lambda: Group("b", weight_decay=-1),
            ValueError,
            "weight_decay must be at least 0, received -1",
        ),
        (lambda: Group(()), ValueError, "names must hold at least one pattern, received none"),
        (lambda: Group(("b", 3)), TypeError, "names must be texts, received 3"),
        (lambda: Group(3), TypeError, "names must be a pattern or a list of them, received 3"),
        (
            lambda: SGD(groups=BIASES),
            TypeError,
            f"groups must be a tuple of Group, received {BIASES!r}",
        ),
        (lambda: SGD(groups=["b*"]), TypeError, "groups must be a tuple of Group, received ['b*']"),
        (
            lambda: Adam(groups=(BIASES,)),
            ValueError,
            f"Adam has no weight_decay, received one in {(BIASES,)!r}",
        ),
        (
            lambda: SGD(groups=[Group("b*"), Group(("W*", "B*"))]).init(
                {"W": np.ones(1), "b": np.ones(1)}
            ),
            ValueError,
            "the pattern 'B*' of Group(names=('W*', 'B*'), rate=1.0, weight_decay=None) matches no parameter; there are ['W', 'b']",
        ),
    ],
)
def test_a_wrong_group_is_refused_and_named(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


# --- Muon ----------------------------------------------------------------------------------------


def on_singular_values(matrix, steps=5):
    """What the rounds make of a matrix: its singular vectors, and each singular value by itself."""
    a, b, c = NEWTON_SCHULZ
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(steps):
        values = a * values + b * values**3 + c * values**5
    return (left * values) @ right


SHAPES = [(8, 8), (6, 24), (24, 6), (1, 7), (7, 1), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("steps", [1, 5])
def test_orthogonalising_keeps_the_singular_vectors(shape, steps):
    matrix = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(
        orthogonalise(matrix, steps), on_singular_values(matrix, steps), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(64, 256), (256, 64), (60, 48)], ids=str)
def test_the_singular_values_of_an_orthogonalised_matrix_are_close_to_one(shape, dtype):
    matrix = np.random.default_rng(0).normal(size=shape).astype(dtype)
    found = orthogonalise(matrix)
    values = np.linalg.svd(found, compute_uv=False)
    assert found.dtype == dtype and 0.68 < values.min() and values.max() < 1.21
    # Most of all directions were short beside the longest; now the mean square of an entry is about
    # that of an orthogonal matrix.
    assert np.square(found).mean() * max(shape) == pytest.approx(0.8, abs=0.15)


def test_every_singular_value_but_the_smallest_comes_between_its_bounds():
    values = np.geomspace(0.002, 1, 2000)
    # A second direction fills up the norm to 1.
    pairs = np.zeros((2000, 2, 2))
    pairs[:, 0, 0], pairs[:, 1, 1] = values, np.sqrt(1 - values**2)
    found = orthogonalise(pairs)[:, 0, 0]
    assert 0.68 < found.min() < 0.69 and 1.19 < found.max() < 1.21
    tiny = orthogonalise(np.diag([1.0, 1e-9]))[1, 1]
    assert tiny == pytest.approx(1e-9 * NEWTON_SCHULZ[0] ** 5, rel=1e-6)


@pytest.mark.parametrize("dtype, power", [(np.float32, 120), (np.float64, 1000)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_size_of_a_matrix_is_of_no_consequence(dtype, power, sign):
    matrix = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    np.testing.assert_array_equal(
        orthogonalise(np.ldexp(matrix, sign * power)), orthogonalise(matrix)
    )


def test_a_stack_of_matrices_is_each_by_itself_and_zeros_stay_zeros():
    matrices = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    matrices[1, 1] = 0
    together = orthogonalise(matrices)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[index], orthogonalise(matrices[index]))
    assert not together[1, 1].any()
    assert orthogonalise(np.zeros((0, 3))).shape == (0, 3)
    matrices[0, 0, 0, 0] = np.nan
    matrices[1, 0, 0, 0] = np.inf
    lost = np.isnan(orthogonalise(matrices))
    assert lost[0, 0].all() and lost[1, 0].all() and lost.sum() == 40


def by_the_letter(optimizer, start, gradients, rates):
    """The matrix after each update, from the two papers' formulas and the singular values."""
    W, V, path = start, np.zeros_like(start), []
    for G, rate in zip(gradients, rates):
        V = optimizer.momentum * V + G
        step = G + optimizer.momentum * V if optimizer.nesterov else V
        W = W - rate * optimizer.weight_decay * W
        W = W - rate * 0.2 * math.sqrt(max(W.shape)) * on_singular_values(step, optimizer.steps)
        path.append(W)
    return path


@pytest.mark.parametrize("optimizer", MUONS, ids=repr)
@pytest.mark.parametrize("shape", [(4, 3), (3, 5), (1, 1)], ids=str)
def test_muon_is_its_formula_for_matrices_and_adamw_for_the_rest(optimizer, shape):
    rng, rates = np.random.default_rng(0), [0.1, 0.2, 0.0, 0.4, 0.1]
    params = {"W": rng.normal(size=shape), "b": rng.normal(size=3), "E": rng.normal(size=(4, 3))}
    gradients = [{name: rng.normal(size=v.shape) for name, v in params.items()} for _ in rates]
    expected = by_the_letter(optimizer, params["W"], [each["W"] for each in gradients], rates)
    adamw = AdamW(weight_decay=optimizer.weight_decay)
    rest = {name: params[name].copy() for name in ("b", "E")}
    state, rest_state = optimizer.init(params), adamw.init(rest)
    for matrix, gradient, rate in zip(expected, gradients, rates):
        optimizer.update(params, gradient, state, rate)
        adamw.update(rest, {name: gradient[name] for name in rest}, rest_state, rate)
        np.testing.assert_allclose(params["W"], matrix, rtol=0, atol=1e-12)
        for name in rest:
            np.testing.assert_array_equal(params[name], rest[name])
    assert sorted(state) == ["first/E", "first/b", "second/E", "second/b", "updates", "velocity/W"]
    assert state["updates"] == 5


def test_two_updates_of_a_number_by_hand():
    # One number is a matrix whose singular value is 1, so only the sign of the step is left of it.
    length = on_singular_values(np.ones((1, 1))).item() * 0.2
    params, optimizer = {"W": np.full((1, 1), 8.0)}, Muon(0.5, matrices="W", weight_decay=0.25)
    state = optimizer.init(params)
    optimizer.update(params, {"W": np.full((1, 1), 3.0)}, state, 1.0)
    assert state["velocity/W"] == 3
    assert params["W"].item() == pytest.approx(8 * 0.75 - length, rel=1e-14)
    optimizer.update(params, {"W": np.full((1, 1), -0.25)}, state, 1.0)
    # The velocity is 1.25 and looks ahead: -0.25 + 0.625 is still above 0.
    assert state["velocity/W"] == 1.25
    assert params["W"].item() == pytest.approx((8 * 0.75 - length) * 0.75 - length, rel=1e-14)


def test_a_step_is_as_long_as_adams_usually_is():
    rng = np.random.default_rng(0)
    for shape in ((64, 192), (64, 64), (256, 64)):
        params = {"W_up1": np.zeros(shape)}
        optimizer = Muon()
        optimizer.update(params, {"W_up1": rng.normal(size=shape)}, optimizer.init(params), 1.0)
        assert math.sqrt(np.square(params["W_up1"]).mean()) == pytest.approx(0.2, rel=0.15)


def test_by_default_the_decoders_hidden_matrices_are_orthogonalised():
    state = Muon().init(Decoder(5, 6, 4, 2, 2).init(np.random.default_rng(0)))
    names = {name.removeprefix("velocity/") for name in state if name.startswith("velocity/")}
    assert names == {f"W_{part}{i}" for part in ("qkv", "mix", "up", "down") for i in (1, 2)}
    assert {"first/E", "first/P", "first/gain", "second/b_up2"} < state.keys()


@pytest.mark.parametrize("replicas", [False, True])
def test_muon_in_one_buffer_is_muon_in_single_arrays(replicas):
    rng, optimizer = np.random.default_rng(0), Muon(groups=[NO_DECAY])
    model = Decoder(5, 6, 4, 2, 1)
    alone = [model.init(rng) for _ in range(3)]
    start = (
        {name: np.stack([run[name] for run in alone]) for name in alone[0]}
        if replicas
        else alone[0]
    )
    plain, packed = copies(start), pack(start, replicas)
    other, buffer = packed.like(), packed.whole()[""]
    plain_state, state = optimizer.init(plain), optimizer.init(packed)
    other_state = copies(state)
    for _ in range(3):
        gradients = {
            name: rng.normal(size=value.shape).astype(np.float32) for name, value in start.items()
        }
        optimizer.update(plain, gradients, plain_state, 0.1)
        given = pack(gradients, replicas)
        optimizer.update(packed, given, state, 0.1, out=(other, other_state))
        packed, other, state, other_state = other, packed, other_state, state
    assert other.whole()[""] is buffer
    for expected, found in ((plain, packed), (plain_state, state)):
        assert expected.keys() == found.keys()
        for name in expected:
            np.testing.assert_array_equal(expected[name], found[name])


@pytest.mark.parametrize("width", [8, 48])
def test_a_replica_of_a_decoder_under_muon_is_the_run_alone_bit_for_bit(width):
    model, optimizer = Decoder(7, 6, width, 2, 1), Muon(weight_decay=0.1, groups=[NO_DECAY])
    texts = np.random.default_rng(0).integers(0, 7, (20, 7))

    def trained(**seeds):
        trainer = Trainer(
            model, softmax_cross_entropy, optimizer, Constant(0.02), batch_size=4, **seeds
        )
        return trainer.fit(texts[:, :-1], texts[:, 1:], steps=6, progress=False)

    together = trained(seed=[3, 4, 5])
    for r, seed in enumerate(together.seeds):
        alone = trained(seed=seed)
        for mine, each in ((together.params, alone.params), (together.state, alone.state)):
            for name, value in each.items():
                found = mine[name] if name == "updates" else mine[name][r]
                np.testing.assert_array_equal(found, value, err_msg=name)
    assert trained(seed=[3, 4]).only([1]).params["W_up1"].shape == (1, width, 4 * width)


def test_a_group_holds_for_matrices_too():
    groups = [Group("W1", rate=0), Group("W2", rate=0.5, weight_decay=0.0)]
    optimizer, rng = Muon(weight_decay=0.5, matrices="W*", groups=groups), np.random.default_rng(0)
    gradient, start = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    params = {name: start.copy() for name in ("W1", "W2", "W3")}
    optimizer.update(params, dict.fromkeys(params, gradient), optimizer.init(params), 0.5)
    step = 0.2 * math.sqrt(3) * on_singular_values(gradient)
    np.testing.assert_array_equal(params["W1"], start)
    np.testing.assert_allclose(params["W2"], start - 0.25 * step, rtol=0, atol=1e-13)
    np.testing.assert_allclose(params["W3"], 0.75 * start - 0.5 * step, rtol=0, atol=1e-13)


def test_a_lost_replica_of_muon_leaves_the_others_as_they_are():
    rng, optimizer = np.random.default_rng(0), Muon(matrices="W")
    start, gradient = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    found = []
    for lost in (1.0, np.nan, np.inf, 1e300):
        params = {"W": start.copy()}
        gradient[1, 0, 0] = lost
        optimizer.update(params, {"W": gradient}, optimizer.init(params), 0.1)
        found.append(params["W"])
        assert np.isnan(params["W"][1]).all() == (not np.isfinite(lost))
    assert all(np.array_equal(each[0], found[0][0]) for each in found)


def test_a_stack_of_more_matrices_than_rows_moves_as_each_alone():
    optimizer = Muon(matrices="W")
    start, gradient = np.random.default_rng(0).normal(size=(2, 7, 2, 3))
    together = {"W": start.copy()}
    optimizer.update(together, {"W": gradient}, optimizer.init(together), 0.1)
    for found, first, slope in zip(together["W"], start, gradient):
        alone = {"W": first.copy()}
        optimizer.update(alone, {"W": slope}, optimizer.init(alone), 0.1)
        np.testing.assert_array_equal(found, alone["W"])


def test_matrices_of_gradients_that_are_not_finite_or_overflow_make_no_warning():
    largest = np.finfo(np.float64).max
    params, optimizer = {"W": np.ones((4, 1, 1))}, Muon(matrices="W")
    state = optimizer.init(params)
    for sign in (1, 1, -1):
        gradient = np.array([sign * np.inf, np.nan, largest, 1]).reshape(4, 1, 1)
        optimizer.update(params, {"W": gradient}, state, 0.1)
    assert np.isfinite(params["W"]).ravel().tolist() == [False, False, False, True]


def test_muon_is_a_value_and_says_what_it_is():
    assert repr(Muon()) == (
        "Muon(momentum=0.95, nesterov=True, weight_decay=0.01, beta1=0.9, beta2=0.999, "
        "epsilon=1e-08, matrices=('W_*',), steps=5)"
    )
    assert Muon(matrices=["W*"]) == Muon(matrices="W*") != Muon()
    assert hash(Muon(groups=[NO_DECAY])) == hash(Muon(groups=(NO_DECAY,)))


WEIGHTS = {"W": np.ones((2, 2)), "b": np.ones(2)}


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Muon(1.0), ValueError, "momentum must be below 1, received 1.0"),
        (lambda: Muon(beta1=-1), ValueError, "beta1 must be at least 0, received -1"),
        (lambda: Muon(beta2=1), ValueError, "beta2 must be below 1, received 1"),
        (lambda: Muon(epsilon=0), ValueError, "epsilon must be above 0, received 0"),
        (lambda: Muon(weight_decay=-1), ValueError, "weight_decay must be at least 0, received -1"),
        (lambda: Muon(steps=0), ValueError, "steps must be at least 1, received 0"),
        (lambda: Muon(steps=2.0), TypeError, "steps must be a whole number, received 2.0"),
        (
            lambda: Muon(matrices=()),
            TypeError,
            "matrices must be a pattern or a list of them, received ()",
        ),
        (
            lambda: Muon(matrices=3),
            TypeError,
            "matrices must be a pattern or a list of them, received 3",
        ),
        (
            lambda: Muon(matrices=["W", 3]),
            TypeError,
            "matrices must be a pattern or a list of them, received ['W', 3]",
        ),
        (
            lambda: Muon().init(WEIGHTS),
            ValueError,
            "the pattern 'W_*' of matrices matches no parameter; there are ['W', 'b']",
        ),
        (
            lambda: Muon(matrices=["W", "b*"]).init(WEIGHTS),
            ValueError,
            "matrices must have two axes at least, 'b' has shape (2,)",
        ),
        (
            lambda: Muon(matrices="W", groups=[Group("c")]).init(WEIGHTS),
            ValueError,
            "the pattern 'c' of Group(names=('c',), rate=1.0, weight_decay=None) matches no parameter; there are ['W', 'b']",
        ),
        (
            lambda: orthogonalise(np.ones(3)),
            ValueError,
            "matrices must have shape (..., m, n), received (3,)",
        ),
        (
            lambda: orthogonalise(np.ones((2, 2)), steps=0),
            ValueError,
            "steps must be at least 1, received 0",
        ),
        (
            lambda: orthogonalise(np.ones((2, 2)) + 0j),
            TypeError,
            "matrices must be real numbers, received dtype complex128",
        ),
    ],
)
def test_what_muon_cannot_work_with_is_refused_and_named(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "gradients, rate, error, message",
    [
        ({"W": np.ones((2, 2))}, 0.1, ValueError, "gradients must have the parameters' names"),
        (WEIGHTS | {"W": np.ones(2)}, 0.1, ValueError, "the gradient of 'W' has shape (2,)"),
        (WEIGHTS | {"b": np.ones(3)}, 0.1, ValueError, "the gradient of 'b' has shape (3,)"),
        (WEIGHTS, -1, ValueError, "rate must be finite and at least 0, received -1"),
        (WEIGHTS | {"b": np.full(2, 1e200)}, 0.1, FloatingPointError, "the gradient of 'b'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refused_update_of_muon_changes_nothing(gradients, rate, error, message):
    params, optimizer = copies(WEIGHTS), Muon(matrices="W")
    state = optimizer.init(params)
    with pytest.raises(error, match=re.escape(message)):
        optimizer.update(params, gradients, state, rate)
    assert all((value == 1).all() for value in params.values())
    assert not any(value.any() for value in state.values())


# --- Without a schedule --------------------------------------------------------------------------


def free_as_printed(optimizer, start, gradients, rates):
    """The three sequences of Defazio et al., each by itself: y, z and x after each update."""
    beta1, beta2 = optimizer.beta1, optimizer.beta2
    y = z = x = np.array(start, np.longdouble)
    v, squares, path = np.zeros_like(y), 0.0, []
    for t, (g, rate) in enumerate(zip(gradients, rates), start=1):
        v = beta2 * v + (1 - beta2) * g**2
        step = g / (np.sqrt(v / (1 - np.longdouble(beta2) ** t)) + optimizer.epsilon)
        z = z - rate * (step + optimizer.weight_decay * y)
        squares += rate**2
        c = rate**2 / squares if squares else 0.0
        x = (1 - c) * x + c * z
        y = (1 - beta1) * z + beta1 * x
        path.append((y, z, x))
    return path


@pytest.mark.parametrize("optimizer", [*FREE, ScheduleFreeAdamW(0.98, weight_decay=0.0)], ids=repr)
def test_the_schedule_free_sequences_are_those_of_the_paper(optimizer):
    rng, start = np.random.default_rng(0), [3.0, -1.0, 0.5]
    # A warm-up from 0, and a rate that falls and rises.
    rates = [0.0, 0.0, 0.1, 0.2, 0.4, 0.4, 0.1, 0.4]
    gradients = rng.normal(size=(8, 3)) * 10.0 ** rng.integers(-3, 3, (8, 3))
    params = {"w": np.array(start)}
    state = optimizer.init(params)
    np.testing.assert_array_equal(optimizer.averaged(params, state)["w"], start)
    expected = free_as_printed(optimizer, start, gradients, rates)
    for g, rate, (y, z, x) in zip(gradients, rates, expected):
        optimizer.update(params, {"w": g}, state, rate)
        for found, right in (
            (params["w"], y),
            (state["ahead/w"], z),
            (optimizer.averaged(params, state)["w"], x),
        ):
            np.testing.assert_allclose(found, right.astype(float), rtol=1e-12, atol=1e-13)
    assert state["updates"] == 8


def test_at_a_constant_rate_the_average_is_that_of_all_points_that_stepped():
    optimizer, params = ScheduleFreeAdamW(weight_decay=0.0), {"w": np.array([1.0, -2.0])}
    state, points = optimizer.init(params), []
    for _ in range(200):
        optimizer.update(params, {"w": slope(params["w"])}, state, 0.05)
        points.append(state["ahead/w"].copy())
    found = optimizer.averaged(params, state)["w"]
    np.testing.assert_allclose(found, np.mean(points, axis=0), rtol=1e-11)
    np.testing.assert_allclose(params["w"], 0.1 * points[-1] + 0.9 * found, rtol=1e-11)


def test_the_schedule_free_average_of_a_noisy_descent_beats_adamws_last_point():
    rng, best = np.random.default_rng(0), np.array([1.0, -2.0])
    start = np.broadcast_to([2.0, 0.0], (20, 2))
    optimizers = AdamW(weight_decay=0.0), ScheduleFreeAdamW(weight_decay=0.0)
    runs = [{"w": start.copy()} for _ in optimizers]
    states = [optimizer.init(run) for optimizer, run in zip(optimizers, runs)]
    for _ in range(1000):
        noise = rng.normal(size=(20, 2))
        for optimizer, run, state in zip(optimizers, runs, states):
            optimizer.update(run, {"w": (run["w"] - best) @ HESSIAN + noise}, state, 0.05)
    average = optimizers[1].averaged(runs[1], states[1])["w"]
    last, free = (np.linalg.norm(each - best, axis=-1).mean() for each in (runs[0]["w"], average))
    assert free < 0.6 * last


def test_a_frozen_group_stays_where_it_is_without_a_schedule():
    optimizer = ScheduleFreeAdamW(groups=[Group("w", rate=0)])
    params = {"w": np.array([1.5]), "v": np.array(2.0)}
    state = optimizer.init(params)
    for _ in range(3):
        optimizer.update(params, {"w": np.array([1.0]), "v": np.array(1.0)}, state, 0.1)
    assert params["w"] == optimizer.averaged(params, state)["w"] == 1.5
    assert params["v"] < 2 and optimizer.averaged(params, state)["v"].shape == ()


@pytest.mark.parametrize("replicas", [None, 2])
def test_to_evaluate_without_a_schedule_is_to_evaluate_the_average(replicas):
    rng, optimizer = np.random.default_rng(0), ScheduleFreeAdamW()
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))

    def make():
        return Trainer(
            Linear(3, 2), squared_error, optimizer, Constant(0.1), batch_size=4, replicas=replicas
        )

    watch = Evaluation(x, y, every=5, measure=optimizer.evaluate)
    trainer = make().fit(x, y, steps=10, callback=watch, progress=False)
    other = make()
    other.params = optimizer.averaged(trainer.params, trainer.state)
    assert {value.dtype for value in other.params.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(watch.history["value"][-1], other.evaluate(x, y))
    some = rng.integers(0, 2, 40).astype(float)
    weighed = optimizer.evaluate(trainer, x, y, weights=some)
    np.testing.assert_array_equal(weighed, other.evaluate(x, y, weights=some))
    assert np.all(weighed != other.evaluate(x, y))
    assert np.all(watch.history["value"][-1] != trainer.evaluate(x, y))
    # Whoever asked has not disturbed the training.
    alone = make().fit(x, y, steps=15, progress=False)
    trainer.fit(x, y, steps=5, progress=False)
    for name, value in alone.params.items():
        np.testing.assert_array_equal(trainer.params[name], value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_average_has_the_parameters_type_and_no_warning_escapes(dtype):
    optimizer, largest = ScheduleFreeAdamW(0.5), np.finfo(dtype).max
    params = {"w": np.array([3, largest, np.inf], dtype)}
    state = optimizer.init(params)
    state["ahead/w"][...] = [1, -largest, np.inf]
    average = optimizer.averaged(params, state)["w"]
    # y = (z + x) / 2, so x = 2 y - z.
    assert average.dtype == dtype and average.tolist()[:2] == [5, np.inf] and np.isnan(average[2])


def test_a_rate_that_overflows_makes_no_warning_without_a_schedule():
    params, optimizer = {"w": np.ones(2, np.float32)}, ScheduleFreeAdamW()
    optimizer.update(params, {"w": np.ones(2, np.float32)}, optimizer.init(params), 1e39)
    assert params["w"].tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ScheduleFreeAdamW(beta1=0), "beta1 must be above 0, received 0.0"),
        (lambda: ScheduleFreeAdamW(beta1=1), "beta1 must be below 1, received 1"),
        (
            lambda: ScheduleFreeAdamW(weight_decay=-1),
            "weight_decay must be at least 0, received -1",
        ),
        (
            lambda: ScheduleFreeAdamW(groups=[Group("c")]).init(WEIGHTS),
            "the pattern 'c' of Group(names=('c',), rate=1.0, weight_decay=None) matches no parameter; there are ['W', 'b']",
        ),
    ],
)
def test_what_cannot_be_done_without_a_schedule_is_refused_and_named(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("changed, error, message", REFUSALS, ids=[row[2] for row in REFUSALS])
def test_a_refused_update_without_a_schedule_changes_nothing(changed, error, message):
    optimizer = ScheduleFreeAdamW()
    state = optimizer.init(UPDATE["params"])
    before = copies(state)
    with pytest.raises(error) as caught:
        optimizer.update(state=state, **UPDATE | changed)
    assert str(caught.value) == message
    assert all(np.array_equal(state[name], before[name]) for name in before)


# --- Clipping ------------------------------------------------------------------------------------


def test_the_norm_is_that_of_all_entries_together():
    # 1² + 2² + 4² + 2² = 5²
    gradients = {"W": np.array([[1.0, 2.0]]), "b": np.array([4.0, -2.0])}
    clipped, norm = clip_by_global_norm(gradients, 2.5)
    assert norm == 5
    assert clipped["W"].tolist() == [[0.5, 1.0]] and clipped["b"].tolist() == [2.0, -1.0]
    assert gradients["b"].tolist() == [4.0, -2.0]


@pytest.mark.parametrize("max_norm", [5.0, 5.1, 1e9])
def test_a_norm_up_to_the_maximum_is_left_alone(max_norm):
    clipped, norm = clip_by_global_norm({"w": np.array([3.0, 4.0])}, max_norm)
    assert norm == 5 and clipped["w"].tolist() == [3.0, 4.0]


def test_each_replica_has_its_own_norm():
    gradients = {"W": np.array([[[3.0]], [[0.3]], [[0.0]]]), "b": np.array([[4.0], [0.4], [0.0]])}
    clipped, norm = clip_by_global_norm(gradients, 1.0, replicas=True)
    assert norm.tolist() == [5.0, pytest.approx(0.5), 0.0]
    np.testing.assert_allclose(clipped["W"].ravel(), [0.6, 0.3, 0])
    np.testing.assert_allclose(clipped["b"].ravel(), [0.8, 0.4, 0])


def test_without_replicas_the_leading_axis_is_an_axis_like_any_other():
    clipped, norm = clip_by_global_norm({"w": np.array([[3.0], [4.0]])}, 1.0)
    assert norm == 5 and clipped["w"].ravel().tolist() == pytest.approx([0.6, 0.8])


def test_a_float32_gradient_stays_float32_and_its_norm_does_not_overflow():
    clipped, norm = clip_by_global_norm({"w": np.float32([3e30, 4e30])}, 1.0)
    assert clipped["w"].dtype == np.float32
    assert norm == pytest.approx(5e30, rel=1e-6) and clipped["w"].tolist() == pytest.approx(
        [0.6, 0.8]
    )


@pytest.mark.parametrize("max_norm, received", [(0, "0"), (-1.0, "-1.0"), (float("nan"), "nan")])
def test_a_wrong_maximum_is_refused_and_named(max_norm, received):
    with pytest.raises(ValueError, match=f"max_norm must be .*, received {received}$"):
        clip_by_global_norm({"w": np.ones(1)}, max_norm)


@pytest.mark.parametrize("size", [1e200, 1e-200, 1e300, 3e-308])
@pytest.mark.parametrize("replicas", [False, True])
def test_no_square_overflows_or_vanishes(size, replicas):
    gradients = {"W": np.array([[3 * size], [3.0]]), "b": np.array([4 * size, 4.0])}
    max_norm = size if replicas else 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clipped, norm = clip_by_global_norm(gradients, max_norm, replicas=replicas)
    if replicas:
        np.testing.assert_allclose(norm, [5 * size, 5.0], rtol=1e-14)
        np.testing.assert_allclose(clipped["W"][0], 0.6 * size, rtol=1e-14)
        np.testing.assert_allclose(clipped["b"][1], min(4.0, 0.8 * size), rtol=1e-14)
    elif size > 1:
        assert norm == pytest.approx(5 * size, rel=1e-14) and clipped["b"][0] == pytest.approx(
            0.8, rel=1e-14
        )
    else:
        assert norm == pytest.approx(5, rel=1e-14) and clipped["b"][1] == pytest.approx(
            0.8, rel=1e-14
        )


def test_a_replica_that_needs_another_way_leaves_the_others_as_they_are():
    ordinary = np.random.default_rng(0).normal(size=(1, 7)).astype(np.float32)
    alone = clip_by_global_norm({"w": ordinary}, 0.1, replicas=True)
    for strange in (np.nan, np.inf, 1e38, 1e-45, 0.0):
        both = {"w": np.concatenate([ordinary, np.full((1, 7), strange, np.float32)])}
        clipped, norm = clip_by_global_norm(both, 0.1, replicas=True)
        np.testing.assert_array_equal(clipped["w"][0], alone[0]["w"][0])
        assert norm[0] == alone[1][0] and norm[1] == pytest.approx(
            float(strange) * math.sqrt(7), rel=1e-1, nan_ok=True
        )
        assert clipped["w"].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradients_that_are_not_finite_have_such_a_norm_and_no_warning_escapes(dtype, bad):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, norm = clip_by_global_norm({"w": np.array([1, bad], dtype)}, 1.0)
    np.testing.assert_equal(norm, abs(bad))


def test_float16_is_clipped_with_all_its_digits():
    gradient = np.full(100, 6e4, np.float16)
    clipped, norm = clip_by_global_norm({"w": gradient}, 1.0)
    assert norm == 10 * float(gradient[0]) and clipped["w"].dtype == np.float16
    assert (clipped["w"] == np.float16(0.1)).all()


@pytest.mark.parametrize(
    "dtype, size, max_norm",
    # The last factor is 2e-41, of which float32 keeps 4 digits.
    [(np.float16, 1, 1), (np.float32, 1, 1), (np.float64, 1, 1), (np.float32, 1e36, 1e-4)],
)
@pytest.mark.parametrize("arrange", [copies, pack])
def test_clipping_into_given_arrays_fills_and_returns_those(dtype, size, max_norm, arrange):
    gradients = arrange({"W": np.array([[3 * size, 0]], dtype), "b": np.array([4 * size], dtype)})
    right = {"W": [[0.6 * max_norm, 0]], "b": [0.8 * max_norm]}
    digits = 4 * float(np.finfo(dtype).eps)
    before = copies(gradients)
    for out in (None, empty_like(gradients), gradients):
        clipped, norm = clip_by_global_norm(gradients, max_norm, out=out)
        assert norm == pytest.approx(5 * size, rel=1e-6) and clipped.keys() == right.keys()
        assert clipped is out or out is None
        for name, value in clipped.items():
            assert value.dtype == dtype
            np.testing.assert_allclose(value, right[name], rtol=digits)
            if out is not gradients:
                np.testing.assert_array_equal(gradients[name], before[name])


def test_no_gradients_have_no_norm():
    assert clip_by_global_norm({}, 1.0) == ({}, 0.0)
    assert clip_by_global_norm({}, 1.0, replicas=True) == ({}, 0.0)
    assert clip_by_global_norm({"w": np.ones((0, 3))}, 1.0)[1] == 0.0


def test_replicas_need_one_leading_axis():
    for wrong in (np.ones(()), np.ones(3)):
        with pytest.raises(
            ValueError,
            match=re.escape(
                f"replicas need gradients with one leading axis for all, 'b' has shape {wrong.shape}"
            ),
        ):
            clip_by_global_norm({"W": np.ones((2, 2)), "b": wrong}, 1.0, replicas=True)


@pytest.mark.parametrize("dtype, size", [(np.float32, 1e20), (np.float64, 1e200)])
@pytest.mark.parametrize("optimizer", [Adam(), AdamW(), ScheduleFreeAdamW()])
def test_a_square_that_overflows_is_refused_unless_overflow_is_ignored(optimizer, dtype, size):
    params, gradients = {"w": np.ones(3, dtype)}, {"w": np.array([1, -size, 2], dtype)}
    state = optimizer.init(params)
    before = copies(params | state)
    with pytest.raises(
        FloatingPointError,
        match=f"the square of the gradient of 'w' overflows {np.dtype(dtype)}, received entries up to 1e[+]20",
    ):
        optimizer.update(params, gradients, state, 0.1)
    for name, value in (params | state).items():
        np.testing.assert_array_equal(value, before[name])
    with np.errstate(over="ignore"):
        optimizer.update(params, gradients, state, 0.1)
    assert np.isfinite(params["w"]).all() and np.isinf(state["second/w"]).tolist() == [
        False,
        True,
        False,
    ]


def test_a_square_that_overflows_is_named_in_the_type_that_it_is_computed_in():
    params = {"short": np.ones(1, np.float16), "wide": np.ones(1, np.float32)}
    gradients = {"short": np.full(1, 300, np.float16), "wide": np.full(1, 1e20, np.float32)}
    with pytest.raises(FloatingPointError, match="gradient of 'wide' overflows float32"):
        Adam().update(params, gradients, Adam().init(params), 0.1)


@pytest.mark.parametrize("optimizer", [Adam(), AdamW(), ScheduleFreeAdamW()])
def test_a_square_that_overflows_is_named_in_one_buffer_too(optimizer):
    params = pack({"W": np.ones((2, 2), np.float32), "b": np.ones(2, np.float32)})
    gradients = params.like(np.zeros_like)
    gradients["b"][1] = 1e20
    with pytest.raises(FloatingPointError, match="gradient of 'b' overflows float32, received"):
        optimizer.update(params, gradients, optimizer.init(params), 0.1)


@pytest.mark.parametrize("optimizer", [Adam(), AdamW(), ScheduleFreeAdamW()])
def test_a_square_that_overflows_is_refused_in_the_other_byte_order_too(optimizer):
    foreign = np.dtype(np.float32).newbyteorder()
    params, gradients = {"w": np.ones(1, np.float32)}, {"w": np.array([1e20], foreign)}
    with pytest.raises(FloatingPointError, match="gradient of 'w' overflows float32"):
        optimizer.update(params, gradients, optimizer.init(params), 0.1)


@pytest.mark.parametrize("optimizer", [Adam(), AdamW(), ScheduleFreeAdamW()])
@pytest.mark.parametrize("size", [1e20, 1e24, 1e39, 1e200])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_gradient_of_a_wider_type_is_refused_where_its_average_would_overflow(
    optimizer, size, dtype
):
    params, gradients = {"w": np.ones(2, dtype)}, {"w": np.array([1.0, size])}
    state = optimizer.init(params)
    with pytest.raises(FloatingPointError, match=r"'w' overflows float32, received .* 1e[+]"):
        optimizer.update(params, gradients, state, 0.1)
    gradients["w"][1] = 1e19
    optimizer.update(params, gradients, state, 0.1)
    assert np.isfinite(state["second/w"]).all()


@pytest.mark.parametrize("optimizer", [SGD(0.9), Adam(), AdamW(), ScheduleFreeAdamW()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_that_are_not_finite_make_no_warning(optimizer, dtype):
    params = {"w": np.ones(3, dtype)}
    state = optimizer.init(params)
    for sign in (1, -1):
        optimizer.update(params, {"w": np.array([sign * np.inf, np.nan, 1], dtype)}, state, 0.1)
    assert np.isfinite(params["w"]).tolist() == [False, False, True]


@pytest.mark.parametrize("optimizer", [SGD(0.9), Adam(), AdamW()])
def test_a_step_that_overflows_is_infinite_without_a_warning(optimizer):
    params, gradients = {"w": np.ones(2)}, {"w": np.array([1e150, 0])}
    optimizer.update(params, gradients, optimizer.init(params), 1e200)
    assert params["w"].tolist()[0] == -np.inf and not np.isnan(params["w"][1])


@pytest.mark.parametrize("size", [1e200, 1e-200, 3e-308])
@pytest.mark.parametrize("replicas", [False, True])
def test_clipping_is_the_same_for_those_who_want_every_error(size, replicas):
    gradients = {"w": np.array([[3.0, 4.0], [0.0, 0.0]]) * size}
    usual, norm = clip_by_global_norm(gradients, size, replicas=replicas)
    with np.errstate(all="raise"):
        strict, same = clip_by_global_norm(gradients, size, replicas=replicas)
    np.testing.assert_array_equal(strict["w"], usual["w"])
    np.testing.assert_array_equal(same, norm)


def test_sgd_that_overflows_is_infinite_without_a_warning():
    params, gradients = {"w": np.ones(2, np.float32)}, {"w": np.array([3e38, 1], np.float32)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SGD(0.9).update(params, gradients, SGD(0.9).init(params), 1e3)
    assert params["w"].tolist() == [-np.inf, -999]


def test_the_options_of_a_group_are_plain_numbers():
    group = Group("b*", rate=np.float32(2), weight_decay=np.float32(0.5))
    assert type(group.rate) is type(group.weight_decay) is float
