"""What is known of whole numbers besides their offsets: bounds, and low bits that are zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attnproto.compiler.ir.instruction import Instruction

from .divergence import INDEX, POSITION, SIMDGROUP, Divergence
from .lane_values import LANES, Offset, bits_of, is_whole, literal

_MAX_SIMDGROUPS = 32


class Ranges:
    """Bounds and zeros of the values of a function.

    Args:
        divergence: which loads read the lane's place.
        made: instructions by the value that each defines.
        offset: a value's offset, as far as it is known.
    """

    def __init__(
        self,
        divergence: Divergence,
        made: Mapping[str, Instruction],
        offset: Callable[[str], Offset | None],
    ):
        self._fields, self._made, self._offset = divergence.fields, made, offset
        self._ranges: dict[str, tuple[int, int]] = {}

    def base_zeros(self, value: str) -> int:
        """Lowest bits of a value's base that are known to be zero."""
        number = literal(value)
        if number is not None:
            return 64 if number == 0 else (number & -number).bit_length() - 1
        found = self._offset(value)
        if found and found.pure:
            return 64
        made = self._made.get(value)
        if made is None:
            return 0
        if made.op == "load" and self._fields.get(made.operands[0][1]) in (
            POSITION,
            INDEX,
        ):
            return 5
        if made.op in ("add", "sub", "or", "xor"):
            return min(self.base_zeros(v) for _, v in made.operands)
        if made.op in ("zext", "sext", "trunc", "freeze"):
            return self.base_zeros(made.operands[0][1])
        if made.op == "mul":
            return sum(self.base_zeros(v) for _, v in made.operands)
        if made.op == "shl" and (number := literal(made.operands[1][1])) is not None:
            return self.base_zeros(made.operands[0][1]) + number
        return 0

    def of(self, value: str, kind: str) -> tuple[int, int]:
        """Bounds, as signed numbers, of a value in every lane that computes it."""
        if not is_whole(kind):
            return -(1 << 63), (1 << 63) - 1
        bits = bits_of(kind)
        whole = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        number = literal(value)
        if number is not None:
            return (number, number)
        found = self._offset(value)
        if found and found.pure:
            return min(found.steps), max(found.steps)
        if value not in self._ranges:
            self._ranges[value] = whole
            low, high = self._range(value, whole)
            if low < whole[0] or high > whole[1]:
                low, high = whole
            self._ranges[value] = (low, high)
        return self._ranges[value]

    def _range(self, value: str, whole: tuple[int, int]) -> tuple[int, int]:
        made = self._made.get(value)
        if made is None or made.op == "phi" or made.op in ("icmp", "fcmp"):
            return whole
        if made.op == "load":
            at = self._fields.get(made.operands[0][1])
            last = _MAX_SIMDGROUPS * LANES - 1
            ends = {SIMDGROUP: _MAX_SIMDGROUPS - 1, INDEX: last}
            ends |= {POSITION + 4 * axis: last for axis in range(3)}
            return (0, ends[at]) if at in ends else whole
        if not made.operands or not all(is_whole(k) for k, _ in made.operands):
            return whole
        ranges = [self.of(v, k) for k, v in made.operands]
        a = ranges[0]
        b = ranges[-1]
        number = literal(made.operands[-1][1])
        if made.op in ("sext", "freeze", "trunc"):
            return a
        if made.op == "zext":
            return a if a[0] >= 0 or "nneg" in made.flags else whole
        if made.op == "add" or (made.op == "or" and "disjoint" in made.flags):
            return a[0] + b[0], a[1] + b[1]
        if made.op == "sub":
            return a[0] - b[1], a[1] - b[0]
        if made.op == "mul":
            products = [x * y for x in a for y in b]
            return min(products), max(products)
        if number is None or number < 0:
            return whole
        if made.op == "shl":
            return a[0] << number, a[1] << number
        if made.op == "and":
            return 0, number
        if a[0] < 0 or number == 0:
            return whole
        if made.op in ("lshr", "ashr"):
            return a[0] >> number, a[1] >> number
        if made.op in ("udiv", "sdiv"):
            return a[0] // number, a[1] // number
        if made.op in ("urem", "srem"):
            return 0, number - 1
        return whole
