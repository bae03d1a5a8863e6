"""Memory: one access for all lanes, runs of neighbouring elements, or lane after lane."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from . import shuffles
from .offsets import LANES, Offset, index_sizes, literal, private_bytes
from .parse import Block, Instruction, Unsupported, element_of, size_of
from .values import Writer, keep_lanes, parts_of, vector

_WINDOW = 4  # elements that neighbouring accesses of a lane may span to be made together


@dataclass(frozen=True)
class Access:
    """One of several accesses that are made together: its distance from the first, in bytes."""

    made: Instruction
    distance: int


@dataclass
class Plan:
    """Accesses of a block that are made together, at the first load or the last store."""

    together: dict[int, list[Access]]  # by identity of the instruction that does it
    done: set[int]  # instructions that another one does


def _space(kind: str) -> int:
    match = re.search(r"addrspace\((\d+)\)", kind)
    return int(match[1]) if match else 0


def _may_alias(a: int, b: int) -> bool:
    if 4 in (a, b):
        return True
    return a == b or {a, b} <= {1, 2}


def _touches(made: Instruction) -> set[int]:
    """Address spaces whose memory an instruction may read or write."""
    if made.op in ("load", "store"):
        return {_space(made.operands[-1][0])}
    if made.op in ("cmpxchg", "atomicrmw", "fence"):
        return {4}
    if made.op != "call":
        return set()
    if made.callee.startswith("@attn_matrix_batch"):
        return {0}
    pure = ("@attn_reduce", "@attn_prefix", "@attn_shuffle", "@attn_broadcast", "@attn_ballot",
            "@attn_lane", "@attn_threadgroup_memory", "@attn_matrix_slots")  # fmt: skip
    if made.callee.startswith(pure):
        return set()
    if made.callee.startswith("@llvm.") and not made.callee.startswith("@llvm.mem"):
        return set()
    return {4}


def _root(w: Writer, value: str) -> tuple[str, int]:
    """A pointer as another one and a distance in bytes."""
    distance = 0
    while (made := w.offsets.made.get(value)) and made.op == "getelementptr":
        steps = [literal(v) for _, v in made.operands[1:]]
        if None in steps:
            break
        try:
            sizes = index_sizes(made)
        except Unsupported:
            break
        distance += sum(n * s for n, s in zip(steps, sizes, strict=True))
        value = made.operands[0][1]
    return value, distance


def plan(w: Writer, block: Block) -> Plan:
    """Find accesses of a block that can be made together."""
    found = Plan({}, set())
    open_: dict[tuple, list[Access]] = {}

    def close(key: tuple) -> None:
        group = open_.pop(key)
        if len(group) > 1:
            leader = group[0] if key[0] == "load" else group[-1]
            first = min(a.distance for a in group)
            found.together[id(leader.made)] = [
                Access(a.made, a.distance - first) for a in group
            ]
            found.done |= {id(a.made) for a in group if a is not leader}

    for made in block.body:
        spaces = _touches(made)
        key = _key(w, made)
        for other in list(open_):
            reads_only = made.op == "load" and other[0] == "load"
            if other != key and not reads_only and any(_may_alias(s, other[3]) for s in spaces):
                close(other)
        if key is None:
            continue
        distance = _root(w, made.operands[-1][1])[1]
        group = open_.get(key, [])
        width = size_of(made.operands[0][0] if made.op == "store" else made.type)
        ends = [a.distance for a in group] + [distance]
        if group and (
            max(ends) - min(ends) >= _WINDOW * width or distance in ends[:-1]
        ):
            close(key)
        open_.setdefault(key, []).append(Access(made, distance))
    for key in list(open_):
        close(key)
    return found


def _key(w: Writer, made: Instruction) -> tuple | None:
    """What accesses that can be made together have in common."""
    if made.op not in ("load", "store") or _special(made):
        return None
    kind, value = made.operands[-1]
    offset = w.offsets.of(value)
    held = made.operands[0][0] if made.op == "store" else made.type
    if value not in w.varying or offset is None or held[0] in "{[%" or held == "i1":
        return None
    if made.op == "load" and (made.name not in w.varying or w.offsets.of(made.name)):
        return None  # what the lanes' state says
    root, distance = _root(w, value)
    width = size_of(element_of(held))
    return made.op, root, held, _space(kind), distance % width


def _special(made: Instruction) -> bool:
    return "atomic" in made.flags or "volatile" in made.flags


def emit(w: Writer, made: Instruction, mask: str | None, together: Plan | None = None) -> None:
    """Write one access."""
    if made.op == "alloca":
        w.say(f"{_local(w, made)} = alloca [{LANES * private_bytes(made)} x i8], align 64")
        w.keep(made.name, "base", "ptr", _local(w, made))
        return
    if together and id(made) in together.done:
        return
    kind, pointer = made.operands[-1] if made.op != "cmpxchg" else made.operands[0]
    if made.op in ("cmpxchg", "atomicrmw"):
        one_by_one(w, made, mask)
    elif made.op == "load" and made.name not in w.varying:
        w.keep(made.name, "one", made.type, w.let(made.render([_place(w, kind, pointer)], "")))
    elif made.op == "load" and w.offsets.of(made.name) is not None:
        offset = w.offsets.of(made.name)
        if not offset.pure:  # the first lane's index
            found = w.let(f"load {made.type}, {kind} {w.base(kind, pointer)}, align 4")
            w.keep(made.name, "base", made.type, found)
    elif made.op == "store" and not any(v in w.varying for _, v in made.operands):
        w.say(made.render([w.one(k, v) for k, v in made.operands]))
    elif mask is not None or _special(made) or w.offsets.of(pointer) is None:
        one_by_one(w, made, mask)
    elif _held(made)[0] in "{[%" or _held(made) == "i1" or "i1>" in _held(made):
        one_by_one(w, made, mask)
    else:
        group = together.together.get(id(made)) if together else None
        group = group or [Access(made, 0)]
        (_load if made.op == "load" else _store)(w, group)


def _place(w: Writer, kind: str, pointer: str) -> str:
    """Where a load that does not vary reads."""
    return w.base(kind, pointer)


def _local(w: Writer, made: Instruction) -> str:
    return f'%"local.{made.name[1:].strip(chr(34))}"'


def _held(made: Instruction) -> str:
    return made.operands[0][0] if made.op == "store" else made.type


# Runs of neighbouring elements


@dataclass(frozen=True)
class _Run:
    """Elements that stand side by side in memory, by the group of lanes they belong to."""

    group: int
    begin: int  # in bytes from the group's address
    count: int
    first: int  # number of its first element among all runs'


def _groups(offset: Offset) -> tuple[list[int], list[int]]:
    """The group of each lane, whose addresses differ by known steps; a lane of each group."""
    keys: dict[tuple, int] = {}
    of_lane, lane_of = [], []
    for lane in range(LANES):
        key = tuple(steps[lane] for _, steps in offset.terms)
        if key not in keys:
            keys[key] = len(keys)
            lane_of.append(lane)
        of_lane.append(keys[key])
    return of_lane, lane_of


def _runs(cells: Iterable[tuple[int, int]], width: int) -> tuple[list[_Run], dict]:
    """Runs of (group, byte) cells, and the number of each cell."""
    runs: list[_Run] = []
    numbers: dict[tuple[int, int], int] = {}
    for number, cell in enumerate(sorted(set(cells))):
        numbers[cell] = number
        group, byte = cell
        last = runs[-1] if runs else None
        if last and last.group == group and byte == last.begin + last.count * width:
            runs[-1] = _Run(group, last.begin, last.count + 1, last.first)
        else:
            runs.append(_Run(group, byte, 1, number))
    return runs, numbers


def _addresses(w: Writer, kind: str, pointer: str, offset: Offset, lanes: list[int]) -> list[str]:
    """The address of each group."""
    found = []
    base = w.base(kind, pointer)
    for lane in lanes:
        at = base
        for factor, steps in offset.terms:
            if steps[lane]:
                step = w.let(f"mul i64 {w.factor(factor)}, {steps[lane]}")
                at = w.let(f"getelementptr i8, {kind} {at}, i64 {step}")
        found.append(at)
    return found


def _cells(group: list[Access], offset: Offset, of_lane: list[int], width: int, parts: int) -> dict:
    """(group, byte) of each (access, part, lane)."""
    first = _first(group)
    return {
        (number, part, lane): (
            of_lane[lane],
            offset.steps[lane] + access.distance - first + part * width,
        )
        for number, access in enumerate(group)
        for part in range(parts)
        for lane in range(LANES)
    }


def _first(group: list[Access]) -> int:
    """Distance of the access whose pointer the addresses are counted from."""
    return group[0].distance


def _load(w: Writer, group: list[Access]) -> None:
    made = group[0].made
    kind, pointer = made.operands[0]
    offset = w.offsets.of(pointer)
    parts = parts_of(made.type, w.types)
    width = size_of(parts[0])
    of_lane, lane_of = _groups(offset)
    cells = _cells(group, offset, of_lane, width, len(parts))
    runs, numbers = _runs(cells.values(), width)
    addresses = _addresses(w, kind, pointer, offset, lane_of)
    align = min(made.align, width)
    pieces = []
    for run in runs:
        at = w.let(f"getelementptr i8, {kind} {addresses[run.group]}, i64 {run.begin}")
        pieces.append(w.let(f"load <{run.count} x {parts[0]}>, {kind} {at}, align {align}"))
    chunks, places = shuffles.pack(w, parts[0], pieces, [run.count for run in runs])
    size = shuffles.chunk(parts[0])
    for number, access in enumerate(group):
        found = []
        for part in range(len(parts)):
            wanted = [places[numbers[cells[number, part, lane]]] for lane in range(LANES)]
            made_of = [
                shuffles.compose(w, parts[0], chunks, wanted[begin : begin + size])
                for begin in range(0, LANES, size)
            ]
            found.append(shuffles.join(w, parts[0], made_of))
        keep_lanes(w, access.made, found)


def _store(w: Writer, group: list[Access]) -> None:
    made = group[-1].made
    first = group[0].made
    kind, pointer = first.operands[1]
    offset = w.offsets.of(pointer)
    parts = parts_of(first.operands[0][0], w.types)
    width = size_of(parts[0])
    of_lane, lane_of = _groups(offset)
    cells = _cells(group, offset, of_lane, width, len(parts))
    runs, numbers = _runs(cells.values(), width)
    last = {}  # of several lanes that write an element, the last one's remains
    for (number, part, lane), cell in cells.items():
        last[numbers[cell]] = (number * len(parts) + part) * LANES + lane
    columns = [v for access in group for v in w.lanes(*access.made.operands[0])]
    chunks = [c for column in columns for c in shuffles.split(w, parts[0], column)]
    size = shuffles.chunk(parts[0])
    sources = [divmod(last[n], size) for n in range(len(last))]
    addresses = _addresses(w, kind, pointer, offset, lane_of)
    align = min(first.align, width)
    for batch in _batches(runs, size):
        wanted = [
            sources[run.first + begin + i] for run, begin, count in batch for i in range(count)
        ]
        whole = shuffles.compose(w, parts[0], chunks, wanted)
        at = 0
        for run, begin, count in batch:
            piece = shuffles.part(w, parts[0], whole, at, count)
            byte = run.begin + begin * width
            place = w.let(f"getelementptr i8, {kind} {addresses[run.group]}, i64 {byte}")
            w.say(f"store <{count} x {parts[0]}> {piece}, {kind} {place}, align {align}")
            at += count


def _batches(runs: list[_Run], size: int) -> list[list[tuple[_Run, int, int]]]:
    """Parts of runs, (run, first, count), that together fill at most one chunk."""
    found: list[list[tuple[_Run, int, int]]] = [[]]
    room = size
    for run in runs:
        for begin in range(0, run.count, size):
            count = min(size, run.count - begin)
            if count > room:
                found.append([])
                room = size
            found[-1].append((run, begin, count))
            room -= count
    return found


# Lane after lane


def one_by_one(w: Writer, made: Instruction, mask: str | None) -> None:
    """Do an instruction for each lane that runs, in the order of lanes."""
    columns: list[tuple[str, list[str] | str]] = []
    used: dict[str, int] = {}

    def buffer(kind: str) -> str:
        used[kind] = used.get(kind, 0) + 1
        return w.buffer(kind, used[kind])

    for kind, value in made.operands:
        if value not in w.varying:
            columns.append((kind, w.one(kind, value)))
            continue
        places = []
        for part, found in zip(parts_of(kind, w.types), w.lanes(kind, value), strict=True):
            places.append(buffer(part))
            _spill(w, part, found, places[-1])
        columns.append((kind, places))
    results = []
    if made.name:
        results = [(part, buffer(part)) for part in parts_of(made.type, w.types)]
        for part, place in results:
            _spill(w, part, "zeroinitializer", place)
    word = "-1" if mask is None else w.let(f"bitcast {vector('i1')} {mask} to i32")
    before, each, after = w.label("before"), w.label("each"), w.label("after")
    w.declare("i32", "@llvm.cttz.i32", "i32, i1")
    w.say(f"br label %{before}")
    w.lines.append(f"{before}:")
    w.say(f"br label %{each}")
    w.lines.append(f"{each}:")
    rest, others = w.fresh(), w.fresh()
    w.say(f"{rest} = phi i32 [ {word}, %{before} ], [ {others}, %{each} ]")
    lane = w.let(f"call i32 @llvm.cttz.i32(i32 {rest}, i1 true)")
    values = [
        column if isinstance(column, str) else _of_lane(w, kind, column, lane)
        for kind, column in columns
    ]
    if made.name:
        _keep_result(w, made, w.let(made.render(values, "")), results, lane)
    else:
        w.say(made.render(values))
    less = w.let(f"sub i32 {rest}, 1")
    w.say(f"{others} = and i32 {rest}, {less}")
    done = w.let(f"icmp eq i32 {others}, 0")
    w.say(f"br i1 {done}, label %{after}, label %{each}")
    w.lines.append(f"{after}:")
    if made.name:
        keep_lanes(w, made, [_reload(w, part, place) for part, place in results])


def _spill(w: Writer, kind: str, lanes: str, place: str) -> None:
    """Bits take a byte each in memory, so that one can be changed."""
    if kind == "i1":
        kind, lanes = "i8", w.let(f"zext {vector('i1')} {lanes} to {vector('i8')}")
    w.say(f"store {vector(kind)} {lanes}, ptr {place}, align 64")


def _reload(w: Writer, kind: str, place: str) -> str:
    if kind != "i1":
        return w.let(f"load {vector(kind)}, ptr {place}, align 64")
    wide = w.let(f"load {vector('i8')}, ptr {place}, align 64")
    return w.let(f"trunc {vector('i8')} {wide} to {vector('i1')}")


def _of_lane(w: Writer, kind: str, places: list[str], lane: str) -> str:
    """One lane's value."""
    parts = parts_of(kind, w.types)
    found = []
    for part, place in zip(parts, places, strict=True):
        at = w.let(f"getelementptr {part}, ptr {place}, i32 {lane}")
        found.append(w.let(f"load {part}, ptr {at}"))
    if parts == [kind]:
        return found[0]
    whole = "poison"
    for i, (part, value) in enumerate(zip(parts, found, strict=True)):
        if kind[0] == "<":
            whole = w.let(f"insertelement {kind} {whole}, {part} {value}, i64 {i}")
        else:
            whole = w.let(f"insertvalue {kind} {whole}, {part} {value}, {i}")
    return whole


def _keep_result(
    w: Writer, made: Instruction, whole: str, results: list[tuple[str, str]], lane: str
) -> None:
    for i, (part, place) in enumerate(results):
        value = whole
        if made.type[0] == "<":
            value = w.let(f"extractelement {made.type} {whole}, i64 {i}")
        elif part != made.type:
            value = w.let(f"extractvalue {made.type} {whole}, {i}")
        at = w.let(f"getelementptr {part}, ptr {place}, i32 {lane}")
        w.say(f"store {part} {value}, ptr {at}")
