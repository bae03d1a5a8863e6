"""What has no vector form: lane after lane, in the order of lanes."""

from __future__ import annotations

from collections.abc import Iterator

from attnproto.compiler.ir.instruction import Instruction

from .value_map import Writer, keep_lanes, parts_of, vector


def one_by_one(w: Writer, instruction: Instruction, mask: str | None) -> None:
    """Do an instruction for each lane that runs, in the order of lanes.

    The loop is a function of where the lanes' values are: a kernel has many of few kinds.
    """
    columns: list[tuple[str, list[str] | str]] = []
    used: dict[str, int] = {}

    def buffer(kind: str) -> str:
        used[kind] = used.get(kind, 0) + 1
        return w.buffer(kind, used[kind])

    for kind, value in instruction.operands:
        if value not in w.varying:
            columns.append((kind, w.one(kind, value)))
            continue
        places = []
        for part, lanes in zip(parts_of(kind), w.lanes(kind, value), strict=True):
            places.append(buffer(part))
            _spill(w, part, lanes, places[-1])
        columns.append((kind, places))
    results = []
    if instruction.name:
        results = [(part, buffer(part)) for part in parts_of(instruction.type)]
    word = "-1" if mask is None else w.let(f"bitcast {vector('i1')} {mask} to i32")
    arguments = [("i32", word)]
    for kind, column in columns:
        if not isinstance(column, str):
            arguments += [("ptr", place) for place in column]
        elif column[0] == "%":
            arguments.append((kind, column))
    arguments += [("ptr", place) for _, place in results]

    def write(names: list[str]) -> list[str]:
        given = iter(names[1:])
        inside = [(kind, _renamed(column, given)) for kind, column in columns]
        _loop(w, instruction, names[0], inside, [(part, next(given)) for part, _ in results])
        return []

    operands = [(k, c if isinstance(c, str) and c[0] != "%" else len(c)) for k, c in columns]
    shape = instruction.render([f"%{i}" for i in range(len(columns))], "")
    w.shared(("each", shape, *operands), arguments, [], write)
    if instruction.name:
        keep_lanes(w, instruction, [_reload(w, part, place) for part, place in results])


def _renamed(column: list[str] | str, given: Iterator[str]) -> list[str] | str:
    """An operand by its names within the function; a literal stays as it is."""
    if isinstance(column, str):
        return next(given) if column[0] == "%" else column
    return [next(given) for _ in column]


def _loop(
    w: Writer,
    instruction: Instruction,
    word: str,
    columns: list[tuple[str, list[str] | str]],
    results: list[tuple[str, str]],
) -> None:
    for part, place in results:
        _spill(w, part, "zeroinitializer", place)
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
    if instruction.name:
        _keep_result(w, instruction, w.let(instruction.render(values, "")), results, lane)
    else:
        w.say(instruction.render(values))
    less = w.let(f"sub i32 {rest}, 1")
    w.say(f"{others} = and i32 {rest}, {less}")
    done = w.let(f"icmp eq i32 {others}, 0")
    w.say(f"br i1 {done}, label %{after}, label %{each}")
    w.lines.append(f"{after}:")


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
    parts = parts_of(kind)
    scalars = []
    for part, place in zip(parts, places, strict=True):
        at = w.let(f"getelementptr {part}, ptr {place}, i32 {lane}")
        scalars.append(w.let(f"load {part}, ptr {at}"))
    return w.composed(kind, scalars)


def _keep_result(
    w: Writer, instruction: Instruction, result: str, results: list[tuple[str, str]], lane: str
) -> None:
    for scalar, (part, place) in zip(w.scalars(instruction.type, result), results, strict=True):
        at = w.let(f"getelementptr {part}, ptr {place}, i32 {lane}")
        w.say(f"store {part} {scalar}, ptr {at}")
