"""Decide which products are fused with sums, so that every engine rounds alike.

MSL lets a compiler contract ``a * b + c`` to one operation. Front ends, clang and Apple's alike,
decide within each expression (-ffp-contract=on) and write ``llvm.fmuladd``: of two products that
are added the first is fused. What that becomes is fixed here, once, on optimised IR, before the
engines part: a code generator may fuse or not.

Where a text asks for ``#pragma METAL fp contract(fast)``, products of other expressions may be
fused too. Their instructions have the flag ``contract``, and it is decided here which are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attnproto.compiler.ir.function import Block, Function, map_functions
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.module import without_declarations
from attnproto.compiler.ir.types import element_of, elements_of
from attnproto.dtypes import BY_NAME

_SUFFIXES = {BY_NAME["f32"].llvm: "f32", "double": "f64"}  # what is fused
_FLAG = " contract "
_DECIDED = "@llvm.fmuladd."  # by a front end


def is_open(text: str) -> bool:
    """Whether products of other expressions than a sum's may be fused with it."""
    return _FLAG in text


def _fma(kind: str) -> str:
    count, element = elements_of(kind)
    vector = f"v{count}" if element != kind else ""
    return f"@llvm.fma.{vector}{_SUFFIXES[element]}"


def contract(text: str, fused: bool) -> str:
    """Fuse each product that only one sum of its block reads, and let no other be fused.

    Args:
        text: an optimised module.
        fused: whether the processor has the operation; without it, nothing is fused.
    """
    kinds: set[str] = set()

    def contracted(lines: list[str]) -> list[str]:
        if not any(_FLAG in line or _DECIDED in line for line in lines):
            return lines
        function = Function(lines)
        for instruction in function.instructions:
            instruction.output = instruction.text.replace(_FLAG, " ")
            if instruction.op == "call" and instruction.callee.startswith(_DECIDED):
                instruction.output = "\n".join(_as_decided(instruction, fused, kinds))
        if fused:
            for block in function.blocks.values():
                kinds.update(_fuse(block, function.mentions))
        return function.lines()

    text = map_functions(text, contracted)
    declared = [f"declare {k} {_fma(k)}({k}, {k}, {k})" for k in sorted(kinds)]
    text = without_declarations(text, _DECIDED)
    return "\n".join([text, *(d for d in declared if d.split("(")[0] not in text)]) + "\n"


def _as_decided(call: Instruction, fused: bool, kinds: set[str]) -> Iterator[str]:
    """A product and a sum that a front end wants fused; narrow numbers are, in the width of f32."""
    kind, name = call.type, call.name
    (_, x), (_, y), (_, z) = call.operands

    def own(part: str) -> str:
        return f'%"{part} {name[1:].strip(chr(34))}"'

    if not fused:
        yield f"  {own('product')} = fmul {kind} {x}, {y}"
        yield f"  {name} = fadd {kind} {own('product')}, {z}"
        return
    count, element = elements_of(kind)
    if element in _SUFFIXES:
        kinds.add(kind)
        yield f"  {name} = call {kind} {_fma(kind)}({kind} {x}, {kind} {y}, {kind} {z})"
        return
    wide = BY_NAME["f32"].llvm if element == kind else f"<{count} x {BY_NAME['f32'].llvm}>"
    kinds.add(wide)
    for letter, value in zip("xyz", (x, y, z), strict=True):
        yield f"  {own(letter)} = fpext {kind} {value} to {wide}"
    operands = ", ".join(f"{wide} {own(letter)}" for letter in "xyz")
    yield f"  {own('fused')} = call {wide} {_fma(wide)}({operands})"
    yield f"  {name} = fptrunc {wide} {own('fused')} to {kind}"


def _fuse(block: Block, mentions: Counter[str]) -> Iterator[str]:
    """Fuse the products of a block, and tell their types."""
    products: dict[str, Instruction] = {}
    for instruction in block.body:
        if _FLAG not in instruction.text or instruction.op not in ("fmul", "fadd", "fsub"):
            continue
        if element_of(instruction.type) not in _SUFFIXES or "contract" not in instruction.flags:
            continue
        if instruction.op == "fmul":
            if mentions[instruction.name] == 2:  # where it is defined, and once more
                products[instruction.name] = instruction
            continue
        (_, a), (_, b) = instruction.operands
        if a != b and (a in products or b in products):
            product = products.pop(a if a in products else b)
            instruction.output = _fused(instruction, product)
            yield instruction.type


def _fused(total: Instruction, product: Instruction) -> str:
    """A sum, or a difference, with one of its operands worked out on the way."""
    name, kind = total.name, total.type
    (_, first), (_, second) = total.operands
    (_, x), (_, y) = product.operands
    addend = second if first == product.name else first
    call = f"  {name} = call {kind} {_fma(kind)}"
    if total.op == "fadd":
        return f"{call}({kind} {x}, {kind} {y}, {kind} {addend})"
    minus = f'%"minus {name[1:].strip(chr(34))}"'
    if first == product.name:
        negated = f"  {minus} = fneg {kind} {addend}"
        return f"{negated}\n{call}({kind} {x}, {kind} {y}, {kind} {minus})"
    negated = f"  {minus} = fneg {kind} {x}"
    return f"{negated}\n{call}({kind} {minus}, {kind} {y}, {kind} {addend})"
