"""Timing a kernel by protocol: right first, warm, long enough, often enough, possible.

The protocol is written out in ``Protocol``; when to stop is decided by the rules of ``stopping``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as Interface

from attnproto.device.lock import alone
from attnproto.errors import AttnprotoError, UnstableMeasurement, WrongResult

from .stats import Summary, summarize
from .stopping import AllOf, AnyOf, ElapsedTime, MedianPrecision, SampleCount, StoppingRule


class ImpossibleTime(AttnprotoError):
    """A time that the device's own measured peaks rule out."""


class Verdict(Interface):
    """What a correctness check returns; ``reference.Judgement`` is one."""

    @property
    def passed(self) -> bool:
        """Whether the output was right."""

    @property
    def reason(self) -> str:
        """Why not."""


@dataclass(frozen=True)
class Protocol:
    """How a kernel is timed; the defaults are the specification's NFR-2, 6, 7 and 12.

    Args:
        mode: Its name in records.
        throwaway: Dispatches thrown away first.
        warmup_us: Least GPU time before the first sample. Apple GPUs reach their clock
            after about 100 ms, so quick mode keeps 200 ms.
        sample_us: GPU time aimed at for one sample; a short kernel is repeated within one
            submission until it fills this.
        stop: When sampling ends.
        longest_us: One dispatch may not last longer; the watchdog would end it.
        largest_cv: Samples that vary more are not reported at all.
    """

    mode: str
    throwaway: int
    warmup_us: float
    sample_us: float
    stop: StoppingRule
    longest_us: float = 500_000.0
    largest_cv: float = 0.5

    def describe(self) -> str:
        """The protocol in a line."""
        return (
            f"{self.mode}: {self.throwaway} dispatches and {self.warmup_us / 1e3:g} ms thrown "
            f"away, samples of at least {self.sample_us / 1e3:g} ms, until {self.stop.describe()}"
        )


# 15 samples of a quiet kernel, twice or four times as many of a noisy one.
QUICK = Protocol(
    "quick", 4, 200e3, 1.2e3, AnyOf((MedianPrecision(0.01, least=15), ElapsedTime(2.0)))
)
# criterion spreads its measurement time over the samples: 10 s over 50 gives 200 ms each.
FULL = Protocol("full", 4, 5e6, 200e3, AllOf((SampleCount(50), ElapsedTime(10.0))))


def of_mode(mode: str) -> Protocol:
    """The protocol of ``"quick"`` or ``"full"``."""
    return FULL if mode == "full" else QUICK


@dataclass(frozen=True)
class Peaks:
    """A device's measured limits: matrix rate, device memory bandwidth, empty dispatch."""

    flops_per_s: float
    bytes_per_s: float
    empty_us: float
    cache_bytes: int = 64 << 20

    def least_us(self, flops: float, device_bytes: float) -> float:
        """Return the shortest time the device could need.

        Traffic below ``cache_bytes`` may be served on chip, so it sets no limit.
        """
        memory = device_bytes / self.bytes_per_s if device_bytes > self.cache_bytes else 0.0
        return max(flops / self.flops_per_s * 1e6, memory * 1e6, self.empty_us)


@dataclass(frozen=True)
class Measurement:
    """Samples of one kernel's time, per dispatch, and how they were taken."""

    samples_us: tuple[float, ...]
    summary: Summary
    repeats: int
    warmup_us: float
    protocol: str

    def as_result(self) -> dict[str, object]:
        """The fields a row keeps; ``time_us`` is the median."""
        drift = self.summary.drift
        return {
            "time_us": self.summary.median,
            "time_low_us": self.summary.low,
            "time_high_us": self.summary.high,
            "cv": self.summary.cv,
            "samples_us": list(self.samples_us),
            "outliers": self.summary.outliers.count,
            "throttled": bool(drift and drift.throttled),
            "bimodal": self.summary.bimodal,
            "repeats": self.repeats,
            # The same buffers each time: inputs are found in a cache that holds them.
            "memory": "hot",
            "protocol": self.protocol,
        }


def check_possible(
    time_us: float, flops: float, device_bytes: float, peaks: Peaks, slack: float = 0.1
) -> None:
    """Refuse a time that physics forbids.

    Args:
        time_us: Per dispatch.
        flops: Work of one dispatch.
        device_bytes: Least traffic of one dispatch.
        peaks: The device's limits.
        slack: Share by which a probe may have missed the true peak.

    Raises:
        ImpossibleTime: The time is below what the peaks allow.
    """
    least_us = peaks.least_us(flops, device_bytes)
    if time_us < least_us / (1.0 + slack):
        raise ImpossibleTime(
            f"[measure] found {time_us:.3g} us a dispatch, needs at least {least_us:.3g} us by "
            "this device's measured peaks; check that the kernel did its work"
        )


def measure(
    run: Callable[[int], float],
    *,
    gate: Callable[[], Verdict],
    protocol: Protocol = QUICK,
    regate: Callable[[], Verdict] | None = None,
    flops: float = 0.0,
    device_bytes: float = 0.0,
    peaks: Peaks | None = None,
) -> Measurement:
    """Time a kernel, after its output has been found right.

    Args:
        run: ``f(repeats)`` runs the kernel that often in one submission, each dispatch
            depending on the one before, and returns the GPU time of the submission in us.
        gate: Judges an output on fresh inputs; called before any time is taken.
        protocol: How to warm up, repeat and stop.
        regate: Judges again after the last sample, on other inputs, so that a kernel which
            remembers an answer is caught.
        flops: Work of one dispatch, for the check against peaks.
        device_bytes: Least device traffic of one dispatch in bytes.
        peaks: The device's limits; no check without them.

    Returns:
        The samples, per dispatch, and their summary.

    Raises:
        WrongResult: The output was not right; no time is reported.
        UnstableMeasurement: The times vary too much, or the clock does not advance.
        ImpossibleTime: The time is below what the device can do, or one dispatch is longer
            than the watchdog allows.
    """
    require(gate(), "before")
    samples: list[float] = []
    with alone:
        repeats, warm_us = warm_up(run, protocol)
        started = time.perf_counter()
        while not protocol.stop.done(samples, time.perf_counter() - started):
            samples.append(run(repeats) / repeats)
    if regate is not None:
        require(regate(), "after")
    summary = summarize(samples)
    if summary.cv > protocol.largest_cv:
        raise UnstableMeasurement(
            f"[measure] found a CV of {100 * summary.cv:.0f} %, needs at most "
            f"{100 * protocol.largest_cv:.0f} %; quieten the machine and run again"
        )
    if peaks is not None:
        check_possible(summary.median, flops, device_bytes, peaks)
    return Measurement(tuple(samples), summary, repeats, warm_us, protocol.describe())


def warm_up(run: Callable[[int], float], protocol: Protocol) -> tuple[int, float]:
    """Throw dispatches away and bring the clock up, finding how many fill a sample.

    The first dispatches after idle are slow, and repeats counted by them would fill too
    little: the fastest seen counts.

    Args:
        run: As for ``measure``.
        protocol: How long to warm up and what to fill.

    Returns:
        Repeats for each sample, and the GPU time spent in us.

    Raises:
        UnstableMeasurement: The clock does not advance.
        ImpossibleTime: One dispatch is longer than the watchdog allows.
    """
    thrown = [run(1) for _ in range(max(1, protocol.throwaway))]
    fastest_us = min(thrown)
    if not fastest_us > 0.0:
        raise UnstableMeasurement(
            f"[measure] found a dispatch of {fastest_us} us, needs a clock that advances; "
            "enlarge the problem"
        )
    if max(thrown) > protocol.longest_us:
        raise ImpossibleTime(
            f"[measure] found a dispatch of {max(thrown) / 1e3:.0f} ms, needs at most "
            f"{protocol.longest_us / 1e3:.0f} ms; split the problem"
        )
    # A submission may be as long as one dispatch, counted at the slowest seen.
    most = max(1, int(protocol.longest_us / max(thrown)))
    repeats, warm_us = 0, 0.0
    while warm_us < protocol.warmup_us or repeats < _filling(fastest_us, protocol, most):
        repeats = _filling(fastest_us, protocol, most)
        took_us = run(repeats)
        warm_us += took_us
        fastest_us = min(fastest_us, took_us / repeats)
    return repeats, warm_us


def _filling(once_us: float, protocol: Protocol, most: int) -> int:
    return min(most, max(1, math.ceil(protocol.sample_us / once_us)))


def require(verdict: Verdict, when: str, of: str = "") -> None:
    """Refuse to go on with a wrong output.

    Args:
        verdict: On the output.
        when: Before or after timing.
        of: What gave it, where that is one of several.

    Raises:
        WrongResult: The verdict says so.
    """
    if not verdict.passed:
        raise WrongResult(
            f"[measure] found a wrong output{' of ' * bool(of)}{of} {when} timing "
            f"({verdict.reason}), needs one within tolerance; no time is reported"
        )
