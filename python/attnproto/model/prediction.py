"""A prediction: a time with its interval, or a bound, or nothing; and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from .chip import M4, Chip
from .published import PublishedTime, Row, mfa_times, work_of_row
from .scope import Attention, refusals
from .time_model import Times, least_time, predict_time
from .work import Work

TIER = "modelled"


@dataclass(frozen=True)
class Prediction:
    """What a launch is expected to take on a chip; never a measurement.

    Attributes:
        chip: Its name.
        kind: The class of kernels that the interval is of.
        median_us: Expected; None out of scope.
        low_us: 90 % of times lie above it and below ``high_us``; out of scope, what the launch
            cannot be faster than.
        high_us: None out of scope.
        refused: Lines of the scope that are not met.
        times: The parts of the time, out of scope too, where they are no more than a sketch.
        constant_rate_us: By the median rate of published kernels of its class, a baseline.
        nearest_us: By the rate of the published kernel that is most like it, the other.
        nearest: Which kernel that is.
        tier: ``modelled``.
    """

    chip: str
    kind: str | None
    median_us: float | None
    low_us: float
    high_us: float | None
    refused: tuple[str, ...]
    times: Times
    constant_rate_us: float | None = None
    nearest_us: float | None = None
    nearest: str = ""
    tier: str = TIER

    def as_result(self) -> dict[str, Any]:
        """As a row of results holds it: the time, or the bound and why it is no more."""
        said: dict[str, Any] = {"modelled_tier": self.tier, "modelled_chip": self.chip}
        if self.median_us is None:
            return said | {
                "modelled_least_us": self.low_us,
                "modelled_refused": list(self.refused),
            }
        return said | {
            "modelled_us": self.median_us,
            "modelled_low_us": self.low_us,
            "modelled_high_us": self.high_us,
            "modelled_limit": self.times.limit,
            "modelled_constant_rate_us": self.constant_rate_us,
            "modelled_nearest_us": self.nearest_us,
            "modelled_nearest": self.nearest,
        }


def predict_work(work: Work, attention: Attention | None, chip: Chip = M4) -> Prediction:
    """Predict how long a launch takes.

    Args:
        work: What it does.
        attention: The problem that it computes; None for a kernel that is no attention.
        chip: Where.

    Returns:
        A time with its interval where the scope allows one, else a bound with the reasons.
    """
    times = predict_time(work, chip)
    refused = refusals(work, attention)
    kind = attention.kind if attention else None
    interval = chip.intervals.get(kind) if kind else None
    if interval is None and not refused:
        refused = (f"interval: found no times of kernels {kind}, needs at least 20",)
    if refused or interval is None:
        bound = least_time(work, chip)
        return Prediction(chip.name, kind, None, bound, None, refused, times)
    low, high = interval
    said = Prediction(
        chip.name, kind, times.total_us, times.total_us * low, times.total_us * high, (), times
    )
    return replace(said, **_baselines(work, kind)) if chip is M4 else said


def predict_published(row: Row) -> tuple[float | None, float, float | None] | None:
    """Predict the time of a row of the published files, from its counts alone.

    Args:
        row: Columns by name, as text or numbers: a launch's configuration, its closed-form counts,
            its ``pc_`` and ``ir_`` counts. Its time is not looked at.

    Returns:
        Median, low and high in microseconds, where the scope allows a number; (None, low, None)
        where the launch can only be said to take at least so long; None where the counts are not
        of the kernel that would run.
    """
    read = work_of_row(row)
    if read is None:
        return None
    said = predict_work(*read)
    return said.median_us, said.low_us, said.high_us


@cache
def _of_class(kind: str) -> tuple[PublishedTime, ...]:
    return tuple(
        one
        for one in mfa_times()
        if one.usable and one.attention.kind == kind and not refusals(one.work, one.attention)
    )


def _baselines(work: Work, kind: str) -> Mapping[str, Any]:
    """What a rate alone would say: of the class, and of the nearest published kernel."""
    rates = sorted(one.work.flops / one.time_us for one in _of_class(kind))
    nearest = min(_of_class(kind), key=lambda one: distance(work, one.work))
    return {
        "constant_rate_us": work.flops / rates[len(rates) // 2],
        "nearest_us": work.flops / (nearest.work.flops / nearest.time_us),
        "nearest": nearest.name,
    }


def distance(a: Work, b: Work) -> float:
    """How unlike two launches are, by logarithms of their size and of what a product takes."""
    return sum(abs(math.log(x / y)) for x, y in zip(_features(a), _features(b), strict=True))


def _features(work: Work) -> tuple[float, ...]:
    products = work.matrix_products
    return (
        work.flops,
        products,
        work.cache_bytes / products,
        (work.copy_bytes + 1) / products,
        work.other_issue_cycles / products,
        work.live_registers,
    )
