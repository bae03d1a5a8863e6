"""Two kernels timed against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from typing import Protocol as Interface

import numpy as np

from attnproto.device.lock import alone
from attnproto.device.recording import Launch, Recording
from attnproto.errors import WrongResult

from . import protocol as measure
from . import stats

MARGIN = 0.02
HOT, COLD = "hot", "cold"
# Twice what Peaks takes for the largest cache.
_COLD_BYTES = 128 << 20
# The two sides take turns: shorter samples would compare the gaps between submissions.
_LEAST_SAMPLE_US = 20e3


class Kernel(Interface):
    """What can be timed."""

    def run(self, repeats: int = 1) -> float:
        """Run that many dispatches in one submission and return its GPU time in us."""


def compare(
    kernels: Sequence[Kernel],
    margin: float = MARGIN,
    mode: str = "quick",
    looks: Sequence[int] = stats.LOOKS,
) -> dict[str, Any]:
    """Compare two kernels in A-B-B-A blocks until the interval of their ratio decides.

    Args:
        kernels: Two that have been found right, on a device whose times are measured.
        margin: Largest difference called equal.
        mode: ``"quick"`` or ``"full"``: how each side is warmed up, and how long its samples are.
        looks: Block counts after which it is looked whether the interval decides; the last one
            ends the comparison.

    Returns:
        Ratio A / B of times, its interval, verdict, blocks, p-value, the median times, and
        ``memory``: hot, since repeats find their inputs in a cache that holds them; who recorded
        the kernels cold says so.
    """
    protocol = _protocol(mode)
    ratio, times, repeats = _compared(kernels, margin, protocol, looks)
    return {
        "ratio": ratio.ratio,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "verdict": ratio.verdict,
        "blocks": ratio.blocks,
        "cv": ratio.cv,
        "p_value": ratio.p_value,
        "repeats": repeats,
        "memory": HOT,
        "a_us": float(np.median(times[0])),
        "b_us": float(np.median(times[1])),
        "protocol": (
            f"A-B-B-A blocks until decided, at most {looks[-1]}; each side "
            f"{protocol.throwaway} dispatches and {protocol.warmup_us / 1e3:g} ms thrown away, "
            f"samples of at least {protocol.sample_us / 1e3:g} ms"
        ),
    }


def ratio_of(kernels: Sequence[Kernel], mode: str = "quick") -> stats.Ratio:
    """Compare two kernels as ``compare`` does, for a search that needs the ratio itself."""
    return _compared(kernels, MARGIN, _protocol(mode), stats.LOOKS)[0]


def _protocol(mode: str) -> measure.Protocol:
    usual = measure.of_mode(mode)
    return replace(usual, sample_us=max(usual.sample_us, _LEAST_SAMPLE_US))


def _compared(
    kernels: Sequence[Kernel], margin: float, protocol: measure.Protocol, looks: Sequence[int]
) -> tuple[stats.Ratio, list[list[float]], list[int]]:
    times: list[list[float]] = [[], []]

    def side(i: int) -> Callable[[], float]:
        def run() -> float:
            times[i].append(kernels[i].run(repeats[i]) / repeats[i])
            return times[i][-1]

        return run

    with alone:
        repeats = [measure.warm_up(kernel.run, protocol)[0] for kernel in kernels]
        ratio = stats.compare_paired(side(0), side(1), margin=margin, looks=looks)
    return ratio, times, repeats


def recorded(
    device: Any,
    launch: Launch,
    output: np.ndarray,
    judged: np.ndarray,
    memory: str = HOT,
) -> Recording:
    """Record a launch whose result has been judged, and see that its repeat gives those bits.

    Args:
        device: An open device.
        launch: ``f(device)`` writes ``output``.
        output: What the launcher was given.
        judged: What it must come to hold.
        memory: ``"hot"``: repeats find their inputs where the one before left them; ``"cold"``:
            they go through copies of more bytes than the last cache holds.

    Raises:
        WrongResult: The recorded dispatches compute something else.
    """
    recording = Recording(device, launch, _COLD_BYTES if memory == COLD else 0)
    recording.run_once()
    if recording.read(output).tobytes() != judged.tobytes():
        raise WrongResult(
            "[pairing] found other bits than the launch that was judged, needs the same; no time "
            "is reported"
        )
    return recording
