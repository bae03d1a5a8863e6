"""What a kernel's instructions take on an Apple GPU: issue by pipe, and the critical path.

Of optimised IR in the order it is written in. Issue cycles are of one scheduler for the 32 lanes of
a simdgroup; latencies are of a simdgroup alone. Neither was published for an M4: they are M1's,
from philipturner/metal-benchmarks, or assumed, and each latency has a low end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.intrinsics import Intrinsic, intrinsic
from attnproto.compiler.ir.runtime_calls import RuntimeCall, runtime_call
from attnproto.compiler.ir.types import SPACE_NAMES, elements_of, space_of

_MEASURED = "philipturner/metal-benchmarks, M1"


@dataclass(frozen=True)
class Pipe:
    """One kind of instruction.

    Attributes:
        name: What it is counted as.
        issue: Cycles of a scheduler.
        latency: Cycles until the result can be used.
        least_latency: The low end of its range.
        source: Where the figures are from.
        waits: Whether nothing else of the simdgroup is issued until it is done.
    """

    name: str
    issue: float
    latency: float
    least_latency: float
    source: str = _MEASURED
    waits: bool = False


def _of_alu(name: str, issue: float, latency: float) -> Pipe:
    return Pipe(name, issue, latency, 0.7 * latency)


# Bits that move, and conversions between float types, are part of the instruction that uses them;
# so are addresses, which a load or store adds up itself.
FREE = Pipe("free", 0, 0, 0)
PIPES = {
    one.name: one
    for one in (
        FREE,
        Pipe("matrix", 18, 36, 34, f"{_MEASURED}: FP32 18 and 36, FP16 17 and 34"),
        _of_alu("float", 1, 2.2),
        _of_alu("integer", 1, 2.2),
        _of_alu("shift", 4, 4),  # and integer products, and integers to floats
        _of_alu("division", 6, 6.5),  # a reciprocal
        Pipe("integer division", 30, 40, 28, "assumed: a dozen instructions"),
        _of_alu("exponential", 4, 4.3),
        _of_alu("transcendental", 8, 8),
        _of_alu("shuffle", 2, 3.7),
        _of_alu("reduction", 15, 27),
        _of_alu("branch", 1, 1),
        Pipe("device", 1, 22, 14, "assumed: a hit"),
        Pipe("private", 1, 22, 14, "assumed: as device memory, a hit"),
        Pipe("threadgroup", 1, 14, 8, "assumed"),
        Pipe("constant", 1, 2.2, 0, "assumed: loaded before the kernel begins"),
        Pipe("barrier", 1, 20, 8, "assumed: nobody else is late", waits=True),
    )
}
_OPERATIONS = {
    **dict.fromkeys(("fadd", "fsub", "fmul", "fcmp"), "float"),
    **dict.fromkeys(("add", "sub", "and", "or", "xor", "icmp", "select"), "integer"),
    **dict.fromkeys(
        ("mul", "shl", "lshr", "ashr", "sitofp", "uitofp", "fptosi", "fptoui"), "shift"
    ),
    **dict.fromkeys(("fdiv", "frem"), "division"),
    **dict.fromkeys(("udiv", "sdiv", "urem", "srem"), "integer division"),
    **dict.fromkeys(("switch", "indirectbr"), "branch"),
}
_CALLS = {
    "matrix_operations": "matrix",
    "shuffles": "shuffle",
    "votes": "shuffle",
    "reductions": "reduction",
    "threadgroup_barriers": "barrier",
    "float_operations": "float",
    "integer_operations": "integer",
    "exponentials": "exponential",
    "transcendentals": "transcendental",
}
# A vector of them is as many instructions.
_BY_ELEMENT = frozenset((
    "float", "integer", "shift", "division", "integer division", "exponential", "transcendental",
))  # fmt: skip


def pipe_of(instruction: Instruction, space: int | None = None) -> tuple[Pipe, int]:
    """Return the pipe of an instruction, and how many of it are issued.

    Args:
        instruction: Of optimised IR.
        space: What its pointer is known to point into, where its type does not say.
    """
    name = _name(instruction, space)
    if name not in _BY_ELEMENT:
        return PIPES[name], 1
    kind = instruction.operands[0][0] if instruction.operands else instruction.type
    return PIPES[name], elements_of(kind)[0] if kind[0] == "<" else 1


def _name(instruction: Instruction, space: int | None) -> str:
    op = instruction.op
    if op == "call":
        known: RuntimeCall | Intrinsic | None = runtime_call(instruction.callee) or intrinsic(
            instruction.callee
        )
        return _CALLS.get(known.counted, "free") if known else "branch"
    if op == "br":
        return "branch" if instruction.operands else "free"
    if op in ("load", "store", "atomicrmw", "cmpxchg"):
        kind = instruction.operands[op == "store"][0]
        return SPACE_NAMES.get(space_of(kind) if space is None else space, "private")
    return _OPERATIONS.get(op, "free")


@dataclass(frozen=True)
class Cost:
    """What straight code takes of one simdgroup.

    Attributes:
        issue: Cycles by pipe, matrix products among them.
        path: Cycles from its first instruction to the last result, alone and in order.
        least_path: The same with each latency at the low end of its range.
    """

    issue: dict[str, float]
    path: float
    least_path: float


def cost_of(code: Iterable[tuple[Instruction, Pipe, int]]) -> Cost:
    """Return what instructions that are run one after another take.

    Args:
        code: Each with its pipe and how many of it are issued.
    """
    code = list(code)
    issue: Counter[str] = Counter()
    for _, pipe, count in code:
        issue[pipe.name] += pipe.issue * count
    del issue[FREE.name]
    return Cost(dict(issue), _path(code, least=False), _path(code, least=True))


def _path(code: list[tuple[Instruction, Pipe, int]], *, least: bool) -> float:
    clock, end = 0.0, 0.0
    ready: dict[str, float] = {}
    for instruction, pipe, count in code:
        arrived = max((ready.get(name, 0.0) for name in instruction.used), default=0.0)
        if pipe is FREE:
            done = arrived
        else:
            start = max(clock, arrived)
            busy = pipe.issue * count
            done = start + max(pipe.least_latency if least else pipe.latency, busy)
            clock = done if pipe.waits else start + busy
        if instruction.name:
            ready[instruction.name] = done
        end = max(end, done)
    return max(clock, end)
