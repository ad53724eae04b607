"""Losses between distributions: how far are the model's probabilities from those it is given?"""

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks, numerics
from trainlab.losses.classification import logits_and_shares, softmax_minus
from trainlab.losses.reduction import Loss, reduce_loss


def kl_divergence(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Kullback–Leibler divergence from the targets to the softmax of logits.

    .. math:: \ell_i = \sum_k q_{ik} \log \frac{q_{ik}}{p_{ik}}, \qquad
              \frac{\partial \ell_i}{\partial z_{ik}} = p_{ik} - q_{ik}, \qquad p = \operatorname{softmax}(z)

    It is :func:`~trainlab.losses.soft_cross_entropy` less the entropy of the targets, so it is 0
    where both distributions agree. :math:`0 \log 0 = 0`; a class with a target above 0 and a logit
    of minus infinity costs infinity. Kullback and Leibler (1951), *On information and sufficiency*.

    Parameters
    ----------
    logits : array, shape (..., K)
    targets : array, shape (..., K)
        Probabilities (not their logarithms): each row between 0 and 1 with sum 1 (to 0.001).
    weights : array, shape (...), optional
    reduction : "mean", "sum" or "none"
        The mean is over rows. (PyTorch's mean is over entries, and warns that this is no
        divergence.)

    Returns
    -------
    Loss
        `value` in nats, at least 0; `gradient` of shape (..., K).

    Raises
    ------
    ValueError
        As :func:`~trainlab.losses.soft_cross_entropy`.

    Examples
    --------
    >>> kl_divergence([[0.0, 0.0]], [[1.0, 0.0]]).value
    0.6931471805599453
    >>> kl_divergence([[0.0, 0.0]], [[0.5, 0.5]])
    Loss(value=0.0, gradient=array([[0., 0.]]))
    """
    logits, targets, dtype = logits_and_shares(logits, targets)
    with np.errstate(all="ignore"):
        values = _divergence(targets, np.log(targets), numerics.log_softmax(logits))
        return reduce_loss(values, softmax_minus(logits, targets), weights, reduction, dtype)


def _divergence(q, log_q, log_p):
    # Classes without a target add nothing, whatever their logarithms; the sum of the others can
    # miss 0 by a rounding, and a divergence below 0 would be nonsense.
    ratio = np.subtract(log_q, log_p, out=np.zeros_like(q), where=q > 0)
    return np.maximum((q * ratio).sum(axis=-1), 0)


def distillation(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    temperature: float,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Knowledge distillation: the student's softened answers against the teacher's.

    .. math:: \ell_i = T^2 \sum_k q_{ik} \log \frac{q_{ik}}{p_{ik}}, \qquad
              \frac{\partial \ell_i}{\partial z_{ik}} = T\,(p_{ik} - q_{ik})

    with :math:`p = \operatorname{softmax}(z / T)` for the student's logits :math:`z` and the same
    for the teacher's :math:`q`. The factor :math:`T^2` keeps the gradient's size when :math:`T`
    grows. Hinton, Vinyals and Dean (2015), *Distilling the knowledge in a neural network* (there
    with the cross-entropy, which differs by the teacher's entropy, a constant).

    Parameters
    ----------
    student, teacher : arrays of logits, shape (..., K)
        The teacher is taken as given: no gradient flows to it.
    temperature : float, above 0
        :math:`T`. 1 compares the models' own probabilities; large values compare logits.
    weights : array, shape (...), optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `value` in nats times :math:`T^2`; `gradient` of shape (..., K).

    Raises
    ------
    ValueError
        If the shapes differ, a row of logits has no finite maximum, `temperature` is not above 0,
        an input is empty, or the weights are negative or all zero.

    Examples
    --------
    >>> distillation([[2.0, 0.0]], [[2.0, 0.0]], temperature=4.0).value
    0.0
    >>> distillation([[0.0, 0.0]], [[1000.0, 0.0]], temperature=1.0).gradient.tolist()
    [[-0.5, 0.5]]
    """
    student, teacher = checks.logits("student", student), checks.logits("teacher", teacher)
    checks.same_shape(student, teacher, "student", "teacher")
    temperature = checks.number("temperature", temperature, above=0)
    dtype, student = student.dtype, checks.wide(student)
    teacher = checks.fitting("teacher", teacher, student.dtype)
    with np.errstate(all="ignore"):
        student, teacher = soften(student, temperature), soften(teacher, temperature)
        log_q, q = numerics.log_softmax(teacher), numerics.softmax(teacher)
        values = temperature**2 * _divergence(q, log_q, numerics.log_softmax(student))
        return reduce_loss(
            values, temperature * softmax_minus(student, q), weights, reduction, dtype
        )


def soften(logits, temperature):
    # Shifted first, so that a small temperature can push logits down to minus infinity, never up.
    return (logits - logits.max(axis=-1, keepdims=True)) / temperature
