"""Give a value to what C++ leaves undefined and Metal does not end a process for.

Integer division (MSL 3.1, 3.1: where the divisor is zero, or the quotient does not fit its type,
"an unspecified value" and no exception): here it is what arm64 computes, on every engine and
processor. x / 0 is 0, x % 0 is x, MIN / -1 is MIN and MIN % -1 is 0.

Calls: a function that calls itself has its depth watched, so that it ends before the lane's stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.runtime_calls import BAD_DIVISION, CHECK_DEPTH, declaration, is_entry

_DIVISION = re.compile(
    r"^  (?P<name>%\S+) = (?P<signed>[su])(?P<op>div|rem) (?:exact )?"
    r"(?P<type><\d+ x i\d+>|i\d+) (?P<operands>.*?)(?P<tail>(?:, ![a-z.]+ !\d+)*)$",
    re.M,
)
_PLAIN = re.compile(r"[1-9]\d*$")
_DEBUG = re.compile(r", !dbg !\d+")


def divisions(text: str, *, report: bool = False) -> str:
    """IR before optimisation, with a value for every integer division.

    Args:
        text: the IR.
        report: whether a division without one in C++ calls ``BAD_DIVISION`` with true.
    """
    vectors: set[int] = set()
    count = 0

    def defined(match: re.Match) -> str:
        nonlocal count
        a, b = _two(match["operands"])
        if _PLAIN.match(b):
            return match[0]
        count += 1
        return "\n".join(_defined(match, a, b, f"%attn.d.{count}", report, vectors))

    text = _DIVISION.sub(defined, text)
    if report and count:
        text += f"\n{declaration(BAD_DIVISION)}\n"
        text += "".join(
            f"declare i1 @llvm.vector.reduce.or.v{n}i1(<{n} x i1>)\n" for n in sorted(vectors)
        )
    return text


def _defined(
    match: re.Match, a: str, b: str, fresh: str, report: bool, vectors: set[int]
) -> Iterator[str]:
    kind, tail = match["type"], match["tail"]
    lanes = int(kind[1:].split()[0]) if kind[0] == "<" else 0
    width = int(kind.rstrip(">").rsplit("i", 1)[1])
    bit = f"<{lanes} x i1>" if lanes else "i1"

    def constant(n: int) -> str:
        return f"splat (i{width} {n})" if lanes else str(n)

    # Of a value that was never assigned, every use would be another.
    yield f"  {fresh}.a = freeze {kind} {a}{tail}"
    yield f"  {fresh}.b = freeze {kind} {b}{tail}"
    yield f"  {fresh}.zero = icmp eq {kind} {fresh}.b, {constant(0)}{tail}"
    bad = f"{fresh}.zero"
    if match["signed"] == "s":
        least = constant(-(2 ** (width - 1)))
        yield f"  {fresh}.least = icmp eq {kind} {fresh}.a, {least}{tail}"
        yield f"  {fresh}.minus = icmp eq {kind} {fresh}.b, {constant(-1)}{tail}"
        yield f"  {fresh}.over = and {bit} {fresh}.least, {fresh}.minus{tail}"
        yield f"  {fresh}.bad = or {bit} {fresh}.zero, {fresh}.over{tail}"
        bad = f"{fresh}.bad"
    if report:
        told = bad
        if lanes:
            vectors.add(lanes)
            told = f"{fresh}.some"
            yield f"  {told} = call i1 @llvm.vector.reduce.or.v{lanes}i1({bit} {bad}){tail}"
        yield f"  call void {BAD_DIVISION}(i1 {told}){tail}"
    yield f"  {fresh}.by = select {bit} {bad}, {kind} {constant(1)}, {kind} {fresh}.b{tail}"
    operation = f"{match['signed']}{match['op']} {kind} {fresh}.a, {fresh}.by"
    yield f"  {fresh}.found = {operation}{tail}"
    instead = constant(0) if match["op"] == "div" else f"{fresh}.a"
    chosen = f"select {bit} {fresh}.zero, {kind} {instead}, {kind} {fresh}.found"
    yield f"  {match['name']} = {chosen}{tail}"


def _two(operands: str) -> tuple[str, str]:
    """The operands, which may be constants with commas of their own."""
    depth = 0
    for i, c in enumerate(operands):
        depth += (c in "<([{") - (c in ">)]}")
        if c == "," and not depth:
            return operands[:i], operands[i + 2 :]
    raise ValueError(operands)


def depths(text: str) -> str:
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
        head, *lines = body.split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith("  "))
        debug = _DEBUG.search(body)
        lines.insert(at, f"  call void {CHECK_DEPTH}(){debug[0] if debug else ''}")
        module.functions[symbol] = "\n".join([head, *lines])
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
