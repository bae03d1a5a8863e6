"""What a value is in each lane of a simdgroup: the same for all, plus a known number a lane.

An address such as ``base + 144 * row(lane) + 2 * column(lane)`` is a uniform part and a table of
32 byte offsets. Where the tables of two addresses are known, it is known which lane reads what, so
that a lane can be given an address that was another's (tensor_core/select_products.py). The
analysis is optimistic over loops (a value that only grows by uniform steps keeps its table) and
gives up on everything else: ``None`` is a value of which nothing is known.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attnproto import _core
from attnproto.compiler.ir.function import Block, Function, address, step_of
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.intrinsics import intrinsic
from attnproto.compiler.ir.runtime_calls import runtime_call

LANES = 32
_SHORT = 3  # instructions of a block that only leaves
_HUGE = 1 << 62  # a multiple of every power of two that matters

_CONVERSIONS = ("zext", "sext", "trunc", "inttoptr", "ptrtoint", "bitcast", "freeze")
_COMPUTING = frozenset((
    "icmp", "fcmp", "select", "extractvalue", "shufflevector", "fneg", "fadd", "fsub", "fmul",
    "fdiv", "frem", "fpext", "fptrunc", "sitofp", "uitofp", "fptosi", "fptoui", *_CONVERSIONS,
))  # fmt: skip
_PARAMETER_BYTES = _core.MAX_BUFFERS * 8  # the addresses of buffers lead the launch parameter


@dataclass(frozen=True)
class Lanes:
    """``uniform + table[lane]``, where ``uniform`` is a multiple of ``multiple``.

    Attributes:
        table: one number a lane, by the hardware's numbering.
        multiple: power of two that divides the uniform part; ``_HUGE`` when that part is zero.
        wraps: whether the sum may have wrapped in its type, so that widening it means nothing.
    """

    table: tuple[int, ...]
    multiple: int
    wraps: bool = False

    @property
    def exact(self) -> bool:
        """Whether the uniform part is zero."""
        return self.multiple == _HUGE

    @property
    def uniform(self) -> bool:
        """Whether every lane has the same value."""
        return len(set(self.table)) == 1

    @property
    def constant(self) -> int | None:
        """The value, where it is known and the same for all."""
        return self.table[0] if self.exact and self.uniform else None


def _constant(value: int) -> Lanes:
    return Lanes((value,) * LANES, _HUGE)


SOME_UNIFORM = Lanes((0,) * LANES, 1, True)


def _divisor(value: int) -> int:
    return value & -value if value else _HUGE


class LaneAnalysis:
    """The lanes of every name in a function.

    Args:
        function: optimised IR of a kernel for an NVIDIA GPU.
        buffer_alignment: bytes that divide the address of every buffer.
    """

    def __init__(self, function: Function, buffer_alignment: int):
        self._function = function
        self._alignment = buffer_alignment
        self.values: dict[str, Lanes | None] = {}
        self._divergent: set[str] = set()
        self._users: dict[str, list[str]] = {name: [] for name in function.definitions}
        for name, made in function.definitions.items():
            for used in made.used:
                if used in self._users:
                    self._users[used].append(name)
        while True:
            self._solve()
            found = self._joins()
            if found <= self._divergent:
                return
            self._divergent |= found

    def _solve(self) -> None:
        """A fixed point; names that are missing are yet to be reached."""
        self.values = {}
        definitions = self._function.definitions
        stale = set(definitions)  # what an operand changed of since it was looked at
        for _ in range(64):
            for name, made in definitions.items():
                if name not in stale:
                    continue
                stale.discard(name)
                before = self.values.get(name, _UNREACHED)
                value = None if before is None else self._evaluate(made)
                if value is _UNREACHED or value == before:
                    continue
                self.values[name] = value
                stale.update(self._users[name])
            if not stale:
                return
        self.values = dict.fromkeys(definitions)

    def _joins(self) -> set[str]:
        """Blocks where lanes that went different ways may meet."""
        found: set[str] = set()
        for block in self._function.blocks.values():
            if len(set(block.successors)) < 2:
                continue
            ways = [s for s in block.successors if not self._leaves(s)]
            if len(set(ways)) < 2 or self._uniform_branch(block):
                continue
            found |= self._function.reachable(ways)
        return found

    def _leaves(self, label: str) -> bool:
        block = self._function.blocks[label]
        return not block.successors and len(block.instructions) <= _SHORT

    def _uniform_branch(self, block: Block) -> bool:
        value = self.of(block.end.operands[0][1])
        return isinstance(value, Lanes) and value.uniform

    def of(self, operand: str) -> Lanes | None:
        """What an operand is in each lane."""
        if operand.lstrip("-").isdigit():
            return _constant(int(operand))
        if operand in ("true", "false"):
            return _constant(int(operand == "true"))
        if operand.startswith("@"):
            return Lanes((0,) * LANES, 16)
        if operand.startswith("%"):
            return self.values.get(operand, _parameter(self._function, operand))
        return SOME_UNIFORM

    def _evaluate(self, made: Instruction) -> Lanes | object | None:
        if made.op == "phi":
            return self._phi(made)
        if made.op in _OPERATIONS and made.type[0] == "i":
            operation = _OPERATIONS[made.op]
            return self._both(made, lambda a, b: operation(a, b, made.flags))
        if step := step_of(made):
            size = _constant(step[2])
            return self._both(made, lambda a, b: _add(a, _multiply(b, size, ()), ("nuw",)))
        if made.op in _CONVERSIONS and made.type[0] != "<":
            a = self._reached(made.operands[0][1])
            return a if a in (_UNREACHED, None) else _convert(a, made)
        return self._other(made)

    def _phi(self, made: Instruction) -> Lanes | object | None:
        incoming = [value for _, value in made.operands]
        known = [v for v in map(self._reached, incoming) if v is not _UNREACHED]
        if not known:
            return _UNREACHED
        if any(v is None for v in known):
            return None
        if len(set(incoming)) > 1 and made.block in self._divergent:
            return None
        return _merge(known)

    def _reached(self, operand: str) -> Lanes | object | None:
        if operand.startswith("%") and operand in self._function.definitions:
            return self.values.get(operand, _UNREACHED)
        return self.of(operand)

    def _both(
        self, made: Instruction, operation: Callable[[Lanes, Lanes], Lanes | None]
    ) -> Lanes | object | None:
        a, b = (self._reached(value) for _, value in made.operands)
        if a is _UNREACHED or b is _UNREACHED:
            return _UNREACHED
        return None if a is None or b is None else operation(a, b)

    def _other(self, made: Instruction) -> Lanes | object | None:
        if made.op == "call":
            known = runtime_call(made.callee) or intrinsic(made.callee)
            if known is None:
                return None
            if known.steps == "index":
                return Lanes(tuple(range(LANES)), LANES)
            if known.result == "uniform":
                return Lanes((0,) * LANES, known.alignment)
            if known.result != "operands":
                return None
        elif made.op == "load" and "atomic" not in made.flags:
            return self._load(made)
        elif made.op not in _COMPUTING:
            return None
        operands = [self._reached(value) for value in made.used]
        if any(o is _UNREACHED for o in operands):
            return _UNREACHED
        if all(isinstance(o, Lanes) and o.uniform for o in operands):
            return SOME_UNIFORM
        return None

    def _load(self, made: Instruction) -> Lanes | object | None:
        pointer = made.operands[0][1]
        place = self._reached(pointer)
        if not isinstance(place, Lanes):
            return place
        if not place.uniform:
            return None
        (root, *terms), offset = address(self._function, pointer)
        parameter = root in self._function.parameters and not terms
        if parameter and made.type == "i64" and offset < _PARAMETER_BYTES:
            return Lanes((0,) * LANES, self._alignment)
        return SOME_UNIFORM


_UNREACHED = object()


def _parameter(function: Function, operand: str) -> Lanes | None:
    return Lanes((0,) * LANES, 16) if operand in function.parameters else None


def _merge(values: list[Lanes]) -> Lanes | None:
    """Ways of coming by a value: their uniform parts may differ, their tables may not."""
    first = values[0]
    if all(v == first for v in values):
        return first
    # A constant that all lanes share is of the uniform part.
    bases = [v.table[0] for v in values]
    tables = [tuple(t - b for t in v.table) for v, b in zip(values, bases, strict=True)]
    multiple = min(*(v.multiple for v in values), *(_divisor(b) for b in bases))
    if len(set(tables)) > 1:
        return None
    return Lanes(tables[0], min(multiple, _HUGE >> 1), any(v.wraps for v in values))


def _add(a: Lanes, b: Lanes, flags: Sequence[str]) -> Lanes | None:
    table = tuple(map(operator.add, a.table, b.table))
    exact = a.exact and b.exact
    checked = exact or "nuw" in flags or "nsw" in flags
    return Lanes(table, min(a.multiple, b.multiple), a.wraps or b.wraps or not checked)


def _subtract(a: Lanes, b: Lanes, flags: Sequence[str]) -> Lanes | None:
    return _add(a, Lanes(tuple(-t for t in b.table), b.multiple, b.wraps), flags)


def _multiply(a: Lanes, b: Lanes, flags: Sequence[str]) -> Lanes | None:
    if b.constant is None and a.constant is not None:
        a, b = b, a
    factor = b.constant
    checked = a.exact or "nuw" in flags or "nsw" in flags
    if factor is not None:
        multiple = a.multiple if a.exact else min(a.multiple * _divisor(factor), _HUGE >> 1)
        table = tuple(t * factor for t in a.table)
        return Lanes(table, multiple, a.wraps or not checked)
    if a.uniform and b.uniform:
        multiple = min(_whole(a) * _whole(b), _HUGE >> 1)
        return Lanes((0,) * LANES, multiple, a.wraps or b.wraps or not checked)
    return None


def _whole(a: Lanes) -> int:
    """Divisor of a uniform value, table included."""
    return min(a.multiple, _divisor(a.table[0]), _HUGE >> 1)


def _shift_left(a: Lanes, b: Lanes, flags: Sequence[str]) -> Lanes | None:
    if b.constant is None:
        return SOME_UNIFORM if a.uniform and b.uniform else None
    return _multiply(a, _constant(1 << b.constant), flags)


def _shift_right(a: Lanes, b: Lanes, _: Sequence[str]) -> Lanes | None:
    shift = b.constant
    if shift is None or a.wraps or min(a.table) < 0 or a.multiple < 1 << shift:
        return SOME_UNIFORM if a.uniform and b.uniform else None
    table = tuple(t >> shift for t in a.table)
    return Lanes(table, a.multiple if a.exact else a.multiple >> shift)


def _and(a: Lanes, b: Lanes, _: Sequence[str]) -> Lanes | None:
    if b.constant is None and a.constant is not None:
        a, b = b, a
    mask = b.constant
    in_range = min(a.table) >= 0 and (a.exact or max(a.table) < a.multiple)
    if mask is None or not in_range or (a.wraps and max(a.table) >= a.multiple):
        return SOME_UNIFORM if a.uniform and b.uniform else None
    table = tuple(t & mask for t in a.table)
    if a.exact or 0 <= mask < a.multiple:
        return Lanes(table, _HUGE)
    return Lanes(table, a.multiple, a.wraps)


def _or(a: Lanes, b: Lanes, flags: Sequence[str]) -> Lanes | None:
    if "disjoint" in flags:
        return _add(a, b, ("nuw",))
    if a.exact and b.exact:
        return Lanes(tuple(x | y for x, y in zip(a.table, b.table, strict=True)), _HUGE)
    return SOME_UNIFORM if a.uniform and b.uniform else None


def _xor(a: Lanes, b: Lanes, _: Sequence[str]) -> Lanes | None:
    if a.exact and b.exact and min(*a.table, *b.table) >= 0:
        return Lanes(tuple(x ^ y for x, y in zip(a.table, b.table, strict=True)), _HUGE)
    return SOME_UNIFORM if a.uniform and b.uniform else None


def _divide(a: Lanes, b: Lanes, _: Sequence[str]) -> Lanes | None:
    return SOME_UNIFORM if a.uniform and b.uniform else None


_OPERATIONS: dict[str, Callable[[Lanes, Lanes, Sequence[str]], Lanes | None]] = {
    "add": _add, "sub": _subtract, "mul": _multiply, "shl": _shift_left, "lshr": _shift_right,
    "ashr": _divide, "and": _and, "or": _or, "xor": _xor, "udiv": _divide, "sdiv": _divide,
    "urem": _divide, "srem": _divide,
}  # fmt: skip


def _convert(a: Lanes, made: Instruction) -> Lanes | None:
    if made.op in ("inttoptr", "ptrtoint", "freeze", "bitcast"):
        return a
    if made.op == "trunc":
        bits = int(made.type[1:])
        fits = a.exact and min(a.table) >= 0 and max(a.table) < 1 << (bits - 1)
        checked = fits or "nuw" in made.flags or "nsw" in made.flags
        return Lanes(a.table, a.multiple, a.wraps or not checked)
    if not a.wraps:
        return a
    return SOME_UNIFORM if a.uniform else None
