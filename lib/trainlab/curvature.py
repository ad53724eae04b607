"""The slope and the largest curvature of a loss, where a trainer's parameters are."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trainlab import batches, checks
from trainlab.losses.sums import gradient_of_mean, some_weight, weighed_losses
from trainlab.models import Params


def gradient(trainer: Any, x: ArrayLike, y: ArrayLike) -> Params:
    """Return the gradient of the mean loss over all examples, a dict of arrays as ``trainer.params``.

    Parameters
    ----------
    trainer : :class:`~trainlab.trainer.Trainer`
        One run, or R replicas. Its parameters stay as they are. Of a run that was lost all is NaN.
    x, y : arrays of n examples each

    Examples
    --------
    >>> from trainlab import data, losses, models, optimizers, schedules
    >>> from trainlab.trainer import Trainer
    >>> trainer = Trainer(models.Linear(1, 1, dtype=np.float64), losses.squared_error, optimizers.SGD(),
    ...                   schedules.Constant(0.1), batch_size=4)
    >>> trainer.params = {"W": [[2.0]], "b": [0.0]}
    >>> gradient(trainer, *data.four_points())["W"].tolist()
    [[0.0]]
    """
    x, y, _ = batches.examples(trainer.model, x, y, None)
    return _gradient_at(trainer, trainer.params, x, y)


def sharpness(trainer: Any, x: ArrayLike, y: ArrayLike, directions: int = 20) -> float | np.ndarray:
    r"""Return the largest curvature of the mean loss: the largest eigenvalue of its matrix H of second derivatives.

    H is never written down. A difference of two gradients gives what it does to a vector of length 1,

    .. math:: Hv \approx \frac{\nabla L(\theta + \epsilon v) - \nabla L(\theta - \epsilon v)}{2\epsilon},
              \qquad \epsilon = 10^{-4},

    and the largest eigenvalue within the span of :math:`v, Hv, H^2v, \dots` is close to that of H,
    from below (Lanczos 1950, *An iteration method for the solution of the eigenvalue problem*).

    Parameters
    ----------
    trainer : :class:`~trainlab.trainer.Trainer`
        One run, or R replicas, of a model in float64: in float32 the differences are noise.
    x, y : arrays of n examples each
    directions : int, at least 1
        The dimension of the span. Each costs two gradients.

    Returns
    -------
    float, or array of shape (R,)
        NaN for a run that was lost.

    Raises
    ------
    ValueError
        If `directions` is below 1, or the model is not in float64.

    Examples
    --------
    The mean squared error of a line has the curvature :math:`\frac{2}{n} X^\top X`:

    >>> from trainlab import data, losses, models, optimizers, schedules
    >>> from trainlab.trainer import Trainer
    >>> trainer = Trainer(models.Linear(10, 1, dtype=np.float64), losses.squared_error, optimizers.SGD(),
    ...                   schedules.Constant(0.1), batch_size=8)
    >>> x, y = data.diabetes().train
    >>> round(sharpness(trainer, x, y), 2), round(float(2 * np.linalg.eigvalsh(x.T @ x / len(x))[-1]), 2)
    (8.43, 8.43)
    """
    checks.integer("directions", directions, low=1)
    if np.dtype(trainer.model.dtype).itemsize < 8:
        raise ValueError(
            f"sharpness needs a model in float64, received {np.dtype(trainer.model.dtype)}"
        )
    x, y, _ = batches.examples(trainer.model, x, y, None)
    names, axis = sorted(trainer.params), 0 if trainer.replicas is None else 1
    shapes = [trainer.params[name].shape for name in names]
    ends = np.cumsum([int(np.prod(shape[axis:])) for shape in shapes])[:-1]

    def rows(params):
        """All parameters in a row, one row a replica."""
        runs = 1 if axis == 0 else trainer.replicas
        return np.concatenate([params[name].reshape(runs, -1) for name in names], axis=1)

    def slope(w):
        parts = zip(names, shapes, np.split(w, ends, axis=1))
        return rows(
            _gradient_at(trainer, {name: part.reshape(shape) for name, shape, part in parts}, x, y)
        )

    w, step = rows(trainer.params), 1e-4
    v = np.random.default_rng(0).normal(size=w.shape)
    basis: list = []
    images: list = []
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(min(directions, w.shape[1])):
            for q in basis * 2:  # twice, because of rounding
                v = v - (v * q).sum(axis=1, keepdims=True) * q
            v = v / np.linalg.norm(v, axis=1, keepdims=True)
            basis.append(v)
            v = (slope(w + step * v) - slope(w - step * v)) / (2 * step)
            images.append(v)
        within = np.stack(basis, 1) @ np.stack(images, 1).mT
    lost = ~np.isfinite(within).all(axis=(1, 2))
    within[lost] = 0
    largest = np.linalg.eigvalsh((within + within.mT) / 2)[:, -1]
    largest = np.where(lost, np.nan, largest)
    return largest if axis else float(largest[0])


def _gradient_at(trainer, params, x, y):
    axis = 0 if trainer.replicas is None else 1
    with np.errstate(over="ignore", invalid="ignore"):
        outputs, cache = trainer.model.forward(params, x)
        targets = np.broadcast_to(y, outputs.shape[:axis] + y.shape)
        _, weight, slopes, _ = weighed_losses(
            trainer.loss, outputs, targets, None, axis, lambda lost, what: None
        )
        slopes = gradient_of_mean(slopes, None, some_weight(weight, trainer.step))
        return trainer.model.backward(params, cache, slopes)
