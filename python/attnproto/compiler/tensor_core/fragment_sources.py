"""Where the elements of a fragment come from: the loads behind them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from attnproto.compiler.ir.function_lines import NAME, Function, address, size_of
from attnproto.dtypes import ANY_LLVM

_LOAD = re.compile(rf"load (<(\d+) x )?({ANY_LLVM})>?, ptr addrspace\((\d)\) ({NAME}|@\S+), ")
_EXTRACT = re.compile(rf"extractelement <\d+ x \w+> ({NAME}), i64 (\d+)")
_SHUFFLE = re.compile(
    rf"shufflevector <(\d+) x \w+> ({NAME}), <\d+ x \w+> ({NAME}|poison|undef), "
    r"<\d+ x i32> <(.+)>$"
)


@dataclass(frozen=True)
class Element:
    """Where one element of a fragment was loaded from.

    Attributes:
        pointer: what was loaded from.
        origin: what its address is made of besides constants (function.address).
        base: the constant part of the pointer, bytes.
        offset: the constant part of the element's own address, bytes.
    """

    pointer: str
    origin: tuple
    base: int
    offset: int
    space: int
    kind: str
    line: int


def element(function: Function, value: str, index: int | None = None) -> Element | None:
    """The load that a value, or an element of a vector, comes from."""
    text = function.definitions.get(value, "")
    if index is None:
        taken = _EXTRACT.match(text)
        if taken:
            return element(function, taken[1], int(taken[2]))
    shuffled = _SHUFFLE.match(text)
    if shuffled and index is not None:
        chosen = shuffled[4].split(", ")[index].removeprefix("i32 ")
        if not chosen.isdigit():
            return None
        first = int(shuffled[1])
        source = shuffled[2] if int(chosen) < first else shuffled[3]
        return element(function, source, int(chosen) % first)
    load = _LOAD.match(text)
    if not load or bool(load[1]) != (index is not None):
        return None
    origin, base = address(function, load[5])
    offset = base + size_of(load[3]) * (index or 0)
    line = function.places[value]
    return Element(load[5], origin, base, offset, int(load[4]), load[3], line)


@dataclass(frozen=True)
class Fragment:
    """A right operand's two elements; their addresses differ by a constant."""

    first: Element
    second: Element

    @property
    def step(self) -> int:
        """Bytes from the first to the second."""
        return self.second.offset - self.first.offset
