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
from .value_map import Writer, direct_parts, joined, keep_lanes, parted, parts_of, vector

_NO_WRAP = ("nuw", "nsw", "disjoint", "exact", "nneg", "samesign", "inbounds", "nusw")


def emit(w: Writer, instruction: Instruction, mask: str | None) -> None:
    """Write one instruction; ``mask`` says which lanes run, None that all do."""
    known = intrinsic(instruction.callee) if instruction.op == "call" else None
    if known and known.hint:
        return
    if instruction.op == "fence":
        w.say(instruction.render([]))
    elif instruction.op == "call" and instruction.callee.startswith(PREFIX):
        collectives.emit(w, instruction, mask)
    elif instruction.op in ("load", "store", "cmpxchg", "atomicrmw", "alloca"):
        memory.emit(w, instruction, mask)
    elif instruction.op == "call" and (
        each_calls(instruction, w.defined) or any(v in w.varying for _, v in instruction.operands)
    ):
        _call(w, instruction, mask)
    elif instruction.name not in w.varying:
        one(w, instruction)
    elif w.offsets.of(instruction.name) is not None:
        _base(w, instruction)
    else:
        lanes = _vectors(w, instruction, mask)
        keep_lanes(w, instruction, lanes)


def one(w: Writer, instruction: Instruction) -> None:
    """The instruction as it is."""
    text = instruction.render([w.one(k, v) for k, v in instruction.operands], "")
    if instruction.name:
        w.keep(instruction.name, "one", instruction.type, w.let(text))
    else:
        w.say(text)


def _base(w: Writer, instruction: Instruction) -> None:
    """The base of a value with an offset."""
    if w.offsets.of(instruction.name).exact:
        return
    if instruction.op in ("zext", "sext"):
        kind, value = instruction.operands[0]
        base = w.wide(instruction.op, kind, value, instruction.type, "nneg" in instruction.flags)
    elif instruction.op == "getelementptr":
        steps = []
        for kind, value in instruction.operands[1:]:
            if value in w.varying and kind != "i64":
                steps.append(f"i64 {w.wide('sext', kind, value, 'i64', False)}")
            else:
                steps.append(f"{kind} {w.base(kind, value)}")
        kind, value = instruction.operands[0]
        base = w.let(
            f"getelementptr {instruction.element}, {kind} {w.base(kind, value)}, {', '.join(steps)}"
        )
    elif instruction.op == "select":
        (_, condition), (kind, a), (_, b) = instruction.operands
        if condition in w.varying:
            raise AssertionError("a choice of bases that varies")
        base = w.let(
            f"select i1 {w.one('i1', condition)}, {kind} {w.base(kind, a)}, "
            f"{kind} {w.base(kind, b)}"
        )
    elif instruction.op in ("and", "xor") or (
        instruction.op == "or" and "disjoint" not in instruction.flags
    ):
        (kind, value), (_, number) = instruction.operands
        high = literal(number) >> w.offsets.fields(instruction) << w.offsets.fields(instruction)
        base = w.let(f"{instruction.op} {kind} {w.base(kind, value)}, {high}")
    else:
        values = [w.base(k, v) for k, v in instruction.operands]
        text = instruction.render(values, "")
        # The lanes' values do not overflow; the base alone might.
        text = re.sub(rf"\b(?:{'|'.join(_NO_WRAP)}) ", "", text)
        if instruction.op == "or":
            text = text.replace("or ", "add ", 1)
        base = w.let(text)
    w.keep(instruction.name, "base", instruction.type, base)


def _vectors(w: Writer, instruction: Instruction, mask: str | None) -> list[str]:
    operands = instruction.operands
    flags = "".join(f + " " for f in instruction.flags if f not in ("tail", "notail"))
    if instruction.op in BINARY:
        a, b = w.lanes(*operands[0]), w.lanes(*operands[1])
        kind = vector(element_of(instruction.type))
        if instruction.op in ("udiv", "sdiv", "urem", "srem") and mask is not None:
            one = f"splat ({element_of(instruction.type)} 1)"
            b = [w.let(f"select {vector('i1')} {mask}, {kind} {y}, {kind} {one}") for y in b]
        return [
            w.let(f"{instruction.op} {flags}{kind} {x}, {y}") for x, y in zip(a, b, strict=True)
        ]
    if instruction.op in ("fneg", "freeze"):
        kinds = parts_of(instruction.type)
        return [
            w.let(f"{instruction.op} {flags}{vector(k)} {x}")
            for k, x in zip(kinds, w.lanes(*operands[0]), strict=True)
        ]
    if instruction.op in ("icmp", "fcmp"):
        kind = vector(element_of(operands[0][0]))
        a, b = w.lanes(*operands[0]), w.lanes(*operands[1])
        return [
            w.let(f"{instruction.op} {flags}{instruction.predicate} {kind} {x}, {y}")
            for x, y in zip(a, b, strict=True)
        ]
    if instruction.op == "select":
        return _select(w, instruction, flags)
    if instruction.op in CASTS:
        return _cast(w, instruction, flags)
    if instruction.op == "getelementptr":
        return [_address(w, instruction)]
    return _parts(w, instruction)


def _select(w: Writer, instruction: Instruction, flags: str) -> list[str]:
    (kind, condition), a, b = instruction.operands
    kinds = parts_of(instruction.type)
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


def _cast(w: Writer, instruction: Instruction, flags: str) -> list[str]:
    kind = instruction.operands[0][0]
    parts = w.lanes(*instruction.operands[0])
    before, after = parts_of(kind), parts_of(instruction.type)
    if instruction.op != "bitcast" or (len(before) == len(after)):
        return [
            w.let(f"{instruction.op} {flags}{vector(a)} {x} to {vector(b)}")
            for a, b, x in zip(before, after, parts, strict=True)
        ]
    side_by_side = joined(w, before[0], parts)
    count = len(before) * 32
    wide = w.let(
        f"bitcast <{count} x {before[0]}> {side_by_side} to <{len(after) * 32} x {after[0]}>"
    )
    return parted(w, after[0], wide, len(after))


def _address(w: Writer, instruction: Instruction) -> str:
    steps = []
    for kind, value in instruction.operands:
        if value in w.varying:
            steps.append(f"{vector(kind)} {w.lanes(kind, value)[0]}")
        else:
            steps.append(f"{kind} {w.one(kind, value)}")
    return w.let(f"getelementptr {instruction.element}, {', '.join(steps)}")


def _parts(w: Writer, instruction: Instruction) -> list[str]:
    """Instructions that only choose among the parts of values."""
    first = w.lanes(*instruction.operands[0])
    kinds = parts_of(instruction.operands[0][0])
    if instruction.op == "shufflevector":
        both = [*first, *w.lanes(*instruction.operands[1])]
        return [both[i] if i >= 0 else "poison" for i in instruction.indices]
    if instruction.op in ("extractvalue", "insertvalue"):
        begin, end = _member_parts(instruction.operands[0][0], instruction.indices)
        if instruction.op == "extractvalue":
            return first[begin:end]
        return [*first[:begin], *w.lanes(*instruction.operands[1]), *first[end:]]
    if instruction.op == "extractelement":
        kind, value = instruction.operands[1]
        at = literal(value)
        if at is not None:
            return [first[at]]
        return [_chosen(w, kinds[0], first, w.lanes(kind, value)[0], kind)]
    if instruction.op == "insertelement":
        kind, value = instruction.operands[2]
        new = w.lanes(*instruction.operands[1])[0]
        at = literal(value)
        if at is not None:
            return [*first[:at], new, *first[at + 1 :]]
        index = w.lanes(kind, value)[0]
        inserted = []
        for i, old in enumerate(first):
            here = w.let(f"icmp eq {vector(kind)} {index}, splat ({kind} {i})")
            inserted.append(
                w.let(
                    f"select {vector('i1')} {here}, {vector(kinds[0])} {new}, "
                    f"{vector(kinds[0])} {old}"
                )
            )
        return inserted
    raise Unsupported(f"the instruction {instruction.op}")


def _member_parts(kind: str, indices: tuple[int, ...]) -> tuple[int, int]:
    """Where a member's scalars begin and end among those of the whole."""
    begin = 0
    for index in indices:
        members = direct_parts(kind)
        begin += sum(len(parts_of(member)) for member in members[:index])
        kind = members[index]
    return begin, begin + len(parts_of(kind))


def _chosen(w: Writer, kind: str, parts: list[str], index: str, index_kind: str) -> str:
    chosen = parts[0]
    for i, part in enumerate(parts[1:], 1):
        here = w.let(f"icmp eq {vector(index_kind)} {index}, splat ({index_kind} {i})")
        chosen = w.let(
            f"select {vector('i1')} {here}, {vector(kind)} {part}, {vector(kind)} {chosen}"
        )
    return chosen


def _call(w: Writer, call: Instruction, mask: str | None) -> None:
    """A call whose arguments vary."""
    known = intrinsic(call.callee)
    if not known or not known.lanewise:
        lane_loop.one_by_one(w, call, mask)
        return
    function = vector_name(call.callee, LANES)
    kind = vector(element_of(call.type))
    fixed = known.constant_last
    operands = call.operands[:-1] if fixed else call.operands
    columns = [w.lanes(k, v) for k, v in operands]
    kinds = [vector(element_of(k)) for k, _ in operands]
    flags = "".join(f + " " for f in call.flags if f not in ("tail", "notail"))
    last = [f"{call.operands[-1][0]} {call.operands[-1][1]}"] if fixed else []
    w.declare(kind, function, ", ".join([*kinds, *(t.split()[0] for t in last)]))
    results = []
    for row in zip(*columns, strict=True):
        arguments = [f"{k} {v}" for k, v in zip(kinds, row, strict=True)]
        results.append(w.let(f"call {flags}{kind} {function}({', '.join([*arguments, *last])})"))
    keep_lanes(w, call, results)
