"""What an instruction does to memory. What is not known here may do anything."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

from .function import Function
from .instruction import BINARY, CASTS, Instruction
from .runtime_calls import ANY_MEMORY, runtime_call
from .types import space_of

# Intrinsics that compute, and that exist for vectors, by their names without types.
COMPUTING = frozenset((
    "fma", "fmuladd", "sqrt", "exp", "exp2", "exp10", "log", "log2", "log10", "sin", "cos", "tan",
    "asin", "acos", "atan", "sinh", "cosh", "tanh", "pow", "atan2", "fabs", "floor", "ceil",
    "trunc", "rint", "round", "nearbyint", "roundeven", "copysign", "minnum", "maxnum", "minimum",
    "maximum", "minimumnum", "maximumnum", "umin", "umax", "smin", "smax", "ctpop", "bswap",
    "bitreverse", "fshl", "fshr", "uadd.sat", "sadd.sat", "usub.sat", "ssub.sat", "canonicalize",
    "abs", "ctlz", "cttz", "is.fpclass",
))  # fmt: skip
_QUIET_INTRINSICS = (
    *(f"@llvm.{name}." for name in sorted(COMPUTING)),
    "@llvm.lifetime.start", "@llvm.lifetime.end", "@llvm.experimental.noalias.scope.decl",
    "@llvm.powi.", "@llvm.ldexp.", "@llvm.frexp.", "@llvm.modf.", "@llvm.fptosi.sat.",
    "@llvm.fptoui.sat.", "@llvm.vector.reduce.", "@llvm.umul.with.overflow.",
    "@llvm.smul.with.overflow.", "@llvm.uadd.with.overflow.", "@llvm.sadd.with.overflow.",
    "@llvm.usub.with.overflow.", "@llvm.ssub.with.overflow.", "@llvm.nvvm.ex2.",
    "@llvm.nvvm.shfl.", "@llvm.nvvm.vote.", "@llvm.nvvm.read.", "@llvm.nvvm.prmt",
)  # fmt: skip
_ORDERING = ("@llvm.nvvm.barrier", "@llvm.nvvm.bar.", "@llvm.nvvm.membar", "@llvm.assume")
# What leaves memory as it is. A load that is volatile or atomic is not among them.
_QUIET = BINARY | CASTS | frozenset((
    "fneg", "freeze", "icmp", "fcmp", "select", "phi", "getelementptr", "alloca", "load",
    "extractelement", "insertelement", "shufflevector", "extractvalue", "insertvalue", "br",
    "switch", "ret", "unreachable",
))  # fmt: skip
_ANY, _NONE = frozenset((ANY_MEMORY,)), frozenset[int]()


def written(made: Instruction) -> frozenset[int]:
    """Address spaces that an instruction itself may write; ``ANY_MEMORY`` stands for all."""
    if made.op == "store":
        space = space_of(made.operands[1][0])
        return frozenset((space,)) if space else _ANY
    if made.op == "call":
        return _NONE if _orders(made) or _is_quiet(made) else _ANY
    return _NONE if made.op in _QUIET or made.op == "fence" else _ANY


def may_change_memory(made: Instruction) -> bool:
    """Whether what is read after an instruction may be other than before: it writes, or orders."""
    if made.op == "call":
        return not _is_quiet(made)
    if made.op == "load":
        return is_special(made)
    return made.op not in _QUIET


class Changes:
    """Where a function's memory may change.

    Args:
        function: optimised IR.
        besides: an address space whose changes do not matter, if any.
    """

    def __init__(self, function: Function, besides: int | None = None):
        self._places = [
            made.place
            for made in function.instructions
            if may_change_memory(made) and written(made) != {besides}
        ]

    def between(self, places: Collection[int]) -> bool:
        """Whether it may between the first of some instructions and the last."""
        at = bisect_left(self._places, min(places))
        return at < len(self._places) and self._places[at] < max(places)


def is_special(made: Instruction) -> bool:
    """Whether an access must stay one of its own: it is volatile or atomic."""
    return " atomic " in made.text or " volatile " in made.text


def _is_quiet(made: Instruction) -> bool:
    known = runtime_call(made.callee)
    if known:
        return known.pure
    return made.callee.startswith(_QUIET_INTRINSICS) or "memory(none)" in made.pieces[-1]


def _orders(made: Instruction) -> bool:
    """Whether a call only decides when others' writes are seen."""
    if made.callee.startswith("asm "):  # it can write where it is pointed at, or says so
        return "~{memory}" not in made.callee and not any(k[:3] == "ptr" for k, _ in made.operands)
    return made.callee.startswith(_ORDERING)
