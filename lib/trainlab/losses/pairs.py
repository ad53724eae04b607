"""Losses on pairs: which of two, or of many, belongs to the other, is nearer, or is preferred?"""

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks, numerics
from trainlab.losses.classification import softmax_cross_entropy
from trainlab.losses.distributions import soften
from trainlab.losses.reduction import Loss, reduce_loss, rounded


def info_nce(
    similarities: ArrayLike,
    *,
    temperature: float,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""InfoNCE: each row has to find its own partner among all columns.

    .. math:: \ell_i = -\log \frac{e^{s_{ii} / T}}{\sum_j e^{s_{ij} / T}}, \qquad
              \frac{\partial \ell_i}{\partial s_{ij}} = \frac{p_{ij} - [i = j]}{T}

    with :math:`s` the similarities and :math:`p` the softmax of each row of :math:`s / T`.
    Van den Oord, Li and Vinyals (2018), *Representation learning with contrastive predictive
    coding*. CLIP (Radford et al. 2021) averages this over rows and over columns: call it on the
    matrix and on its transpose. SimCLR (Chen et al. 2020) leaves out each view's comparison with
    itself: set those entries to minus infinity.

    Parameters
    ----------
    similarities : array, shape (..., n, m), m at least n
        Row i's partner is column i; the other columns are its negatives.
    temperature : float, above 0
        :math:`T`, in the unit of the similarities.
    weights : array, shape (..., n), optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `value` in nats; `gradient` of shape (..., n, m).

    Raises
    ------
    ValueError
        If there are more rows than columns, `temperature` is not above 0, a row has no finite
        maximum, an input is empty, or the weights are negative or all zero.

    Examples
    --------
    >>> info_nce([[1.0, 1.0], [1.0, 1.0]], temperature=0.5).value
    0.6931471805599453
    >>> info_nce([[1.0, 1.0], [1.0, 1.0]], temperature=0.5).gradient.tolist()
    [[-0.5, 0.5], [0.5, -0.5]]
    """
    similarities = checks.logits("similarities", similarities)
    if similarities.ndim < 2 or similarities.shape[-1] < similarities.shape[-2]:
        raise ValueError(
            f"similarities need a column for each row at least, received shape {similarities.shape}"
        )
    temperature = checks.number("temperature", temperature, above=0)
    partners = np.broadcast_to(np.arange(similarities.shape[-2]), similarities.shape[:-1])
    with np.errstate(all="ignore"):
        softened = soften(checks.wide(similarities), temperature)
        loss = softmax_cross_entropy(softened, partners, weights=weights, reduction=reduction)
        return rounded(loss.value, loss.gradient / temperature, loss.weights, similarities.dtype)


def triplet(
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    margin: float = 1.0,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Triplet loss: the positive has to be closer to the anchor than the negative, by a margin.

    .. math:: \ell_i = \max(0,\; d^+_i - d^-_i + m), \qquad
              \frac{\partial \ell_i}{\partial d^+_i} = -\frac{\partial \ell_i}{\partial d^-_i}
                  = \begin{cases} 1 & d^+_i - d^-_i + m > 0 \\ 0 & \text{otherwise} \end{cases}

    with :math:`d^+` and :math:`d^-` the distances `positive` and `negative`, and :math:`m` =
    `margin`. Schroff, Kalenichenko and Philbin (2015), *FaceNet*, with squared Euclidean distances.
    The loss sees distances, not embeddings, so any distance will do. With :math:`d^\pm = \lVert a -
    p^\pm \rVert^2` the embeddings' gradients are `gradient` times :math:`2(p^- - p^+)` for the
    anchor, :math:`2(p^+ - a)` for the positive and :math:`2(a - p^-)` for the negative.

    Parameters
    ----------
    positive, negative : arrays of one shape, at least 0
        Distances from the anchor.
    margin : float, at least 0
        In the unit of the distances.
    weights : array, the same shape, optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `gradient` is with respect to `positive`; with respect to `negative` it is its negative.

    Raises
    ------
    ValueError
        If the shapes differ, a distance or the margin is negative, an input is empty or not
        finite, or the weights are negative or all zero.

    Examples
    --------
    >>> triplet([1.0, 1.0], [3.0, 1.5], reduction="none").value.tolist()
    [0.0, 0.5]
    >>> triplet([1.0, 1.0], [3.0, 1.5], reduction="sum").gradient.tolist()
    [0.0, 1.0]
    """
    positive, negative, dtype = checks.numbers_alike(positive, negative, "positive", "negative")
    for name, distances in (("positive", positive), ("negative", negative)):
        checks.within(name, distances, 0, np.inf)
    margin = checks.number("margin", margin, low=0)
    with np.errstate(all="ignore"):
        slack = positive - negative + margin
        return reduce_loss(
            np.maximum(slack, 0), (slack > 0).astype(slack.dtype), weights, reduction, dtype
        )


def preference(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    beta: float = 1.0,
    weights: ArrayLike | None = None,
    reduction: str = "mean",
) -> Loss:
    r"""Preference loss: the chosen answer has to score above the rejected one.

    .. math:: \ell_i = -\log \sigma\big(\beta\,(c_i - r_i)\big), \qquad
              \frac{\partial \ell_i}{\partial c_i} = -\frac{\partial \ell_i}{\partial r_i}
                  = -\beta\,\sigma\big(-\beta\,(c_i - r_i)\big)

    with :math:`c` and :math:`r` the scores `chosen` and `rejected`, and :math:`\beta` = `beta`.
    Bradley and Terry (1952), *Rank analysis of incomplete block designs*. With rewards as scores it
    trains reward models (Ouyang et al. 2022). With :math:`\log \pi(y \mid x) - \log \pi_0(y \mid
    x)` as scores, :math:`\pi_0` the model before, it is DPO (Rafailov et al. 2023, *Direct
    preference optimization*).

    Parameters
    ----------
    chosen, rejected : arrays of one shape
        Scores of the two answers to the same question.
    beta : float, above 0
        How sharply a difference of scores counts; DPO commonly takes 0.1.
    weights : array, the same shape, optional
    reduction : "mean", "sum" or "none"

    Returns
    -------
    Loss
        `value` in nats; `gradient` with respect to `chosen`; with respect to `rejected` it is its
        negative.

    Raises
    ------
    ValueError
        If the shapes differ, `beta` is not above 0, an input is empty or not finite, or the
        weights are negative or all zero.

    Examples
    --------
    >>> preference([0.0], [0.0]).value
    0.6931471805599453
    >>> preference([40.0], [0.0]).gradient.tolist()
    [-4.248354255291589e-18]
    """
    chosen, rejected, dtype = checks.numbers_alike(chosen, rejected, "chosen", "rejected")
    beta = checks.number("beta", beta, above=0)
    with np.errstate(all="ignore"):
        lead = beta * (chosen - rejected)
        return reduce_loss(
            numerics.softplus(-lead), -beta * numerics.sigmoid(-lead), weights, reduction, dtype
        )
