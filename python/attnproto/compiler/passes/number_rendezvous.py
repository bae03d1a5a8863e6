"""Say where the lanes of a simdgroup meet, so that the engine knows who waits for whom.

A collective is executed for the lanes that wait for it together. Which ones those are
must follow from the kernel's control flow, not from where a compiler happened to put
the code. So every call of the engine that lanes meet at gets a number, its place, and
the places rise along every path through the function except back to the head of a loop:
where lanes wait at several places, those at the lowest are behind, and they go first.

Around a loop the numbers fall, and a lane that skipped a branch could be a turn ahead
of one still inside it. A place that every turn passes last keeps them in step; a loop
that meets lanes but has no such place gets one, at the end of its turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from attnproto.compiler.ir.runtime_calls import calls

_PLACE = re.compile(rf"(?P<call>@(?:{calls(lambda c: c.convergent)})\()(?P<empty>\)?)")
_LABEL = re.compile(r'^(?P<name>"[^"]+"|[-\w.$]+):')
_TARGET = re.compile(r'label %("[^"]+"|[-\w.$]+)')
_TERMINATOR = re.compile(r"^  (?:br|ret|switch|unreachable|indirectbr)\b")
_MEET = "@attn_simdgroup_barrier("


@dataclass
class _Block:
    lines: list[str] = field(default_factory=list)  # up to the terminator
    tail: list[str] = field(default_factory=list)
    successors: list[str] = field(default_factory=list)
    meets: bool = False  # lanes meet here


def _blocks(body: list[str]) -> dict[str, _Block]:
    blocks: dict[str, _Block] = {}
    block = None
    for line in body:
        label = _LABEL.match(line)
        if label or block is None:
            block = blocks.setdefault(label["name"] if label else "", _Block())
        if block.tail or _TERMINATOR.match(line):
            block.tail.append(line)
            block.successors += _TARGET.findall(line)
        else:
            block.lines.append(line)
            block.meets = block.meets or _PLACE.search(line) is not None
    return blocks


def _components(nodes: list[str], edges: dict[str, list[str]]) -> list[list[str]]:
    """Strongly connected components, each before those it leads to (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    open_: set[str] = set()
    found: list[list[str]] = []
    for root in nodes:
        work = [] if root in index else [(root, iter(edges[root]))]
        while work:
            node, rest = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                stack.append(node)
                open_.add(node)
            for other in rest:
                if other not in index:
                    work.append((other, iter(edges[other])))
                    break
                if other in open_:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    at = stack.index(node)
                    found.append(stack[at:])
                    open_.difference_update(stack[at:])
                    del stack[at:]
    return found[::-1]


def _head(inside: list[str], nodes: list[str], edges: dict[str, list[str]]) -> str:
    """The block that a loop is entered at."""
    members = set(inside)
    entered = {b for a in nodes if a not in members for b in edges[a] if b in members}
    return next((n for n in inside if n in entered), inside[0])


def _turn(inside: list[str], edges: dict[str, list[str]], head: str) -> dict[str, list[str]]:
    """The edges of one turn of a loop."""
    members = set(inside)
    return {n: [m for m in edges[n] if m in members and m != head] for n in inside}


def loop_nest(body: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    """A function's blocks by label, in an order that rises along every path but a loop's.

    Args:
        body: the function's lines, without the first and the last.

    Returns:
        Each block with the heads of the loops around it, outermost first.
    """
    blocks = _blocks(body)
    ordered: list[tuple[str, tuple[str, ...]]] = []

    def walk(nodes: list[str], edges: dict[str, list[str]], around: tuple[str, ...]) -> None:
        for component in _components(nodes, edges):
            if len(component) == 1 and component[0] not in edges[component[0]]:
                ordered.append((component[0], around))
            else:
                head = _head(component, nodes, edges)
                walk(component, _turn(component, edges, head), (*around, head))

    walk(list(blocks), {n: b.successors for n, b in blocks.items()}, ())
    return ordered


def successors(body: list[str]) -> dict[str, list[str]]:
    """Where control may go from each block of a function, by label."""
    return {name: block.successors for name, block in _blocks(body).items()}


def _reached(start: Iterable[str], edges: dict[str, list[str]], without: str) -> set[str]:
    seen: set[str] = set()
    todo = [node for node in start if node != without]
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += [other for other in edges[node] if other != without]
    return seen


@dataclass
class _Numbering:
    """Numbers one function's places."""

    blocks: dict[str, _Block]
    next: int

    def order(self, nodes: list[str], edges: dict[str, list[str]]) -> list[str]:
        """The nodes in the order of their places, which are given on the way."""
        ordered: list[str] = []
        for component in _components(nodes, edges):
            node = component[0]
            if len(component) == 1 and node not in edges[node]:
                self._number(self.blocks[node])
                ordered.append(node)
            else:
                ordered += self._loop(component, nodes, edges)
        return ordered

    def _loop(self, inside: list[str], nodes: list[str], edges: dict[str, list[str]]) -> list[str]:
        head = _head(inside, nodes, edges)
        turn = _turn(inside, edges, head)
        ends = [n for n in inside if head in edges[n]]
        ordered = self.order(inside, turn)
        if not self._in_step(ordered, head, turn, ends):
            for end in ends:
                block = self.blocks[end]
                block.lines.append(f"  call void {_MEET}i32 {self.next})")
                block.meets = True
            self.next += 1
        return ordered

    def _in_step(
        self, ordered: list[str], head: str, turn: dict[str, list[str]], ends: list[str]
    ) -> bool:
        """Whether the last place of a turn, if it has any, is passed by every lane once."""
        last = next((n for n in reversed(ordered) if self.blocks[n].meets), None)
        if last is None:
            return True
        skipped = _reached([head], turn, without=last)
        repeated = _reached(turn[last], turn, without="")
        return not skipped.intersection(ends) and last not in repeated

    def _number(self, block: _Block) -> None:
        for i, line in enumerate(block.lines):
            if _PLACE.search(line):
                block.lines[i] = _PLACE.sub(self._place, line)
                self.next += 1

    def _place(self, match: re.Match) -> str:
        return f"{match['call']}i32 {self.next}{match['empty'] or ', '}"


def number_places(text: str) -> str:
    """Pass its place to every call of an optimised module that lanes meet at."""
    if not _PLACE.search(text):
        return text
    out: list[str] = []
    lines = text.split("\n")
    declared = False
    place = i = 0
    while i < len(lines):
        line = lines[i]
        i += 1
        if line.startswith("declare "):
            declared = declared or _MEET in line
            line = _PLACE.sub(lambda m: f"{m['call']}i32{m['empty'] or ', '}", line)
        out.append(line)
        if line.startswith("define "):
            end = lines.index("}", i)
            blocks = _blocks(lines[i:end])
            numbering = _Numbering(blocks, place)
            numbering.order(list(blocks), {n: b.successors for n, b in blocks.items()})
            place = numbering.next
            for block in blocks.values():
                out += [*block.lines, *block.tail]
            i = end
    if not declared:
        out.append(f"declare void {_MEET}i32) nounwind convergent")
    return "\n".join(out) + "\n"
