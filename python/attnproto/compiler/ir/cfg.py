"""The shape of a function's control flow: order, loops, what dominates and what follows."""

from __future__ import annotations

from dataclasses import dataclass

from .function import Block
from .types import Unsupported


def _dominators(nodes: list[str], entry: str, before: dict[str, list[str]]) -> dict[str, set[str]]:
    """Which nodes every path from the entry to a node passes."""
    dominators = {n: set(nodes) for n in nodes}
    dominators[entry] = {entry}
    changed = True
    while changed:
        changed = False
        for n in nodes:
            if n == entry:
                continue
            sets = [dominators[p] for p in before[n]]
            new = set.intersection(*sets) | {n} if sets else {n}
            if new != dominators[n]:
                dominators[n] = new
                changed = True
    return dominators


@dataclass
class Flow:
    """Control flow of one function."""

    blocks: dict[str, Block]
    after: dict[str, list[str]]
    before: dict[str, list[str]]
    loops: dict[str, set[str]]  # blocks of the loop that begins at a block
    order: list[str]  # topological but for back edges; a loop's blocks stand together
    meets: dict[str, str | None]  # where all paths from a block meet again

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
    above = _dominators(names, names[0], before)
    below = _dominators(names, exits[0], after)
    loops = _loops(names, after, before, above)
    order = _order(names, after, before, above, loops)
    meets = {n: _nearest(below[n] - {n}, below) for n in names}
    return Flow(blocks, after, before, loops, order, meets)


def _nearest(candidates: set[str], below: dict[str, set[str]]) -> str | None:
    """The one that all the others follow."""
    return next((c for c in candidates if candidates <= below[c]), None)


def _loops(
    names: list[str],
    after: dict[str, list[str]],
    before: dict[str, list[str]],
    above: dict[str, set[str]],
) -> dict[str, set[str]]:
    loops: dict[str, set[str]] = {}
    for n in names:
        for head in after[n]:
            if head not in above[n]:
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
    above: dict[str, set[str]],
    loops: dict[str, set[str]],
) -> list[str]:
    """A topological order that finishes an inner loop before it leaves it."""
    around = {n: {h for h in loops if n in loops[h]} for n in names}
    left = {n: sum(n not in above[p] for p in before[n]) for n in names}
    ready, order = [names[0]], []
    open_: set[str] = set()
    while ready:
        n = max(ready, key=lambda m: (len(open_ & around[m]), len(around[m])))
        ready.remove(n)
        order.append(n)
        open_ = around[n]
        for s in after[n]:
            if s in above[n]:
                continue
            left[s] -= 1
            if left[s] == 0:
                ready.append(s)
    if len(order) != len(names):
        raise Unsupported("a loop with several entries")
    return order
