"""Data: whole, disjoint, standardised by the training examples alone."""

import numpy as np
import pytest
import sklearn.datasets

from trainlab import data

LOADERS = {
    "digits": (data.digits, sklearn.datasets.load_digits, (1078, 359, 360)),
    "breast_cancer": (data.breast_cancer, sklearn.datasets.load_breast_cancer, (341, 114, 114)),
    "diabetes": (data.diabetes, sklearn.datasets.load_diabetes, (265, 88, 89)),
}
every_loader = pytest.mark.parametrize("name", LOADERS)


def matched(split, raw_x):
    """The row of `raw_x` behind each row of the split: undone by standardising both as a whole."""
    x = np.concatenate([part.x for part in split])
    varies = raw_x.std(axis=0) > 0

    def standard(values):
        values = values[:, varies]
        return (values - values.mean(axis=0)) / values.std(axis=0)

    ours, raw = standard(x), standard(raw_x)
    nearest = ((raw**2).sum(axis=1) - 2 * ours @ raw.T).argmin(axis=1)
    np.testing.assert_allclose(ours, raw[nearest], atol=1e-8)
    return nearest


@every_loader
@pytest.mark.parametrize("seed", [0, 1])
def test_the_three_parts_hold_every_row_once_with_its_own_target(name, seed):
    load, source, sizes = LOADERS[name]
    raw_x, raw_y = source(return_X_y=True)
    split = load(seed)
    assert tuple(len(part.x) for part in split) == tuple(len(part.y) for part in split) == sizes
    rows = matched(split, raw_x)
    assert sorted(rows) == list(range(len(raw_x)))
    y = np.concatenate([part.y for part in split])
    if name == "diabetes":
        assert y.shape == (len(raw_y), 1)
        np.testing.assert_allclose(
            (y[:, 0] - y.mean()) / y.std(), (raw_y[rows] - raw_y.mean()) / raw_y.std(), atol=1e-12
        )
    else:
        assert y.tolist() == raw_y[rows].tolist()


@every_loader
def test_the_training_inputs_alone_have_mean_zero_and_deviation_one(name):
    train, validation, test = LOADERS[name][0]()
    varies = train.x.std(axis=0) > 0
    np.testing.assert_allclose(train.x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(train.x.std(axis=0)[varies], 1, rtol=1e-12)
    for part in (validation, test):
        # Not exactly: these did not take part in the mean and the deviation.
        assert (np.abs(part.x.mean(axis=0)[varies]) > 1e-6).all()
        assert (np.abs(part.x.std(axis=0)[varies] - 1) > 1e-6).all()
        assert np.abs(part.x.mean(axis=0)).max() < 0.5


def test_the_training_targets_of_diabetes_are_standardised():
    train, validation, test = data.diabetes()
    assert train.y.mean() == pytest.approx(0, abs=1e-12) and train.y.std() == pytest.approx(
        1, rel=1e-12
    )
    for part in (validation, test):
        assert 1e-6 < abs(part.y.mean()) < 0.5


def test_constant_pixels_become_zero_not_nan():
    train = data.digits().train
    assert (train.x.std(axis=0) == 0).any() and np.isfinite(train.x).all()
    assert not train.x[:, train.x.std(axis=0) == 0].any()


@every_loader
def test_the_split_is_a_function_of_the_seed(name):
    load = LOADERS[name][0]
    for again, first in zip(load(3), load(3)):
        assert np.array_equal(again.x, first.x) and np.array_equal(again.y, first.y)
    assert not np.array_equal(load(3).train.x, load(4).train.x)
    assert np.array_equal(load().train.x, load(0).train.x)


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_every_part_keeps_the_classes_shares(name):
    load, source, _ = LOADERS[name]
    raw_y = source(return_X_y=True)[1]
    shares = np.bincount(raw_y) / len(raw_y)
    for part in load():
        counts = np.bincount(part.y, minlength=len(shares))
        # Two roundings: of the first split and of the second.
        assert np.abs(counts - shares * len(part.y)).max() <= 2


@every_loader
@pytest.mark.parametrize(
    "seed, error, message",
    [
        (-1, ValueError, "received -1"),
        (0.5, TypeError, "received 0.5"),
        (None, TypeError, "received None"),
    ],
)
def test_a_wrong_seed_is_refused_and_named(name, seed, error, message):
    with pytest.raises(error, match=message):
        LOADERS[name][0](seed)


def test_the_source_articles_four_points():
    points = data.four_points()
    assert points.x.tolist() == [[1.0], [2.0], [3.0], [4.0]] and points.y.tolist() == [
        [2.0],
        [4.0],
        [6.0],
        [8.0],
    ]


@pytest.mark.parametrize("load", [data.digits, data.breast_cancer, data.diabetes])
def test_a_wrong_seed_is_named(load):
    with pytest.raises(ValueError, match="^seed must be at least 0, received -1$"):
        load(seed=-1)
