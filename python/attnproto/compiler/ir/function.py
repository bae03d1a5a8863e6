"""LLVM IR of one function: read into blocks of instructions, changed, and printed again.

This is the only reader of code inside functions. A pass changes what instructions print
(``output``), puts others beside them, or writes whole lines of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from .instruction import NAMES, Instruction
from .types import NAME, Unreadable, Unsupported, size_of

_LABEL = re.compile(r'("[^"]+"|[-\w.$]+):')
# As LLVM writes them; what else may end a block is not made from MSL.
_TERMINATORS = ("  br ", "  ret ", "  switch ", "  unreachable")
_NUMBERED = re.compile(r"%(\d+)(?=[,)])")


@dataclass
class Block:
    """Instructions up to the terminator; ``label`` is the line that names it, if there is one."""

    name: str
    label: str = ""
    phis: list[Instruction] = field(default_factory=list)
    body: list[Instruction] = field(default_factory=list)
    end: Instruction | None = None

    @property
    def successors(self) -> list[str]:
        """Blocks it leads to."""
        return self.end.targets

    @property
    def instructions(self) -> list[Instruction]:
        """All of them, in order."""
        return [*self.phis, *self.body, self.end]

    def lines(self) -> list[str]:
        """The block as it is printed."""
        return [t for t in (self.label, *(i.output for i in self.instructions)) if t]


class Function:
    """A function's blocks by name, and all its instructions, in order."""

    def __init__(self, lines: list[str]):
        """Read a function from its ``define`` to the bracket that ends it.

        Raises:
            Unreadable: a line is neither code nor a comment, or a block does not end.
        """
        self.head = lines[0]
        self.blocks: dict[str, Block] = {}
        self.instructions: list[Instruction] = []
        self._read(lines[1 : lines.index("}")])

    def _read(self, lines: list[str]) -> None:
        block, gap = Block(_first_name(self.head)), ""
        rest = iter(lines)
        for line in rest:
            if line[:1] == " " and line.lstrip()[0] != ";":
                if block.end:
                    raise Unreadable(f"code after a block's end: {line}")
                ends = line.startswith(_TERMINATORS)
                if ends and line.startswith("  switch "):
                    while line.splitlines()[-1].lstrip()[:1] != "]":
                        line += f"\n{next(rest)}"
                instruction = Instruction(line, len(self.instructions), block.name)
                self.instructions.append(instruction)
                if ends:
                    block.end = instruction
                elif not block.body and " = phi " in line:
                    block.phis.append(instruction)
                else:
                    block.body.append(instruction)
            elif label := _LABEL.match(line):
                if self.instructions:
                    self._close(block)
                block, gap = Block(label[1], gap + line), ""
            else:
                gap += f"{line}\n"
        self._close(block)

    def _close(self, block: Block) -> None:
        if not block.end:
            raise Unreadable(f"a block without an end, {block.name}, in {self.head}")
        self.blocks[block.name] = block

    @cached_property
    def definitions(self) -> dict[str, Instruction]:
        """What each name is defined as."""
        return {
            instruction.name: instruction for instruction in self.instructions if instruction.name
        }

    @cached_property
    def mentions(self) -> Counter[str]:
        """How often each name stands in the code, where it is defined counted too."""
        return Counter(NAMES.findall("\n".join(i.text for i in self.instructions)))

    @cached_property
    def parameters(self) -> set[str]:
        """Names of the parameters."""
        return set(re.findall(NAME, _signature(self.head)))

    def lines(self) -> list[str]:
        """The function as it is printed."""
        return [self.head, *(line for b in self.blocks.values() for line in b.lines()), "}"]

    def reachable(self, starts: list[str]) -> set[str]:
        """Names of the blocks that control may reach from others."""
        seen: set[str] = set()
        todo = list(starts)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += self.blocks[name].successors
        return seen


def _signature(head: str) -> str:
    return head[head.index("(", head.index("@")) + 1 :]


def _first_name(head: str) -> str:
    """What a first block without a label is called: the number after the parameters'."""
    return str(len(_NUMBERED.findall(_signature(head))))


def named(lines: list[str], prefix: str = "n") -> list[str]:
    """A function whose numbered values and blocks have names, so that lines may be added."""
    first = _first_name(lines[0])
    text = "\n".join(lines)
    base = prefix
    while f"%{prefix}" in text and re.search(rf"%{prefix}\d", text):
        prefix += base
    text = re.sub(r"%(?=\d)", f"%{prefix}", text)
    lines = re.sub(r"^(?=\d+:)", prefix, text, flags=re.M).split("\n")
    if not _LABEL.match(lines[1]):
        lines.insert(1, f"{prefix}{first}:")
    return lines


def map_functions(text: str, change: Callable[[list[str]], list[str]]) -> str:
    """A module with other functions.

    Args:
        text: the module.
        change: makes of a function's lines, from its ``define`` on, its new ones.
    """
    out: list[str] = []
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        if lines[at].startswith("define "):
            end = lines.index("}", at) + 1
            out += change(lines[at:end])
            at = end
        else:
            out.append(lines[at])
            at += 1
    return "\n".join(out)


def step_of(instruction: Instruction | None) -> tuple[str, str, int] | None:
    """A pointer moved by one index: what from, the index, and the bytes that it counts."""
    if instruction is None or instruction.op != "getelementptr" or len(instruction.operands) != 2:
        return None
    try:
        size = size_of(instruction.element)
    except Unsupported:
        return None
    return instruction.operands[0][1], instruction.operands[1][1], size


def address(function: Function, pointer: str) -> tuple[tuple, int]:
    """Take an address apart.

    Returns:
        What it is made of besides constants, equal for addresses that differ by a constant; and
        that constant, in bytes.
    """
    offset = 0
    terms = []
    while step := step_of(function.definitions.get(pointer)):
        pointer, index, size = step
        if index.lstrip("-").isdigit():
            offset += int(index) * size
        else:
            terms.append((index, size))
    return (pointer, *sorted(terms)), offset
