"""Named arrays in one buffer, so that an update is a few calls over one array and not over each by itself.

A training has its parameters, gradients and optimizer state in dicts of arrays. :func:`pack` moves
such arrays into one buffer, one row a replica, of which they are views from then on: changing one
changes the buffer. :func:`together` hands out the buffers of several dicts in their place. What
works entry by entry, as an optimizer does, works on them without knowing.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from operator import is_
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]


class Layout(NamedTuple):
    """Where each array lies in a buffer of shape (P,), or (R, P) for R replicas."""

    lead: tuple  # () or (R,)
    shapes: dict[str, tuple]  # of each array, without R
    size: int  # P

    def views(self, buffer: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the array of each part of a buffer."""
        start = 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            yield name, buffer[..., start:stop].reshape(self.lead + shape)
            start = stop


class Packed(dict):
    """A dict of arrays that are views of a buffer, or of one for each of several prefixes of their names.

    It is used as any dict. Where another array is put into it, it goes on as a plain one: `whole`
    is ``None`` then. Copies and pickles are plain dicts.

    Examples
    --------
    >>> params = pack({"W": np.ones((2, 2)), "b": np.zeros(2)})
    >>> params.whole()[""].tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    >>> params["b"] += 5
    >>> params.whole()[""].tolist()
    [1.0, 1.0, 1.0, 1.0, 5.0, 5.0]
    """

    def __init__(self, layout: Layout, buffers: Arrays, others: Arrays):
        super().__init__(others)
        for prefix, buffer in buffers.items():
            self.update((prefix + name, view) for name, view in layout.views(buffer))
        self.layout, self._buffers, self._others = layout, buffers, others
        self._own, self._whole = tuple(self.values()), others | buffers

    def whole(self) -> Arrays | None:
        """Return the buffers by their prefixes, or ``None`` if an array here is no view of them any more."""
        intact = len(self) == len(self._own) and all(map(is_, self.values(), self._own))
        return self._whole if intact else None

    def like(self, make: Callable[[np.ndarray], np.ndarray] = np.empty_like) -> "Packed":
        """Return arrays of the same names, shapes and types, made by ``make(buffer)``."""
        buffers, others = (
            {name: make(array) for name, array in each.items()}
            for each in (self._buffers, self._others)
        )
        return Packed(self.layout, buffers, others)

    def __reduce__(self):
        return dict, (dict(self),)


def pack(arrays: Arrays, replicas: bool = False) -> Arrays:
    """Return the arrays, copied into one buffer; as they are if their types differ or there are none.

    Parameters
    ----------
    arrays : dict of arrays
    replicas : bool
        Whether the first axis of each is that of R replicas, which have one row of the buffer each.
    """
    kinds = {(type(array), getattr(array, "dtype", None)) for array in arrays.values()}
    if len(kinds) != 1 or next(iter(kinds))[0] is not np.ndarray:
        return arrays
    first, runs = next(iter(arrays.values())), int(replicas)
    shapes = {name: array.shape[runs:] for name, array in arrays.items()}
    layout = Layout(first.shape[:runs], shapes, sum(map(math.prod, shapes.values())))
    packed = Packed(layout, {"": np.empty(layout.lead + (layout.size,), first.dtype)}, {})
    copy_into(packed, arrays)
    return packed


def grouped(groups: dict[str, Arrays], others: Arrays) -> Arrays:
    """Return several dicts of the same names as one, each with a prefix for its names, and `others` beside them."""
    first: Any = next(iter(groups.values()))
    wholes = {prefix: whole_of(group) for prefix, group in groups.items()}
    if None not in wholes.values():
        return Packed(
            first.layout, {prefix: whole[""] for prefix, whole in wholes.items() if whole}, others
        )
    return others | {
        prefix + name: array for prefix, group in groups.items() for name, array in group.items()
    }


def whole_of(arrays: Arrays) -> Arrays | None:
    """Return the buffers of packed arrays, ``None`` for any other dict."""
    return arrays.whole() if isinstance(arrays, Packed) else None


def together(*dicts: Any) -> tuple[Arrays, ...]:
    """Return the buffers of several dicts if all are packed alike, otherwise the dicts as they are.

    Examples
    --------
    >>> params, gradients = pack({"W": np.ones(2), "b": np.zeros(1)}), {"W": np.ones(2), "b": np.ones(1)}
    >>> together(params, params.like(np.zeros_like))
    ({'': array([1., 1., 0.])}, {'': array([0., 0., 0.])})
    >>> together(params, gradients) == (params, gradients)
    True
    """
    layout, wholes = getattr(dicts[0], "layout", None), []
    for each in dicts:
        # An optimizer without state has an empty dict of it.
        whole = whole_of(each) if each else each
        if whole is None or each and each.layout is not layout:
            return dicts
        wholes.append(whole)
    return tuple(wholes)


def empty_like(arrays: Arrays) -> Arrays:
    """Return arrays of the same names, shapes and types, packed if these are."""
    if isinstance(arrays, Packed) and arrays.whole() is not None:
        return arrays.like()
    return {name: np.empty_like(array) for name, array in arrays.items()}


def room(arrays: Arrays) -> Arrays:
    """Return memory for gradients of these parameters: packed as they are, or a dict to be filled."""
    return empty_like(arrays) if whole_of(arrays) is not None else {}


def copy_into(arrays: Arrays, given: Arrays) -> None:
    """Copy the numbers of the dict `given` into the arrays of the same names."""
    for name, array in arrays.items():
        np.copyto(array, given[name], casting="unsafe")


def add(total: Arrays, part: Arrays) -> Arrays:
    """Return the sums of both dicts' arrays; those of `total` are overwritten where both are packed."""
    sums, parts = together(total, part)
    if sums is total:
        return {name: total[name] + part[name] for name in total}
    for name, array in sums.items():
        array += parts[name]
    return total


def gather(room: Arrays, arrays: Arrays) -> Arrays:
    """Return `room` with the numbers of some arrays, or those arrays if they are not of its names, shapes and types."""
    if arrays is room:
        return room
    if not all(type(array) is np.ndarray for array in arrays.values()) or not alike(room, arrays):
        return arrays
    copy_into(room, arrays)
    return room


def copied(name: str, given: Arrays, own: Arrays) -> Arrays:
    """Return a copy of the dict `given` in the types of `own`, packed as that is; refuse other names or shapes."""
    shapes = [{key: np.shape(value) for key, value in arrays.items()} for arrays in (own, given)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name} must have the shapes {shapes[0]}, received {shapes[1]}")
    copy = empty_like(own)
    copy_into(copy, given)
    return copy


def alike(first: Arrays, second: Arrays) -> bool:
    """Say whether two dicts have arrays of the same names, shapes and types."""
    shapes = [
        {name: (value.shape, value.dtype) for name, value in arrays.items()}
        for arrays in (first, second)
    ]
    return shapes[0] == shapes[1]


class Twice:
    """The memory of parameters and state, twice: an update reads one and writes the other.

    So an update that is cut short has changed nothing, and none of them asks for memory.
    """

    def __init__(self):
        self._pairs: tuple = ()

    def other(self, params: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Return the memory in which these parameters and this state are not."""
        if not self._pairs:
            self._pairs = (params, state), (empty_like(params), empty_like(state))
        # After an assignment from outside perhaps half of one pair is in use, or none.
        first, second = self._pairs
        return second if params is first[0] or state is first[1] else first

    def home(self, params: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Return the same numbers in the memory that held the first ones: somebody may keep those arrays by name."""
        if not self._pairs or params is not self._pairs[1][0]:
            return params, state
        for home, away in zip(*self._pairs):
            copy_into(home, away)
        return self._pairs[0]


def takes_out(method: Callable) -> bool:
    """Say whether a method has an argument `out`: it can be told where to write."""
    return "out" in inspect.signature(method).parameters


def keep_freed_memory() -> None:
    """Have the system's ``malloc`` keep what is freed for what is asked for next, up to 16 MB.

    The arrays that an update makes on its way are freed soon and made again in the next one. glibc
    hands such memory back to the system and fetches it anew, page by page, which was 4 of 9
    milliseconds of an update of a small decoder. It keeps as much as the largest array that it has
    seen come and go.
    """
    np.empty(2**24, np.uint8)
