"""What all losses share: the pair they return, and how values are weighed and reduced."""

import math
from typing import Any, NamedTuple

import numpy as np

from trainlab import checks

REDUCTIONS = ("mean", "sum", "none")


class _Pair(NamedTuple):
    value: float | np.ndarray
    gradient: np.ndarray


class Loss(_Pair):
    """A loss and its gradient, under the same reduction: a pair, ``value, gradient = loss``.

    Attributes
    ----------
    value : float or array
        A ``float`` for ``"mean"`` and ``"sum"``; an array, one entry an example, for ``"none"``.
    gradient : array
        The derivative of `value` with respect to the predictions, in their shape.
    weights : array in the shape of `value`, or None
        How much each value counts in a mean. The values are multiplied by them already, so the mean
        is ``value.sum() / weights.sum()``. ``None`` where every value counts once, and for
        ``"mean"`` and ``"sum"``, where the weighing is over. No member of the pair: it is reached
        by its name alone.

    Examples
    --------
    >>> from trainlab.losses import softmax_cross_entropy
    >>> loss = softmax_cross_entropy([[0.0, 0.0], [0.0, 9.0]], [0, -1], ignore_index=-1, reduction="none")
    >>> value, gradient = loss
    >>> value.round(4).tolist(), loss.weights.tolist()
    ([0.6931, 0.0], [1.0, 0.0])
    """

    weights: np.ndarray | None = None

    def __new__(
        cls, value: float | np.ndarray, gradient: np.ndarray, weights: np.ndarray | None = None
    ) -> "Loss":
        self = super().__new__(cls, value, gradient)
        self.weights = weights
        return self

    def _replace(self, **changes: Any) -> "Loss":
        return Loss(**(self._asdict() | {"weights": self.weights} | changes))


def weigh(weights, shape, reduction):
    """Return the weights to multiply values with, and what the sum of those products is divided by."""
    checks.one_of("reduction", reduction, REDUCTIONS)
    if reduction != "mean":
        return weights, 1.0
    if weights is None:
        return None, float(np.prod(shape))
    # In a mean only their ratios count. A power of two rounds nothing, and then no sum of them
    # overflows.
    weights = np.ldexp(weights, -np.frexp(weights.max())[1])
    return weights, float(weights.sum(dtype=np.float64))


def reduce_values(values, weights, total, reduction):
    """Return the weighted `values`, or their sum over `total` as a ``float``."""
    if weights is not None:
        # A row that does not count may hold an infinite loss, and 0 * inf is NaN.
        values = np.where(weights > 0, values, 0)
    weighted = values if weights is None else values * weights
    if reduction == "none":
        return weighted
    value = float(weighted.sum(dtype=np.float64) / total)
    if reduction == "mean" and not math.isfinite(value):
        # The sum may overflow where the mean, which lies between the values, does not.
        value = float(np.clip((weighted / total).sum(dtype=np.float64), values.min(), values.max()))
    return value


def reduce_loss(values, gradient, weights, reduction, dtype):
    """Weigh and reduce both: `gradient` holds the derivative of each value by itself.

    Values and gradient come in the type they were computed in; `dtype` is that of the predictions.
    Each loss silences NumPy around its formula and this: a number that is infinite in its type is
    no accident.
    """
    if weights is not None:
        weights = checks.weights(weights, values.shape, values.dtype)
    weights, total = weigh(weights, values.shape, reduction)
    if weights is not None:
        factor = weights.reshape(weights.shape + (1,) * (gradient.ndim - weights.ndim))
        gradient = np.where(factor > 0, gradient, 0) * factor
    if total != 1:
        gradient = gradient / gradient.dtype.type(total)
    return rounded(reduce_values(values, weights, total, reduction), gradient, weights, dtype)


def rounded(value, gradient, weights, dtype):
    """Return the loss in the type of the predictions; a mean or a sum stays the ``float`` it is."""
    if type(value) is float:
        return Loss(value, np.asarray(gradient, dtype))
    return Loss(np.asarray(value, dtype), np.asarray(gradient, dtype), weights)
