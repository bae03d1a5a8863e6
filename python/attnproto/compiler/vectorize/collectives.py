"""What the lanes of a simdgroup do together, and what they ask the engine."""

from __future__ import annotations

from attnproto.compiler.analysis.lane_values import literal
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.types import Unsupported

from .value_map import ALL, Writer, constants, vector

_BITS = vector("i1")


def mask_word(w: Writer, mask: str | None) -> str:
    """The lanes that run, one bit each."""
    return "-1" if mask is None else w.let(f"bitcast {_BITS} {mask} to i32")


def emit(w: Writer, made: Instruction, mask: str | None) -> None:
    """Write one call of the engine."""
    name = made.callee[len("@attn_") :]
    if name == "lane_index":
        return
    if name == "simdgroup_barrier":
        return  # lanes are never apart
    if name == "threadgroup_barrier":
        if mask is not None:
            raise Unsupported("a threadgroup_barrier that only some lanes may reach")
        w.declare("void", "@attn_lockstep_barrier", "i32")
        w.barriers += 1
        w.say(f"call void @attn_lockstep_barrier(i32 {w.barriers})")
    elif name == "threadgroup_memory":
        _keep_one(w, made, w.let("call ptr addrspace(3) @attn_threadgroup_memory()"))
    elif name == "matrix_slots":
        w.declare("ptr", "@attn_lockstep_slots", "")
        w.keep(made.name, "base", "ptr", w.let("call ptr @attn_lockstep_slots()"))
    elif name == "matrix_batch":
        w.declare("void", "@attn_lockstep_batch", "ptr")
        w.say(f"call void @attn_lockstep_batch(ptr {made.operands[0][1]})")
    elif name.startswith("shuffle_"):
        _shuffle(w, made)
    elif name == "broadcast_first_u32":
        _broadcast_first(w, made, mask)
    elif name == "ballot":
        _ballot(w, made, mask)
    elif name.startswith("reduce_"):
        _reduce(w, made, mask)
    elif name.startswith("prefix_"):
        _prefix(w, made, mask)
    else:
        raise Unsupported(f"a call of {made.callee[1:]}")


def _keep_one(w: Writer, made: Instruction, found: str) -> None:
    w.keep(made.name, "one", made.type, found)


def _keep_lanes(w: Writer, made: Instruction, found: str) -> None:
    w.keep(made.name, "lanes0", vector(made.type), found)


def _shuffle(w: Writer, made: Instruction) -> None:
    kind = made.type
    (_, value), (_, source) = made.operands
    values = w.lanes(kind, value)[0]
    offset = w.offsets.of(source)
    if source not in w.varying:
        at = w.let(f"and i32 {w.one('i32', source)}, 31")
        _keep_one(w, made, w.let(f"extractelement {vector(kind)} {values}, i32 {at}"))
        return
    if offset and offset.pure:
        order = constants("i32", [n % 32 for n in offset.steps])
        found = w.let(
            f"shufflevector {vector(kind)} {values}, {vector(kind)} poison, {vector('i32')} {order}"
        )
        _keep_lanes(w, made, found)
        return
    buffer = w.buffer(kind)
    w.say(f"store {vector(kind)} {values}, ptr {buffer}, align 64")
    sources = w.let(f"and {vector('i32')} {w.lanes('i32', source)[0]}, splat (i32 31)")
    places = w.let(f"getelementptr {kind}, ptr {buffer}, {vector('i32')} {sources}")
    function = f"@llvm.masked.gather.v32{kind}.v32p0"
    w.declare(vector(kind), function, f"{vector('ptr')}, i32, {_BITS}, {vector(kind)}")
    found = w.let(
        f"call {vector(kind)} {function}({vector('ptr')} {places}, i32 4, {_BITS} {ALL}, "
        f"{vector(kind)} zeroinitializer)"
    )
    _keep_lanes(w, made, found)


def _broadcast_first(w: Writer, made: Instruction, mask: str | None) -> None:
    first = "0"
    if mask is not None:
        w.declare("i32", "@llvm.cttz.i32", "i32, i1")
        first = w.let(f"call i32 @llvm.cttz.i32(i32 {mask_word(w, mask)}, i1 true)")
    values = w.lanes(*made.operands[0])[0]
    _keep_one(w, made, w.let(f"extractelement {vector('i32')} {values}, i32 {first}"))


def _ballot(w: Writer, made: Instruction, mask: str | None) -> None:
    kind, vote = made.operands[0]
    if vote not in w.varying and literal(vote) is not None:
        votes = mask_word(w, mask) if literal(vote) else "0"
        _keep_one(w, made, w.let(f"or i32 {votes}, 0"))
        return
    holds = w.let(f"icmp ne {vector(kind)} {w.lanes(kind, vote)[0]}, zeroinitializer")
    if mask is not None:
        holds = w.let(f"select {_BITS} {mask}, {_BITS} {holds}, {_BITS} zeroinitializer")
    _keep_one(w, made, w.let(f"bitcast {_BITS} {holds} to i32"))


def _reduce(w: Writer, made: Instruction, mask: str | None) -> None:
    kind = made.type
    (_, value), (_, op) = made.operands
    buffer = w.buffer(kind)
    w.say(f"store {vector(kind)} {w.lanes(kind, value)[0]}, ptr {buffer}, align 64")
    function = f"@attn_lockstep_{made.callee[len('@attn_') :]}"
    w.declare(kind, function, "ptr, i32, i32")
    word = mask_word(w, mask)
    op = w.one("i32", op)
    _keep_one(w, made, w.let(f"call {kind} {function}(ptr {buffer}, i32 {word}, i32 {op})"))


def _prefix(w: Writer, made: Instruction, mask: str | None) -> None:
    kind = made.type
    (_, value), (_, op), (_, inclusive) = made.operands
    buffer = w.buffer(kind)
    w.say(f"store {vector(kind)} {w.lanes(kind, value)[0]}, ptr {buffer}, align 64")
    function = f"@attn_lockstep_{made.callee[len('@attn_') :]}"
    w.declare("void", function, "ptr, i32, i32, i32")
    word = mask_word(w, mask)
    op, inclusive = w.one("i32", op), w.one("i32", inclusive)
    w.say(f"call void {function}(ptr {buffer}, i32 {word}, i32 {op}, i32 {inclusive})")
    _keep_lanes(w, made, w.let(f"load {vector(kind)}, ptr {buffer}, align 64"))
