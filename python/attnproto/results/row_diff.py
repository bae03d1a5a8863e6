"""What happened to one point between two results: status, counts, accuracy, time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnproto.measure import stats

from .metrics import EXACT, HIGHER, METRICS, ROUNDING, Metric

Row = Mapping[str, Any]
# Share by which an error may grow before it counts: other compilers round other sums.
_ERROR_MOVES = 0.1

STATUS, COUNTED, ACCURACY, MOVED, NOTHING = "status", "counted", "accuracy", "moved", "nothing"


@dataclass(frozen=True)
class Change:
    """One thing that happened to a point: ``verdict`` is about the second side."""

    point: str
    verdict: str
    detail: str
    regression: bool
    p_value: float | None = None


def changes_of(
    point: str,
    old: Row,
    new: Row,
    margin: float,
    paired: stats.Ratio | None = None,
    metrics: Mapping[str, Metric] = METRICS,
) -> list[Change]:
    """List what changed at one point, or the one change that says nothing did.

    Args:
        point: Its name in words.
        old: Row of the first side.
        new: Row of the second.
        margin: Largest difference of times called equal.
        paired: Times of new / old taken in A-B-B-A blocks, in place of the stored samples.
        metrics: What the rows' prototype may put into a result.

    Returns:
        Changes; a time always has one, the rest only where they differ.
    """
    if not old["status"] == new["status"] == "ok":
        return [_status(point, old, new)]
    was, now = old["result"], new["result"]
    compared = [metrics[n] for n in was if n in now and n in metrics and metrics[n].is_compared]
    numbers = [m for m in compared if _is_number(was[m.name]) and _is_number(now[m.name])]
    changes = [*_exact(point, was, now, numbers), *_accuracy(point, was, now, numbers)]
    changes += _other(point, was, now, [m for m in compared if m not in numbers])
    if paired is not None:
        changes.append(_paired(point, paired))
    elif "samples_us" in was and "samples_us" in now:
        changes.append(_time(point, was["samples_us"], now["samples_us"], margin))
    changes += _ratios(point, was, now)
    if changes:
        return changes
    if compared:
        return [Change(point, stats.EQUAL, "same result", False)]
    return [Change(point, NOTHING, "no result that can be compared", False)]


def _status(point: str, old: Row, new: Row) -> Change:
    both = old["status"] == new["status"]
    detail = f"{old['status']} on both sides" if both else f"{old['status']} became {new['status']}"
    detail += f": {new['reason']}" if new["reason"] else ""
    return Change(point, STATUS, detail, not both and new["status"] != "ok")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or value in ("nan", "inf", "-inf")


def _other(
    point: str, was: Mapping[str, Any], now: Mapping[str, Any], compared: Iterable[Metric]
) -> Iterator[Change]:
    """What is no number on a side, as a prototype of one's own may have it, has no better side."""
    for metric in compared:
        before, after = was[metric.name], now[metric.name]
        if None not in (before, after) and before != after:
            said = f"{metric.name} {str(before)[:40]} became {str(after)[:40]}"
            yield Change(point, COUNTED, said, False)


def _exact(
    point: str, was: Mapping[str, Any], now: Mapping[str, Any], compared: Iterable[Metric]
) -> Iterator[Change]:
    for metric in compared:
        before, after = was[metric.name], now[metric.name]
        if metric.noise != EXACT or before == after:
            continue
        grew = float(after) > float(before)
        said = f"{metric.name} {before} became {after}"
        yield Change(point, COUNTED, said, grew is not (metric.better == HIGHER))


def _accuracy(
    point: str, was: Mapping[str, Any], now: Mapping[str, Any], compared: Iterable[Metric]
) -> Iterator[Change]:
    for metric in compared:
        if metric.noise != ROUNDING:
            continue
        before, after = float(was[metric.name]), float(now[metric.name])
        if not abs(after - before) <= _ERROR_MOVES * abs(before) and before != after:
            said = f"{metric.name} {before:.3g} became {after:.3g}"
            better = after > before if metric.better == HIGHER else after < before
            yield Change(point, ACCURACY, said, not better)


def _paired(point: str, ratio: stats.Ratio) -> Change:
    detail = (
        f"time ratio {ratio.ratio:.3f} ({ratio.low:.3f} to {ratio.high:.3f}), "
        f"{ratio.blocks} A-B-B-A blocks"
    )
    slower = ratio.verdict == stats.SLOWER
    return Change(point, ratio.verdict, detail, slower, ratio.p_value)


def _time(point: str, old: list[float], new: list[float], margin: float) -> Change:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    a, b = np.asarray(new), np.asarray(old)
    medians = [np.median(x[rng.integers(0, len(x), (2000, len(x)))], axis=1) for x in (a, b)]
    low, high = np.quantile(medians[0] / medians[1], [0.025, 0.975])
    ratio = float(np.median(a) / np.median(b))
    verdict = stats.decide(float(low), float(high), margin)
    detail = f"time ratio {ratio:.3f} ({low:.3f} to {high:.3f}), two runs"
    p_value = float(mannwhitneyu(a, b).pvalue)
    return Change(point, verdict, detail, verdict == stats.SLOWER, p_value)


def _ratios(point: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """Compare intervals that a row holds already; which way is worse is not for them to say."""
    for what, value, low, high in (
        ("ratio of its two kernels", "ratio", "ratio_low", "ratio_high"),
        ("crossover", "crossover_estimate", "crossover_low", "crossover_high"),
    ):
        if not all(name in side for name in (value, low, high) for side in (was, now)):
            continue
        said = ", ".join(
            f"{float(side[value]):.4g} ({float(side[low]):.4g} to {float(side[high]):.4g})"
            for side in (was, now)
        )
        apart = float(was[high]) < float(now[low]) or float(now[high]) < float(was[low])
        verdict = MOVED if apart else stats.EQUAL
        yield Change(point, verdict, f"{what} {said.replace('), ', ') became ')}", False)
