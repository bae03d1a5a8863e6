"""Which values differ between the lanes of a simdgroup, and which blocks only some lanes run.

A value varies if it is computed from one that does, or chosen by control flow that does:
at the blocks where lanes that took different ways meet again, and after loops that lanes
leave at different turns (Karrenberg and Hack 2011).
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
    joins: set[str] = field(default_factory=set)  # blocks where diverged lanes meet
    left: set[str] = field(default_factory=set)  # heads of loops left at different turns
    meets: dict[str, str] = field(default_factory=dict)  # where the lanes of a masked block meet

    def varies(self, value: str) -> bool:
        """Whether an operand differs between lanes."""
        return value in self.values


# Offsets in attn_lane (include/attnproto_lane.h).
GROUP, POSITION, INDEX, SIMDGROUP, LANE = 0, 8, 20, 24, 28
_ONE_FOR_ALL_FIELDS = (GROUP, POSITION + 4, POSITION + 8, SIMDGROUP)


def lane_fields(flow: Flow, lanes: str) -> dict[str, int]:
    """Pointers into the lane's state: offsets by name."""
    found = {lanes: 0}
    for name in flow.order:
        for made in flow.blocks[name].body:
            if made.op != "getelementptr" or made.operands[0][1] not in found:
                continue
            steps = [v for _, v in made.operands[1:]]
            if len(steps) == 1 and steps[0].isdigit():
                step = int(steps[0]) * size_of(made.element)
                found[made.name] = found[made.operands[0][1]] + step
    return found


def each_calls(made: Instruction, defined: set[str]) -> bool:
    """Whether a call may do something, so that every lane must make it."""
    return made.callee in defined or made.callee.startswith("%")


def _call_varies(made: Instruction, values: set[str], defined: set[str]) -> bool:
    known = runtime_call(made.callee)
    if known and known.result in ("uniform", "varying"):
        return known.result == "varying"
    if known and known.result == "source":
        return made.operands[-1][1] in values
    return each_calls(made, defined) or any(v in values for _, v in made.operands)


def _varies(made: Instruction, found: Divergence) -> bool:
    if made.op in ("alloca", "cmpxchg", "atomicrmw"):
        return True
    if made.op == "call":
        return _call_varies(made, found.values, found.defined)
    if made.op == "load" and found.fields.get(made.operands[0][1]) in _ONE_FOR_ALL_FIELDS:
        return False
    return any(v in found.values for _, v in made.operands)


def _diverge(flow: Flow, found: Divergence, block: str) -> bool:
    """Take note that lanes part at the end of ``block``; whether that was news."""
    meet = flow.meets[block]
    targets = flow.after[block]
    inside = flow.reached(targets, {meet})
    ways = [flow.reached([t], {meet, block}) for t in targets]
    joins = set.intersection(*ways) | ({meet} if meet else set())
    left = {
        head
        for head, loop in flow.loops.items()
        if block in loop and any(n not in loop for n in inside | {meet})
    }
    news = not (inside <= found.masked and joins <= found.joins and left <= found.left)
    found.masked |= inside
    found.joins |= joins
    found.left |= left
    return news


def _leaves(flow: Flow, found: Divergence, phi: Instruction, block: str) -> bool:
    """Whether a phi brings a value out of a loop that lanes leave at different turns."""
    return any(
        source in flow.loops[head] and block not in flow.loops[head]
        for head in found.left
        for source in phi.sources
    )


def analyse(flow: Flow, lanes: str, defined: set[str]) -> Divergence:
    """Return what varies in a function whose argument ``lanes`` points to its lanes' state.

    Raises:
        Unsupported: lanes that part would not meet again.
    """
    found = Divergence(lane_fields(flow, lanes), defined, values={lanes})
    changed = True
    while changed:
        changed = False
        for name in flow.order:
            block = flow.blocks[name]
            for phi in block.phis:
                if phi.name not in found.values and (
                    name in found.joins
                    or any(v in found.values for _, v in phi.operands)
                    or _leaves(flow, found, phi, name)
                ):
                    found.values.add(phi.name)
                    changed = True
            for made in block.body:
                if made.name and made.name not in found.values and _varies(made, found):
                    found.values.add(made.name)
                    changed = True
            end = block.end
            if len(set(end.targets)) == 2 and end.operands[0][1] in found.values:
                changed |= _diverge(flow, found, name)
    for name in found.masked:
        meet = flow.meets[name]
        while meet in found.masked:
            meet = flow.meets[meet]
        if meet is None:
            raise Unsupported("a loop without an end")
        found.meets[name] = meet
    for head, loop in flow.loops.items():
        if head in found.masked and not loop <= found.masked:
            raise Unsupported("a loop whose lanes meet inside it")
    return found
