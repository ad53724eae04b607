"""Losses for numbers: how far may a prediction be off, and what does it cost?"""

import math

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks
from trainlab.losses.reduction import Loss, reduce_loss


def squared_error(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
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
    predictions, targets, dtype = checks.numbers_alike(predictions, targets)
    with np.errstate(all="ignore"):
        error = predictions - targets
        return reduce_loss(error**2, 2 * error, weights, reduction, dtype)


def absolute_error(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Absolute error; its mean is the MAE, and the constant that minimises it is the median.

    .. math:: \ell_i = |\hat y_i - y_i|, \qquad
              \frac{\partial \ell_i}{\partial \hat y_i} = \operatorname{sign}(\hat y_i - y_i)

    At the kink, :math:`\hat y_i = y_i`, the gradient is 0. Laplace (1774), *Mémoire sur la
    probabilité des causes par les évènements*.

    Parameters, errors and shapes are those of :func:`squared_error`; `value` has the unit of the
    targets.

    Examples
    --------
    >>> absolute_error([1.0, 2.0, 4.0], [1.0, 3.0, 1.0], reduction="none").value.tolist()
    [0.0, 1.0, 3.0]
    >>> absolute_error([1.0, 2.0, 4.0], [1.0, 3.0, 1.0], reduction="sum").gradient.tolist()
    [0.0, -1.0, 1.0]
    """
    predictions, targets, dtype = checks.numbers_alike(predictions, targets)
    with np.errstate(all="ignore"):
        error = predictions - targets
        return reduce_loss(np.abs(error), np.sign(error), weights, reduction, dtype)


def huber(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    delta: float = 1.0,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Huber's loss: half the squared error up to `delta`, a straight line beyond.

    .. math:: \ell_i = \begin{cases} \tfrac12 r_i^2 & |r_i| \le \delta \\
                       \delta\,(|r_i| - \tfrac12 \delta) & |r_i| > \delta \end{cases}, \qquad
              \frac{\partial \ell_i}{\partial \hat y_i} = \min(\max(r_i, -\delta), \delta), \qquad
              r_i = \hat y_i - y_i

    Huber (1964), *Robust estimation of a location parameter*. With the half, so that the slope
    in the middle is :math:`r_i`. "Smooth L1" is this divided by `delta`.

    Parameters
    ----------
    predictions, targets, weights, reduction
        As for :func:`squared_error`.
    delta : float, above 0
        Where the line begins, in the unit of the targets.

    Raises
    ------
    ValueError
        As :func:`squared_error`, or if `delta` is not above 0.

    Examples
    --------
    >>> huber([0.5, 3.0], [0.0, 0.0], reduction="none").value.tolist()
    [0.125, 2.5]
    >>> huber([0.5, 3.0], [0.0, 0.0], reduction="sum").gradient.tolist()
    [0.5, 1.0]
    """
    predictions, targets, dtype = checks.numbers_alike(predictions, targets)
    delta = checks.number("delta", delta, above=0)
    with np.errstate(all="ignore"):
        error = predictions - targets
        size = np.abs(error)
        # One product for both branches, and none that squares a huge error.
        inner = np.minimum(size, delta)
        return reduce_loss(
            inner * (size - inner / 2), np.clip(error, -delta, delta), weights, reduction, dtype
        )


def log_cosh(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""The logarithm of the hyperbolic cosine of the error: Huber's idea without a corner.

    .. math:: \ell_i = \log \cosh r_i, \qquad
              \frac{\partial \ell_i}{\partial \hat y_i} = \tanh r_i, \qquad r_i = \hat y_i - y_i

    Near 0 it is :math:`\tfrac12 r^2`, far out :math:`|r| - \log 2`. Green (1990), *Bayesian
    reconstructions from emission tomography data using a modified EM algorithm*. Computed as
    :math:`\operatorname{log1p}(2 \sinh^2 \tfrac r2)` for errors up to 1, because the cosine of a
    small error rounds to 1, and as :math:`|r| + \operatorname{log1p}(e^{-2|r|}) - \log 2` beyond,
    because the cosine of a large one overflows.

    Parameters, errors and shapes are those of :func:`squared_error`.

    Examples
    --------
    >>> log_cosh([1e-9, 1000.0], [0.0, 0.0], reduction="none").value.tolist()
    [5e-19, 999.3068528194401]
    >>> log_cosh([0.0, 1000.0], [0.0, 0.0], reduction="sum").gradient.tolist()
    [0.0, 1.0]
    """
    predictions, targets, dtype = checks.numbers_alike(predictions, targets)
    with np.errstate(all="ignore"):
        error = predictions - targets
        size = np.abs(error)
        near = np.log1p(2 * np.sinh(np.minimum(size, 1) / 2) ** 2)
        far = size + np.log1p(np.exp(-2 * size)) - math.log(2)
        return reduce_loss(
            np.where(size <= 1, near, far), np.tanh(error), weights, reduction, dtype
        )


def quantile(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    level: float,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Quantile loss, also called pinball loss: the constant that minimises it is a quantile.

    .. math:: \ell_i = \begin{cases} \tau\,(y_i - \hat y_i) & \hat y_i \le y_i \\
                       (1 - \tau)\,(\hat y_i - y_i) & \hat y_i > y_i \end{cases}, \qquad
              \frac{\partial \ell_i}{\partial \hat y_i} =
                  \begin{cases} -\tau & \hat y_i < y_i \\ 1 - \tau & \hat y_i > y_i \end{cases}

    At the kink the gradient is 0. Koenker and Bassett (1978), *Regression quantiles*.

    Parameters
    ----------
    predictions, targets, weights, reduction
        As for :func:`squared_error`.
    level : float, 0 < level < 1
        :math:`\tau`: 0.9 asks for a prediction that nine of ten targets stay below; 0.5 gives half
        the absolute error.

    Raises
    ------
    ValueError
        As :func:`squared_error`, or if `level` is not between 0 and 1.

    Examples
    --------
    >>> quantile([1.0, 1.0], [3.0, 0.0], level=0.75, reduction="none").value.tolist()
    [1.5, 0.25]
    >>> quantile([1.0, 1.0], [3.0, 0.0], level=0.75, reduction="sum").gradient.tolist()
    [-0.75, 0.25]
    """
    predictions, targets, dtype = checks.numbers_alike(predictions, targets)
    level = checks.number("level", level, above=0, below=1)
    with np.errstate(all="ignore"):
        error = predictions - targets
        values = np.where(error > 0, 1 - level, level) * np.abs(error)
        gradient = (1 - level) * (error > 0) - level * (error < 0)
        return reduce_loss(
            values.astype(error.dtype), gradient.astype(error.dtype), weights, reduction, dtype
        )


def gaussian_nll(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Negative log-likelihood of a normal distribution whose mean and variance are both predicted.

    .. math:: \ell_i = \tfrac12 \Big( \log 2\pi + s_i + \frac{(y_i - \mu_i)^2}{e^{s_i}} \Big), \qquad
              \frac{\partial \ell_i}{\partial \mu_i} = \frac{\mu_i - y_i}{e^{s_i}}, \qquad
              \frac{\partial \ell_i}{\partial s_i} = \tfrac12 \Big(1 - \frac{(y_i - \mu_i)^2}{e^{s_i}}\Big)

    with :math:`s = \log \sigma^2`. Nix and Weigend (1994), *Estimating the mean and variance of the
    target probability distribution*. Some libraries leave out the constant
    :math:`\tfrac12 \log 2\pi`; here the value is the likelihood's own.

    Parameters
    ----------
    predictions : array, shape (..., 2)
        The mean, in the unit of the targets, and the logarithm of the variance. A model with
        two outputs predicts both, and no variance can come out negative.
    targets : array, shape (...)
    weights : array, shape (...), optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `value` in nats; `gradient` of shape (..., 2).

    Raises
    ------
    ValueError
        If the shapes do not fit, or as :func:`squared_error`.

    Examples
    --------
    >>> value, gradient = gaussian_nll([[1.0, 0.0]], [3.0])
    >>> round(value, 4), gradient.tolist()
    (2.9189, [[-2.0, -1.5]])
    """
    predictions = checks.finite("predictions", checks.floating("predictions", predictions))
    targets = checks.finite("targets", checks.floating("targets", targets))
    if predictions.shape != targets.shape + (2,):
        raise ValueError(
            f"predictions have shape {predictions.shape}, targets {targets.shape}: a mean and a log-variance "
            f"for each target ask for {targets.shape + (2,)}; losses do not broadcast"
        )
    dtype, predictions = predictions.dtype, checks.wide(predictions)
    targets = checks.fitting("targets", targets, predictions.dtype)
    mean, log_variance = predictions[..., 0], predictions[..., 1]
    # A variance too small for the type makes an infinite loss, which is what it is.
    with np.errstate(all="ignore"):
        # Scaled before squaring, so that a small error over a small variance does not underflow
        # first.
        scale = np.exp(-log_variance / 2)
        # A variance too large for the type leaves no distance, not even of an infinite error.
        distance = np.where((targets == mean) | (scale == 0), 0, (mean - targets) * scale)
        square = distance**2
        values = (math.log(2 * math.pi) + log_variance + square) / 2
        slope = np.where(distance == 0, 0, distance * scale)
        return reduce_loss(
            values, np.stack([slope, (1 - square) / 2], axis=-1), weights, reduction, dtype
        )
