"""The tensor core's instruction for 8x8 products, as IR.

Its accumulator truncates, so it starts at zero and its result is added outside, where addition
rounds. Products of narrow operands that follow one another on one accumulator stay in it for eight
instructions, 128 of the inner dimension: what is cut off is then below 2^-20 of the largest partial
sum. A float is the sum of three bfloats, exactly, and a product of two floats six products of
those; what is left out is below 2^-24. That of the largest parts is added outside, while the rest
is so much smaller that it may stay in an accumulator, from product to product. Beside a narrow
operand, which is a tf32 as it stands, a float is the sum of two tf32 to 2^-23: rows 0 to 7 take the
left operand's high parts, rows 8 to 15 its low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from attnproto.dtypes import ELEMENT_TYPES

_ZERO = "0.000000e+00"
_NOTHING = "-0.000000e+00"  # added, it changes no number
_FOUR = "{ float, float, float, float }"
# By element type and depth, of which a row of an operand has at most 256 bits.
_MMA = {
    (one.llvm, depth): f"m16n8k{depth}.row.col.f32.{one.mma}.{one.mma}.f32"
    for one in ELEMENT_TYPES
    for depth in (8, 16)
    if depth * one.bits <= 256
}


# Instructions that may follow one another in the tensor core's own accumulator.
LONGEST_CHAIN = 8


@dataclass
class Product:
    """An 8x8 product of a kernel, and those that share its instruction."""

    name: str
    line: int
    left: tuple[str, str]
    right: tuple[str, str]
    left_kind: str
    right_kind: str
    addend: tuple[str, str]
    results: list[str | None] = field(default_factory=lambda: [None, None])
    then: Product | None = None  # continues this one's accumulator, in the same instruction
    next: Product | None = None  # continues it after that, in an instruction of its own
    absorbed: bool = False  # by the one before it, or by the one above it
    below: Product | None = None  # shares the right operands, in rows 8 to 15
    place: int = 0  # the line where the instruction goes

    @property
    def kind(self) -> str:
        """What the instruction multiplies: the operands' element type, float where they differ."""
        same = self.left_kind == self.right_kind
        return self.left_kind if same else "float"

    @property
    def of_floats(self) -> bool:
        """Whether both operands need three bfloats."""
        return self.left_kind == self.right_kind == "float"

    @property
    def deepens(self) -> bool:
        """Whether two of its kind on one accumulator may share the tensor core's own."""
        return self.right_kind != "float" or self.of_floats

    @property
    def shares(self) -> bool:
        """Whether others may share: the lower rows, and the accumulator afterwards."""
        return self.kind != "float" or (self.of_floats and self.then is not None)

    @property
    def carries(self) -> bool:
        """Whether what stays in the accumulator may stay for the next one: it has the same rows."""
        if not self.next or self.next.absorbed:
            return False
        if self.below:
            return self.below.next is not None and self.below.next is self.next.below
        return not self.next.below

    @property
    def steps(self) -> list[Product]:
        """Those of one accumulator that share the instruction, in their order."""
        return [self, self.then] if self.then else [self]

    @property
    def last(self) -> Product:
        """The one that leaves the result."""
        return self.then or self

    @property
    def operands(self) -> tuple[str, ...]:
        """What must be there before the instruction."""
        then = (*self.then.left, *self.then.right) if self.then else ()
        return (*self.left, *self.right, *self.addend, *then)


@dataclass(frozen=True)
class _Chain:
    """Products of narrow operands so far in one accumulator.

    Attributes:
        sums: the accumulator, two values of the upper rows and two of the lower.
        addends: what is added to them in the end.
        length: instructions.
    """

    sums: list[str]
    addends: tuple[str, ...]
    length: int


class Writer:
    """Writes the products of one function.

    Args:
        right: right operands that are read already: a word of two narrow elements, or two floats.
        rows_apart: by two right operands, words that hold an element of either: of the upper rows,
            of the lower.
    """

    def __init__(
        self,
        right: Mapping[tuple[str, str], list[str]],
        rows_apart: Mapping[tuple[tuple[str, str], tuple[str, str]], list[str]],
    ):
        self._right = right
        self._rows_apart = rows_apart
        self._carried: dict[str, list[str]] = {}
        self._chains: dict[str, _Chain] = {}
        self._serial = 0
        self._out: list[str] = []

    def _name(self, text: str) -> str:
        self._serial += 1
        self._out.append(f"  %attn.t{self._serial} = {text}")
        return f"%attn.t{self._serial}"

    def write(self, product: Product) -> str:
        """The lines of a product, and of those in its instruction."""
        self._out = []
        if product.kind != "float":
            self._write_narrow(product)
        elif not product.of_floats:
            self._write_mixed(product)
        elif product.then:
            self._write_floats(product, product.then)
        else:
            self._write_float(product)
        return "\n".join(self._out)

    def _write_narrow(self, product: Product) -> None:
        lower = product.below
        left, right = self._narrow_operands(product)
        before = self._chains.pop(product.name, None)
        if before is None:
            addends = (*product.addend, *(lower.addend if lower else (_ZERO, _ZERO)))
            before = _Chain([_ZERO] * 4, addends, 0)
        sums = self._multiply(product.kind, 4 * len(left), left, right, before.sums)
        chain = _Chain(sums, before.addends, before.length + 1)
        if product.carries and chain.length < LONGEST_CHAIN:
            self._chains[product.next.name] = chain
            return
        self._finish(product, chain.addends[:2], sums[:2])
        if lower:
            self._finish(lower, chain.addends[2:], sums[2:])

    def _narrow_operands(self, product: Product) -> tuple[list[str], list[str]]:
        """Words of the left and of the right operand."""
        kind, steps, lower = product.kind, product.steps, product.below
        upper_left = [step.left for step in steps]
        lower_left = [step.left for step in lower.steps] if lower else [None] * len(steps)
        # The inner dimension's order is free where both operands have the same one.
        right = self._rows_apart.get(tuple(step.right for step in steps))
        if right:
            upper_left = list(zip(*upper_left, strict=True))
            lower_left = list(zip(*lower_left, strict=True)) if lower else lower_left
        left = [
            self._pair(pair, kind) if pair else "0"
            for rows in zip(upper_left, lower_left, strict=True) for pair in rows
        ]  # fmt: skip
        return left, right or [self._word(step.right, kind) for step in steps]

    def _finish(
        self,
        product: Product,
        addends: Sequence[str],
        large: Sequence[str],
        small: Sequence[str] = (),
    ) -> None:
        """Add to the addends what was multiplied, and then what is far smaller."""
        for k, result in enumerate(product.last.results):
            if not result:
                continue
            # A sum that began at zero is never -0.
            total, rest = _NOTHING if addends[k] == _ZERO else addends[k], large[k]
            if small:
                total, rest = self._name(f"fadd float {total}, {rest}"), small[k]
            self._out.append(f"  {result} = fadd float {total}, {rest}")

    def _write_float(self, product: Product) -> None:
        a = self._thirds(product.left)
        b = self._thirds(self._floats(product.right, "float"))
        # The smallest terms first, then beside the middle ones in the lower rows.
        left = [a[2], "0", a[0], "0"]
        small = self._multiply("bfloat", 16, left, [b[0], b[2]], [_ZERO] * 4)
        left = [a[0], a[1], a[1], a[0]]
        sums = self._multiply("bfloat", 16, left, b[:2], [_ZERO, _ZERO, *small[:2]])
        self._finish(product, product.addend, self._both_rows(sums))

    def _both_rows(self, sums: list[str]) -> list[str]:
        """Upper and lower rows, where both are parts of one product."""
        return [self._name(f"fadd float {sums[k]}, {sums[k + 2]}") for k in (0, 1)]

    def _write_floats(self, product: Product, then: Product) -> None:
        """Two products on one accumulator, and the two that share their right operands."""
        lower = product.below
        steps = product, then
        # Parts of the right operand come one after another in 'rest': ptxas holds fewer at once.
        right = self._by_size([self._floats(step.right, "float") for step in steps])
        upper_left = self._by_size([step.left for step in steps])
        if lower:
            lower_left = self._by_size([step.left for step in (lower, lower.last)])
            left = [self._rows(*one) for one in zip(upper_left, lower_left, strict=True)]
            rest = [(1, 0), (2, 0), (0, 1), (1, 1), (0, 2)]
        else:
            left = [self._rows(upper_left[k], upper_left[1]) for k in (0, 2)]
            rest = [(1, 0), (0, 1), (0, 2)]
        large = self._multiply("bfloat", 16, left[0], right[0], [_ZERO] * 4)
        small = self._carried.pop(product.name, [_ZERO] * 4)
        for a, b in rest:
            small = self._multiply("bfloat", 16, left[a], right[b], small)
        if product.carries:
            self._carried[product.next.name] = small
            small = []
        if lower:
            self._finish(lower, lower.addend, large[2:], small[2:])
        elif small:
            small = self._both_rows(small)
        self._finish(product, product.addend, large[:2], small[:2])

    def _by_size(self, operands: Sequence[Sequence[str]]) -> list[list[str]]:
        """The largest bfloats of each operand, the middle ones, the smallest."""
        thirds = [self._thirds(values) for values in operands]
        return [list(of_a_size) for of_a_size in zip(*thirds, strict=True)]

    @staticmethod
    def _rows(upper: Sequence[str], lower: Sequence[str]) -> list[str]:
        """A left operand of depth 16 as the instruction takes it."""
        return [upper[0], lower[0], upper[1], lower[1]]

    def _thirds(self, values: Sequence[str]) -> list[str]:
        """Pairs of bfloats of which two floats are the sums, the largest first."""
        first, left = self._rounded(values)
        second, left = self._rounded(left)
        return [first, second, self._rounded(left)[0]]

    def _rounded(self, values: Sequence[str]) -> tuple[str, list[str]]:
        """Two floats as a pair of bfloats, and what rounding left of each."""
        both = self._vector(values, "float")
        pair = self._name(f"fptrunc <2 x float> {both} to <2 x bfloat>")
        word = self._name(f"bitcast <2 x bfloat> {pair} to i32")
        tops = self._name(f"shl i32 {word}, 16"), self._name(f"and i32 {word}, {-(1 << 16)}")
        left = [
            self._name(f"fsub float {value}, {self._real(top)}")
            for value, top in zip(values, tops, strict=True)
        ]
        return word, left

    def _write_mixed(self, product: Product) -> None:
        """One operand was narrow, and is a tf32 as it stands."""
        sums = [_ZERO] * 4
        steps = product.steps
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
            sums = self._both_rows(sums)
        self._finish(product, product.addend, sums[:2])

    def _split_rows(self, step: Product) -> list[str]:
        """A left operand's high parts in the upper rows, its low parts in the lower."""
        floats = [self._widened(v, step.left_kind) for v in step.left]
        if step.left_kind != "float":
            high = [self._bits(v) for v in floats]
            return [high[0], "0", high[1], "0"]
        high = [self._masked(v) for v in floats]
        low = [self._below(v, top) for v, top in zip(floats, high, strict=True)]
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

    def _vector(self, values: Sequence[str], kind: str) -> str:
        one = self._name(f"insertelement <2 x {kind}> poison, {kind} {values[0]}, i64 0")
        return self._name(f"insertelement <2 x {kind}> {one}, {kind} {values[1]}, i64 1")

    def _pair(self, values: tuple[str, str], kind: str) -> str:
        return self._name(f"bitcast <2 x {kind}> {self._vector(values, kind)} to i32")

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
