"""Functions of LLVM and of libm, and what passes may take for granted of them.

As runtime_calls.py has it of the engine's: a pass asks here and keeps no list of its own, and of a
name that is not in the table nothing is known.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Intrinsic:
    """A function by its name without types: ``fma`` is that of ``@llvm.fma.f32`` and ``@fmaf``.

    Attributes:
        name: may have dots; what begins with it and goes on with another dot is meant too.
        result: whether lanes get one result (``uniform``), each its own (``varying``), one where
            their operands are one (``operands``), or that is not known.
        lanewise: it computes, and exists for vectors, an element a lane.
        constant_last: its last operand is a constant, of vectors too.
        pure: it leaves memory alone and does not order it.
        orders: it only decides when others' writes are seen.
        alignment: what divides its result.
        hint: it tells LLVM something and does nothing.
        steps: what differs between the lanes of its result: the ``index`` of each; else nothing.
        counted: the metric that a call adds to.
        operations: what a call is counted for.
        makes_nan: it may make a NaN of numbers.
        judged: what sanitize_accesses has the engine judge at a call.
    """

    name: str
    result: Literal["uniform", "varying", "operands", "unknown"] = "unknown"
    lanewise: bool = False
    constant_last: bool = False
    pure: bool = False
    orders: bool = False
    hint: bool = False
    alignment: int = 1
    steps: Literal["", "index"] = ""
    counted: str = ""
    operations: int = 1
    makes_nan: bool = False
    judged: str = ""


_FLOAT, _INTEGER = "float_operations", "integer_operations"
_EXPONENTIAL, _TRANSCENDENTAL = "exponentials", "transcendentals"


def _rows(names: str, common: Intrinsic) -> list[Intrinsic]:
    return [replace(common, name=name) for name in names.split()]


_LANEWISE = Intrinsic("", lanewise=True, pure=True)
_FUSED = replace(_LANEWISE, counted=_FLOAT, makes_nan=True)
_POWER = replace(_LANEWISE, counted=_EXPONENTIAL, makes_nan=True)
_ROOT = replace(_LANEWISE, counted=_TRANSCENDENTAL, makes_nan=True)
_WHOLE = replace(_LANEWISE, result="operands", counted=_INTEGER)
_PURE = Intrinsic("", pure=True)
_TABLE = [
    *_rows("fma", _FUSED),
    # A product and a sum, as a text's that may be contracted are.
    *_rows("fmuladd", replace(_FUSED, operations=2)),
    *_rows("minnum maxnum minimum maximum", replace(_LANEWISE, counted=_FLOAT)),
    *_rows("exp exp2", _POWER),
    *_rows("sqrt exp10 log log2 log10 sin cos pow", _ROOT),
    *_rows("tan sinh cosh tanh", replace(_ROOT, makes_nan=False)),
    *_rows("powi", replace(_PURE, counted=_TRANSCENDENTAL)),
    *_rows(
        "asin acos atan atan2 fabs floor ceil trunc rint round nearbyint roundeven copysign "
        "minimumnum maximumnum bswap bitreverse uadd.sat sadd.sat usub.sat ssub.sat canonicalize",
        _LANEWISE,
    ),
    *_rows("umin umax smin smax ctpop fshl fshr", _WHOLE),
    *_rows("abs ctlz cttz", replace(_WHOLE, constant_last=True)),
    *_rows("is.fpclass", replace(_LANEWISE, constant_last=True)),
    *_rows(
        "ldexp frexp modf fptosi.sat fptoui.sat vector.reduce umul.with.overflow "
        "smul.with.overflow uadd.with.overflow sadd.with.overflow usub.with.overflow "
        "ssub.with.overflow nvvm.ex2 nvvm.shfl nvvm.prmt nvvm.read",
        _PURE,
    ),
    # The warp that is a simdgroup lies along the first axis of the threadgroup.
    *_rows(
        "nvvm.read.ptx.sreg.ctaid nvvm.read.ptx.sreg.nctaid nvvm.read.ptx.sreg.ntid "
        "nvvm.read.ptx.sreg.tid.y nvvm.read.ptx.sreg.tid.z nvvm.vote",
        replace(_PURE, result="uniform"),
    ),
    *_rows("nvvm.read.ptx.sreg.tid.x", replace(_PURE, result="varying", steps="index")),
    *_rows("nvvm.barrier nvvm.barrier0 nvvm.bar nvvm.membar", Intrinsic("", orders=True)),
    *_rows("lifetime.start lifetime.end", replace(_PURE, hint=True)),
    *_rows("experimental.noalias.scope.decl", replace(_PURE, hint=True)),
    *_rows("assume", Intrinsic("", orders=True, hint=True)),
    *_rows("dbg", Intrinsic("", hint=True)),
    *_rows("memcpy memmove", Intrinsic("", judged="copy")),
    *_rows("memset", Intrinsic("", judged="fill")),
    *_rows("trap debugtrap ubsantrap", Intrinsic("", judged="trap")),
]
INTRINSICS = {one.name: one for one in _TABLE}

# C's functions of <math.h> on floats, which end in f there.
_LIBM = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp10 exp2 expm1
    fabs fdim floor fma fmax fmin fmod frexp hypot ilogb ldexp lgamma llrint llround log log10 log1p
    log2 logb lrint lround modf nearbyint nextafter pow remainder remquo rint round roundeven
    scalbln scalbn sin sincos sinh sqrt tan tanh tgamma trunc
""".split()  # noqa: SIM905 - a table
LIBM = frozenset(_LIBM)
_LIBM_TRANSCENDENTAL = """
    sin cos tan sinh cosh tanh asin acos atan asinh acosh atanh log log2 log10 log1p logb pow exp10
    erf erfc
""".split()  # noqa: SIM905 - a table
_LIBM_COUNTED = {
    **dict.fromkeys(("exp", "exp2"), _EXPONENTIAL),
    **dict.fromkeys(_LIBM_TRANSCENDENTAL, _TRANSCENDENTAL),
}


@functools.cache
def intrinsic(callee: str) -> Intrinsic | None:
    """What is known of ``@llvm.fma.f32`` or ``@expf``; None of any other function."""
    if callee.startswith("@llvm."):
        parts = callee.removeprefix("@llvm.").split(".")
        names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        return next((INTRINSICS[name] for name in names if name in INTRINSICS), None)
    name = callee[1:-1]
    if callee[:1] != "@" or callee[-1:] != "f" or name not in LIBM:
        return None
    return Intrinsic(name, counted=_LIBM_COUNTED.get(name, ""), makes_nan=True)


def vector_name(callee: str, lanes: int) -> str:
    """A lanewise function of scalars or short vectors as that of so many lanes."""
    name, kind = re.fullmatch(r"(@llvm\.[a-z0-9.]+?)\.(?:v\d+)?([fi]\d+|bf16)", callee).groups()
    return f"{name}.v{lanes}{kind}"
