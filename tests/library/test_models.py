"""Models: outputs by hand, gradients by differences, replicas as an axis."""

import re

import numpy as np
import pytest
import scipy.stats

from trainlab.losses import softmax_cross_entropy, squared_error
from trainlab.models import MLP, Linear

MODELS = [
    Linear(3, 1),
    Linear(3, 4),
    MLP((3, 4)),
    MLP((3, 5, 1)),
    MLP((3, 5, 4)),
    MLP((3, 5, 6, 4)),
    MLP((3, 5, 4), "tanh"),
    MLP((3, 5, 6, 4), "tanh"),
]
every_model = pytest.mark.parametrize("model", MODELS, ids=repr)


def float64(model):
    if isinstance(model, Linear):
        return Linear(model.inputs, model.outputs, dtype=np.float64)
    return MLP(model.sizes, model.activation, dtype=np.float64)


def parameters(model, seed=0):
    """Random parameters, biases too, so that no term vanishes."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=value.shape) for name, value in model.init(rng).items()}


# --- By hand -------------------------------------------------------------------------------------


def test_linear_by_hand():
    model = Linear(2, 2, dtype=np.float64)
    params = {"W": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": np.array([10.0, 20.0])}
    outputs, cache = model.forward(params, np.array([[1.0, 0.0], [1.0, -1.0]]))
    assert outputs.tolist() == [[11.0, 22.0], [8.0, 18.0]]
    gradients = model.backward(params, cache, np.array([[1.0, 0.0], [10.0, 100.0]]))
    assert gradients["W"].tolist() == [[11.0, 100.0], [-10.0, -100.0]]
    assert gradients["b"].tolist() == [11.0, 100.0]


SMALL = {
    "W1": np.array([[1.0, -1.0]]),
    "b1": np.array([0.5, 0.0]),
    "W2": np.array([[2.0], [3.0]]),
    "b2": np.array([1.0]),
}


def test_relu_network_by_hand():
    # x = 2: hidden (2.5, -2) becomes (2.5, 0), output 2 * 2.5 + 1 = 6; only the first unit learns.
    model = MLP((1, 2, 1), dtype=np.float64)
    outputs, cache = model.forward(SMALL, np.array([[2.0]]))
    assert outputs.tolist() == [[6.0]]
    gradients = model.backward(SMALL, cache, np.array([[1.0]]))
    assert {name: value.tolist() for name, value in gradients.items()} == {
        "W1": [[4.0, 0.0]],
        "b1": [2.0, 0.0],
        "W2": [[2.5], [0.0]],
        "b2": [1.0],
    }


def test_tanh_network_by_hand():
    # tanh(log(2) / 2) = (2 - 1) / (2 + 1) = 1/3, whose derivative is 1 - 1/9 = 8/9.
    model = MLP((1, 1, 1), "tanh", dtype=np.float64)
    params = {
        "W1": np.array([[1.0]]),
        "b1": np.array([0.0]),
        "W2": np.array([[3.0]]),
        "b2": np.array([0.5]),
    }
    outputs, cache = model.forward(params, np.array([[np.log(2) / 2]]))
    assert outputs.item() == pytest.approx(1.5, rel=1e-15)
    gradients = model.backward(params, cache, np.array([[1.0]]))
    assert gradients["b1"].item() == pytest.approx(3 * 8 / 9, rel=1e-15)
    assert gradients["W1"].item() == pytest.approx(3 * 8 / 9 * np.log(2) / 2, rel=1e-15)
    assert gradients["W2"].item() == pytest.approx(1 / 3, rel=1e-15)


def test_the_derivative_of_the_relu_at_zero_is_zero():
    params = SMALL | {"b1": np.array([0.0, 0.0])}
    model = MLP((1, 2, 1), dtype=np.float64)
    gradients = model.backward(
        params, model.forward(params, np.array([[0.0]]))[1], np.array([[1.0]])
    )
    assert gradients["b1"].tolist() == [0.0, 0.0]


def test_a_network_without_hidden_layers_is_the_linear_model():
    params = parameters(Linear(3, 4))
    x, gradient = np.random.default_rng(1).normal(size=(5, 3)), np.ones((5, 4))
    linear, mlp = Linear(3, 4), MLP((3, 4))
    renamed = {"W1": params["W"], "b1": params["b"]}
    assert np.array_equal(linear.forward(params, x)[0], mlp.forward(renamed, x)[0])
    ours = mlp.backward(renamed, mlp.forward(renamed, x)[1], gradient)
    theirs = linear.backward(params, linear.forward(params, x)[1], gradient)
    assert np.array_equal(ours["W1"], theirs["W"]) and np.array_equal(ours["b1"], theirs["b"])


# --- Gradients of model and loss together --------------------------------------------------------


def whole(model, loss, params, x, y):
    outputs, cache = model.forward(params, x)
    value, gradient = loss(outputs, y)
    return value, model.backward(params, cache, gradient)


def problem(model, loss):
    rng = np.random.default_rng(2)
    outputs = model.outputs if isinstance(model, Linear) else model.sizes[-1]
    y = (
        rng.integers(0, outputs, 7)
        if loss is softmax_cross_entropy
        else rng.normal(size=(7, outputs))
    )
    return rng.normal(size=(7, 3)), y


both_losses = pytest.mark.parametrize(
    "loss", [squared_error, softmax_cross_entropy], ids=lambda loss: loss.__name__
)


@every_model
@both_losses
def test_each_parameters_gradient_agrees_with_central_differences(model, loss):
    model = float64(model)
    params, (x, y) = parameters(model), problem(model, loss)
    _, gradients = whole(model, loss, params, x, y)
    h = 1e-6
    assert set(gradients) == set(params)
    for name, value in params.items():
        assert gradients[name].shape == value.shape
        for index in np.ndindex(value.shape):
            shifted = [dict(params, **{name: value.copy()}) for _ in range(2)]
            shifted[0][name][index] += h
            shifted[1][name][index] -= h
            slope = (
                whole(model, loss, shifted[0], x, y)[0] - whole(model, loss, shifted[1], x, y)[0]
            ) / (2 * h)
            assert gradients[name][index] == pytest.approx(slope, rel=1e-6, abs=1e-8), (name, index)


@every_model
@both_losses
@pytest.mark.parametrize("seed", range(3))
def test_the_directional_derivative_is_the_inner_product_with_the_gradient(model, loss, seed):
    model = float64(model)
    params, (x, y) = parameters(model), problem(model, loss)
    direction = parameters(model, seed=10 + seed)
    _, gradients = whole(model, loss, params, x, y)
    inner = sum((gradients[name] * direction[name]).sum() for name in params)
    h = 1e-6
    up, down = (
        {name: params[name] + sign * h * direction[name] for name in params} for sign in (1, -1)
    )
    slope = (whole(model, loss, up, x, y)[0] - whole(model, loss, down, x, y)[0]) / (2 * h)
    assert inner == pytest.approx(slope, rel=1e-6, abs=1e-8)


# --- Replicas ------------------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("shared", [True, False])
def test_every_replica_computes_what_it_computes_alone(model, shared):
    runs = [parameters(model, seed) for seed in range(4)]
    stacked = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
    rng = np.random.default_rng(3)
    x = rng.normal(size=(7, 3) if shared else (4, 7, 3))
    outputs, cache = model.forward(stacked, x)
    gradient = rng.normal(size=outputs.shape)
    gradients = model.backward(stacked, cache, gradient)
    for r, run in enumerate(runs):
        alone, alone_cache = model.forward(run, x if shared else x[r])
        np.testing.assert_allclose(outputs[r], alone, rtol=1e-13)
        for name, value in model.backward(run, alone_cache, gradient[r]).items():
            assert gradients[name].shape == stacked[name].shape
            np.testing.assert_allclose(gradients[name][r], value, rtol=1e-12, atol=1e-13)


# --- Initial parameters --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model, variances",
    [
        (Linear(200, 300), {"W": 1 / 200}),
        (MLP((200, 300, 100)), {"W1": 2 / 200, "W2": 1 / 300}),
        (MLP((200, 300, 100, 50)), {"W1": 2 / 200, "W2": 2 / 300, "W3": 1 / 100}),
        (MLP((200, 300, 100), "tanh"), {"W1": 1 / 200, "W2": 1 / 300}),
    ],
    ids=repr,
)
def test_initial_weights_are_normal_with_the_stated_variance_and_biases_are_zero(model, variances):
    params = model.init(np.random.default_rng(0))
    for name, value in params.items():
        if name.startswith("b"):
            assert not value.any()
            continue
        # n s² / variance is chi-squared with n degrees of freedom: 4.5 standard deviations are
        # allowed.
        standardised = value.ravel() / np.sqrt(variances[name])
        n = standardised.size
        assert abs((standardised**2).sum() - n) < 4.5 * np.sqrt(2 * n)
        assert abs(standardised.mean()) < 4.5 / np.sqrt(n)
        assert scipy.stats.kstest(standardised, "norm").pvalue > 1e-4


@every_model
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_outputs_and_gradients_have_the_models_type(model, dtype):
    model = (
        Linear(3, model.outputs, dtype)
        if isinstance(model, Linear)
        else MLP(model.sizes, model.activation, dtype)
    )
    params = model.init(np.random.default_rng(0))
    outputs, cache = model.forward(params, np.ones((2, 3), dtype))
    gradients = model.backward(params, cache, np.ones_like(outputs))
    for array in [outputs, *params.values(), *gradients.values()]:
        assert array.dtype == dtype


@every_model
def test_parameters_are_a_function_of_the_generator(model):
    first, again, other = (model.init(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_the_default_type_is_float32_and_the_default_activation_relu():
    assert Linear(2, 1).dtype is np.float32 and MLP((2, 1)).dtype is np.float32
    assert MLP((2, 1)).activation == "relu"
    assert MLP([2, 3, 1]).sizes == (2, 3, 1) and MLP((2, 3, 1)).depth == 2


@every_model
def test_nothing_that_goes_in_is_changed(model):
    params, x = parameters(model), np.random.default_rng(0).normal(size=(4, 3))
    before, x_before = {name: value.copy() for name, value in params.items()}, x.copy()
    outputs, cache = model.forward(params, x)
    gradient = np.ones_like(outputs)
    model.backward(params, cache, gradient)
    assert np.array_equal(x, x_before) and (gradient == 1).all()
    assert all(np.array_equal(params[name], before[name]) for name in params)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: Linear(0, 1), ValueError, "inputs must be at least 1, received 0"),
        (lambda: Linear(1, -1), ValueError, "outputs must be at least 1, received -1"),
        (lambda: Linear(1.5, 1), TypeError, "inputs must be a whole number, received 1.5"),
        (
            lambda: Linear(1, 1, np.float16),
            ValueError,
            "dtype must be float32 or float64 (or wider), received float16",
        ),
        (
            lambda: Linear(1, 1, np.int64),
            TypeError,
            "dtype must be float32 or float64 (or wider), received int64",
        ),
        (
            lambda: MLP((1, 1), dtype=np.float16),
            ValueError,
            "dtype must be float32 or float64 (or wider), received float16",
        ),
        (
            lambda: MLP((1, 1), dtype=bool),
            TypeError,
            "dtype must be float32 or float64 (or wider), received bool",
        ),
        (
            lambda: MLP((1, 1), dtype=None),
            TypeError,
            "dtype must be float32 or float64 (or wider), received None",
        ),
        (
            lambda: MLP((1, 1), dtype="x"),
            TypeError,
            "dtype must be float32 or float64 (or wider), received 'x'",
        ),
        (
            lambda: MLP((3,)),
            ValueError,
            "sizes must name inputs and outputs at least, received (3,)",
        ),
        (lambda: MLP(()), ValueError, "sizes must name inputs and outputs at least, received ()"),
        (lambda: MLP((3, 0, 1)), ValueError, "a layer's size must be at least 1, received 0"),
        (lambda: MLP((3, "4")), TypeError, "a layer's size must be a whole number, received '4'"),
        (
            lambda: MLP((3, 1), "gelu"),
            ValueError,
            "activation must be one of 'relu', 'tanh', received 'gelu'",
        ),
    ],
)
def test_a_wrong_option_is_refused_and_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("model", [Linear(3, 1), MLP((3, 4, 2))])
@pytest.mark.parametrize("shape", [(5, 4), (3,), (2, 5, 1)])
def test_inputs_of_another_width_are_refused_with_their_shape(model, shape):
    params = model.init(np.random.default_rng(0))
    with pytest.raises(ValueError, match=re.escape(f"(..., n, 3), received {shape}")):
        model.forward(params, np.zeros(shape, np.float32))


def test_sizes_from_numpy_describe_the_same_model():
    assert repr(Linear(np.int64(3), np.int64(1))) == repr(Linear(3, 1))


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.longdouble, "float64", np.dtype(np.float32), float]
)
def test_every_wider_type_is_taken(dtype):
    assert {
        value.dtype for value in MLP((2, 3, 1), dtype=dtype).init(np.random.default_rng(0)).values()
    } == {np.dtype(dtype)}
