"""What an instruction does to memory. What is not known here may do anything."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

from .function import Function
from .instruction import BINARY, CASTS, Instruction
from .intrinsics import intrinsic
from .runtime_calls import ANY_MEMORY, runtime_call
from .types import space_of

# What leaves memory as it is. A load that is volatile or atomic is not among them.
_QUIET = BINARY | CASTS | frozenset((
    "fneg", "freeze", "icmp", "fcmp", "select", "phi", "getelementptr", "alloca", "load",
    "extractelement", "insertelement", "shufflevector", "extractvalue", "insertvalue", "br",
    "switch", "ret", "unreachable",
))  # fmt: skip
_ANY, _NONE = frozenset((ANY_MEMORY,)), frozenset[int]()


def written(instruction: Instruction) -> frozenset[int]:
    """Address spaces that an instruction itself may write; ``ANY_MEMORY`` stands for all."""
    if instruction.op == "store":
        space = space_of(instruction.operands[1][0])
        return frozenset((space,)) if space else _ANY
    if instruction.op == "call":
        return _NONE if _orders(instruction) or _is_quiet(instruction) else _ANY
    return _NONE if instruction.op in _QUIET or instruction.op == "fence" else _ANY


def may_change_memory(instruction: Instruction) -> bool:
    """Whether what is read after an instruction may be other than before: it writes, or orders."""
    if instruction.op == "call":
        return not _is_quiet(instruction)
    if instruction.op == "load":
        return is_special(instruction)
    return instruction.op not in _QUIET


class Changes:
    """Where a function's memory may change.

    Args:
        function: optimised IR.
        besides: an address space whose changes do not matter, if any.
    """

    def __init__(self, function: Function, besides: int | None = None):
        self._places = [
            instruction.place
            for instruction in function.instructions
            if may_change_memory(instruction) and written(instruction) != {besides}
        ]

    def between(self, places: Collection[int]) -> bool:
        """Whether it may between the first of some instructions and the last."""
        at = bisect_left(self._places, min(places))
        return at < len(self._places) and self._places[at] < max(places)


def is_special(instruction: Instruction) -> bool:
    """Whether an access must stay one of its own: it is volatile or atomic."""
    return " atomic " in instruction.text or " volatile " in instruction.text


def _is_quiet(call: Instruction) -> bool:
    engine, known = runtime_call(call.callee), intrinsic(call.callee)
    if engine:
        return engine.pure
    return bool(known and known.pure) or "memory(none)" in call.pieces[-1]


def _orders(call: Instruction) -> bool:
    """Whether a call only decides when others' writes are seen."""
    if call.callee.startswith("asm "):  # it can write where it is pointed at, or says so
        return "~{memory}" not in call.callee and not any(k[:3] == "ptr" for k, _ in call.operands)
    known = intrinsic(call.callee)
    return bool(known and known.orders)
