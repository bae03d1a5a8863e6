"""Which values of a kernel for the host have a base and steps (lane_values.py).

Most addresses are of this kind. The vectoriser keeps their base as a scalar and knows the rest when
it compiles, so that memory is read in runs instead of lane by lane. Which values vary at all is
known before (divergence.py); of those that do not, nothing else is, so that how a base is aligned
is asked for where a mask or a shift needs it (integer_ranges.py).
"""

from __future__ import annotations

import re
from dataclasses import replace

from attnproto import _core
from attnproto.compiler.ir.cfg import Flow
from attnproto.compiler.ir.instruction import BINARY, Instruction
from attnproto.compiler.ir.runtime_calls import runtime_call
from attnproto.compiler.ir.types import (
    Unsupported,
    elements_of,
    is_struct,
    member_of,
    offset_of,
    size_of,
)

from .divergence import INDEX as INDEX_IN_THREADGROUP
from .divergence import LANE, POSITION, Divergence, leaves
from .integer_ranges import Ranges
from .lane_values import (
    DIVIDES,
    INDEX,
    LANES,
    UNIFORM,
    LaneValue,
    add,
    bits_of,
    bitwise,
    choose,
    compare,
    divide,
    evaluate,
    exactly,
    is_whole,
    literal,
    number,
    scale,
    stands_apart,
    subtract,
    times,
    truncate,
    widen,
    wrap,
)

# By what the table of runtime calls says of their results.
_OF_CALLS = {
    "": None,
    "index": exactly(INDEX),
    "element": LaneValue(tuple(4 * lane for lane in range(LANES))),  # of 4 bytes
}


# How names begin that passes/transpose_locals.py gives; a variable's ends in its lanes' distance.
TRANSPOSED = "%attn.transposed."
_STRIDE = re.compile(rf"{re.escape(TRANSPOSED)}\d+\.by(\d)")
_UNCHANGED = ("freeze", "inttoptr", "ptrtoint", "addrspacecast", "bitcast")


class Offsets:
    """Finds the values of a function that have an offset."""

    def __init__(self, flow: Flow, divergence: Divergence):
        self._flow = flow
        self._divergence = divergence
        self._values: dict[str, LaneValue | None] = {}
        self.definitions: dict[str, Instruction] = {}
        for name in flow.order:
            block = flow.blocks[name]
            self.definitions |= {i.name: i for i in (*block.phis, *block.body) if i.name}
        self.ranges = Ranges(divergence, self.definitions, self.of)
        self._refuted: set[str] = set()
        while not self._settle():
            pass

    def of(self, value: str) -> LaneValue | None:
        """Offset of an operand: UNIFORM if it does not vary, None if nothing is known."""
        if value in self._divergence.values:
            return self._values.get(value)
        return UNIFORM

    def _settle(self) -> bool:
        """One round; phis are believed until a loop contradicts them."""
        self._values = {}
        argument = next(iter(n for n, at in self._divergence.fields.items() if at == 0))
        self._values[argument] = LaneValue(tuple(_core.LANE_BYTES * k for k in range(LANES)))
        for name in self._flow.order:
            block = self._flow.blocks[name]
            for phi in block.phis:
                if phi.name in self._divergence.values:
                    self._values[phi.name] = self._phi(phi, name)
            for instruction in block.body:
                if instruction.name in self._divergence.values:
                    self._values[instruction.name] = self._instruction(instruction)
        before = len(self._refuted)
        for name in self._flow.order:
            for phi in self._flow.blocks[name].phis:
                believed = self._values.get(phi.name)
                if believed and any(self._incoming(v) != believed for _, v in phi.operands):
                    self._refuted.add(phi.name)
        return len(self._refuted) == before

    def _incoming(self, value: str) -> LaneValue | None:
        known = self.of(value)
        return _with_base(known) if known else None

    def _phi(self, phi: Instruction, block: str) -> LaneValue | None:
        if (
            phi.name in self._refuted
            or not is_whole(phi.type)
            or block in self._divergence.joins
            or leaves(self._flow, self._divergence, phi, block)
        ):
            return None
        known = [v for _, v in phi.operands if v in self._values or self.of(v) is UNIFORM]
        return self._incoming(known[0]) if known else None

    def _instruction(self, instruction: Instruction) -> LaneValue | None:
        op = instruction.op
        if op == "load":
            at = self._divergence.fields.get(instruction.operands[0][1])
            if at in (POSITION, INDEX_IN_THREADGROUP):
                return LaneValue(INDEX)
            return exactly(INDEX) if at == LANE else None
        if op == "call":
            known = runtime_call(instruction.callee)
            return _OF_CALLS[known.steps] if known else None
        if op == "alloca":
            stride = lane_stride(instruction)
            return LaneValue(tuple(stride * k for k in range(LANES)))
        if op == "getelementptr":
            return self._address(instruction)
        if not is_whole(instruction.type):
            return None
        operands = [self.of(v) for _, v in instruction.operands]
        if op == "select":
            return self._select(instruction, operands)
        if not all(operands) or not all(is_whole(t) for t, _ in instruction.operands):
            return None
        if op in _UNCHANGED:
            return _with_base(operands[0])
        values = [self._value(v) for _, v in instruction.operands]
        if all(v.exact for v in values):
            return self._evaluate(instruction, values)
        if op in ("zext", "sext"):
            nonnegative = "nneg" in instruction.flags
            return self.extended(op, *instruction.operands[0], instruction.type, nonnegative)
        if op == "trunc":
            return truncate(operands[0], instruction.operands[0][0], instruction.type)
        return self._arithmetic(instruction, operands)

    def _value(self, operand: str) -> LaneValue | None:
        """An operand's value, where a constant is one too."""
        constant = literal(operand)
        return self.of(operand) if constant is None else number(constant)

    @staticmethod
    def _evaluate(instruction: Instruction, values: list[LaneValue]) -> LaneValue | None:
        kind = instruction.operands[0][0]
        if kind.startswith("ptr"):
            return None
        bits = bits_of(kind)
        if instruction.op == "icmp":
            return compare(instruction.predicate, *values, bits)
        if instruction.op in ("zext", "sext"):
            return widen(instruction.op, values[0], bits)
        if instruction.op == "trunc":
            return truncate(values[0], kind, instruction.type)
        return evaluate(instruction.op, *values, bits) if instruction.op in BINARY else None

    def _select(
        self, instruction: Instruction, operands: list[LaneValue | None]
    ) -> LaneValue | None:
        condition, a, b = operands
        if not a or not b:
            return None
        chosen = choose(condition, *(self._value(v) for _, v in instruction.operands[1:]))
        if chosen or instruction.operands[0][1] in self._divergence.values:
            return chosen
        return _with_base(a) if _with_base(a) == _with_base(b) else None

    def _arithmetic(self, instruction: Instruction, operands: list[LaneValue]) -> LaneValue | None:
        a, b = operands
        op, bits = instruction.op, bits_of(instruction.type)
        by = literal(instruction.operands[1][1])
        if op == "add" or (op == "or" and "disjoint" in instruction.flags):
            return add(a, b, bits)
        if op == "sub":
            return subtract(a, b, bits)
        if op == "shl" and by is not None:
            return _scaled(a, 1 << by, bits)
        if op == "mul":
            return self._product(instruction, a, b, bits)
        if by is None or a.terms:
            return None
        a = self._bounded(instruction.operands[0][1], a, instruction.type)
        if op in ("and", "or", "xor"):
            return bitwise(op, a, number(by), bits)
        # What is left may be a comparison, which no division stands for.
        return divide(op, a, by) if op in DIVIDES and by > 0 and min(a.steps) == 0 else None

    @staticmethod
    def _product(
        instruction: Instruction, a: LaneValue, b: LaneValue, bits: int
    ) -> LaneValue | None:
        (_, first), (_, second) = instruction.operands
        for this, other, name in ((a, b, second), (b, a, first)):
            factor = literal(name)
            if other is UNIFORM and factor is not None:
                return _scaled(this, factor, bits)
            if other is UNIFORM and not this.terms:
                return times(this, name)
        return None

    def _bounded(self, operand: str, value: LaneValue, kind: str) -> LaneValue:
        """A value with what its range tells: how its base is aligned, and that it is a sum."""
        multiple = value.multiple if value.exact else 1 << min(self.ranges.base_zeros(operand), 61)
        low, _ = self.ranges.of(operand, kind)
        return replace(value, multiple=multiple, wraps=low < 0)

    def fields(self, instruction: Instruction) -> int | None:
        """Width of the field of low bits in which a varying value's steps stand alone."""
        kind, operand = instruction.operands[0]
        value = self.of(operand)
        if value is None or not stands_apart(self._bounded(operand, value, kind)):
            return None
        return max(value.steps).bit_length()

    def _address(self, instruction: Instruction) -> LaneValue | None:
        total = self.of(instruction.operands[0][1])
        try:
            steps = index_steps(instruction)
        except Unsupported:
            return None
        for (kind, value), (size, _) in zip(instruction.operands[1:], steps, strict=True):
            if total is None:
                return None
            index = self.of(value)
            if index and bits_of(kind) < 64:
                index = self.extended("sext", kind, value, "i64", False)
            total = add(total, _scaled(index, size, 64), 64) if index else None
        return _with_base(total) if total else None

    def extended(
        self, cast: str, kind: str, value: str, to: str, nonnegative: bool
    ) -> LaneValue | None:
        """A value made wider, if that is its parts made wider (see ``way``)."""
        known = self.of(value)
        if known is None or known is UNIFORM:
            return known
        if known.exact:
            return widen(cast, known, bits_of(kind))
        way = self.way(cast, kind, value, nonnegative)
        if way is None:
            return None
        if way == "narrow":
            return LaneValue(known.steps)
        instruction, cast = self.definitions[value], way
        bits = bits_of(to)
        inner = instruction.operands[0]
        if instruction.op in ("sext", "zext"):
            return self.extended(instruction.op, *inner, to, "nneg" in instruction.flags)
        if instruction.op == "trunc":
            return self._resized(*inner, to)
        a = self.extended(cast, *inner, to, False)
        if instruction.op == "shl":
            return _scaled(a, 1 << literal(instruction.operands[1][1]), bits)
        b = self.extended(cast, *instruction.operands[1], to, False)
        if a is None or b is None:
            return None
        if instruction.op in ("add", "or"):
            return add(a, b, bits)
        if instruction.op == "sub":
            return subtract(a, b, bits)
        for this, other, (_, v) in ((a, b, instruction.operands[1]), (b, a, inner)):
            factor = literal(v)
            if other is UNIFORM and factor is not None:
                factor = wrap(factor, bits_of(kind))
                if cast == "zext":
                    factor &= (1 << bits_of(kind)) - 1
                return _scaled(this, factor, bits)
            if other is UNIFORM and not this.terms:
                return times(this, (cast, to, kind, v))
        return None

    def _resized(self, kind: str, value: str, to: str) -> LaneValue | None:
        """A signed number in another width that holds it too."""
        if bits_of(to) > bits_of(kind):
            return self.extended("sext", kind, value, to, False)
        known = self.of(value)
        if bits_of(to) == bits_of(kind) or not known:
            return known
        return None

    def way(self, cast: str, kind: str, value: str, nonnegative: bool) -> str | None:
        """How a varying value is made wider: its operands by a cast, or its "narrow" base.

        The sum of the operands made wider is right where the operation cannot overflow. A
        base that some lane has as its value can be made wider as it is.
        """
        low, high = self.ranges.of(value, kind)
        proven = -(1 << (bits_of(kind) - 1)) < low and high < (1 << (bits_of(kind) - 1)) - 1
        if nonnegative or (proven and low >= 0):
            cast = "sext"
        instruction = self.definitions.get(value)
        known = self.of(value)
        if instruction and instruction.op in ("add", "sub", "mul", "shl", "or"):
            flag = "nsw" if cast == "sext" else "nuw"
            safe = (
                flag in instruction.flags
                or "disjoint" in instruction.flags
                or (proven and cast == "sext")
            )
            if instruction.op == "shl" and literal(instruction.operands[1][1]) is None:
                safe = False
            if safe:
                return cast
        if (
            instruction
            and instruction.op in ("sext", "zext")
            and (instruction.op == cast or cast == "sext")
        ):
            return cast
        if instruction and instruction.op == "trunc" and proven and cast == "sext":
            inner_kind, inner = instruction.operands[0]
            a, b = self.ranges.of(inner, inner_kind)
            half = 1 << (bits_of(kind) - 1)
            if "nsw" in instruction.flags or (-half <= a and b < half):
                return cast
        if proven and cast == "sext" and known and not known.terms and min(known.steps) == 0:
            return "narrow"
        return None


def _with_base(value: LaneValue) -> LaneValue:
    """A value whose base is worked out when the kernel runs, though it may be zero."""
    return LaneValue(value.steps, value.terms)


def _scaled(value: LaneValue | None, factor: int, bits: int) -> LaneValue | None:
    """A multiple; what does not vary stays that."""
    return value if value is None or value is UNIFORM else scale(value, factor, bits)


def private_bytes(instruction: Instruction) -> int:
    """Bytes of a local variable that one lane has, so that all lanes' are aligned."""
    return (size_of(instruction.element) + 15) // 16 * 16


def lane_stride(instruction: Instruction) -> int:
    """Bytes from a lane's local variable to the next lane's.

    A variable that passes/transpose_locals.py has transposed says it by its name.
    """
    transposed = _STRIDE.fullmatch(instruction.name)
    return int(transposed[1]) if transposed else private_bytes(instruction)


def index_steps(instruction: Instruction) -> list[tuple[int, int]]:
    """Of each index of an address: bytes that it counts, and those before a struct's member.

    Raises:
        Unsupported: a type has only a name here.
    """
    steps, kind = [(size_of(instruction.element), 0)], instruction.element
    for _, index in instruction.operands[2:]:
        if is_struct(kind):
            member = int(index)
            steps.append((0, offset_of(kind, member)))
            kind = member_of(kind, member)
        else:
            kind = elements_of(kind)[1]
            steps.append((size_of(kind), 0))
    return steps
