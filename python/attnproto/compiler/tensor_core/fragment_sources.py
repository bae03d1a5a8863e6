"""Where the elements of a fragment come from: the loads behind them."""

from __future__ import annotations

from dataclasses import dataclass

from attnproto.compiler.ir.effects import is_special
from attnproto.compiler.ir.function import Function, address
from attnproto.compiler.ir.types import element_of, elements_of, size_of, space_of
from attnproto.dtypes import LLVM_FLOATS


@dataclass(frozen=True)
class Element:
    """Where one element of a fragment was loaded from.

    Attributes:
        pointer: what was loaded from.
        origin: what its address is made of besides constants (function.address).
        base: the constant part of the pointer, bytes.
        offset: the constant part of the element's own address, bytes.
        place: of the load in the function.
    """

    pointer: str
    origin: tuple
    base: int
    offset: int
    space: int
    kind: str
    place: int


def element(function: Function, value: str, index: int | None = None) -> Element | None:
    """The load that a value, or an element of a vector, comes from."""
    definition = function.definitions.get(value)
    if definition is None:
        return None
    if definition.op == "extractelement" and index is None and definition.operands[1][1].isdigit():
        return element(function, definition.operands[0][1], int(definition.operands[1][1]))
    if definition.op == "shufflevector" and index is not None:
        first, chosen = elements_of(definition.operands[0][0])[0], definition.indices[index]
        if chosen < 0:
            return None
        return element(function, definition.operands[chosen >= first][1], chosen % first)
    if (
        definition.op != "load"
        or is_special(definition)
        or (definition.type[0] == "<") != (index is not None)
    ):
        return None
    (kind, pointer), held = definition.operands[0], element_of(definition.type)
    if held not in LLVM_FLOATS or not space_of(kind):
        return None
    origin, base = address(function, pointer)
    offset = base + size_of(held) * (index or 0)
    return Element(pointer, origin, base, offset, space_of(kind), held, definition.place)


@dataclass(frozen=True)
class Fragment:
    """A right operand's two elements; their addresses differ by a constant."""

    first: Element
    second: Element

    @property
    def step(self) -> int:
        """Bytes from the first to the second."""
        return self.second.offset - self.first.offset
