"""8x8 products on NVIDIA's tensor core, written into a kernel's optimised IR.

The instruction multiplies 16x8 by 8x8, or 16x16 by 16x8. An 8x8 product fills its upper rows; two
products that continue one accumulator become one of twice the depth, and two that share their
right operand fill its upper and lower rows. With lanes renamed as attnproto/cuda.h does, left
operands and results need no movement; right operands are read transposed where that is provably
the same (msl/operands.py), else transposed by the hardware.

The tensor core's accumulator truncates, so it starts at zero and its result is added outside,
where addition rounds. A float is the sum of three bfloats, exactly, and a product of two floats six
products of those, which fill two instructions; what is left out is below 2^-24. Beside a narrow
operand, which is a tf32 as it stands, a float is the sum of two tf32 to 2^-23: rows 0 to 7 take the
left operand's high parts, rows 8 to 15 its low.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .function import NAME, Function, named, split_functions
from .lanes import LaneAnalysis
from .operands import Fragment, Reader, element

_CALL = re.compile(
    rf"^  ({NAME}) = (?:tail )?call %struct\.attn_pair(?:\.\d+)* "
    r"@attn_matrix_multiply_accumulate_(\w+?)_(\w+?)\((.*)\)"
)
_TAKEN = re.compile(rf"^  ({NAME}) = extractvalue %struct\.attn_pair(?:\.\d+)* ({NAME}), ([01])")
_WIDENED = re.compile(rf"fpext (?:\w+ )*?(half|bfloat) ({NAME}) to float")
_WIDENED_VECTOR = re.compile(rf"fpext (?:\w+ )*?<\d+ x (half|bfloat)> ({NAME}) to <(\d+) x float>")
_ELEMENT = re.compile(rf"extractelement <\d+ x float> ({NAME}), i64 (\d+)")
_ZERO = "0.000000e+00"
_FOUR = "{ float, float, float, float }"
_DECLARATIONS = (
    "declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()",
    "declare i32 @llvm.nvvm.prmt(i32, i32, i32)",
    "declare void @llvm.nvvm.bar.warp.sync(i32)",
    "declare i32 @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x1.trans.b16.p3(ptr addrspace(3))",
    "declare {i32, i32} @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.trans.b16.p3(ptr addrspace(3))",
    "declare {i32, i32, i32, i32} "
    "@llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3(ptr addrspace(3))",
)
_MMA = {
    ("half", 8): "m16n8k8.row.col.f32.f16.f16.f32",
    ("half", 16): "m16n8k16.row.col.f32.f16.f16.f32",
    ("bfloat", 8): "m16n8k8.row.col.f32.bf16.bf16.f32",
    ("bfloat", 16): "m16n8k16.row.col.f32.bf16.bf16.f32",
    ("float", 8): "m16n8k8.row.col.f32.tf32.tf32.f32",
}


@dataclass
class _Product:
    name: str
    line: int
    left: tuple[str, str]
    right: tuple[str, str]
    left_kind: str
    right_kind: str
    addend: tuple[str, str]
    results: list[str | None] = field(default_factory=lambda: [None, None])
    then: _Product | None = None  # continues this one's accumulator, in the same instruction
    absorbed: bool = False  # by the one before it, or by the one above it
    below: _Product | None = None  # shares the right operands, in rows 8 to 15
    place: int = 0  # the line where the instruction goes

    @property
    def kind(self) -> str:
        same = self.left_kind == self.right_kind
        return self.left_kind if same else "float"

    @property
    def deepens(self) -> bool:
        """Whether two of its kind on one accumulator may share the tensor core's own."""
        return self.right_kind != "float"

    @property
    def last(self) -> _Product:
        return self.then or self

    @property
    def operands(self) -> tuple[str, ...]:
        """What must be there before the instruction."""
        then = (*self.then.left, *self.then.right) if self.then else ()
        return (*self.left, *self.right, *self.addend, *then)


class _Kernel:
    """One function whose products are to be written."""

    def __init__(self, lines: list[str], buffer_alignment: int):
        lines = named(lines)
        self._function = Function(lines)
        self._new = lines[:]
        self._serial = 0
        self._products = self._find()
        self._uses = Counter(
            name for line in lines for name in re.findall(NAME, line.split(" = ", 1)[-1])
        )
        self._reader = Reader(self._function, LaneAnalysis(self._function, buffer_alignment))
        self._right: dict[tuple[str, str], list[str]] = {}

    def write(self) -> list[str]:
        """The function with its products in place."""
        fragments = {}
        for product in self._products:
            first, second = (element(self._function, value) for value in product.right)
            if first and second and (first.origin, first.space) == (second.origin, second.space):
                fragments[product.right] = Fragment(first, second)
        self._right = self._reader.read(fragments)
        self._continue()
        self._share()
        for product in self._products:
            if not product.absorbed:
                self._write(product)
        out = []
        for number, line in enumerate(self._new):
            out += self._reader.before.get(number, [])
            out.append(line)
            if number == 1:
                out += self._reader.prologue
        return [line for line in out if line is not None]

    def _find(self) -> list[_Product]:
        found: dict[str, _Product] = {}
        for number, line in enumerate(self._function.lines):
            call = _CALL.match(line)
            if call:
                values = [a.split()[-1] for a in call[4].split(", ")]
                left, left_kind = self._narrowed(values[:2], call[2])
                right, right_kind = self._narrowed(values[2:4], call[3])
                found[call[1]] = _Product(
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
        self._makers = {r: p for p in self._products for r in p.results if r}
        for product in self._products:
            before = by_results.get(product.addend)
            if before is None or before.then or before.absorbed or not before.deepens:
                continue
            only_use = all(self._uses[r] == 1 for r in before.results)
            alike = (product.kind, product.right_kind) == (before.kind, before.right_kind)
            if only_use and alike and self._same_block(before, product):
                before.then, product.absorbed = product, True

    def _share(self) -> None:
        """Two such products with the same right operands fill upper and lower rows."""
        waiting: dict[tuple, _Product] = {}
        for product in self._products:
            product.place = product.last.line
            if product.absorbed or product.kind == "float":
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

    def _same_block(self, a: _Product, b: _Product) -> bool:
        return self._function.block_of(a.line) is self._function.block_of(b.line)

    def _can_wait(self, above: _Product, below: _Product) -> bool:
        """Whether nothing needs the upper result before the lower one can be had."""
        between = self._function.lines[above.last.line + 1 : below.last.line + 1]
        text = "\n".join(line for line in between if not _TAKEN.match(line))
        names = [r for r in above.last.results if r] + [above.last.name]
        return not any(re.search(re.escape(n) + r'(?![-\w.$"])', text) for n in names)

    def _is_ready(self, above: _Product, below: _Product) -> bool:
        """Whether the lower one has its operands where the upper one stands."""
        return all(self._place(name) < above.place for name in below.operands)

    def _place(self, name: str) -> int:
        maker = self._makers.get(name)
        return maker.place if maker else self._function.places.get(name, 0)

    def _name(self, text: str) -> str:
        self._serial += 1
        self._out.append(f"  %attn.t{self._serial} = {text}")
        return f"%attn.t{self._serial}"

    def _write(self, product: _Product) -> None:
        self._out: list[str] = []
        if product.kind != "float":
            self._write_narrow(product)
        elif product.left_kind == product.right_kind:
            self._write_float(product)
        else:
            self._write_mixed(product)
        self._new[product.place] = "\n".join(self._out)

    def _write_narrow(self, product: _Product) -> None:
        kind = product.kind
        steps = [product, product.then] if product.then else [product]
        lower = product.below
        below = ([lower, lower.then] if lower.then else [lower]) if lower else [None] * len(steps)
        left = []
        for upper, under in zip(steps, below, strict=True):
            left += [self._pair(upper.left, kind), self._pair(under.left, kind) if under else "0"]
        right = [self._word(step.right, kind) for step in steps]
        sums = self._multiply(kind, 8 * len(steps), left, right, [_ZERO] * 4)
        self._finish(product, sums[:2])
        if lower:
            self._finish(lower, sums[2:])

    def _finish(self, product: _Product, sums: list[str]) -> None:
        for addend, result, total in zip(product.addend, product.last.results, sums, strict=True):
            if result and addend == _ZERO:
                self._out.append(f"  {result} = fadd float {total}, 0.000000e+00")
            elif result:
                self._out.append(f"  {result} = fadd float {addend}, {total}")

    def _write_float(self, product: _Product) -> None:
        a = self._thirds(product.left)
        b = self._thirds(self._floats(product.right, "float"))
        # The smallest terms first, then beside the middle ones in the lower rows.
        left = [a[2], "0", a[0], "0"]
        small = self._multiply("bfloat", 16, left, [b[0], b[2]], [_ZERO] * 4)
        left = [a[0], a[1], a[1], a[0]]
        sums = self._multiply("bfloat", 16, left, b[:2], [_ZERO, _ZERO, *small[:2]])
        self._finish(product, [self._name(f"fadd float {sums[k]}, {sums[k + 2]}") for k in (0, 1)])

    def _thirds(self, values: Sequence[str]) -> list[str]:
        """Pairs of bfloats of which two floats are the sums, the largest first."""
        first, left = self._rounded(values)
        second, left = self._rounded(left)
        return [first, second, self._rounded(left)[0]]

    def _rounded(self, values: Sequence[str]) -> tuple[str, list[str]]:
        """Two floats as a pair of bfloats, and what rounding left of each."""
        pair = self._name(f"insertelement <2 x float> poison, float {values[0]}, i64 0")
        pair = self._name(f"insertelement <2 x float> {pair}, float {values[1]}, i64 1")
        pair = self._name(f"fptrunc <2 x float> {pair} to <2 x bfloat>")
        word = self._name(f"bitcast <2 x bfloat> {pair} to i32")
        tops = self._name(f"shl i32 {word}, 16"), self._name(f"and i32 {word}, {-(1 << 16)}")
        left = [
            self._name(f"fsub float {value}, {self._real(top)}")
            for value, top in zip(values, tops, strict=True)
        ]
        return word, left

    def _write_mixed(self, product: _Product) -> None:
        """One operand was narrow, and is a tf32 as it stands."""
        sums = [_ZERO] * 4
        steps = [product, product.then] if product.then else [product]
        for step in steps:
            left = self._split_rows(step)
            right = self._floats(step.right, step.right_kind)
            if step.right_kind == "float":
                tops = [self._masked(v) for v in right]
                rest = [self._below(v, top) for v, top in zip(right, tops, strict=True)]
                sums = self._multiply("float", 8, left, rest, sums)
            else:  # what was narrow is a tf32 already
                tops = [self._bits(v) for v in right]
            sums = self._multiply("float", 8, left, tops, sums)
        if any(step.left_kind == "float" for step in steps):
            sums = [self._name(f"fadd float {sums[k]}, {sums[k + 2]}") for k in (0, 1)]
        self._finish(product, sums[:2])

    def _split_rows(self, step: _Product) -> list[str]:
        """A left operand's high parts in the upper rows, its low parts in the lower."""
        whole = [self._widened(v, step.left_kind) for v in step.left]
        if step.left_kind != "float":
            high = [self._bits(v) for v in whole]
            return [high[0], "0", high[1], "0"]
        high = [self._masked(v) for v in whole]
        low = [self._below(v, top) for v, top in zip(whole, high, strict=True)]
        return [high[0], low[0], high[1], low[1]]

    def _below(self, value: str, top: str) -> str:
        """What a value's high part leaves."""
        return self._bits(self._name(f"fsub float {value}, {self._real(top)}"))

    def _multiply(self, kind, depth, left, right, addends) -> list[str]:
        operands = len(left) + len(right)
        places = [f"${k}" for k in range(4 + operands)]
        groups = [places[:4], places[4 : 4 + len(left)], places[4 + len(left) :], places[:4]]
        listed = ",".join("{" + ",".join(group) + "}" for group in groups)
        constraints = ",".join(["=f"] * 4 + ["r"] * operands + ["0", "1", "2", "3"])
        values = ", ".join([f"i32 {v}" for v in (*left, *right)] + [f"float {v}" for v in addends])
        result = self._name(
            f'call {_FOUR} asm "mma.sync.aligned.{_MMA[kind, depth]} {listed};", '
            f'"{constraints}"({values}) #7770'
        )
        return [self._name(f"extractvalue {_FOUR} {result}, {k}") for k in range(4)]

    def _word(self, pair: tuple[str, str], kind: str) -> str:
        if pair in self._right:
            return self._right[pair][0]
        return self._transposed(self._pair(pair, kind))

    def _floats(self, pair: tuple[str, str], kind: str) -> list[str]:
        """Elements (2q, g) and (2q + 1, g) of a right operand, as floats."""
        if kind != "float":
            word = self._word(pair, kind)
            both = self._name(f"bitcast i32 {word} to <2 x {kind}>")
            return [
                self._widened(self._name(f"extractelement <2 x {kind}> {both}, i64 {k}"), kind)
                for k in (0, 1)
            ]
        if pair in self._right:
            return self._right[pair]
        x, y = (self._bits(v) for v in pair)
        high = self._transposed(self._select(x, y, 0x7632))
        low = self._transposed(self._select(x, y, 0x5410))
        return [self._real(self._select(low, high, s)) for s in (0x5410, 0x7632)]

    def _transposed(self, word: str) -> str:
        return self._name(
            'call i32 asm "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;", "=r,r"'
            f"(i32 {word}) #7770"
        )

    def _select(self, a: str, b: str, selector: int) -> str:
        return self._name(f"call i32 @llvm.nvvm.prmt(i32 {a}, i32 {b}, i32 {selector})")

    def _pair(self, values: tuple[str, str], kind: str) -> str:
        pair = self._name(f"insertelement <2 x {kind}> poison, {kind} {values[0]}, i64 0")
        pair = self._name(f"insertelement <2 x {kind}> {pair}, {kind} {values[1]}, i64 1")
        return self._name(f"bitcast <2 x {kind}> {pair} to i32")

    def _widened(self, value: str, kind: str) -> str:
        return value if kind == "float" else self._name(f"fpext {kind} {value} to float")

    def _masked(self, value: str) -> str:
        # Rounded, not cut: what cutting leaves has the value's sign, and sums of it grow with N.
        halfway = self._name(f"add i32 {self._bits(value)}, {1 << 12}")
        return self._name(f"and i32 {halfway}, {-(1 << 13)}")

    def _bits(self, value: str) -> str:
        return self._name(f"bitcast float {value} to i32")

    def _real(self, word: str) -> str:
        return self._name(f"bitcast i32 {word} to float")


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
