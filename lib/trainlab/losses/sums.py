"""Sums over the examples of an update, for one run or for each of several: what a trainer needs of a loss."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from trainlab.losses.reduction import Loss


def weighed_sum(loss: Loss | tuple, weights: np.ndarray | None, axis: int) -> tuple:
    """Return the weighted sum of a loss's values, and its weight.

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
        Without weights the weight is an ``int``, the number of values.

    Raises
    ------
    ValueError
        If weights do not fit the values: losses do not broadcast.

    Examples
    --------
    >>> weighed_sum(Loss(np.array([1.0, 2.0]), np.array([0.5, 0.5])), np.array([3.0, 1.0]), axis=0)
    (5.0, 4.0)
    """
    values: Any = loss[0]
    counts = getattr(loss, "weights", None)
    if counts is not None and counts.shape != values.shape:
        raise ValueError(
            f"the loss returned weights of shape {counts.shape} for values of shape {values.shape}"
        )
    if weights is None:
        runs = len(values) if axis else 1
        return _sum(values, axis), values.size // runs if counts is None else _sum(counts, axis)
    if weights.shape != values.shape[: weights.ndim]:
        raise ValueError(
            f"weights have shape {weights.shape}, the losses {values.shape}; losses do not broadcast"
        )
    # One weight for an example of several numbers counts for each of them.
    weights = np.broadcast_to(_trailing(weights, values), values.shape)
    # What does not count may be infinite, and 0 * inf is NaN.
    value = _sum(np.where(weights > 0, values, 0) * weights, axis)
    return value, _sum(weights if counts is None else weights * counts, axis)


def weighed_losses(
    loss: Callable,
    predictions: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None,
    axis: int,
    refuse: Callable,
) -> tuple:
    """Return the weighted sum of losses, its weight, the derivative of each loss, and which runs are lost.

    A run is lost whose predictions or losses are not finite: ``refuse(lost, what)`` is called with the runs and what
    it was. If it returns, their derivatives are NaN. Where no run is lost, the last is ``None``.

    Parameters
    ----------
    loss : callable
        As a trainer has it; asked for ``reduction="none"``.
    predictions, targets, weights : arrays, the weights optional
    axis : int
        1 if the first axis is that of R replicas, otherwise 0.
    refuse : callable
    """
    lost: Any = None
    if not np.isfinite(predictions).all():
        axes = tuple(range(axis, predictions.ndim))
        lost = ~np.isfinite(predictions).all(axis=axes)
        refuse(lost, "predictions")
        predictions = np.where(np.expand_dims(lost, axes), 0, predictions)
    found = loss(predictions, targets, reduction="none")
    value, weight = weighed_sum(found, weights, axis)
    gradient = found[1]
    if not (np.isfinite(value).all() if axis else math.isfinite(value)):
        refuse(~np.isfinite(value), "losses")
        lost = ~np.isfinite(value) if lost is None else lost | ~np.isfinite(value)
    if lost is not None:
        rows = np.expand_dims(lost, tuple(range(axis, gradient.ndim)))
        gradient = np.where(rows, gradient.dtype.type(np.nan), gradient)
    return value, weight, gradient, lost


def gradient_of_mean(
    gradient: np.ndarray, weights: np.ndarray | None, total: float | np.ndarray
) -> np.ndarray:
    """Return the gradient of a weighted sum over `total`, from the derivative of each value.

    Parameters
    ----------
    gradient : array
    weights : array in the shape of the gradient's first axes, optional
    total : float, or array of shape (R,)

    Examples
    --------
    >>> gradient_of_mean(np.ones((2, 3)), None, np.array([1.0, 2.0])).tolist()
    [[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]
    """
    if weights is None:
        return divided(gradient, total)
    share = _trailing(weights / _trailing(np.asarray(total, np.float64), weights), gradient)
    return np.where(share > 0, gradient, 0) * share.astype(gradient.dtype)


def some_weight(weight: float | np.ndarray, step: int) -> float | np.ndarray:
    """Return the weight of an update, or refuse one of 0: nothing is left to average."""
    if type(weight) is not int and not np.all(weight > 0):  # a whole number counts examples
        which = f" of replicas {np.flatnonzero(weight == 0).tolist()}" if np.ndim(weight) else ""
        raise ValueError(
            f"the weights{which} at step {step} are all zero: nothing is left to average"
        )
    return weight


def divided(array: np.ndarray, total: float | np.ndarray) -> np.ndarray:
    """Return an array over a number, or over one for each replica, in the array's type."""
    if isinstance(total, (int, float)):
        return array / array.dtype.type(total)
    return array / _trailing(np.asarray(total, array.dtype), array)


def _sum(values, axis):
    if axis == 0:
        return float(values.sum(dtype=np.float64))
    return values.reshape(len(values), -1).sum(axis=-1, dtype=np.float64)


def _trailing(weights, array):
    """Return `weights` with axes of length 1 at the end, to multiply an array of more axes."""
    return weights.reshape(weights.shape + (1,) * (array.ndim - weights.ndim))
