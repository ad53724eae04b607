"""The expected calibration error, against one bin after the other."""

import numpy as np
import pytest

from trainlab.evidence import calibration_error


def one_bin_after_the_other(said, happened, bins):
    total = 0.0
    for b in range(bins):
        inside = (said >= b / bins) & ((said < (b + 1) / bins) | (b == bins - 1))
        if inside.any():
            total += inside.mean() * abs(happened[inside].mean() - said[inside].mean())
    return total


@pytest.mark.parametrize("bins", [1, 2, 15, 64])
def test_it_is_the_weighted_distance(bins):
    rng = np.random.default_rng(0)
    said = rng.random(500)
    happened = rng.random(500) < said**2
    found = calibration_error(said, happened, bins)
    assert found == pytest.approx(one_bin_after_the_other(said, happened, bins), abs=1e-12)


def test_certainty_that_is_right_has_none_and_that_is_wrong_has_all():
    assert calibration_error([1, 0, 1.0], [1, 0, 1]) == 0
    assert calibration_error([1, 0], [False, True]) == 1


def test_there_are_fifteen_bins_and_the_last_holds_one():
    said, happened = np.array([0.32, 0.34, 0.95, 1.0]), np.array([0, 1, 1, 0])
    # Bin 4 goes from 4/15 to 5/15 = 0.333, bin 14 from 0.933 to 1.
    by_hand = (abs(0 - 0.32) + abs(1 - 0.34) + abs(1 - (0.95 + 1))) / 4
    assert calibration_error(said, happened) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_narrow_type_is_as_good_as_its_digits(dtype):
    said = np.array([0.9, 0.9, 0.2, 0.6] * 5000, dtype)
    happened = np.array([1, 1, 0, 1] * 5000)
    exact = calibration_error(said.astype(float), happened)
    assert calibration_error(said, happened) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    "said, happened, bins, words",
    [
        ([0.5, 1.1], [1, 0], 5, r"said must lie between 0 and 1, received 1.1 at index \(1,\)"),
        ([0.5], [2], 5, "happened must be 0 or 1, received 2"),
        ([0.5, 0.5], [1], 5, r"said have shape \(2,\), happened \(1,\)"),
        ([0.5], [np.nan], 5, "happened must be finite"),
        ([], [], 5, "said must not be empty"),
        ([[0.5]], [[1]], 5, "one row of cases"),
        ([np.nan], [1], 5, "said must be finite"),
        ([0.5], [1], 0, "bins must be at least 1"),
    ],
)
def test_what_is_refused(said, happened, bins, words):
    with pytest.raises(ValueError, match=words):
        calibration_error(said, happened, bins)
