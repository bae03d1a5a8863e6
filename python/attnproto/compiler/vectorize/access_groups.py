"""Which accesses of a block are neighbours in memory and can be made together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from attnproto.compiler.analysis.lane_offsets import index_steps
from attnproto.compiler.analysis.lane_values import literal
from attnproto.compiler.ir.effects import is_special, written
from attnproto.compiler.ir.function import Block
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.runtime_calls import ANY_MEMORY, runtime_call
from attnproto.compiler.ir.types import Unsupported, element_of, is_struct, size_of, space_of

from .value_map import Writer

_WINDOW = 4  # elements that neighbouring accesses of a lane may span to be made together


@dataclass(frozen=True)
class Access:
    """One of several accesses that are made together: its distance from the first, in bytes."""

    instruction: Instruction
    distance: int


@dataclass
class Plan:
    """Accesses of a block that are made together, at the first load or the last store."""

    together: dict[int, list[Access]]  # by identity of the instruction that does it
    done: set[int]  # instructions that another one does


def _may_alias(a: int, b: int) -> bool:
    if ANY_MEMORY in (a, b):
        return True
    return a == b or {a, b} <= {1, 2}


def _touches(instruction: Instruction) -> set[int]:
    """Address spaces whose memory an instruction may read or write."""
    if instruction.op in ("load", "store"):
        return {space_of(instruction.operands[-1][0])}
    if instruction.op == "fence":
        return {ANY_MEMORY}
    if instruction.op != "call":
        return set(written(instruction))
    known = runtime_call(instruction.callee)
    return set(known.touches if known else written(instruction))


def _root(w: Writer, value: str) -> tuple[str, int]:
    """A pointer as another one and a distance in bytes."""
    distance = 0
    while (definition := w.offsets.definitions.get(value)) and definition.op == "getelementptr":
        steps = [literal(v) for _, v in definition.operands[1:]]
        if None in steps:
            break
        try:
            scales = index_steps(definition)
        except Unsupported:
            break
        distance += sum(n * size + at for n, (size, at) in zip(steps, scales, strict=True))
        value = definition.operands[0][1]
    return value, distance


def plan(w: Writer, block: Block) -> Plan:
    """Find accesses of a block that can be made together."""
    grouping = Plan({}, set())
    # By operation and address space, then by what they have in common.
    open_: dict[tuple[str, int], dict[tuple, list[Access]]] = defaultdict(dict)

    def close(op: str, group: list[Access]) -> None:
        if len(group) > 1:
            leader = group[0] if op == "load" else group[-1]
            first = min(a.distance for a in group)
            grouping.together[id(leader.instruction)] = [
                Access(a.instruction, a.distance - first) for a in group
            ]
            grouping.done |= {id(a.instruction) for a in group if a is not leader}

    for instruction in block.body:
        spaces = _touches(instruction)
        key = _key(w, instruction)
        for (op, space), groups in open_.items():
            reads_only = instruction.op == "load" and op == "load"
            if not reads_only and any(_may_alias(s, space) for s in spaces):
                for other in groups.keys() - {key}:
                    close(op, groups.pop(other))
        if key is None:
            continue
        distance = _root(w, instruction.operands[-1][1])[1]
        groups = open_[instruction.op, space_of(instruction.operands[-1][0])]
        group = groups.get(key, [])
        width = size_of(instruction.held)
        ends = [a.distance for a in group] + [distance]
        if group and (max(ends) - min(ends) >= _WINDOW * width or distance in ends[:-1]):
            close(instruction.op, groups.pop(key))
        groups.setdefault(key, []).append(Access(instruction, distance))
    for (op, _), groups in open_.items():
        for group in groups.values():
            close(op, group)
    return grouping


def _key(w: Writer, access: Instruction) -> tuple | None:
    """What accesses of one kind and space that can be made together have in common."""
    if access.op not in ("load", "store") or is_special(access):
        return None
    value = access.operands[-1][1]
    offset = w.offsets.of(value)
    held = access.held
    if (
        value not in w.varying
        or offset is None
        or held[0] in "{[%"
        or is_struct(held)
        or held == "i1"
    ):
        return None
    if access.op == "load" and (access.name not in w.varying or w.offsets.of(access.name)):
        return None  # what the lanes' state says
    root, distance = _root(w, value)
    width = size_of(element_of(held))
    return root, held, distance % width
