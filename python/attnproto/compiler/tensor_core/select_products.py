"""8x8 products on NVIDIA's tensor core, written into a kernel's optimised IR.

The instruction multiplies 16x8 by 8x8, or 16x16 by 16x8. An 8x8 product fills its upper rows; two
products that continue one accumulator become one of twice the depth, and two that share their
right operand fill its upper and lower rows. With lanes renamed as attnproto/cuda.h does, left
operands and results need no movement; right operands are read transposed where that is provably
the same (compiler/tensor_core/load_operands.py), else transposed by the hardware.

How an instruction is written, and how floats go through it: compiler/tensor_core/emit_mma.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attnproto.compiler.analysis.pointer_offsets import LaneAnalysis
from attnproto.compiler.ir.builder import LaneCode
from attnproto.compiler.ir.function import Function, map_functions, named
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.module import without_declarations
from attnproto.compiler.ir.runtime_calls import MATRIX_MULTIPLY
from attnproto.compiler.ir.types import element_of
from attnproto.dtypes import NARROW_LLVM

from .emit_mma import Product, Writer
from .fragment_sources import Fragment, element
from .load_operands import Reader

_DECLARATIONS = (
    "declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()",
    "declare i32 @llvm.nvvm.prmt(i32, i32, i32)",
    "declare void @llvm.nvvm.bar.warp.sync(i32)",
    *(
        f"declare {kind} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.{form}.b16.p3(ptr addrspace(3))"
        for count, kind in (("x1", "i32"), ("x2", "{i32, i32}"), ("x4", "{i32, i32, i32, i32}"))
        for form in (count, f"{count}.trans")
    ),
)


class _Kernel:
    """One function whose products are to be written."""

    def __init__(self, lines: list[str], buffer_alignment: int):
        self._function = _results_apart(Function(named(lines)))
        self._products = self._find()
        self._lanes = LaneAnalysis(self._function, buffer_alignment)

    def write(self) -> list[str]:
        """The function with its products in place."""
        fragments = {}
        for product in self._products:
            first, second = (element(self._function, value) for value in product.right)
            if first and second and (first.origin, first.space) == (second.origin, second.space):
                fragments[product.right] = Fragment(first, second)
        code = LaneCode()
        reader = Reader(self._function, self._lanes, code)
        writer = Writer(reader.read(fragments), reader.rows_apart)
        self._continue()
        self._carry()
        self._share()
        for product in self._products:
            if not product.absorbed:
                self._function.instructions[product.place].output = writer.write(product)
        code.place(self._function)
        return self._function.lines()

    def _find(self) -> list[Product]:
        products: dict[str, Product] = {}
        for instruction in self._function.instructions:
            if instruction.op == "call" and instruction.callee.startswith(MATRIX_MULTIPLY):
                values = [value for _, value in instruction.operands]
                left, left_kind = self._narrowed(values[:2], instruction.operands[0][0])
                right, right_kind = self._narrowed(values[2:4], instruction.operands[2][0])
                products[instruction.name] = Product(
                    instruction.name,
                    instruction.place,
                    left,
                    right,
                    left_kind,
                    right_kind,
                    tuple(values[4:6]),
                )
                instruction.output = ""
        # A block that uses a result may stand before the one that makes it.
        for instruction in self._function.instructions:
            if instruction.op == "extractvalue" and instruction.operands[0][1] in products:
                products[instruction.operands[0][1]].results[instruction.indices[0]] = (
                    instruction.name
                )
                instruction.output = ""
        return list(products.values())

    def _narrowed(self, values: list[str], kind: str) -> tuple[tuple[str, str], str]:
        """Operands before they were widened, so that nothing is lost in using them."""
        if kind == "float":
            narrow = [self._before_widening(v) for v in values]
            if None not in narrow and narrow[0][1] == narrow[1][1]:
                return (narrow[0][0], narrow[1][0]), narrow[0][1]
        return (values[0], values[1]), kind

    def _before_widening(self, value: str) -> tuple[str, str] | None:
        definitions = self._function.definitions
        definition = definitions.get(value)
        if _widens(definition) and definition.type == "float":
            kind, source = definition.operands[0]
            return source, kind
        if (
            definition is None
            or definition.op != "extractelement"
            or not definition.operands[1][1].isdigit()
        ):
            return None
        vector = definitions.get(definition.operands[0][1])
        if not _widens(vector):
            return None
        kind, source = vector.operands[0]
        name = _derived(value, "narrow")
        if name not in definitions:
            text = f"  {name} = extractelement {kind} {source}, i64 {definition.operands[1][1]}"
            definitions[name] = Instruction(text, definition.place, definition.block)
            definition.output = f"{definition.output}\n{text}"
        return name, element_of(kind)

    def _continue(self) -> None:
        """Two products on one accumulator become one of twice the depth."""
        by_results = {tuple(p.results): p for p in self._products if None not in p.results}
        for product in self._products:
            before = by_results.get(product.addend)
            if before is None or before.then or before.absorbed:
                continue
            only_use = self._used_once(before.results)
            alike = (product.kind, product.right_kind) == (before.kind, before.right_kind)
            both_deepen = before.deepens and product.deepens
            if only_use and alike and both_deepen and self._same_block(before, product):
                before.then, product.absorbed = product, True
        pairs = [p for p in self._products if not p.absorbed]
        self._makers = {r: p for p in pairs for r in p.last.results if r}

    def _carry(self) -> None:
        """Products hand on what may stay in the accumulator."""
        pairs = [p for p in self._products if p.shares and not p.absorbed]
        by_results = {tuple(p.last.results): p for p in pairs}
        for product in pairs:
            before = by_results.get(product.addend)
            only_use = self._used_once(product.addend)
            alike = before and before.kind == product.kind
            if alike and only_use and self._same_block(before, product):
                before.next = product

    def _share(self) -> None:
        """Two such products with the same right operands fill upper and lower rows."""
        waiting: dict[tuple, Product] = {}
        for product in self._products:
            product.place = product.last.line
            if product.absorbed or not product.shares:
                continue
            then = product.then.right if product.then else None
            key = (product.right, then, product.kind,
                   self._function.instructions[product.line].block)  # fmt: skip
            above = waiting.pop(key, None)
            if above is None or not (
                self._can_wait(above, product) or self._is_ready(above, product)
            ):
                waiting[key] = product
                continue
            if self._can_wait(above, product):
                above.place = product.place
            above.below, product.absorbed = product, True
            product.place = above.place

    def _used_once(self, names: Iterable[str]) -> bool:
        return all(self._function.mentions[name] == 2 for name in names)  # one is its definition

    def _same_block(self, a: Product, b: Product) -> bool:
        instructions = self._function.instructions
        return instructions[a.line].block == instructions[b.line].block

    def _can_wait(self, above: Product, below: Product) -> bool:
        """Whether nothing needs the upper result before the lower one can be had."""
        between = self._function.instructions[above.last.line + 1 : below.last.line + 1]
        names = {above.last.name, *above.last.results}
        return not any(
            names.intersection(instruction.used) and instruction.name not in names
            for instruction in between
        )

    def _is_ready(self, above: Product, below: Product) -> bool:
        """Whether the lower one has its operands where the upper one stands."""
        return all(self._place(name) < above.place for name in below.operands)

    def _place(self, name: str) -> int:
        maker = self._makers.get(name)
        if maker:
            return maker.place
        definition = self._function.definitions.get(name)
        return definition.place if definition else -1


def _results_apart(function: Function) -> Function:
    """The function with each product's two results read where it is made.

    LLVM may carry the pair of them on as a whole, through a phi of two branches' products: such a
    pair is put together again from what is read.
    """
    products = {
        instruction.name: instruction
        for instruction in function.instructions
        if instruction.op == "call" and instruction.callee.startswith(MATRIX_MULTIPLY)
    }
    carried = {
        name
        for instruction in function.instructions
        if instruction.op != "extractvalue"
        for name in instruction.used
        if name in products
    }
    for name in carried:
        call, pair = products[name], products[name].type
        apart, *results, half = (_derived(name, part) for part in ("pair", "0", "1", "half"))
        reads = [
            f"  {result} = extractvalue {pair} {apart}, {i}" for i, result in enumerate(results)
        ]
        call.output = "\n".join([
            call.text.replace(f"{name} = ", f"{apart} = ", 1),
            *reads,
            f"  {half} = insertvalue {pair} poison, float {results[0]}, 0",
            f"  {name} = insertvalue {pair} {half}, float {results[1]}, 1",
        ])  # fmt: skip
    return Function("\n".join(function.lines()).split("\n")) if carried else function


def _derived(name: str, part: str) -> str:
    """A name made of another one."""
    quoted = name.endswith('"')
    return f"{name[:-1] if quoted else name}.{part}" + ('"' if quoted else "")


def _widens(instruction: Instruction | None) -> bool:
    """Whether it makes floats of narrow numbers, or a vector of them."""
    if instruction is None or instruction.op != "fpext" or element_of(instruction.type) != "float":
        return False
    return element_of(instruction.operands[0][0]) in NARROW_LLVM


def lower_products(text: str, buffer_alignment: int) -> str:
    """Write the products of every function of an optimised module.

    Args:
        text: LLVM IR.
        buffer_alignment: bytes that divide the address of every buffer.
    """

    def lowered(lines: list[str]) -> list[str]:
        has_products = any(MATRIX_MULTIPLY in line for line in lines)
        return _Kernel(lines, buffer_alignment).write() if has_products else lines

    module = map_functions(without_declarations(text, MATRIX_MULTIPLY), lowered)
    for declaration in _DECLARATIONS:
        name = re.search(r"@[\w.]+", declaration)[0]
        if f"{name}(" in module and not re.search(rf"^declare .*{re.escape(name)}\(", module, re.M):
            module += f"\n{declaration}"
    return f"{module}\nattributes #7770 = {{ convergent nounwind memory(none) }}\n"
