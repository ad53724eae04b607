"""Sums over the examples of an update, for one run or for each of several: what a trainer needs of a loss."""

from typing import Any

import numpy as np

from trainlab.losses.reduction import Loss


def weighed_sum(loss: Loss | tuple, weights: np.ndarray | None, axis: int) -> tuple:
    """Return the weighted sum of a loss's values, its weight, and its gradient.

    Parameters
    ----------
    loss : Loss with ``reduction="none"``, or a pair of values and gradient
        Its own `weights` say how much each value counts; without them each counts once.
    weights : array in the shape of the values' first axes, optional
        How much each example counts besides.
    axis : int
        1 if the first axis is that of R replicas, which are not summed, otherwise 0.

    Returns
    -------
    value, weight : float, or arrays of shape (R,)
    gradient : array

    Raises
    ------
    ValueError
        If weights do not fit the values: losses do not broadcast.

    Examples
    --------
    >>> weighed_sum(Loss(np.array([1.0, 2.0]), np.array([0.5, 0.5])), np.array([3.0, 1.0]), axis=0)
    (5.0, 4.0, array([1.5, 0.5]))
    """
    values: Any
    (values, gradient), counts = loss, getattr(loss, "weights", None)
    if counts is not None and counts.shape != values.shape:
        raise ValueError(f"the loss returned weights of shape {counts.shape} for values of shape {values.shape}")
    if weights is None:
        runs = len(values) if axis else 1
        return _sum(values, axis), values.size // runs if counts is None else _sum(counts, axis), gradient
    if weights.shape != values.shape[: weights.ndim]:
        raise ValueError(f"weights have shape {weights.shape}, the losses {values.shape}; losses do not broadcast")
    # One weight for an example of several numbers counts for each of them.
    weights = np.broadcast_to(_trailing(weights, values), values.shape)
    weight = _sum(weights if counts is None else weights * counts, axis)
    factor = _trailing(weights, gradient)
    # What does not count may be infinite, and 0 * inf is NaN.
    return _sum(np.where(weights > 0, values, 0) * weights, axis), weight, np.where(factor > 0, gradient, 0) * factor


def divided(gradient: np.ndarray, total: float | np.ndarray) -> np.ndarray:
    """Return a gradient over a number, or over one for each replica, in the gradient's type.

    Examples
    --------
    >>> divided(np.ones((2, 3)), np.array([1.0, 2.0])).tolist()
    [[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]
    """
    if isinstance(total, (int, float)):
        return gradient / gradient.dtype.type(total)
    return gradient / _trailing(np.asarray(total, gradient.dtype), gradient)


def _sum(values, axis):
    if axis == 0:
        return float(values.sum(dtype=np.float64))
    return values.reshape(len(values), -1).sum(axis=-1, dtype=np.float64)


def _trailing(weights, array):
    """Return `weights` with axes of length 1 at the end, to multiply an array of more axes."""
    return weights.reshape(weights.shape + (1,) * (array.ndim - weights.ndim))
