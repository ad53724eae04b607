r"""Losses: each function returns its value and its exact gradient, side by side.

Conventions, the same for every loss:

* Predictions come first. The gradient is taken with respect to them and has their shape.
* ``reduction="none"`` returns one value for each example; its gradient is that of the
  example's own value. ``"sum"`` adds them up. ``"mean"`` divides the weighted sum by the
  sum of the weights.
* `weights` multiply the values one by one and must have the shape of the unreduced values. With
  ``reduction="none"`` the loss says how much each value counts in its attribute `weights`: those of
  the call, and 0 for what is ignored, or ``None`` where every value counts once.
* Losses never broadcast: unequal shapes are a ``ValueError``.
* Gradients and unreduced values have the floating-point type of the predictions; whole numbers, of
  any type, become float64. float16 is computed in float64 and rounded once, at the end. Sums and
  means are made in float64 and are a Python ``float``.
* Where the right number is infinite, or too large for its type, the result is infinite, without a
  warning.
* Masked entries, rows of unequal lengths, and anything but real numbers are refused: a
  ``ValueError`` or a ``TypeError``.
* At a kink, where a derivative does not exist, the gradient is 0 if 0 lies between the slopes on
  both sides, which it does for every loss here.

In the formulas :math:`\hat y` are the predictions, :math:`y` the targets, :math:`z` or :math:`x`
logits,
:math:`p` predicted and :math:`q` target probabilities, :math:`\sigma` the sigmoid; :math:`i` counts examples,
:math:`k` classes, and :math:`[\,\cdot\,]` is 1 where it is true and 0 elsewhere.

Files in the order of the book: ``regression``, ``classification``, ``distributions`` and ``pairs``,
and ``linear``, where the logits are not held; what all share is in ``reduction``, and what a
trainer needs of any of them in ``sums``.
"""

from trainlab.losses.classification import (
    binary_cross_entropy,
    cross_entropy,
    focal,
    hinge,
    log_loss,
    soft_cross_entropy,
    softmax_cross_entropy,
)
from trainlab.losses.distributions import distillation, kl_divergence
from trainlab.losses.linear import LinearLoss, linear_cross_entropy
from trainlab.losses.pairs import info_nce, preference, triplet
from trainlab.losses.reduction import REDUCTIONS, Loss
from trainlab.losses.regression import (
    absolute_error,
    gaussian_nll,
    huber,
    log_cosh,
    quantile,
    squared_error,
)

__all__ = [
    "Loss",
    "REDUCTIONS",
    "squared_error",
    "absolute_error",
    "huber",
    "log_cosh",
    "quantile",
    "gaussian_nll",
    "softmax_cross_entropy",
    "linear_cross_entropy",
    "LinearLoss",
    "soft_cross_entropy",
    "binary_cross_entropy",
    "focal",
    "hinge",
    "cross_entropy",
    "log_loss",
    "kl_divergence",
    "distillation",
    "info_nce",
    "triplet",
    "preference",
]
