"""Statistics of repeated measurements: summaries and paired verdicts.

Nothing here drops a sample, and nothing here reads a clock or a device.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attnproto.errors import UnstableMeasurement

FASTER, SLOWER, EQUAL, UNDECIDED = "faster", "slower", "equal", "undecided"
# Block counts after which a paired comparison is looked at.
LOOKS = (6, 12, 24, 48)


@dataclass(frozen=True)
class Outliers:
    """Samples beyond Tukey's fences, counted and kept.

    Mild: more than 1.5 interquartile ranges outside the quartiles; severe: more than 3.

    Source: Tukey, Exploratory Data Analysis, 1977, section 2C.
    """

    low_severe: int
    low_mild: int
    high_mild: int
    high_severe: int

    @property
    def count(self) -> int:
        """All of them."""
        return self.low_severe + self.low_mild + self.high_mild + self.high_severe


@dataclass(frozen=True)
class Drift:
    """Whether samples rise or fall with time, as they do when a device throttles.

    ``ratio`` is the median of the last third divided by that of the first third;
    ``p_value`` is of Kendall's tau between order and value.
    """

    ratio: float
    p_value: float

    @property
    def throttled(self) -> bool:
        """True when the end is 2 % slower than the start and chance is unlikely."""
        return self.p_value < 0.01 and self.ratio > 1.02


@dataclass(frozen=True)
class Summary:
    """A sample's median with its interval, spread, outliers and drift; units of the samples."""

    n: int
    median: float
    low: float
    high: float
    mean: float
    cv: float
    minimum: float
    maximum: float
    interval_method: str
    outliers: Outliers
    drift: Drift | None
    bimodal: bool = False

    @property
    def relative_half_width(self) -> float:
        """Half the interval as a share of the median."""
        return (self.high - self.low) / (2.0 * self.median) if self.median else math.inf


@dataclass(frozen=True)
class Ratio:
    """A paired comparison: time of A divided by time of B, and what it says.

    ``cv`` is the spread of the single blocks' ratios.
    """

    ratio: float
    low: float
    high: float
    margin: float
    verdict: str
    blocks: int
    p_value: float
    cv: float = 0.0


def coefficient_of_variation(samples: Sequence[float]) -> float:
    """Return the sample standard deviation (divisor n - 1) divided by the mean."""
    values = np.asarray(samples, dtype=np.float64)
    if values.size < 2 or values.mean() == 0.0:
        return 0.0 if values.size < 2 else math.inf
    return float(values.std(ddof=1) / abs(values.mean()))


def find_outliers(samples: Sequence[float]) -> Outliers:
    """Count samples beyond Tukey's inner and outer fences."""
    values = np.asarray(samples, dtype=np.float64)
    first, third = np.percentile(values, [25, 75])
    spread = third - first
    low_severe = int((values < first - 3.0 * spread).sum())
    high_severe = int((values > third + 3.0 * spread).sum())
    return Outliers(
        low_severe,
        int((values < first - 1.5 * spread).sum()) - low_severe,
        int((values > third + 1.5 * spread).sum()) - high_severe,
        high_severe,
    )


def in_two_states(samples: Sequence[float]) -> bool:
    """Say whether samples come from two states, as those of a clock that switches do.

    So they do when the widest gap that has a fifth of them or more on either side is wider than
    5 % of the lower state's median, and than 3 times the spread (scaled median absolute deviation)
    of each state. Fewer than 12 tell nothing.
    """
    values = np.sort(np.asarray(samples, dtype=np.float64))
    least = max(3, -(-values.size // 5))
    if values.size < 12:
        return False
    gaps = np.diff(values)[least - 1 : values.size - least]
    split = least + int(gaps.argmax())
    states = (values[:split], values[split:])
    medians = [float(np.median(state)) for state in states]
    spreads = [
        1.4826 * float(np.median(np.abs(state - middle)))
        for state, middle in zip(states, medians, strict=True)
    ]
    return bool(gaps.max() > max(0.05 * medians[0], 3.0 * max(spreads)))


def come_in_runs(samples: Sequence[float], margin: float) -> bool:
    """Say whether neighbours in time are alike, as under drift or a clock that lingers in states.

    So they are when the samples change sides of their median too seldom for chance (p < 0.01),
    and their middle half spans more than ``margin`` of it: less than that matters to nobody.

    Source: Wald and Wolfowitz, Ann. Math. Stat. 11 (1940), 147-162; the normal approximation
    with a correction for continuity.
    """
    values = np.asarray(samples, dtype=np.float64)
    first, median, third = np.percentile(values, [25, 50, 75])
    above = values[values != median] > median
    high = int(above.sum())
    low = above.size - high
    if third - first <= margin * median or low * high < 2:
        return False
    expected = 2.0 * high * low / above.size + 1.0
    deviation = math.sqrt((expected - 1.0) * (expected - 2.0) / (above.size - 1))
    runs = 1 + int((above[1:] != above[:-1]).sum())
    return runs + 0.5 < expected - 2.326 * deviation


def find_drift(samples: Sequence[float]) -> Drift | None:
    """Compare the last third with the first; None for fewer than 9 samples."""
    if len(samples) < 9:
        return None
    from scipy.stats import kendalltau

    values = np.asarray(samples, dtype=np.float64)
    third = len(values) // 3
    start = float(np.median(values[:third]))
    ratio = float(np.median(values[-third:])) / start if start else math.inf
    p_value = float(kendalltau(np.arange(len(values)), values).pvalue)
    return Drift(ratio, 1.0 if math.isnan(p_value) else p_value)


def median_interval(
    samples: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float, str]:
    """Bound the median by the bootstrap, bias-corrected and accelerated where that exists.

    Args:
        samples: At least one value.
        confidence: Coverage aimed at.
        seed: Of the resampling, so that a report is reproducible.

    Returns:
        Low, high, and the method: ``"BCa"``, ``"percentile"`` where BCa has no finite
        answer (many ties), ``"exact"`` for identical samples, ``"range"`` for fewer than 5.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 14.3;
    computed by scipy.stats.bootstrap.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.min() == values.max():
        return float(values[0]), float(values[0]), "exact"
    if values.size < 5:
        return float(values.min()), float(values.max()), "range"
    from scipy.stats import bootstrap

    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # scipy warns when BCa degenerates; the NaN it then returns is what is acted on.
            warnings.simplefilter("ignore")
            interval = bootstrap(
                (values,),
                np.median,
                confidence_level=confidence,
                n_resamples=2000,
                method=method,
                vectorized=True,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if math.isfinite(interval.low) and math.isfinite(interval.high):
            return float(interval.low), float(interval.high), method
    return float(values.min()), float(values.max()), "range"


def summarize(samples: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Summary:
    """Summarise repeated measurements of one thing.

    Args:
        samples: At least one value, in the order they were taken.
        confidence: Of the interval.
        seed: Of the bootstrap.

    Returns:
        The summary, in the samples' unit.

    Raises:
        ValueError: No samples.
        UnstableMeasurement: A sample is no finite number.

    Examples:
        >>> summarize([1.0, 1.0, 1.0]).median
        1.0
    """
    if len(samples) == 0:
        raise ValueError("[stats.summarize] found no samples, needs at least 1; measure first")
    values = np.asarray(samples, dtype=np.float64)
    if not np.isfinite(values).all():
        raise UnstableMeasurement(
            f"[stats.summarize] found a sample of {_odd(values)}, needs finite numbers; see what "
            "the clock gives"
        )
    low, high, method = median_interval(values, confidence, seed)
    return Summary(
        n=int(values.size),
        median=float(np.median(values)),
        low=low,
        high=high,
        mean=float(values.mean()),
        cv=coefficient_of_variation(values),
        minimum=float(values.min()),
        maximum=float(values.max()),
        interval_method=method,
        outliers=find_outliers(values),
        drift=find_drift(values),
        bimodal=in_two_states(values),
    )


def _odd(values: np.ndarray) -> float:
    """A value that is not finite, else the least."""
    odd = values[~np.isfinite(values)]
    return float(odd[0] if odd.size else values.min())


def decide(low: float, high: float, margin: float) -> str:
    """Turn an interval of the ratio A / B into a word about A.

    An interval inside ``[1 / (1 + margin), 1 + margin]`` is "equal", even where it excludes
    1: the margin is the smallest difference that matters. Otherwise an interval below 1 is
    "faster", above 1 "slower", and anything else "undecided".
    """
    if 1.0 / (1.0 + margin) <= low and high <= 1.0 + margin:
        return EQUAL
    if high < 1.0:
        return FASTER
    if low > 1.0:
        return SLOWER
    return UNDECIDED


def ratio_of_blocks(
    blocks: Sequence[tuple[float, float, float, float]],
    margin: float = 0.02,
    confidence: float = 0.95,
) -> Ratio:
    """Compare A with B over blocks taken in the order A, B, B, A.

    Within a block a linear drift cancels, because A's two turns and B's two turns have the
    same mean time. The log of each block's ratio enters a one-sample t interval.

    Args:
        blocks: ``(a, b, b, a)`` times, at least 2 blocks.
        margin: Largest difference called equal.
        confidence: Of the interval.

    Returns:
        The geometric mean ratio A / B, its interval and verdict, and the p-value of "no
        difference".

    Raises:
        ValueError: Fewer than 2 blocks.
        UnstableMeasurement: A time is not above 0, or not finite: it has no ratio.
    """
    if len(blocks) < 2:
        raise ValueError(
            f"[stats.ratio_of_blocks] found {len(blocks)} blocks, needs at least 2; measure more"
        )
    from scipy.stats import t as student

    times = np.asarray(blocks, dtype=np.float64)
    if not (np.isfinite(times) & (times > 0.0)).all():
        raise UnstableMeasurement(
            f"[stats.ratio_of_blocks] found a time of {_odd(times):g}, needs times above 0; "
            "enlarge the problem until the clock advances"
        )
    logs = np.log((times[:, 0] + times[:, 3]) / (times[:, 1] + times[:, 2]))
    centre = float(logs.mean())
    error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    if error == 0.0:
        low = high = math.exp(centre)
        p_value = 1.0 if centre == 0.0 else 0.0
    else:
        freedom = len(logs) - 1
        reach = float(student.ppf(0.5 + confidence / 2.0, freedom)) * error
        low, high = math.exp(centre - reach), math.exp(centre + reach)
        p_value = float(2.0 * student.sf(abs(centre) / error, freedom))
    return Ratio(
        math.exp(centre),
        low,
        high,
        margin,
        decide(low, high, margin),
        len(blocks),
        p_value,
        coefficient_of_variation(np.exp(logs)),
    )


def compare_paired(
    a: Callable[[], float],
    b: Callable[[], float],
    *,
    margin: float = 0.02,
    confidence: float = 0.95,
    looks: Sequence[int] = LOOKS,
) -> Ratio:
    """Measure A and B in A-B-B-A blocks until the ratio's interval decides.

    The interval is looked at only after the block counts in ``looks``. Looking several
    times gives chance several openings, so the allowed error is divided by their number, and
    the p-value multiplied by it (Bonferroni).

    Args:
        a: Runs A once and returns its time.
        b: Runs B once and returns its time.
        margin: Largest difference called equal.
        confidence: Of the whole procedure.
        looks: Rising block counts.

    Returns:
        The comparison at the look that decided, or at the last one.

    Raises:
        UnstableMeasurement: As ``ratio_of_blocks``.
    """
    each = 1.0 - (1.0 - confidence) / len(looks)
    blocks: list[tuple[float, float, float, float]] = []
    result: Ratio | None = None
    for look in looks:
        while len(blocks) < look:
            blocks.append((a(), b(), b(), a()))
        result = ratio_of_blocks(blocks, margin, each)
        if result.verdict != UNDECIDED:
            break
    assert result is not None
    return replace(result, p_value=min(1.0, result.p_value * len(looks)))


def benjamini_hochberg(p_values: Sequence[float], rate: float = 0.05) -> list[bool]:
    """Say which of many comparisons stand when false discoveries may be ``rate`` of them.

    Args:
        p_values: One for each comparison.
        rate: Expected share of false ones among those that stand.

    Returns:
        True where the difference stands, in the order given.

    Source: Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995), 289-300.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stands = [False] * count
    below = [i for i, at in enumerate(order) if p_values[at] <= rate * (i + 1) / count]
    for i in range(below[-1] + 1 if below else 0):
        stands[int(order[i])] = True
    return stands
