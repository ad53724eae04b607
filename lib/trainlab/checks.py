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

SHORT = np.dtype(np.float16)


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
    if type(value) not in (float, int) and (
        not isinstance(value, Real) or isinstance(value, (bool, np.bool_))
    ):
        raise TypeError(f"{name} must be a number, received {value!r}")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        raise ValueError(
            f"{name} must be finite, received a whole number beyond the range of float"
        ) from None
    if not finite:
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


def integer(name: str, value: int, *, low: int | None = None, below: int | None = None) -> int:
    """Return `value` as an ``int`` of at least `low` and less than `below`.

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
    if below is not None and value >= below:
        raise ValueError(f"{name} must be below {below}, received {value}")
    return int(value)


# Every whole number below it, and the sum of two, fits the 64 bits that arrays count in.
MOST_UPDATES = 2**62


def updates(name: str, value: int, *, low: int = 0) -> int:
    """Return `value` as a number of updates: an ``int`` of at least `low`, small enough to count with."""
    return integer(name, value, low=low, below=MOST_UPDATES)


def one_of(name: str, value: str, choices: tuple) -> str:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, choices))}, received {value!r}"
        )
    return value


def boundaries(values: Iterable[int]) -> tuple[int, ...]:
    """Return `values` as a tuple of whole numbers that start above 0 and increase.

    >>> boundaries([100, 50])
    Traceback (most recent call last):
        ...
    ValueError: boundaries must increase, received 50 after 100
    """
    values = tuple(updates("a boundary", value, low=1) for value in values)
    for before, after in zip(values, values[1:]):
        if after <= before:
            raise ValueError(f"boundaries must increase, received {after} after {before}")
    return values


def plain(
    name: str, values: ArrayLike, kinds: str = "biuf", what: str = "real numbers"
) -> np.ndarray:
    """Return `values` as an ordinary array of numbers in this machine's byte order.

    Every array that a caller passes in comes through here, so that what NumPy would drop silently
    (a mask, an imaginary part) or stumble over (rows of unequal lengths, foreign bytes) is dealt
    with once.

    Parameters
    ----------
    name : str
        What the caller calls the array.
    values : anything that may stand for an array
    kinds : str
        The letters of the accepted ``dtype.kind``.
    what : str
        Those kinds in words.

    Raises
    ------
    ValueError
        If entries are masked, or rows have unequal lengths.
    TypeError
        If the type is none of `kinds`.

    Examples
    --------
    >>> plain("x", np.array([1, 2], ">i4")).dtype.isnative
    True
    >>> plain("x", np.ma.array([1.0, 2.0], mask=[False, True]))
    Traceback (most recent call last):
        ...
    ValueError: x must not be masked: what is missing has to be left out, or weighed with zero
    """
    if _has_mask(values):
        raise ValueError(
            f"{name} must not be masked: what is missing has to be left out, or weighed with zero"
        )
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(
            f"{name} must have rows of equal lengths, received {_short(values)}"
        ) from None
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} must be {what}, received dtype {array.dtype}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _has_mask(values):
    """Say whether an entry is masked, also of an array in a list: NumPy would take what lies under the mask."""
    if isinstance(values, (list, tuple)):
        return any(map(_has_mask, values))
    return isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values)


def _short(values):
    text = repr(values)
    return text if len(text) <= 60 else text[:57] + "..."


def reals(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as a floating-point array, which may be empty; whole numbers become float64."""
    array = plain(name, values)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def floating(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as a non-empty floating-point array; whole numbers become float64."""
    array = reals(name, values)
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, received shape {array.shape}")
    return array


def whole(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as a non-empty array of whole numbers, int64."""
    array = plain(name, values, "iu", "whole numbers")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, received shape {array.shape}")
    if array.dtype == np.uint64:
        # Beyond it, int64 would make a negative number of it.
        bad = array > np.iinfo(np.int64).max
        if bad.any():
            index = first_index(bad)
            raise ValueError(
                f"{name} must be below 2**63, received {array[index]} at index {index}"
            )
    return array.astype(np.int64, copy=False)


def wide(array: np.ndarray) -> np.ndarray:
    """Return `array` in the type to compute in: float64 for float16, which overflows at 65,520; otherwise its own."""
    return array.astype(np.float64) if array.dtype == SHORT else array


def fitting(name: str, array: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Return `array` in the type `dtype`, or refuse a number that would become infinite there."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    bad = np.isinf(cast) & np.isfinite(array)
    if bad.any():
        index = first_index(bad)
        raise ValueError(
            f"{name} must fit {np.dtype(dtype)}, received {array[index]} at index {index}"
        )
    return cast


def axis(value: int, array: np.ndarray) -> int:
    """Return `value` as the number of an axis of `array` that has entries."""
    axis = integer("axis", value)
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(
            f"axis must be one of the array's {array.ndim}, received axis {axis} for shape {array.shape}"
        )
    if array.shape[axis] == 0:
        raise ValueError(
            f"the array must not be empty along axis {axis}, received shape {array.shape}"
        )
    return axis


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


def same_shape(
    first: np.ndarray, second: np.ndarray, name: str = "predictions", other: str = "targets"
) -> None:
    """Refuse unequal shapes, because broadcasting them would silently compare all pairs."""
    if first.shape != second.shape:
        raise ValueError(
            f"{name} have shape {first.shape}, {other} {second.shape}; losses do not broadcast"
        )


def numbers_alike(
    first: ArrayLike, second: ArrayLike, name: str = "predictions", other: str = "targets"
) -> tuple[np.ndarray, np.ndarray, np.dtype]:
    """Return two finite arrays of one shape and of the type to compute in, and the type of the first."""
    first, second = finite(name, floating(name, first)), finite(other, floating(other, second))
    same_shape(first, second, name, other)
    computed = wide(first)
    return computed, fitting(other, second, computed.dtype), first.dtype


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
        raise ValueError(
            f"{name} must be {first} or {second}, received {array[index]} at index {index}"
        )


def logits(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values`, shape (..., K), if each row has a finite maximum; -inf beside it is allowed."""
    array = floating(name, values)
    if array.ndim < 1:
        raise ValueError(f"{name} need an axis of classes, received shape {array.shape}")
    bad = ~np.isfinite(array.max(axis=-1))
    if bad.any():
        index = first_index(bad)
        raise ValueError(
            f"{name} need a finite maximum in each row, received {array[index]} at index {index}"
        )
    return array


def distributions(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values`, shape (..., K), if each row lies between 0 and 1 and sums to 1 (to 0.001)."""
    array = floating(name, values)
    if array.ndim < 1:
        raise ValueError(f"{name} need an axis of classes, received shape {array.shape}")
    within(name, array, 0, 1)
    totals = wide(array).sum(axis=-1)
    bad = np.abs(totals - 1) > 1e-3
    if bad.any():
        index = first_index(bad)
        raise ValueError(
            f"{name} must sum to 1 in each row, received the sum {totals[index]} at index {index}"
        )
    return array


def labels(
    values: ArrayLike, shape: tuple, classes: int, ignore_index: int | Iterable[int] | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return `values` as int64 of the given `shape`, each in ``0 .. classes - 1``, and which of them count.

    An ignored label may be any whole number and becomes 0. The second is a mask, or ``None``
    without `ignore_index`.
    """
    array, kept = plain("labels", values, "iu", "whole numbers"), None
    if array.shape != shape:
        raise ValueError(
            f"labels have shape {array.shape}, the logits ask for {shape}; losses do not broadcast"
        )
    if ignore_index is not None:
        kept = np.ones(shape, bool)
        for ignored in ignore_index if isinstance(ignore_index, Iterable) else (ignore_index,):
            kept &= array != integer("ignore_index", ignored)
        array = np.where(kept, array, array.dtype.type(0))
    # Seen as unsigned, a negative label is larger than any class: one comparison finds both kinds.
    bad = array.view(f"u{array.itemsize}") >= classes
    if bad.any():
        index = first_index(bad)
        raise ValueError(
            f"labels must be 0 to {classes - 1}, received {array[index]} at index {index}"
        )
    return array.astype(np.int64, copy=False), kept


def weights(values: ArrayLike, shape: tuple, dtype: np.dtype | type) -> np.ndarray:
    """Return `values` as non-negative weights of the given `shape` and type that do not sum to zero."""
    array = floating("weights", values)
    if array.shape != shape:
        raise ValueError(
            f"weights have shape {array.shape}, the losses {shape}; losses do not broadcast"
        )
    finite("weights", array)
    if (array < 0).any():
        index = first_index(array < 0)
        raise ValueError(f"weights must not be negative, received {array[index]} at index {index}")
    array = fitting("weights", array, dtype)
    if not array.any():
        raise ValueError("weights must not all be zero: a weighted mean would divide by zero")
    return array


def describe(thing: object) -> str:
    """Return a text that is the same in every process: no address in memory, as some ``repr`` have.

    It is to be read, and may be the same for things that differ; :mod:`trainlab.identity` tells
    those apart.

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
