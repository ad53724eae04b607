"""The book's data sets: real, small, shipped with scikit-learn, split and standardised.

Each loader splits into train, validation and test examples. Use *train* for updates,
*validation* to choose a learning rate, *test* once, for the number you report. Inputs are
standardised with the mean and the standard deviation of the training examples alone, so
that nothing leaks from the others.
"""

from typing import NamedTuple

import numpy as np

from trainlab import checks


class Examples(NamedTuple):
    """Inputs `x`, shape (n, d), and targets `y`, shape (n,) for labels, (n, k) for numbers."""

    x: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """Three disjoint sets of examples: 60 %, 20 % and 20 % of the data."""

    train: Examples
    validation: Examples
    test: Examples


def digits(seed: int = 0) -> Split:
    """Return 1,797 images of handwritten digits: 64 pixels, 10 classes.

    x holds standardised grey levels (no unit), y the digit, 0 to 9. The split keeps the
    classes' shares. Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI.

    Examples
    --------
    >>> train, validation, test = digits()
    >>> train.x.shape, validation.x.shape, test.x.shape
    ((1078, 64), (359, 64), (360, 64))
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _split(x, y, seed, stratify=y)


def breast_cancer(seed: int = 0) -> Split:
    """Return 569 tumours: 30 measurements, 2 classes.

    x holds standardised measurements (no unit), y is 0 for malignant and 1 for benign. The split
    keeps the classes' shares. Street, Wolberg and Mangasarian (1993), Nuclear feature
    extraction for breast tumor diagnosis.

    Examples
    --------
    >>> breast_cancer().train.x.shape
    (341, 30)
    """
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return _split(x, y, seed, stratify=y)


def diabetes(seed: int = 0) -> Split:
    """Return 442 patients: 10 measurements, and the disease's progression after a year.

    x and y are standardised: a loss of 1 is that of predicting the training mean. y has
    shape (n, 1), as a model's output has. Efron et al. (2004), Least angle regression.

    Examples
    --------
    >>> train = diabetes().train
    >>> train.x.shape, train.y.shape
    ((265, 10), (265, 1))
    """
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    split = _split(x, y[:, None], seed, stratify=None)
    mean, scale = split.train.y.mean(), split.train.y.std()
    return Split(*(Examples(part.x, (part.y - mean) / scale) for part in split))


def four_points() -> Examples:
    """Return the source article's data: x = 1, 2, 3, 4 and y = 2x, both of shape (4, 1).

    Examples
    --------
    >>> four_points().y.ravel().tolist()
    [2.0, 4.0, 6.0, 8.0]
    """
    x = np.array([[1.0], [2.0], [3.0], [4.0]])
    return Examples(x, 2 * x)


def _split(x, y, seed, stratify):
    from sklearn.model_selection import train_test_split

    checks.integer("seed", seed, low=0)
    everything = np.arange(len(x))
    train, rest = train_test_split(everything, test_size=0.4, random_state=seed, stratify=stratify)
    half = None if stratify is None else stratify[rest]
    validation, test = train_test_split(rest, test_size=0.5, random_state=seed, stratify=half)
    mean, scale = x[train].mean(axis=0), x[train].std(axis=0)
    # Some pixels of the digits are 0 in every training image.
    x = (x - mean) / np.where(scale > 0, scale, 1)
    return Split(*(Examples(x[rows], y[rows]) for rows in (train, validation, test)))
