"""Measurements on M4 that others published: marks to reach, never numbers of our own."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class PublishedMark:
    """One published number; ``tflops`` is it in TFLOP/s where that can be computed."""

    source: str
    chip: str
    kernel: str
    dtype: str
    heads: int | None
    N: int | None
    D: int | None
    quantity: str
    value: float
    unit: str
    note: str

    @property
    def tflops(self) -> float | None:
        """TFLOP/s by ``4 * heads * N**2 * D`` FLOP.

        Metal FlashAttention's unit GINSTRS counts ``(2 D + 5) N**2`` instructions, hence
        the factor ``4 D / (2 D + 5)``.
        """
        if self.unit == "GINSTRS" and self.D:
            return self.value * 4 * self.D / (2 * self.D + 5) / 1e3
        if self.unit == "TFLOPS":
            return self.value
        if self.unit == "GFLOPS":
            return self.value / 1e3
        if self.unit == "us" and self.kernel.startswith("flash") and self.N and self.D:
            return 4 * (self.heads or 1) * self.N**2 * self.D / self.value / 1e6
        return None


@cache
def published_marks() -> tuple[PublishedMark, ...]:
    """Read the marks that the package carries, in the file's order."""
    text = (resources.files(__package__) / "data" / "m4_published.csv").read_text("utf-8")

    def whole(value: str) -> int | None:
        return int(value) if value else None

    return tuple(
        PublishedMark(
            row["source"],
            row["chip"],
            row["kernel"],
            row["dtype"],
            whole(row["heads"]),
            whole(row["N"]),
            whole(row["D"]),
            row["quantity"],
            float(row["value"]),
            row["unit"],
            row["note"] or "",
        )
        for row in csv.DictReader(text.splitlines())
    )


def mark_to_reach(dtype: str, D: int, N: int) -> PublishedMark | None:
    """Return Metal FlashAttention's tuned forward kernel on M4, one head, not causal.

    Args:
        dtype: ``"f16"`` or ``"f32"``.
        D: Head dimension.
        N: Queries and keys.

    Returns:
        The mark of exactly this problem, or None when none was published.
    """
    for mark in published_marks():
        if (mark.kernel, mark.dtype, mark.D, mark.N) == ("forward tuned", dtype, D, N):
            return mark
    return None
