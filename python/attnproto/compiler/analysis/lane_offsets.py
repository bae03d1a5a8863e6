"""Values that are one number for the whole simdgroup plus a known step for each lane.

Most addresses are of this kind. The pass keeps their common part, the base, as a scalar and
knows the rest when it compiles, so that memory is read in runs instead of lane by lane.
"""

from __future__ import annotations

from attnproto import _core
from attnproto.compiler.ir.cfg import Flow
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.runtime_calls import runtime_call
from attnproto.compiler.ir.types import Unsupported, size_of

from .divergence import INDEX, LANE, POSITION, Divergence
from .integer_ranges import Ranges
from .lane_values import (  # fmt: skip
    LANES,
    UNIFORM,
    ZERO,
    Offset,
    Steps,
    added,
    bits_of,
    compare,
    is_whole,
    literal,
    pure_binary,
    scaled,
    wrap,
)

_ROWS = tuple((lane // 4 & 4) + lane // 2 % 4 for lane in range(LANES))
_COLUMNS = tuple((lane // 4 & 2) * 2 + lane % 2 * 2 for lane in range(LANES))
MATRIX_STEPS = tuple(
    32 * row + 4 * column for row, column in zip(_ROWS, _COLUMNS, strict=True)
)  # bytes
# By what the table of runtime calls says of their results.
_OF_CALLS = {
    "": None,
    "index": Offset(tuple(range(LANES)), pure=True),
    "fragment": Offset(MATRIX_STEPS),
}


class Offsets:
    """Finds the values of a function that have an offset."""

    def __init__(self, flow: Flow, divergence: Divergence):
        self._flow = flow
        self._divergence = divergence
        self._found: dict[str, Offset | None] = {}
        self.made: dict[str, Instruction] = {}
        for name in flow.order:
            block = flow.blocks[name]
            self.made |= {i.name: i for i in (*block.phis, *block.body) if i.name}
        self.ranges = Ranges(divergence, self.made, self.of)
        self._refuted: set[str] = set()
        while not self._settle():
            pass

    def of(self, value: str) -> Offset | None:
        """Offset of an operand: UNIFORM if it does not vary, None if nothing is known."""
        if value in self._divergence.values:
            return self._found.get(value)
        return UNIFORM

    def _settle(self) -> bool:
        """One round; phis are believed until a loop contradicts them."""
        self._found = {}
        argument = next(iter(n for n, at in self._divergence.fields.items() if at == 0))
        self._found[argument] = Offset(tuple(_core.LANE_BYTES * k for k in range(LANES)))
        for name in self._flow.order:
            block = self._flow.blocks[name]
            for phi in block.phis:
                if phi.name in self._divergence.values:
                    self._found[phi.name] = self._phi(phi, name)
            for made in block.body:
                if made.name in self._divergence.values:
                    self._found[made.name] = self._instruction(made)
        before = len(self._refuted)
        for name in self._flow.order:
            for phi in self._flow.blocks[name].phis:
                believed = self._found.get(phi.name)
                if believed and any(self._incoming(v) != believed for _, v in phi.operands):
                    self._refuted.add(phi.name)
        return len(self._refuted) == before

    def _incoming(self, value: str) -> Offset | None:
        found = self.of(value)
        return Offset(found.steps, found.terms) if found else None

    def _phi(self, phi: Instruction, block: str) -> Offset | None:
        outside = any(
            s in self._flow.loops[h] and block not in self._flow.loops[h]
            for h in self._divergence.left
            for s in phi.sources
        )
        if (
            phi.name in self._refuted
            or not is_whole(phi.type)
            or block in self._divergence.joins
            or outside
        ):
            return None
        known = [v for _, v in phi.operands if v in self._found or self.of(v) is UNIFORM]
        return self._incoming(known[0]) if known else None

    def _instruction(self, made: Instruction) -> Offset | None:
        if made.op == "load":
            at = self._divergence.fields.get(made.operands[0][1])
            if at in (POSITION, INDEX):
                return Offset(tuple(range(LANES)))
            return Offset(tuple(range(LANES)), pure=True) if at == LANE else None
        if made.op == "call":
            known = runtime_call(made.callee)
            return _OF_CALLS[known.steps] if known else None
        if made.op == "alloca":
            size = private_bytes(made)
            return Offset(tuple(size * k for k in range(LANES)))
        if made.op == "getelementptr":
            return self._address(made)
        if not is_whole(made.type):
            return None
        found = [self.of(v) for _, v in made.operands]
        if made.op == "select":
            return self._select(made, found)
        if not all(found) or not all(is_whole(t) for t, _ in made.operands):
            return None
        values = [self._pure(o, v) for o, (_, v) in zip(found, made.operands, strict=True)]
        if made.op not in ("freeze", "inttoptr", "ptrtoint", "addrspacecast", "bitcast") and all(
            values
        ):
            return self._evaluate(made, values)
        if made.op in ("zext", "sext"):
            return self.extended(made.op, *made.operands[0], made.type, "nneg" in made.flags)
        if made.op == "trunc":
            return self._truncated(made, found[0])
        if made.op in ("freeze", "inttoptr", "ptrtoint", "addrspacecast", "bitcast"):
            return Offset(found[0].steps, found[0].terms)
        return self._arithmetic(made, found)

    @staticmethod
    def _pure(offset: Offset, value: str) -> Steps | None:
        if offset.pure:
            return offset.steps
        number = literal(value)
        return None if number is None else (number,) * LANES

    @staticmethod
    def _evaluate(made: Instruction, values: list[Steps]) -> Offset | None:
        kind = made.operands[0][0]
        if kind.startswith("ptr"):
            return None
        bits = bits_of(kind)
        if made.op == "icmp":
            steps = tuple(compare(made.predicate, a, b, bits) for a, b in zip(*values, strict=True))
        elif made.op == "zext":
            steps = tuple(a & ((1 << bits) - 1) for a in values[0])
        elif made.op == "sext":
            steps = tuple(-a if bits == 1 else a for a in values[0])
        elif made.op == "trunc":
            steps = tuple(wrap(a, bits_of(made.type)) for a in values[0])
        elif len(values) == 2 and made.op != "cmpxchg":
            steps = tuple(pure_binary(made.op, a, b, bits) for a, b in zip(*values, strict=True))
        else:
            return None
        return Offset(steps, pure=True)

    def _select(self, made: Instruction, found: list[Offset | None]) -> Offset | None:
        condition, a, b = found
        if not a or not b:
            return None
        if condition and condition.pure:
            values = [self._pure(o, v) for o, (_, v) in zip((a, b), made.operands[1:], strict=True)]
            if all(values):
                chosen = zip(condition.steps, *values, strict=True)
                return Offset(tuple(x if c else y for c, x, y in chosen), pure=True)
        if made.operands[0][1] in self._divergence.values:
            return None
        same = (a.steps, a.terms) == (b.steps, b.terms)
        return Offset(a.steps, a.terms) if same else None

    def _arithmetic(self, made: Instruction, found: list[Offset]) -> Offset | None:
        a, b = found
        bits = bits_of(made.type)
        number = literal(made.operands[1][1])
        if made.op == "add" or (made.op == "or" and "disjoint" in made.flags):
            return added(a, b, bits)
        if made.op == "sub":
            return added(a, scaled(b, -1, bits), bits)
        if made.op == "shl" and number is not None:
            return scaled(a, 1 << number, bits)
        if made.op == "mul":
            for this, other, (_, v) in ((a, b, made.operands[1]), (b, a, made.operands[0])):
                number = literal(v)
                if other is UNIFORM and number is not None:
                    return scaled(this, number, bits)
                if other is UNIFORM and not this.terms:
                    return Offset(ZERO, ((v, this.steps),))
            return None
        if number is None or a.terms:
            return None
        if made.op in ("and", "or", "xor"):
            return self._masked(made, a, number)
        return self._divided(made, a, number) if number > 0 else None

    def fields(self, made: Instruction) -> int | None:
        """Width of the field of low bits in which a varying value's steps stand alone."""
        a = self.of(made.operands[0][1])
        if a is None or a.terms or min(a.steps) < 0:
            return None
        width = max(a.steps).bit_length()
        return width if self.ranges.base_zeros(made.operands[0][1]) >= width else None

    def _masked(self, made: Instruction, a: Offset, number: int) -> Offset | None:
        width = self.fields(made)
        if width is None:
            return None
        low = number & ((1 << width) - 1)
        bits = bits_of(made.type)
        steps = tuple(pure_binary(made.op, n, low, bits) for n in a.steps)
        return Offset(steps, pure=made.op == "and" and number >> width == 0)

    def _divided(self, made: Instruction, a: Offset, number: int) -> Offset | None:
        """Where the base is a multiple of the divisor, only the steps are divided."""
        value = made.operands[0][1]
        power = 1 << number if made.op in ("lshr", "ashr") else number
        if power & (power - 1) or self.ranges.base_zeros(value) < power.bit_length() - 1:
            return None
        if min(a.steps) < 0:
            return None
        low, _ = self.ranges.of(value, made.type)
        if low < 0 or min(a.steps) != 0:
            return None
        if made.op in ("urem", "srem"):
            return Offset(tuple(n % number for n in a.steps), pure=True)
        if made.op in ("udiv", "sdiv", "lshr", "ashr"):
            return Offset(tuple(n // power for n in a.steps))
        return None

    def _truncated(self, made: Instruction, a: Offset) -> Offset:
        bits = bits_of(made.type)
        terms = tuple(
            (("trunc", made.type, made.operands[0][0], f), tuple(wrap(n, bits) for n in s))
            for f, s in a.terms
        )
        return Offset(tuple(wrap(n, bits) for n in a.steps), terms)

    def _address(self, made: Instruction) -> Offset | None:
        total = self.of(made.operands[0][1])
        try:
            sizes = index_sizes(made)
        except Unsupported:
            return None
        for (kind, value), size in zip(made.operands[1:], sizes, strict=True):
            if total is None:
                return None
            index = self.of(value)
            if index and bits_of(kind) < 64:
                index = self.extended("sext", kind, value, "i64", False)
            total = added(total, scaled(index, size, 64), 64) if index else None
        return Offset(total.steps, total.terms) if total else None

    def extended(
        self, cast: str, kind: str, value: str, to: str, nonnegative: bool
    ) -> Offset | None:
        """Offset of a value made wider, if that is its parts made wider (see ``parts``)."""
        found = self.of(value)
        if found is None or found is UNIFORM:
            return found
        if found.pure:
            full = (1 << bits_of(kind)) - 1
            steps = tuple(n & full for n in found.steps) if cast == "zext" else found.steps
            return Offset(steps, pure=True)
        way = self.way(cast, kind, value, nonnegative)
        if way is None:
            return None
        if way == "narrow":
            return Offset(found.steps)
        made, cast = self.made[value], way
        bits = bits_of(to)
        inner = made.operands[0]
        if made.op in ("sext", "zext"):
            return self.extended(made.op, *inner, to, "nneg" in made.flags)
        if made.op == "trunc":
            return self._resized(*inner, to)
        a = self.extended(cast, *inner, to, False)
        if made.op == "shl":
            return scaled(a, 1 << literal(made.operands[1][1]), bits)
        b = self.extended(cast, *made.operands[1], to, False)
        if a is None or b is None:
            return None
        if made.op in ("add", "or"):
            return added(a, b, bits)
        if made.op == "sub":
            return added(a, scaled(b, -1, bits), bits)
        for this, other, (_, v) in ((a, b, made.operands[1]), (b, a, inner)):
            number = literal(v)
            if other is UNIFORM and number is not None:
                number = wrap(number, bits_of(kind))
                if cast == "zext":
                    number &= (1 << bits_of(kind)) - 1
                return scaled(this, number, bits)
            if other is UNIFORM and not this.terms:
                return Offset(ZERO, (((cast, to, kind, v), this.steps),))
        return None

    def _resized(self, kind: str, value: str, to: str) -> Offset | None:
        """Offset of a signed number in another width that holds it too."""
        if bits_of(to) > bits_of(kind):
            return self.extended("sext", kind, value, to, False)
        found = self.of(value)
        if bits_of(to) == bits_of(kind) or not found:
            return found
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
        made = self.made.get(value)
        found = self.of(value)
        if made and made.op in ("add", "sub", "mul", "shl", "or"):
            flag = "nsw" if cast == "sext" else "nuw"
            safe = flag in made.flags or "disjoint" in made.flags or (proven and cast == "sext")
            if made.op == "shl" and literal(made.operands[1][1]) is None:
                safe = False
            if safe:
                return cast
        if made and made.op in ("sext", "zext") and (made.op == cast or cast == "sext"):
            return cast
        if made and made.op == "trunc" and proven and cast == "sext":
            inner_kind, inner = made.operands[0]
            a, b = self.ranges.of(inner, inner_kind)
            half = 1 << (bits_of(kind) - 1)
            if "nsw" in made.flags or (-half <= a and b < half):
                return cast
        if proven and cast == "sext" and found and not found.terms and min(found.steps) == 0:
            return "narrow"
        return None


def private_bytes(made: Instruction) -> int:
    """Bytes of a local variable that one lane has, so that all lanes' are aligned."""
    return (size_of(made.element) + 15) // 16 * 16


def index_sizes(made: Instruction) -> list[int]:
    """Bytes that each index of an address steps over."""
    sizes, kind = [], made.element
    for position, _ in enumerate(made.operands[1:]):
        if position:
            if kind[0] not in "[<":
                raise Unsupported("an address inside a struct")
            kind = kind[kind.index(" x ") + 3 : -1]
        sizes.append(size_of(kind))
    return sizes
