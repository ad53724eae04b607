"""The refusals: every error text of the library, in one place.

Each function returns its argument, cleaned, or raises ``ValueError`` (``TypeError`` for a
value of the wrong kind) with a sentence that names what was received.
"""

import functools
import math
import re
from collections.abc import Iterable
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike


def number(
    name: str,
    value: float,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a finite ``float``, ``low <= value <= high`` and ``above < value < below``.

    >>> number("factor", 0.9, above=0)
    0.9
    >>> number("factor", -1, above=0)
    Traceback (most recent call last):
        ...
    ValueError: factor must be above 0, received -1
    """
    # The plain types first: asking an abstract class takes longer than all the rest.
    if type(value) not in (float, int) and (not isinstance(value, Real) or isinstance(value, (bool, np.bool_))):
        raise TypeError(f"{name} must be a number, received {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, received {value}")
    if low is not None and value < low:
        raise ValueError(f"{name} must be at least {low}, received {value}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be above {above}, received {value}")
    if high is not None and value > high:
        raise ValueError(f"{name} must be at most {high}, received {value}")
    if below is not None and value >= below:
        raise ValueError(f"{name} must be below {below}, received {value}")
    return float(value)


def integer(name: str, value: int, *, low: int | None = None) -> int:
    """Return `value` as an ``int`` of at least `low`.

    >>> integer("every", 100, low=1)
    100
    >>> integer("every", 2.5, low=1)
    Traceback (most recent call last):
        ...
    TypeError: every must be a whole number, received 2.5
    """
    if not isinstance(value, Integral) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a whole number, received {value!r}")
    if low is not None and value < low:
        raise ValueError(f"{name} must be at least {low}, received {value}")
    return int(value)


def one_of(name: str, value: str, choices: tuple) -> str:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, received {value!r}")
    return value


def boundaries(values: Iterable[int]) -> tuple[int, ...]:
    """Return `values` as a tuple of whole numbers that start above 0 and increase.

    >>> boundaries([100, 50])
    Traceback (most recent call last):
        ...
    ValueError: boundaries must increase, received 50 after 100
    """
    values = tuple(integer("a boundary", value, low=1) for value in values)
    for before, after in zip(values, values[1:]):
        if after <= before:
            raise ValueError(f"boundaries must increase, received {after} after {before}")
    return values


def floating(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as a non-empty floating-point array; whole numbers become float64."""
    array = np.asarray(values)
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise TypeError(f"{name} must be real numbers, received dtype {array.dtype}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, received shape {array.shape}")
    return array


def whole(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as a non-empty array of whole numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be whole numbers, received dtype {array.dtype}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, received shape {array.shape}")
    return array.astype(np.int64, copy=False)


def first_index(mask: np.ndarray) -> tuple[int, ...]:
    """Return the index of the first true entry, as a tuple of ``int``."""
    return tuple(int(i) for i in np.argwhere(mask)[0])


def finite(name: str, array: np.ndarray) -> np.ndarray:
    """Return `array` if no entry is NaN or infinite; otherwise name the first that is."""
    bad = ~np.isfinite(array)
    if bad.any():
        index = first_index(bad)
        raise ValueError(f"{name} must be finite, received {array[index]} at index {index}")
    return array


def same_shape(first: np.ndarray, second: np.ndarray, name: str = "predictions", other: str = "targets") -> None:
    """Refuse unequal shapes, because broadcasting them would silently compare all pairs."""
    if first.shape != second.shape:
        raise ValueError(f"{name} have shape {first.shape}, {other} {second.shape}; losses do not broadcast")


def numbers_alike(
    first: ArrayLike, second: ArrayLike, name: str = "predictions", other: str = "targets"
) -> tuple[np.ndarray, np.ndarray]:
    """Return two finite arrays of one shape, the second in the type of the first."""
    first, second = finite(name, floating(name, first)), finite(other, floating(other, second))
    same_shape(first, second, name, other)
    return first, second.astype(first.dtype, copy=False)


def within(name: str, array: np.ndarray, low: float, high: float) -> None:
    """Refuse an array with an entry below `low` or above `high`."""
    # Written so that NaN, which is neither below nor above, is refused too.
    bad = ~((array >= low) & (array <= high))
    if bad.any():
        index = first_index(bad)
        bounds = f"be at least {low}" if high == np.inf else f"lie between {low} and {high}"
        raise ValueError(f"{name} must {bounds}, received {array[index]} at index {index}")


def either(name: str, array: np.ndarray, choices: tuple[float, float]) -> None:
    """Refuse an array with an entry that is neither of two `choices`."""
    first, second = choices
    bad = (array != first) & (array != second)
    if bad.any():
        index = first_index(bad)
        raise ValueError(f"{name} must be {first} or {second}, received {array[index]} at index {index}")


def logits(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values`, shape (..., K), if each row has a finite maximum; -inf beside it is allowed."""
    array = floating(name, values)
    if array.ndim < 1:
        raise ValueError(f"{name} need an axis of classes, received shape {array.shape}")
    bad = ~np.isfinite(array.max(axis=-1))
    if bad.any():
        index = first_index(bad)
        raise ValueError(f"{name} need a finite maximum in each row, received {array[index]} at index {index}")
    return array


def distributions(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values`, shape (..., K), if each row lies between 0 and 1 and sums to 1 (to 0.001)."""
    array = floating(name, values)
    if array.ndim < 1:
        raise ValueError(f"{name} need an axis of classes, received shape {array.shape}")
    within(name, array, 0, 1)
    totals = array.sum(axis=-1)
    bad = np.abs(totals - 1) > 1e-3
    if bad.any():
        index = first_index(bad)
        raise ValueError(f"{name} must sum to 1 in each row, received the sum {totals[index]} at index {index}")
    return array


def labels(values: ArrayLike, shape: tuple, classes: int, ignore_index: int | None = None) -> np.ndarray:
    """Return `values` as whole numbers of the given `shape`, each in ``0 .. classes - 1``."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels must be whole numbers, received dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(
            f"labels have shape {array.shape}, the logits ask for {shape}; losses do not broadcast"
        )
    # Seen as unsigned, a negative label is larger than any class: one comparison finds both kinds.
    bad = array.view(f"u{array.itemsize}") >= classes
    if ignore_index is not None:
        bad &= array != ignore_index
    if bad.any():
        index = first_index(bad)
        raise ValueError(f"labels must be 0 to {classes - 1}, received {array[index]} at index {index}")
    return array


def weights(values: ArrayLike, shape: tuple, dtype: np.dtype | type) -> np.ndarray:
    """Return `values` as non-negative weights of the given `shape` that do not sum to zero."""
    array = floating("weights", values)
    if array.shape != shape:
        raise ValueError(
            f"weights have shape {array.shape}, the losses {shape}; losses do not broadcast"
        )
    finite("weights", array)
    if (array < 0).any():
        index = first_index(array < 0)
        raise ValueError(f"weights must not be negative, received {array[index]} at index {index}")
    if not array.any():
        raise ValueError("weights must not all be zero: a weighted mean would divide by zero")
    return array.astype(dtype, copy=False)


def describe(thing: object) -> str:
    """Return a text that is the same in every process: no address in memory, as some ``repr`` have.

    It is to be read, and may be the same for things that differ; :mod:`trainlab.identity` tells those apart.

    >>> describe(functools.partial(np.linspace, 0, num=3))
    "linspace(0,){'num': 3}"
    >>> describe(3.5), describe(object()), describe([len, object]), describe({20, 3})
    ('3.5', 'object', "[<built-in function len>, <class 'object'>]", "set of ['20', '3']")
    """
    if isinstance(thing, functools.partial):
        text = f"{describe(thing.func)}{thing.args}{thing.keywords}"
    elif isinstance(thing, (set, frozenset)):
        text = f"{type(thing).__name__} of {sorted(map(describe, thing))}"
    elif type(thing).__repr__ is object.__repr__:
        text = type(thing).__qualname__
    else:
        text = getattr(thing, "__qualname__", None) or repr(thing)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
