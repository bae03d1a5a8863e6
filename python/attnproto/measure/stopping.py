"""When to stop sampling, as objects that are asked after each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .stats import come_in_runs, in_two_states, median_interval


class StoppingRule(Protocol):
    """Decides after each sample whether sampling may end."""

    def done(self, samples_us: Sequence[float], elapsed_s: float) -> bool:
        """True when this rule is satisfied."""

    def describe(self) -> str:
        """The rule in words, for the record."""


@dataclass(frozen=True)
class SampleCount:
    """Satisfied by ``count`` samples."""

    count: int

    def done(self, samples_us: Sequence[float], elapsed_s: float) -> bool:
        """True from the last sample wanted on."""
        return len(samples_us) >= self.count

    def describe(self) -> str:
        """The rule in words."""
        return f"{self.count} samples"


@dataclass(frozen=True)
class ElapsedTime:
    """Satisfied by ``seconds`` of wall-clock sampling."""

    seconds: float

    def done(self, samples_us: Sequence[float], elapsed_s: float) -> bool:
        """True when the time is up."""
        return elapsed_s >= self.seconds

    def describe(self) -> str:
        """The rule in words."""
        return f"{self.seconds:g} s"


@dataclass(frozen=True)
class MedianPrecision:
    """Satisfied when what a row reports of its samples can be trusted.

    That is when half the reported interval of the median (``stats.median_interval``) is a small
    share of it, and the samples are of one state: an interval is drawn as if samples did not
    depend on each other, so it is too narrow where they drift or come in runs, and where a clock
    switches between two states it bounds one of them as chance has it. A single outlier prolongs
    nothing.

    The samples are looked at when their count doubles: looking always would stop on lucky streaks.
    """

    relative: float
    least: int = 8

    def done(self, samples_us: Sequence[float], elapsed_s: float) -> bool:
        """True at a power-of-two multiple of ``least`` where the interval is small enough."""
        count = len(samples_us)
        looks, rest = divmod(count, self.least)
        if count < self.least or rest or looks & (looks - 1):
            return False
        if in_two_states(samples_us) or come_in_runs(samples_us, self.relative):
            return False
        low, high, _ = median_interval(samples_us)
        return high - low <= 2.0 * self.relative * float(np.median(samples_us))

    def describe(self) -> str:
        """The rule in words."""
        return (
            f"the median's interval is within {100 * self.relative:g} % after {self.least} "
            "samples or more of one state"
        )


@dataclass(frozen=True)
class AnyOf:
    """Satisfied when one of its rules is."""

    rules: tuple[StoppingRule, ...]

    def done(self, samples_us: Sequence[float], elapsed_s: float) -> bool:
        """True when one rule says so."""
        return any(rule.done(samples_us, elapsed_s) for rule in self.rules)

    def describe(self) -> str:
        """The rule in words."""
        return " or ".join(rule.describe() for rule in self.rules)


@dataclass(frozen=True)
class AllOf:
    """Satisfied when all of its rules are."""

    rules: tuple[StoppingRule, ...]

    def done(self, samples_us: Sequence[float], elapsed_s: float) -> bool:
        """True when every rule says so."""
        return all(rule.done(samples_us, elapsed_s) for rule in self.rules)

    def describe(self) -> str:
        """The rule in words."""
        return " and ".join(rule.describe() for rule in self.rules)
