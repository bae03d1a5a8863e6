"""Gather matrix operations, so that many cost the lanes of a simdgroup one rendezvous.

A multiply-accumulate needs the elements of all 32 lanes. Done one by one, each would
stop every lane. But inside a basic block most of them depend on each other only
through the accumulator, so a block is put in levels: an instruction is one level
above the matrix results it reads, and a product that only continues an accumulator
stays on that accumulator's level. At each level the lanes store their elements, wait
for each other, and the products run once (cpp/cpu/matrix.cpp).
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

from attnproto import _core
from attnproto.compiler.ir.effects import is_special, may_change_memory
from attnproto.compiler.ir.function import Block, Function, map_functions, named
from attnproto.compiler.ir.instruction import NAMES, Instruction
from attnproto.compiler.ir.intrinsics import intrinsic
from attnproto.compiler.ir.module import without_declarations
from attnproto.compiler.ir.runtime_calls import MATRIX_MULTIPLY, declarations, runtime_call

MAX_SLOTS = _core.MATRIX_SLOTS
OPERAND_SLOTS = 72
ACCUMULATOR_SLOTS = MAX_SLOTS - OPERAND_SLOTS
ELEMENT_BYTES = 4 * _core.LANES  # from a lane's first element of a slot to its second
SLOT_BYTES = 2 * ELEMENT_BYTES
ZERO = 0xFFFF  # an addend that is all zero takes no slot

_ZEROS = ("0.000000e+00", "zeroinitializer")


@dataclass
class _Product:
    """One matrix operation: its operands as IR values, and where its result goes."""

    name: str
    type: str
    operands: list[str]  # a0 a1 b0 b1 c0 c1
    types: list[str]
    position: int
    level: int = 0
    chained: str | None = None  # the product whose result is the addend
    root: str = ""  # the first product of its chain
    length: int = 1  # products in the chain that begins here
    followers: int = 0  # products that continue this one on its level
    read: bool = False  # by anything else
    slot: int = -1


@dataclass
class _Emitter:
    """Writes one block; counts batches over the whole module."""

    tables: list[str] = field(default_factory=list)
    serial: int = 0

    def fresh(self, what: str) -> str:
        self.serial += 1
        return f"%attn.{what}.{self.serial}"

    def store(self, out: list[str], slot: int, pair: tuple[str, str], kind: str = "float") -> None:
        for element, value in enumerate(pair):
            if kind != "float":
                wide = self.fresh("wide")
                out.append(f"  {wide} = fpext {kind} {value} to float")
                value = wide
            at = self.fresh("at")
            offset = slot * SLOT_BYTES + element * ELEMENT_BYTES
            out.append(f"  {at} = getelementptr i8, ptr %attn.slots, i64 {offset}")
            out.append(f"  store float {value}, ptr {at}, align 4")

    def load(self, out: list[str], product: _Product) -> None:
        values = []
        for element in range(2):
            at, value = self.fresh("at"), self.fresh("value")
            offset = product.slot * SLOT_BYTES + element * ELEMENT_BYTES
            out.append(f"  {at} = getelementptr i8, ptr %attn.slots, i64 {offset}")
            out.append(f"  {value} = load float, ptr {at}, align 4")
            values.append(value)
        kind = "insertelement" if product.type.startswith("<") else "insertvalue"
        half = self.fresh("half")
        index = ("i64 0", "i64 1") if kind == "insertelement" else ("0", "1")
        out.append(f"  {half} = {kind} {product.type} poison, float {values[0]}, {index[0]}")
        out.append(
            f"  {product.name} = {kind} {product.type} {half}, float {values[1]}, {index[1]}"
        )

    def batch(self, out: list[str], operations: list[tuple[int, int, int, int]]) -> None:
        if not operations:
            return
        table = f"@attn.batch.{len(self.tables)}"
        rows = ", ".join(
            "[4 x i16] [" + ", ".join(f"i16 {_i16(n)}" for n in row) + "]" for row in operations
        )
        count = len(operations)
        self.tables.append(
            f"{table} = private unnamed_addr constant {{ i32, [{count} x [4 x i16]] }} "
            f"{{ i32 {count}, [{count} x [4 x i16]] [{rows}] }}, align 4"
        )
        out.append(f"  call void @attn_matrix_batch(ptr {table})")


def _i16(n: int) -> int:
    return n - 0x10000 if n >= 0x8000 else n


def _is_product(instruction: Instruction) -> bool:
    return MATRIX_MULTIPLY in instruction.text and instruction.op == "call"


def _ordered(instruction: Instruction) -> bool:
    """Whether all accesses keep their place before or after an instruction."""
    if may_change_memory(instruction):
        return True
    if instruction.op != "call":
        return False
    known = runtime_call(instruction.callee)  # an address stays before what uses it
    hint = intrinsic(instruction.callee)  # and where a variable's lifetime begins, there it begins
    return bool(known and known.is_address) or bool(hint and hint.hint)


@dataclass
class _Plan:
    """A block's products by name, what is taken out of their results, each instruction's level."""

    products: dict[str, _Product] = field(default_factory=dict)
    extracts: dict[str, tuple[str, int]] = field(default_factory=dict)
    levels: list[int] = field(default_factory=list)


def _planned(block: Block) -> _Plan:
    plan = _Plan()
    ready: dict[str, int] = {}
    stored = loaded = 0
    for position, instruction in enumerate(block.body):
        if _is_product(instruction):
            product = _product(instruction, position, plan, ready)
            plan.levels.append(product.level)
            ready[instruction.name] = product.level + 1
            continue
        used = instruction.used
        level = max([ready.get(name, 0) for name in used], default=0)
        if instruction.op in ("extractelement", "extractvalue"):
            if not plan.products.keys().isdisjoint(used):
                index = (
                    str(instruction.indices[0])
                    if instruction.indices
                    else instruction.operands[1][1]
                )
                if index in "01":
                    plan.extracts[instruction.name] = (instruction.operands[0][1], int(index))
        elif instruction.op == "load" and not is_special(instruction):
            level = max(level, stored)
            loaded = max(loaded, level)
        elif _ordered(instruction):
            level = max(level, stored, loaded)
            stored = loaded = level
        plan.levels.append(level)
        if instruction.name:
            ready[instruction.name] = level
    return plan


def _product(call: Instruction, position: int, plan: _Plan, ready: dict[str, int]) -> _Product:
    """Note a product; it may continue the accumulator of one before it on the same level."""
    kinds, values = (list(column) for column in zip(*call.operands, strict=True))
    product = _Product(call.name, call.type, values, kinds, position, root=call.name)
    level = max((ready.get(v, 0) for v in values[:4]), default=0)
    sources = [plan.extracts.get(v) for v in values[4:]]
    if all(sources) and sources[0][0] == sources[1][0] and [s[1] for s in sources] == [0, 1]:
        before = plan.products[sources[0][0]]
        root = plan.products[before.root]
        if level <= before.level and root.length < ACCUMULATOR_SLOTS:
            product.chained, product.root = before.name, root.name
            before.followers += 1
            root.length += 1
        level = max(level, before.level + (product.chained is None))
    else:
        level = max([level, *(ready.get(v, 0) for v in values[4:])])
    product.level = level
    plan.products[call.name] = product
    return product


def _mark_reads(plan: _Plan, uses: Counter[str]) -> None:
    """Which results something other than a continued accumulator reads."""
    products = plan.products
    continued = Counter(value for p in products.values() if p.chained for value in p.operands[4:])
    taken = Counter(source for source, _ in plan.extracts.values())
    for value, (source, _) in plan.extracts.items():
        if uses[value] > continued[value]:
            products[source].read = True
    for product in products.values():
        if uses[product.name] > taken[product.name]:
            product.read = True


def _rewrite_block(block: Block, emitter: _Emitter, uses: Counter[str]) -> list[str]:
    """The lines of a block's body."""
    plan = _planned(block)
    _mark_reads(plan, uses)
    out: list[str] = []
    by_position = {p.position: p for p in plan.products.values()}
    order = sorted(range(len(block.body)), key=plan.levels.__getitem__)
    for _, positions in itertools.groupby(order, key=plan.levels.__getitem__):
        _rewrite_level(block, list(positions), by_position, plan.products, emitter, out)
    return out


def _rewrite_level(
    block: Block,
    positions: list[int],
    by_position: dict[int, _Product],
    products: dict[str, _Product],
    emitter: _Emitter,
    out: list[str],
) -> None:
    """One level: what its products read comes first, then the products, in groups."""
    out += [block.body[p].text for p in positions if p not in by_position]
    here = [by_position[p] for p in positions if p in by_position]
    for group in _groups(here, products):
        _rewrite_group(group, products, emitter, out)


def _needs_slot(product: _Product, products: dict[str, _Product]) -> bool:
    """Whether the result has a slot of its own, rather than its accumulator's."""
    before = products.get(product.chained) if product.chained else None
    return before is None or before.read or before.followers > 1


def _groups(here: list[_Product], products: dict[str, _Product]) -> list[list[_Product]]:
    """Parts of a level whose accumulators fit the slots; a chain is never cut."""
    chains: dict[str, list[_Product]] = {}
    for product in here:
        chains.setdefault(product.root, []).append(product)
    groups: list[list[_Product]] = []
    room = 0
    for chain in chains.values():
        needed = sum(_needs_slot(product, products) for product in chain)
        if needed > room:
            groups.append([])
            room = ACCUMULATOR_SLOTS
        groups[-1] += chain
        room -= needed
    return [sorted(group, key=lambda product: product.position) for group in groups]


def _rewrite_group(
    group: list[_Product], products: dict[str, _Product], emitter: _Emitter, out: list[str]
) -> None:
    """Accumulators keep their slots to the end, operands share the rest in turns."""
    operands: dict[tuple[str, str, str], int] = {}
    operations: list[tuple[int, int, int, int]] = []
    accumulators = OPERAND_SLOTS

    def slot_of(operand: tuple[str, str, str]) -> int:
        if operand not in operands:
            operands[operand] = len(operands)
            emitter.store(out, operands[operand], operand[:2], operand[2])
        return operands[operand]

    for product in group:
        left = (*product.operands[:2], product.types[0])
        right = (*product.operands[2:4], product.types[2])
        addend = tuple(product.operands[4:])
        if len({left, right} - set(operands)) + len(operands) > OPERAND_SLOTS:
            emitter.batch(out, operations)
            operands.clear()
            operations.clear()
        addend_slot = products[product.chained].slot if product.chained else ZERO
        if _needs_slot(product, products):
            product.slot = accumulators
            accumulators += 1
        else:
            product.slot = addend_slot
        if not product.chained and not set(addend) <= set(_ZEROS):
            addend_slot = product.slot
            emitter.store(out, addend_slot, addend)
        operations.append((slot_of(left), slot_of(right), addend_slot, product.slot))
    emitter.batch(out, operations)
    for product in group:
        emitter.load(out, product)


def batch_matrix_operations(text: str) -> str:
    """Rewrite the matrix calls of an optimised module to batches."""
    if MATRIX_MULTIPLY not in text:
        return text
    emitter = _Emitter()
    text = map_functions(
        without_declarations(text, MATRIX_MULTIPLY), lambda lines: _rewritten(lines, emitter)
    )
    declared = declarations("matrix_slots", "matrix_batch")
    return "\n".join([text, *emitter.tables, *declared]) + "\n"


def _rewritten(lines: list[str], emitter: _Emitter) -> list[str]:
    if not any(MATRIX_MULTIPLY in line for line in lines):
        return lines
    lines = named(lines, "v")  # named values may stand in any order
    function = Function(lines)
    uses = Counter(NAMES.findall("\n".join(lines)))
    uses.subtract(uses.keys())  # where it is defined
    first, *_ = function.blocks.values()
    first.label += "\n  %attn.slots = call ptr @attn_matrix_slots()"
    out = [function.head]
    for block in function.blocks.values():
        if any(map(_is_product, block.body)):
            body = _rewrite_block(block, emitter, uses)
        else:
            body = [instruction.text for instruction in block.body]
        out += [block.label, *(phi.text for phi in block.phis), *body, block.end.text]
    return [*out, "}"]
