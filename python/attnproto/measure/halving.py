"""The fastest of many kernels: successive halving by paired comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from .stats import FASTER, LOOKS, SLOWER, Ratio

Candidate = TypeVar("Candidate")
# Blocks of one comparison, round by round: with half the candidates each gets twice as many.
ROUNDS = (3, 6, 12, 24)


def find_fastest(
    candidates: Iterable[Candidate],
    incumbent: Candidate,
    compare: Callable[[Candidate, Candidate, Sequence[int]], Ratio | None],
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Candidate:
    """Search the candidate that is decidedly faster than the incumbent, if there is one.

    In each round every candidate that is left is compared with the incumbent, in A-B-B-A blocks so
    that drift cancels, and the faster half goes on to twice as many blocks. One that is decidedly
    slower, or that gives no ratio, is out at once. The last one is compared until it is decided,
    by times of that comparison alone: being the best of many by chance helps it no further.

    Args:
        candidates: What may be faster.
        incumbent: What stays unless one of them is.
        compare: ``f(candidate, incumbent, looks)`` gives their ratio of times after that many
            blocks; None where there is none, since the candidate is wrong or cannot run.
        stop: Asked before each comparison; once it says so, only the best so far is compared once
            more, and where none was compared the incumbent stays.

    Returns:
        The candidate whose last comparison says that it is faster, else the incumbent.

    Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", AISTATS 2016, algorithm 1.
    """
    left = [one for one in candidates if one != incumbent]
    ranked: list[Candidate] = []
    for blocks in ROUNDS:
        if len(left) <= 1 or stop():
            break
        ratios: dict[Candidate, Ratio] = {}
        for one in left:
            if stop():
                break
            ratio = compare(one, incumbent, (blocks,))
            if ratio is not None and ratio.verdict != SLOWER:
                ratios[one] = ratio
        if ratios or not stop():
            ranked = sorted(ratios, key=lambda one: ratios[one].ratio)
        left = ranked[: -(-len(left) // 2)]
    if stop():
        left = ranked
    if not left:
        return incumbent
    last = compare(left[0], incumbent, LOOKS)
    return left[0] if last is not None and last.verdict == FASTER else incumbent
