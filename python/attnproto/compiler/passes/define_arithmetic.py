"""Give a value to what C++ leaves undefined and Metal does not end a process for.

Integer division (MSL 3.1, 3.1: where the divisor is zero, or the quotient does not fit its type,
"an unspecified value" and no exception): here it is what arm64 computes, on every engine and
processor. x / 0 is 0, x % 0 is x, MIN / -1 is MIN and MIN % -1 is 0.

Calls: a function that calls itself has its depth watched, so that it ends before the lane's stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attnproto.compiler.analysis.lane_values import bits_of
from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.function import Function, map_functions
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.runtime_calls import BAD_DIVISION, CHECK_DEPTH, declaration, is_entry
from attnproto.compiler.ir.types import elements_of

_DIVISIONS = ("udiv", "sdiv", "urem", "srem")
_MAY_DIVIDE = re.compile("[us](?:div|rem) ")
_PLAIN = re.compile(r"[1-9]\d*$")
_DEBUG = re.compile(r", !dbg !\d+")


def define_divisions(text: str, *, report: bool = False) -> str:
    """IR before optimisation, with a value for every integer division.

    Args:
        text: the IR.
        report: whether a division without one in C++ calls ``BAD_DIVISION`` with true.
    """
    vectors: set[int] = set()
    count = 0

    def defined(lines: list[str]) -> list[str]:
        nonlocal count
        if not _MAY_DIVIDE.search("\n".join(lines)):
            return lines
        function = Function(lines)
        for division in function.instructions:
            if not _MAY_DIVIDE.search(division.text) or division.op not in _DIVISIONS:
                continue
            if not _PLAIN.match(division.operands[1][1]):
                count += 1
                division.output = "\n".join(_defined(division, f"%attn.d.{count}", report, vectors))
        return function.lines()

    text = map_functions(text, defined)
    if report and count:
        text += f"\n{declaration(BAD_DIVISION)}\n"
        text += "".join(
            f"declare i1 @llvm.vector.reduce.or.v{n}i1(<{n} x i1>)\n" for n in sorted(vectors)
        )
    return text


def _defined(division: Instruction, fresh: str, report: bool, vectors: set[int]) -> Iterator[str]:
    kind, tail = division.type, division.metadata
    (_, a), (_, b) = division.operands
    count, element = elements_of(kind)
    lanes = count if element != kind else 0
    width = bits_of(element)
    bit = f"<{lanes} x i1>" if lanes else "i1"

    def constant(n: int) -> str:
        return f"splat (i{width} {n})" if lanes else str(n)

    # Of a value that was never assigned, every use would be another.
    yield f"  {fresh}.a = freeze {kind} {a}{tail}"
    yield f"  {fresh}.b = freeze {kind} {b}{tail}"
    yield f"  {fresh}.zero = icmp eq {kind} {fresh}.b, {constant(0)}{tail}"
    bad = f"{fresh}.zero"
    if division.op[0] == "s":
        least = constant(-(2 ** (width - 1)))
        yield f"  {fresh}.least = icmp eq {kind} {fresh}.a, {least}{tail}"
        yield f"  {fresh}.minus = icmp eq {kind} {fresh}.b, {constant(-1)}{tail}"
        yield f"  {fresh}.over = and {bit} {fresh}.least, {fresh}.minus{tail}"
        yield f"  {fresh}.bad = or {bit} {fresh}.zero, {fresh}.over{tail}"
        bad = f"{fresh}.bad"
    if report:
        judged = bad
        if lanes:
            vectors.add(lanes)
            judged = f"{fresh}.some"
            yield f"  {judged} = call i1 @llvm.vector.reduce.or.v{lanes}i1({bit} {bad}){tail}"
        yield f"  call void {BAD_DIVISION}(i1 {judged}){tail}"
    yield f"  {fresh}.by = select {bit} {bad}, {kind} {constant(1)}, {kind} {fresh}.b{tail}"
    operation = f"{division.op} {kind} {fresh}.a, {fresh}.by"
    yield f"  {fresh}.found = {operation}{tail}"
    instead = constant(0) if division.op.endswith("div") else f"{fresh}.a"
    chosen = f"select {bit} {fresh}.zero, {kind} {instead}, {kind} {fresh}.found"
    yield f"  {division.name} = {chosen}{tail}"


def watch_depths(text: str) -> str:
    """An optimised module whose functions ask for room, where any may call itself."""
    module = ir.split(text)
    called = {
        symbol: set(ir.symbols(body.split("\n", 1)[1])) & module.functions.keys()
        for symbol, body in module.functions.items()
    }
    if not any(_reaches(called, symbol, symbol) for symbol in called):
        return text
    for symbol, body in module.functions.items():
        if is_entry(symbol[1:]):
            continue
        function = Function(body.split("\n"))
        first, debug = function.instructions[0], _DEBUG.search(body)
        first.output = f"  call void {CHECK_DEPTH}(){debug[0] if debug else ''}\n{first.text}"
        module.functions[symbol] = "\n".join(function.lines())
    return f"{module.text()}{declaration(CHECK_DEPTH)}\n"


def _reaches(called: dict[str, set[str]], begin: str, wanted: str) -> bool:
    seen: set[str] = set()
    todo = list(called[begin])
    while todo:
        symbol = todo.pop()
        if symbol == wanted:
            return True
        if symbol not in seen:
            seen.add(symbol)
            todo += called[symbol]
    return False
