"""A linear layer and the cross-entropy of its logits in one, for so many classes that the logits do not fit."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks
from trainlab.losses.classification import softmax_cross_entropy
from trainlab.losses.reduction import reduce_values, weigh


class _Triple(NamedTuple):
    value: float
    gradient: np.ndarray
    matrix_gradient: np.ndarray


class LinearLoss(_Triple):
    """A loss and its two gradients, under the same reduction: ``value, gradient, matrix_gradient = loss``.

    Attributes
    ----------
    value : float
    gradient : array
        The derivative of `value` with respect to the rows, in their shape.
    matrix_gradient : array
        That with respect to the matrix.
    """


def linear_cross_entropy(
    rows: ArrayLike,
    matrix: ArrayLike,
    labels: ArrayLike,
    *,
    chunk: int = 256,
    weights: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | Iterable[int] | None = None,
    z_loss: float = 0.0,
    reduction: str = "mean",
) -> LinearLoss:
    r"""Cross-entropy between labels and the softmax of ``rows @ matrix.T``, without holding all logits.

    .. math:: z_i = U x_i, \qquad
              \frac{\partial \ell}{\partial x_i} = U^\top \frac{\partial \ell}{\partial z_i}, \qquad
              \frac{\partial \ell}{\partial U}
                  = \sum_i \frac{\partial \ell}{\partial z_i}\, x_i^\top

    with :math:`x_i` the rows, :math:`U` the matrix and :math:`\ell` the
    :func:`softmax_cross_entropy` of the logits :math:`z`. A chunk of rows at a time: its logits and
    their gradient are made, used and forgotten. n rows and K classes need room for 2 `chunk` K
    numbers instead of 2 n K, beside gradients of the sizes of rows and matrix, at the cost of the
    same products. Wijmans et al. (2024), *Cut your losses in large-vocabulary language models*, who
    divide the classes, too, and never leave the fast memory of a GPU.

    Parameters
    ----------
    rows : array, shape (..., D)
        What the last layer sees.
    matrix : array, shape (K, D)
        One row for each class: ``E`` or ``U`` of a :class:`trainlab.transformer.Decoder`.
    labels : array of whole numbers, shape (...)
    chunk : int, at least 1
        Rows at a time. Another number changes the last digits at most.
    weights, label_smoothing, ignore_index, z_loss
        As for :func:`softmax_cross_entropy`. What does not count is not computed either.
    reduction : "mean" or "sum"
        There is no "none": each value has a whole matrix of derivatives.

    Returns
    -------
    LinearLoss
        `value` in nats, `gradient` in the shape and type of the rows, `matrix_gradient` in those of
        the matrix.

    Raises
    ------
    ValueError
        If the shapes do not fit, rows, matrix or a logit are not finite, `chunk` is below 1, or as
        :func:`softmax_cross_entropy`.
    TypeError
        If the labels are not whole numbers.

    Examples
    --------
    >>> value, gradient, matrix_gradient = linear_cross_entropy([[2.0]], [[1.0], [1.0]], [0])
    >>> value, gradient.tolist(), matrix_gradient.tolist()
    (0.6931471805599453, [[0.0]], [[-1.0], [1.0]])
    """
    rows = checks.finite("rows", checks.floating("rows", rows))
    matrix = checks.finite("matrix", checks.floating("matrix", matrix))
    if rows.ndim < 1 or matrix.ndim != 2 or rows.shape[-1] != matrix.shape[-1]:
        raise ValueError(
            f"rows of shape (..., D) need a matrix of shape (K, D), received {rows.shape} and {matrix.shape}"
        )
    chunk = checks.integer("chunk", chunk, low=1)
    checks.one_of("reduction", reduction, ("mean", "sum"))
    wide, shape = checks.wide(rows), rows.shape[:-1]
    places, kept = checks.labels(labels, shape, len(matrix), ignore_index)
    counts = _counts(weights, kept, shape, wide.dtype, ignore_index, reduction)
    counts, total = weigh(counts, shape, reduction)

    flat, places = wide.reshape(-1, wide.shape[-1]), places.reshape(-1)
    factor = np.broadcast_to(1.0 if counts is None else counts, shape).reshape(-1)
    some = np.flatnonzero(factor)
    used = checks.fitting("matrix", matrix, flat.dtype)
    values, gradient = np.zeros(len(flat), flat.dtype), np.zeros_like(flat)
    matrix_gradient, room = np.zeros_like(used), np.empty_like(used)
    options = {"label_smoothing": label_smoothing, "z_loss": z_loss}
    with np.errstate(all="ignore"):
        for start in range(0, len(some), chunk):
            block = some[start : start + chunk]
            values[block], slope = _of_logits(flat, block, used, places, shape, options)
            share = (factor[block] / total).astype(flat.dtype)[:, None]
            gradient[block] = (slope @ used) * share
            matrix_gradient += np.matmul(slope.T, flat[block] * share, out=room)
            del slope  # before the next chunk makes its own
        value = reduce_values(values.reshape(shape), counts, total, reduction)
        return LinearLoss(
            value,
            gradient.reshape(rows.shape).astype(rows.dtype, copy=False),
            matrix_gradient.astype(matrix.dtype, copy=False),
        )


def _counts(weights, kept, shape, dtype, ignore_index, reduction):
    """Return the weights of the rows, 0 for ignored ones, or ``None`` where each counts once."""
    if weights is not None:
        weights = checks.weights(weights, shape, dtype)
    if kept is None:
        return weights
    if reduction == "mean" and not kept.any():
        raise ValueError(
            f"all {kept.size} labels equal ignore_index={ignore_index}: nothing is left to average"
        )
    weights = np.where(kept, dtype.type(1) if weights is None else weights, 0)
    return checks.weights(weights, shape, dtype) if reduction == "mean" else weights


def _of_logits(flat, block, matrix, places, shape, options):
    """Return the losses of some rows, and the gradient of their logits."""
    logits = flat[block] @ matrix.T
    if not np.isfinite(logits).all():
        row, place = checks.first_index(~np.isfinite(logits))
        index = tuple(int(i) for i in np.unravel_index(block[row], shape))
        raise ValueError(f"logits must be finite, received {logits[row, place]} at index {index}")
    return softmax_cross_entropy(logits, places[block], **options, reduction="none")
