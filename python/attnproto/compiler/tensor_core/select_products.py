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
from collections import Counter

from attnproto.compiler.analysis.pointer_offsets import LaneAnalysis
from attnproto.compiler.ir.builder import LaneCode
from attnproto.compiler.ir.function_lines import NAME, Function, named, split_functions
from attnproto.dtypes import NARROW_LLVM

from .emit_mma import Product, Writer
from .fragment_sources import Fragment, element
from .load_operands import Reader

_CALL = re.compile(
    rf"^  ({NAME}) = (?:tail )?call %struct\.attn_pair(?:\.\d+)* "
    r"@attn_matrix_multiply_accumulate_(\w+?)_(\w+?)\((.*)\)"
)
_TAKEN = re.compile(rf"^  ({NAME}) = extractvalue %struct\.attn_pair(?:\.\d+)* ({NAME}), ([01])")
_WIDENED = re.compile(rf"fpext (?:\w+ )*?({NARROW_LLVM}) ({NAME}) to float")
_WIDENED_VECTOR = re.compile(
    rf"fpext (?:\w+ )*?<\d+ x ({NARROW_LLVM})> ({NAME}) to <(\d+) x float>"
)
_ELEMENT = re.compile(rf"extractelement <\d+ x float> ({NAME}), i64 (\d+)")
_DECLARATIONS = (
    "declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()",
    "declare i32 @llvm.nvvm.prmt(i32, i32, i32)",
    "declare void @llvm.nvvm.bar.warp.sync(i32)",
    "declare i32 @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x1.trans.b16.p3(ptr addrspace(3))",
    "declare {i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.trans.b16.p3(ptr addrspace(3))",
    "declare {i32, i32, i32, i32} "
    "@llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3(ptr addrspace(3))",
)


class _Kernel:
    """One function whose products are to be written."""

    def __init__(self, lines: list[str], buffer_alignment: int):
        lines = named(lines)
        self._function = Function(lines)
        self._new = lines[:]
        self._products = self._find()
        self._uses = Counter(
            name for line in lines for name in re.findall(NAME, line.split(" = ", 1)[-1])
        )
        self._lanes = LaneAnalysis(self._function, buffer_alignment)

    def write(self) -> list[str]:
        """The function with its products in place."""
        fragments = {}
        for product in self._products:
            first, second = (element(self._function, value) for value in product.right)
            if first and second and (first.origin, first.space) == (second.origin, second.space):
                fragments[product.right] = Fragment(first, second)
        code = LaneCode()
        writer = Writer(Reader(self._function, self._lanes, code).read(fragments))
        self._continue()
        self._carry()
        self._share()
        for product in self._products:
            if not product.absorbed:
                self._new[product.place] = writer.write(product)
        out = []
        for number, line in enumerate(self._new):
            out += code.before.get(number, [])
            out.append(line)
            if number == 1:
                out += code.prologue
        return [line for line in out if line is not None]

    def _find(self) -> list[Product]:
        found: dict[str, Product] = {}
        for number, line in enumerate(self._function.lines):
            call = _CALL.match(line)
            if call:
                values = [a.split()[-1] for a in call[4].split(", ")]
                left, left_kind = self._narrowed(values[:2], call[2])
                right, right_kind = self._narrowed(values[2:4], call[3])
                found[call[1]] = Product(
                    call[1], number, left, right, left_kind, right_kind, (values[4], values[5])
                )
                self._new[number] = None
        # A block that uses a result may stand before the one that makes it.
        for number, line in enumerate(self._function.lines):
            taken = _TAKEN.match(line)
            if taken and taken[2] in found:
                found[taken[2]].results[int(taken[3])] = taken[1]
                self._new[number] = None
        return list(found.values())

    def _narrowed(self, values: list[str], kind: str) -> tuple[tuple[str, str], str]:
        """Operands before they were widened, so that nothing is lost in using them."""
        if kind == "float":
            narrow = [self._before_widening(v) for v in values]
            if None not in narrow and narrow[0][1] == narrow[1][1]:
                return (narrow[0][0], narrow[1][0]), narrow[0][1]
        return (values[0], values[1]), kind

    def _before_widening(self, value: str) -> tuple[str, str] | None:
        text = self._function.definitions.get(value, "")
        widened = _WIDENED.match(text)
        if widened:
            return widened[2], widened[1]
        taken = _ELEMENT.match(text)
        if not taken:
            return None
        vector = _WIDENED_VECTOR.match(self._function.definitions.get(taken[1], ""))
        if not vector:
            return None
        kind, source, width = vector[1], vector[2], vector[3]
        name = f"{value[:-1] if value.endswith(chr(34)) else value}.narrow"
        name += '"' if value.endswith('"') else ""
        if name not in self._function.definitions:
            text = f"extractelement <{width} x {kind}> {source}, i64 {taken[2]}"
            number = self._function.places[value]
            self._function.definitions[name] = text
            self._function.places[name] = number
            self._new[number] = f"{self._new[number]}\n  {name} = {text}"
        return name, kind

    def _continue(self) -> None:
        """Two products on one accumulator become one of twice the depth."""
        by_results = {tuple(p.results): p for p in self._products if None not in p.results}
        for product in self._products:
            before = by_results.get(product.addend)
            if before is None or before.then or before.absorbed:
                continue
            only_use = all(self._uses[r] == 1 for r in before.results)
            alike = (product.kind, product.right_kind) == (before.kind, before.right_kind)
            both_deepen = before.deepens and product.deepens
            if only_use and alike and both_deepen and self._same_block(before, product):
                before.then, product.absorbed = product, True
        pairs = [p for p in self._products if not p.absorbed]
        self._makers = {r: p for p in pairs for r in p.last.results if r}

    def _carry(self) -> None:
        """Products of floats hand on what may stay in the accumulator."""
        pairs = [p for p in self._products if p.of_floats and p.then]
        by_results = {tuple(p.last.results): p for p in pairs}
        for product in pairs:
            before = by_results.get(product.addend)
            only_use = all(self._uses[r] == 1 for r in product.addend)
            if before and only_use and self._same_block(before, product):
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
                   self._function.block_of(product.line).label)  # fmt: skip
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

    def _same_block(self, a: Product, b: Product) -> bool:
        return self._function.block_of(a.line) is self._function.block_of(b.line)

    def _can_wait(self, above: Product, below: Product) -> bool:
        """Whether nothing needs the upper result before the lower one can be had."""
        between = self._function.lines[above.last.line + 1 : below.last.line + 1]
        text = "\n".join(line for line in between if not _TAKEN.match(line))
        names = [r for r in above.last.results if r] + [above.last.name]
        return not any(re.search(re.escape(n) + r'(?![-\w.$"])', text) for n in names)

    def _is_ready(self, above: Product, below: Product) -> bool:
        """Whether the lower one has its operands where the upper one stands."""
        return all(self._place(name) < above.place for name in below.operands)

    def _place(self, name: str) -> int:
        maker = self._makers.get(name)
        return maker.place if maker else self._function.places.get(name, 0)


def lower_products(text: str, buffer_alignment: int) -> str:
    """Write the products of every function of an optimised module.

    Args:
        text: LLVM IR.
        buffer_alignment: bytes that divide the address of every buffer.
    """
    lines = text.split("\n")
    out: list[str] = []
    done = 0
    for first, last in split_functions(text):
        out += lines[done:first]
        body = lines[first : last + 1]
        has_products = any("@attn_matrix_multiply_accumulate_" in line for line in body)
        out += _Kernel(body, buffer_alignment).write() if has_products else body
        done = last + 1
    out += lines[done:]
    out = [line for line in out if not re.match(r"^declare .*@attn_matrix_multiply_", line)]
    whole = "\n".join(out)
    for declaration in _DECLARATIONS:
        name = re.search(r"@[\w.]+", declaration)[0]
        if f"{name}(" in whole and not re.search(rf"^declare .*{re.escape(name)}\(", whole, re.M):
            whole += f"\n{declaration}"
    return f"{whole}\nattributes #7770 = {{ convergent nounwind memory(none) }}\n"
