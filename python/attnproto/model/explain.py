"""A prediction in words: the time, what limits it, the roofline's picture, and what would help."""

from __future__ import annotations

from dataclasses import replace

from .chip import Chip
from .prediction import Prediction
from .time_model import predict_time
from .work import Work

_BAR = 40  # characters of the longest


def explain(work: Work, said: Prediction, chip: Chip) -> str:
    """Say what is known of a launch's time.

    Args:
        work: What it does.
        said: Its prediction.
        chip: For which.
    """
    lines = [_headline(work, said, chip)]
    lines += [f"  no number: {line}" for line in said.refused]
    if said.constant_rate_us and said.nearest_us:
        lines.append(
            f"  beside it: {said.constant_rate_us:.4g} us by the rate of its class, "
            f"{said.nearest_us:.4g} us by that of the nearest published kernel, {said.nearest}"
        )
    sketch = "" if said.median_us else " (no more than a sketch, out of scope)"
    lines += [f"what each limit alone would take{sketch}:", *_picture(said)]
    lines += _roofline(work, chip)
    lines += _changes(work, chip)
    return "\n".join(lines)


def _headline(work: Work, said: Prediction, chip: Chip) -> str:
    where = f"on {said.chip}, {said.tier} and not measured"
    if said.median_us is None or said.high_us is None:
        return f"not faster than {said.low_us:.4g} us {where}"
    rate = f", {work.flops / said.median_us / 1e6:.3g} TFLOP/s of matrix products"
    return (
        f"{said.median_us:.4g} us ({said.low_us:.4g} to {said.high_us:.4g}) {where}; "
        f"{chip.interval_meaning}{rate if work.flops else ''}; limited by {said.times.limit}"
    )


def _picture(said: Prediction) -> list[str]:
    most = max(said.times.parts.values()) or 1.0
    return [
        f"  {name:<12} {us:>10.1f} us  {'#' * round(_BAR * us / most)}"
        for name, us in said.times.parts.items()
    ]


def _roofline(work: Work, chip: Chip) -> list[str]:
    """Where a core's two roofs meet, and on which side the kernel is."""
    if not work.matrix_products:
        return []
    peak = 1024 * chip.schedulers.value / chip.matrix_cycles.value  # FLOP a cycle of a core
    moved = work.cache_bytes + 2 * work.copy_bytes / work.simdgroups
    ridge = peak / chip.cache_bytes_per_cycle.value
    if not moved:
        return []
    intensity = 1024 * work.matrix_products / moved
    side = "matrix" if intensity > ridge else "bytes"
    return [
        f"roofline: {intensity:.2f} FLOP a byte moved, the roofs meet at {ridge:.2f}: {side} side"
    ]


def _changes(work: Work, chip: Chip) -> list[str]:
    """The time with half of one thing, all else as it is."""
    before = predict_time(work, chip).total_us
    halves = {
        "registers": replace(work, live_registers=work.live_registers // 2),
        "bytes moved": replace(
            work, cache_bytes=work.cache_bytes / 2, copy_bytes=work.copy_bytes / 2
        ),
        "other instructions": replace(work, other_issue_cycles=work.other_issue_cycles / 2),
    }
    return [
        f"with half the {name}: {predict_time(other, chip).total_us / before - 1:+.1%}"
        for name, other in halves.items()
    ]
