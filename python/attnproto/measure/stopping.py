"""When to stop sampling, as objects that are asked after each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .stats import in_two_states


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
    """Satisfied when the median's standard error is a small share of it, and there is one state.

    The median of samples of two states is one of these, as chance has it, and its error small.

    The error is that of a median of normal samples, ``1.2533 sigma / sqrt(n)``, with sigma
    taken from the median absolute deviation, so that one outlier cannot prolong the run. It
    is looked at when the count doubles: looking always would stop on lucky streaks.
    """

    relative: float
    least: int = 8

    def done(self, samples_us: Sequence[float], elapsed_s: float) -> bool:
        """True at a power-of-two multiple of ``least`` where the error is small enough."""
        count = len(samples_us)
        looks, rest = divmod(count, self.least)
        if count < self.least or rest or looks & (looks - 1):
            return False
        values = np.asarray(samples_us)
        median = float(np.median(values))
        sigma = 1.4826 * float(np.median(np.abs(values - median)))
        close = 1.2533 * sigma / math.sqrt(count) <= self.relative * median
        return close and not in_two_states(values)

    def describe(self) -> str:
        """The rule in words."""
        return f"median known to {100 * self.relative:g} % after {self.least} samples or more"


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
