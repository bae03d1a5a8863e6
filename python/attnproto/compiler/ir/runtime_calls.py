"""Symbols that compiled code and the engine share, and what passes may take for granted of them.

The engine's functions (cpp/cpu/runtime.cpp) are declared by the headers that kernels are compiled
with. A pass asks here what one does; it keeps no list of its own. A name that is not in the table
is a function of which nothing is known.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

ANY_MEMORY, ENGINE_MEMORY = 4, 0  # address spaces: all that a lane reaches, the engine's own


@dataclass(frozen=True)
class RuntimeCall:
    """One of the engine's functions, by its name without the type it is for.

    Attributes:
        name: ``reduce`` of ``@attn_reduce_f32``.
        result: whether the lanes that take part get one result (``uniform``), each its own
            (``varying``), or that depends on the lane they name last (``source``) or on any
            operand (``operands``).
        typed: whether the type of its operand is part of its symbol.
        convergent: lanes meet there, so that it needs a place in the order of meetings.
        touches: address spaces whose memory it may read, write or order; none: it is pure, and
            equal calls in one place are one.
        counted: the metric that a call adds to.
        is_address: whether it tells where memory lies that instructions after it use.
    """

    name: str
    result: Literal["uniform", "varying", "source", "operands"]
    typed: bool = False
    convergent: bool = False
    touches: frozenset[int] = frozenset()
    counted: str = ""
    is_address: bool = False

    @property
    def pure(self) -> bool:
        """Whether it leaves memory alone and does not order it."""
        return not self.touches

    @property
    def pattern(self) -> str:
        """A regular expression for its symbol."""
        return f"attn_{self.name}" + (r"_[fiu]\d+" if self.typed else "")


_ANY, _OWN = frozenset((ANY_MEMORY,)), frozenset((ENGINE_MEMORY,))
_TABLE = (
    RuntimeCall("reduce", "uniform", typed=True, convergent=True, counted="reductions"),
    RuntimeCall("prefix", "varying", typed=True, convergent=True, counted="reductions"),
    RuntimeCall("shuffle", "source", typed=True, convergent=True, counted="shuffles"),
    RuntimeCall("broadcast_first", "uniform", typed=True, convergent=True, counted="shuffles"),
    RuntimeCall("ballot", "uniform", convergent=True, counted="votes"),
    RuntimeCall(
        "simdgroup_barrier", "uniform", convergent=True, touches=_ANY, counted="simdgroup_barriers"
    ),
    RuntimeCall(
        "threadgroup_barrier", "uniform", convergent=True, touches=_ANY,
        counted="threadgroup_barriers",
    ),
    RuntimeCall("matrix_batch", "operands", convergent=True, touches=_OWN),
    RuntimeCall("matrix_slots", "varying", is_address=True),
    RuntimeCall("lane_index", "varying"),
    RuntimeCall("threadgroup_memory", "uniform", is_address=True),
)  # fmt: skip
CALLS = {one.name: one for one in _TABLE}
# What headers declare likewise and a pass replaces before there is code; the engine has none of it.
MATRIX_MULTIPLY = "@attn_matrix_multiply_accumulate_"
FRAGMENT_MARK = "@attn_fragment"
THREADGROUP_VARIABLE = r"_Z\d+attn_threadgroup_variableILi(\d+)ELm(\d+)ELm(\d+)EE\w*"
_REPLACED = (
    (re.compile(rf"{MATRIX_MULTIPLY}\w+"), RuntimeCall("matrix_multiply", "varying")),
    (re.compile(FRAGMENT_MARK), RuntimeCall("fragment", "uniform")),
    (
        re.compile(f"@{THREADGROUP_VARIABLE}"),
        RuntimeCall("threadgroup_variable", "uniform", is_address=True),
    ),
)
_TYPE = re.compile(r"_[fiu]\d+$")


@functools.cache
def runtime_call(callee: str) -> RuntimeCall | None:
    """What is known of ``@attn_reduce_f32`` and its like; None of any other function."""
    if "attn_" not in callee:
        return None
    name = callee.removeprefix("@attn_")
    bare = _TYPE.sub("", name)
    found = CALLS.get(bare) if name != callee else None
    if found:
        return found if found.typed == (bare != name) else None
    return next((one for pattern, one in _REPLACED if pattern.fullmatch(callee)), None)


def calls(which: Callable[[RuntimeCall], object]) -> str:
    """A regular expression for the symbols, without sigil, of those that ``which`` holds of."""
    return "|".join(one.pattern for one in _TABLE if which(one))


def entry_name(number: int) -> str:
    """Symbol of the entry point of the ``number``-th kernel of a text."""
    return f"attn_entry_{number}"


def is_entry(symbol: str) -> bool:
    """Whether it is an entry point, of a lane or of a simdgroup."""
    return symbol.startswith("attn_entry_")


def launch_name(number: int) -> str:
    """Symbol that a GPU's driver launches for the ``number``-th kernel of a text."""
    return f"attn_launch_{number}"
