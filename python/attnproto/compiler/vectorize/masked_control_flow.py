"""Control flow for all lanes of a simdgroup.

Blocks that all lanes run keep their branches. Blocks that only some may run stand in one
row, up to their convergence point: each has a mask of the lanes that come to it, and is
passed over when there is none. A loop in that row is run until no lane is left in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from attnproto.compiler.analysis.divergence import Divergence
from attnproto.compiler.ir.cfg import Flow
from attnproto.compiler.ir.function import Block
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.types import Unsupported

from . import access_groups, memory
from .instructions import emit
from .value_map import ALL, Writer, parts_of, vector

# Compiling more takes longer than some 5 s; the causal flash kernel has 48,000 for AVX2.
MAX_LINES = 60_000
# Loops under masks, by their depths: a mask is a value of every loop around it.
MAX_MASKED_LOOPS = 1_500
_BITS = vector("i1")


@dataclass
class Control:
    """Writes the blocks of one function."""

    w: Writer
    flow: Flow
    divergence: Divergence
    labels: dict[str, str] = field(default_factory=dict)
    next: dict[str, str] = field(default_factory=dict)  # label after a masked block
    ended: dict[str, list[str]] = field(default_factory=dict)  # masked loops by their last block
    rows: dict[str, list[str]] = field(default_factory=dict)  # by their convergence points
    # Where a masked block's mask is. Rows follow each other, so each has the same places: what
    # LLVM takes to keep them in registers grows with their number times that of the blocks.
    masks: dict[str, str] = field(default_factory=dict)

    def write(self) -> list[str]:
        """All lines of the function's body.

        Raises:
            Unsupported: there are more than what follows compiles in a few seconds.
        """
        w = self.w
        masked_loops = self.flow.loops.keys() & self.divergence.masked
        if sum(len(self.flow.around[head]) for head in masked_loops) > MAX_MASKED_LOOPS:
            raise Unsupported(f"more than {MAX_MASKED_LOOPS} loops, by their depths")
        place = {name: number for number, name in enumerate(self.flow.order)}
        # The innermost first.
        for head in sorted(masked_loops, key=lambda h: len(self.flow.loops[h])):
            last = max(self.flow.loops[head], key=place.__getitem__)
            self.ended.setdefault(last, []).append(head)
        for number, name in enumerate(self.flow.order):
            self.labels[name] = f"block{number}"
        for name in self.flow.order:
            if name in self.divergence.masked:
                self.rows.setdefault(self.divergence.convergence_points[name], []).append(name)
        for point, row in self.rows.items():
            for place_in_row, (name, following) in enumerate(
                zip(row, [*row[1:], point], strict=True)
            ):
                self.next[name] = self.labels[following]
                self.masks[name] = f"%mask.{place_in_row}"
        w.say(f"br label %{self.labels[self.flow.order[0]]}")
        for name in self.flow.order:
            self._block(self.flow.blocks[name])
            if len(w.lines) > MAX_LINES:
                raise Unsupported(f"more than {MAX_LINES} lines of vector code")
        lines = w.text()
        masks = dict.fromkeys(self.masks.values())
        head = [f"  {m} = alloca {_BITS}, align 64" for m in masks]
        return [*head, *w.head(), *lines]

    def _block(self, block: Block) -> None:
        w = self.w
        w.begin(self.labels[block.name])
        if block.name not in self.divergence.masked:
            self._phis(block)
            self._body(block, None)
            self._leave(block)
            return
        slot = self.masks[block.name]
        mask = w.let(f"load {_BITS}, ptr {slot}, align 64")
        w.say(f"store {_BITS} zeroinitializer, ptr {slot}, align 64")
        word = w.let(f"bitcast {_BITS} {mask} to i32")
        none = w.let(f"icmp eq i32 {word}, 0")
        run, end = w.label("run"), w.label("end")
        w.say(f"br i1 {none}, label %{end}, label %{run}")
        w.begin(run)
        self._phis(block)
        if any(i.op in ("load", "store") for i in block.body):
            # The same twice: all lanes at once, or some one by one.
            full, some, leave = w.label("full"), w.label("some"), w.label("leave")
            all_active = w.let(f"icmp eq i32 {word}, -1")
            w.say(f"br i1 {all_active}, label %{full}, label %{some}")
            w.begin(full)
            self._body(block, None)
            w.say(f"br label %{leave}")
            w.begin(some)
            self._body(block, mask)
            w.say(f"br label %{leave}")
            w.begin(leave)
        else:
            self._body(block, mask)
        self._row_edges(block, mask)
        w.say(f"br label %{end}")
        w.begin(end)
        for head in self.ended.get(block.name, ()):
            again = w.let(f"load {_BITS}, ptr {self.masks[head]}, align 64")
            any_ = w.let(f"bitcast {_BITS} {again} to i32")
            done = w.let(f"icmp eq i32 {any_}, 0")
            after = w.label("after")
            w.say(f"br i1 {done}, label %{after}, label %{self.labels[head]}")
            w.begin(after)
        w.say(f"br label %{self.next[block.name]}")

    def _body(self, block: Block, mask: str | None) -> None:
        plan = access_groups.plan(self.w, block) if mask is None else None
        for instruction in block.body:
            if instruction.op in ("load", "store") and plan:
                memory.emit(self.w, instruction, mask, plan)
            else:
                emit(self.w, instruction, mask)

    # Values that come along an edge

    def _kinds(self, phi: Instruction) -> list[tuple[str, str]]:
        """Part and type of each of a phi's slots."""
        if phi.name not in self.w.varying:
            return [("one", phi.type)]
        if self.w.offsets.of(phi.name) is not None:
            return [("base", phi.type)]
        parts = parts_of(phi.type)
        return [(f"lanes{i}", vector(p)) for i, p in enumerate(parts)]

    def _phis(self, block: Block) -> None:
        w = self.w
        for phi in block.phis:
            for part, kind in self._kinds(phi):
                slot = w.slot(phi.name, f"in.{part}", kind)
                w.want(slot)
                w.keep(phi.name, part, kind, w.let(f"load {kind}, ptr {slot}, align 64"))

    def _edge(self, source: str, target: str, mask: str | None) -> None:
        """Give the phis of a block their values for the lanes that come from ``source``."""
        w = self.w
        taken = None
        for phi in self.flow.blocks[target].phis:
            _, value = phi.operands[phi.sources.index(source)]
            kinds = self._kinds(phi)
            if kinds[0][0] == "one":
                values = [w.one(phi.type, value)]
            elif kinds[0][0] == "base":
                values = [w.base(phi.type, value)]
            else:
                values = w.lanes(phi.type, value)
            for (part, kind), new in zip(kinds, values, strict=True):
                slot = w.slot(phi.name, f"in.{part}", kind)
                w.want(slot)
                if mask is not None:
                    old = w.let(f"load {kind}, ptr {slot}, align 64")
                    if part.startswith("lanes"):
                        test = f"{_BITS} {mask}"
                    else:
                        if taken is None:
                            word = w.let(f"bitcast {_BITS} {mask} to i32")
                            taken = w.let(f"icmp ne i32 {word}, 0")
                        test = f"i1 {taken}"
                    new = w.let(f"select {test}, {kind} {new}, {kind} {old}")
                w.say(f"store {kind} {new}, ptr {slot}, align 64")

    def _begin_row(self, block: str) -> None:
        """No lane is in the row of a masked block before this."""
        for name in self.rows.get(self.divergence.convergence_points.get(block), ()):
            self.w.say(f"store {_BITS} zeroinitializer, ptr {self.masks[name]}, align 64")

    def _come(self, target: str, mask: str) -> None:
        """Note that lanes come to a masked block."""
        if target not in self.divergence.masked:
            return
        slot = self.masks[target]
        old = self.w.let(f"load {_BITS}, ptr {slot}, align 64")
        new = self.w.let(f"or {_BITS} {old}, {mask}")
        self.w.say(f"store {_BITS} {new}, ptr {slot}, align 64")

    # Ends of blocks

    def _ways(self, block: Block, mask: str | None) -> list[tuple[str, str]]:
        """Targets of a branch, each with the mask of the lanes that take it."""
        w = self.w
        targets = block.successors
        here = mask or ALL
        if len(set(targets)) == 1:
            return [(targets[0], here)]
        condition = block.end.operands[0][1]
        if condition in w.varying:
            yes = w.lanes("i1", condition)[0]
        else:
            one = w.one("i1", condition)
            yes = w.let(f"select i1 {one}, {_BITS} {ALL}, {_BITS} zeroinitializer")
        no = w.let(f"xor {_BITS} {yes}, {ALL}")
        return [
            (target, w.let(f"and {_BITS} {here}, {side}"))
            for target, side in zip(targets, (yes, no), strict=True)
        ]

    def _row_edges(self, block: Block, mask: str | None) -> None:
        for target, side in self._ways(block, mask):
            self._edge(block.name, target, side)
            self._come(target, side)

    def _leave(self, block: Block) -> None:
        w = self.w
        targets = list(dict.fromkeys(block.successors))
        if not targets:
            w.say("ret void")
        elif len(targets) == 1:
            self._go(block.name, targets[0])
        elif block.end.operands[0][1] in w.varying:
            point = self.flow.convergence_points[block.name]
            inside = self.flow.reached(targets, {point})
            first = next(n for n in self.flow.order if n in inside)
            self._begin_row(first)
            self._row_edges(block, None)
            w.say(f"br label %{self.labels[first]}")
        else:
            ways = [w.label("way") for _ in targets]
            test = w.one("i1", block.end.operands[0][1])
            w.say(f"br i1 {test}, label %{ways[0]}, label %{ways[1]}")
            for way, target in zip(ways, targets, strict=True):
                w.begin(way)
                self._go(block.name, target)

    def _go(self, source: str, target: str) -> None:
        """All lanes go to one block."""
        self._edge(source, target, None)
        self._begin_row(target)
        self._come(target, ALL)
        self.w.say(f"br label %{self.labels[target]}")
