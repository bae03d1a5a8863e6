"""What the lanes of a simdgroup do together, and what they ask the engine."""

from __future__ import annotations

from attnproto.compiler.analysis.lane_values import literal
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.runtime_calls import PREFIX, declaration, runtime_call
from attnproto.compiler.ir.types import Unsupported

from .value_map import ALL, Writer, constants, vector

_BITS = vector("i1")


def mask_word(w: Writer, mask: str | None) -> str:
    """The lanes that run, one bit each."""
    return "-1" if mask is None else w.let(f"bitcast {_BITS} {mask} to i32")


def _keep_one(w: Writer, call: Instruction, value: str) -> None:
    w.keep(call.name, "one", call.type, value)


def _keep_lanes(w: Writer, call: Instruction, values: str) -> None:
    w.keep(call.name, "lanes0", vector(call.type), values)


def _nothing(w: Writer, call: Instruction, mask: str | None) -> None:
    """Lanes are never apart, and the lane's index is a constant."""


def _together(w: Writer, call: Instruction) -> str:
    """The function that a simdgroup calls instead; the module declares it."""
    known = runtime_call(call.callee)
    variant = known.variant(call.callee)
    symbol = f"{PREFIX}{known.lockstep}{variant and '_'}{variant}"
    w.declared[symbol] = declaration(symbol)
    return symbol


def _barrier(w: Writer, call: Instruction, mask: str | None) -> None:
    if mask is not None:
        raise Unsupported("a threadgroup_barrier that only some lanes may reach")
    w.barriers += 1
    w.say(f"call void {_together(w, call)}(i32 {w.barriers})")


def _memory(w: Writer, call: Instruction, mask: str | None) -> None:
    _keep_one(w, call, w.let(f"call {call.type} {call.callee}()"))


def _slots(w: Writer, call: Instruction, mask: str | None) -> None:
    w.keep(call.name, "base", "ptr", w.let(f"call ptr {_together(w, call)}()"))


def _batch(w: Writer, call: Instruction, mask: str | None) -> None:
    w.say(f"call void {_together(w, call)}(ptr {call.operands[0][1]})")


def _shuffle(w: Writer, call: Instruction, mask: str | None) -> None:
    kind = call.type
    (_, value), (_, source) = call.operands
    values = w.lanes(kind, value)[0]
    offset = w.offsets.of(source)
    if source not in w.varying:
        at = w.let(f"and i32 {w.one('i32', source)}, 31")
        _keep_one(w, call, w.let(f"extractelement {vector(kind)} {values}, i32 {at}"))
        return
    if offset and offset.exact:
        order = constants("i32", [n % 32 for n in offset.steps])
        moved = w.let(
            f"shufflevector {vector(kind)} {values}, {vector(kind)} poison, {vector('i32')} {order}"
        )
        _keep_lanes(w, call, moved)
        return
    buffer = w.buffer(kind)
    w.say(f"store {vector(kind)} {values}, ptr {buffer}, align 64")
    sources = w.let(f"and {vector('i32')} {w.lanes('i32', source)[0]}, splat (i32 31)")
    places = w.let(f"getelementptr {kind}, ptr {buffer}, {vector('i32')} {sources}")
    function = f"@llvm.masked.gather.v32{kind}.v32p0"
    w.declare(vector(kind), function, f"{vector('ptr')}, i32, {_BITS}, {vector(kind)}")
    read = w.let(
        f"call {vector(kind)} {function}({vector('ptr')} {places}, i32 4, {_BITS} {ALL}, "
        f"{vector(kind)} zeroinitializer)"
    )
    _keep_lanes(w, call, read)


def _broadcast_first(w: Writer, call: Instruction, mask: str | None) -> None:
    first = "0"
    if mask is not None:
        w.declare("i32", "@llvm.cttz.i32", "i32, i1")
        first = w.let(f"call i32 @llvm.cttz.i32(i32 {mask_word(w, mask)}, i1 true)")
    values = w.lanes(*call.operands[0])[0]
    _keep_one(w, call, w.let(f"extractelement {vector('i32')} {values}, i32 {first}"))


def _ballot(w: Writer, call: Instruction, mask: str | None) -> None:
    kind, vote = call.operands[0]
    if vote not in w.varying and literal(vote) is not None:
        votes = mask_word(w, mask) if literal(vote) else "0"
        _keep_one(w, call, w.let(f"or i32 {votes}, 0"))
        return
    holds = w.let(f"icmp ne {vector(kind)} {w.lanes(kind, vote)[0]}, zeroinitializer")
    if mask is not None:
        holds = w.let(f"select {_BITS} {mask}, {_BITS} {holds}, {_BITS} zeroinitializer")
    _keep_one(w, call, w.let(f"bitcast {_BITS} {holds} to i32"))


def _reduce(w: Writer, call: Instruction, mask: str | None) -> None:
    kind = call.type
    (_, value), (_, op) = call.operands
    buffer = w.buffer(kind)
    w.say(f"store {vector(kind)} {w.lanes(kind, value)[0]}, ptr {buffer}, align 64")
    function = _together(w, call)
    word = mask_word(w, mask)
    op = w.one("i32", op)
    _keep_one(w, call, w.let(f"call {kind} {function}(ptr {buffer}, i32 {word}, i32 {op})"))


def _prefix(w: Writer, call: Instruction, mask: str | None) -> None:
    kind = call.type
    (_, value), (_, op), (_, inclusive) = call.operands
    buffer = w.buffer(kind)
    w.say(f"store {vector(kind)} {w.lanes(kind, value)[0]}, ptr {buffer}, align 64")
    function = _together(w, call)
    word = mask_word(w, mask)
    op, inclusive = w.one("i32", op), w.one("i32", inclusive)
    w.say(f"call void {function}(ptr {buffer}, i32 {word}, i32 {op}, i32 {inclusive})")
    _keep_lanes(w, call, w.let(f"load {vector(kind)}, ptr {buffer}, align 64"))


WRITERS = {
    "lane_index": _nothing, "simdgroup_barrier": _nothing, "threadgroup_barrier": _barrier,
    "threadgroup_memory": _memory, "matrix_slots": _slots, "matrix_batch": _batch,
    "shuffle": _shuffle, "broadcast_first": _broadcast_first, "ballot": _ballot,
    "reduce": _reduce, "prefix": _prefix,
}  # fmt: skip


def emit(w: Writer, call: Instruction, mask: str | None) -> None:
    """Write one call of the engine."""
    known = runtime_call(call.callee)
    if known is None or known.name not in WRITERS:
        raise Unsupported(f"a call of {call.callee[1:]}")
    WRITERS[known.name](w, call, mask)
