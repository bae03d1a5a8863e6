"""bfloat as 16-bit integers, for processors that know no such number.

Without instructions of its own for bfloat an x86-64 processor gets calls of the compiler's library,
which a loaded kernel does not find, and even shuffles go through float; the instruction that
rounds, where there is one, takes denormal numbers for zero. So every processor has the same here,
put in after the operations were counted: what computes is computed in float and rounded to nearest,
ties to even, NaNs made quiet.
"""

from __future__ import annotations

import re

from attnproto.compiler.ir.function import Function, map_functions
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.types import Unreadable, element_of

_NUMBER = "bfloat"
_FUNCTION = re.compile(r"@llvm\.(\w+)\.(v\d+)?bf16")
# What moves numbers and looks at none; functions of the module take and return them.
_MOVES = frozenset((
    "load", "store", "alloca", "getelementptr", "phi", "select", "freeze", "bitcast", "ret",
    "extractelement", "insertelement", "shufflevector", "extractvalue", "insertvalue",
))  # fmt: skip
_TYPE = re.compile(r"(?<![\w.$@%-])bfloat(?![\w.$-])")
_STRING = re.compile(r'^@\S+ = .*\] c"')  # a line of the text, say, which may name the type
_CONSTANT = re.compile(r"\b0xR([0-9A-Fa-f]{4})\b")
_COMPUTE = ("fneg", "fadd", "fsub", "fmul", "fdiv", "frem", "fcmp")
# Lines that widen %x, and that round %x, to %result.
_WIDENING = """\
  %wide = zext {i16} %x to {i32}
  %bits = shl {i32} %wide, {sixteen}
  %result = bitcast {i32} %bits to {float}"""
_ROUNDING = """\
  %bits = bitcast {float} %x to {i32}
  %high = lshr {i32} %bits, {sixteen}
  %odd = and {i32} %high, {one}
  %bias = add {i32} %odd, {half}
  %near = add {i32} %bits, %bias
  %none = fcmp uno {float} %x, zeroinitializer
  %quiet = or {i32} %bits, {quiet}
  %chosen = select {i1} %none, {i32} %quiet, {i32} %near
  %shifted = lshr {i32} %chosen, {sixteen}
  %result = trunc {i32} %shifted to {i16}"""


def lower(text: str) -> str:
    """Rewrite an optimised module that computes with bfloat to one that does not.

    Args:
        text: the module, its matrix operations in batches.

    Returns:
        A module without the type; functions that took or returned one have i16.
    """
    if "bfloat" not in text or not _TYPE.search(text):
        return text
    writer = _Writer()
    lines = [
        line
        for line in map_functions(text, writer.function).split("\n")
        if not (line.startswith("declare ") and "bf16(" in line)
    ]
    return "\n".join([*map(_as_integers, lines), *writer.declarations(text)]) + "\n"


def _as_integers(line: str) -> str:
    if _STRING.match(line):
        return line
    line = _TYPE.sub("i16", line)
    return _CONSTANT.sub(lambda match: str(int(match[1], 16)), line)


class _Writer:
    """Rewrites instructions, and keeps what it then needs."""

    def __init__(self) -> None:
        self.serial = 0
        self.called: dict[str, str] = {}  # intrinsics by name, as they are declared

    def function(self, lines: list[str]) -> list[str]:
        """A function's lines without arithmetic on the type."""
        if not any(_NUMBER in line for line in lines):
            return lines
        function = Function(lines)
        for instruction in function.instructions:
            if _TYPE.search(instruction.text):  # a symbol may be called so, too
                instruction.output = "\n".join(self._instruction(instruction))
        return function.lines()

    def _instruction(self, instruction: Instruction) -> list[str]:
        op, kind = instruction.op, instruction.operands[0][0] if instruction.operands else ""
        if op in ("fpext", "fptosi", "fptoui") and element_of(kind) == _NUMBER:
            return self._from(instruction, kind)
        if op in ("fptrunc", "sitofp", "uitofp") and element_of(instruction.type) == _NUMBER:
            return self._to(instruction)
        if op in _COMPUTE and element_of(kind) == _NUMBER:
            return self._compute(instruction, kind)
        if op == "call" and instruction.callee.startswith("@llvm."):
            return self._call(instruction)
        if op in _MOVES or op == "call":
            return [instruction.text]
        raise Unreadable(f"an operation on bfloat that has no other form: {instruction.text}")

    def _from(self, cast: Instruction, kind: str) -> list[str]:
        value, wide = cast.operands[0][1], _like(kind, "float")
        if cast.op == "fpext" and cast.type == wide:
            return self._inline(_WIDENING, kind, value, cast.name)
        own = self._fresh()
        lines = self._inline(_WIDENING, kind, value, own)
        return [*lines, f"  {cast.name} = {cast.op} {wide} {own} to {cast.type}"]

    def _to(self, cast: Instruction) -> list[str]:
        source, value = cast.operands[0]
        wide = _like(cast.type, "float")
        if cast.op == "fptrunc" and source == wide:
            return self._inline(_ROUNDING, cast.type, value, cast.name)
        rounded = f"{cast.op} {_flags(cast)}{source} {value} to {wide}"
        return self._rounded(cast.type, rounded, cast.name)

    def _compute(self, operation: Instruction, kind: str) -> list[str]:
        lines, values = self._widened(kind, [value for _, value in operation.operands])
        predicate = operation.predicate and f"{operation.predicate} "
        wide = f"{_flags(operation)}{predicate}{_like(kind, 'float')}"
        computed = f"{operation.op} {wide} {', '.join(values)}"
        if operation.op == "fcmp":
            return [*lines, f"  {operation.name} = {computed}"]
        return [*lines, *self._rounded(kind, computed, operation.name)]

    def _call(self, call: Instruction) -> list[str]:
        kind, match = call.type, _FUNCTION.fullmatch(call.callee)
        if not match or any(operand != kind for operand, _ in call.operands):
            raise Unreadable(f"a function of bfloat that has no other form: {call.text}")
        wide = _like(kind, "float")
        lines, values = self._widened(kind, [value for _, value in call.operands])
        function = f"llvm.{match[1]}.{match[2] or ''}f32"
        self.called[function] = f"declare {wide} @{function}({', '.join([wide] * len(values))})"
        arguments = ", ".join(f"{wide} {value}" for value in values)
        computed = f"call {_flags(call)}{wide} @{function}({arguments})"
        return [*lines, *self._rounded(kind, computed, call.name)]

    def _widened(self, kind: str, given: list[str]) -> tuple[list[str], list[str]]:
        names = [self._fresh() for _ in given]
        pairs = zip(given, names, strict=True)
        return [line for x, to in pairs for line in self._inline(_WIDENING, kind, x, to)], names

    def _rounded(self, kind: str, computed: str, name: str) -> list[str]:
        own = self._fresh()
        return [f"  {own} = {computed}", *self._inline(_ROUNDING, kind, own, name)]

    def _fresh(self) -> str:
        self.serial += 1
        return f"%attn.bfloat.{self.serial}"

    def _inline(self, lines: str, kind: str, x: str, result: str) -> list[str]:
        def constant(n: int) -> str:
            return str(n) if kind == "bfloat" else f"splat (i32 {n})"

        filled = lines.format(
            sixteen=constant(16), one=constant(1), half=constant(0x7FFF), quiet=constant(0x400000),
            **{scalar: _like(kind, scalar) for scalar in ("float", "i1", "i16", "i32")},
        )  # fmt: skip
        own = self._fresh()

        def named(match: re.Match) -> str:
            return {"x": x, "result": result}.get(match[1], f"{own}.{match[1]}")

        return re.sub(r"%(\w+)", named, filled).split("\n")

    def declarations(self, text: str) -> list[str]:
        return [
            declared
            for name, declared in sorted(self.called.items())
            if not re.search(rf"^declare .*@{re.escape(name)}\(", text, re.M)
        ]


def _flags(instruction: Instruction) -> str:
    """What an instruction may take for granted; of a call also how it is made, which goes."""
    return "".join(f"{flag} " for flag in instruction.flags if flag != "tail")


def _like(kind: str, scalar: str) -> str:
    return kind.replace("bfloat", scalar)
