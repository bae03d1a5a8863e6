"""Gather matrix operations, so that the lanes of a simdgroup meet once for many.

A multiply-accumulate needs the elements of all 32 lanes. Done one by one, each would
stop every lane. But inside a basic block most of them depend on each other only
through the accumulator, so a block is put in levels: an instruction is one level
above the matrix results it reads, and a product that only continues an accumulator
stays on that accumulator's level. At each level the lanes store their elements, meet,
and the products run once (cpp/cpu/matrix.cpp).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from attnproto import _core
from attnproto.compiler.ir.runtime_calls import calls

FUNCTION = "@attn_matrix_multiply_accumulate_"
MAX_SLOTS = _core.MATRIX_SLOTS
OPERAND_SLOTS = 72
ACCUMULATOR_SLOTS = MAX_SLOTS - OPERAND_SLOTS
ZERO = 0xFFFF  # an addend that is all zero takes no slot

_NAME = re.compile(r'%(?:"[^"]+"|[-\w.$]+)')
_DEFINED = re.compile(r'^  (%(?:"[^"]+"|[-\w.$]+)) = ')
_CALL = re.compile(
    rf"call [^@]*?(<2 x float>|\{{ float, float \}}|%struct\.attn_pair(?:\.\d+)*)[^@]*"
    rf"{FUNCTION}\w+\((.*?)\)"
)
_EXTRACT = re.compile(
    r"= (?:extractelement <2 x float> (%[^,]+), i64 ([01])"
    r"|extractvalue (?:\{ float, float \}|%struct\.attn_pair(?:\.\d+)*) (%[^,]+), ([01]))"
)
_TERMINATOR = re.compile(r"^  (?:br|ret|switch|unreachable|indirectbr)\b")
_ADDRESSES = ("threadgroup_memory", "matrix_slots")  # pure, but kept in order with what uses them
_PURE_CALL = re.compile(
    rf"call [^@]*@(?:(?:{calls(lambda c: c.pure and c.name not in _ADDRESSES)})\("
    r"|llvm\.(?!mem|lifetime|assume))"
)
_LABEL = re.compile(r'^(?:"[^"]+"|[-\w.$]+):')
_NUMBERED = re.compile(r"%(\d+)\b")
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
class _Block:
    lines: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)  # label and phis
    tail: list[str] = field(default_factory=list)  # terminator


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
            out.append(
                f"  {at} = getelementptr i8, ptr %attn.slots, i64 {slot * 256 + element * 4}"
            )
            out.append(f"  store float {value}, ptr {at}, align 4")

    def load(self, out: list[str], product: _Product) -> None:
        values = []
        for element in range(2):
            at, value = self.fresh("at"), self.fresh("value")
            offset = product.slot * 256 + element * 4
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


def _blocks(body: list[str]) -> list[_Block]:
    blocks: list[_Block] = []
    for line in body:
        if _LABEL.match(line):
            blocks.append(_Block(head=[line]))
            continue
        block = blocks[-1]
        if block.tail or _TERMINATOR.match(line):
            block.tail.append(line)
        elif " = phi " in line and not block.lines:
            block.head.append(line)
        elif line.strip():
            block.lines.append(line)
    return blocks


def _operands(call: str) -> tuple[list[str], list[str]]:
    words = [argument.split() for argument in call.split(", ")]
    return [w[-1] for w in words], [w[0] for w in words]


def _levels(block: _Block) -> tuple[dict[str, _Product], list[int]]:
    """The block's products, and the level of every line."""
    products: dict[str, _Product] = {}
    extracts: dict[str, tuple[str, int]] = {}
    ready: dict[str, int] = {}
    levels: list[int] = []
    stored = loaded = 0
    for position, line in enumerate(block.lines):
        match = _DEFINED.match(line)
        name = match.group(1) if match else None
        call = _CALL.search(line)
        if call:
            product = _Product(name, call.group(1), *_operands(call.group(2)), position, root=name)
            level = max((ready.get(v, 0) for v in product.operands[:4]), default=0)
            sources = [extracts.get(v) for v in product.operands[4:]]
            if (
                all(sources)
                and sources[0][0] == sources[1][0]
                and [s[1] for s in sources] == [0, 1]
            ):
                before = products[sources[0][0]]
                root = products[before.root]
                if level <= before.level and root.length < ACCUMULATOR_SLOTS:
                    product.chained, product.root = before.name, root.name
                    before.followers += 1
                    root.length += 1
                level = max(level, before.level + (product.chained is None))
            else:
                level = max([level, *(ready.get(v, 0) for v in product.operands[4:])])
            product.level = level
            products[name] = product
            ready[name] = level + 1
            levels.append(level)
            continue
        used = [u for u in _NAME.findall(line) if u != name]
        level = max((ready.get(u, 0) for u in used), default=0)
        extract = _EXTRACT.search(line)
        source = extract and (extract.group(1) or extract.group(3))
        if source in products:
            extracts[name] = (source, int(extract.group(2) or extract.group(4)))
        pure_call = _PURE_CALL.search(line)
        if " = load " in line and " volatile " not in line:
            level = max(level, stored)
            loaded = max(loaded, level)
        elif (
            (" call " in line and not pure_call)
            or re.match(r"\s+(store|fence|call)", line)
            or (re.search(r" = (?:atomicrmw|cmpxchg|load)", line))
        ):
            level = max(level, stored, loaded)
            stored = loaded = level
        levels.append(level)
        if name:
            ready[name] = level
    return products, levels


def _mark_reads(block: _Block, products: dict[str, _Product], uses: Counter[str]) -> None:
    """Which results something other than a continued accumulator reads."""
    continued = Counter(value for p in products.values() if p.chained for value in p.operands[4:])
    extracts: Counter[str] = Counter()
    for line in block.lines:
        extract = _EXTRACT.search(line)
        source = extract and (extract.group(1) or extract.group(3))
        if source in products:
            extracts[source] += 1
            value = _DEFINED.match(line).group(1)
            if uses[value] > continued[value]:
                products[source].read = True
    for product in products.values():
        if uses[product.name] > extracts[product.name]:
            product.read = True


def _rewrite_block(block: _Block, emitter: _Emitter, uses: Counter[str]) -> list[str]:
    products, levels = _levels(block)
    _mark_reads(block, products, uses)
    out: list[str] = []
    by_position = {p.position: p for p in products.values()}
    order = sorted(range(len(block.lines)), key=lambda i: levels[i])
    begin = 0
    while begin < len(order):
        level = levels[order[begin]]
        end = begin
        while end < len(order) and levels[order[end]] == level:
            end += 1
        _rewrite_level(block, order[begin:end], by_position, products, emitter, out)
        begin = end
    return [*block.head, *out, *block.tail]


def _rewrite_level(
    block: _Block,
    positions: list[int],
    by_position: dict[int, _Product],
    products: dict[str, _Product],
    emitter: _Emitter,
    out: list[str],
) -> None:
    """One level: what its products read comes first, then the products, in groups."""
    out += [block.lines[p] for p in positions if p not in by_position]
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
    if FUNCTION not in text:
        return text
    emitter = _Emitter()
    out: list[str] = []
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("declare ") and FUNCTION in line:
            i += 1
            continue
        out.append(line)
        i += 1
        if not line.startswith("define "):
            continue
        end = lines.index("}", i)
        body = lines[i:end]
        whole = "\n".join(body)
        if FUNCTION in whole:
            # Numbered values must stand in order; named ones may move.
            arguments = len(set(_NUMBERED.findall(line)))
            out[-1] = _NUMBERED.sub(r"%v\1", line)
            whole = _NUMBERED.sub(r"%v\1", re.sub(r"(?m)^(\d+):", r"v\1:", whole))
            body = whole.split("\n")
            if not _LABEL.match(body[0]):
                body.insert(0, f"v{arguments}:")
            uses = Counter(_NAME.findall(whole))
            uses.subtract(uses.keys())  # where it is defined
            for number, block in enumerate(_blocks(body)):
                if number == 0:
                    out += block.head
                    block.head = []
                    out.append("  %attn.slots = call ptr @attn_matrix_slots()")
                if any(FUNCTION in code for code in block.lines):
                    out += _rewrite_block(block, emitter, uses)
                else:
                    out += [*block.head, *block.lines, *block.tail]
        else:
            out += body
        i = end
    declarations = [
        "declare ptr @attn_matrix_slots() nounwind memory(none)",
        "declare void @attn_matrix_batch(ptr) nounwind convergent",
    ]
    return "\n".join([*out, *emitter.tables, *declarations]) + "\n"
