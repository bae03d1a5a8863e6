"""The shape of a function's control flow: order, loops, what dominates and what follows."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

from .dominators import Dominators
from .function import Block
from .types import Unsupported


@dataclass
class Flow:
    """Control flow of one function."""

    blocks: dict[str, Block]
    after: dict[str, list[str]]
    before: dict[str, list[str]]
    loops: dict[str, set[str]]  # blocks of the loop that begins at a block
    around: dict[str, set[str]]  # heads of the loops that a block is in
    order: list[str]  # topological but for back edges; a loop's blocks stand together
    convergence_points: dict[str, str | None]  # the first block on all paths from a block

    def reached(self, start: list[str], without: set[str | None]) -> set[str]:
        """Blocks that paths reach which do not enter ``without``."""
        seen: set[str] = set()
        todo = list(start)
        while todo:
            n = todo.pop()
            if n not in seen and n not in without:
                seen.add(n)
                todo += self.after[n]
        return seen


def analyse(blocks: dict[str, Block]) -> Flow:
    """Return the flow of a function with one exit and natural loops, from its blocks by name.

    Raises:
        Unsupported: it has several exits, or a loop with several entries.
    """
    names = list(blocks)
    after = {n: list(blocks[n].successors) for n in names}
    before: dict[str, list[str]] = {n: [] for n in names}
    for n in names:
        for s in after[n]:
            before[s].append(n)
    exits = [n for n in names if not after[n]]
    if len(exits) != 1:
        raise Unsupported("a function that does not end in one place")
    above = Dominators(names[0], after, before)
    below = Dominators(exits[0], before, after)
    if len(below.nearest) != len(names):
        raise Unsupported("a loop that never ends")
    loops = _loops(names, after, before, above)
    around: dict[str, set[str]] = {n: set() for n in names}
    for head, loop in loops.items():
        for n in loop:
            around[n].add(head)
    order = _order(names, after, before, above, around)
    return Flow(blocks, after, before, loops, around, order, below.nearest)


def _loops(
    names: list[str],
    after: dict[str, list[str]],
    before: dict[str, list[str]],
    above: Dominators,
) -> dict[str, set[str]]:
    loops: dict[str, set[str]] = {}
    for n in names:
        for head in after[n]:
            if not above.dominates(head, n):
                continue
            inside = loops.setdefault(head, {head})
            todo = [n]
            while todo:
                m = todo.pop()
                if m not in inside:
                    inside.add(m)
                    todo += before[m]
    return loops


def _order(
    names: list[str],
    after: dict[str, list[str]],
    before: dict[str, list[str]],
    above: Dominators,
    around: dict[str, set[str]],
) -> list[str]:
    """A topological order that finishes an inner loop before it leaves it."""
    left = {n: sum(not above.dominates(n, p) for p in before[n]) for n in names}
    # Blocks whose predecessors have their places, by the loops they are in, the first come first.
    ready: dict[frozenset[str], deque[tuple[int, str]]] = {}
    serial = itertools.count()
    order: list[str] = []
    open_: frozenset[str] = frozenset()

    def come(n: str) -> None:
        ready.setdefault(frozenset(around[n]), deque()).append((next(serial), n))

    come(names[0])
    while ready:
        open_ = max(ready, key=lambda a: (len(open_ & a), len(a), -ready[a][0][0]))
        n = ready[open_].popleft()[1]
        if not ready[open_]:
            del ready[open_]
        order.append(n)
        for s in after[n]:
            if not above.dominates(s, n):
                left[s] -= 1
                if left[s] == 0:
                    come(s)
    if len(order) != len(names):
        raise Unsupported("a loop with several entries")
    return order
