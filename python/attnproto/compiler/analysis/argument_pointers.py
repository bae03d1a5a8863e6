"""Which argument a pointer of a kernel leads to: where the entry point read it from.

The engine's state holds the buffers' addresses first, 8 bytes each (attnproto_lane.h).
"""

from __future__ import annotations

from collections.abc import Iterator

from attnproto import _core
from attnproto.compiler.ir.function import Function
from attnproto.compiler.ir.instruction import Instruction

STATE = -1  # in the place of an argument: the engine's own memory
_ENGINE = "ptr addrspace(1)"  # how a lane points to the engine's state
_ADDRESS_BYTES = 8
_BUFFERS_BYTES = _core.MAX_BUFFERS * _ADDRESS_BYTES
_FROM_FIRST = frozenset((
    "getelementptr", "bitcast", "addrspacecast", "ptrtoint", "inttoptr", "freeze",
))  # fmt: skip


def arguments_of_pointers(function: Function) -> dict[str, frozenset[int]]:
    """For each pointer that is known, the indices of the buffers that it may lead into.

    ``STATE`` stands for the engine's own state. A pointer that came another way is not there.
    """
    places: dict[str, int] = {}  # bytes into the state
    reached: dict[str, frozenset[int]] = {}
    for one in function.instructions:
        if one.op == "load" and (one.operands[0][0], one.type) == ("ptr", _ENGINE):
            places[one.name] = 0
        elif one.op == "getelementptr" and one.operands[0][1] in places:
            offset = one.operands[-1][1]
            known = one.element == "i8" and offset.isdigit()
            places[one.name] = places[one.operands[0][1]] + int(offset) if known else -1
        elif one.op == "load" and 0 <= places.get(one.operands[0][1], -1) < _BUFFERS_BYTES:
            reached[one.name] = frozenset((places[one.operands[0][1]] // _ADDRESS_BYTES,))
    reached |= dict.fromkeys(places, frozenset((STATE,)))
    changed = True
    while changed:
        changed = False
        for one in function.instructions:
            buffers = reached.get(one.name, frozenset()).union(
                *(reached.get(value, frozenset()) for value in _origins(one))
            )
            if buffers and buffers != reached.get(one.name) and STATE not in buffers:
                reached[one.name], changed = buffers, True
    return reached


def _origins(one: Instruction) -> Iterator[str]:
    """What a pointer was computed from."""
    if one.op in _FROM_FIRST:
        yield one.operands[0][1]
    elif one.op in ("phi", "select"):
        yield from (value for _, value in one.operands)
