"""A function's lines, names and blocks, as the passes for an NVIDIA GPU read and rewrite them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from attnproto.dtypes import ANY_LLVM, LLVM_SCALARS

NAME = r'%(?:"[^"]+"|[-\w.$]+)'
_DEFINED = re.compile(rf"^  ({NAME}) = (.*)$")
_LABEL = re.compile(r'^("[^"]+"|[-\w.$]+):')
_TARGETS = re.compile(rf"label ({NAME})")
# Size and index of the last step of an address, and what it starts from.
GEP = re.compile(
    rf"getelementptr ((?:\w+ )*?)(i8|i16|i32|i64|{ANY_LLVM}|<\d+ x \w+>|ptr addrspace\(\d\)"
    r"|ptr), ptr(?: addrspace\(\d\))? ([%@][^,]+), i(?:32|64) (\S+)$"
)
# Instructions that leave memory as it is. A load that is volatile or atomic is not among them.
_READING = frozenset((
    "add", "sub", "mul", "udiv", "sdiv", "urem", "srem", "shl", "lshr", "ashr", "and", "or", "xor",
    "fadd", "fsub", "fmul", "fdiv", "frem", "fneg", "freeze", "icmp", "fcmp", "select", "phi",
    "zext", "sext", "trunc", "fpext", "fptrunc", "sitofp", "uitofp", "fptosi", "fptoui", "bitcast",
    "ptrtoint", "inttoptr", "addrspacecast", "getelementptr", "alloca", "load", "extractelement",
    "insertelement", "shufflevector", "extractvalue", "insertvalue", "br", "switch", "ret",
    "unreachable",
))  # fmt: skip
# A line without an instruction: a label, a comment, a case of a switch and what ends it.
_NO_CODE = re.compile(r'^\s*(?:;.*|\]|i\d+ -?\d+, label %.*)?$|^(?:"[^"]+"|[-\w.$]+):')
_CODE = re.compile(rf"^ +(?:{NAME} = )?(\w+)(?: (volatile|atomic)\b)?")
_CALL = re.compile(rf"^ +(?:{NAME} = )?(?:(?:tail|musttail|notail) )?call (.*)$")
_CALLEE = re.compile(r'@(?:"[^"]*"|[-\w.$]+)(?=\()')
# Functions that write nothing which code could read back.
_QUIET = re.compile(
    r"@(?:attn_matrix_multiply_accumulate_\w+|llvm\.(?:lifetime\.(?:start|end)|fma|fmuladd|exp2?|exp10"
    r"|maxnum|minnum|maximum|minimum|experimental\.noalias\.scope\.decl"
    r"|nvvm\.(?:ex2|shfl|vote|read))(?:\.[\w.]+)?)$"
)


@dataclass
class Block:
    """A basic block: its label and its lines, by their number in the function."""

    label: str
    first: int
    last: int
    successors: list[str] = field(default_factory=list)


def named(lines: list[str]) -> list[str]:
    """A function whose numbered values and blocks have names, so that lines may be added."""
    unnamed = re.findall(r"%(\d+)(?=[,)])", lines[0])
    text = "\n".join(lines)
    prefix = "n"
    while re.search(rf"%{prefix}\d", text):
        prefix += "n"
    text = re.sub(r"%(\d+)\b", rf"%{prefix}\1", text)
    lines = re.sub(r"^(\d+):", rf"{prefix}\1:", text, flags=re.M).split("\n")
    if not _LABEL.match(lines[1]):
        lines.insert(1, f"{prefix}{len(unnamed)}:")
    return lines


class Function:
    """A function's lines, what each name is defined as, and its blocks."""

    def __init__(self, lines: list[str]):
        self.lines = lines
        self.definitions: dict[str, str] = {}
        self.places: dict[str, int] = {}
        self.blocks: dict[str, Block] = {}
        self.parameters = set(re.findall(rf"{NAME}", _signature(lines[0])))
        label, first = "%entry", 1
        for number, line in enumerate(lines):
            match = _DEFINED.match(line)
            if match:
                self.definitions[match[1]] = match[2]
                self.places[match[1]] = number
            labelled = _LABEL.match(line)
            if labelled:
                if number > first:
                    self._close(label, first, number - 1)
                label, first = "%" + labelled[1], number
        self._close(label, first, len(lines) - 1)

    def _close(self, label: str, first: int, last: int) -> None:
        block = Block(label, first, last)
        for number in range(last, first - 1, -1):
            if re.match(r"^  (?:br|switch) |^    i\d+ ", self.lines[number]):
                block.successors = _TARGETS.findall(self.lines[number]) + block.successors
        self.blocks[label] = block

    def block_of(self, number: int) -> Block:
        """The block that holds a line."""
        return next(b for b in self.blocks.values() if b.first <= number <= b.last)

    def reachable(self, starts: list[str]) -> set[str]:
        """Labels of the blocks that control may reach from others."""
        seen: set[str] = set()
        todo = list(starts)
        while todo:
            label = todo.pop()
            if label not in seen and label in self.blocks:
                seen.add(label)
                todo += self.blocks[label].successors
        return seen


def _signature(head: str) -> str:
    return head[head.index("(") + 1 :]


def address(function: Function, pointer: str) -> tuple[tuple, int]:
    """Take an address apart.

    Returns:
        What it is made of besides constants, equal for addresses that differ by a constant; and
        that constant, in bytes.
    """
    offset = 0
    terms = []
    while True:
        match = GEP.match(function.definitions.get(pointer, ""))
        if not match:
            return (pointer, *sorted(terms)), offset
        index, size = match[4], size_of(match[2])
        if re.fullmatch(r"-?\d+", index):
            offset += int(index) * size
        else:
            terms.append((index, size))
        pointer = match[3]


def size_of(kind: str) -> int:
    """Bytes of a scalar, a vector or a pointer."""
    vector = re.fullmatch(r"<(\d+) x (\w+)>", kind)
    if vector:
        return int(vector[1]) * LLVM_SCALARS[vector[2]]
    return LLVM_SCALARS.get(kind, 8)


def may_write(line: str) -> bool:
    """Whether a line of a function may write memory: all that is not known to leave it alone."""
    if _NO_CODE.match(line):
        return False
    call = _CALL.match(line)
    if call:
        callee = _CALLEE.search(call[1])
        return "memory(none)" not in line and not (callee and _QUIET.match(callee[0]))
    code = _CODE.match(line)
    return not code or code[1] not in _READING or code[2] is not None


def split_functions(text: str) -> Iterator[tuple[int, int]]:
    """Line numbers of each function's first and last line."""
    first = None
    for number, line in enumerate(text.split("\n")):
        if line.startswith("define "):
            first = number
        elif line == "}" and first is not None:
            yield first, number
            first = None
