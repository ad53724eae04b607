"""Optimizers: how a gradient becomes a change of the parameters.

An optimizer holds options, no state. ``init`` makes the state for given parameters and
``update`` changes parameters and state, in place or into other arrays. The rate is an argument, so
that the schedule stays the only place where rates come from.
"""

from dataclasses import dataclass

import numpy as np

from trainlab import checks
from trainlab.models import Params

# The new parameters and the new state, to be written by an update.
Out = tuple[Params, Params]


def _like(rate, parameter):
    """Return `rate` shaped to multiply `parameter`: one rate, or one for each replica."""
    # A Python number takes on the parameter's type by itself. NumPy's float64 would not: made the
    # parameter's here, it rounds as the Python number does.
    if type(rate) is float:
        return rate
    rate = np.asarray(rate, parameter.dtype)
    return rate if rate.ndim == 0 else rate.reshape(rate.shape + (1,) * (parameter.ndim - 1))


def _subtract(parameter, rate, step, new):
    """Write parameter - rate * step to `new`, which may be the parameter itself."""
    # Where `new` can hold the product on the way, no memory is asked for: a third of the time for large parameters.
    spare = new if new is not parameter and new.dtype == step.dtype else None
    np.subtract(parameter, np.multiply(rate, step, out=spare), out=new)


@dataclass(frozen=True)
class SGD:
    r"""Stochastic gradient descent, with momentum if wanted.

    .. math:: g \leftarrow \nabla L + \lambda \theta, \qquad
              v \leftarrow \mu v + g, \qquad
              \theta \leftarrow \theta - \eta v

    with :math:`\mu` = `momentum` and :math:`\lambda` = `weight_decay`; Nesterov's form
    steps along :math:`g + \mu v` instead of :math:`v`. Polyak (1964), *Some methods of speeding
    up the convergence of iteration methods*; Sutskever et al. (2013), *On the importance of
    initialization and momentum in deep learning*.

    Parameters
    ----------
    momentum : float, 0 <= momentum < 1
    nesterov : bool
        Needs a momentum above 0.
    weight_decay : float, at least 0
        Adds this multiple of every parameter, biases too, to its gradient.

    Raises
    ------
    ValueError
        If an option is out of its range, or `nesterov` is asked for without momentum.

    Examples
    --------
    >>> optimizer = SGD(momentum=0.5)
    >>> params = {"w": np.array([1.0])}
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     optimizer.update(params, {"w": np.array([1.0])}, state, rate=0.1)
    >>> params["w"].tolist()
    [0.75]
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "momentum", checks.number("momentum", self.momentum, low=0, below=1))
        object.__setattr__(self, "weight_decay", checks.number("weight_decay", self.weight_decay, low=0))
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, received momentum=0")

    def init(self, params: Params) -> Params:
        """Return the state: a velocity of zeros for each parameter, or nothing without momentum."""
        if self.momentum == 0:
            return {}
        return {name: np.zeros_like(value) for name, value in params.items()}

    def update(
        self, params: Params, gradients: Params, state: Params, rate: float | np.ndarray, out: Out | None = None
    ) -> None:
        """Make one update, in place unless `out` is given.

        Parameters
        ----------
        params, gradients, state : dict of arrays
        rate : float, or array of shape (R,)
            With an array, the parameters' leading axis is that of the R replicas.
        out : pair (params, state) of dicts of arrays, optional
            Where to write the new values: arrays of the same names, shapes and types. `params` and
            `state` are then left as they are, so that an update cut short can be forgotten.
        """
        new_params, new_state = (params, state) if out is None else out
        for name, parameter in params.items():
            step = gradients[name]
            if self.weight_decay > 0:
                step = step + self.weight_decay * parameter
            if self.momentum > 0:
                velocity = np.multiply(state[name], self.momentum, out=new_state[name])
                velocity += step
                step = step + self.momentum * velocity if self.nesterov else velocity
            _subtract(parameter, _like(rate, parameter), step, new_params[name])


@dataclass(frozen=True)
class Adam:
    r"""Adam: a step in units of the gradient's own recent size, for each parameter by itself.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad
              v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2, \qquad
              \theta \leftarrow \theta - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    with :math:`g` the gradient, :math:`m` and :math:`v` its average and that of its square, :math:`\theta`
    the parameter, :math:`\eta` the rate, and :math:`t` the number of this update, from 1. Kingma and Ba (2015), *Adam: a method for
    stochastic optimization*.

    Parameters
    ----------
    beta1, beta2 : float, from 0 to below 1
        Memory of the gradient and of its square.
    epsilon : float, above 0
        Keeps the division finite, in the unit of the gradient.

    Raises
    ------
    ValueError
        If an option is out of its range.

    Examples
    --------
    The first step is `rate` long, whatever the gradient's size:

    >>> optimizer = Adam()
    >>> params = {"w": np.array([1.0, 1.0])}
    >>> state = optimizer.init(params)
    >>> optimizer.update(params, {"w": np.array([1e-3, -1e3])}, state, rate=0.25)
    >>> params["w"].round(4).tolist()
    [0.75, 1.25]
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    # Adam itself has no decay; AdamW makes an option of it.
    weight_decay = 0.0

    def __post_init__(self):
        for name in ("beta1", "beta2"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), low=0, below=1))
        object.__setattr__(self, "epsilon", checks.number("epsilon", self.epsilon, above=0))

    def init(self, params: Params) -> Params:
        """Return the state: both averages, zero, for each parameter, and the number of updates."""
        state = {"updates": np.zeros((), np.int64)}
        for name, value in params.items():
            state[f"first/{name}"], state[f"second/{name}"] = np.zeros_like(value), np.zeros_like(value)
        return state

    def update(
        self, params: Params, gradients: Params, state: Params, rate: float | np.ndarray, out: Out | None = None
    ) -> None:
        """Make one update, in place unless `out` is given; the arguments are those of :meth:`SGD.update`."""
        new_params, new_state = (params, state) if out is None else out
        updates = int(state["updates"]) + 1
        new_state["updates"][...] = updates
        first_share, second_share = 1 - self.beta1**updates, 1 - self.beta2**updates
        for name, parameter in params.items():
            gradient, new = gradients[name], new_params[name]
            first = np.multiply(state[f"first/{name}"], self.beta1, out=new_state[f"first/{name}"])
            first += (1 - self.beta1) * gradient
            second = np.multiply(state[f"second/{name}"], self.beta2, out=new_state[f"second/{name}"])
            second += (1 - self.beta2) * gradient**2
            size = np.sqrt(second / second_share) + self.epsilon
            if self.weight_decay > 0:
                parameter = np.multiply(parameter, 1 - _like(rate, parameter) * self.weight_decay, out=new)
            np.subtract(parameter, _like(rate, parameter) * (first / first_share) / size, out=new)


@dataclass(frozen=True)
class AdamW(Adam):
    r"""Adam with decoupled weight decay: the parameters shrink by themselves, not through the gradient.

    .. math:: \theta \leftarrow (1 - \eta \lambda)\, \theta, \qquad \text{then Adam's step}

    with the parameter :math:`\theta` and the rate :math:`\eta`.

    Loshchilov and Hutter (2019), *Decoupled weight decay regularization*, in the form that the
    common libraries share: the decay is multiplied by the rate, schedule included.

    Parameters
    ----------
    beta1, beta2, epsilon
        As for :class:`Adam`.
    weight_decay : float, at least 0
        :math:`\lambda`, for all parameters, biases too.

    Raises
    ------
    ValueError
        If an option is out of its range.

    Examples
    --------
    Without a gradient only the decay is left:

    >>> optimizer = AdamW(weight_decay=0.5)
    >>> params = {"w": np.array([1.0])}
    >>> state = optimizer.init(params)
    >>> optimizer.update(params, {"w": np.array([0.0])}, state, rate=0.5)
    >>> params["w"].tolist()
    [0.75]
    """

    weight_decay: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "weight_decay", checks.number("weight_decay", self.weight_decay, low=0))


def clip_by_global_norm(
    gradients: Params, max_norm: float, *, replicas: bool = False
) -> tuple[Params, np.ndarray]:
    r"""Scale all gradients by one factor, so that their joint norm is at most `max_norm`.

    .. math:: g \leftarrow g \cdot \min\!\big(1, \text{max\_norm} / \lVert g \rVert\big), \qquad
              \lVert g \rVert^2 = \textstyle\sum_{\text{all entries}} g_j^2

    Pascanu, Mikolov and Bengio (2013), *On the difficulty of training recurrent neural networks*.

    Parameters
    ----------
    gradients : dict of arrays
    max_norm : float, above 0
    replicas : bool
        Take the norm for each entry of the leading axis by itself.

    Returns
    -------
    clipped : dict of arrays
    norm : float, or array of shape (R,)
        The norm before clipping.

    Raises
    ------
    ValueError
        If `max_norm` is not above 0.

    Examples
    --------
    >>> clipped, norm = clip_by_global_norm({"w": np.array([3.0, 4.0])}, max_norm=1.0)
    >>> float(norm), clipped["w"].tolist()
    (5.0, [0.6000000000000001, 0.8])
    """
    checks.number("max_norm", max_norm, above=0)
    keep = 1 if replicas else 0
    squares = sum((g.astype(np.float64) ** 2).sum(axis=tuple(range(keep, g.ndim))) for g in gradients.values())
    norm = np.sqrt(squares)
    factor = max_norm / np.maximum(norm, max_norm)
    return {name: g * _like(factor, g) for name, g in gradients.items()}, norm
