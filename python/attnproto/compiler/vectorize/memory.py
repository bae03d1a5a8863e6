"""Memory: one access for all lanes, runs of neighbouring elements, or lane after lane."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attnproto.compiler.analysis.lane_offsets import private_bytes
from attnproto.compiler.analysis.lane_values import LANES, LaneValue
from attnproto.compiler.ir.effects import is_special
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.types import element_of, size_of

from . import interleave
from .access_groups import Access, Plan
from .lane_loop import one_by_one
from .value_map import Writer, keep_lanes, parts_of, vector


def emit(w: Writer, access: Instruction, mask: str | None, together: Plan | None = None) -> None:
    """Write one access."""
    if access.op == "alloca":
        w.say(f"{_local(w, access)} = alloca [{LANES * private_bytes(access)} x i8], align 64")
        w.keep(access.name, "base", "ptr", _local(w, access))
        return
    if together and id(access) in together.done:
        return
    kind, pointer = access.operands[-1] if access.op != "cmpxchg" else access.operands[0]
    if access.op in ("cmpxchg", "atomicrmw"):
        one_by_one(w, access, mask)
    elif access.op == "load" and access.name not in w.varying:
        w.keep(access.name, "one", access.type, w.let(access.render([w.base(kind, pointer)], "")))
    elif access.op == "load" and w.offsets.of(access.name) is not None:
        offset = w.offsets.of(access.name)
        if not offset.exact:  # the first lane's index
            base = w.let(f"load {access.type}, {kind} {w.base(kind, pointer)}, align 4")
            w.keep(access.name, "base", access.type, base)
    elif access.op == "store" and not any(v in w.varying for _, v in access.operands):
        w.say(access.render([w.one(k, v) for k, v in access.operands]))
    elif mask is not None and _is_own_row(w, access):
        _row(w, access, mask)
    elif mask is not None or is_special(access) or w.offsets.of(pointer) is None or _packed(access):
        one_by_one(w, access, mask)
    else:
        group = together.together.get(id(access)) if together else None
        group = group or [Access(access, 0)]
        (_load if access.op == "load" else _store)(w, group)


def _local(w: Writer, alloca: Instruction) -> str:
    return f'%"local.{alloca.name[1:].strip(chr(34))}"'


def _packed(access: Instruction) -> bool:
    """Whether what is in memory is a struct, or bits."""
    return access.held[0] in "{[%" or element_of(access.held) == "i1"


def _is_own_row(w: Writer, access: Instruction) -> bool:
    """Whether each lane accesses an element of its own, side by side, of a local variable."""
    pointer = access.operands[-1][1]
    offset = w.offsets.of(pointer)
    if offset is None or offset.terms or is_special(access):
        return False
    if _packed(access) or access.held[0] == "<":
        return False
    definition = w.offsets.definitions.get(pointer)
    while definition is not None and definition.op in ("getelementptr", "addrspacecast"):
        definition = w.offsets.definitions.get(definition.operands[0][1])
    local = definition is not None and definition.op == "alloca"
    width = size_of(access.held)
    return local and offset.steps == tuple(width * lane for lane in range(LANES))


def _row(w: Writer, access: Instruction, mask: str) -> None:
    """A row's element of every lane: what lanes that do not run have there stays as it is.

    The row is there, since some lane runs and no other simdgroup has the variable.
    """
    kind, pointer = access.operands[-1]
    row, width = vector(access.held), size_of(access.held)
    at = w.base(kind, pointer)
    before = w.let(f"load {row}, {kind} {at}, align {width}")
    if access.op == "load":
        keep_lanes(w, access, [before])
        return
    [lanes] = w.lanes(*access.operands[0])
    after = w.let(f"select {vector('i1')} {mask}, {row} {lanes}, {row} {before}")
    w.say(f"store {row} {after}, {kind} {at}, align {width}")


# Runs of neighbouring elements


@dataclass(frozen=True)
class _Run:
    """Elements that stand side by side in memory, by the group of lanes they belong to."""

    group: int
    begin: int  # in bytes from the group's address
    count: int
    first: int  # number of its first element among all runs'


def _groups(offset: LaneValue) -> tuple[list[int], list[int]]:
    """The group of each lane, whose addresses differ by known steps; a lane of each group."""
    if not offset.terms:
        return [0] * LANES, [0]
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
    ordered = sorted(set(cells))
    numbers = {cell: number for number, cell in enumerate(ordered)}
    previous = [(-1, 0), *ordered]
    starts = [
        (number, (group, byte))
        for number, (group, byte) in enumerate(ordered)
        if previous[number] != (group, byte - width)
    ]
    ends = [number for number, _ in starts[1:]] + [len(numbers)]
    runs = [
        _Run(group, byte, end - number, number)
        for (number, (group, byte)), end in zip(starts, ends, strict=True)
    ]
    return runs, numbers


def _addresses(
    w: Writer, kind: str, pointer: str, offset: LaneValue, lanes: list[int]
) -> list[str]:
    """The address of each group."""
    addresses = []
    base = w.base(kind, pointer)
    for lane in lanes:
        at = base
        for factor, steps in offset.terms:
            if steps[lane]:
                step = w.let(f"mul i64 {w.factor(factor)}, {steps[lane]}")
                at = w.let(f"getelementptr i8, {kind} {at}, i64 {step}")
        addresses.append(at)
    return addresses


def _cells(
    group: list[Access], offset: LaneValue, of_lane: list[int], width: int, parts: int
) -> dict:
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


def _in_a_row(cells: dict, width: int) -> int | None:
    """Where all lanes' elements stand side by side in their order, and are all there is.

    Returns:
        Bytes from the group's address to the first.
    """
    begin = cells[0, 0, 0][1]
    row = [(0, begin + lane * width) for lane in range(LANES)]
    return begin if list(cells.values()) == row else None


def _load(w: Writer, group: list[Access]) -> None:
    first = group[0].instruction
    kind, pointer = first.operands[0]
    offset = w.offsets.of(pointer)
    parts = parts_of(first.type)
    width = size_of(parts[0])
    of_lane, lane_of = _groups(offset)
    cells = _cells(group, offset, of_lane, width, len(parts))
    if (begin := _in_a_row(cells, width)) is not None:
        [base] = _addresses(w, kind, pointer, offset, lane_of)
        at = w.let(f"getelementptr i8, {kind} {base}, i64 {begin}")
        held, align = vector(parts[0]), min(first.align, width)
        keep_lanes(w, first, [w.let(f"load {held}, {kind} {at}, align {align}")])
        return
    second = _pairs(cells) if width == 2 else {}
    element, size = ("i32", 4) if second else (parts[0], width)
    wanted = {key: cell for key, cell in cells.items() if key[:2] not in second.values()}
    runs, numbers = _runs(wanted.values(), size)
    align = min(first.align, width)
    order = {
        column: [numbers[cells[(*column, lane)]] for lane in range(LANES)]
        for column in dict.fromkeys(key[:2] for key in wanted)
    }

    def columns(addresses: list[str]) -> list[str]:
        chunks, places = _chunks(w, kind, addresses, runs, element, size, align)
        vectors: dict[tuple[int, int], str] = {}
        for column, numbers in order.items():
            lanes = interleave.gather(w, element, chunks, [places[n] for n in numbers])
            if second:
                vectors[column], vectors[second[column]] = interleave.halves(w, parts[0], lanes)
            else:
                vectors[column] = lanes
        return [vectors[key[:2]] for key in cells if key[2] == 0]

    addresses = _addresses(w, kind, pointer, offset, lane_of)
    pattern = (kind, parts[0], element, align, tuple(runs), *map(tuple, order.values()))
    types = [vector(parts[0])] * (len(group) * len(parts))
    vectors = iter(w.shared(pattern, [(kind, a) for a in addresses], types, columns))
    for access in group:
        keep_lanes(w, access.instruction, [next(vectors) for _ in parts])


def _chunks(
    w: Writer,
    kind: str,
    addresses: list[str],
    runs: list[_Run],
    element: str,
    size: int,
    align: int,
) -> tuple[list[str], list[tuple[int, int]]]:
    """Runs of elements of a size in bytes, read; the place of each element, as ``pack`` says."""
    held, per_word = element, _whole_word(runs, size)
    if per_word:  # short runs of small elements are carried as one number each
        held = f"i{8 * size * per_word}"
    pieces = []
    for run in runs:
        at = w.let(f"getelementptr i8, {kind} {addresses[run.group]}, i64 {run.begin}")
        count = 1 if per_word else run.count
        pieces.append(w.let(f"load <{count} x {held}>, {kind} {at}, align {align}"))
    chunks, places = interleave.pack(
        w, held, pieces, [1 if per_word else run.count for run in runs]
    )
    if per_word:
        chunks = [interleave.recast(w, held, element, c) for c in chunks]
        places = [(c, at * per_word + i) for c, at in places for i in range(per_word)]
    return chunks, places


def _pairs(cells: dict) -> dict[tuple[int, int], tuple[int, int]]:
    """The 2-byte (access, part) that stands behind each one in the same 4 bytes, for all lanes.

    Empty where they are not all in pairs. Processors move words of 4 bytes between lanes with one
    instruction; those of 2 take several, and LLVM seconds to find them.
    """
    columns = sorted({key[:2] for key in cells}, key=lambda column: cells[(*column, 0)][1])
    pairs = dict(zip(columns[::2], columns[1::2], strict=False))
    bases: dict[int, int] = {}
    together = len(columns) % 2 == 0 and all(
        cells[(*second, lane)] == (group, byte + 2)
        and bases.setdefault(group, byte % 4) == byte % 4
        for first, second in pairs.items()
        for lane in range(LANES)
        for group, byte in [cells[(*first, lane)]]
    )
    return pairs if together else {}


def _whole_word(runs: list[_Run], width: int) -> int:
    """Elements of a run where all runs are of 4 or 8 bytes, else 0."""
    counts = {run.count for run in runs}
    count = counts.pop()
    small = not counts and count > 1 and width > 1
    return count if small and count * width in (4, 8) else 0


def _store(w: Writer, group: list[Access]) -> None:
    first = group[0].instruction
    kind, pointer = first.operands[1]
    offset = w.offsets.of(pointer)
    parts = parts_of(first.operands[0][0])
    width = size_of(parts[0])
    of_lane, lane_of = _groups(offset)
    cells = _cells(group, offset, of_lane, width, len(parts))
    columns = [v for access in group for v in w.lanes(*access.instruction.operands[0])]
    addresses = _addresses(w, kind, pointer, offset, lane_of)
    align = min(first.align, width)
    if (begin := _in_a_row(cells, width)) is not None:
        at = w.let(f"getelementptr i8, {kind} {addresses[0]}, i64 {begin}")
        w.say(f"store {vector(parts[0])} {columns[0]}, {kind} {at}, align {align}")
        return
    runs, numbers = _runs(cells.values(), width)
    last = {}  # of several lanes that write an element, the last one's remains
    for (number, part, lane), cell in cells.items():
        last[numbers[cell]] = (number * len(parts) + part) * LANES + lane
    chunks = [c for column in columns for c in interleave.split(w, parts[0], column)]
    size = interleave.chunk(parts[0])
    sources = [divmod(last[n], size) for n in range(len(last))]
    for batch in _batches(runs, size):
        wanted = [
            sources[run.first + begin + i] for run, begin, count in batch for i in range(count)
        ]
        composed = interleave.compose(w, parts[0], chunks, wanted)
        at = 0
        for run, begin, count in batch:
            piece = interleave.part(w, parts[0], composed, at, count)
            byte = run.begin + begin * width
            place = w.let(f"getelementptr i8, {kind} {addresses[run.group]}, i64 {byte}")
            w.say(f"store <{count} x {parts[0]}> {piece}, {kind} {place}, align {align}")
            at += count


def _batches(runs: list[_Run], size: int) -> list[list[tuple[_Run, int, int]]]:
    """Parts of runs, (run, first, count), that together fill at most one chunk."""
    batches: list[list[tuple[_Run, int, int]]] = [[]]
    room = size
    for run in runs:
        for begin in range(0, run.count, size):
            count = min(size, run.count - begin)
            if count > room:
                batches.append([])
                room = size
            batches[-1].append((run, begin, count))
            room -= count
    return batches
