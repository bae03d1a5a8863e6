"""Lockstep: a kernel for one lane becomes one for all lanes of a simdgroup, as vectors.

The pass works on optimised IR whose values LLVM has named. It finds what differs between
lanes (divergence.py), which of that is a uniform base plus an offset for each lane
(lane_offsets.py), and writes the function anew: control flow under masks
(masked_control_flow.py), one instruction after the other (instructions.py, memory.py,
collectives.py). No operation of a lane is changed, and rounding is settled before, so the
results are those of the fiber engine bit for bit.
"""

from __future__ import annotations

import re

from attnproto.compiler.analysis import divergence
from attnproto.compiler.analysis.lane_offsets import Offsets
from attnproto.compiler.ir import cfg
from attnproto.compiler.ir import module as ir
from attnproto.compiler.ir.function import Function
from attnproto.compiler.ir.runtime_calls import PREFIX
from attnproto.compiler.ir.types import Unsupported, spelled_out

from .masked_control_flow import Control
from .value_map import Writer

__all__ = ["Unsupported", "symbol", "vectorise"]

_ARGUMENT = re.compile(r"\(ptr [^%]*?(%[-\w.$]+)\)")
# What the reader knows and no block of a simdgroup's code may hold.
_DECLINED = frozenset(("switch", "unreachable", "indirectbr", "invoke", "callbr"))


def symbol(entry: str) -> str:
    """Name of the entry point that runs a simdgroup; one file may hold the lane's own too."""
    return f"{entry}_simdgroup"


def vectorise(text: str, entry: str) -> str:
    """Return a module whose entry point runs a simdgroup.

    Args:
        text: an optimised module; every value has a name, loops are in LCSSA form and
            there is no switch.
        entry: symbol of the kernel. The new one takes its first lane's state; all 32 lanes
            are there, side by side on the first axis of the threadgroup.

    Raises:
        Unsupported: the pass does not take this kernel; the message says why.
    """
    module = ir.split(spelled_out(text))
    kernel = f"@{entry}"
    for other, body in module.functions.items():
        if other != kernel and PREFIX in body:
            raise Unsupported("a function that is called and has a rendezvous")
    source = module.functions.pop(kernel)
    argument = _ARGUMENT.search(source.split("\n", 1)[0])[1]
    function = Function(source.split("\n"))
    for instruction in function.instructions:
        if instruction.op in _DECLINED:
            raise Unsupported(f"the instruction {instruction.op}")
        if instruction.op == "call" and instruction.callee[0] != "@":
            raise Unsupported("a call of something that is not a function of the module")
    way = cfg.analyse(function.blocks)
    lane_divergence = divergence.analyse(way, argument, set(module.functions))
    offsets = Offsets(way, lane_divergence)
    w = Writer(offsets, lane_divergence.values, set(module.functions))
    lines = Control(w, way, lane_divergence).write()
    module.other = [o for o in module.other if not _declares(o, w.declared)]
    head = f"define void @{symbol(entry)}(ptr {argument}) nounwind {{"
    return module.text() + "\n".join([*w.declared.values(), *w.functions(), head, *lines, "}"])


def _declares(line: str, declared: dict[str, str]) -> bool:
    return line.startswith("declare ") and any(s in declared for s in ir.symbols(line))
