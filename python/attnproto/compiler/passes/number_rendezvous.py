"""Number the rendezvous of a simdgroup's lanes, so that the engine knows which lanes go first.

A collective is executed for the lanes that wait for it together. Which ones those are
must follow from the kernel's control flow, not from where a compiler happened to put
the code. So every convergent call of the engine, a rendezvous, gets a number, and the
numbers rise along every path through the function except back to the head of a loop:
where lanes wait at several rendezvous, those at the lowest are behind, and they go first.

Along a loop's back edge the numbers fall, and a lane that skipped a branch could be an
iteration ahead of one still inside it. A rendezvous that every iteration passes last keeps
them in step; a loop that has some, but no such one, gets one at the end of its iteration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from attnproto.compiler.ir.function import Block, Function, map_functions
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.runtime_calls import PREFIX, declaration, runtime_call

_SYMBOL = re.compile(rf"{PREFIX}\w+(?=\()")
_DECLARED = re.compile(rf"^declare .*?({_SYMBOL.pattern})", re.M)
_BARRIER = f"{PREFIX}simdgroup_barrier"


def _convergent(symbol: str) -> bool:
    known = runtime_call(symbol)
    return known is not None and known.convergent


def _is_rendezvous(instruction: Instruction) -> bool:
    """Whether lanes wait for each other at an instruction."""
    is_ours = PREFIX in instruction.text and instruction.op == "call"
    return is_ours and _convergent(instruction.callee)


def _with_first(text: str, symbol: str, argument: str) -> str:
    """A call or declaration of a function with one more argument, before the others."""
    begin = text.index(f"{symbol}(") + len(symbol) + 1
    separator = "" if text[begin] == ")" else ", "
    return f"{text[:begin]}{argument}{separator}{text[begin:]}"


def _components(nodes: list[str], edges: dict[str, list[str]]) -> list[list[str]]:
    """Strongly connected components, each before those it leads to (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    open_: set[str] = set()
    components: list[list[str]] = []
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
                    components.append(stack[at:])
                    open_.difference_update(stack[at:])
                    del stack[at:]
    return components[::-1]


def _head(inside: list[str], nodes: list[str], edges: dict[str, list[str]]) -> str:
    """The block that a loop is entered at."""
    members = set(inside)
    entered = {b for a in nodes if a not in members for b in edges[a] if b in members}
    return next((n for n in inside if n in entered), inside[0])


def _iteration(inside: list[str], edges: dict[str, list[str]], head: str) -> dict[str, list[str]]:
    """The edges of one iteration of a loop."""
    members = set(inside)
    return {n: [m for m in edges[n] if m in members and m != head] for n in inside}


def loop_nest(function: Function) -> list[tuple[Block, tuple[str, ...]]]:
    """A function's blocks, in an order that rises along every path but a loop's.

    Returns:
        Each block with the names of the heads of the loops around it, outermost first.
    """
    ordered: list[tuple[Block, tuple[str, ...]]] = []

    def walk(nodes: list[str], edges: dict[str, list[str]], around: tuple[str, ...]) -> None:
        for component in _components(nodes, edges):
            if len(component) == 1 and component[0] not in edges[component[0]]:
                ordered.append((function.blocks[component[0]], around))
            else:
                head = _head(component, nodes, edges)
                walk(component, _iteration(component, edges, head), (*around, head))

    walk(list(function.blocks), {n: b.successors for n, b in function.blocks.items()}, ())
    return ordered


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
    """Numbers rendezvous, function after function; ``waiting`` are the blocks that have any."""

    blocks: dict[str, Block] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    next: int = 0

    def function(self, lines: list[str]) -> list[str]:
        """A function's lines, its rendezvous numbered."""
        function = Function(lines)
        self.blocks = function.blocks
        self.waiting = {
            instruction.block
            for instruction in function.instructions
            if _is_rendezvous(instruction)
        }
        self.order(list(self.blocks), {n: b.successors for n, b in self.blocks.items()})
        return function.lines()

    def order(self, nodes: list[str], edges: dict[str, list[str]]) -> list[str]:
        """The nodes in the order of their numbers, which are given on the way."""
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
        iteration = _iteration(inside, edges, head)
        ends = [n for n in inside if head in edges[n]]
        ordered = self.order(inside, iteration)
        if not self._in_step(ordered, head, iteration, ends):
            for end in ends:
                barrier = Instruction(f"  call void {_BARRIER}(i32 {self.next})")
                self.blocks[end].body.append(barrier)
                self.waiting.add(end)
            self.next += 1
        return ordered

    def _in_step(
        self, ordered: list[str], head: str, iteration: dict[str, list[str]], ends: list[str]
    ) -> bool:
        """Whether every lane passes an iteration's last rendezvous, if it has any, once."""
        last = next((n for n in reversed(ordered) if n in self.waiting), None)
        if last is None:
            return True
        skipped = _reached([head], iteration, without=last)
        repeated = _reached(iteration[last], iteration, without="")
        return not skipped.intersection(ends) and last not in repeated

    def _number(self, block: Block) -> None:
        if block.name in self.waiting:
            for call in filter(_is_rendezvous, block.body):
                call.output = _with_first(call.text, call.callee, f"i32 {self.next}")
                self.next += 1


def number_rendezvous(text: str) -> str:
    """Pass its number to every rendezvous of an optimised module."""
    if not any(map(_convergent, set(_SYMBOL.findall(text)))):
        return text
    lines = map_functions(text, _Numbering().function).split("\n")
    for number, line in enumerate(lines):
        declared = _DECLARED.match(line)
        if declared and _convergent(declared[1]):
            lines[number] = _with_first(line, declared[1], "i32")
    if not any(_DECLARED.match(line) and f"{_BARRIER}(" in line for line in lines):
        lines.append(declaration(_BARRIER))
    return "\n".join(lines) + "\n"
