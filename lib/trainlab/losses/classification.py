"""Losses for classes: what does a probability cost, once the class is known?

Logits wherever there is a logit form. The two losses on probabilities at the end, the article's
own, are there to be studied; in training their logarithms have lost digits that logits still hold.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks, numerics
from trainlab.losses.reduction import Loss, reduce_loss, reduce_values, rounded, weigh

# So many entries at a time stay near the processor's cache while the loss passes over them.
BLOCK = 2**18


def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | Iterable[int] | None = None,
    z_loss: float = 0.0,
    reduction: str = "mean",
) -> Loss:
    r"""Cross-entropy between whole-number labels and the softmax of logits.

    .. math:: \ell_i = \log \sum_k e^{z_{ik}} - \sum_k q_{ik} z_{ik}
                       + \zeta \Big(\log \sum_k e^{z_{ik}}\Big)^2, \qquad
              \frac{\partial \ell_i}{\partial z_{ik}}
                     = p_{ik} - q_{ik} + 2 \zeta\, p_{ik} \log \sum_j e^{z_{ij}}

    with :math:`p = \operatorname{softmax}(z)`, the label smoothing
    :math:`q_{ik} = (1 - \varepsilon)\,[k = y_i] + \varepsilon / K` (Szegedy et al. 2016) and the
    penalty :math:`\zeta` on the log-normaliser (z-loss, Chowdhery et al. 2022).

    Computed so that the tails keep their digits: for a label that holds the largest logit,
    the loss is ``log1p`` of the *other* classes' sum, and its gradient minus that sum.

    Class weights :math:`w` together with label smoothing mean two things. Here an example's whole
    loss, smoothed as it is, is weighed with the weight of its label. PyTorch weighs each class's
    term of the smoothed sum with the weight of that class:

    .. math:: \text{here: } \frac{\sum_i w_{y_i} \ell_i}{\sum_i w_{y_i}}, \qquad
              \text{PyTorch: } \frac{\sum_i \big( (1 - \varepsilon)\, w_{y_i} (-\log p_{i y_i})
                     + \frac{\varepsilon}{K} \sum_k w_k (-\log p_{ik}) \big)}{\sum_i w_{y_i}}

    Both agree without smoothing, and where all classes weigh the same.

    Parameters
    ----------
    logits : array, shape (..., K)
        Unnormalised log-probabilities. Minus infinity is allowed: a class of probability 0.
    labels : array of whole numbers, shape (...)
    weights : array, shape (...), optional
        For class weights pass ``class_weights[labels]``.
    label_smoothing : float, 0 <= label_smoothing < 1
        The share :math:`\varepsilon` of each target that is spread evenly over all K classes.
        Together with a logit of minus infinity the loss is infinite.
    ignore_index : int or sequence of int, optional
        Rows with this label, or one of these, count for nothing: in the sum and in the mean's
        denominator.
    z_loss : float, at least 0
        The factor :math:`\zeta`.
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `value` in nats; `gradient` of shape (..., K). With ``reduction="none"`` its `weights` are 0
        for the ignored rows.

    Raises
    ------
    ValueError
        If the shapes do not fit, a label is out of range, a logit is NaN or plus infinity, all
        logits of a row are minus infinity, all rows of a mean are ignored, an input is empty, the
        weights are negative or all zero, or an option is out of range.
    TypeError
        If the labels are not whole numbers.

    Examples
    --------
    >>> softmax_cross_entropy([[2.0, 2.0]], [0]).value
    0.6931471805599453
    >>> softmax_cross_entropy([[2.0, 2.0]], [0]).gradient.tolist()
    [[-0.5, 0.5]]
    >>> softmax_cross_entropy([[40.0, 0.0]], [0]).value
    4.248354255291589e-18
    >>> softmax_cross_entropy([[40.0, 0.0]], [2])
    Traceback (most recent call last):
        ...
    ValueError: labels must be 0 to 1, received 2 at index (0,)
    """
    logits = checks.floating("logits", logits)
    if logits.ndim < 1:
        raise ValueError(f"logits need an axis of classes, received shape {logits.shape}")
    dtype, logits = logits.dtype, checks.wide(logits)
    rows, classes = logits.shape[:-1], logits.shape[-1]
    labels, kept = checks.labels(labels, rows, classes, ignore_index)
    smoothing = checks.number("label_smoothing", label_smoothing, low=0, below=1)
    z_loss = checks.number("z_loss", z_loss, low=0)
    if weights is not None:
        weights = checks.weights(weights, rows, logits.dtype)
    if kept is not None:
        if reduction == "mean" and not kept.any():
            raise ValueError(
                f"all {labels.size} labels equal ignore_index={ignore_index}: nothing is left to average"
            )
        weights = np.where(kept, logits.dtype.type(1) if weights is None else weights, 0)
        if reduction == "mean":
            checks.weights(weights, rows, logits.dtype)
    weights, total = weigh(weights, rows, reduction)

    flat, labels = logits.reshape(-1, classes), labels.reshape(-1)
    factor = 1 / total if weights is None else weights.reshape(-1) / total
    values, gradient = np.empty(len(flat), flat.dtype), np.empty(flat.shape, flat.dtype)
    height = max(1, BLOCK // classes)
    with np.errstate(all="ignore"):
        for start in range(0, len(flat), height):
            block = slice(start, start + height)
            some = flat[block]
            # Where each row starts among all entries: one index reaches an entry quicker than two.
            starts = np.arange(0, some.size, classes)
            peak = some.reshape(-1)[starts + some.argmax(axis=-1)]
            # The maximum of a row is finite unless the row holds NaN, plus infinity or nothing
            # else.
            if not np.isfinite(peak).all():
                row = start + int(np.argmin(np.isfinite(peak)))
                index = tuple(int(i) for i in np.unravel_index(row, rows))
                raise ValueError(
                    f"logits need a finite maximum in each row, received {flat[row]} at index {index}"
                )
            values[block] = _cross_entropy_rows(
                some,
                starts + labels[block],
                peak[:, None],
                factor if weights is None else factor[block],
                smoothing,
                z_loss,
                gradient[block],
            )
        values = reduce_values(values.reshape(rows), weights, total, reduction)
        return rounded(values, gradient.reshape(logits.shape), weights, dtype)


def _cross_entropy_rows(logits, label, peak, factor, smoothing, z_loss, gradient):
    """Return the losses of some rows, (n,), and fill in their gradients times `factor`, (n, K).

    `label` holds the places of the labels among all entries, `peak` the largest logits, (n, 1).
    """
    classes, entries = logits.shape[-1], gradient.reshape(-1)
    np.subtract(logits, peak, out=gradient)
    below = entries[label]
    entries[label] = -np.inf
    np.exp(gradient, out=gradient)
    # Kept apart, because 1 + others has lost the digits of a sure answer's small others.
    others, label_term = np.einsum("ij->i", gradient), np.exp(below)
    total = others + label_term
    log_total = np.log1p(others + (label_term - 1))
    values, label_gradient = log_total - below, others / -total
    if smoothing > 0:
        centre = logits.mean(axis=-1)
        if not np.isfinite(centre).all():  # the sum may overflow where the mean does not
            centre = (logits / classes).sum(axis=-1)
        values = (1 - smoothing) * values + smoothing * (peak[:, 0] + log_total - centre)
        label_gradient += smoothing - smoothing / classes
    if z_loss > 0:
        log_normaliser = peak[:, 0] + log_total
        penalty = z_loss * log_normaliser**2
        # A square may overflow where a small factor times it does not.
        values += np.where(np.isfinite(penalty), penalty, z_loss * log_normaliser * log_normaliser)
        label_gradient += 2 * z_loss * log_normaliser * label_term / total
        total = total / (1 + 2 * z_loss * log_normaliser)
    # The factor rides along with the division by the sum: one pass over the array less.
    gradient *= (factor / total)[:, None]
    if smoothing > 0:
        gradient -= np.reshape(smoothing / classes * factor, (-1, 1))
    entries[label] = label_gradient * factor
    return values


def soft_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Cross-entropy between target probabilities and the softmax of logits.

    .. math:: \ell_i = -\sum_k q_{ik} \log p_{ik}, \qquad
              \frac{\partial \ell_i}{\partial z_{ik}} = p_{ik} - q_{ik}, \qquad p = \operatorname{softmax}(z)

    For targets that are not sure: several annotators, mixed examples, a teacher. A function of
    its own, because guessing from the type of the targets whether they are labels or
    probabilities hides mistakes. :math:`0 \log 0 = 0`. Shannon (1948), *A mathematical theory of
    communication*; Good (1952), *Rational decisions*.

    Parameters
    ----------
    logits : array, shape (..., K)
        Minus infinity is allowed: a class of probability 0, infinitely costly if its target is not.
    targets : array, shape (..., K)
        Probabilities: each row between 0 and 1 with sum 1 (to 0.001).
    weights : array, shape (...), optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `value` in nats; `gradient` of shape (..., K).

    Raises
    ------
    ValueError
        If the shapes differ, a row of targets is no distribution, a row of logits has no
        finite maximum, an input is empty, or the weights are negative or all zero.

    Examples
    --------
    >>> soft_cross_entropy([[0.0, 0.0]], [[0.75, 0.25]]).value
    0.6931471805599453
    >>> soft_cross_entropy([[0.0, 0.0]], [[0.75, 0.25]]).gradient.tolist()
    [[-0.25, 0.25]]
    """
    logits, targets, dtype = logits_and_shares(logits, targets)
    with np.errstate(all="ignore"):
        values = -numerics.zero_safe_product(targets, numerics.log_softmax(logits)).sum(axis=-1)
        return reduce_loss(values, softmax_minus(logits, targets), weights, reduction, dtype)


def logits_and_shares(logits, targets):
    """Return both, checked, in the type to compute in, and the type of the logits."""
    logits, targets = checks.logits("logits", logits), checks.distributions("targets", targets)
    checks.same_shape(logits, targets, "logits")
    computed = checks.wide(logits)
    return computed, targets.astype(computed.dtype, copy=False), logits.dtype


def softmax_minus(logits, targets):
    """Return ``softmax(logits) - targets``, keeping the digits of nearly sure rows.

    Each row sums to 0, so the entry of the largest logit is minus the sum of the others. Taken
    directly, it would be a difference of two numbers close to 1.
    """
    gradient = numerics.softmax(logits) * targets.sum(axis=-1, keepdims=True) - targets
    top = np.argmax(logits, axis=-1)[..., None]
    np.put_along_axis(gradient, top, 0, -1)
    np.put_along_axis(gradient, top, 0 - gradient.sum(axis=-1, keepdims=True), -1)
    return gradient


def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Cross-entropy of yes and no, from one logit each.

    .. math:: \ell_i = (1 - y_i) \log(1 + e^{x_i}) + y_i \log(1 + e^{-x_i}), \qquad
              \frac{\partial \ell_i}{\partial x_i} = (1 - y_i)\,\sigma(x_i) - y_i\,\sigma(-x_i)

    The gradient is :math:`\sigma(x) - y`, written so that it does not round to 0 where the answer
    is sure and right. Cox (1958), *The regression analysis of binary sequences*.

    Parameters
    ----------
    logits : array, any shape
        Log-odds of yes.
    targets : array, the same shape, between 0 and 1
        1 for yes, 0 for no, anything between for a share.
    weights : array, the same shape, optional
    reduction : "mean", "sum" or "none"
        The mean is over all entries.

    Returns
    -------
    Loss
        `value` in nats.

    Raises
    ------
    ValueError
        If the shapes differ, a target is not between 0 and 1, an input is empty or not
        finite, or the weights are negative or all zero.

    Examples
    --------
    >>> binary_cross_entropy([0.0, 40.0], [1, 1], reduction="none").value.tolist()
    [0.6931471805599453, 4.248354255291589e-18]
    >>> binary_cross_entropy([0.0, 40.0], [1, 1], reduction="sum").gradient.tolist()
    [-0.5, -4.248354255291589e-18]
    >>> binary_cross_entropy([0.0], [2])
    Traceback (most recent call last):
        ...
    ValueError: targets must lie between 0 and 1, received 2.0 at index (0,)
    """
    logits, targets, dtype = checks.numbers_alike(logits, targets, "logits")
    checks.within("targets", targets, 0, 1)
    with np.errstate(all="ignore"):
        values = (1 - targets) * numerics.softplus(logits) + targets * numerics.softplus(-logits)
        gradient = (1 - targets) * numerics.sigmoid(logits) - targets * numerics.sigmoid(-logits)
        return reduce_loss(values, gradient, weights, reduction, dtype)


def focal(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Focal loss: binary cross-entropy that turns away from examples it already gets right.

    .. math:: \ell_i = -a_i\,(1 - p_i)^\gamma \log p_i, \qquad
              \frac{\partial \ell_i}{\partial x_i}
                  = t_i\,a_i\,(1 - p_i)^\gamma \big(\gamma\, p_i \log p_i - (1 - p_i)\big)

    with :math:`t_i = \pm 1` for yes and no, :math:`p_i = \sigma(t_i x_i)` the probability of the
    true answer, and :math:`a_i = \alpha` for yes, :math:`1 - \alpha` for no, or 1 without `alpha`.
    Lin et al. (2017), *Focal loss for dense object detection*. With ``gamma=0`` and no `alpha` it
    is
    :func:`binary_cross_entropy`.

    Parameters
    ----------
    logits : array, any shape
    labels : array, the same shape, each 0 or 1
    gamma : float, at least 0
        How fast easy examples fade.
    alpha : float, 0 <= alpha <= 1, optional
        The weight of yes against no.
    weights : array, the same shape, optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `value` in nats.

    Raises
    ------
    ValueError
        If a label is neither 0 nor 1, an option is out of its range, or as
        :func:`binary_cross_entropy`.

    Examples
    --------
    >>> focal([0.0], [1], gamma=2.0).value == 0.25 * binary_cross_entropy([0.0], [1]).value
    True
    >>> focal([1000.0], [1], gamma=0.5).gradient.tolist()
    [0.0]
    """
    logits, labels, dtype = checks.numbers_alike(logits, labels, "logits", "labels")
    checks.either("labels", labels, (0, 1))
    gamma = checks.number("gamma", gamma, low=0)
    with np.errstate(all="ignore"):
        sign = 2 * labels - 1
        right, wrong = numerics.sigmoid(sign * logits), numerics.sigmoid(-sign * logits)
        log_right, fade = -numerics.softplus(-sign * logits), wrong**gamma
        if alpha is not None:
            alpha = checks.number("alpha", alpha, low=0, high=1)
            fade = fade * (alpha * labels + (1 - alpha) * (1 - labels))
        # + 0 turns the minus zero of a perfect answer into zero.
        gradient = sign * fade * (gamma * right * log_right - wrong) + 0
        return reduce_loss(-fade * log_right + 0, gradient, weights, reduction, dtype)


def hinge(
    scores: ArrayLike,
    targets: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Hinge loss: nothing to pay once an answer is right by a margin of 1.

    .. math:: \ell_i = \max(0,\; 1 - t_i\, s_i), \qquad
              \frac{\partial \ell_i}{\partial s_i} = \begin{cases} -t_i & t_i\, s_i < 1 \\ 0 & \text{otherwise} \end{cases}

    Cortes and Vapnik (1995), *Support-vector networks*. At the kink, :math:`t s = 1`, the gradient
    is 0.

    Parameters
    ----------
    scores : array, any shape
        Positive for yes, negative for no.
    targets : array, the same shape, each -1 or 1
    weights : array, the same shape, optional
    reduction : "mean", "sum" or "none"

    Raises
    ------
    ValueError
        If a target is neither -1 nor 1, or as :func:`binary_cross_entropy`.

    Examples
    --------
    >>> hinge([2.0, 0.5, -1.0], [1, 1, 1], reduction="none").value.tolist()
    [0.0, 0.5, 2.0]
    >>> hinge([2.0, 0.5, -1.0], [1, 1, 1], reduction="sum").gradient.tolist()
    [0.0, -1.0, -1.0]
    """
    scores, targets, dtype = checks.numbers_alike(scores, targets, "scores")
    checks.either("targets", targets, (-1, 1))
    with np.errstate(all="ignore"):
        margin = targets * scores
        return reduce_loss(
            np.maximum(1 - margin, 0), np.where(margin < 1, -targets, 0), weights, reduction, dtype
        )


def cross_entropy(
    predicted: ArrayLike,
    target: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Cross-entropy between probabilities: the article's form (section 2.2.2).

    .. math:: \ell_i = -\sum_k y_{ik} \log \hat y_{ik}, \qquad
              \frac{\partial \ell_i}{\partial \hat y_{ik}} = -\frac{y_{ik}}{\hat y_{ik}}

    Shannon (1948), *A mathematical theory of communication*. Nothing is clipped: a probability of 0
    for what happened costs infinity, with an infinite gradient; :math:`0 \log 0 = 0`. Prefer
    :func:`softmax_cross_entropy` in training: a probability next to 1 has already lost what its
    logit still knows.

    Parameters
    ----------
    predicted, target : arrays, shape (..., K)
        Probabilities: each row between 0 and 1 with sum 1 (to 0.001). For a known class the target
        is one-hot.
    weights : array, shape (...), optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `value` in nats.

    Raises
    ------
    ValueError
        If the shapes differ, a row is no distribution, an input is empty, or the weights are
        negative or all zero.

    Examples
    --------
    >>> cross_entropy([[0.5, 0.25, 0.25]], [[1, 0, 0]]).value
    0.6931471805599453
    >>> cross_entropy([[0.5, 0.25, 0.25]], [[1, 0, 0]]).gradient.tolist()
    [[-2.0, 0.0, 0.0]]
    >>> cross_entropy([[2.0, 1.0]], [[1, 0]])
    Traceback (most recent call last):
        ...
    ValueError: predicted must lie between 0 and 1, received 2.0 at index (0, 0)
    """
    predicted, target = (
        checks.distributions("predicted", predicted),
        checks.distributions("target", target),
    )
    checks.same_shape(predicted, target, "predicted", "target")
    dtype, predicted = predicted.dtype, checks.wide(predicted)
    target = target.astype(predicted.dtype, copy=False)
    # The infinities of an impossible event that happened are the answer, not an accident.
    with np.errstate(all="ignore"):
        values = -numerics.zero_safe_product(target, np.log(predicted)).sum(axis=-1) + 0
        gradient = -numerics.zero_safe_product(target, 1 / predicted) + 0
        return reduce_loss(values, gradient, weights, reduction, dtype)


def log_loss(
    predicted: ArrayLike,
    target: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Log loss of a predicted probability of yes: the article's form (section 2.2.3).

    .. math:: \ell_i = -y_i \log \hat y_i - (1 - y_i) \log(1 - \hat y_i), \qquad
              \frac{\partial \ell_i}{\partial \hat y_i} = \frac{1 - y_i}{1 - \hat y_i} - \frac{y_i}{\hat y_i}

    It is :func:`cross_entropy` for the two classes yes and no, told by the probability of one.
    Good (1952), *Rational decisions*. Nothing is clipped, as there; prefer
    :func:`binary_cross_entropy` in training.

    Parameters
    ----------
    predicted, target : arrays of one shape, between 0 and 1
    weights : array, the same shape, optional
    reduction : "mean", "sum" or "none"
        The mean is over all entries.

    Returns
    -------
    Loss
        `value` in nats.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not between 0 and 1, an input is empty, or the weights
        are negative or all zero.

    Examples
    --------
    >>> log_loss([0.5, 0.25], [1, 0], reduction="none").gradient.tolist()
    [-2.0, 1.3333333333333333]
    >>> log_loss([0.0], [1]).value
    inf
    """
    predicted, target, dtype = checks.numbers_alike(predicted, target, "predicted", "target")
    checks.within("predicted", predicted, 0, 1)
    checks.within("target", target, 0, 1)
    with np.errstate(all="ignore"):
        yes = numerics.zero_safe_product(target, np.log(predicted))
        no = numerics.zero_safe_product(1 - target, np.log1p(-predicted))
        gradient = numerics.zero_safe_product(
            1 - target, 1 / (1 - predicted)
        ) - numerics.zero_safe_product(target, 1 / predicted)
        return reduce_loss(-yes - no + 0, gradient, weights, reduction, dtype)
