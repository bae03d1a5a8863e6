"""The size at which one of two kernels overtakes the other: searched, with an interval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .stats import FASTER, SLOWER, Ratio


@dataclass(frozen=True)
class Crossover:
    """Where B stops being slower than A, between ``low`` and ``high``.

    ``status`` is ``"bracketed"``, ``"never"`` (A faster to the end), ``"always"`` (B faster
    from the start) or ``"undecided"`` (an end of the range is not decided).
    """

    status: str
    low: float
    high: float
    estimate: float
    probes: tuple[tuple[int, Ratio], ...]


def find_crossover(
    compare: Callable[[int], Ratio], low: int, high: int, *, step: int = 1
) -> Crossover:
    """Search the size at which B becomes faster than A by bisection on a log scale.

    Assumes one crossing. The answer's interval runs from the largest size where A is
    decidedly faster to the smallest where B is: sizes in between, undecided or equal, are
    its width and not guessed away.

    Args:
        compare: ``f(size)`` gives the ratio time of A / time of B.
        low: Smallest size.
        high: Largest size.
        step: Sizes probed are multiples of this.

    Returns:
        The crossover; its estimate interpolates log ratio over log size.
    """
    probes: dict[int, Ratio] = {}

    def probe(size: int) -> str:
        if size not in probes:
            probes[size] = compare(size)
        return probes[size].verdict

    def result(status: str, left: float, right: float) -> Crossover:
        ordered = tuple(sorted(probes.items()))
        return Crossover(status, left, right, _interpolate(ordered), ordered)

    first, last = probe(low), probe(high)
    if first == SLOWER:
        return result("always", low, low)
    if last == FASTER:
        return result("never", high, high)
    if first != FASTER or last != SLOWER:
        return result("undecided", low, high)
    left = _push(probe, low, high, FASTER, step)
    right = _push(probe, high, left, SLOWER, step)
    return result("bracketed", left, right)


def _push(probe: Callable[[int], str], start: int, limit: int, verdict: str, step: int) -> int:
    """Move ``start`` towards ``limit`` as long as sizes there keep the verdict."""
    while abs(limit - start) > step:
        middle = round(math.sqrt(start * limit) / step) * step
        if middle in (start, limit):
            middle = start + (step if limit > start else -step)
        if probe(middle) == verdict:
            start = middle
        else:
            limit = middle
    return start


def _interpolate(probes: Sequence[tuple[int, Ratio]]) -> float:
    for (n0, r0), (n1, r1) in itertools.pairwise(probes):
        y0, y1 = math.log(r0.ratio), math.log(r1.ratio)
        if y0 <= 0.0 < y1:
            share = -y0 / (y1 - y0)
            return math.exp(math.log(n0) + share * (math.log(n1) - math.log(n0)))
    return math.nan
