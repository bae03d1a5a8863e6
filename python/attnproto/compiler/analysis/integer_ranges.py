"""What is known of whole numbers besides their offsets: bounds, and low bits that are zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attnproto import _core
from attnproto.compiler.ir.instruction import Instruction

from .divergence import INDEX, POSITION, SIMDGROUP, Divergence
from .lane_values import LANES, LaneValue, bits_of, is_whole, literal

_KEEP_ZEROS = frozenset(("add", "sub", "or", "xor", "zext", "sext", "trunc", "freeze", "phi"))


def low_zeros(
    value: str,
    definitions: Mapping[str, Instruction],
    known: Callable[[str], int | None] = lambda _: None,
    seen: frozenset[str] = frozenset(),
) -> int:
    """How many lowest bits of a number are known to be zero; of a zero, 64.

    A phi of a loop is taken for what its other operands are, as induction has it.

    Args:
        value: an operand.
        definitions: instructions by the value that each defines.
        known: what is known of a value from elsewhere; None where its definition is to tell.
        seen: phis and others that are being looked at.
    """
    number = literal(value)
    if number is not None:
        return 64 if number == 0 else (number & -number).bit_length() - 1
    found, made = known(value), definitions.get(value)
    if found is not None or made is None:
        return found or 0
    if value in seen:
        return 64

    def zeros(operand: str) -> int:
        return low_zeros(operand, definitions, known, seen | {value})

    if made.op in _KEEP_ZEROS:
        return min(zeros(v) for _, v in made.operands)
    if made.op == "mul":
        return sum(zeros(v) for _, v in made.operands)
    if made.op == "shl" and (by := literal(made.operands[1][1])) is not None:
        return zeros(made.operands[0][1]) + by
    return 0


class Ranges:
    """Bounds and zeros of the values of a function.

    Args:
        divergence: which loads read the lane's place.
        definitions: instructions by the value that each defines.
        offset: a value's offset, as far as it is known.
    """

    def __init__(
        self,
        divergence: Divergence,
        definitions: Mapping[str, Instruction],
        offset: Callable[[str], LaneValue | None],
    ):
        self._fields, self._definitions, self._offset = divergence.fields, definitions, offset
        self._ranges: dict[str, tuple[int, int]] = {}

    def base_zeros(self, value: str) -> int:
        """Lowest bits of a value's base that are known to be zero."""
        return low_zeros(value, self._definitions, self._zeros)

    def _zeros(self, value: str) -> int | None:
        """Those of a value whose definition does not tell them, or is not asked."""
        known = self._offset(value)
        if known and known.exact:
            return 64
        made = self._definitions.get(value)
        if (
            made
            and made.op == "load"
            and self._fields.get(made.operands[0][1])
            in (
                POSITION,
                INDEX,
            )
        ):
            return 5
        return 0 if made and made.op == "phi" else None

    def of(self, value: str, kind: str) -> tuple[int, int]:
        """Bounds, as signed numbers, of a value in every lane that computes it."""
        if not is_whole(kind):
            return -(1 << 63), (1 << 63) - 1
        bits = bits_of(kind)
        limits = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        number = literal(value)
        if number is not None:
            return (number, number)
        known = self._offset(value)
        if known and known.exact:
            return min(known.steps), max(known.steps)
        if value not in self._ranges:
            self._ranges[value] = limits
            low, high = self._range(value, limits)
            if low < limits[0] or high > limits[1]:
                low, high = limits
            self._ranges[value] = (low, high)
        return self._ranges[value]

    def _range(self, value: str, limits: tuple[int, int]) -> tuple[int, int]:
        instruction = self._definitions.get(value)
        if instruction is None or instruction.op == "phi" or instruction.op in ("icmp", "fcmp"):
            return limits
        if instruction.op == "load":
            at = self._fields.get(instruction.operands[0][1])
            last = _core.MAX_THREADS - 1
            ends = {SIMDGROUP: last // LANES, INDEX: last}
            ends |= {POSITION + 4 * axis: last for axis in range(3)}
            return (0, ends[at]) if at in ends else limits
        if not instruction.operands or not all(is_whole(k) for k, _ in instruction.operands):
            return limits
        ranges = [self.of(v, k) for k, v in instruction.operands]
        a = ranges[0]
        b = ranges[-1]
        number = literal(instruction.operands[-1][1])
        if instruction.op in ("sext", "freeze", "trunc"):
            return a
        if instruction.op == "zext":
            return a if a[0] >= 0 or "nneg" in instruction.flags else limits
        if instruction.op == "add" or (instruction.op == "or" and "disjoint" in instruction.flags):
            return a[0] + b[0], a[1] + b[1]
        if instruction.op == "sub":
            return a[0] - b[1], a[1] - b[0]
        if instruction.op == "mul":
            products = [x * y for x in a for y in b]
            return min(products), max(products)
        if number is None or number < 0:
            return limits
        if instruction.op == "shl":
            return a[0] << number, a[1] << number
        if instruction.op == "and":
            return 0, number
        if a[0] < 0 or number == 0:
            return limits
        if instruction.op in ("lshr", "ashr"):
            return a[0] >> number, a[1] >> number
        if instruction.op in ("udiv", "sdiv"):
            return a[0] // number, a[1] // number
        if instruction.op in ("urem", "srem"):
            return 0, number - 1
        return limits
