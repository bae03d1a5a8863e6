"""Make a kernel's code count what it does.

The optimised IR is cut into segments: a block, or what is left of one after a call. Each
says when it is run, and where each access goes; what it holds is written beside it, once.
A count is therefore dynamic (loops count as often as they run) and exact. The engine's part
is cpp/cpu/counting.h.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field

from attnproto import _core
from attnproto.compiler.analysis.apple_pipes import Pipe, cost_of, pipe_of
from attnproto.compiler.analysis.divergence import each_calls
from attnproto.compiler.analysis.liveness import live_registers
from attnproto.compiler.ir.function import Block, Function, map_functions
from attnproto.compiler.ir.instruction import Instruction
from attnproto.compiler.ir.intrinsics import Intrinsic, intrinsic
from attnproto.compiler.ir.module import split
from attnproto.compiler.ir.runtime_calls import (
    ANY_MEMORY,
    CALLS,
    MATRIX_MULTIPLY,
    RuntimeCall,
    declarations,
    is_entry,
    runtime_call,
)
from attnproto.compiler.ir.structs import struct, table
from attnproto.compiler.ir.types import (
    CONSTANT,
    PRIVATE,
    SPACE_NAMES,
    access_bytes,
    elements_of,
    space_of,
)

from .number_rendezvous import loop_nest

_ENGINE = "ptr addrspace(1)"  # how a lane points to the engine's state
_ACCESSES = {  # what it is counted as, and which operand is the pointer
    "load": ("load", 0),
    "store": ("store", 1),
    "atomicrmw": ("atomic", 0),
    "cmpxchg": ("atomic", 0),
}
_FLOAT, _CONVERSION, _INTEGER = "float_operations", "conversions", "integer_operations"
_OPERATIONS = {
    **dict.fromkeys(("fadd", "fsub", "fmul", "fdiv", "fneg"), _FLOAT),
    **dict.fromkeys(("fpext", "fptrunc"), _CONVERSION),
    **dict.fromkeys(
        ("add", "sub", "mul", "shl", "lshr", "ashr", "and", "or", "xor", "udiv", "sdiv", "urem",
         "srem", "icmp"),
        _INTEGER,
    ),
}  # fmt: skip
_SYMBOL = re.compile(r"@([-\w.$]+)\(")
_MULTIPLY = re.compile(rf"{MATRIX_MULTIPLY}(\w+?)_(\w+)")


@dataclass
class _Segment:
    """Code that is run from its first line to its last."""

    order: int  # rises along the code
    amounts: Counter[str] = field(default_factory=Counter)
    accesses: list[tuple[str, str, int]] = field(default_factory=list)  # space, kind, bytes
    branches: bool = False
    code: list[tuple[Instruction, Pipe, int]] = field(default_factory=list)


@dataclass
class _Instrumenter:
    defined: set[str]  # functions of the module
    segments: list[_Segment] = field(default_factory=list)
    state: set[str] = field(default_factory=set)  # what points into the engine's own memory
    place: set[str] = field(default_factory=set)  # what points at the lane's place in the engine
    opened: dict[str, int] = field(default_factory=dict)  # space by pointer that left it open
    out: list[str] = field(default_factory=list)
    blocks: int = 0  # of the functions before
    serial: int = 0  # of the accesses

    def function(self, lines: list[str]) -> list[str]:
        """A function's lines, with what they count."""
        self.state, self.opened, self.out = set(), {}, lines[:1]
        function = Function(lines)
        symbol = _SYMBOL.search(function.head)
        self.place = {"%0"} if symbol and is_entry(symbol[1]) else set()
        nest = loop_nest(function)
        order = {block.name: self.blocks + n << 8 for n, (block, _) in enumerate(nest)}
        self.blocks += len(nest)
        turns = self._turns(nest, order)
        for block in function.blocks.values():
            self._head(block)
            self._begin(order[block.name])
            pieces = 0
            for instruction in block.body:
                self._instruction(instruction)
                if instruction.op == "call" and each_calls(instruction, self.defined):
                    pieces += 1
                    self._begin(order[block.name] + pieces)
            if block.name in turns:
                self._pass(turns[block.name])
            self._instruction(block.end)
        return [*self.out, "}"]

    def _head(self, block: Block) -> None:
        """A block's label and phis.

        What "instructions" counts are lines: the cases of a switch, and the blank line before a
        label, which adds to the block above it. Recorded counts have them.
        """
        if blank := block.label.count("\n"):
            self.segments[-1].amounts["instructions"] += blank
        self.out += [line for line in (block.label, *(phi.text for phi in block.phis)) if line]

    def _turns(
        self, nest: list[tuple[Block, tuple[str, ...]]], order: dict[str, int]
    ) -> dict[str, int]:
        """By block that ends an iteration of a loop, a segment that holds nothing.

        Where an iteration can end at several blocks, lanes that skipped the later ones wait there
        for the others; a loop with one such block needs none, because it comes last.
        """
        passed: dict[str, int] = {}
        for head in {loop for _, loops in nest for loop in loops}:
            inside = [block for block, loops in nest if head in loops]
            ends = [block.name for block in inside if head in block.successors]
            if len(ends) > 1:
                passed |= dict.fromkeys(ends, len(self.segments))
                self.segments.append(_Segment(max(order[block.name] for block in inside) + 255))
        return passed

    def _begin(self, order: int) -> None:
        self._pass(len(self.segments))
        self.segments.append(_Segment(order))

    def _pass(self, segment: int) -> None:
        self.out.append(f"  call void @attn_count_segment(ptr @attn.counted, i32 {segment})")

    def _instruction(self, instruction: Instruction) -> None:
        known = None
        if instruction.op == "call":
            known = runtime_call(instruction.callee) or intrinsic(instruction.callee)
        amounts = self.segments[-1].amounts
        if known is CALLS["fragment"]:
            amounts[_fragment_name(instruction.operands[0][1])] += 1
            return
        self._access(instruction, known)
        pipe, count = pipe_of(instruction, self._space(instruction))
        self.segments[-1].code.append((instruction, pipe, count))
        self.out.append(instruction.text)
        operations = getattr(known, "operations", 1)
        amounts["instructions"] += instruction.text.count("\n") + operations
        if instruction.op in ("br", "switch") and instruction.operands:
            amounts["branches"] += 1
            self.segments[-1].branches = True
        metric = known.counted if known else _metric(instruction)
        if not metric:
            return
        # Of vectors, operations are counted by element and calls once.
        each = metric in (_FLOAT, _CONVERSION, _INTEGER)
        amounts[metric] += operations * elements_of(instruction.operands[0][0])[0] if each else 1
        product = _MULTIPLY.fullmatch(instruction.callee) if known else None
        if product:
            amounts[f"matrix {product[1]} x {product[2]}"] += 1

    def _access(self, instruction: Instruction, known: RuntimeCall | Intrinsic | None) -> None:
        self._follow(instruction)
        if known and known.judged == "copy":
            to, source, (_, nbytes) = instruction.operands[:3]
            if nbytes.isdigit():
                self._touch(source, "load", int(nbytes), True)
                self._touch(to, "store", int(nbytes), True)
        elif instruction.op in _ACCESSES:
            kind, at = _ACCESSES[instruction.op]
            accessed = instruction.type if kind == "load" else instruction.operands[1 - at][0]
            is_vector = kind != "atomic" and accessed[0] == "<"
            self._touch(instruction.operands[at], kind, access_bytes(accessed), is_vector)

    def _follow(self, instruction: Instruction) -> None:
        """Note what a pointer is made of."""
        if instruction.op not in ("load", "getelementptr", "addrspacecast"):
            return
        kind, pointer = instruction.operands[0]
        if pointer in self.place and instruction.type == "ptr":
            self.place.add(instruction.name)
        if instruction.op == "load":  # the lane's pointer to the engine's state
            if (kind, instruction.type) == ("ptr", _ENGINE):
                self.state.add(instruction.name)
        elif instruction.op == "addrspacecast":
            if space_of(kind) and space_of(instruction.type) == ANY_MEMORY:
                self.opened[instruction.name] = space_of(kind)
        elif pointer in self.state:
            self.state.add(instruction.name)
        elif pointer in self.opened:
            self.opened[instruction.name] = self.opened[pointer]

    def _touch(self, operand: tuple[str, str], kind: str, nbytes: int, vector: bool) -> None:
        """Have an access counted, where it is one to memory that lanes share."""
        pointer, address = operand
        where = self.opened.get(address, space_of(pointer))
        if self._is_private(where, address):
            self.segments[-1].amounts[f"private_{kind}_bytes"] += nbytes
        space = SPACE_NAMES.get(where)
        if space is None or address in self.state:
            return
        value = f"%attn.access.{self.serial}"
        self.serial += 1
        self.out.append(f"  {value} = ptrtoint {pointer} {address} to i64")
        self.out.append(f"  call void @attn_count_access(i64 {value})")
        segment = self.segments[-1]
        segment.accesses.append((space, kind, nbytes))
        name = f"{space}_{kind}"
        segment.amounts[f"{name}s"] += 1
        segment.amounts[f"{name}_bytes"] += nbytes
        segment.amounts[f"{name}s_vector"] += vector

    def _is_private(self, space: int, address: str) -> bool:
        return space == PRIVATE and address[0] == "%" and address not in self.place

    def _space(self, instruction: Instruction) -> int | None:
        """What an access's pointer points into; the engine's own memory is a constant's."""
        if instruction.op not in _ACCESSES:
            return None
        pointer, address = instruction.operands[_ACCESSES[instruction.op][1]]
        if address in self.state or address in self.place:
            return CONSTANT
        return self.opened.get(address, space_of(pointer))


def _metric(instruction: Instruction) -> str:
    """What an operation is counted as; pointers are compared for free."""
    metric = _OPERATIONS.get(instruction.op, "")
    of_pointers = instruction.op == "icmp" and instruction.operands[0][0].startswith("ptr")
    return "" if of_pointers else metric


def _fragment_name(number: str) -> str:
    """As simdgroup_matrix.h numbers it: bytes, space, store, transposed."""
    if not number.isdigit():
        return "fragment transposed or not, as a variable says"
    kind = int(number)
    space = {1: "device", 2: "threadgroup"}[kind // 100 % 10]
    what = "store" if kind // 10 % 10 else "load"
    transposed = " transposed" if kind % 10 else ""
    return f"fragment {what} {space} {kind // 1000} bytes{transposed}"


def instrument(text: str, front_end: str) -> str:
    """Optimised IR that counts, with the description that ``counts`` reads in it.

    Args:
        text: the IR.
        front_end: whose it was before it was optimised, for what differs with that.
    """
    work = _Instrumenter(set(split(text).functions))
    counting = map_functions(text, work.function)
    instructions = sum(s.amounts["instructions"] for s in work.segments)
    costs = [cost_of(segment.code) for segment in work.segments]
    description = json.dumps(
        {
            "segments": [[dict(s.amounts), s.branches] for s in work.segments],
            "costs": [[cost.issue, cost.path, cost.least_path] for cost in costs],
            "accesses": [[n, space, kind] for n, s in enumerate(work.segments)
                         for space, kind, _ in s.accesses],
            "code_instructions": instructions,
            "live_registers": live_registers(text),
            "front_end": front_end,
            "text": hashlib.sha256(text.encode()).hexdigest()[:16],  # kernels may count alike
        }
    )  # fmt: skip
    return "\n".join([counting, *_tables(work, description)]) + "\n"


def _tables(work: _Instrumenter, description: str) -> list[str]:
    """The engine's CountedKernel, and what it points at."""
    raw = description.encode() + b"\0"
    escaped = "".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\{b:02X}" for b in raw)
    segments, accesses = [], []
    for segment in work.segments:
        bounds = {"first_access": len(accesses), "accesses": len(segment.accesses)}
        segments.append(struct(_core.COUNTED_SEGMENT, order=segment.order, **bounds))
        for space, kind, nbytes in segment.accesses:
            flags = {"device": int(space == "device"), "store": int(kind == "store")}
            accesses.append(struct(_core.COUNTED_ACCESS, **flags, bytes=nbytes))
    counted = struct(
        _core.COUNTED_KERNEL, description="@attn.described",
        segments="@attn.segments", accesses="@attn.accesses",
        segment_count=len(segments), access_count=len(accesses),
    )  # fmt: skip
    return [
        f'@attn.described = private constant [{len(raw)} x i8] c"{escaped}"',
        table("@attn.segments", segments),
        table("@attn.accesses", accesses),
        f"@attn.counted = private constant {' '.join(counted)}",
        *declarations("count_segment", "count_access"),
    ]
