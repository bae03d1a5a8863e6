"""AIR's own functions: what each means, and what stands for it here.

A call of ``air.exp.f32`` is one of a function that our headers define, so that a compiled kernel
and a text compute with the same library on every target. The table's rows have the name, the types
that it exists for, and the expression in MSL; a function is defined for each, takes its result's
and its operands' places in memory and is inlined.

In a name, ``{t}`` is a type: ``f32``, ``v4f16``, ``s.i32`` of a signed integer. To AIR, a
``simdgroup_matrix`` is 64 elements a lane, of which it uses two; here it is those two.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from attnproto.dtypes import ELEMENT_TYPES

PREFIX = "@air."
DEFINED = "attn_air_"  # what begins the symbol of a definition
MATRIX_LANES = 64

_FLOATS = {one.name: one.msl for one in ELEMENT_TYPES}
_HALVES = {t: _FLOATS[t] for t in ("f32", "f16")}
_INTEGERS = {
    f"{sign}.i{8 * size}": ("u" if sign == "u" else "") + name
    for sign in "su"
    for size, name in ((1, "char"), (2, "short"), (4, "int"), (8, "long"))
}
_NUMBERS = {**_FLOATS, **_INTEGERS}
_STORED = {
    **{one.msl: one.llvm for one in ELEMENT_TYPES},
    **{"bool": "i8", "char": "i8", "short": "i16", "int": "i32", "long": "i64"},
}
# As conversions name them, which say of floats that they are.
_NAMED = {**{f"f.{t}": kind for t, kind in _FLOATS.items()}, **_INTEGERS, "u.i1": "bool"}
_SHORT = ("f.f16", "f.bf16")  # which are no conversion of one another's


def _vectors(types: dict[str, str]) -> dict[str, str]:
    by_name = {}
    for (name, spelled), n in itertools.product(types.items(), (2, 3, 4)):
        sign, dot, kind = name.rpartition(".")
        by_name[f"{sign}{dot}v{n}{kind}"] = f"{spelled}{n}"
    return by_name


_MATHS = {**_HALVES, **_vectors(_HALVES)}
_WIDE = {**_NUMBERS, **_vectors({t: _NUMBERS[t] for t in ("f32", "f16", "s.i32", "u.i32")})}


@dataclass(frozen=True)
class Row:
    """Functions of one meaning.

    Attributes:
        names: in AIR, with ``{t}`` for the type; several where they mean the same.
        types: in AIR's spelling and in MSL's.
        operands: types of the operands; T stands for the row's, E for that of its elements.
        result: likewise; empty: none.
        expression: in MSL, of a, b, c and d.
    """

    names: str
    types: dict[str, str]
    operands: str
    result: str
    expression: str


def _each(names: str, types: dict[str, str], operands: str, expression: str) -> list[Row]:
    """A row for each of some functions that MSL calls as AIR does; those of maths may be fast."""
    fast = "fast_{n}.{{t}} " if types is _MATHS else ""
    return [
        Row((fast + "{n}.{{t}}").format(n=n), types, operands, "T", n + expression)
        for n in names.split()
    ]


_ONE = {"": ""}
_ATOMIC = {"f32": "float", "s.i32": "int", "u.i32": "uint"}
_SPACES = {"1": "__global", "3": "__local"}
_PLAIN = {"i8": "uchar", "i16": "ushort", "i32": "uint", "i64": "ulong", **_FLOATS}
_MEMORY = {**_PLAIN, **_vectors(_PLAIN)}
_ROWS = (
    *_each(
        "exp exp2 exp10 log log2 log10 sqrt sin cos tan asin acos atan sinh cosh tanh asinh "
        "acosh atanh sinpi cospi tanpi floor ceil round rint trunc fabs fract sign saturate",
        _MATHS, "T", "(a)",
    ),
    # The one whose precise form is another function (headers/include/attnproto/accuracy.h).
    Row("rsqrt.{t}", _MATHS, "T", "T", "precise::rsqrt(a)"),
    Row("fast_rsqrt.{t}", _MATHS, "T", "T", "rsqrt(a)"),
    *_each("fmin fmax pow powr fmod atan2 fdim copysign", _MATHS, "T, T", "(a, b)"),
    *_each("fma mad", _MATHS, "T, T, T", "(a, b, c)"),
    Row("ldexp.{t}", _HALVES, "T, int", "T", "ldexp(a, b)"),
    Row("dot.{t} fast_dot.{t}", _vectors(_HALVES), "T, T", "E", "dot(a, b)"),
    Row("fclamp.{t} fast_clamp.{t}", _MATHS, "T, T, T", "T", "clamp(a, b, c)"),
    *_each("min max", _INTEGERS, "T, T", "(a, b)"),
    Row("abs.{t}", _INTEGERS, "T", "T", "(T)abs(a)"),
    *_each("clamp", _INTEGERS, "T, T, T", "(a, b, c)"),
    Row("mul_hi.{t}", _INTEGERS, "T, T", "T", "mulhi(a, b)"),
    *(Row(f"{n}.i32", _ONE, "uint, bool", "uint", f"{n}(a)") for n in ("clz", "ctz")),
    Row("popcount.i32", _ONE, "uint", "uint", "popcount(a)"),
    Row("wg.barrier", _ONE, "uint, uint", "", "threadgroup_barrier((mem_flags)a)"),
    Row("simdgroup.barrier", _ONE, "uint, uint", "", "simdgroup_barrier((mem_flags)a)"),
    Row("atomic.fence", _ONE, "uint, uint, uint", "",
        "atomic_thread_fence((mem_flags)a, (memory_order)b, (thread_scope)c)"),
    # Memory that the whole machine sees alike: here all of it is.
    Row("load.system_coherent.{t}.p1{t} load.system_coherent.volatile.{t}.p1{t}", _MEMORY,
        "const __global T*", "T", "*(const volatile __global T*)a"),
    Row("store.system_coherent.{t}.p1{t} store.system_coherent.volatile.{t}.p1{t}", _MEMORY,
        "T, __global T*", "", "*(volatile __global T*)b = a"),
    *_each(
        "simd_sum simd_product simd_min simd_max simd_prefix_inclusive_sum "
        "simd_prefix_exclusive_sum simd_prefix_inclusive_product simd_prefix_exclusive_product "
        "quad_sum quad_product quad_min quad_max",
        _NUMBERS, "T", "(a)",
    ),
    *_each("simd_and simd_or simd_xor", _INTEGERS, "T", "(a)"),
    *_each("simd_broadcast_first quad_broadcast_first", _WIDE, "T", "(a)"),
    *_each(
        "simd_shuffle simd_shuffle_xor simd_shuffle_up simd_shuffle_down simd_broadcast "
        "simd_shuffle_rotate_up simd_shuffle_rotate_down quad_shuffle quad_shuffle_xor "
        "quad_shuffle_up quad_shuffle_down quad_broadcast",
        _WIDE, "T, ushort", "(a, b)",
    ),
    *_each(
        "simd_shuffle_and_fill_up simd_shuffle_and_fill_down", _WIDE, "T, T, ushort, ushort",
        "(a, b, c, d)",
    ),
    *(Row(n, _ONE, "bool", "bool", f"{n}(a)") for n in ("simd_any", "simd_all")),
    Row("simd_is_first", _ONE, "", "bool", "simd_is_first()"),
    Row("get_simdgroup_size.i16", _ONE, "", "ushort", "32"),
    # That lanes agree is a promise of the text's, which Apple's optimiser has used already.
    Row("is_uniform.i1", _ONE, "bool", "bool", "true"),
    Row("is_uniform.i32", _ONE, "uint", "bool", "true"),
    Row("normalize_function_constant_predicate.i8", _ONE, "uchar", "uchar", "(uchar)(a != 0)"),
    *(
        Row(
            f"atomic.{where}.{name}.{{t}}", _ATOMIC, f"{_SPACES[n]} T*, T, uint, uint, bool", "T",
            f"atomic_fetch_{name}_explicit((volatile {_SPACES[n]} atomic<T>*)a, b, "
            "memory_order_relaxed)",
        )
        for n, where in (("1", "global"), ("3", "local"))
        for name in ("add", "sub")
    ),
    *(
        Row(
            f"convert.{to}.{{t}}", _NAMED, "T", spelled,
            "a != 0" if spelled == "bool" else f"({spelled})" + "(float)" * (to in _SHORT) + "a",
        )
        for to, spelled in _NAMED.items()
    ),
    *(
        Row(f"convert.f.v{n}{to}.f.v{n}{of}", _ONE, f"{_FLOATS[of]}{n}", f"{_FLOATS[to]}{n}",
            f"__builtin_convertvector(a, {_FLOATS[to]}{n})")
        for n in (2, 3, 4)
        for to, of in itertools.permutations(_FLOATS, 2)
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Definition:
    """A function that stands for one of AIR's.

    Attributes:
        air: its symbol in AIR.
        symbol: of the function that is defined.
        stored: LLVM's types of its result, if any, and of its operands, as they lie in memory.
        text: of that, in C++ for OpenCL.
    """

    air: str
    symbol: str
    stored: tuple[str, ...]
    text: str


def _definition(name: str, operands: list[str], result: str, statement: str) -> Definition:
    """A function of memory: where its result goes, then where its operands are.

    Values cross no call: how a vector is passed differs between processors.
    """
    own = DEFINED + name.replace(".", "_")
    named = list(zip("abcde", operands, strict=False))
    parameters = [f"{result} __private* r"] if result else []
    parameters += [f"{kind} __private* at_{x}" for x, kind in named]
    taken = "".join(f"{kind} {x} = *at_{x}; " for x, kind in named)
    text = f'extern "C" void {own}({", ".join(parameters)}) {{ {taken}{statement}; }}'
    stored = map(_stored, [result, *operands] if result else operands)
    return Definition(PREFIX + name, f"@{own}", tuple(stored), text)


def _stored(kind: str) -> str:
    """LLVM's type of what a variable of a type in C++ holds."""
    if kind.endswith("*"):
        return f"ptr addrspace({1 if '__global' in kind else 3})"
    scalar = kind.rstrip("234")
    element = _STORED[scalar.removeprefix("u")]
    return element if scalar == kind else f"<{kind[len(scalar) :]} x {element}>"


def _of_rows() -> Iterator[Definition]:
    for row in _ROWS:
        for (air, spelled), name in itertools.product(row.types.items(), row.names.split()):
            element = spelled.rstrip("234")

            def typed(text: str, spelled: str = spelled, element: str = element) -> str:
                return re.sub(r"\bE\b", element, re.sub(r"(?<![A-Za-z])T\b", spelled, text))

            expression = typed(row.expression)
            kinds = typed(row.operands).split(", ") if row.operands else []
            result = typed(row.result)
            statement = f"*r = {expression}" if result else expression
            yield _definition(name.replace("{t}", air), kinds, result, statement)


def _of_matrices() -> Iterator[Definition]:
    """Products and moves of fragments; a lane's two elements are a vector here."""
    family = "simdgroup_matrix_8x8"
    for d, a, b in itertools.product(_FLOATS, repeat=3):
        kinds = [_FLOATS[t] for t in (a, b, d)]
        matrices = "".join(
            f"simdgroup_matrix<{kind}, 8, 8> m{x}; m{x}.elements.pair = {x}; "
            for x, kind in zip("abc", kinds, strict=True)
        )
        yield _definition(
            f"{family}_multiply_accumulate.v64{d}.v64{a}.v64{b}.v64{d}",
            [f"{kind}2" for kind in kinds], f"{kinds[2]}2",
            f"{matrices}simdgroup_matrix<{kinds[2]}, 8, 8> md; "
            "simdgroup_multiply_accumulate(md, ma, mb, mc); *r = md.elements.pair",
        )  # fmt: skip
    for t, kind in _FLOATS.items():
        matrix = f"simdgroup_matrix<{kind}, 8, 8> m"
        yield _definition(
            f"{family}_init_filled.v64{t}.{t}", [kind], f"{kind}2", f"*r = ({kind}2)(a)"
        )
        for n, space in _SPACES.items():
            where = ["ulong", "ulong2", "bool"]
            yield _definition(
                f"{family}_load.v64{t}.p{n}{t}", [f"const {space} {kind}*", *where], f"{kind}2",
                f"{matrix}; simdgroup_load(m, a, b, c, d); *r = m.elements.pair",
            )  # fmt: skip
            yield _definition(
                f"{family}_store.v64{t}.p{n}{t}", [f"{kind}2", f"{space} {kind}*", *where], "",
                f"{matrix}; m.elements.pair = a; simdgroup_store(m, b, c, d, e)",
            )  # fmt: skip


@functools.cache
def definitions() -> dict[str, Definition]:
    """All that there are, by their symbols in AIR."""
    return {one.air: one for one in (*_of_rows(), *_of_matrices())}
