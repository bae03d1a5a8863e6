import itertools
import math

import numpy as np
import pytest
from attnproto.errors import UnstableMeasurement
from attnproto.measure import stats
from scipy.stats import norm


def test_median_and_variation_by_hand():
    # Of 1, 2, 3, 4, 10: median 3, mean 4, squared deviations 9 + 4 + 1 + 0 + 36 = 50,
    # variance 50 / 4 = 12.5, CV = sqrt(12.5) / 4 = 0.883883.
    summary = stats.summarize([1.0, 2.0, 3.0, 4.0, 10.0])
    assert (summary.median, summary.mean, summary.n) == (3.0, 4.0, 5)
    assert summary.cv == pytest.approx(0.883883, abs=1e-6)
    assert (summary.minimum, summary.maximum) == (1.0, 10.0)


def test_outliers_are_counted_and_kept():
    # Of 1..9: quartiles 3 and 7, spread 4; with 20 and 30 added the quartiles are 3.5 and
    # 8.5, spread 5: the mild fence is 8.5 + 7.5 = 16, the severe one 8.5 + 15 = 23.5.
    samples = [*map(float, range(1, 10)), 20.0, 30.0]
    outliers = stats.find_outliers(samples)
    assert (outliers.high_mild, outliers.high_severe, outliers.count) == (1, 1, 2)
    summary = stats.summarize(samples)
    assert summary.n == 11
    assert summary.maximum == 30.0


def test_low_outliers_are_counted_too():
    # Of 101..109 with 80 and 90 added: quartiles 101.5 and 106.5, spread 5: the mild fence is
    # 101.5 - 7.5 = 94, the severe one 101.5 - 15 = 86.5.
    outliers = stats.find_outliers([80.0, 90.0, *map(float, range(101, 110))])
    assert (outliers.low_severe, outliers.low_mild, outliers.count) == (1, 1, 2)


def test_identical_samples_have_an_exact_interval():
    summary = stats.summarize([2.0] * 10)
    assert (summary.low, summary.high, summary.interval_method) == (2.0, 2.0, "exact")
    assert summary.cv == 0.0


def test_few_samples_give_their_range():
    assert stats.median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0, "range")


def test_many_ties_still_give_a_finite_interval():
    low, high, method = stats.median_interval([1.0] * 30 + [2.0])
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low <= 1.0 <= high
    assert method in ("BCa", "percentile")


def test_intervals_cover_the_true_median_as_often_as_they_claim():
    # 200 intervals of 95 % miss 10 times on average; 20 or more misses has chance 0.3 %.
    rng = np.random.default_rng(3)
    missed = 0
    for i in range(200):
        low, high, _ = stats.median_interval(rng.normal(10.0, 1.0, 30), seed=i)
        missed += not low <= 10.0 <= high
    assert missed < 20


def test_the_interval_is_efrons_bca_over_every_resample():
    # All 7^7 resamples of 7 values, enumerated; Efron and Tibshirani 1993, equations 14.10 to
    # 14.15: z0 from the share of medians below the sample's, a from the jackknife. With an odd
    # count every end is one of the values, so the sampled bootstrap must hit it.
    values = np.array([1.0, 2.0, 3.0, 3.0, 5.0, 8.0, 13.0])
    picks = np.stack(np.meshgrid(*[np.arange(7)] * 7), axis=-1).reshape(-1, 7)
    medians = np.median(values[picks], axis=1)
    below = (np.mean(medians < 3.0) + np.mean(medians <= 3.0)) / 2
    shift = norm.ppf(below)
    without = np.array([np.median(np.delete(values, i)) for i in range(7)])
    gaps = without.mean() - without
    pull = np.sum(gaps**3) / (6.0 * np.sum(gaps**2) ** 1.5)
    ends = []
    for z in norm.ppf([0.025, 0.975]):
        share = norm.cdf(shift + (shift + z) / (1.0 - pull * (shift + z)))
        ends.append(float(np.quantile(medians, share)))
    assert stats.median_interval(values) == (ends[0], ends[1], "BCa")
    # Uncorrected percentiles would say 2 to 8.
    assert ends == [1.0, 8.0]
    assert list(np.quantile(medians, [0.025, 0.975])) == [2.0, 8.0]


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        stats.summarize([])


def test_a_slowing_device_is_reported_as_throttled():
    rising = stats.summarize([10.0 + 0.1 * i for i in range(30)])
    assert rising.drift.throttled
    # Median of 10 samples at the end, 12.45, over that at the start, 10.45.
    assert rising.drift.ratio == pytest.approx(12.45 / 10.45)
    noise = 10.0 + np.random.default_rng(0).normal(0, 0.1, 30)
    assert not stats.summarize(noise).drift.throttled
    assert stats.summarize([1.0, 2.0]).drift is None


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.80, 0.90, "faster"),
        (1.10, 1.20, "slower"),
        (0.99, 1.01, "equal"),
        (0.985, 0.995, "equal"),  # excludes 1, but inside the margin of 2 %
        (0.90, 1.10, "undecided"),
        (0.97, 1.01, "undecided"),
        (0.90, 0.99, "faster"),
    ],
)
def test_an_interval_of_the_ratio_gives_a_verdict(low, high, verdict):
    assert stats.decide(low, high, 0.02) == verdict


def test_a_linear_drift_cancels_within_a_block():
    # A and B both take 10 plus 1 a turn: A 10 and 13, B 11 and 12, sums 23 and 23.
    ratio = stats.ratio_of_blocks([(10.0, 11.0, 12.0, 13.0)] * 3)
    assert ratio.ratio == 1.0
    assert ratio.verdict == "equal"
    assert ratio.p_value == 1.0


def test_the_ratio_and_its_interval_by_hand():
    # Block ratios 2 and 8: logs ln 2 and ln 8, mean ln 4, half difference ln 2, so the
    # standard error is ln 2; t(0.975, 1 degree) = 12.7062: 4 x 2^+-12.7062.
    ratio = stats.ratio_of_blocks([(2.0, 1.0, 1.0, 2.0), (8.0, 1.0, 1.0, 8.0)])
    assert ratio.ratio == pytest.approx(4.0)
    assert ratio.high == pytest.approx(4.0 * 2.0**12.7062, rel=1e-4)
    assert ratio.verdict == "undecided"


def test_one_block_decides_nothing():
    with pytest.raises(ValueError, match="1 blocks"):
        stats.ratio_of_blocks([(1.0, 1.0, 1.0, 1.0)])


def noisy(mean, noise, rng):
    return lambda: float(mean * (1.0 + noise * rng.standard_normal()))


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [(90.0, 100.0, "faster"), (110.0, 100.0, "slower"), (50.0, 50.0, "equal")],
)
def test_pairs_of_known_noise_are_decided(a, b, verdict):
    rng = np.random.default_rng(5)
    result = stats.compare_paired(noisy(a, 0.01, rng), noisy(b, 0.01, rng))
    assert result.verdict == verdict
    assert result.low <= a / b <= result.high


def test_a_clear_difference_stops_at_the_first_look():
    rng = np.random.default_rng(6)
    result = stats.compare_paired(noisy(50.0, 0.01, rng), noisy(100.0, 0.01, rng))
    assert result.blocks == 6


def test_hopeless_noise_ends_undecided_at_the_last_look():
    rng = np.random.default_rng(8)
    result = stats.compare_paired(noisy(100.0, 0.3, rng), noisy(103.0, 0.3, rng))
    assert (result.verdict, result.blocks) == ("undecided", 48)


def test_looking_often_does_not_invent_differences():
    # With equal means and no margin, at most 5 % of runs may claim a difference; of 200
    # runs 10, and 20 or more has chance 0.3 %.
    rng = np.random.default_rng(9)
    claims = 0
    for _ in range(200):
        a, b = noisy(1.0, 0.05, rng), noisy(1.0, 0.05, rng)
        claims += stats.compare_paired(a, b, margin=0.0).verdict in ("faster", "slower")
    assert claims < 20


def test_the_p_value_pays_for_every_look():
    # Blocks of exact ratios 2 and 8 in turn: log mean ln 4, deviation ln 2 x sqrt(6 / 5) of 6,
    # error ln 2 / sqrt(5); t = 2 sqrt(5) = 4.472 on 5 degrees has p = 0.00657; four looks: x 4.
    turns = itertools.cycle([2.0, 2.0, 8.0, 8.0])
    result = stats.compare_paired(lambda: next(turns), lambda: 1.0)
    assert (result.verdict, result.blocks) == ("slower", 6)
    assert result.p_value == pytest.approx(4 * 0.00657, rel=2e-3)


def test_false_discoveries_are_held_by_hand():
    # Sorted: 0.01, 0.02, 0.03, 0.5 against 0.0125, 0.025, 0.0375, 0.05: three stand.
    assert stats.benjamini_hochberg([0.5, 0.02, 0.01, 0.03]) == [False, True, True, True]
    # 0.03 alone fails against 0.025, though it stands beside 0.04 against 0.05.
    assert stats.benjamini_hochberg([0.03, 0.9]) == [False, False]
    assert stats.benjamini_hochberg([0.03, 0.04]) == [True, True]
    assert stats.benjamini_hochberg([]) == []


def two_clocks(low, high, seed=3):
    rng = np.random.default_rng(seed)
    return [*(100.0 + rng.standard_normal(low)), *(180.0 + rng.standard_normal(high))]


@pytest.mark.parametrize("order", ["in runs", "mixed"])
@pytest.mark.parametrize(("low", "high"), [(8, 7), (7, 8), (12, 3), (30, 30)])
def test_two_states_of_a_clock_are_found_in_any_order(low, high, order):
    samples = two_clocks(low, high)
    if order == "mixed":
        np.random.default_rng(0).shuffle(samples)
    assert stats.summarize(samples).bimodal


def test_one_state_is_seldom_called_two():
    rng = np.random.default_rng(5)
    verdicts = [
        stats.in_two_states(100.0 * np.exp(spread * rng.standard_normal(n)))
        for spread in (0.01, 0.05, 0.2)
        for n in (15, 30, 60)
        for _ in range(300)
    ]
    assert np.mean(verdicts) < 0.02
    assert not stats.in_two_states([100.0] * 14 + [300.0])  # an outlier is no state
    assert not stats.in_two_states([100.0] * 8 + [101.0] * 7)  # within what matters
    assert not stats.in_two_states([9.0, 11.0] * 4)  # too few to tell


def test_runs_by_hand():
    # 7 above and 7 below the median: 8 runs expected, sqrt(7 x 6 / 13) = 1.8 of spread, so that
    # r runs are too few at 1 % where r + 0.5 < 8 - 2.326 x 1.8 = 3.8.
    def samples(sides):
        return [101.0, *(100.0 if side == "-" else 102.0 for side in sides)]

    assert stats.come_in_runs(samples("-------+++++++"), 0.01)
    assert stats.come_in_runs(samples("---+++++++----"), 0.01)  # 3 runs
    assert not stats.come_in_runs(samples("---++++----+++"), 0.01)  # 4
    assert not stats.come_in_runs(samples("-+-+-+-+-+-+-+"), 0.01)
    assert not stats.come_in_runs(samples("-------+++++++"), 0.03)  # nearer than what matters
    assert not stats.come_in_runs([100.0] * 15, 0.01)


def test_independent_samples_seldom_come_in_runs():
    rng = np.random.default_rng(5)
    samples = 100.0 * np.exp(0.05 * rng.standard_normal((3000, 15)))
    assert np.mean([stats.come_in_runs(row, 0.01) for row in samples]) < 0.015


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_has_no_ratio_gets_a_sentence(bad):
    with pytest.raises(UnstableMeasurement, match="needs times above 0"):
        stats.ratio_of_blocks([(1.0, 1.0, 1.0, 1.0), (1.0, bad, 1.0, 1.0)])
    with pytest.raises(UnstableMeasurement, match="clock advances"):
        stats.compare_paired(lambda: 1.0, lambda: bad)
    if not math.isfinite(bad):
        with pytest.raises(UnstableMeasurement, match="needs finite numbers"):
            stats.summarize([1.0, bad])
