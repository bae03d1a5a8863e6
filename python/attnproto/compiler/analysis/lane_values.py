"""A value as one number for the whole simdgroup plus a known step for each lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from attnproto import _core

LANES = _core.LANES
Steps = tuple[int, ...]
ZERO: Steps = (0,) * LANES


@dataclass(frozen=True)
class Offset:
    """base + sum of factor * steps + steps, for each lane; ``pure``: the base is zero.

    A factor is an expression over uniform values: a name, or (cast, type, from, expression).
    """

    steps: Steps
    terms: tuple[tuple[object, Steps], ...] = ()
    pure: bool = False


UNIFORM = Offset(ZERO)


def bits_of(kind: str) -> int:
    """Width of an integer or a pointer."""
    return 64 if kind.startswith("ptr") else int(kind[1:])


def is_whole(kind: str) -> bool:
    """Whether values of the type are integers or pointers."""
    return kind.startswith("ptr") or (kind[0] == "i" and kind[1:].isdigit())


def literal(value: str) -> int | None:
    """An operand as a number, if it is one."""
    if value in ("true", "false"):
        return int(value == "true")
    if value in ("null", "zeroinitializer"):
        return 0
    try:
        return int(value)
    except ValueError:
        return None


def wrap(n: int, bits: int) -> int:
    """A number as a signed one of so many bits."""
    n &= (1 << bits) - 1
    return n - (1 << bits) if n >> (bits - 1) and bits > 1 else n


def _quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def pure_binary(op: str, a: int, b: int, bits: int) -> int:
    """What an operation on two numbers of so many bits gives; 0 where it is not defined."""
    full = (1 << bits) - 1
    ua, ub = a & full, b & full
    if op in ("udiv", "urem", "sdiv", "srem") and b == 0:
        return 0
    if op in ("shl", "lshr", "ashr") and ub >= bits:
        return 0
    table: dict[str, Callable[[], int]] = {
        "add": lambda: a + b,
        "sub": lambda: a - b,
        "mul": lambda: a * b,
        "and": lambda: a & b,
        "or": lambda: a | b,
        "xor": lambda: a ^ b,
        "shl": lambda: a << ub,
        "lshr": lambda: ua >> ub,
        "ashr": lambda: a >> ub,
        "udiv": lambda: ua // ub,
        "urem": lambda: ua % ub,
        "sdiv": lambda: _quotient(a, b),
        "srem": lambda: a - _quotient(a, b) * b,
    }
    return wrap(table[op](), bits)


def compare(predicate: str, a: int, b: int, bits: int) -> int:
    """1 if the comparison holds, else 0."""
    full = (1 << bits) - 1
    if predicate[0] == "u":
        a, b, predicate = a & full, b & full, predicate[1:]
    elif predicate[0] == "s":
        predicate = predicate[1:]
    table = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}
    return int(table[predicate])


def added(a: Offset, b: Offset, bits: int) -> Offset:
    """Offset of a sum."""
    steps = tuple(wrap(x + y, bits) for x, y in zip(a.steps, b.steps, strict=True))
    terms = dict(a.terms)
    for factor, other in b.terms:
        mine = terms.get(factor, ZERO)
        terms[factor] = tuple(wrap(x + y, bits) for x, y in zip(mine, other, strict=True))
    return Offset(steps, tuple((f, s) for f, s in terms.items() if any(s)), a.pure and b.pure)


def scaled(a: Offset | None, number: int, bits: int) -> Offset | None:
    """Offset of a multiple."""
    if a is None or a is UNIFORM:
        return a
    terms = tuple((f, tuple(wrap(n * number, bits) for n in s)) for f, s in a.terms)
    return Offset(tuple(wrap(n * number, bits) for n in a.steps), terms, a.pure)
