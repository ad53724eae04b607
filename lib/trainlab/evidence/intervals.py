"""Paired comparisons over seeds, intervals, and verdicts in words.

Two ways of training are compared on the same seeds: the same initial parameters, the same
batches. The difference of each pair is free of what the two runs share, so its interval is
narrower than that of two separate means.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from trainlab import checks


def student_t_quantile(probability: float, degrees: int) -> float:
    r"""Return the quantile of Student's t distribution.

    With :math:`t = \sqrt{\nu} \tan\theta` the density becomes :math:`\cos^{\nu-1}\theta`, which is
    summed on a fine grid. Student (1908), *The probable error of a mean*.

    Parameters
    ----------
    probability : float, 0.5 <= probability < 1
    degrees : int, at least 1
        Degrees of freedom :math:`\nu`.

    Examples
    --------
    >>> round(student_t_quantile(0.975, 31), 4)
    2.0395
    """
    checks.number("probability", probability, low=0.5, below=1)
    checks.integer("degrees", degrees, low=1)
    theta = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(theta) ** (degrees - 1)
    area = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = np.interp(2 * probability - 1, area / area[-1], theta)
    return float(np.sqrt(degrees) * np.tan(angle))


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its confidence interval.

    Attributes
    ----------
    mean, low, high : float
        In the unit of the values.
    n : int
        Number of seeds.
    confidence : float
    """

    mean: float
    low: float
    high: float
    n: int
    confidence: float = 0.95

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"

    def exp(self) -> "Interval":
        r"""Return the interval of a geometric mean, if this one is of logarithms.

        The mean of logarithms is the logarithm of the geometric mean, and a difference of
        logarithms that of a ratio. So ``paired(np.log(first), np.log(second)).exp()`` is the mean
        ratio of the pairs. Ask for its verdict *before* you take the exponential: a ratio is always
        above 0.

        Returns
        -------
        Interval
            A ratio has no unit. The exponentials of `low` and `high` are its ends.

        Examples
        --------
        >>> log = paired(np.log([1.0, 2.0, 4.0]), np.log([2.0, 4.0, 9.0]))
        >>> print(log.exp(), log.verdict())
        0.481 [0.406, 0.569] lower
        """
        with np.errstate(all="ignore"):  # a ratio too large for a number is infinite
            mean, low, high = (float(np.exp(value)) for value in (self.mean, self.low, self.high))
        return Interval(mean, low, high, self.n, self.confidence)

    def verdict(self, margin: float = 0.0) -> str:
        """Say in words where the interval lies.

        Parameters
        ----------
        margin : float, at least 0
            The smallest difference that would matter to you, in the unit of the values.

        Returns
        -------
        str
            "higher" or "lower" if the whole interval lies beyond the margin; "no difference larger
            than the margin" if all of it lies within; "undecided" otherwise.

        Examples
        --------
        >>> Interval(0.5, 0.4, 0.6, n=32).verdict()
        'higher'
        >>> Interval(0.5, -0.1, 1.1, n=32).verdict()
        'undecided'
        >>> Interval(0.01, -0.02, 0.04, n=32).verdict(margin=0.05)
        'no difference larger than 0.05'
        """
        margin = checks.number("margin", margin, low=0)
        if self.low > margin:
            return "higher"
        if self.high < -margin:
            return "lower"
        if -margin <= self.low and self.high <= margin and margin > 0:
            return f"no difference larger than {margin:g}"
        return "undecided"


def interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    r"""Return the mean of `values` with its t interval.

    .. math:: \bar d \pm t_{n-1}\, s / \sqrt n

    with the sample standard deviation :math:`s`. Student (1908).

    Parameters
    ----------
    values : array, shape (n,), n >= 2
        One number a seed.
    confidence : float, 0 < confidence < 1

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If there are fewer than two values, or one is not finite: a run that diverged has no
        place in a mean, and leaving it out is for you to decide and to say.

    Examples
    --------
    >>> print(interval([1.0, 2.0, 3.0, 4.0]))
    2.5 [0.446, 4.55]
    """
    values = checks.finite("values", checks.floating("values", values)).astype(np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            f"values must be at least two numbers in a row, received shape {values.shape}"
        )
    checks.number("confidence", confidence, above=0, below=1)
    # Scaled by a power of two, which rounds nothing, so that no sum and no square overflows on its
    # way.
    n, power = len(values), np.frexp(np.abs(values).max())[1]
    values = np.ldexp(values, -power)
    mean = float(values.mean())
    half = student_t_quantile((1 + confidence) / 2, n - 1) * float(values.std(ddof=1)) / np.sqrt(n)
    with np.errstate(all="ignore"):
        mean, low, high = (
            float(np.ldexp(value, power)) for value in (mean, mean - half, mean + half)
        )
    return Interval(mean, low, high, n, confidence)


def paired(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the interval of ``first - second``, seed by seed.

    Parameters
    ----------
    first, second : arrays, shape (n,)
        The same seeds in the same order.
    confidence : float

    Returns
    -------
    Interval
        Of the differences. With losses, "lower" means that `first` is the better one.

    Raises
    ------
    ValueError
        If the shapes differ, or as :func:`interval` does.

    Examples
    --------
    >>> decayed, constant = [0.8, 1.9, 2.7, 3.9], [1.0, 2.0, 3.0, 4.0]
    >>> print(paired(decayed, constant))
    -0.175 [-0.327, -0.0227]
    >>> paired(decayed, constant).verdict()
    'lower'
    """
    first, second = checks.floating("first", first), checks.floating("second", second)
    if first.shape != second.shape:
        raise ValueError(f"pairs need equal shapes, received {first.shape} and {second.shape}")
    checks.finite("first", first), checks.finite("second", second)
    with np.errstate(all="ignore"):
        differences = first.astype(np.float64) - second
    return interval(checks.finite("differences", differences), confidence)


def paired_all(
    arms: Mapping[str, ArrayLike], baseline: str, confidence: float = 0.95
) -> dict[str, Interval]:
    r"""Return the paired interval of every arm against one of them, sound for all of them together.

    With m comparisons each interval has the confidence :math:`1 - (1 - c) / m`, so that all of them
    hold at once with confidence :math:`c` at least. Without it, of twenty arms that do nothing one
    is expected to look better. Dunn (1961), *Multiple comparisons among means*.

    Parameters
    ----------
    arms : dict of arrays, shape (n,)
        One array an arm: the same seeds in the same order.
    baseline : key of `arms`
        The arm that the others are compared with.
    confidence : float, 0 < confidence < 1
        :math:`c`, for all intervals together.

    Returns
    -------
    dict of Interval
        Of ``arms[name] - arms[baseline]``, for each other arm.

    Raises
    ------
    ValueError
        If `baseline` is none of the arms or the only one, or as :func:`paired` does.

    Examples
    --------
    >>> arms = {"constant": [1.0, 2.0, 3.0, 4.0], "step": [0.8, 1.9, 2.7, 3.9], "cosine": [1.1, 1.9, 3.1, 4.0]}
    >>> for name, difference in paired_all(arms, "constant").items():
    ...     print(name, difference, difference.verdict())
    step -0.175 [-0.375, 0.0249] undecided
    cosine 0.025 [-0.175, 0.225] undecided
    """
    checks.one_of("baseline", baseline, tuple(arms))
    others = [name for name in arms if name != baseline]
    if not others:
        raise ValueError(
            f"arms must hold another arm than the baseline, received {baseline!r} alone"
        )
    checks.number("confidence", confidence, above=0, below=1)
    each = 1 - (1 - confidence) / len(others)
    return {name: paired(arms[name], arms[baseline], each) for name in others}


def bootstrap(
    values: ArrayLike,
    statistic: Callable = np.mean,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    r"""Return a statistic of `values` with its percentile bootstrap interval.

    For what has no formula: a median, a quantile, a ratio. The seeds are drawn again, with
    replacement, and the middle :math:`c` of the statistics is the interval. Efron (1979),
    *Bootstrap methods: another look at the jackknife*. With few values it is too narrow; for a
    mean, :func:`interval` is the better choice.

    Parameters
    ----------
    values : array, shape (n,) or (n, k), n >= 2
        One row a seed; with k columns the rows are drawn whole, which keeps pairs together.
    statistic : callable
        From an array in the shape of `values` to a number.
    confidence : float, 0 < confidence < 1
    resamples : int, at least 100
    seed : int

    Returns
    -------
    Interval
        Its ``mean`` is the statistic of `values` itself.

    Raises
    ------
    ValueError
        If there are fewer than two rows, one is not finite, or an option is out of its range.

    Examples
    --------
    >>> losses = np.array([[1.0, 2.0], [1.5, 2.5], [0.9, 2.2], [1.2, 1.8]])
    >>> print(bootstrap(losses, lambda pairs: pairs[:, 0].mean() / pairs[:, 1].mean()))
    0.541 [0.452, 0.628]
    """
    values = checks.finite("values", checks.floating("values", values)).astype(np.float64)
    if values.ndim not in (1, 2) or len(values) < 2:
        raise ValueError(f"values must be at least two rows, received shape {values.shape}")
    checks.number("confidence", confidence, above=0, below=1)
    rows = np.random.default_rng(checks.integer("seed", seed, low=0)).integers(
        0, len(values), (checks.integer("resamples", resamples, low=100), len(values))
    )
    found = np.array([statistic(values[draw]) for draw in rows])
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(statistic(values)), float(low), float(high), len(values), confidence)


def confirm(sentence: str, holds: bool) -> None:
    """Print `sentence` as confirmed or as not confirmed.

    It is how a chapter checks what it says. Unlike an ``assert`` it does not stop you when you try
    other numbers: that a sentence no longer holds is a result. The tests compare what is printed
    and refuse a stored chapter with a sentence that is not confirmed.

    Parameters
    ----------
    sentence : str
        What is claimed, in words.
    holds : bool
        Whether it holds in this run.

    Raises
    ------
    TypeError
        If `holds` is not true or false: an array has to be reduced by ``all()`` or ``any()`` first.

    Examples
    --------
    >>> confirm("two is even", 2 % 2 == 0)
    Confirmed: two is even
    >>> confirm("three is even", 3 % 2 == 0)
    NOT CONFIRMED in this run: three is even
    """
    if not isinstance(holds, (bool, np.bool_)):
        raise TypeError(f"holds must be True or False, received {holds!r}")
    print(confirmation(sentence, holds))


def confirmation(sentence: str, holds: bool) -> str:
    """Return the line that says whether a sentence holds in this run."""
    return f"Confirmed: {sentence}" if holds else f"NOT CONFIRMED in this run: {sentence}"
