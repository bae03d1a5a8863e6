"""What a value is in each lane of a warp, in a kernel for an NVIDIA GPU.

Where the steps of two addresses are known, it is known which lane reads what, so that a lane can be
given an address that was another's (tensor_core/select_products.py). The analysis is optimistic
over loops (a value that only grows by uniform steps keeps its steps) and gives up on everything
else. Bases are followed through all operations: how they are aligned says whether a shift or a mask
leaves the steps whole.
"""

from __future__ import annotations

from attnproto import _core
from attnproto.compiler.ir.function import Block, Function, address, step_of
from attnproto.compiler.ir.instruction import BINARY, Instruction
from attnproto.compiler.ir.intrinsics import intrinsic
from attnproto.compiler.ir.runtime_calls import runtime_call

from . import lane_values
from .lane_values import INDEX, LANES, UNIFORM, ZERO, LaneValue

_SHORT = 3  # instructions of a block that only leaves
_CONVERSIONS = ("zext", "sext", "trunc", "inttoptr", "ptrtoint", "bitcast", "freeze")
_COMPUTING = frozenset((
    "icmp", "fcmp", "select", "extractvalue", "shufflevector", "fneg", "fadd", "fsub", "fmul",
    "fdiv", "frem", "fpext", "fptrunc", "sitofp", "uitofp", "fptosi", "fptoui", *_CONVERSIONS,
))  # fmt: skip
_PARAMETER_BYTES = _core.MAX_BUFFERS * 8  # the addresses of buffers lead the launch parameter


class LaneAnalysis:
    """The lanes of every name in a function.

    Args:
        function: optimised IR of a kernel for an NVIDIA GPU.
        buffer_alignment: bytes that divide the address of every buffer.
    """

    def __init__(self, function: Function, buffer_alignment: int):
        self._function = function
        self._alignment = buffer_alignment
        self.values: dict[str, LaneValue | None] = {}
        self._divergent: set[str] = set()
        self._users: dict[str, list[str]] = {name: [] for name in function.definitions}
        for name, instruction in function.definitions.items():
            for used in instruction.used:
                if used in self._users:
                    self._users[used].append(name)
        while True:
            self._solve()
            joins = self._joins()
            if joins <= self._divergent:
                return
            self._divergent |= joins

    def _solve(self) -> None:
        """A fixed point; names that are missing are yet to be reached."""
        self.values = {}
        definitions = self._function.definitions
        stale = set(definitions)  # what an operand changed of since it was looked at
        for _ in range(64):
            for name, instruction in definitions.items():
                if name not in stale:
                    continue
                stale.discard(name)
                before = self.values.get(name, _UNREACHED)
                value = None if before is None else self._evaluate(instruction)
                if value is _UNREACHED or value == before:
                    continue
                self.values[name] = value
                stale.update(self._users[name])
            if not stale:
                return
        self.values = dict.fromkeys(definitions)

    def _joins(self) -> set[str]:
        """Blocks that lanes may reach by different ways."""
        joins: set[str] = set()
        for block in self._function.blocks.values():
            if len(set(block.successors)) < 2:
                continue
            ways = [s for s in block.successors if not self._leaves(s)]
            if len(set(ways)) < 2 or self._uniform_branch(block):
                continue
            joins |= self._function.reachable(ways)
        return joins

    def _leaves(self, label: str) -> bool:
        block = self._function.blocks[label]
        return not block.successors and len(block.instructions) <= _SHORT

    def _uniform_branch(self, block: Block) -> bool:
        value = self.of(block.end.operands[0][1])
        return isinstance(value, LaneValue) and value.uniform

    def of(self, operand: str) -> LaneValue | None:
        """What an operand is in each lane."""
        if operand.lstrip("-").isdigit():
            return lane_values.number(int(operand))
        if operand in ("true", "false"):
            return lane_values.number(int(operand == "true"))
        if operand.startswith("@"):
            return _aligned(16)
        if operand.startswith("%"):
            return self.values.get(operand, _parameter(self._function, operand))
        return UNIFORM

    def _evaluate(self, instruction: Instruction) -> LaneValue | object | None:
        if instruction.op == "phi":
            return self._phi(instruction)
        if (instruction.op in BINARY and instruction.type[0] == "i") or step_of(instruction):
            a, b = (self._reached(value) for _, value in instruction.operands)
            if a is _UNREACHED or b is _UNREACHED:
                return _UNREACHED
            return None if a is None or b is None else _binary(instruction, a, b)
        if instruction.op in _CONVERSIONS and instruction.type[0] != "<":
            value = self._reached(instruction.operands[0][1])
            return value if value in (_UNREACHED, None) else _convert(value, instruction)
        return self._other(instruction)

    def _phi(self, instruction: Instruction) -> LaneValue | object | None:
        incoming = [value for _, value in instruction.operands]
        known = [v for v in map(self._reached, incoming) if v is not _UNREACHED]
        if not known:
            return _UNREACHED
        if any(v is None for v in known):
            return None
        if len(set(incoming)) > 1 and instruction.block in self._divergent:
            return None
        return lane_values.merge(known)

    def _reached(self, operand: str) -> LaneValue | object | None:
        if operand.startswith("%") and operand in self._function.definitions:
            return self.values.get(operand, _UNREACHED)
        return self.of(operand)

    def _other(self, instruction: Instruction) -> LaneValue | object | None:
        if instruction.op == "call":
            known = runtime_call(instruction.callee) or intrinsic(instruction.callee)
            if known is None:
                return None
            if known.steps == "index":
                return LaneValue(INDEX, multiple=LANES)
            if known.result == "uniform":
                return _aligned(known.alignment)
            if known.result != "operands":
                return None
        elif instruction.op == "load" and "atomic" not in instruction.flags:
            return self._load(instruction)
        elif instruction.op not in _COMPUTING:
            return None
        operands = [self._reached(value) for value in instruction.used]
        if any(o is _UNREACHED for o in operands):
            return _UNREACHED
        if all(isinstance(o, LaneValue) and o.uniform for o in operands):
            return UNIFORM
        return None

    def _load(self, instruction: Instruction) -> LaneValue | object | None:
        pointer = instruction.operands[0][1]
        place = self._reached(pointer)
        if not isinstance(place, LaneValue):
            return place
        if not place.uniform:
            return None
        (root, *terms), offset = address(self._function, pointer)
        parameter = root in self._function.parameters and not terms
        if parameter and instruction.type == "i64" and offset < _PARAMETER_BYTES:
            return _aligned(self._alignment)
        return UNIFORM


_UNREACHED = object()


def _aligned(multiple: int) -> LaneValue:
    return LaneValue(ZERO, multiple=multiple)


def _parameter(function: Function, operand: str) -> LaneValue | None:
    return _aligned(16) if operand in function.parameters else None


def _binary(instruction: Instruction, a: LaneValue, b: LaneValue) -> LaneValue | None:
    value = _computed(instruction, a, b)
    return UNIFORM if value is None and a.uniform and b.uniform else value


def _computed(instruction: Instruction, a: LaneValue, b: LaneValue) -> LaneValue | None:
    op, flags = instruction.op, instruction.flags
    if step := step_of(instruction):
        return lane_values.add(a, lane_values.scale(b, step[2], 64), 64, ("nuw",))
    bits = lane_values.bits_of(instruction.type)
    if a.exact and b.exact:
        return lane_values.evaluate(op, a, b, bits)
    if op == "or" and "disjoint" in flags:
        return lane_values.add(a, b, bits, ("nuw",))
    if op in _ARITHMETIC:
        return _ARITHMETIC[op](a, b, bits, flags)
    if op in ("and", "or", "xor"):
        return lane_values.bitwise(op, a, b, bits)
    by = b.constant if op == "lshr" else None
    return None if by is None else lane_values.divide(op, a, by)


_ARITHMETIC = {
    "add": lane_values.add, "sub": lane_values.subtract, "mul": lane_values.multiply,
    "shl": lane_values.shift_left,
}  # fmt: skip


def _convert(value: LaneValue, cast: Instruction) -> LaneValue | None:
    source = cast.operands[0][0]
    if cast.op in ("zext", "sext"):
        wide = lane_values.widen(cast.op, value, lane_values.bits_of(source))
        return UNIFORM if wide is None and value.uniform else wide
    if cast.op == "trunc":
        return lane_values.truncate(value, source, cast.type, cast.flags)
    return value
