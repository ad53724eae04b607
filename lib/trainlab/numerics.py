"""Exponentials and logarithms that keep their digits in the tails.

Each function accepts an array of any shape and keeps its dtype. The naive formulas lose
everything at surprisingly ordinary inputs: in float64, ``exp(710)`` overflows and
``log(1 + exp(-37))`` is 0.
"""

import numpy as np
from numpy.typing import ArrayLike


def log_sum_exp(x: ArrayLike, axis: int = -1) -> np.ndarray:
    """Return ``log(sum(exp(x)))`` along `axis`, without overflow.

    Formula: ``m + log(sum(exp(x - m)))`` with ``m = max(x)``. The maximum's own term is
    exactly 1, so it is taken out of the sum and added back by ``log1p``; that keeps the
    small terms which ``log`` would round away.

    Parameters
    ----------
    x : array, any shape
    axis : int
        The axis that is summed away.

    References
    ----------
    Blanchard, Higham and Higham (2021), Accurately computing the log-sum-exp and softmax
    functions, IMA Journal of Numerical Analysis 41(4).

    Examples
    --------
    >>> float(log_sum_exp([1000.0, 1000.0]))
    1000.6931471805599
    >>> float(log_sum_exp([0.0, -40.0]))
    4.248354255291589e-18
    """
    x = np.asarray(x)
    top = np.expand_dims(np.argmax(x, axis=axis), axis)
    peak = np.take_along_axis(x, top, axis)
    # A row of minus infinities has no finite maximum; shifting it by itself would give NaN.
    shift = np.where(np.isfinite(peak), peak, 0)
    terms = np.exp(x - shift)
    np.put_along_axis(terms, top, 0, axis)
    rest = np.log1p(terms.sum(axis=axis, keepdims=True))
    return np.squeeze(np.where(np.isfinite(peak), peak + rest, peak), axis=axis)


def log_softmax(x: ArrayLike, axis: int = -1) -> np.ndarray:
    """Return ``x - log_sum_exp(x)``: the logarithm of the softmax, same shape as `x`.

    The maximum is taken from `x` before anything is added to it, so that a class of
    probability almost 1 keeps the digits of what is missing.

    Examples
    --------
    >>> log_softmax(np.array([1000.0, 0.0])).tolist()
    [0.0, -1000.0]
    >>> log_softmax(np.array([40.0, 0.0])).tolist()
    [-4.248354255291589e-18, -40.0]
    """
    x = np.asarray(x)
    below = x - x.max(axis=axis, keepdims=True)
    return below - np.expand_dims(log_sum_exp(below, axis), axis)


def softmax(x: ArrayLike, axis: int = -1) -> np.ndarray:
    """Return ``exp(x) / sum(exp(x))`` along `axis`, without overflow; same shape as `x`.

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    x = np.asarray(x)
    terms = np.exp(x - x.max(axis=axis, keepdims=True))
    return terms / terms.sum(axis=axis, keepdims=True)


def sigmoid(x: ArrayLike) -> np.ndarray:
    """Return ``1 / (1 + exp(-x))``, same shape as `x`, without overflow.

    The exponential only ever sees ``-|x|``, so it lies in (0, 1].

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    x = np.asarray(x)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softplus(x: ArrayLike) -> np.ndarray:
    """Return ``log(1 + exp(x))``, same shape as `x`, exact in both tails.

    Formula: ``max(x, 0) + log1p(exp(-|x|))``.

    Examples
    --------
    >>> softplus(np.array([-40.0, 0.0, 1000.0])).tolist()
    [4.248354255291589e-18, 0.6931471805599453, 1000.0]
    """
    x = np.asarray(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def zero_safe_product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return ``x * y`` with ``0 * y = 0`` even where `y` is infinite; arrays of one shape.

    It is what :math:`0 \\log 0 = 0` asks for.

    Examples
    --------
    >>> zero_safe_product(np.array([0.0, 2.0]), np.array([-np.inf, 3.0])).tolist()
    [0.0, 6.0]
    """
    return np.multiply(x, y, out=np.zeros_like(x), where=x != 0)
