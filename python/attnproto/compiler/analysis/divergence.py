"""Which values differ between the lanes of a simdgroup, and which blocks only some lanes run.

A value varies if it is computed from one that does, or chosen by control flow that does:
at convergence points, which lanes reach by different ways, and after loops that lanes leave
in different iterations (Karrenberg and Hack 2011).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from attnproto import _core
from attnproto.compiler.ir.cfg import Flow
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.runtime_calls import runtime_call
from attnproto.compiler.ir.types import Unsupported, size_of


@dataclass
class Divergence:
    """What varies between lanes, and where."""

    fields: dict[str, int]  # pointers into the lane's state
    defined: set[str]  # functions of the module
    values: set[str] = field(default_factory=set)
    masked: set[str] = field(default_factory=set)  # blocks that only some lanes may run
    joins: set[str] = field(default_factory=set)  # blocks that lanes reach by different ways
    left: set[str] = field(default_factory=set)  # heads of loops left in different iterations
    # The block by which all lanes of a masked block are together again.
    convergence_points: dict[str, str] = field(default_factory=dict)

    def varies(self, value: str) -> bool:
        """Whether an operand differs between lanes."""
        return value in self.values


# Offsets in a lane's state (include/attnproto_lane.h).
GROUP, POSITION, INDEX, SIMDGROUP, LANE = (
    _core.LANE[name] for name in ("group", "position", "index", "simdgroup", "lane")
)
_ONE_FOR_ALL_FIELDS = (GROUP, POSITION + 4, POSITION + 8, SIMDGROUP)


def lane_fields(flow: Flow, lanes: str) -> dict[str, int]:
    """Pointers into the lane's state: offsets by name."""
    fields = {lanes: 0}
    for name in flow.order:
        for instruction in flow.blocks[name].body:
            if instruction.op != "getelementptr" or instruction.operands[0][1] not in fields:
                continue
            steps = [v for _, v in instruction.operands[1:]]
            if len(steps) == 1 and steps[0].isdigit():
                step = int(steps[0]) * size_of(instruction.element)
                fields[instruction.name] = fields[instruction.operands[0][1]] + step
    return fields


def each_calls(call: Instruction, defined: set[str]) -> bool:
    """Whether a call may do something, so that every lane must make it."""
    return call.callee in defined or call.callee.startswith("%")


def _call_varies(call: Instruction, values: set[str], defined: set[str]) -> bool:
    known = runtime_call(call.callee)
    if known and known.result in ("uniform", "varying"):
        return known.result == "varying"
    if known and known.result == "source":
        return call.operands[-1][1] in values
    return each_calls(call, defined) or any(v in values for _, v in call.operands)


def _varies(instruction: Instruction, divergence: Divergence) -> bool:
    if instruction.op in ("alloca", "cmpxchg", "atomicrmw"):
        return True
    if instruction.op == "call":
        return _call_varies(instruction, divergence.values, divergence.defined)
    if (
        instruction.op == "load"
        and divergence.fields.get(instruction.operands[0][1]) in _ONE_FOR_ALL_FIELDS
    ):
        return False
    return any(v in divergence.values for _, v in instruction.operands)


def _diverge(flow: Flow, divergence: Divergence, block: str) -> bool:
    """Take note that lanes diverge at the end of ``block``; whether that was news."""
    point = flow.convergence_points[block]
    targets = flow.after[block]
    inside = flow.reached(targets, {point})
    ways = [flow.reached([t], {point, block}) for t in targets]
    joins = set.intersection(*ways) | ({point} if point else set())
    left = {
        head
        for head, loop in flow.loops.items()
        if block in loop and any(n not in loop for n in inside | {point})
    }
    news = not (
        inside <= divergence.masked and joins <= divergence.joins and left <= divergence.left
    )
    divergence.masked |= inside
    divergence.joins |= joins
    divergence.left |= left
    return news


def _leaves(flow: Flow, divergence: Divergence, phi: Instruction, block: str) -> bool:
    """Whether a phi brings a value out of a loop that lanes leave in different iterations."""
    return any(
        source in flow.loops[head] and block not in flow.loops[head]
        for head in divergence.left
        for source in phi.sources
    )


def analyse(flow: Flow, lanes: str, defined: set[str]) -> Divergence:
    """Return what varies in a function whose argument ``lanes`` points to its lanes' state.

    Raises:
        Unsupported: lanes that diverge would not converge.
    """
    divergence = Divergence(lane_fields(flow, lanes), defined, values={lanes})
    changed = True
    while changed:
        changed = False
        for name in flow.order:
            block = flow.blocks[name]
            for phi in block.phis:
                if phi.name not in divergence.values and (
                    name in divergence.joins
                    or any(v in divergence.values for _, v in phi.operands)
                    or _leaves(flow, divergence, phi, name)
                ):
                    divergence.values.add(phi.name)
                    changed = True
            for instruction in block.body:
                if (
                    instruction.name
                    and instruction.name not in divergence.values
                    and _varies(instruction, divergence)
                ):
                    divergence.values.add(instruction.name)
                    changed = True
            end = block.end
            if len(set(end.targets)) == 2 and end.operands[0][1] in divergence.values:
                changed |= _diverge(flow, divergence, name)
    for name in divergence.masked:
        point = flow.convergence_points[name]
        while point in divergence.masked:
            point = flow.convergence_points[point]
        if point is None:
            raise Unsupported("a loop without an end")
        divergence.convergence_points[name] = point
    for head, loop in flow.loops.items():
        if head in divergence.masked and not loop <= divergence.masked:
            raise Unsupported("a loop whose lanes converge inside it")
    return divergence
