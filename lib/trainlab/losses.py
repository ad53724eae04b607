"""Losses: each function returns its value and its exact gradient, side by side.

Conventions, the same for every loss:

* Predictions come first. The gradient is taken with respect to them and has their shape.
* ``reduction="none"`` returns one value for each example; its gradient is that of the
  example's own value. ``"sum"`` adds them up. ``"mean"`` divides the weighted sum by the
  sum of the weights.
* `weights` multiply the values one by one and must have the shape of the unreduced values.
* Losses never broadcast: unequal shapes are a ``ValueError``.
* The result has the floating-point type of the predictions; whole numbers become float64.
"""

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


def _reduce(values, gradient, weights, reduction):
    """Weigh and reduce: `gradient` holds the derivative of each value, unreduced."""
    checks.one_of("reduction", reduction, REDUCTIONS)
    if weights is None:
        total = values.size
    else:
        weights = checks.weights(weights, values.shape, values.dtype)
        total = float(weights.sum())
        # A row that does not count may hold an infinite loss, and 0 * inf is NaN.
        values = np.where(weights > 0, values, 0) * weights
        gradient = gradient * weights.reshape(weights.shape + (1,) * (gradient.ndim - weights.ndim))
    if reduction == "none":
        return Loss(values, gradient)
    if reduction == "sum":
        return Loss(float(values.sum()), gradient)
    return Loss(float(values.sum() / total), gradient / values.dtype.type(total))


def squared_error(predictions, targets, *, weights=None, reduction="mean"):
    r"""Squared error; its mean is the MSE.

    .. math:: \ell_i = (\hat y_i - y_i)^2, \qquad
              \frac{\partial \ell_i}{\partial \hat y_i} = 2\,(\hat y_i - y_i)

    Legendre (1805), *Nouvelles méthodes pour la détermination des orbites des comètes*.
    Note the absent ½: the gradient carries the factor 2.

    Parameters
    ----------
    predictions : array, any shape
    targets : array, the same shape
    weights : array, the same shape, optional
    reduction : "mean", "sum" or "none"
        The mean is over all entries.

    Returns
    -------
    Loss
        `value` in the squared unit of the targets; `gradient` in the shape of `predictions`.

    Raises
    ------
    ValueError
        If the shapes differ, if an input is empty or not finite, if the weights are
        negative or all zero, or if `reduction` is unknown.

    Examples
    --------
    >>> squared_error([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], reduction="sum").value
    1.0
    >>> squared_error([1.0, 2.0], [1.0, 4.0]).gradient.tolist()
    [0.0, -2.0]
    >>> squared_error([[1.0], [2.0]], [1.0, 2.0])
    Traceback (most recent call last):
        ...
    ValueError: predictions have shape (2, 1), targets (2,); losses do not broadcast
    """
    predictions = checks.finite("predictions", checks.floating("predictions", predictions))
    targets = checks.finite("targets", checks.floating("targets", targets))
    checks.same_shape(predictions, targets)
    error = predictions - targets.astype(predictions.dtype, copy=False)
    return _reduce(error**2, 2 * error, weights, reduction)


def softmax_cross_entropy(
    logits, labels, *, weights=None, label_smoothing=0.0, ignore_index=None, z_loss=0.0, reduction="mean"
):
    r"""Cross-entropy between whole-number labels and the softmax of logits.

    .. math:: \ell_i = \log \sum_k e^{z_{ik}} - \sum_k q_{ik} z_{ik}
                       + \zeta \Big(\log \sum_k e^{z_{ik}}\Big)^2, \qquad
              \frac{\partial \ell_i}{\partial z_{ik}}
                     = p_{ik} - q_{ik} + 2 \zeta\, p_{ik} \log \sum_j e^{z_{ij}}

    with :math:`p = \operatorname{softmax}(z)`, the label smoothing
    :math:`q_{ik} = (1 - \varepsilon)\,[k = y_i] + \varepsilon / K` (Szegedy et al. 2016) and the
    penalty :math:`\zeta` on the log-normaliser (z-loss, Chowdhery et al. 2022).

    Computed so that the tails keep their digits: for a label that holds the largest logit,
    the loss is ``log1p`` of the *other* classes' sum, and its gradient minus that sum.

    Parameters
    ----------
    logits : array, shape (..., K)
        Unnormalised log-probabilities. Minus infinity is allowed: a class of probability 0.
    labels : array of whole numbers, shape (...)
    weights : array, shape (...), optional
        For class weights pass ``class_weights[labels]``.
    label_smoothing : float, 0 <= label_smoothing < 1
        The share :math:`\varepsilon` of each target that is spread evenly over all K classes.
        Together with a logit of minus infinity the loss is infinite.
    ignore_index : int, optional
        Rows with this label count for nothing, in the sum and in the mean's denominator.
    z_loss : float, at least 0
        The factor :math:`\zeta`.
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `value` in nats; `gradient` of shape (..., K).

    Raises
    ------
    ValueError
        If the shapes do not fit, a label is out of range, a logit is NaN or plus infinity, all
        logits of a row are minus infinity, all rows are ignored, an input is empty, the
        weights are negative or all zero, or an option is out of range.
    TypeError
        If the labels are not whole numbers.

    Examples
    --------
    >>> softmax_cross_entropy([[2.0, 2.0]], [0]).value
    0.6931471805599453
    >>> softmax_cross_entropy([[2.0, 2.0]], [0]).gradient.tolist()
    [[-0.5, 0.5]]
    >>> softmax_cross_entropy([[40.0, 0.0]], [0]).value
    4.248354255291589e-18
    >>> softmax_cross_entropy([[40.0, 0.0]], [2])
    Traceback (most recent call last):
        ...
    ValueError: labels must be 0 to 1, received 2 at index (0,)
    """
    logits = checks.floating("logits", logits)
    if logits.ndim < 1:
        raise ValueError(f"logits need an axis of classes, received shape {logits.shape}")
    rows, classes = logits.shape[:-1], logits.shape[-1]
    labels = checks.labels(labels, rows, classes, ignore_index)
    smoothing = checks.number("label_smoothing", label_smoothing, low=0, below=1)
    z_loss = checks.number("z_loss", z_loss, low=0)

    peak = logits.max(axis=-1, keepdims=True)
    # The maximum of a row is finite unless the row holds NaN, plus infinity or nothing else.
    if not np.isfinite(peak).all():
        index = checks.first_index(~np.isfinite(peak))[:-1]
        raise ValueError(f"logits need a finite maximum in each row, received {logits[index]} at index {index}")

    if ignore_index is not None:
        kept = labels != ignore_index
        if not kept.any():
            raise ValueError(f"all {labels.size} labels equal ignore_index={ignore_index}: nothing is left to average")
        weights = kept if weights is None else checks.weights(weights, rows, logits.dtype) * kept
        labels = np.where(kept, labels, 0)

    column = labels[..., None]
    gap = peak - np.take_along_axis(logits, column, -1)
    terms = np.exp(logits - peak)
    label_term = np.take_along_axis(terms, column, -1)
    np.put_along_axis(terms, column, 0, -1)
    others = terms.sum(axis=-1, keepdims=True)
    total = others + label_term
    # Where the label holds the maximum its term is exactly 1, and log1p keeps the others' digits.
    log_total = np.where(gap > 0, np.log(total), np.log1p(others))

    values = gap + log_total
    gradient = terms / total
    np.put_along_axis(gradient, column, -others / total, -1)
    if smoothing > 0:
        spread = peak + log_total - logits.mean(axis=-1, keepdims=True)
        values = (1 - smoothing) * values + smoothing * spread
        gradient -= smoothing / classes
        label_gradient = np.take_along_axis(gradient, column, -1) + smoothing
        np.put_along_axis(gradient, column, label_gradient, -1)
    if z_loss > 0:
        log_normaliser = peak + log_total
        values = values + z_loss * log_normaliser**2
        np.put_along_axis(terms, column, label_term, -1)
        gradient += 2 * z_loss * log_normaliser * terms / total
    return _reduce(values[..., 0], gradient, weights, reduction)
