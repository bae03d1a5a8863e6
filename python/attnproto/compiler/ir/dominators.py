"""Which nodes of a directed graph every path from its entry passes on the way to another.

The tree of nearest dominators by the algorithm of Cooper, Harvey and Kennedy ("A Simple, Fast
Dominance Algorithm", 2001): linear but for loops within loops, where sets of all dominators take
the square of the number of nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Dominators:
    """The dominator tree of a graph.

    Attributes:
        nearest: the dominator of each node that all its others dominate; None for the entry. Nodes
            that no path from the entry reaches are left out.
    """

    def __init__(
        self, entry: str, after: Mapping[str, Sequence[str]], before: Mapping[str, Sequence[str]]
    ):
        """Find the dominators.

        Args:
            entry: where all paths begin.
            after: the successors of each node.
            before: the predecessors of each.
        """
        order = _postorder(entry, after)
        place = {node: k for k, node in enumerate(order)}
        self.nearest: dict[str, str | None] = {entry: entry}
        changed = True
        while changed:
            changed = False
            for node in reversed(order[:-1]):
                known = [p for p in before[node] if p in self.nearest]
                dominator = known[0]
                for other in known[1:]:
                    dominator = self._common(dominator, other, place)
                changed |= self.nearest.get(node) != dominator
                self.nearest[node] = dominator
        self.nearest[entry] = None
        self._spans = self._numbered(entry)

    def _common(self, a: str, b: str, place: Mapping[str, int]) -> str:
        while a != b:
            if place[a] < place[b]:
                a = self.nearest[a]
            else:
                b = self.nearest[b]
        return a

    def _numbered(self, entry: str) -> dict[str, tuple[int, int]]:
        """For each node the numbers, in an order of the tree, that it and all below it have."""
        below: dict[str, list[str]] = {node: [] for node in self.nearest}
        for node, dominator in self.nearest.items():
            if dominator is not None:
                below[dominator].append(node)
        postorder = _postorder(entry, below)
        sizes: dict[str, int] = {}
        for node in postorder:
            sizes[node] = 1 + sum(sizes[child] for child in below[node])
        return {node: (k + 1 - sizes[node], k) for k, node in enumerate(postorder)}

    def dominates(self, a: str, b: str) -> bool:
        """Whether every path from the entry to ``b`` passes ``a``; a node dominates itself."""
        if a not in self._spans or b not in self._spans:
            return a == b
        first, last = self._spans[a]
        return first <= self._spans[b][1] <= last


def _postorder(entry: str, after: Mapping[str, Sequence[str]]) -> list[str]:
    """The nodes that paths from the entry reach, each behind those that it was first to reach."""
    seen, order = {entry}, []
    stack = [(entry, iter(after[entry]))]
    while stack:
        node, successors = stack[-1]
        for successor in successors:
            if successor not in seen:
                seen.add(successor)
                stack.append((successor, iter(after[successor])))
                break
        else:
            order.append(node)
            stack.pop()
    return order
