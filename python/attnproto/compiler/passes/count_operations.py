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
from attnproto.compiler.analysis.liveness import live_registers
from attnproto.compiler.ir.function import Block, Function
from attnproto.compiler.ir.runtime_calls import CALLS, FRAGMENT_MARK, MATRIX_MULTIPLY, calls
from attnproto.compiler.ir.structs import struct, table
from attnproto.compiler.ir.types import access_bytes
from attnproto.dtypes import ANY_LLVM

from .number_rendezvous import loop_nest

_SPACES = {"1": "device", "2": "constant", "3": "threadgroup"}
_ELEMENT_TYPES = r"(?P<type><(?P<width>\d+) x (?P<element>\w+)>|\w+)"
_ADDRESS = r"ptr addrspace\((?P<space>\d)\) (?P<address>[%@][\w.$\"-]+)"
_ACCESSES = {
    "load": re.compile(rf"= load (?:atomic )?(?:volatile )?{_ELEMENT_TYPES}, {_ADDRESS}"),
    "store": re.compile(rf"^\s+store (?:atomic )?(?:volatile )?{_ELEMENT_TYPES} .*?, {_ADDRESS}"),
    "atomic": re.compile(rf"= (?:atomicrmw|cmpxchg) (?:weak )?(?:volatile )?(?:\w+ )?{_ADDRESS}"),
}
_OPERATIONS = (
    ("float_operations", re.compile(
        rf"= (?:fadd|fsub|fmul|fdiv|fneg)(?: \w+)*? (?:<(\d+) x \w+>|{ANY_LLVM}) "
        r"|= (?:tail )?call [^@]*@llvm\.(?:maxnum|minnum|fma|fmuladd|maximum|minimum)\."
        r"(?:v(\d+))?")),
    ("conversions", re.compile(
        rf"= (?:fpext|fptrunc)(?: \w+)*? (?:<(\d+) x \w+>|{ANY_LLVM}) ")),
    ("integer_operations", re.compile(
        r"= (?:add|sub|mul|shl|lshr|ashr|and|or|xor|[us]div|[us]rem|icmp \w+)(?: \w+)*? "
        r"(?:<(\d+) x i\d+>|i\d+) "
        r"|= (?:tail )?call [^@]*@llvm\.(?:[us](?:max|min)|abs|ctpop|ct[lt]z|fsh[lr])\."
        r"(?:v(\d+))?")),
)  # fmt: skip
_CALLS = {
    **{
        metric: rf"(?:{calls(lambda c, metric=metric: c.counted == metric)})\("
        for metric in dict.fromkeys(c.counted for c in CALLS.values() if c.counted)
    },
    "exponentials": r"(?:llvm\.exp2?\.|exp2?f?\()",
    "transcendentals": r"(?:llvm\.(?:log|sin|cos|tan|pow|sqrt|exp10)|a?(?:sin|cos|tan)h?f?\("
    r"|(?:log|pow|exp10|erf)\w*\()",
}
_CALLED = {name: re.compile(rf"call [^@]*@{pattern}") for name, pattern in _CALLS.items()}
_MATRIX = re.compile(rf"call [^@]*{MATRIX_MULTIPLY}(\w+?)_(\w+)\(")
_FRAGMENT = re.compile(rf"call [^@]*{FRAGMENT_MARK}\(i32 (?:noundef )?(?:(\d+)|%)")
_BRANCH = re.compile(r"^  (?:br i1|switch) ")
_TERMINATOR = re.compile(r"^  (?:br|switch)\b")
_LABEL = re.compile(r'^(?:"[^"]+"|[-\w.$]+):')
# A pointer whose space the language left open (4), and what it was made of.
_OPENED = re.compile(r"^\s+(%\S+) = addrspacecast ptr addrspace\((\d)\) \S+ to ptr addrspace\(4\)")
_MOVED = re.compile(r"^\s+(%[\w.]+) = getelementptr [^@]*?ptr addrspace\((\d)\) (%[\w.]+)")
_COPY = re.compile(
    r"call void @llvm\.mem(?:cpy|move)[^(]*\(ptr(?: addrspace\((\d)\))?[^,]* ([%@]\S+), "
    r"ptr(?: addrspace\((\d)\))?[^,]* ([%@]\S+), i64 (\d+),"
)
_CALL = re.compile(r"call [^@(]*(?:(@[\w.$\"-]+)|%[\w.]+)\(")


@dataclass
class _Segment:
    """Code that is run from its first line to its last."""

    order: int  # rises along the code
    amounts: Counter[str] = field(default_factory=Counter)
    accesses: list[tuple[str, str, int]] = field(default_factory=list)  # space, kind, bytes
    branches: bool = False


@dataclass
class _Instrumenter:
    defined: set[str]  # functions of the module
    segments: list[_Segment] = field(default_factory=list)
    state: set[str] = field(default_factory=set)  # what points into the engine's own memory
    opened: dict[str, str] = field(default_factory=dict)  # space by pointer that left it open
    out: list[str] = field(default_factory=list)
    blocks: int = 0  # of the functions before

    def function(self, lines: list[str]) -> None:
        """Instrument a function."""
        self.state, self.opened = set(), {}
        function = Function(lines)
        nest = loop_nest(function)
        order = {block.name: self.blocks + n << 8 for n, (block, _) in enumerate(nest)}
        self.blocks += len(nest)
        turns = self._turns(nest, order)
        label, head, pieces = next(iter(function.blocks)), True, 0
        for line in lines[1:-1]:
            found = _LABEL.match(line)
            if found:
                label, head, pieces = found[0][:-1], True, 0
                self.out.append(line)
                continue
            if head and " = phi " not in line:
                head = False
                self._begin(order[label])
            if label in turns and _TERMINATOR.match(line):
                self._pass(turns[label])
            self._line(line)
            call = _CALL.search(line)
            if call and (call[1] is None or call[1] in self.defined):
                pieces += 1
                self._begin(order[label] + pieces)

    def _turns(
        self, nest: list[tuple[Block, tuple[str, ...]]], order: dict[str, int]
    ) -> dict[str, int]:
        """By block that ends a turn of a loop, a segment that holds nothing.

        Where a turn can end at several blocks, lanes that skipped the later ones wait there for
        the others; a loop with one such block needs none, because it comes last.
        """
        found: dict[str, int] = {}
        for head in {loop for _, loops in nest for loop in loops}:
            inside = [block for block, loops in nest if head in loops]
            ends = [block.name for block in inside if head in block.successors]
            if len(ends) > 1:
                found |= dict.fromkeys(ends, len(self.segments))
                self.segments.append(_Segment(max(order[block.name] for block in inside) + 255))
        return found

    def _begin(self, order: int) -> None:
        self._pass(len(self.segments))
        self.segments.append(_Segment(order))

    def _pass(self, segment: int) -> None:
        self.out.append(f"  call void @attn_count_segment(ptr @attn.counted, i32 {segment})")

    def _line(self, line: str) -> None:
        if " = phi " in line:
            self.out.append(line)
            return
        fragment = _FRAGMENT.search(line)
        if fragment:
            self.segments[-1].amounts[_fragment_name(fragment[1])] += 1
            return
        self._access(line)
        self.out.append(line)
        amounts = self.segments[-1].amounts
        amounts["instructions"] += 1
        if _BRANCH.match(line):
            amounts["branches"] += 1
            self.segments[-1].branches = True
        matrix = _MATRIX.search(line)
        if matrix:
            amounts["matrix_operations"] += 1
            amounts[f"matrix {matrix[1]} x {matrix[2]}"] += 1
            return
        for name, pattern in _CALLED.items():
            if pattern.search(line):
                amounts[name] += 1
                return
        for name, pattern in _OPERATIONS:
            match = pattern.search(line)
            if match:
                amounts[name] += int(next((g for g in match.groups() if g), 1))
                return

    def _access(self, line: str) -> None:
        self._follow(line)
        copy = _COPY.search(line)
        if copy:
            self._touch(copy[3], copy[4], "load", int(copy[5]), True)
            self._touch(copy[1], copy[2], "store", int(copy[5]), True)
            return
        for kind, pattern in _ACCESSES.items():
            match = pattern.search(line)
            if match is None:
                continue
            element, width = "i32", None
            if kind != "atomic":
                element, width = match["element"] or match["type"], match["width"]
            nbytes = int(width or 1) * access_bytes(element)
            self._touch(match["space"], match["address"], kind, nbytes, width is not None)
            return

    def _follow(self, line: str) -> None:
        """Note what a pointer is made of."""
        if "= load ptr addrspace(1), ptr %" in line:  # the lane's pointer to the engine's state
            self.state.add(line.split(" = ")[0].strip())
        opened, moved = _OPENED.match(line), _MOVED.match(line)
        if opened:
            self.opened[opened[1]] = opened[2]
        elif moved and moved[3] in self.state:
            self.state.add(moved[1])
        elif moved and moved[3] in self.opened:
            self.opened[moved[1]] = self.opened[moved[3]]

    def _touch(
        self, number: str | None, address: str, kind: str, nbytes: int, vector: bool
    ) -> None:
        """Have an access counted, where it is one to memory that lanes share."""
        space = _SPACES.get(self.opened.get(address, number) or "")
        if space is None or address in self.state:
            return
        value = f"%attn.access.{len(self.out)}"
        self.out.append(f"  {value} = ptrtoint ptr addrspace({number}) {address} to i64")
        self.out.append(f"  call void @attn_count_access(i64 {value})")
        segment = self.segments[-1]
        segment.accesses.append((space, kind, nbytes))
        name = f"{space}_{kind}"
        segment.amounts[f"{name}s"] += 1
        segment.amounts[f"{name}_bytes"] += nbytes
        segment.amounts[f"{name}s_vector"] += vector


def _fragment_name(number: str | None) -> str:
    """As simdgroup_matrix.h numbers it: bytes, space, store, transposed."""
    if number is None:
        return "fragment transposed or not, as a variable says"
    kind = int(number)
    space = {1: "device", 2: "threadgroup"}[kind // 100 % 10]
    what = "store" if kind // 10 % 10 else "load"
    transposed = " transposed" if kind % 10 else ""
    return f"fragment {what} {space} {kind // 1000} bytes{transposed}"


def instrument(text: str) -> str:
    """Optimised IR that counts, with the description that ``counts`` reads in it."""
    lines = text.split("\n")
    symbols = re.findall(r"^define [^@]*(@[\w.$\"-]+)\(", text, re.M)
    made = _Instrumenter(set(symbols))
    i = 0
    while i < len(lines):
        made.out.append(lines[i])
        if lines[i].startswith("define "):
            end = lines.index("}", i)
            made.function(lines[i : end + 1])
            i = end
            continue
        i += 1
    instructions = sum(s.amounts["instructions"] for s in made.segments)
    description = json.dumps(
        {
            "segments": [[dict(s.amounts), s.branches] for s in made.segments],
            "accesses": [[n, space, kind] for n, s in enumerate(made.segments)
                         for space, kind, _ in s.accesses],
            "code_instructions": instructions,
            "live_registers": live_registers(text),
            "text": hashlib.sha256(text.encode()).hexdigest()[:16],  # kernels may count alike
        }
    )  # fmt: skip
    return "\n".join([*made.out, *_tables(made, description)]) + "\n"


def _tables(made: _Instrumenter, description: str) -> list[str]:
    """The engine's CountedKernel, and what it points at."""
    raw = description.encode() + b"\0"
    escaped = "".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\{b:02X}" for b in raw)
    segments, accesses = [], []
    for segment in made.segments:
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
        "declare void @attn_count_segment(ptr, i32) nounwind willreturn",
        "declare void @attn_count_access(i64) nounwind willreturn "
        "memory(inaccessiblemem: readwrite)",
    ]
