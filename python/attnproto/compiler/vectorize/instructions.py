"""One instruction for all lanes.

What does not vary stays as it is. What varies becomes one operation on vectors of lanes;
where there is none, a loop does it lane after lane.
"""

from __future__ import annotations

import re

from attnproto.compiler.analysis.divergence import each_calls
from attnproto.compiler.analysis.lane_values import LANES, literal
from attnproto.compiler.ir.instruction import BINARY, CASTS, Instruction
from attnproto.compiler.ir.intrinsics import intrinsic, vector_name
from attnproto.compiler.ir.runtime_calls import PREFIX
from attnproto.compiler.ir.types import Unsupported, element_of

from . import collectives, lane_loop, memory
from .value_map import Writer, joined, keep_lanes, parted, parts_of, vector

_NO_WRAP = ("nuw", "nsw", "disjoint", "exact", "nneg", "samesign", "inbounds", "nusw")


def emit(w: Writer, made: Instruction, mask: str | None) -> None:
    """Write one instruction; ``mask`` says which lanes run, None that all do."""
    known = intrinsic(made.callee) if made.op == "call" else None
    if known and known.hint:
        return
    if made.op == "fence":
        w.say(made.render([]))
    elif made.op == "call" and made.callee.startswith(PREFIX):
        collectives.emit(w, made, mask)
    elif made.op in ("load", "store", "cmpxchg", "atomicrmw", "alloca"):
        memory.emit(w, made, mask)
    elif made.op == "call" and (
        each_calls(made, w.defined) or any(v in w.varying for _, v in made.operands)
    ):
        _call(w, made, mask)
    elif made.name not in w.varying:
        one(w, made)
    elif w.offsets.of(made.name) is not None:
        _base(w, made)
    else:
        found = _vectors(w, made, mask)
        keep_lanes(w, made, found)


def one(w: Writer, made: Instruction) -> None:
    """The instruction as it is."""
    text = made.render([w.one(k, v) for k, v in made.operands], "")
    if made.name:
        w.keep(made.name, "one", made.type, w.let(text))
    else:
        w.say(text)


def _base(w: Writer, made: Instruction) -> None:
    """The base of a value with an offset."""
    if w.offsets.of(made.name).exact:
        return
    if made.op in ("zext", "sext"):
        kind, value = made.operands[0]
        found = w.wide(made.op, kind, value, made.type, "nneg" in made.flags)
    elif made.op == "getelementptr":
        steps = []
        for kind, value in made.operands[1:]:
            if value in w.varying and kind != "i64":
                steps.append(f"i64 {w.wide('sext', kind, value, 'i64', False)}")
            else:
                steps.append(f"{kind} {w.base(kind, value)}")
        kind, value = made.operands[0]
        found = w.let(
            f"getelementptr {made.element}, {kind} {w.base(kind, value)}, {', '.join(steps)}"
        )
    elif made.op == "select":
        (_, condition), (kind, a), (_, b) = made.operands
        if condition in w.varying:
            raise AssertionError("a choice of bases that varies")
        found = w.let(
            f"select i1 {w.one('i1', condition)}, {kind} {w.base(kind, a)}, "
            f"{kind} {w.base(kind, b)}"
        )
    elif made.op in ("and", "xor") or (made.op == "or" and "disjoint" not in made.flags):
        (kind, value), (_, number) = made.operands
        high = literal(number) >> w.offsets.fields(made) << w.offsets.fields(made)
        found = w.let(f"{made.op} {kind} {w.base(kind, value)}, {high}")
    else:
        values = [w.base(k, v) for k, v in made.operands]
        text = made.render(values, "")
        # The lanes' values do not overflow; the base alone might.
        text = re.sub(rf"\b(?:{'|'.join(_NO_WRAP)}) ", "", text)
        if made.op == "or":
            text = text.replace("or ", "add ", 1)
        found = w.let(text)
    w.keep(made.name, "base", made.type, found)


def _vectors(w: Writer, made: Instruction, mask: str | None) -> list[str]:
    operands = made.operands
    flags = "".join(f + " " for f in made.flags if f not in ("tail", "notail"))
    if made.op in BINARY:
        a, b = w.lanes(*operands[0]), w.lanes(*operands[1])
        kind = vector(element_of(made.type))
        if made.op in ("udiv", "sdiv", "urem", "srem") and mask is not None:
            one = f"splat ({element_of(made.type)} 1)"
            b = [w.let(f"select {vector('i1')} {mask}, {kind} {y}, {kind} {one}") for y in b]
        return [w.let(f"{made.op} {flags}{kind} {x}, {y}") for x, y in zip(a, b, strict=True)]
    if made.op in ("fneg", "freeze"):
        kinds = parts_of(made.type, w.types)
        return [
            w.let(f"{made.op} {flags}{vector(k)} {x}")
            for k, x in zip(kinds, w.lanes(*operands[0]), strict=True)
        ]
    if made.op in ("icmp", "fcmp"):
        kind = vector(element_of(operands[0][0]))
        a, b = w.lanes(*operands[0]), w.lanes(*operands[1])
        return [
            w.let(f"{made.op} {flags}{made.predicate} {kind} {x}, {y}")
            for x, y in zip(a, b, strict=True)
        ]
    if made.op == "select":
        return _select(w, made, flags)
    if made.op in CASTS:
        return _cast(w, made, flags)
    if made.op == "getelementptr":
        return [_address(w, made)]
    return _parts(w, made)


def _select(w: Writer, made: Instruction, flags: str) -> list[str]:
    (kind, condition), a, b = made.operands
    kinds = parts_of(made.type, w.types)
    a, b = w.lanes(*a), w.lanes(*b)
    if condition not in w.varying and kind == "i1":
        tests = [f"i1 {w.one(kind, condition)}"] * len(kinds)
    else:
        tests = [f"{vector('i1')} {c}" for c in w.lanes(kind, condition)]
        tests *= len(kinds) // len(tests)
    return [
        w.let(f"select {flags}{t}, {vector(k)} {x}, {vector(k)} {y}")
        for t, k, x, y in zip(tests, kinds, a, b, strict=True)
    ]


def _cast(w: Writer, made: Instruction, flags: str) -> list[str]:
    kind = made.operands[0][0]
    found = w.lanes(*made.operands[0])
    before, after = parts_of(kind, w.types), parts_of(made.type, w.types)
    if made.op != "bitcast" or (len(before) == len(after)):
        return [
            w.let(f"{made.op} {flags}{vector(a)} {x} to {vector(b)}")
            for a, b, x in zip(before, after, found, strict=True)
        ]
    whole = joined(w, before[0], found)
    count = len(before) * 32
    wide = w.let(f"bitcast <{count} x {before[0]}> {whole} to <{len(after) * 32} x {after[0]}>")
    return parted(w, after[0], wide, len(after))


def _address(w: Writer, made: Instruction) -> str:
    steps = []
    for kind, value in made.operands:
        if value in w.varying:
            steps.append(f"{vector(kind)} {w.lanes(kind, value)[0]}")
        else:
            steps.append(f"{kind} {w.one(kind, value)}")
    return w.let(f"getelementptr {made.element}, {', '.join(steps)}")


def _parts(w: Writer, made: Instruction) -> list[str]:
    """Instructions that only choose among the parts of values."""
    first = w.lanes(*made.operands[0])
    kinds = parts_of(made.operands[0][0], w.types)
    if made.op == "shufflevector":
        both = [*first, *w.lanes(*made.operands[1])]
        return [both[i] if i >= 0 else "poison" for i in made.indices]
    if made.op in ("extractvalue", "insertvalue"):
        if len(made.indices) != 1 or len(kinds) != _members(made.operands[0][0], w):
            raise Unsupported("a struct inside a struct")
        at = made.indices[0]
        if made.op == "extractvalue":
            return [first[at]]
        return [*first[:at], *w.lanes(*made.operands[1]), *first[at + 1 :]]
    if made.op == "extractelement":
        kind, value = made.operands[1]
        at = literal(value)
        if at is not None:
            return [first[at]]
        return [_chosen(w, kinds[0], first, w.lanes(kind, value)[0], kind)]
    if made.op == "insertelement":
        kind, value = made.operands[2]
        new = w.lanes(*made.operands[1])[0]
        at = literal(value)
        if at is not None:
            return [*first[:at], new, *first[at + 1 :]]
        index = w.lanes(kind, value)[0]
        found = []
        for i, old in enumerate(first):
            here = w.let(f"icmp eq {vector(kind)} {index}, splat ({kind} {i})")
            found.append(
                w.let(
                    f"select {vector('i1')} {here}, {vector(kinds[0])} {new}, "
                    f"{vector(kinds[0])} {old}"
                )
            )
        return found
    raise Unsupported(f"the instruction {made.op}")


def _members(kind: str, w: Writer) -> int:
    return len(parts_of(kind, w.types))


def _chosen(w: Writer, kind: str, parts: list[str], index: str, index_kind: str) -> str:
    found = parts[0]
    for i, part in enumerate(parts[1:], 1):
        here = w.let(f"icmp eq {vector(index_kind)} {index}, splat ({index_kind} {i})")
        found = w.let(
            f"select {vector('i1')} {here}, {vector(kind)} {part}, {vector(kind)} {found}"
        )
    return found


def _call(w: Writer, made: Instruction, mask: str | None) -> None:
    """A call whose arguments vary."""
    known = intrinsic(made.callee)
    if not known or not known.lanewise:
        lane_loop.one_by_one(w, made, mask)
        return
    function = vector_name(made.callee, LANES)
    kind = vector(element_of(made.type))
    fixed = known.constant_last
    operands = made.operands[:-1] if fixed else made.operands
    columns = [w.lanes(k, v) for k, v in operands]
    kinds = [vector(element_of(k)) for k, _ in operands]
    flags = "".join(f + " " for f in made.flags if f not in ("tail", "notail"))
    last = [f"{made.operands[-1][0]} {made.operands[-1][1]}"] if fixed else []
    w.declare(kind, function, ", ".join([*kinds, *(t.split()[0] for t in last)]))
    found = []
    for row in zip(*columns, strict=True):
        arguments = [f"{k} {v}" for k, v in zip(kinds, row, strict=True)]
        found.append(w.let(f"call {flags}{kind} {function}({', '.join([*arguments, *last])})"))
    keep_lanes(w, made, found)
