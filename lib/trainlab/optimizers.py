"""Optimizers: how a gradient becomes a change of the parameters.

An optimizer holds options, no state. ``init`` makes the state for given parameters and
``update`` changes parameters and state, in place or into other arrays. The rate is an argument, so
that the schedule stays the only place where rates come from.
"""

import copy
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from trainlab import buffers, checks
from trainlab.models import Params, text_of

# The new parameters and the new state, to be written by an update.
Out = tuple[Params, Params]

# The types that are computed with as they are, and the smallest factor that keeps its digits in
# each.
SMALLEST_FACTOR = {np.dtype(np.float32): 1e-30, np.dtype(np.float64): 1e-300}


@dataclass(frozen=True)
class Group:
    """Options of their own for some of the parameters, chosen by name.

    Parameters
    ----------
    names : str, or several
        Patterns as in ``fnmatch.fnmatchcase``: ``"b*"`` is every name that begins with b. A
        parameter belongs to the first of an optimizer's groups that has a pattern for it.
    rate : float, at least 0
        Multiplies the schedule's rate. 0 freezes: the parameters stay what they are.
    weight_decay : float, at least 0, optional
        Instead of the optimizer's.

    Raises
    ------
    ValueError
        If there is no name, or an option is out of its range.
    TypeError
        If a name is no text, or an option no number.

    Examples
    --------
    Decay the weights, leave the biases alone, and let the first layer learn at a tenth of the rate:

    >>> optimizer = SGD(weight_decay=0.5, groups=[Group("b*", weight_decay=0.0), Group("W1", rate=0.1)])
    >>> params = {"W1": np.array([1.0]), "b1": np.array([1.0]), "W2": np.array([1.0])}
    >>> optimizer.update(params, {name: np.array([0.0]) for name in params}, optimizer.init(params), rate=1.0)
    >>> {name: value.item() for name, value in params.items()}
    {'W1': 0.95, 'b1': 1.0, 'W2': 0.5}
    """

    names: str | Sequence[str]
    rate: float = 1.0
    weight_decay: float | None = None

    def __post_init__(self):
        if not isinstance(self.names, (str, list, tuple)):
            raise TypeError(f"names must be a pattern or a list of them, received {self.names!r}")
        names = (self.names,) if isinstance(self.names, str) else tuple(self.names)
        if not names:
            raise ValueError("names must hold at least one pattern, received none")
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"names must be texts, received {name!r}")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "rate", checks.number("rate", self.rate, low=0))
        if self.weight_decay is not None:
            object.__setattr__(
                self, "weight_decay", checks.number("weight_decay", self.weight_decay, low=0)
            )


#: The decay of GPT-2-style training code for trainlab.transformer.Decoder: weights decay, biases, gains and
#: embeddings do not. Karpathy (2020), minGPT, ``configure_optimizers`` in mingpt/model.py, commit bbbdac7.
NO_DECAY = Group(("b_*", "bias*", "gain*", "E", "P"), weight_decay=0.0)
#: The same for trainlab.models.Linear and MLP: only weights decay.
BIASES = Group("b*", weight_decay=0.0)


@functools.lru_cache(maxsize=4096)
def _group_of(groups, name):
    return next(
        (group for group in groups if any(fnmatchcase(name, pattern) for pattern in group.names)),
        None,
    )


def _array(what, value):
    """Return `value` as an array of NumPy's own class that shares its memory, or refuse it."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{what} must be a NumPy array, received {type(value).__name__}")
    return np.asarray(value)


def _parameter(name, value):
    array = _array(f"the parameter {name!r}", value)
    if array.dtype.kind != "f":
        raise TypeError(
            f"the parameter {name!r} must be of a floating-point type, received dtype {array.dtype}"
        )
    return array


def _gradient(name, value):
    # What NumPy computes from an array without axes is one of its numbers.
    value = np.asarray(value) if isinstance(value, np.generic) else value
    array = _array(f"the gradient of {name!r}", value)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"the gradient of {name!r} must be real numbers, received dtype {array.dtype}"
        )
    return array


def _wide(dtype):
    """Return the type to compute in: the parameter's own, but float32 for float16."""
    return np.promote_types(dtype, np.float32)


def _ready_one(name, parameter, gradient, new):
    """Return a parameter and its gradient in types to compute in, or refuse them."""
    parameter, gradient, new = (
        _parameter(name, parameter),
        _gradient(name, gradient),
        _parameter(name, new),
    )
    if gradient.shape != parameter.shape:
        raise ValueError(
            f"the gradient of {name!r} has shape {gradient.shape}, the parameter {parameter.shape}"
        )
    if (new.shape, new.dtype) != (parameter.shape, parameter.dtype):
        raise ValueError(
            f"out must hold {name!r} as {parameter.dtype} of shape {parameter.shape}, received {new.dtype} of shape {new.shape}"
        )
    if not new.flags.writeable:
        raise ValueError(f"the parameter {name!r} cannot be written to: its array is read-only")
    wide = _wide(parameter.dtype)
    return parameter.astype(wide, copy=False), gradient.astype(
        np.promote_types(gradient.dtype, wide), copy=False
    )


def _ready(params, gradients, rate, new_params):
    """Return the rate, and for each parameter its name, value, gradient and the place for its new value.

    Everything is looked at before anything is written: an update that is refused has changed
    nothing.
    """
    rate = _rate(rate)
    if gradients.keys() != params.keys():
        raise ValueError(
            f"gradients must have the parameters' names {list(params)}, received {list(gradients)}"
        )
    ready = []
    for name, parameter in params.items():
        gradient, new = gradients[name], new_params.get(name)
        # The usual case, told in a fraction of a microsecond.
        if not (
            type(parameter) is type(gradient) is type(new) is np.ndarray
            and gradient.dtype is new.dtype is parameter.dtype in SMALLEST_FACTOR
            and parameter.shape == gradient.shape == new.shape
            and new.flags.writeable
        ):
            parameter, gradient = _ready_one(name, parameter, gradient, new)
        if type(rate) is not float and parameter.shape[:1] != rate.shape:
            raise ValueError(
                f"a rate of shape {rate.shape} is one for each replica, the parameter {name!r} has shape {parameter.shape}"
            )
        ready.append((name, parameter, gradient, new))
    return rate, ready


def _rate(rate):
    """Return the rate as a ``float``, or as an array with one for each replica."""
    if type(rate) is float:
        if not 0 <= rate < math.inf:
            raise ValueError(f"rate must be finite and at least 0, received {rate}")
        return rate
    array = np.asarray(rate)
    if array.dtype.kind not in "iuf" or isinstance(rate, np.ma.MaskedArray):
        raise TypeError(
            f"rate must be a number, or an array with one for each replica, received {rate!r}"
        )
    if array.ndim > 1:
        raise ValueError(f"rate must be a number or have shape (R,), received shape {array.shape}")
    good = (array >= 0) & (array < np.inf)
    if not good.all():
        raise ValueError(f"rate must be finite and at least 0, received {array[~good].flat[0]}")
    return array.astype(np.float64, copy=False) if array.ndim else float(array)


def _like(rate, parameter):
    """Return `rate` shaped to multiply `parameter`: one rate, or one for each replica."""
    # A Python number takes on the parameter's type by itself. NumPy's float64 would not: made the
    # parameter's here, it rounds as the Python number does.
    if type(rate) is float:
        return rate
    return _shaped(np.asarray(rate, parameter.dtype), parameter)


def _shaped(values, array):
    """Return `values`, one or one for each replica, with the axes to go with `array`."""
    return values if values.ndim == 0 else values.reshape(values.shape + (1,) * (array.ndim - 1))


def _spare(new, parameter, step):
    """Return `new` if it can hold a number on the way to itself: to ask for memory is a part of the time for large arrays."""
    free = (
        new.dtype == parameter.dtype == step.dtype
        and new is not parameter
        and not np.may_share_memory(new, parameter)
    )
    return new if free else None


def _squares(ready, named):
    """Return the gradients' squares, or refuse one that would be infinite: the parameter would never move again."""
    if (
        np.geterr()["over"] == "ignore"
    ):  # whoever ignores overflow has other means to see a run that is lost
        return [_square(gradient, parameter.dtype) for _, parameter, gradient, _ in ready]
    try:
        with np.errstate(over="raise"):
            return [_square(gradient, parameter.dtype) for _, parameter, gradient, _ in ready]
    except FloatingPointError:
        pass
    raise FloatingPointError(_what_overflows(ready, named))


def _square(gradient, dtype):
    square = np.square(gradient, out=np.empty_like(gradient))
    if square.dtype != dtype:
        square.astype(dtype)  # which overflows where the average of squares, of that type, would
    return square


def _what_overflows(ready, named):
    """Return a message that names the first gradient whose square overflows; what is ready may be all of them as one."""
    dtypes = {name: parameter.dtype for name, parameter, _, _ in ready}
    for name, gradient in named.items():
        dtype = dtypes.get(name, dtypes.get(""))
        with np.errstate(over="ignore"):
            too_large = np.isinf(np.square(np.asarray(gradient, dtype))) & np.isfinite(gradient)
        if too_large.any():
            return (
                f"the square of the gradient of {name!r} overflows {dtype}, received entries up to "
                f"{np.abs(gradient).max():.3g}: clip it, or train in a wider type"
            )


@dataclass(frozen=True, kw_only=True, repr=False)
class _Optimizer:
    """What the optimizers share: groups of parameters."""

    groups: Sequence[Group] = ()

    # Without decay, unless a subclass makes an option of it.
    weight_decay = 0.0

    def __post_init__(self):
        groups: Any = self.groups
        if not isinstance(groups, (list, tuple)) or not all(
            isinstance(group, Group) for group in groups
        ):
            raise TypeError(f"groups must be a tuple of Group, received {groups!r}")
        object.__setattr__(self, "groups", tuple(groups))
        if "weight_decay" in (field.name for field in fields(self)):
            object.__setattr__(
                self, "weight_decay", checks.number("weight_decay", self.weight_decay, low=0)
            )
        elif any(group.weight_decay is not None for group in groups):
            raise ValueError(
                f"{type(self).__name__} has no weight_decay, received one in {groups!r}"
            )

    def __repr__(self):
        return text_of(self, late="groups")

    def _zeros(self, params):
        """Return zeros for each parameter, for the state; refuse what no update could work with."""
        arrays = {name: _parameter(name, value) for name, value in params.items()}
        for group in self.groups:
            for pattern in group.names:
                if not any(fnmatchcase(name, pattern) for name in params):
                    raise ValueError(
                        f"the pattern {pattern!r} of {group} matches no parameter; there are {list(params)}"
                    )
        if isinstance(params, buffers.Packed) and params.whole() is not None:
            return params.like(lambda buffer: np.zeros_like(buffer, _wide(buffer.dtype)))
        return {name: np.zeros_like(array, _wide(array.dtype)) for name, array in arrays.items()}

    def _arrays(self, *dicts):
        """Return the arrays to work on: whole buffers where they are packed and no group asks for names."""
        return dicts if self.groups else buffers.together(*dicts)

    def _options(self, name, rate):
        """Return the rate and the weight decay of a parameter."""
        group = _group_of(self.groups, name)
        if group is None:
            return rate, self.weight_decay
        return (
            rate * group.rate,
            self.weight_decay if group.weight_decay is None else group.weight_decay,
        )


@dataclass(frozen=True, repr=False)
class SGD(_Optimizer):
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
        Adds this multiple of every parameter to its gradient, biases too unless a group says
        otherwise.
    groups : sequence of Group
        Parameters with options of their own.

    Raises
    ------
    ValueError
        If an option is out of its range, or `nesterov` is asked for without momentum.
    TypeError
        If an option is of the wrong kind.

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
        super().__post_init__()
        object.__setattr__(
            self, "momentum", checks.number("momentum", self.momentum, low=0, below=1)
        )
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, received momentum=0")

    def init(self, params: Params) -> Params:
        """Return the state: a velocity of zeros for each parameter, or nothing without momentum.

        The velocity has the parameter's type, or float32 for float16, in which the update is
        computed.

        Raises
        ------
        ValueError
            If a pattern of a group matches no parameter.
        TypeError
            If a parameter is no array of a floating-point type.
        """
        zeros = self._zeros(params)
        return zeros if self.momentum > 0 else {}

    def update(
        self,
        params: Params,
        gradients: Params,
        state: Params,
        rate: float | np.ndarray,
        out: Out | None = None,
    ) -> None:
        """Make one update, in place unless `out` is given.

        Parameters
        ----------
        params : dict of arrays
            float16, float32 or float64; float16 is computed in float32 and rounded once, at the
            end.
        gradients : dict of arrays
            Of the parameters' names and shapes, and of any real type. They are left as they are.
        state : dict of arrays
            As :meth:`init` made it.
        rate : float, or array of shape (R,)
            At least 0. With an array, the parameters' leading axis is that of the R replicas.
        out : pair (params, state) of dicts of arrays, optional
            Where to write the new values: arrays of the same names, shapes and types. `params` and
            `state` are then left as they are, so that an update cut short can be forgotten.

        Raises
        ------
        ValueError
            If names or shapes differ, a parameter's array is read-only, or the rate is negative,
            not finite or of another shape. Nothing has been written then.
        TypeError
            If a parameter or a gradient is no array, or not of such a type.
        """
        params, gradients, state, new_params, new_state = self._arrays(
            params, gradients, state, *(out or (params, state))
        )
        rate, ready = _ready(params, gradients, rate, new_params)
        # What overflows here is infinite, and the next loss will say so.
        with np.errstate(over="ignore", invalid="ignore"):
            for name, parameter, step, new in ready:
                own_rate, decay = (
                    self._options(name, rate) if self.groups else (rate, self.weight_decay)
                )
                spare = _spare(new, parameter, step)
                if decay > 0:
                    step = step + np.multiply(parameter, decay, out=spare)
                if self.momentum > 0:
                    velocity = np.multiply(state[name], self.momentum, out=new_state[name])
                    velocity += step
                    step = step + self.momentum * velocity if self.nesterov else velocity
                np.subtract(
                    parameter, np.multiply(_like(own_rate, parameter), step, out=spare), out=new
                )


@dataclass(frozen=True, repr=False)
class Adam(_Optimizer):
    r"""Adam: a step in units of the gradient's own recent size, for each parameter by itself.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad
              v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2, \qquad
              \theta \leftarrow \theta - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    with :math:`g` the gradient, :math:`m` and :math:`v` its average and that of its square,
    :math:`\theta` the parameter, :math:`\eta` the rate, and :math:`t` the number of this update,
    from 1. Kingma and Ba (2015), *Adam: a method for stochastic optimization*.

    Parameters
    ----------
    beta1, beta2 : float, from 0 to below 1
        Memory of the gradient and of its square.
    epsilon : float, above 0
        Keeps the division finite, in the unit of the gradient.
    groups : sequence of Group
        Parameters with a rate of their own; there is no weight decay to set.

    Raises
    ------
    ValueError
        If an option is out of its range, or a group sets a weight decay.
    TypeError
        If an option is of the wrong kind.
    FloatingPointError
        At an update, if the square of a gradient overflows: above 1e19 for float16 and float32
        parameters, 1e154 for float64. Under ``np.errstate(over="ignore")`` it becomes infinite, and
        its entry moves no more.

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

    def __post_init__(self):
        super().__post_init__()
        for name in ("beta1", "beta2"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), low=0, below=1))
        object.__setattr__(self, "epsilon", checks.number("epsilon", self.epsilon, above=0))

    def init(self, params: Params) -> Params:
        """Return the state: both averages, zero, for each parameter, and the number of updates.

        Types and refusals are those of :meth:`SGD.init`.
        """
        averages = {"first/": self._zeros(params), "second/": self._zeros(params)}
        return buffers.grouped(averages, {"updates": np.zeros((), np.int64)})

    def update(
        self,
        params: Params,
        gradients: Params,
        state: Params,
        rate: float | np.ndarray,
        out: Out | None = None,
    ) -> None:
        """Make one update, in place unless `out` is given; arguments and refusals are those of :meth:`SGD.update`."""
        named = gradients
        params, gradients, state, new_params, new_state = self._arrays(
            params, gradients, state, *(out or (params, state))
        )
        rate, ready = _ready(params, gradients, rate, new_params)
        squares = _squares(ready, named)  # refused before anything is written
        updates = int(state["updates"]) + 1
        new_state["updates"][...] = updates
        first_share, second_share = 1 - self.beta1**updates, 1 - self.beta2**updates
        with np.errstate(over="ignore", invalid="ignore"):
            for (name, parameter, gradient, new), square in zip(ready, squares):
                own_rate, decay = (
                    self._options(name, rate) if self.groups else (rate, self.weight_decay)
                )
                first_name, second_name = f"first/{name}", f"second/{name}"
                spare = _spare(new, parameter, gradient)
                first = np.multiply(state[first_name], self.beta1, out=new_state[first_name])
                first += np.multiply(gradient, 1 - self.beta1, out=spare)
                second = np.multiply(state[second_name], self.beta2, out=new_state[second_name])
                square *= 1 - self.beta2
                second += square
                # The square is used up: its memory takes the size of the step, and then the decayed
                # parameter.
                place = square if square.dtype == second.dtype else None
                size = np.divide(second, second_share, out=place)
                size = np.sqrt(size, out=place)
                size += self.epsilon
                step = np.divide(first, first_share, out=spare)
                step = np.multiply(_like(own_rate, parameter), step, out=spare)
                step = np.divide(step, size, out=spare)
                if decay > 0:
                    parameter = np.multiply(
                        parameter, _like(1 - own_rate * decay, parameter), out=place
                    )
                np.subtract(parameter, step, out=new)


@dataclass(frozen=True, repr=False)
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
        :math:`\lambda`, for all parameters, biases too unless a group says otherwise:
        ``groups=[NO_DECAY]`` for a decoder, ``groups=[BIASES]`` for an MLP.
    groups : sequence of Group
        Parameters with a rate or a weight decay of their own.

    Raises
    ------
    ValueError
        If an option is out of its range.
    TypeError
        If an option is of the wrong kind.

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


# Coefficients for which five rounds bring every singular value from 0.002 to 1 into 0.68 to 1.21.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: np.ndarray, steps: int = 5) -> np.ndarray:
    r"""Return matrices with the same singular vectors, and singular values close to 1.

    .. math:: X \leftarrow \frac{G}{\lVert G \rVert}, \qquad
              X \leftarrow a X + (b\, X X^\top + c\, (X X^\top)^2)\, X \quad \text{(`steps` times)}

    with :math:`G` a matrix, :math:`\lVert G \rVert` the root of the sum of its squares, and
    :math:`(a, b, c) = (3.4445, -4.775, 2.0315)`. Each round maps every singular value :math:`s` to
    :math:`a s + b s^3 + c s^5`, by products alone. Five rounds bring all from 0.002 to 1, in units
    of :math:`\lVert G \rVert`, between 0.68 and 1.21; smaller ones grow up to 485-fold, and 0
    stays 0.
    Bernstein and Newhouse (2024), *Old optimizer, new norm*; Jordan et al. (2024), *Muon: an
    optimizer for hidden layers*.

    Parameters
    ----------
    matrices : array, shape (..., m, n)
        float32 or wider.
    steps : int, at least 1

    Returns
    -------
    array
        New, of the same shape and type. NaN where a matrix is not finite.

    Raises
    ------
    ValueError
        If there are fewer than two axes, or `steps` is below 1.
    TypeError
        If `matrices` holds anything but real numbers, or `steps` is no whole number.

    Examples
    --------
    >>> orthogonalise(np.array([[300.0, 0.0], [0.0, -2.0]])).round(2).tolist()
    [[0.7, 0.0], [0.0, -0.91]]
    """
    steps = checks.integer("steps", steps, low=1)
    matrices = checks.reals("matrices", matrices)
    if matrices.ndim < 2:
        raise ValueError(f"matrices must have shape (..., m, n), received {matrices.shape}")
    a, b, c = NEWTON_SCHULZ
    with np.errstate(all="ignore"):
        # The products of the shorter side are the smaller ones.
        tall = matrices.shape[-2] > matrices.shape[-1]
        x = _of_norm_one(matrices.mT if tall else matrices)
        for _ in range(steps):
            gram = x @ x.mT
            change = gram @ gram
            change *= c
            gram *= b
            change += gram
            x = a * x + change @ x
    return x.mT if tall else x


def _of_norm_one(matrices):
    """Return each matrix over the root of the sum of its squares; zeros stay zeros."""
    rows = np.ascontiguousarray(matrices).reshape(*matrices.shape[:-2], -1)
    # In units of a power of two, which rounds nothing, no square overflows or vanishes.
    rows = np.ldexp(rows, -np.frexp(np.abs(rows).max(axis=-1, initial=0))[1][..., None])
    norm = np.sqrt(np.vecdot(rows, rows))[..., None]
    return (rows / np.where(norm == 0, 1, norm)).reshape(matrices.shape)


def _patterns(name, value):
    """Return `value`, a pattern or several, as a tuple."""
    patterns = (value,) if isinstance(value, str) else value
    if (
        not isinstance(patterns, (list, tuple))
        or not patterns
        or not all(isinstance(pattern, str) for pattern in patterns)
    ):
        raise TypeError(f"{name} must be a pattern or a list of them, received {value!r}")
    return tuple(patterns)


@functools.lru_cache(maxsize=4096)
def _is_one_of(name, patterns):
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@functools.lru_cache(maxsize=64)
def _for_the_rest(muon):
    return AdamW(
        muon.beta1, muon.beta2, muon.epsilon, weight_decay=muon.weight_decay, groups=muon.groups
    )


@dataclass(frozen=True, repr=False)
class Muon(_Optimizer):
    r"""Momentum with all directions of a matrix made equally long; AdamW for what is no hidden matrix.

    .. math:: V \leftarrow \mu V + G, \qquad
              O = \operatorname{orthogonalise}(G + \mu V), \qquad
              W \leftarrow (1 - \eta \lambda)\, W - 0.2\, \eta \sqrt{\max(m, n)}\; O

    with :math:`W` a matrix of shape (m, n), :math:`G` its gradient, :math:`V` its velocity,
    :math:`\mu` = `momentum`, :math:`\lambda` = `weight_decay` and the rate :math:`\eta`; without
    Nesterov's form :math:`O` is made of :math:`V` alone. :func:`orthogonalise` keeps the directions
    of a matrix and makes them about equally long. Jordan et al. (2024), *Muon: an optimizer for
    hidden layers*. The entries of an orthogonal matrix have the mean square :math:`1/\max(m, n)`,
    so the step's are 0.2 rates long in this mean, as long as Adam's usually are, and one rate
    serves both: Liu et al. (2025), *Muon is scalable for LLM training*.

    Parameters
    ----------
    momentum : float, 0 <= momentum < 1
    nesterov : bool
    weight_decay : float, at least 0
        :math:`\lambda`, decoupled as in :class:`AdamW`, for all parameters unless a group says
        otherwise.
    beta1, beta2, epsilon
        As for :class:`Adam`, for the rest.
    matrices : str, or several
        Patterns of the names of the matrices, as in :class:`Group`. The default are the hidden
        matrices of :class:`trainlab.transformer.Decoder`, and not its embeddings, as the authors
        advise. Axes before the last two are those of replicas, or of several matrices.
    steps : int, at least 1
        Rounds of :func:`orthogonalise`.
    groups : sequence of Group
        Parameters with a rate or a weight decay of their own, matrices or not.

    Raises
    ------
    ValueError
        If an option is out of its range.
    TypeError
        If an option is of the wrong kind.
    FloatingPointError
        At an update, as :class:`Adam`, for the rest.

    Examples
    --------
    A step along a gradient of rank 1 is an orthogonal matrix of rank 1, whatever its size:

    >>> optimizer = Muon(weight_decay=0.0)
    >>> params = {"W_up1": np.zeros((2, 2)), "b_up1": np.zeros(1)}
    >>> gradients = {"W_up1": np.array([[3e-5, 3e-5], [0.0, 0.0]]), "b_up1": np.array([7.0])}
    >>> optimizer.update(params, gradients, optimizer.init(params), rate=1.0)
    >>> params["W_up1"].round(2).tolist(), params["b_up1"].round(2).tolist()
    ([[-0.14, -0.14], [0.0, 0.0]], [-1.0])
    """

    momentum: float = 0.95
    nesterov: bool = True
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    matrices: str | Sequence[str] = "W_*"
    steps: int = 5

    def __post_init__(self):
        super().__post_init__()
        for name in ("momentum", "beta1", "beta2"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), low=0, below=1))
        object.__setattr__(self, "epsilon", checks.number("epsilon", self.epsilon, above=0))
        object.__setattr__(self, "matrices", _patterns("matrices", self.matrices))
        object.__setattr__(self, "steps", checks.integer("steps", self.steps, low=1))

    def init(self, params: Params) -> Params:
        """Return the state: a velocity for each matrix, Adam's two averages for each of the rest, and the number of updates.

        Types are those of :meth:`SGD.init`.

        Raises
        ------
        ValueError
            If a pattern of `matrices` or of a group matches no parameter, or `matrices` one of
            fewer than two axes.
        TypeError
            If a parameter is no array of a floating-point type.
        """
        zeros, matrices = self._zeros(dict(params)), self._matrices(params)
        for pattern in self.matrices:
            if not any(fnmatchcase(name, pattern) for name in params):
                raise ValueError(
                    f"the pattern {pattern!r} of matrices matches no parameter; there are {list(params)}"
                )
        for name in matrices:
            if zeros[name].ndim < 2:
                raise ValueError(
                    f"matrices must have two axes at least, {name!r} has shape {zeros[name].shape}"
                )
        rest = {name: value for name, value in zeros.items() if name not in matrices}
        return (
            {f"velocity/{name}": zeros[name] for name in matrices}
            | {f"first/{name}": value for name, value in rest.items()}
            | {f"second/{name}": np.zeros_like(value) for name, value in rest.items()}
            | {"updates": np.zeros((), np.int64)}
        )

    def update(
        self,
        params: Params,
        gradients: Params,
        state: Params,
        rate: float | np.ndarray,
        out: Out | None = None,
    ) -> None:
        """Make one update, in place unless `out` is given; arguments and refusals are those of :meth:`SGD.update`."""
        new_params, new_state = out or (params, state)
        rate, ready = _ready(params, gradients, rate, new_params)
        matrices = self._matrices(params)
        rest, rest_gradients, new_rest = (
            {name: arrays[name] for name in params if name not in matrices}
            for arrays in (params, gradients, new_params)
        )
        # It refuses before it writes, and what is left cannot be refused.
        _for_the_rest(self).update(rest, rest_gradients, state, rate, out=(new_rest, new_state))
        with np.errstate(over="ignore", invalid="ignore"):
            for name, parameter, gradient, new in ready:
                if name not in matrices:
                    continue
                own_rate, decay = self._options(name, rate)
                own = f"velocity/{name}"
                velocity = np.multiply(state[own], self.momentum, out=new_state[own])
                velocity += gradient
                step = gradient + self.momentum * velocity if self.nesterov else velocity
                step = orthogonalise(step, self.steps)
                length = 0.2 * math.sqrt(max(parameter.shape[-2:]))
                step *= _like(own_rate * length, parameter)
                if decay > 0:
                    parameter = parameter * _like(1 - own_rate * decay, parameter)
                np.subtract(parameter, step, out=new)

    def _matrices(self, params):
        """Return the names of the parameters that are orthogonalised, in their order."""
        return [name for name in params if _is_one_of(name, self.matrices)]


@dataclass(frozen=True, repr=False)
class ScheduleFreeAdamW(AdamW):
    r"""AdamW that averages as it goes, and so needs no schedule that ends at a step told in advance.

    .. math:: s \leftarrow \frac{g}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} + \lambda y, \qquad
              z \leftarrow z - \eta s, \qquad
              x \leftarrow (1 - c)\, x + c\, z, \qquad
              y \leftarrow (1 - \beta_1)\, z + \beta_1 x

    with the parameters :math:`y`, where the gradient :math:`g` is taken, the point :math:`z` that
    steps, and the average :math:`x`, which is what training is for; :math:`v`, :math:`t` and the
    other letters are those of :class:`Adam` and :class:`AdamW`. The share :math:`c` is the rate's
    square over the sum of all squares so far, so the steps of a warm-up count for little. Defazio
    et al. (2024), *The road less scheduled*. The schedule is a warm-up and a constant.

    Evaluate :math:`x` and not the parameters: :meth:`evaluate` is a measure for
    :class:`trainlab.callbacks.Evaluation`, and :meth:`averaged` is the result of a training. Put
    into the trainer in place of its parameters, it ends the training: the other two points are not
    those of an update that could follow.

    Parameters
    ----------
    beta1 : float, above 0 and below 1
        How close to the average the gradient is taken.
    beta2, epsilon, weight_decay, groups
        As for :class:`AdamW`.

    Raises
    ------
    ValueError, TypeError, FloatingPointError
        As for :class:`AdamW`, or if `beta1` is 0.

    Examples
    --------
    >>> optimizer = ScheduleFreeAdamW(beta1=0.5, weight_decay=0.0)
    >>> params = {"w": np.array([0.0])}
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     optimizer.update(params, {"w": np.array([1.0])}, state, rate=1.0)
    >>> state["ahead/w"].round(4).tolist(), optimizer.averaged(params, state)["w"].round(4).tolist()
    ([-2.0], [-1.5])
    """

    def __post_init__(self):
        super().__post_init__()
        checks.number("beta1", self.beta1, above=0)

    def init(self, params: Params) -> Params:
        """Return the state: for each parameter the point that steps, the average of the gradient's square and the sum of the rates' squares; and the number of updates.

        Types and refusals are those of :meth:`SGD.init`.
        """
        zeros = self._zeros(dict(params))
        return (
            {f"ahead/{name}": np.array(params[name], zero.dtype) for name, zero in zeros.items()}
            | {f"second/{name}": zero for name, zero in zeros.items()}
            # Along the first axis, which may be that of replicas with a rate each.
            | {
                f"squares/{name}": np.zeros(zero.shape[:1] + (1,) * (zero.ndim - 1))
                for name, zero in zeros.items()
            }
            | {"updates": np.zeros((), np.int64)}
        )

    def update(
        self,
        params: Params,
        gradients: Params,
        state: Params,
        rate: float | np.ndarray,
        out: Out | None = None,
    ) -> None:
        """Make one update, in place unless `out` is given; arguments and refusals are those of :meth:`SGD.update`."""
        new_params, new_state = out or (params, state)
        rate, ready = _ready(params, gradients, rate, new_params)
        squares = _squares(ready, gradients)  # refused before anything is written
        updates = int(state["updates"]) + 1
        new_state["updates"][...] = updates
        second_share = 1 - self.beta2**updates
        with np.errstate(over="ignore", invalid="ignore"):
            for (name, parameter, gradient, new), square in zip(ready, squares):
                own_rate, decay = self._options(name, rate)
                own_rate = _shaped(np.asarray(own_rate, np.float64), parameter)
                share = self._share(name, own_rate, state, new_state)
                second = np.multiply(
                    state[f"second/{name}"], self.beta2, out=new_state[f"second/{name}"]
                )
                second += (1 - self.beta2) * square
                step = gradient / (np.sqrt(second / second_share) + self.epsilon)
                if decay > 0:
                    step += decay * parameter
                # The last formula with the two before it put in: the average itself is not needed.
                length = (own_rate * (1 - self.beta1 * (1 - share))).astype(parameter.dtype)
                ahead = state[f"ahead/{name}"]
                moved = parameter + share.astype(parameter.dtype) * (ahead - parameter)
                stride = own_rate.astype(parameter.dtype) * step
                np.subtract(ahead, stride, out=new_state[f"ahead/{name}"])
                np.subtract(moved, length * step, out=new)

    def _share(self, name, rate, state, new_state):
        """Count a rate and return its share in the average: 0 as long as all rates are."""
        square, sums = rate * rate, new_state[f"squares/{name}"]
        np.add(state[f"squares/{name}"], square, out=sums)
        return np.divide(square, sums, out=np.zeros_like(sums), where=sums > 0)

    def averaged(self, params: Params, state: Params) -> Params:
        """Return the average, what is to be evaluated: new arrays of the parameters' names, shapes and types.

        Parameters
        ----------
        params, state : dicts of arrays
            As the last update left them, or :meth:`init`.
        """
        far = 1 / self.beta1 - 1
        with np.errstate(over="ignore", invalid="ignore"):
            return {
                name: (value + far * (value - state[f"ahead/{name}"])).astype(value.dtype)
                for name, value in params.items()
            }

    def evaluate(self, trainer: Any, x: Any, y: Any, **options: Any) -> Any:
        """Return what ``trainer.evaluate`` returns, for the average in place of the trainer's parameters.

        So it is a measure, too: ``Evaluation(x, y, every=10, measure=optimizer.evaluate)``.
        """
        other = copy.copy(trainer)
        other.params = self.averaged(trainer.params, trainer.state)
        return other.evaluate(x, y, **options)


def clip_by_global_norm(
    gradients: Params, max_norm: float, *, replicas: bool = False, out: Params | None = None
) -> tuple[Params, np.ndarray]:
    r"""Scale all gradients by one factor, so that their joint norm is at most `max_norm`.

    .. math:: g \leftarrow g \cdot \min\!\big(1, \text{max\_norm} / \lVert g \rVert\big), \qquad
              \lVert g \rVert^2 = \textstyle\sum_{\text{all entries}} g_j^2

    Pascanu, Mikolov and Bengio (2013), *On the difficulty of training recurrent neural networks*.

    Parameters
    ----------
    gradients : dict of arrays
        Of any real type; norms are computed in float64, so that no square overflows.
    max_norm : float, above 0
    replicas : bool
        Take the norm for each entry of the leading axis by itself.
    out : dict of arrays, optional
        Where to write the clipped gradients, `gradients` themselves for one; it is returned then.

    Returns
    -------
    clipped : dict of arrays
        Of the gradients' types; whole numbers become float64.
    norm : float, or array of shape (R,)
        The norm before clipping; NaN or infinite where the gradients are.

    Raises
    ------
    ValueError
        If `max_norm` is not above 0, or there are replicas and the leading axes differ.
    TypeError
        If a gradient is no array of real numbers.

    Examples
    --------
    >>> clipped, norm = clip_by_global_norm({"w": np.array([3.0, 4.0])}, max_norm=1.0)
    >>> float(norm), clipped["w"].tolist()
    (5.0, [0.6000000000000001, 0.8])
    """
    max_norm = checks.number("max_norm", max_norm, above=0)
    if out is None and buffers.whole_of(gradients) is not None:
        out = buffers.empty_like(gradients)
    whole, places = buffers.together(gradients, {} if out is None else out)
    arrays = {name: _gradient(name, value) for name, value in whole.items()}
    if replicas:
        first = next(iter(arrays.values()), np.zeros(1))
        for name, array in arrays.items():
            if array.ndim == 0 or len(array) != first.shape[0]:
                raise ValueError(
                    f"replicas need gradients with one leading axis for all, {name!r} has shape {array.shape}"
                )
    # Runs that diverged have gradients that are not finite, and say so by their norm.
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        norm = _global_norm(arrays, replicas)
        factor = max_norm / np.maximum(norm, max_norm)
        clipped = {
            name: _clipped(array, factor, norm, max_norm, places.get(name))
            for name, array in arrays.items()
        }
        return clipped if out is None else out, norm


def _global_norm(arrays, replicas):
    """Return the joint norm of some arrays: one, or one for each replica."""
    norm = _root_of_squares(arrays, replicas)
    # Squares of 1e200 overflow, those of 1e-200 vanish: count in units of the largest entry
    # instead.
    extreme = (norm < 1e-140) | (norm == np.inf)
    if not extreme.any():
        return norm
    largest = np.zeros(norm.shape)
    for array in arrays.values():
        wide = np.abs(array.astype(np.float64))
        largest = np.maximum(largest, wide.max(axis=_axes(array, replicas), initial=0))
    unit = np.where(extreme & (largest > 0) & (largest < np.inf), largest, 1.0)
    return np.where(extreme, unit * _root_of_squares(arrays, replicas, unit), norm)[()]


def _root_of_squares(arrays, replicas, unit=None):
    squares = np.float64(0)
    for array in arrays.values():
        wide = array.astype(np.float64)
        if unit is not None:
            wide /= _shaped(unit, wide)
        squares = squares + np.square(wide, out=wide).sum(axis=_axes(array, replicas))
    return np.sqrt(squares)


def _axes(array, replicas):
    return tuple(range(1 if replicas else 0, array.ndim))


def _clipped(array, factor, norm, max_norm, place):
    """Return `array` times `factor`, which is `max_norm` / `norm` or 1; in `place` if there is one."""
    exact = factor >= SMALLEST_FACTOR.get(array.dtype, np.inf)
    if array.dtype in SMALLEST_FACTOR and exact.all():
        return np.multiply(array, _like(factor, array), out=place)
    # A small factor loses its digits, and float16 and whole numbers have none to lose: divide
    # first, in float64.
    wide = array.astype(np.float64)
    divided = wide / _shaped(norm, wide) * max_norm
    wide = np.where(_shaped(factor == 1, wide), wide, divided)
    if exact.any():
        wide = np.where(_shaped(exact, wide), array * _like(factor, array), wide)
    wide = wide.astype(array.dtype if array.dtype.kind == "f" else np.float64)
    if place is None:
        return wide
    np.copyto(place, wide)
    return place
