"""Dominator trees against the definition: what every path from the entry passes."""

from __future__ import annotations

import random

import pytest
from attnproto.compiler.ir.dominators import Dominators


def reached(entry: str, after: dict[str, list[str]], without: str | None = None) -> set[str]:
    """Nodes that paths from the entry reach without passing one."""
    seen, todo = set(), [entry]
    while todo:
        node = todo.pop()
        if node not in seen and node != without:
            seen.add(node)
            todo += after[node]
    return seen


def graph(seed: int) -> dict[str, list[str]]:
    """Successors of nodes; some are not reached, some edges stand twice or lead back."""
    rng = random.Random(seed)
    names = [f"n{k}" for k in range(rng.randrange(1, 14))]
    return {n: rng.choices(names, k=rng.choice((0, 1, 1, 2, 2, 3))) for n in names}


@pytest.mark.parametrize("seed", range(300))
def test_dominators_are_what_every_path_passes(seed):
    after = graph(seed)
    before = {n: [p for p in after for s in after[p] if s == n] for n in after}
    tree = Dominators("n0", after, before)
    alive = reached("n0", after)
    assert set(tree.nearest) == alive
    all_of = {
        b: {a for a in alive if a == b or b not in reached("n0", after, without=a)} for b in alive
    }
    for b in after:
        for a in after:
            assert tree.dominates(a, b) == (a in all_of[b] if b in alive else a == b), (a, b)
    for node, nearest in tree.nearest.items():
        others = all_of[node] - {node}
        assert (nearest is None) == (not others)
        assert nearest is None or (nearest in others and others == all_of[nearest])


def test_a_thousand_nodes_in_a_row_are_no_recursion():
    names = [str(k) for k in range(5000)]
    after = {n: names[k + 1 : k + 2] for k, n in enumerate(names)}
    before = {n: names[max(k - 1, 0) : k] for k, n in enumerate(names)}
    assert Dominators("0", after, before).dominates("17", "4999")
