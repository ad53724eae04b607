"""Updates worked out by hand, and against other ways of writing the same method."""

import mpmath
import numpy as np
import pytest

from trainlab.optimizers import SGD, Adam, AdamW, clip_by_global_norm


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


# Gradients 1, 2, 4 one after the other, start 8, rate 1/2 (momentum 1/2, decay 1/4 where there are any).
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
    # v = 1, then 1.5: steps 1 * 1 and 0.5 * 1.5. Scaling the gradient first would give 1 and 0.5 + 0.5.
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
        expected.append(expected[-1] - rate * slope(expected[-1]) + momentum * (expected[-1] - expected[-2]))
    np.testing.assert_allclose(walk(SGD(momentum), [1.0, -2.0], slope, [rate] * 50), expected[1:], rtol=0, atol=1e-13)


def test_nesterov_looks_ahead():
    # Sutskever: v = m v - rate g(w + m v); w = w + v. Ours walks the point w + m v that is looked at.
    rate, momentum = 0.2, 0.9
    w, v, seen = np.array([1.0, -2.0]), np.zeros(2), [np.array([1.0, -2.0])]
    for _ in range(50):
        v = momentum * v - rate * slope(w + momentum * v)
        w = w + v
        seen.append(w + momentum * v)
    np.testing.assert_allclose(walk(SGD(momentum, nesterov=True), [1.0, -2.0], slope, [rate] * 50), seen, rtol=0, atol=1e-13)


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
        beta1, beta2, epsilon, decay = (mpmath.mpf(value) for value in (beta1, beta2, epsilon, decay))
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
    np.testing.assert_allclose(path[:, 0], adam_as_printed(3.0, gradients, rates, *options), rtol=1e-13)


def test_adams_first_step_by_hand():
    # m / (1 - beta1) = g and v / (1 - beta2) = g^2, so the step is rate * g / (|g| + epsilon).
    path = walk(Adam(epsilon=1.0), [0.0, 0.0], lambda w: np.array([3.0, -1.0]), [0.5])
    np.testing.assert_allclose(path[1], [-0.375, 0.25], rtol=1e-14)


def test_adam_does_not_care_for_the_gradients_scale():
    small, large = (walk(Adam(epsilon=1e-300), [1.0], lambda w: scale * w, [0.1] * 5) for scale in (1e-6, 1e6))
    np.testing.assert_allclose(small, large, rtol=1e-12)


def test_without_decay_adamw_is_adam_and_the_decay_is_not_l2():
    gradient_of = lambda w: HESSIAN @ w  # noqa: E731
    adam = walk(Adam(), [1.0, -2.0], gradient_of, [0.1] * 5)
    np.testing.assert_array_equal(walk(AdamW(weight_decay=0.0), [1.0, -2.0], gradient_of, [0.1] * 5), adam)
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


# --- All of them ---------------------------------------------------------------------------------

OPTIMIZERS = [SGD(), SGD(0.9), SGD(0.9, nesterov=True), SGD(0.9, weight_decay=0.1), SGD(weight_decay=0.1), Adam(), AdamW(0.5, 0.75, weight_decay=0.1)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_rate_for_each_replica_is_each_replica_alone(optimizer, dtype):
    rng = np.random.default_rng(0)
    start = {"W": rng.normal(size=(3, 4, 2)).astype(dtype), "b": rng.normal(size=(3, 2)).astype(dtype)}
    gradients = [{name: rng.normal(size=value.shape).astype(dtype) for name, value in start.items()} for _ in range(4)]
    rates = rng.random((4, 3))
    together = {name: value.copy() for name, value in start.items()}
    state = optimizer.init(together)
    for gradient, rate in zip(gradients, rates):
        optimizer.update(together, gradient, state, rate)
    for r in range(3):
        alone = {name: value[r].copy() for name, value in start.items()}
        state = optimizer.init(alone)
        for gradient, rate in zip(gradients, rates):
            optimizer.update(alone, {name: value[r] for name, value in gradient.items()}, state, float(rate[r]))
        for name in alone:
            assert together[name].dtype == dtype
            np.testing.assert_array_equal(together[name][r], alone[name])


@pytest.mark.parametrize("rate", [0.1, np.float64(0.1), np.float32(0.1), np.array(0.1)], ids=lambda rate: type(rate).__name__)
def test_the_type_of_the_rate_does_not_change_a_float32_update(rate):
    params, gradient = {"w": np.float32([1.7, -0.3])}, {"w": np.float32([0.9, 0.7])}
    SGD().update(params, gradient, {}, rate)
    assert params["w"].tolist() == (np.float32([1.7, -0.3]) - np.float32(0.1) * np.float32([0.9, 0.7])).tolist()


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


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("rate", [0.1, np.array([0.1, 0.7])], ids=["alone", "replicas"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_update_into_other_arrays_is_the_update_in_place_and_leaves_the_old_values(optimizer, rate, dtype):
    rng = np.random.default_rng(0)
    here = {"W": rng.normal(size=(2, 4, 3)).astype(dtype), "b": rng.normal(size=(2, 3)).astype(dtype)}
    there = copies(here)
    here_state, there_state = optimizer.init(here), optimizer.init(there)
    spare = {name: np.full_like(value, 7) for name, value in here.items()}, {
        name: np.full_like(value, 7) for name, value in here_state.items()
    }
    for _ in range(4):
        gradients = {name: rng.normal(size=value.shape).astype(dtype) for name, value in here.items()}
        before = copies(there), copies(there_state)
        optimizer.update(here, gradients, here_state, rate)
        optimizer.update(there, gradients, there_state, rate, out=spare)
        for old, kept in zip(before, (there, there_state)):
            assert all(np.array_equal(old[name], kept[name]) for name in old)
        (there, there_state), spare = spare, (there, there_state)
        for expected, found in ((here, there), (here_state, there_state)):
            assert expected.keys() == found.keys()
            assert all(np.array_equal(expected[name], found[name]) for name in expected)


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
    assert norm == pytest.approx(5e30, rel=1e-6) and clipped["w"].tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("max_norm, received", [(0, "0"), (-1.0, "-1.0"), (float("nan"), "nan")])
def test_a_wrong_maximum_is_refused_and_named(max_norm, received):
    with pytest.raises(ValueError, match=f"max_norm must be .*, received {received}$"):
        clip_by_global_norm({"w": np.ones(1)}, max_norm)
