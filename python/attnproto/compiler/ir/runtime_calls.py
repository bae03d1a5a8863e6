"""Symbols that compiled code and the engine share, and what passes may take for granted of them.

The engine's functions (cpp/cpu/) are declared by the headers that kernels are compiled with, or by
the pass that puts calls of them in. A pass asks here what one does; it keeps no list of its own.
A name that is not in the table is a function of which nothing is known. What LLVM and libm have is
in intrinsics.py.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from attnproto.dtypes import BY_NAME

PREFIX = "@attn_"
ANY_MEMORY, ENGINE_MEMORY = 4, 0  # address spaces: all that a lane reaches, the engine's own


@dataclass(frozen=True)
class RuntimeCall:
    """One of the engine's functions, by its name without the type it is for.

    Attributes:
        name: ``reduce`` of ``@attn_reduce_f32``.
        result: whether the lanes that take part get one result (``uniform``), each its own
            (``varying``), or that depends on the lane they name last (``source``) or on any
            operand (``operands``).
        variants: what follows the name in its symbols, mostly types; none: it has one symbol.
        convergent: it is a rendezvous of the lanes, and needs its number among them.
        touches: address spaces whose memory it may read, write or order; none: it is pure, and
            equal calls in one place are one.
        counted: the metric that a call adds to.
        is_address: whether it tells where memory lies that instructions after it use.
        alignment: bytes that divide that address.
        steps: what differs between the lanes of its result: the ``index`` of each, or where each
            has its elements of a ``fragment``; none: that is not known.
        in_kernel: whether it needs a place in the kernel itself, so that what calls it is inlined.
        judged: what sanitize_accesses has the engine judge at a call.
        lockstep: the function that a simdgroup's lanes call together instead.
        pattern: of the symbols that the engine has not got, since a pass replaces the calls.
        declared: result, parameters and attributes, of what passes declare themselves; ``{}``
            stands for the type or the number that a variant is for.
    """

    name: str
    result: Literal["uniform", "varying", "source", "operands"] = "operands"
    variants: tuple[str, ...] = ()
    convergent: bool = False
    touches: frozenset[int] = frozenset()
    counted: str = ""
    is_address: bool = False
    alignment: int = 1
    steps: Literal["", "index", "element"] = ""
    in_kernel: bool = False
    judged: str = ""
    lockstep: str = ""
    pattern: str = ""
    declared: tuple[str, str, str] = ("", "", "")

    @property
    def pure(self) -> bool:
        """Whether it leaves memory alone and does not order it."""
        return not self.touches

    @property
    def symbols(self) -> list[str]:
        """The engine's functions."""
        if self.pattern:
            return []
        return [f"{PREFIX}{self.name}{v and '_'}{v}" for v in self.variants or ("",)]

    def variant(self, symbol: str) -> str:
        """``f32`` of ``@attn_reduce_f32``."""
        return symbol.removeprefix(f"{PREFIX}{self.name}").removeprefix("_")


# Of a text that reports them: a call that sanitize_accesses gives its line.
BAD_DIVISION = f"{PREFIX}bad_division"
CHECK_DEPTH = f"{PREFIX}check_depth"
MATRIX_MULTIPLY = f"{PREFIX}matrix_multiply_accumulate_"
FRAGMENT_MARK = f"{PREFIX}fragment"
EXPOSE = f"{PREFIX}expose_"
THREADGROUP_VARIABLE = r"_Z\d+attn_threadgroup_variableILi(\d+)ELm(\d+)ELm(\d+)EE\w*"

_ANY, _OWN = frozenset((ANY_MEMORY,)), frozenset((ENGINE_MEMORY,))
_NUMBERS, _SPACES = ("f32", "i32", "u32", "i64", "u64"), ("1", "2", "3", "4")
# What headers declare and kernels call.
OF_KERNELS = (
    RuntimeCall(
        "reduce", "uniform", _NUMBERS, convergent=True, counted="reductions",
        lockstep="lockstep_reduce",
    ),
    RuntimeCall(
        "prefix", "varying", _NUMBERS, convergent=True, counted="reductions",
        lockstep="lockstep_prefix",
    ),
    RuntimeCall(
        "shuffle", "source", ("u32", "u64"), convergent=True, counted="shuffles", judged="source"
    ),
    RuntimeCall(
        "broadcast_first", "uniform", ("u32",), convergent=True, counted="shuffles"
    ),
    RuntimeCall("ballot", "uniform", convergent=True, counted="votes"),
    RuntimeCall(
        "simdgroup_barrier", "uniform", convergent=True, touches=_ANY,
        counted="simdgroup_barriers", declared=("void", "i32", " nounwind convergent"),
    ),
    RuntimeCall(
        "threadgroup_barrier", "uniform", convergent=True, touches=_ANY,
        counted="threadgroup_barriers", lockstep="lockstep_barrier",
    ),
    RuntimeCall("lane_index", "varying", steps="index"),
    RuntimeCall(
        "threadgroup_memory", "uniform", is_address=True, alignment=16,
        declared=("ptr addrspace(3)", "", " memory(none)"),
    ),
)  # fmt: skip
# What passes put in: batches of products, counts, checks, and the collectives of a simdgroup.
_OF_PASSES = (
    RuntimeCall(
        "matrix_batch", convergent=True, touches=_OWN, lockstep="lockstep_batch",
        declared=("void", "ptr", " nounwind convergent"),
    ),
    RuntimeCall(
        "matrix_slots", "varying", is_address=True, steps="element", lockstep="lockstep_slots",
        declared=("ptr", "", " nounwind memory(none)"),
    ),
    RuntimeCall(
        "count_segment", touches=_ANY, declared=("void", "ptr, i32", " nounwind willreturn")
    ),
    RuntimeCall(
        "count_access", touches=_ANY,
        declared=("void", "i64", " nounwind willreturn memory(inaccessiblemem: readwrite)"),
    ),
    RuntimeCall("check_depth", touches=_ANY, judged="depth", declared=("void", "", " nounwind")),
    *(
        RuntimeCall(name, touches=_ANY, declared=("void", parameters, " nounwind"))
        for name, parameters in (
            ("arrive", "i32, ptr"), ("about_to_multiply", "ptr"), ("made_nan", "i32, ptr"),
            ("judge_division", "i32, ptr"), ("judge_depth", "ptr"), ("trapped", "ptr"),
            ("check_constant", "i64, i64, i64, ptr"), ("check_local", "i64, i64, i64, ptr"),
        )
    ),
    RuntimeCall(
        "threadgroup_array", "uniform", is_address=True, alignment=16,
        declared=("ptr addrspace(3)", "i32, i32, i32, ptr", " nounwind memory(none)"),
    ),
    RuntimeCall(
        "access", variants=("0", *_SPACES), touches=_ANY,
        declared=("ptr addrspace({})", "ptr addrspace({}), ptr", " nounwind"),
    ),
    RuntimeCall(
        "access_range", variants=_SPACES, touches=_ANY,
        declared=("ptr addrspace({})", "ptr addrspace({}), i64, ptr", " nounwind"),
    ),
    RuntimeCall(
        "lockstep_reduce", variants=_NUMBERS, touches=_ANY, declared=("{}", "ptr, i32, i32", "")
    ),
    RuntimeCall(
        "lockstep_prefix", variants=_NUMBERS, touches=_ANY,
        declared=("void", "ptr, i32, i32, i32", ""),
    ),
    RuntimeCall("lockstep_barrier", touches=_ANY, declared=("void", "i32", "")),
    RuntimeCall("lockstep_slots", is_address=True, declared=("ptr", "", "")),
    RuntimeCall("lockstep_batch", touches=_OWN, declared=("void", "ptr", "")),
)  # fmt: skip
# What headers declare, or a pass puts in, and another pass replaces before there is code.
_REPLACED = (
    RuntimeCall(
        "matrix_multiply", "varying", counted="matrix_operations", in_kernel=True,
        judged="multiply", pattern=rf"{MATRIX_MULTIPLY}\w+",
    ),
    RuntimeCall(
        "matrix_element", touches=_ANY, in_kernel=True, pattern=r"@_Z\w*attn_matrix_\w+"
    ),
    RuntimeCall("fragment", "uniform", pattern=FRAGMENT_MARK),
    RuntimeCall(
        "threadgroup_variable", "uniform", is_address=True, alignment=16, in_kernel=True,
        judged="variable", pattern=f"@{THREADGROUP_VARIABLE}",
    ),
    *(
        RuntimeCall(f"arrive_{what}", touches=_ANY, judged=what, pattern=f"{PREFIX}arrive_{what}")
        for what in ("threadgroup", "simdgroup")
    ),
    RuntimeCall(
        "expose", touches=_ANY, pattern=rf"{EXPOSE}[12]",
        declared=(
            "void", "ptr addrspace({})",
            " nounwind willreturn memory(inaccessiblemem: readwrite)",
        ),
    ),
    RuntimeCall(
        "bad_division", touches=_ANY, judged="division", pattern=BAD_DIVISION,
        declared=("void", "i1", " nounwind"),
    ),
)  # fmt: skip
CALLS = {one.name: one for one in (*OF_KERNELS, *_OF_PASSES, *_REPLACED)}


@functools.cache
def runtime_call(callee: str) -> RuntimeCall | None:
    """What is known of ``@attn_reduce_f32`` and its like; None of any other function."""
    if "attn_" not in callee:
        return None
    return next(
        (
            one
            for one in CALLS.values()
            if callee in one.symbols or (one.pattern and re.fullmatch(one.pattern, callee))
        ),
        None,
    )


def declaration(symbol: str) -> str:
    """How a pass that puts a call in declares what it calls."""
    known = runtime_call(symbol)
    variant = known.variant(symbol)
    kind = BY_NAME[variant].llvm if variant in BY_NAME else variant.replace("u", "i")
    result, parameters, attributes = (part.replace("{}", kind) for part in known.declared)
    return f"declare {result} {symbol}({parameters}){attributes}"


def declarations(*names: str) -> list[str]:
    """The same for every symbol of some calls, by their names in the table."""
    return [declaration(symbol) for name in names for symbol in CALLS[name].symbols]


def entry_name(number: int) -> str:
    """Symbol of the entry point of the ``number``-th kernel of a text."""
    return f"attn_entry_{number}"


def is_entry(symbol: str) -> bool:
    """Whether it is an entry point, of a lane or of a simdgroup."""
    return symbol.startswith("attn_entry_")


def launch_name(number: int) -> str:
    """Symbol that a GPU's driver launches for the ``number``-th kernel of a text."""
    return f"attn_launch_{number}"
