"""Which examples an update sees: their order, and whether they are those that a training began with.

The order of an epoch is a function of ``(seed, epoch)``, so that a resumed run meets the same
batches.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks
from trainlab.identity import fingerprint


def batch_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """Return the order in which an epoch visits its n examples: a permutation of ``0 .. n - 1``.

    Examples
    --------
    >>> batch_order(seed=0, epoch=0, n=5).tolist() == batch_order(seed=0, epoch=0, n=5).tolist()
    True
    """
    # Stream 0 of a seed makes the initial parameters, hence the 1.
    return np.random.default_rng([seed, 1 + epoch]).permutation(n)


def counts(
    n: int, batch_size: int, accumulate: int, steps: int | None, epochs: int | None
) -> tuple[int, int, int]:
    """Return how many updates a call makes, how many an epoch of n examples has, and how many examples one uses."""
    per_update = batch_size * accumulate
    if n < per_update:
        raise ValueError(
            f"batch_size {batch_size} x accumulate {accumulate} asks for {per_update} examples an update, received {n} in all"
        )
    per_epoch = n // per_update
    if steps is not None and epochs is None:
        return checks.integer("steps", steps, low=0), per_epoch, per_update
    if epochs is not None and steps is None:
        return per_epoch * checks.integer("epochs", epochs, low=0), per_epoch, per_update
    raise ValueError(f"give steps or epochs, received steps={steps} and epochs={epochs}")


def parts(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, count: int, axis: int
) -> Iterator[tuple]:
    """Yield the micro-batches of an update, `count` equal parts of its examples, which lie along `axis`."""
    if count == 1:
        yield x, y, weights
        return
    size = x.shape[axis] // count
    for start in range(0, count * size, size):
        rows = (slice(None),) * axis + (slice(start, start + size),)
        yield x[rows], y[rows], None if weights is None else weights[rows]


class Orders:
    """The visiting order of an epoch for every replica, shape (n,) or (R, n), made once an epoch."""

    def __init__(self, seeds: Sequence[int], replicas: int | None):
        self.seeds, self.replicas = seeds, replicas
        self._last: tuple = (None, None)

    def __call__(self, epoch: int, n: int, apart: bool = False) -> np.ndarray:
        """Return the order in which an epoch visits its n examples.

        With `apart` each replica has n examples of its own, which lie one replica behind the other.
        """
        if self._last[0] != (epoch, n, apart):
            # Replicas that differ in their schedule alone share a seed.
            order_of = {seed: batch_order(seed, epoch, n) for seed in dict.fromkeys(self.seeds)}
            orders = np.stack([order_of[seed] for seed in self.seeds])
            if apart:
                orders += n * np.arange(len(orders))[:, None]
            self._last = (epoch, n, apart), orders[0] if self.replicas is None else orders
        return self._last[1]


class Known(NamedTuple):
    """The examples of a training, known again by their fingerprints, and where it began with them."""

    prints: dict
    examples: int
    step: int
    epoch: int


def recognised(
    known: Known | None, data: dict[str, Any], n: int, step: int, per_update: int, new_data: bool
) -> Known:
    """Return what a training knows of its n examples ``{"x": x, "y": y, "weights": weights}`` at a step.

    Raises
    ------
    ValueError
        If they are others than before, unless `new_data` says so.
    """
    prints = {name: fingerprint(values) for name, values in data.items()}
    if known is None:
        return Known(prints, n, 0, 0)
    if known.step == step or new_data and known.examples == n:
        # No update was made with them, or as many go on.
        return known._replace(prints=prints, examples=n)
    if not new_data:
        if n != known.examples:
            raise ValueError(
                f"this training began with {known.examples} examples, received {n}; new_data=True takes them"
            )
        if differing := [name for name in prints if prints[name] != known.prints[name]]:
            raise ValueError(
                f"this training began with other {', '.join(differing)}; new_data=True takes them"
            )
        return known
    # An epoch that was begun is over.
    return Known(
        prints, n, step, known.epoch - (known.step - step) // (known.examples // per_update)
    )


def inputs(model: Any, x: ArrayLike) -> np.ndarray:
    """Return `x` in the type of the model's inputs, or refuse it."""
    if np.dtype(model.input_dtype).kind == "i":
        return checks.whole("x", x)
    return checks.fitting("x", checks.finite("x", checks.floating("x", x)), model.input_dtype)


def examples(
    model: Any, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None, own: int | None = None
) -> tuple:
    """Return inputs, targets and weights in the model's types, or refuse them.

    With `own` they have a leading axis of so many replicas.
    """
    x, y = inputs(model, x), checks.plain("y", y)
    axes = 1 if own is None else 2
    rows = x.shape[:axes]
    if min(x.ndim, y.ndim) < axes or rows != y.shape[:axes]:
        each = "one row an example" if own is None else "the shape (replicas, examples, ...)"
        raise ValueError(f"x and y must have {each}, received shapes {x.shape} and {y.shape}")
    if own is not None and len(x) != own:
        raise ValueError(f"x and y must have one row for each of {own} replicas, received {len(x)}")
    if y.dtype.kind == "f":
        y = checks.fitting("y", checks.finite("y", y), model.dtype)
    if weights is not None:
        shape = np.shape(weights)
        if shape != y.shape[: len(shape)] or len(shape) < axes:
            raise ValueError(
                f"weights must have shape {rows} or that of the losses, received {shape}"
            )
        weights = checks.weights(weights, shape, model.dtype)
    return x, y, weights


def end_to_end(*arrays: np.ndarray | None) -> list:
    """Lay the examples of each replica one behind the other: (R, n, ...) becomes (R n, ...)."""
    return [None if a is None else a.reshape(-1, *a.shape[2:]) for a in arrays]
