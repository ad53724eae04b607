"""Evidence: quantiles against SciPy, intervals by hand and by simulation, every verdict."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from trainlab.evidence import (
    Interval,
    bootstrap,
    confirm,
    interval,
    paired,
    paired_all,
    student_t_quantile,
)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 7, 9, 15, 19, 31, 63, 100, 1000])
@pytest.mark.parametrize(
    "probability", [0.5, 0.501, 0.6, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999]
)
def test_the_quantile_is_scipys(degrees, probability):
    assert student_t_quantile(probability, degrees) == pytest.approx(
        scipy.stats.t.ppf(probability, degrees), rel=1e-6, abs=1e-12
    )


def test_the_quantile_has_the_closed_forms_of_one_and_two_degrees():
    for p in (0.6, 0.9, 0.975, 0.995):
        assert student_t_quantile(p, 1) == pytest.approx(np.tan(np.pi * (p - 0.5)), rel=1e-9)
        a = 4 * p * (1 - p)
        assert student_t_quantile(p, 2) == pytest.approx(2 * (p - 0.5) * np.sqrt(2 / a), rel=1e-7)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 20, 32])
def test_the_interval_is_scipys(confidence, n):
    values = np.random.default_rng(n).normal(5, 2, n)
    ours = interval(values, confidence)
    low, high = scipy.stats.t.interval(
        confidence, n - 1, loc=values.mean(), scale=scipy.stats.sem(values)
    )
    assert (ours.low, ours.high) == (pytest.approx(low, rel=1e-6), pytest.approx(high, rel=1e-6))
    assert ours.mean == pytest.approx(values.mean(), rel=1e-15)
    assert (ours.n, ours.confidence) == (n, confidence)


def test_the_interval_by_hand():
    # 1, 2, 3: mean 2, deviation 1, t(0.975, 2 degrees) = 4.302652729911275, half width 4.3027 /
    # sqrt(3).
    result = interval([1, 2, 3])
    assert result.mean == 2
    half = 4.302652729911275 / np.sqrt(3)
    assert (result.low, result.high) == (
        pytest.approx(2 - half, rel=1e-6),
        pytest.approx(2 + half, rel=1e-6),
    )
    assert str(result) == "2 [-0.484, 4.48]"
    assert all(type(value) is float for value in (result.mean, result.low, result.high))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng, runs = np.random.default_rng(0), 4000
    intervals = [interval(rng.normal(1, 3, 20), 0.9) for _ in range(runs)]
    covered = sum(result.low <= 1 <= result.high for result in intervals)
    low, high = scipy.stats.binom.interval(0.9999, runs, 0.9)
    assert low <= covered <= high


@pytest.mark.parametrize("values", [[1e-310, 2e-310, 4e-310], [1.7e308, -1.7e308]])
def test_an_interval_is_the_same_for_those_who_want_every_error(values):
    values = np.array(values)
    usual = interval(values)
    with np.errstate(all="raise"):
        assert interval(values) == usual and paired(values, 0 * values) == usual
        assert Interval(-1e3, -1e4, 1e3, 2, 0.95).exp() == Interval(0.0, 0.0, np.inf, 2, 0.95)


def test_a_pairs_interval_is_that_of_the_differences():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=20), rng.normal(size=20)
    assert paired(first, second, 0.9) == interval(first - second, 0.9)
    assert paired(first, second).mean == pytest.approx(first.mean() - second.mean())
    assert scipy.stats.ttest_rel(first, second).confidence_interval(0.95).low == pytest.approx(
        paired(first, second).low, rel=1e-6
    )


def test_pairing_narrows_the_interval_by_what_the_pairs_share():
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 3, 30)
    first, second = shared + rng.normal(0, 0.1, 30), shared + 0.2 + rng.normal(0, 0.1, 30)
    pairs = paired(first, second)
    alone = scipy.stats.ttest_ind(first, second).confidence_interval(0.95)
    assert 10 * (pairs.high - pairs.low) < alone.high - alone.low
    assert pairs.verdict() == "lower"
    # With the pairs torn apart the same numbers decide nothing.
    assert paired(first, rng.permutation(second)).verdict() == "undecided"


@pytest.mark.parametrize(
    "low, high, margin, verdict",
    [
        (0.1, 0.3, 0.0, "higher"),
        (-0.3, -0.1, 0.0, "lower"),
        (-0.1, 0.3, 0.0, "undecided"),
        (0.0, 0.3, 0.0, "undecided"),
        (-0.3, 0.0, 0.0, "undecided"),
        (0.0, 0.0, 0.0, "undecided"),
        (0.2, 0.3, 0.1, "higher"),
        (-0.3, -0.2, 0.1, "lower"),
        (0.1, 0.3, 0.1, "undecided"),
        (0.05, 0.3, 0.1, "undecided"),
        (-0.3, -0.1, 0.1, "undecided"),
        (-0.2, 0.2, 0.1, "undecided"),
        (-0.05, 0.05, 0.1, "no difference larger than 0.1"),
        (0.02, 0.05, 0.1, "no difference larger than 0.1"),
        (-0.1, 0.1, 0.1, "no difference larger than 0.1"),
        (-0.11, 0.05, 0.1, "undecided"),
        (-0.05, 0.11, 0.1, "undecided"),
    ],
)
def test_every_verdict(low, high, margin, verdict):
    assert Interval((low + high) / 2, low, high, n=10).verdict(margin) == verdict


def test_the_default_margin_is_zero_and_the_default_confidence_95_percent():
    assert Interval(0.2, 0.1, 0.3, n=4).verdict() == "higher"
    assert Interval(0.2, 0.1, 0.3, n=4).confidence == 0.95
    assert interval([1.0, 2.0]) == interval([1.0, 2.0], 0.95)


values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)


@given(values, st.floats(-100, 100), st.floats(0.1, 10))
def test_the_interval_moves_and_scales_with_the_values(values, shift, scale):
    plain, moved = interval(values), interval(np.array(values) * scale + shift)
    for name in ("mean", "low", "high"):
        assert getattr(moved, name) == pytest.approx(
            getattr(plain, name) * scale + shift, abs=1e-6, rel=1e-9
        )


def test_a_ratio_is_the_geometric_mean_and_keeps_the_rest():
    # Ratios 2 and 8: the geometric mean is 4; logarithms 1 and 3 in base 2, so the half width is
    # t(0.975, 1) = 12.7062 of them.
    first, second = np.array([6.0, 8.0]), np.array([3.0, 1.0])
    result = paired(np.log(first), np.log(second), confidence=0.95).exp()
    assert result.mean == pytest.approx(4, rel=1e-12)
    assert result.low == pytest.approx(2 ** (2 - 12.706204736432095), rel=1e-6)
    assert result.high == pytest.approx(2 ** (2 + 12.706204736432095), rel=1e-6)
    assert (result.n, result.confidence) == (2, 0.95)
    assert all(type(value) is float for value in (result.mean, result.low, result.high))


def test_a_ratio_keeps_its_own_confidence():
    assert Interval(0.0, -1.0, 1.0, n=5, confidence=0.9).exp() == Interval(
        1.0, float(np.exp(-1)), float(np.exp(1)), n=5, confidence=0.9
    )


@given(values)
def test_swapping_a_pair_mirrors_the_interval(values):
    there, back = paired(values, values[::-1]), paired(values[::-1], values)
    assert (back.mean, back.low, back.high) == (-there.mean, -there.high, -there.low)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: interval([1.0]),
            ValueError,
            "values must be at least two numbers in a row, received shape (1,)",
        ),
        (
            lambda: interval([[1.0, 2.0]]),
            ValueError,
            "values must be at least two numbers in a row, received shape (1, 2)",
        ),
        (lambda: interval([]), ValueError, "values must not be empty, received shape (0,)"),
        (
            lambda: interval([1.0, INF]),
            ValueError,
            "values must be finite, received inf at index (1,)",
        ),
        (
            lambda: interval([NAN, 1.0]),
            ValueError,
            "values must be finite, received nan at index (0,)",
        ),
        (
            lambda: interval(["a", "b"]),
            TypeError,
            "values must be real numbers, received dtype <U1",
        ),
        (lambda: interval([1.0, 2.0], 1.0), ValueError, "confidence must be below 1, received 1.0"),
        (lambda: interval([1.0, 2.0], 0), ValueError, "confidence must be above 0, received 0"),
        (lambda: interval([1.0, 2.0], 95), ValueError, "confidence must be below 1, received 95"),
        (
            lambda: paired([1.0, 2.0], [1.0]),
            ValueError,
            "pairs need equal shapes, received (2,) and (1,)",
        ),
        (
            lambda: paired([1.0, 2.0], [1.0, INF]),
            ValueError,
            "second must be finite, received inf at index (1,)",
        ),
        (
            lambda: paired([INF, 2.0], [INF, 2.0]),
            ValueError,
            "first must be finite, received inf at index (0,)",
        ),
        (
            lambda: paired([0.0, 1e308], [0.0, -1e308]),
            ValueError,
            "differences must be finite, received inf at index (1,)",
        ),
        (
            lambda: Interval(0, 0, 0, n=2).verdict(-1),
            ValueError,
            "margin must be at least 0, received -1",
        ),
        (
            lambda: student_t_quantile(0.4, 3),
            ValueError,
            "probability must be at least 0.5, received 0.4",
        ),
        (
            lambda: student_t_quantile(1.0, 3),
            ValueError,
            "probability must be below 1, received 1.0",
        ),
        (lambda: student_t_quantile(0.9, 0), ValueError, "degrees must be at least 1, received 0"),
        (
            lambda: student_t_quantile(0.9, 2.5),
            TypeError,
            "degrees must be a whole number, received 2.5",
        ),
    ],
)
def test_wrong_input_is_refused_and_named(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


# --- Many arms -----------------------------------------------------------------------------------


def test_intervals_of_many_arms_are_widened_as_dunn_does():
    rng = np.random.default_rng(0)
    arms = {name: rng.normal(size=12) for name in "abcd"}
    found = paired_all(arms, "b", confidence=0.9)
    assert list(found) == ["a", "c", "d"]
    for name, interval_ in found.items():
        difference = arms[name] - arms["b"]
        expected = scipy.stats.t.interval(
            1 - 0.1 / 3, 11, difference.mean(), scipy.stats.sem(difference)
        )
        assert (interval_.low, interval_.high) == pytest.approx(expected, rel=1e-6)
        assert interval_.confidence == pytest.approx(1 - 0.1 / 3)


def test_with_two_arms_nothing_is_widened():
    arms = {"a": [1.0, 2.0, 4.0], "b": [2.0, 2.5, 3.0]}
    assert paired_all(arms, "a") == {"b": paired(arms["b"], arms["a"], confidence=1 - (1 - 0.95))}


def test_all_intervals_hold_together_as_often_as_they_say():
    # Six arms without any difference, two thousand times: how often does at least one look
    # different?
    rng, alarms, separately = np.random.default_rng(1), 0, 0
    for _ in range(400):
        arms = {str(a): rng.normal(size=8) for a in range(6)}
        alarms += any(
            difference.verdict() != "undecided" for difference in paired_all(arms, "0").values()
        )
        separately += any(
            paired(arms[str(a)], arms["0"]).verdict() != "undecided" for a in range(1, 6)
        )
    assert alarms / 400 < 0.07 < 0.12 < separately / 400


def test_a_wrong_baseline_is_refused():
    with pytest.raises(ValueError, match="baseline must be one of 'a', 'b', received 'c'"):
        paired_all({"a": [1.0, 2.0], "b": [1.0, 2.0]}, "c")
    with pytest.raises(
        ValueError, match="arms must hold another arm than the baseline, received 'a' alone"
    ):
        paired_all({"a": [1.0, 2.0]}, "a")


# --- Bootstrap -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statistic",
    [np.mean, np.median, lambda x: np.quantile(x, 0.25)],
    ids=["mean", "median", "quartile"],
)
def test_the_bootstrap_is_scipys_percentile_bootstrap(statistic):
    values = np.random.default_rng(2).exponential(size=40)
    ours = bootstrap(values, statistic, confidence=0.9)
    theirs = scipy.stats.bootstrap(
        (values,),
        statistic,
        confidence_level=0.9,
        method="percentile",
        vectorized=False,
        n_resamples=10_000,
        rng=3,
    ).confidence_interval
    assert ours.mean == statistic(values) and (ours.n, ours.confidence) == (40, 0.9)
    # Two sets of draws: their ends differ by chance, a few hundredths of the width.
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.06 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.06 * width)


def test_the_bootstrap_keeps_rows_together():
    pairs = np.random.default_rng(0).normal(size=(20, 1)) + [[0.0, 1.0]]
    # Every pair differs by exactly 1, so no draw of whole pairs can say otherwise.
    found = bootstrap(pairs, lambda rows: (rows[:, 1] - rows[:, 0]).mean(), resamples=100)
    assert (found.low, found.high) == pytest.approx((1, 1))


def test_the_same_seed_draws_the_same():
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)


@pytest.mark.parametrize(
    "values, options, message",
    [
        ([1.0], {}, "values must be at least two rows, received shape (1,)"),
        (np.ones((2, 2, 2)), {}, "values must be at least two rows, received shape (2, 2, 2)"),
        ([1.0, np.inf], {}, "values must be finite, received inf at index (1,)"),
        ([1.0, 2.0], {"confidence": 1.0}, "confidence must be below 1, received 1.0"),
        ([1.0, 2.0], {"resamples": 99}, "resamples must be at least 100, received 99"),
        ([1.0, 2.0], {"seed": -1}, "seed must be at least 0, received -1"),
    ],
)
def test_the_bootstrap_refuses_and_names(values, options, message):
    with pytest.raises(ValueError) as caught:
        bootstrap(values, **options)
    assert str(caught.value) == message


def test_the_bootstraps_ends_are_the_quantiles_of_its_draws():
    values = np.random.default_rng(5).normal(size=12).astype(np.float32)
    rows = np.random.default_rng(0).integers(0, 12, (10_000, 12))
    means = values.astype(np.float64)[rows].mean(axis=1)
    found = bootstrap(values)
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975])), rel=1e-12
    )


@pytest.mark.parametrize(
    "confidence, message",
    [
        (0.0, "confidence must be above 0, received 0.0"),
        (1.0, "confidence must be below 1, received 1.0"),
    ],
)
def test_confidence_is_refused_as_it_was_given(confidence, message):
    for call in (
        lambda: paired_all({"a": [1.0, 2.0], "b": [1.0, 3.0]}, "a", confidence),
        lambda: bootstrap([1.0, 2.0], confidence=confidence),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value) == message


def test_pairs_name_what_is_no_number():
    for first, second, name in ((["x"], [1.0], "first"), ([1.0], ["x"], "second")):
        with pytest.raises(TypeError, match=f"^{name} must be real numbers"):
            paired(first, second)
    with pytest.raises(TypeError, match="^values must be real numbers"):
        bootstrap(["x", "y"])


def test_with_few_values_the_bootstrap_covers_less_than_the_t_interval():
    rng, t_holds, bootstrap_holds = np.random.default_rng(8), 0, 0
    for _ in range(300):
        values = rng.normal(size=6)
        t, percentile = interval(values), bootstrap(values, resamples=300)
        t_holds += t.low <= 0 <= t.high
        bootstrap_holds += percentile.low <= 0 <= percentile.high
    assert bootstrap_holds / 300 < 0.91 < t_holds / 300


def test_confirming_says_which_it_is_and_never_stops(capsys):
    assert confirm("a", True) is None and confirm("b", np.bool_(False)) is None
    assert capsys.readouterr().out == "Confirmed: a\nNOT CONFIRMED in this run: b\n"


@pytest.mark.parametrize("holds", [1, 0.0, None, "yes", [], np.array([True, True])])
def test_only_true_and_false_can_be_confirmed(holds, capsys):
    with pytest.raises(TypeError, match="holds must be True or False, received"):
        confirm("a", holds)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("confidence", [0, 1, 1.5, -0.5])
def test_the_joint_confidence_is_refused_as_it_was_given(confidence):
    arms = {"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 5.0], "c": [0.0, 1.0, 1.0]}
    with pytest.raises(ValueError, match=f"confidence must be .* received {confidence}$"):
        paired_all(arms, "a", confidence)
