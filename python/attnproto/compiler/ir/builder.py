"""Instructions added to a function, and the numbers in them that differ by lane."""

from __future__ import annotations

from collections.abc import Iterable

from .function import Function


class LaneCode:
    """Collects instructions to put before others of a function.

    Attributes:
        prologue: what comes first in the function.
        before: what comes before an instruction, by its place.
    """

    def __init__(self) -> None:
        self.prologue: list[str] = []
        self.before: dict[int, list[str]] = {}
        self._tables: dict[tuple[int, ...], str] = {}
        self._serial = 0

    def put(self, place: int, text: str) -> None:
        """Put an instruction before an instruction."""
        self.before.setdefault(place, []).append(f"  {text}")

    def emit(self, place: int, text: str) -> str:
        """Put an instruction before an instruction; return the name of its value."""
        self._serial += 1
        name = f"%attn.r{self._serial}"
        self.put(place, f"{name} = {text}")
        return name

    def place(self, function: Function) -> None:
        """Put the instructions where they belong in a function whose blocks all have labels."""
        for place, lines in self.before.items():
            instruction = function.instructions[place]
            instruction.output = "\n".join(
                [*lines, instruction.output] if instruction.output else lines
            )
        entry = next(iter(function.blocks.values()))
        entry.label = "\n".join([entry.label, *self.prologue])

    def elements(
        self, place: int, vector: str, which: Iterable[int], width: int = 2, kind: str = "float"
    ) -> list[str]:
        """Take elements out of a vector."""
        return [
            self.emit(place, f"extractelement <{width} x {kind}> {vector}, i64 {k}") for k in which
        ]

    def packed(self, place: int, low: str, high: str, kind: str) -> str:
        """Make a 32-bit word of two narrow numbers."""
        pair = self.emit(place, f"insertelement <2 x {kind}> poison, {kind} {low}, i64 0")
        pair = self.emit(place, f"insertelement <2 x {kind}> {pair}, {kind} {high}, i64 1")
        return self.emit(place, f"bitcast <2 x {kind}> {pair} to i32")

    def number(self, table: tuple[int, ...]) -> str:
        """A name for a number that each lane computes from its index, once a kernel."""
        if table not in self._tables:
            thread = self._thread()
            total = str(table[0])
            serial = len(self._tables)
            for bit in range(5):
                weight = table[1 << bit] - table[0]
                if not weight:
                    continue
                name = f"%attn.lane{len(self.prologue)}"
                self.prologue += [
                    f"  {name}.s = lshr i32 {thread}, {bit}",
                    f"  {name}.b = and i32 {name}.s, 1",
                    f"  {name}.w = zext i32 {name}.b to i64",
                    f"  {name}.m = mul i64 {name}.w, {weight}",
                    f"  {name} = add i64 {name}.m, {total}",
                ]
                total = name
            # As a sum of bits it would send LLVM's strength reduction on a long search.
            opaque = f"%attn.lanes{serial}"
            self.prologue.append(
                f'  {opaque} = call i64 asm "mov.b64 $0, $1;", "=l,l"(i64 {total}) #7770'
            )
            self._tables[table] = opaque
        return self._tables[table]

    def odd_halves(self) -> str:
        """The byte selector that takes the odd halves where the lane's row is odd."""
        thread = self._thread()
        if not any(line.startswith("  %attn.odd ") for line in self.prologue):
            self.prologue += [
                f"  %attn.odd.bit = and i32 {thread}, 4",
                "  %attn.odd = icmp ne i32 %attn.odd.bit, 0",
                f"  %attn.odd.halves = select i1 %attn.odd, i32 {0x7632}, i32 {0x5410}",
            ]
        return "%attn.odd.halves"

    def _thread(self) -> str:
        if not self.prologue:
            self.prologue.append("  %attn.thread = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()")
        return "%attn.thread"
