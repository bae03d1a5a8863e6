"""Right operands of 8x8 products as the tensor core wants them, read from where they lie.

MSL gives lane (g, q) the neighbours (g, 2q) and (g, 2q + 1) of a fragment; the tensor core's right
operand wants (2q, g) and (2q + 1, g). A transposition in the hardware (movmatrix) costs as much as
a product. Where it is known which lane reads what (analysis/pointer_offsets.py), a lane reads its
two elements itself instead: the warp as a whole reads what it read before, at the same point of
the program.
"""

from __future__ import annotations

import itertools

from attnproto.compiler.analysis.lane_values import LANES
from attnproto.compiler.analysis.pointer_offsets import LaneAnalysis
from attnproto.compiler.ir.builder import LaneCode
from attnproto.compiler.ir.effects import Changes, written
from attnproto.compiler.ir.function import Function
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.runtime_calls import ANY_MEMORY
from attnproto.compiler.ir.types import THREADGROUP, size_of

from .fragment_sources import Element, Fragment


def _lane(row: int, pair: int) -> int:
    return 4 * row + pair


def _earliest(fragments: list[Fragment]) -> int:
    return min(e.place for f in fragments for e in (f.first, f.second))


# For each lane (g, q): the lane that held column g of row 2q, of row 2q + 1; and g's parity.
_UPPER = tuple(_lane(2 * (lane % 4), lane // 8) for lane in range(LANES))
_LOWER = tuple(_lane(2 * (lane % 4) + 1, lane // 8) for lane in range(LANES))
_ODD = tuple(lane // 4 % 2 for lane in range(LANES))


class Reader:
    """Finds right operands that can be read directly, and writes the reads.

    Args:
        function: where they are used.
        lanes: what its values are in each lane.
        code: takes the reads.

    Attributes:
        rows_apart: by the names of two fragments' elements, words that hold an element of either:
            of row 2q, and of row 2q + 1. Where the two lie side by side such a word is read whole.
    """

    def __init__(self, function: Function, lanes: LaneAnalysis, code: LaneCode):
        self._function = function
        self._lanes = lanes
        self._code = code
        self._changes = Changes(function)
        self._written: dict[int, set[str]] = {}
        self._synchronized: list[int] = []
        self.rows_apart: dict[tuple[tuple[str, str], tuple[str, str]], list[str]] = {}

    def read(self, fragments: dict[tuple[str, str], Fragment]) -> dict[tuple[str, str], list[str]]:
        """Plan reads.

        Args:
            fragments: by the names of their two elements.

        Returns:
            By the same names: ``[word]`` of two packed halves, or ``[upper, lower]`` floats.
        """
        values: dict[tuple[str, str], list[str]] = {}
        groups: dict[tuple, list[list[tuple[str, str]]]] = {}
        for names, fragment in fragments.items():
            table = self._table(fragment.first)
            if table is not None and self._undisturbed([fragment]):
                block = self._block(fragment.first.place)
                key = (fragment.first.origin, block, fragment.step, fragment.first.kind)
                alike = groups.setdefault(key, [])
                # A tile is filled again and again: reads of one filling belong together.
                if not (alike and self._undisturbed([fragments[alike[-1][0]], fragment])):
                    alike.append([])
                alike[-1].append(names)
        for members in itertools.chain.from_iterable(groups.values()):
            members.sort(key=lambda names: fragments[names].first.offset)
            self._read_group({names: fragments[names] for names in members}, values)
        return values

    def _table(self, element: Element) -> tuple[int, ...] | None:
        """The lanes' places from the uniform part of the element's origin."""
        value = self._lanes.of(element.pointer)
        return None if value is None else tuple(t - element.base for t in value.steps)

    def _read_group(
        self, group: dict[tuple[str, str], Fragment], values: dict[tuple[str, str], list[str]]
    ) -> None:
        any_one = next(iter(group.values()))
        size, space = size_of(any_one.first.kind), any_one.first.space
        table, step = self._table(any_one.first), any_one.step
        upper = tuple(table[_UPPER[k]] + _ODD[k] * step for k in range(LANES))
        lower = tuple(table[_LOWER[k]] + _ODD[k] * step for k in range(LANES))
        if not self._linear(upper, any_one.first) or not self._linear(lower, any_one.first):
            return
        if all(b - a == size for a, b in zip(upper, lower, strict=True)):
            if space == THREADGROUP and size == 2 and self._rows_are_contiguous(upper):
                self._matrices(group, values, upper, "")
            self._neighbours(group, values, upper, size)
        elif space == THREADGROUP and size == 2:
            if step == 2 and self._rows_are_contiguous(table):
                self._matrices(group, values, table, ".trans")
        elif space == THREADGROUP or (step == size == 4):
            for names, fragment in group.items():
                self._two_floats(names, fragment, values, upper, lower)
        elif step == size:
            self._fours(
                group, values, 2 * size, lambda four: self._along_columns(four, values, table)
            )
        else:
            self._fours(
                group, values, size, lambda four: self._along_rows(four, values, upper, lower)
            )

    # Both elements lie side by side: one read.
    def _neighbours(self, group, values, upper, size):
        for names, fragment in group.items():
            first = fragment.first
            if names in values or self._alignment(first, upper) < 2 * size:
                continue
            line = _earliest([fragment])
            self._synchronize(line, fragment.first.space)
            kind = "i32" if size == 2 else "<2 x float>"
            word = self._fetch(line, fragment.first, upper, kind, 2 * size)
            values[names] = [word] if size == 2 else self._code.elements(line, word, (0, 1))

    def _two_floats(self, names, fragment, values, upper, lower):
        line = _earliest([fragment])
        self._synchronize(line, fragment.first.space)
        values[names] = [
            self._fetch(line, fragment.first, table, "float", 4) for table in (upper, lower)
        ]

    @staticmethod
    def _rows_are_contiguous(table: tuple[int, ...]) -> bool:
        return all(table[k] == table[k - k % 4] + 4 * (k % 4) for k in range(LANES))

    # ldmatrix: lane 8 m + r gives the address of row r of matrix m, whose rows lie as 'table' says.
    def _matrices(self, group, values, table, transposed):
        todo = list(group.items())
        while todo:
            count = 4 if self._fit(todo[:4], 4) else 2 if self._fit(todo[:2], 2) else 1
            part, todo = todo[:count], todo[count:]
            offsets = [fragment.first.offset for _, fragment in part]
            rows = tuple(
                table[_lane(k % 8, 0)] + offsets[k // 8 % count] - offsets[0] for k in range(LANES)
            )
            first = part[0][1].first
            if self._alignment(first, rows) < 16 or not self._linear(rows, first):
                continue
            line = _earliest([fragment for _, fragment in part])
            self._synchronize(line, THREADGROUP)
            at = self._address(first, rows, line)
            kind = "i32" if count == 1 else "{" + ", ".join(["i32"] * count) + "}"
            name = f"@llvm.nvvm.ldmatrix.sync.aligned.m8n8.x{count}{transposed}.b16.p3"
            matrices = self._code.emit(line, f"call {kind} {name}(ptr addrspace(3) {at})")
            for index, (names, _) in enumerate(part):
                values[names] = [
                    matrices if count == 1
                    else self._code.emit(line, f"extractvalue {kind} {matrices}, {index}")
                ]  # fmt: skip

    def _fit(self, part, count: int) -> bool:
        if len(part) < count:
            return False
        offsets = [fragment.first.offset for _, fragment in part]
        even = len({b - a for a, b in itertools.pairwise(offsets)}) == 1
        return even and self._undisturbed([fragment for _, fragment in part])

    def _fours(self, group, values, stride, emit):
        """Hand on runs of four fragments whose first elements are ``stride`` bytes apart."""
        by_offset = {fragment.first.offset: names for names, fragment in group.items()}
        for offset in sorted(by_offset):
            run = [by_offset.get(offset + stride * j) for j in range(4)]
            if None in run or any(names in values for names in run):
                continue
            four = {names: group[names] for names in run}
            if self._undisturbed(list(four.values())):
                emit(four)

    # Four fragments whose rows are four elements of each row's run (K read by dimension).
    def _along_rows(self, four, values, upper, lower):
        first = next(iter(four.values())).first
        size = size_of(first.kind)
        if self._alignment(first, upper) < 4 * size:
            return
        if self._alignment(first, lower) < 4 * size:
            return
        line = _earliest(list(four.values()))
        self._synchronize(line, first.space)
        joined = all(b - a == 4 * size for a, b in zip(upper, lower, strict=True))
        if size == 2 and joined and self._alignment(first, upper) >= 16:
            both_rows = self._fetch(line, first, upper, f"<8 x {first.kind}>", 16)
            rows = [self._code.elements(line, both_rows, range(4), 8, first.kind),
                    self._code.elements(line, both_rows, range(4, 8), 8, first.kind)]  # fmt: skip
        else:
            rows = []
            for table in (upper, lower):
                vector = self._fetch(line, first, table, f"<4 x {first.kind}>", 4 * size)
                rows.append(self._code.elements(line, vector, range(4), 4, first.kind))
        for names, above, below in zip(four, *rows, strict=True):
            values[names] = (
                [above, below] if size == 4 else [self._code.packed(line, above, below, first.kind)]
            )
        if size == 2:
            names = list(four)
            for k in (0, 2):
                self.rows_apart[names[k], names[k + 1]] = [
                    self._code.packed(line, row[k], row[k + 1], first.kind) for row in rows
                ]

    # Four narrow fragments side by side in a row (V): a lane wants every other element of two rows.
    def _along_columns(self, four, values, table):
        first = next(iter(four.values())).first
        tables = [tuple(table[of[k]] for k in range(LANES)) for of in (_UPPER, _LOWER)]
        aligned = min(self._alignment(first, t) for t in tables)
        if aligned < 8 or not all(self._linear(t, first) for t in tables):
            return
        line = _earliest(list(four.values()))
        self._synchronize(line, first.space)
        halves = self._code.odd_halves()
        rows = [self._four_words(line, first, t, aligned) for t in tables]
        for names, upper, lower in zip(four, *rows, strict=True):
            values[names] = [
                self._code.emit(
                    line, f"call i32 @llvm.nvvm.prmt(i32 {upper}, i32 {lower}, i32 {halves})"
                )
            ]

    def _four_words(self, line, first, table, aligned) -> list[str]:
        """Four 32-bit words from an address on, by the widest reads its alignment allows."""
        at = self._address(first, table, line)
        wide = 4 if aligned >= 16 else 2
        words = []
        for k in range(0, 4, wide):
            here = self._code.emit(
                line, f"getelementptr i8, ptr addrspace({first.space}) {at}, i64 {4 * k}"
            )
            vector = self._code.emit(
                line, f"load <{wide} x i32>, ptr addrspace({first.space}) {here}, align {4 * wide}"
            )
            words += self._code.elements(line, vector, range(wide), wide, "i32")
        return words

    def _fetch(self, line: int, start: Element, table, kind: str, alignment: int) -> str:
        at = self._address(start, table, line)
        return self._code.emit(
            line, f"load {kind}, ptr addrspace({start.space}) {at}, align {alignment}"
        )

    def _address(self, start: Element, table: tuple[int, ...], line: int) -> str:
        """The address that ``table`` gives a lane, from the one that it has itself."""
        own = self._table(start)
        moved = tuple(t - o for t, o in zip(table, own, strict=True))
        space = f"ptr addrspace({start.space})"
        at = self._code.emit(
            line, f"getelementptr i8, {space} {start.pointer}, i64 {self._code.number(moved)}"
        )
        return self._code.emit(
            line, f"getelementptr i8, {space} {at}, i64 {start.offset - start.base}"
        )

    def _linear(self, table: tuple[int, ...], start: Element) -> bool:
        own = self._table(start)
        moved = tuple(t - o for t, o in zip(table, own, strict=True))
        return all(
            moved[k] == moved[0] + sum(moved[1 << b] - moved[0] for b in range(5) if k >> b & 1)
            for k in range(LANES)
        )

    def _alignment(self, start: Element, table: tuple[int, ...]) -> int:
        """Bytes, up to 16, that divide the address which ``table`` gives each lane."""
        multiple = self._lanes.of(start.pointer).multiple
        places = [t + start.offset for t in table]
        return min(16, multiple, *(place & -place or 16 for place in places))

    def _block(self, place: int) -> str:
        return self._function.instructions[place].block

    def _undisturbed(self, fragments: list[Fragment]) -> bool:
        """Whether some loads stand in one block, and memory stays as it is between them."""
        places = [e.place for f in fragments for e in (f.first, f.second)]
        if len({self._block(place) for place in places}) > 1:
            return False
        return not self._changes.between(places)

    def _synchronize(self, line: int, space: int) -> None:
        """Order what other lanes wrote before, where the kernel may have written at all."""
        if space not in self._written:
            writes = {
                instruction.block
                for instruction in self._function.instructions
                if self._writes(instruction, space)
            }
            self._written[space] = self._function.reachable(list(writes))
        if self._block(line) in self._written[space] and not self._ordered(line, space):
            self._synchronized.append(line)
            self._code.put(line, "call void @llvm.nvvm.bar.warp.sync(i32 -1)")

    @staticmethod
    def _writes(instruction: Instruction, space: int) -> bool:
        return bool(written(instruction) & {space, ANY_MEMORY})

    def _ordered(self, line: int, space: int) -> bool:
        """Whether lanes have met since the last write of their block, and nothing came after."""
        instructions, block = self._function.instructions, self._block(line)
        while line >= 0 and instructions[line].block == block:
            instruction = instructions[line]
            if line in self._synchronized or _is_barrier(instruction):
                return True
            if self._writes(instruction, space):
                return False
            line -= 1
        return False


def _is_barrier(instruction: Instruction) -> bool:
    return instruction.op == "call" and instruction.callee.startswith("@llvm.nvvm.barrier")
