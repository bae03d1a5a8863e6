"""Texts of one kernel made at random from a grammar of MSL, right ones and wild ones.

A right text indexes inside what it has, and may do all else that a kernel may: recurse, never end,
divide by zero, meet some lanes at a barrier. A wild one indexes anywhere, by any pointer.
"""

from __future__ import annotations

import random
from collections.abc import Callable

SIGNED, UNSIGNED = ("char", "short", "int", "long"), ("uchar", "ushort", "uint", "ulong")
WHOLE, REAL = (*SIGNED, *UNSIGNED), ("half", "float", "bfloat")
SCALARS = (*WHOLE, *REAL, "bool")
VECTORS = tuple(f"{s}{n}" for s in (*WHOLE, "half", "float") for n in (2, 3, 4))
BUFFERS = {"a": "float", "b": "int", "h": "half4", "s": "S"}
ELEMENTS = 16  # of each buffer, and of each array
UNARY = ("abs", "exp", "sqrt", "floor", "sin", "rsqrt", "precise::log", "fast::exp2")
TOGETHER = ("simd_sum", "simd_max", "simd_prefix_exclusive_sum", "simd_broadcast_first", "quad_sum")
POINTERS = (
    ("device float*", "a"), ("device int*", "b"), ("threadgroup float*", "shared"),
    ("device float*", "a + ((n) & 3)"), ("device int*", "s->y"),
)  # fmt: skip
ODD_WHOLES = ("0", "1", "-1", "7", "31", "32", "33", "255", "65536", "2147483647", "-2147483648")
ODD_REALS = ("0.0", "-0.0", "1.0", "0.5", "1e-38", "3e38", "INFINITY", "NAN")

HEAD = """#include <metal_stdlib>
using namespace metal;
struct P { half4 a; half4 b; };
struct S { float x; int y[3]; uchar z; short2 w; };
struct N { S s; P p[2]; };
constant int table[16] = {0, 1, -1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610};
constant int kNumber [[function_constant(0)]];
template <typename T> T twice(T x) { return x + x; }
"""
ARGUMENTS = """(device float* a [[buffer(0)]], device int* b [[buffer(1)]],
    const device half4* h [[buffer(2)]], device S* s [[buffer(3)]], constant int& n [[buffer(4)]],
    device atomic_int* total [[buffer(5)]], threadgroup float* dynamic [[threadgroup(0)]],
    uint i [[thread_position_in_grid]], uint t [[thread_position_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]])"""


def is_vector(kind: str) -> bool:
    """Whether a type is a vector of numbers."""
    return kind[-1] in "234"


def element(kind: str) -> str:
    """A vector's number, a number itself."""
    return kind[:-1] if is_vector(kind) else kind


class Writer:
    """Writes one text; ``wild`` says whether indices stray."""

    def __init__(self, seed: int, wild: bool):
        self.random, self.wild = random.Random(seed), wild
        self.names: list[tuple[str, str]] = []  # variables in scope, and their types
        self.arrays: list[tuple[str, str]] = []
        self.functions: list[tuple[str, str, tuple[str, ...]]] = []
        self.count, self.in_loop = 0, False

    def text(self) -> str:
        """The text."""
        functions = "".join(self.function() for _ in range(self.random.randint(0, 3)))
        self.names = [("n", "int"), ("i", "uint"), ("t", "uint"), ("lane", "uint")]
        self.names.append(("kNumber", "int"))
        self.arrays = [("a", "float"), ("b", "int"), ("table", "int"), ("dynamic", "float")]
        self.arrays += [("shared", "float"), ("pairs[i & 1].a", "half"), ("s[i & 7].y", "int")]
        body = "threadgroup float shared[16];\nthreadgroup P pairs[2];\n"
        body += "if (t == 0) { for (int k = 0; k < 16; k++) shared[k] = dynamic[k] = a[k];\n"
        body += "pairs[0] = pairs[1] = P{h[0], h[1]}; }\n"
        body += "threadgroup_barrier(mem_flags::mem_threadgroup);\n"
        body += self.block(4, kernel=True)
        return f"{HEAD}{functions}kernel void k{ARGUMENTS} {{\n{body}}}\n"

    def pick(self, *choices: str) -> str:
        """One of them."""
        return self.random.choice(choices)

    def often(self, share: float) -> bool:
        """True with this probability."""
        return self.random.random() < share

    def fresh(self, stem: str) -> str:
        """A new name."""
        self.count += 1
        return f"{stem}{self.count}"

    def kind(self) -> str:
        """A type of numbers."""
        return self.pick(*SCALARS) if self.often(0.75) else self.pick(*VECTORS)

    def function(self) -> str:
        """A function; it may call those before it, and itself."""
        name, result = self.fresh("f"), self.kind()
        parameters = tuple(self.kind() for _ in range(self.random.randint(0, 3)))
        self.names = [(f"p{k}", kind) for k, kind in enumerate(parameters)]
        given = ", ".join(f"{kind} {parameter}" for parameter, kind in self.names)
        self.names.append(("local", "int"))
        self.arrays = [("table", "int")]
        if self.often(0.15):
            self.functions.append((name, result, parameters))
        body = self.block(2) + f"return {self.value(result, 3)};\n"
        if (name, result, parameters) not in self.functions:
            self.functions.append((name, result, parameters))
        before = self.pick("", "static ", "inline ")
        return f"{before}{result} {name}({given}) {{\nint local = 1;\n{body}}}\n"

    def index(self, depth: int) -> str:
        """An index of ELEMENTS, or of anything."""
        at = self.value(self.pick(*WHOLE), depth)
        if not self.wild or self.often(0.7):
            return f"{at} & {self.pick('3', '1', '2')}"
        return self.pick(at, f"{at} * 1000", f"-{at}", "-1", "16", "1 << 20", "-2147483647")

    def place(self, depth: int) -> tuple[str, str]:
        """Something that can be assigned to, and its type."""
        numbers = [one for one in self.names if one[0] not in ("n", "kNumber")]
        constant = ("table",) if self.often(0.99) else ()
        arrays = [one for one in self.arrays if one[0] not in constant]
        if arrays and self.often(0.5):
            name, kind = self.random.choice(arrays)
            return f"{name}[{self.index(depth)}]", kind
        name, kind = self.random.choice(numbers)
        if is_vector(kind) and self.often(0.5):
            return f"{name}{self.part(kind, depth)}", element(kind)
        return name, kind

    def part(self, kind: str, depth: int) -> str:
        """One number of a vector."""
        last = int(kind[-1]) - 1
        if self.often(0.7):
            return "." + "xyzw"[self.random.randint(0, last)]
        return f"[{self.index(depth)}]" if self.wild else f"[{self.random.randint(0, last)}]"

    def value(self, kind: str, depth: int) -> str:
        """An expression of a type."""
        if depth <= 0:
            return self.leaf(kind)
        if is_vector(kind):
            return self.vector(kind, depth)
        ways: list[Callable[[], str]] = [
            lambda: self.leaf(kind),
            lambda: self.cast(kind, self.value(self.pick(*SCALARS), depth - 1)),
            lambda: self.binary(kind, depth),
            lambda: self.binary(kind, depth),
            lambda: (
                f"({self.value('bool', depth - 1)} ? {self.value(kind, depth - 1)} : "
                f"{self.value(kind, depth - 1)})"
            ),
            lambda: self.read(kind, depth),
            lambda: self.call(kind, depth),
            lambda: self.special(kind, depth),
        ]
        return self.random.choice(ways)()

    def cast(self, kind: str, value: str) -> str:
        """A number as one of a type; half and bfloat are no numbers of each other."""
        return f"{kind}(float({value}))" if kind in ("half", "bfloat") else f"{kind}({value})"

    def leaf(self, kind: str) -> str:
        """A name or a number."""
        named = [name for name, of in self.names if of == kind]
        if named and self.often(0.7):
            return self.pick(*named)
        odd = self.pick(*(ODD_REALS if element(kind) in REAL else ODD_WHOLES))
        return f"{kind}({odd})"

    def binary(self, kind: str, depth: int) -> str:
        """An operation on two of a type."""
        a, b = self.value(kind, depth - 1), self.value(kind, depth - 1)
        if kind == "bool":
            other = self.pick(*SCALARS)
            a, b = self.value(other, depth - 1), self.value(other, depth - 1)
            return f"({a} {self.pick('<', '==', '!=', '>=', '&&', '||')} {b})"
        if element(kind) in WHOLE and self.often(0.4):
            return f"{kind}({a} {self.pick('/', '%', '&', '^', '|', '<<', '>>')} {b})"
        return f"{kind}({a} {self.pick('+', '-', '*', '/')} {b})"

    def vector(self, kind: str, depth: int) -> str:
        """A vector, from numbers or another."""
        of, width = element(kind), int(kind[-1])
        way = self.random.randint(0, 5)
        if way == 0:
            return self.leaf(kind)
        if way == 1:
            return f"{kind}({self.value(of, depth - 1)})"
        if way == 2:
            return f"{kind}({', '.join(self.value(of, depth - 2) for _ in range(width))})"
        if way == 3:
            return self.binary(kind, depth)
        one = self.value(kind, depth - 1)
        if way == 4:
            return f"{one}.{''.join(self.pick('x', 'y') for _ in range(width))}"
        test = self.value("bool", depth - 1)
        return f"select({one}, {self.value(kind, depth - 1)}, bool{width}({test}))"

    def read(self, kind: str, depth: int) -> str:
        """A number from memory."""
        if not self.arrays:
            return self.leaf(kind)
        name, _ = self.random.choice(self.arrays)
        return self.cast(kind, f"{name}[{self.index(depth - 1)}]")

    def call(self, kind: str, depth: int) -> str:
        """A call of one of our functions, or of the library."""
        if not self.functions or self.often(0.5):
            if kind in REAL[:2]:
                return f"{kind}({self.pick(*UNARY)}({self.value(kind, depth - 1)}))"
            return f"{kind}(min({self.value('int', depth - 1)}, {self.value('int', depth - 1)}))"
        name, result, parameters = self.random.choice(self.functions)
        given = ", ".join(self.value(one, depth - 1) for one in parameters)
        called = f"{name}({given})"
        return self.cast(kind, f"{called}{'.x' if is_vector(result) else ''}")

    def special(self, kind: str, depth: int) -> str:
        """What lanes do together, atomics, bits, templates, sizes."""
        x = self.value("int", depth - 1)
        return self.cast(kind, self.pick(
            f"({self.pick(*TOGETHER)}({self.value('float', depth - 1)}))",
            f"(simd_shuffle({x}, ushort({self.index(depth - 1)})))",
            f"(ulong(simd_ballot({self.value('bool', depth - 1)})))", f"(popcount({x}))",
            f"(twice({x}))", f"(as_type<float>({x}))", "(sizeof(N))", f"(clz({x}))",
            f"(dot(float4({self.value('float', depth - 1)}), float4(1, 2, 3, 4)))",
        ))  # fmt: skip

    def block(self, depth: int, kernel: bool = False) -> str:
        """Statements; what they declare ends with them."""
        names, arrays = list(self.names), list(self.arrays)
        count = self.random.randint(1, 5)
        written = "".join(self.statement(depth, kernel) for _ in range(count))
        if not kernel or depth < 4:
            self.names, self.arrays = names, arrays
        return written

    def statement(self, depth: int, kernel: bool) -> str:
        """One statement."""
        way = self.random.randint(0, 15 if depth else 7)
        if way <= 1:
            name, kind = self.fresh("v"), self.kind()
            written = f"{kind} {name} = {self.value(kind, 3)};\n"
            self.names.append((name, kind))
            return written
        if way == 2:
            name, kind = self.fresh("r"), self.pick(*SCALARS[:11])
            self.arrays.append((name, kind))
            return f"{kind} {name}[{ELEMENTS}] = {{{self.value(kind, 2)}}};\n"
        if way <= 5:
            place, kind = self.place(2)
            how = self.pick("=", "=", "+=", "-=", "*=")
            return f"{place} {how} {self.value(kind, 3)};\n"
        if way == 6:
            return self.together() if kernel else f"{self.place(1)[0]}++;\n"
        if way == 7:
            return self.pointer() if kernel else ";\n"
        test = self.value("bool", 3)
        if way <= 9:
            other = f" else {{\n{self.block(depth - 1, kernel)}}}" if self.often(0.4) else ""
            return f"if ({test}) {{\n{self.block(depth - 1, kernel)}}}{other}\n"
        if way == 10:
            cases = "".join(
                f"case {k}: {{ {self.block(depth - 1, kernel)} }} {self.pick('break;', '')}\n"
                for k in range(self.random.randint(1, 3))
            )
            return f"switch ({self.value('int', 2)} & 3) {{\n{cases}default: ;\n}}\n"
        if way == 11 and self.often(0.2):
            return f"if ({test}) {self.pick('return;', '__builtin_trap();')}\n" if kernel else ""
        return self.loop(depth, kernel, test)

    def loop(self, depth: int, kernel: bool, test: str) -> str:
        """A loop, which need not end."""
        inside = self.block(depth - 1, kernel)
        if self.often(0.3):
            inside += f"if ({self.value('bool', 2)}) {self.pick('break', 'continue')};\n"
        if self.often(0.1):
            return f"while ({test}) {{\n{inside}}}\n"
        if self.often(0.1):
            return f"do {{\n{inside}}} while ({test});\n"
        k = self.fresh("k")
        most = self.pick("3", f"{self.value('int', 1)} & 7")
        return f"for (int {k} = 0; {k} < ({most}); {k}++) {{\n{inside}}}\n"

    def together(self) -> str:
        """Barriers, atomics, copies of structs."""
        i, j, number = self.index(1), self.index(1), self.value("int", 2)
        return self.pick(
            "threadgroup_barrier(mem_flags::mem_threadgroup);",
            "simdgroup_barrier(mem_flags::mem_none);",
            f"atomic_fetch_add_explicit(&total[{i}], {number}, memory_order_relaxed);",
            f"pairs[({i}) & 1] = P{{h[{j}], h[{i}]}};", f"s[{i}] = s[{j}];",
            f"{{ S c = s[{i}]; c.y[({j}) % 3u] = {number}; s[{j}] = c; }}",
            f"{{ N c; c.s = s[{i}]; c.p[1] = pairs[({j}) & 1]; a[{i}] = float(c.p[1].b.y); }}",
            f"a[{i}] += b[{j}];", f"a[{i}] += a[{j}]; b[{j}] -= int(a[{i}]);",
        ) + "\n"  # fmt: skip

    def pointer(self) -> str:
        """A pointer, and what is read and written by it."""
        name = self.fresh("q")
        kind, base = self.random.choice(POINTERS)
        if self.wild and self.often(0.4):
            odd = self.value("ulong", 2)
            base = self.pick("nullptr", f"{base} + {self.value('int', 2)}", f"({kind})({odd})")
        return f"{{ {kind} {name} = {base}; {name}[{self.index(1)}] = {name}[{self.index(1)}]; }}\n"


def text(seed: int, wild: bool) -> str:
    """The text of a seed."""
    return Writer(seed, wild).text()
