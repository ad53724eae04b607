"""Models as pure functions of a dictionary of parameters.

A model knows shapes, not numbers. ``init`` makes the parameters, ``forward`` maps inputs to
outputs and keeps what ``backward`` needs, ``backward`` turns the gradient of the loss with
respect to the outputs into gradients for every parameter: in new arrays, or in those of `out`, a
dict of arrays in the parameters' shapes and types.

Replicas are an axis: every parameter may carry a leading axis of R independent runs. Then
inputs of shape (n, d), seen by all, or (R, n, d), one batch each, give outputs of shape
(R, n, k). Nothing in the code says so: ``@`` and ``+`` broadcast over leading axes.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from trainlab import checks

Params = dict[str, np.ndarray]


def sum_rows(gradient: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the sum over the examples, (..., n, k) to (..., k), in `out` if it is given."""
    # As a product, which is several times as fast as summing an axis that is not the last.
    return np.matmul(np.ones(gradient.shape[-2], gradient.dtype), gradient, out=out)


def check_dtype(dtype: Any) -> None:
    """Refuse a type of parameters in which sums over examples would overflow or lose their digits.

    >>> check_dtype(np.float16)
    Traceback (most recent call last):
        ...
    ValueError: dtype must be float32 or float64 (or wider), received float16
    """
    try:
        # NumPy takes None for float64.
        known = np.dtype(object if dtype is None else dtype)
    except TypeError:
        known = np.dtype(object)
    if known.kind != "f":
        received = repr(dtype) if known.kind == "O" else known
        raise TypeError(f"dtype must be float32 or float64 (or wider), received {received}")
    if known.itemsize < 4:
        raise ValueError(f"dtype must be float32 or float64 (or wider), received {known}")


def text_of(value: Any, late: str) -> str:
    """Return a dataclass's text, with the field `late` at its end, and only where it is given.

    Checkpoints compare such texts: one from before there was the field stays true.
    """
    options = {field.name: getattr(value, field.name) for field in fields(value)}
    given = options.pop(late)
    options |= {late: given} if given not in (None, ()) else {}
    return f"{type(value).__name__}({', '.join(f'{name}={option!r}' for name, option in options.items())})"


def _check_columns(x, inputs):
    if x.ndim < 2 or x.shape[-1] != inputs:
        raise ValueError(f"inputs must have shape (..., n, {inputs}), received {x.shape}")


@dataclass(frozen=True)
class Linear:
    r"""A linear model, :math:`\hat y = x W + b`.

    Parameters
    ----------
    inputs, outputs : int, at least 1
    dtype : float32, float64 or wider
        The type of the parameters.

    Raises
    ------
    ValueError
        If a size is below 1 or `dtype` is float16.
    TypeError
        If a size is no whole number or `dtype` no floating-point type.

    Examples
    --------
    >>> model = Linear(1, 1, dtype=np.float64)
    >>> params = {"W": np.array([[2.0]]), "b": np.array([1.0])}
    >>> outputs, cache = model.forward(params, np.array([[3.0], [4.0]]))
    >>> outputs.tolist()
    [[7.0], [9.0]]
    >>> gradients = model.backward(params, cache, np.array([[1.0], [1.0]]))
    >>> gradients["W"].tolist(), gradients["b"].tolist()
    ([[7.0]], [2.0])
    """

    inputs: int
    outputs: int
    dtype: type = np.float32

    @property
    def input_dtype(self) -> type:
        """The type of the inputs: that of the parameters."""
        return self.dtype

    def __post_init__(self):
        check_dtype(self.dtype)
        for name in ("inputs", "outputs"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), low=1))

    def init(self, rng: np.random.Generator) -> Params:
        """Return fresh parameters, drawn from a NumPy ``Generator``.

        W has shape (inputs, outputs), entries from a normal distribution of variance
        1 / inputs (LeCun et al. 1998, *Efficient BackProp*); b has shape (outputs,) and is zero.
        """
        scale = np.sqrt(1 / self.inputs)
        W = rng.normal(0, scale, (self.inputs, self.outputs))
        return {"W": W.astype(self.dtype), "b": np.zeros(self.outputs, self.dtype)}

    def forward(self, params: Params, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return outputs of shape (..., n, outputs) and the cache for ``backward``."""
        _check_columns(x, self.inputs)
        return x @ params["W"] + params["b"][..., None, :], x

    def backward(
        self, params: Params, cache: Any, gradient: np.ndarray, out: Params | None = None
    ) -> Params:
        """Return the parameters' gradients, given the outputs' `gradient`, (..., n, outputs)."""
        gradients = {} if out is None else out
        gradients["W"] = np.matmul(cache.mT, gradient, out=gradients.get("W"))
        gradients["b"] = sum_rows(gradient, out=gradients.get("b"))
        return gradients


ACTIVATIONS: dict[str, tuple[Callable, Callable, float]] = {
    # name: (value from the input, derivative from the value, variance of the initial weights times
    # inputs)
    "relu": (lambda x: np.maximum(x, 0), lambda h: h > 0, 2.0),
    "tanh": (np.tanh, lambda h: 1 - h**2, 1.0),
}


@dataclass(frozen=True)
class MLP:
    r"""A multilayer perceptron: linear layers with an activation between them.

    .. math:: h_0 = x, \qquad h_l = \phi(h_{l-1} W_l + b_l), \qquad \hat y = h_{L-1} W_L + b_L

    Parameters
    ----------
    sizes : sequence of int
        Width of each layer, inputs first, outputs last: ``(64, 32, 10)`` has one hidden layer.
    activation : "relu" or "tanh"
        :math:`\phi`. At 0 the derivative of the ReLU is taken to be 0.
    dtype : float32, float64 or wider
        The type of the parameters.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, a size is below 1, the activation is unknown, or `dtype`
        is float16.
    TypeError
        If a size is no whole number or `dtype` no floating-point type.

    Examples
    --------
    >>> model = MLP((64, 32, 10))
    >>> params = model.init(np.random.default_rng(0))
    >>> {name: value.shape for name, value in params.items()}
    {'W1': (64, 32), 'b1': (32,), 'W2': (32, 10), 'b2': (10,)}
    >>> outputs, cache = model.forward(params, np.zeros((5, 64), np.float32))
    >>> outputs.shape
    (5, 10)
    """

    sizes: tuple
    activation: str = "relu"
    dtype: type = np.float32

    @property
    def input_dtype(self) -> type:
        """The type of the inputs: that of the parameters."""
        return self.dtype

    def __post_init__(self):
        check_dtype(self.dtype)
        sizes = tuple(checks.integer("a layer's size", size, low=1) for size in self.sizes)
        if len(sizes) < 2:
            raise ValueError(f"sizes must name inputs and outputs at least, received {sizes}")
        checks.one_of("activation", self.activation, tuple(ACTIVATIONS))
        object.__setattr__(self, "sizes", sizes)

    @property
    def depth(self) -> int:
        """The number of linear layers."""
        return len(self.sizes) - 1

    def init(self, rng: np.random.Generator) -> Params:
        """Return fresh parameters, drawn from a NumPy ``Generator``.

        Weights are normal with variance 2 / inputs for the ReLU (He et al. 2015, *Delving deep
        into rectifiers*) and 1 / inputs for tanh (LeCun et al. 1998); the last layer, which no
        activation follows, has 1 / inputs. Biases are zero.
        """
        gain = ACTIVATIONS[self.activation][2]
        params: Params = {}
        for layer, (inputs, outputs) in enumerate(zip(self.sizes, self.sizes[1:]), start=1):
            variance = (gain if layer < self.depth else 1.0) / inputs
            params[f"W{layer}"] = rng.normal(0, np.sqrt(variance), (inputs, outputs)).astype(
                self.dtype
            )
            params[f"b{layer}"] = np.zeros(outputs, self.dtype)
        return params

    def forward(self, params: Params, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return outputs of shape (..., n, outputs) and the cache: the input of every layer."""
        _check_columns(x, self.sizes[0])
        value = ACTIVATIONS[self.activation][0]
        layer_inputs = [x]
        for layer in range(1, self.depth + 1):
            z = layer_inputs[-1] @ params[f"W{layer}"]
            z += params[f"b{layer}"][..., None, :]
            if layer < self.depth:
                layer_inputs.append(value(z))
        return z, layer_inputs

    def backward(
        self, params: Params, cache: Any, gradient: np.ndarray, out: Params | None = None
    ) -> Params:
        """Return the parameters' gradients, given the outputs' `gradient`, (..., n, outputs)."""
        derivative = ACTIVATIONS[self.activation][1]
        gradients = {} if out is None else out
        for layer in range(self.depth, 0, -1):
            h, W, b = cache[layer - 1], f"W{layer}", f"b{layer}"
            gradients[W] = np.matmul(h.mT, gradient, out=gradients.get(W))
            gradients[b] = sum_rows(gradient, out=gradients.get(b))
            if layer > 1:
                gradient = gradient @ params[W].mT
                gradient *= derivative(h)
        return gradients
