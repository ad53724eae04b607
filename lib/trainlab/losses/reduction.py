"""What all losses share: the pair they return, and how values are weighed and reduced."""

from typing import NamedTuple

import numpy as np

from trainlab import checks

REDUCTIONS = ("mean", "sum", "none")


class Loss(NamedTuple):
    """A loss and its gradient, under the same reduction.

    Attributes
    ----------
    value : float or array
        A ``float`` for ``"mean"`` and ``"sum"``; an array, one entry an example, for ``"none"``.
    gradient : array
        The derivative of `value` with respect to the predictions, in their shape.
    """

    value: float | np.ndarray
    gradient: np.ndarray


def total_weight(shape, weights, reduction):
    """Return what a sum of values is divided by: their number or weight for a mean, otherwise 1."""
    checks.one_of("reduction", reduction, REDUCTIONS)
    if reduction != "mean":
        return 1.0
    return float(np.prod(shape)) if weights is None else float(weights.sum())


def reduce_values(values, weights, total, reduction):
    """Return the weighted `values`, or their sum over `total`."""
    if weights is not None:
        # A row that does not count may hold an infinite loss, and 0 * inf is NaN.
        values = np.where(weights > 0, values, 0) * weights
    return values if reduction == "none" else float(values.sum() / total)


def reduce_loss(values, gradient, weights, reduction):
    """Weigh and reduce both: `gradient` holds the derivative of each value by itself."""
    if weights is not None:
        weights = checks.weights(weights, values.shape, values.dtype)
    total = total_weight(values.shape, weights, reduction)
    if weights is not None:
        factor = weights.reshape(weights.shape + (1,) * (gradient.ndim - weights.ndim))
        gradient = np.where(factor > 0, gradient, 0) * factor
    if total != 1:
        gradient = gradient / gradient.dtype.type(total)
    return Loss(reduce_values(values, weights, total, reduction), gradient)
