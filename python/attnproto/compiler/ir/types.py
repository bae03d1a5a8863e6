"""Types of LLVM IR as text: where one ends, what it is made of, how many bytes it takes."""

from __future__ import annotations

import functools
import re

from attnproto.dtypes import LLVM_FLOATS

NAME = r'%(?:"[^"]+"|[-\w.$]+)'
_SCALAR = rf"(?:ptr(?: addrspace\(\d+\))?|i\d+|{'|'.join(LLVM_FLOATS)}|fp128)"
SIMPLE_TYPE = rf"(?:{_SCALAR}|<\d+ x {_SCALAR}>)"
_TYPE = re.compile(rf"(?:{SIMPLE_TYPE}|void|metadata|{NAME})")
_MANY = re.compile(r"[<\[](\d+) x (.*)[>\]]")
_NAMED = re.compile(rf"^({NAME}) = type (.*)$", re.M)
# Address spaces: a lane's own memory, and what MSL calls the others.
PRIVATE, DEVICE, CONSTANT, THREADGROUP = range(4)
SPACE_NAMES = {DEVICE: "device", CONSTANT: "constant", THREADGROUP: "threadgroup"}
_SPACE = re.compile(r"ptr addrspace\((\d+)\)")


class Unsupported(Exception):
    """The kernel has something that a pass declares it does not take; the text says what."""


class Unreadable(Exception):
    """IR that the reader does not know, which no pass may take for anything else."""


def take_type(text: str, at: int) -> int:
    """End of the type that begins at ``at``."""
    match = _TYPE.match(text, at)
    if match:
        return match.end()
    if text[at] in "<[{":
        depth, i = 0, at
        while True:
            depth += (text[i] in "<[{(") - (text[i] in ">]})")
            i += 1
            if depth == 0:
                return i
    raise Unreadable(f"a type that is not known: {text[at : at + 30]}")


@functools.cache
def elements_of(kind: str) -> tuple[int, str]:
    """How many elements a vector or an array has, and their type; of others one, itself."""
    match = _MANY.fullmatch(kind)
    return (int(match[1]), match[2]) if match else (1, kind)


def element_of(kind: str) -> str:
    """The type of a vector's elements."""
    return elements_of(kind)[1] if kind[0] == "<" else kind


def space_of(kind: str) -> int:
    """The address space of a pointer, or of a vector of them."""
    match = _SPACE.search(kind)
    return int(match[1]) if match else 0


def is_struct(kind: str) -> bool:
    """Whether a type is a struct's, by its members; those of a packed one leave no gaps."""
    return kind[0] == "{" or kind.startswith("<{")


def is_vector(kind: str) -> bool:
    """Whether a type is a vector's; a packed struct's begins with the same sign."""
    return kind[0] == "<" and not is_struct(kind)


@functools.cache
def members_of(kind: str) -> list[str]:
    """The types of a struct's members."""
    members, at = [], kind.index("{") + 2
    while at < len(kind) and kind[at] != "}":
        end = take_type(kind, at)
        members.append(kind[at:end])
        at = end + (2 if kind[end] == "," else 1)
    return members


def member_of(kind: str, index: int) -> str:
    """The type of a struct's or an array's member; "void" where the struct has only a name here."""
    if is_struct(kind):
        return members_of(kind)[index]
    return elements_of(kind)[1] if kind[0] == "[" else "void"


def offset_of(kind: str, index: int) -> int:
    """Bytes from where a struct begins to a member; how many it has after the last one.

    Raises:
        Unsupported: as ``size_of``.
    """
    at = 0
    for member in members_of(kind)[: index + 1]:
        alignment = 1 if kind[0] == "<" else alignment_of(member)
        begin = (at + alignment - 1) // alignment * alignment
        at = begin + size_of(member)
    return begin if index < len(members_of(kind)) else at


@functools.cache
def alignment_of(kind: str) -> int:
    """Bytes that a value in memory begins at a multiple of.

    Raises:
        Unsupported: as ``size_of``.
    """
    if is_struct(kind):
        return 1 if kind[0] == "<" else max(map(alignment_of, members_of(kind)), default=1)
    count, element = elements_of(kind)
    if kind[0] == "[":
        return alignment_of(element)
    return size_of(kind) if count > 1 else _scalar_bytes(kind)


def spelled_out(text: str) -> str:
    """A module's text with the members of structs where it has their names."""
    types = dict(_NAMED.findall(text))
    if not types:
        return text
    uses = re.compile(rf"{NAME}(?![-\w.$])")

    def spell(match: re.Match[str]) -> str:
        kind = types.get(match[0])
        return match[0] if kind is None or kind == "opaque" else uses.sub(spell, kind)

    return uses.sub(spell, _NAMED.sub(lambda m: m[0] if m[2] == "opaque" else "", text))


@functools.cache
def size_of(kind: str) -> int:
    """Bytes from one value in memory to the next.

    Raises:
        Unsupported: of a struct that has only a name here.
    """
    if is_struct(kind):
        alignment = alignment_of(kind)
        return (offset_of(kind, len(members_of(kind))) + alignment - 1) // alignment * alignment
    count, element = elements_of(kind)
    if count == 3 and kind[0] == "<":
        count = 4
    return count * size_of(element) if element != kind else _scalar_bytes(kind)


def access_bytes(kind: str) -> int:
    """Bytes that an access of a type touches: a vector of three is three elements.

    Raises:
        Unsupported: as ``size_of``.
    """
    if not is_vector(kind):
        return size_of(kind)
    return elements_of(kind)[0] * size_of(element_of(kind))


def register_bits(kind: str) -> int:
    """Bits of a value in registers for numbers; a truth value's is one of another kind."""
    count, element = elements_of(kind)
    return 0 if element == "i1" else 8 * count * _scalar_bytes(element)


def _scalar_bytes(kind: str) -> int:
    if kind.startswith("ptr"):
        return 8
    if kind in LLVM_FLOATS:
        return LLVM_FLOATS[kind]
    if kind[0] == "i" and kind[1:].isdigit():
        return (int(kind[1:]) + 7) // 8
    raise Unsupported(f"memory of type {kind}")
