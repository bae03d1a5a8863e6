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

# Blocks under masks, some 30 lines of vector code each: more are longer than what is written, and
# to find them takes the square of their number where many have one convergence point.
MAX_MASKED = 2_000


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


def _diverge(flow: Flow, divergence: Divergence, block: str) -> None:
    """Take note that lanes diverge at the end of ``block``."""
    point = flow.convergence_points[block]
    ways = [flow.reached([target], {point, block}) for target in flow.after[block]]
    inside = set.union(*ways)
    if any(block in flow.after[n] for n in (block, *inside)):
        inside.add(block)
    divergence.masked |= inside
    if len(divergence.masked) > MAX_MASKED:
        raise Unsupported(f"more than {MAX_MASKED} blocks that only some lanes run")
    divergence.joins |= set.intersection(*ways) | ({point} if point else set())
    divergence.left |= {
        head for head in flow.around[block] if not inside | {point} <= flow.loops[head]
    }


def leaves(flow: Flow, divergence: Divergence, phi: Instruction, block: str) -> bool:
    """Whether a phi brings a value out of a loop that lanes leave in different iterations."""
    inside = set().union(*(flow.around[source] for source in phi.sources))
    return not divergence.left.isdisjoint(inside - flow.around[block])


def analyse(flow: Flow, lanes: str, defined: set[str]) -> Divergence:
    """Return what varies in a function whose argument ``lanes`` points to its lanes' state.

    Raises:
        Unsupported: lanes that diverge would not converge, or too many blocks are run by some.
    """
    divergence = Divergence(lane_fields(flow, lanes), defined, values={lanes})
    ends: set[str] = set()  # blocks at whose ends lanes diverge
    changed = True
    while changed:
        changed = False
        for name in flow.order:
            block = flow.blocks[name]
            for phi in block.phis:
                if phi.name not in divergence.values and (
                    name in divergence.joins
                    or any(v in divergence.values for _, v in phi.operands)
                    or leaves(flow, divergence, phi, name)
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
            splits = len(set(end.targets)) == 2 and end.operands[0][1] in divergence.values
            if splits and name not in ends:
                ends.add(name)
                _diverge(flow, divergence, name)
                changed = True
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
