"""What a text offers its host: kernels, their parameters, function constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What a host gives a function constant: a number, or a vector's elements (a list or an array).
Value = bool | int | float | Sequence[bool | int | float]
Values = Mapping[str, Value]  # by name

# Kinds of numbers that an argument may point at, as attnproto/entry.h numbers them of a text's.
NUMBER_KINDS = {"bool": 1, "integer": 2, "float": 3, "bfloat": 4}


@dataclass(frozen=True)
class Parameter:
    """A kernel parameter: its name, its attributes as texts, its address space."""

    name: str
    attributes: dict[str, str]
    space: str | None
    reference: bool
    table: bool = False
    writes: bool = False  # what it points at is not const


@dataclass(frozen=True)
class FunctionConstant:
    """A ``[[function_constant(index)]]``."""

    name: str
    index: int
    type: str
    number: str = ""  # the type's own name, where ``type`` is another


@dataclass(frozen=True)
class Instance:
    """A kernel that can be asked for by name; ``call`` names it in C++, in its ``namespace``."""

    name: str
    call: str
    parameters: tuple[Parameter, ...]
    max_threads: int | None = None
    namespace: str = ""  # where it was instantiated: "a::b::"
    signature: str = ""  # names a function of its type
    # What clang works out, in C++: indices of parameters in order, then the limit of threads. The
    # attributes are these expressions until then.
    numbers: tuple[str, ...] = ()
