"""Exponentials and logarithms that keep their digits in the tails.

Each function accepts an array of any shape and keeps its floating-point type; whole numbers become
float64. The naive formulas lose everything at surprisingly ordinary inputs: in float64,
``exp(710)`` overflows and ``log(1 + exp(-37))`` is 0. float16 is computed in float64 and rounded
once, at the end. An infinite result comes without a warning: where there is one, it is the answer.
"""

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks


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

    Returns
    -------
    array
        Without that axis. Minus infinity where all entries are, infinity or NaN where one entry is.

    Raises
    ------
    ValueError
        If `axis` is none of the array's, or has no entries.
    TypeError
        If `x` holds anything but real numbers.

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
    x, dtype = _computed(x)
    axis = checks.axis(axis, x)
    with np.errstate(all="ignore"):
        top = np.expand_dims(np.argmax(x, axis=axis), axis)
        peak = np.take_along_axis(x, top, axis)
        # A row of minus infinities has no finite maximum; shifting it by itself would give NaN.
        shift = np.where(np.isfinite(peak), peak, 0)
        terms = np.exp(x - shift)
        np.put_along_axis(terms, top, 0, axis)
        rest = np.log1p(terms.sum(axis=axis, keepdims=True))
        result = np.squeeze(np.where(np.isfinite(peak), peak + rest, peak), axis=axis)
        return result.astype(dtype, copy=False)


def log_softmax(x: ArrayLike, axis: int = -1) -> np.ndarray:
    """Return ``x - log_sum_exp(x)``: the logarithm of the softmax, same shape as `x`.

    The maximum is taken from `x` before anything is added to it, so that a class of
    probability almost 1 keeps the digits of what is missing.

    Raises
    ------
    ValueError
        As :func:`log_sum_exp`, or if a row along `axis` has no finite maximum.
    TypeError
        If `x` holds anything but real numbers.

    Examples
    --------
    >>> log_softmax(np.array([1000.0, 0.0])).tolist()
    [0.0, -1000.0]
    >>> log_softmax(np.array([40.0, 0.0])).tolist()
    [-4.248354255291589e-18, -40.0]
    """
    below, axis, dtype = _below_the_maximum(x, axis)
    with np.errstate(all="ignore"):
        return (below - np.expand_dims(log_sum_exp(below, axis), axis)).astype(dtype, copy=False)


def _below_the_maximum(x, axis):
    """Return `x` less its maximum along `axis`, the checked axis, and the type of the result."""
    x, dtype = _computed(x)
    axis = checks.axis(axis, x)
    peak = x.max(axis=axis, keepdims=True)
    bad = ~np.isfinite(peak)
    if bad.any():
        index = checks.first_index(bad)
        raise ValueError(
            f"the array needs a finite maximum along axis {axis}, received {peak[index]} at index {index}"
        )
    with np.errstate(all="ignore"):
        return x - peak, axis, dtype


def softmax(x: ArrayLike, axis: int = -1) -> np.ndarray:
    """Return ``exp(x) / sum(exp(x))`` along `axis`, without overflow; same shape as `x`.

    Raises
    ------
    ValueError, TypeError
        As :func:`log_softmax`.

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    below, axis, dtype = _below_the_maximum(x, axis)
    with np.errstate(all="ignore"):
        terms = np.exp(below)
        return (terms / terms.sum(axis=axis, keepdims=True)).astype(dtype, copy=False)


def sigmoid(x: ArrayLike) -> np.ndarray:
    """Return ``1 / (1 + exp(-x))``, same shape as `x`, without overflow.

    The exponential only ever sees ``-|x|``, so it lies in (0, 1].

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    x, dtype = _computed(x)
    small = np.exp(-np.abs(x))
    return (np.where(x >= 0, 1, small) / (1 + small)).astype(dtype, copy=False)


def softplus(x: ArrayLike) -> np.ndarray:
    """Return ``log(1 + exp(x))``, same shape as `x`, exact in both tails.

    Formula: ``max(x, 0) + log1p(exp(-|x|))``.

    Examples
    --------
    >>> softplus(np.array([-40.0, 0.0, 1000.0])).tolist()
    [4.248354255291589e-18, 0.6931471805599453, 1000.0]
    """
    x, dtype = _computed(x)
    return (np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))).astype(dtype, copy=False)


def zero_safe_product(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Return ``x * y`` with ``0 * y = 0`` even where `y` is infinite; arrays of one shape.

    It is what :math:`0 \\log 0 = 0` asks for. The result has the wider type of the two.

    Raises
    ------
    ValueError
        If the shapes differ.
    TypeError
        If an array holds anything but real numbers.

    Examples
    --------
    >>> zero_safe_product(np.array([0.0, 2.0]), np.array([-np.inf, 3.0])).tolist()
    [0.0, 6.0]
    """
    x, y = checks.reals("x", x), checks.reals("y", y)
    if x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape}, y {y.shape}; this product does not broadcast")
    dtype = np.result_type(x, y)
    with np.errstate(all="ignore"):
        return np.multiply(x, y, out=np.zeros(x.shape, dtype), where=x != 0)


def _computed(x):
    """Return `x` as an array in the type to compute in, and the type of the result."""
    x = checks.reals("the array", x)
    return checks.wide(x), x.dtype
