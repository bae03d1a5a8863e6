"""Measurements on M4 that others published: marks to reach, never numbers of our own."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


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
    text = (resources.files("attnproto") / "data" / "m4_published.csv").read_text("utf-8")

    def integer(value: str) -> int | None:
        return int(value) if value else None

    return tuple(
        PublishedMark(
            row["source"],
            row["chip"],
            row["kernel"],
            row["dtype"],
            integer(row["heads"]),
            integer(row["N"]),
            integer(row["D"]),
            row["quantity"],
            float(row["value"]),
            row["unit"],
            row["note"] or "",
        )
        for row in csv.DictReader(text.splitlines())
    )


# Of what Metal FlashAttention published rates.
_PUBLISHED = {"B": 1, "Hq": 1, "causal": False}


@dataclass(frozen=True)
class Reached:
    """An M4's own rate beside the published one for exactly the same problem.

    ``ratio`` is ours divided by theirs; ``row`` is the key of the result row.
    """

    mark: PublishedMark
    tflops: float
    ratio: float
    row: str


def reached(rows: Iterable[Mapping[str, Any]]) -> list[Reached]:
    """Compare an M4's flash attention with Metal FlashAttention's on M4 (AC-1.5).

    Args:
        rows: Result rows. Only right ones count, whose time was measured on an M4, of one
            head without a mask and of a size that was published.

    Returns:
        For each mark the fastest row of its problem, in the marks' order; empty elsewhere than
        on an M4.
    """
    best: dict[PublishedMark, Reached] = {}
    for row in rows:
        mark, result = _mark_of(row), row["result"]
        if mark is None or not mark.tflops:
            continue
        tflops = result["flops"] / result["time_us"] / 1e6
        if mark not in best or tflops > best[mark].tflops:
            best[mark] = Reached(mark, tflops, tflops / mark.tflops, row["key"])
    return [best[mark] for mark in published_marks() if mark in best]


def _mark_of(row: Mapping[str, Any]) -> PublishedMark | None:
    point, device = row["point"], row["device"]
    on_m4 = (device["kind"], device["tier"]) == ("metal", "measured") and is_m4(device["name"])
    timed = row["proto"] == "flash" and row["status"] == "ok" and "time_us" in row["result"]
    if not (on_m4 and timed):
        return None
    if any(point.get(name) != wanted for name, wanted in _PUBLISHED.items()):
        return None
    if point.get("Nq") != point.get("Nkv"):
        return None
    return mark_to_reach(point.get("dtype", ""), point.get("D", 0), point.get("Nkv", 0))


def is_m4(name: str) -> bool:
    """True for a plain M4, the project's target; M4 Pro and Max are other GPUs."""
    return name.strip() in ("Apple M4", "M4")


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
