"""How far announced probabilities are from what happened."""

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks


def calibration_error(said: ArrayLike, happened: ArrayLike, bins: int = 15) -> float:
    r"""Return the expected calibration error (ECE), with bins of equal width.

    .. math::
        \mathrm{ECE} = \sum_{b} \frac{n_b}{n} \, \lvert \bar y_b - \bar p_b \rvert

    where bin b holds :math:`n_b` of the n cases, with the mean :math:`\bar p_b` of what was said
    and the share :math:`\bar y_b` of what happened (Naeini et al., *Obtaining Well Calibrated
    Probabilities Using Bayesian Binning*, 2015; Guo et al., *On Calibration of Modern Neural
    Networks*, 2017).

    Parameters
    ----------
    said : array, shape (n,)
        A probability for each case: of the answer that was given, say.
    happened : array, shape (n,)
        1 where it came true, and 0 where it did not.
    bins : int, at least 1
        Bin b holds the probabilities from b / bins up to (b + 1) / bins, the last one 1 too.

    Returns
    -------
    float
        From 0 to 1. It is not 0 for honest probabilities, because of chance in each bin: few cases
        or many bins make it larger.

    Raises
    ------
    ValueError
        If the shapes differ, there is no case, a probability is not from 0 to 1, or `happened`
        holds anything but 0 and 1.

    Examples
    --------
    >>> round(calibration_error([0.9, 0.9, 0.9, 0.9, 0.3], [1, 1, 1, 0, 0], bins=10), 3)
    0.18
    """
    said, happened, _ = checks.numbers_alike(said, happened, "said", "happened")
    if said.ndim != 1:
        raise ValueError(f"said must be one row of cases, received shape {said.shape}")
    checks.within("said", said, 0, 1)
    checks.either("happened", happened, (0, 1))
    bins = checks.integer("bins", bins, low=1)
    said = said.astype(np.float64)
    bin_of = np.minimum((said * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(bin_of, said - happened)).sum() / len(said))
