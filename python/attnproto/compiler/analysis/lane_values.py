"""A value as one number for the whole simdgroup plus a known step for each lane.

An address such as ``base + 144 * row(lane) + 2 * column(lane)`` is a base that all lanes share and
32 byte offsets. Both targets know values so: vectorize/ keeps the base in a scalar and reads memory
in runs (lane_offsets.py), tensor_core/ gives a lane an address that was another's
(pointer_offsets.py). What operations do to such values is written here once; ``None`` is a value of
which nothing is known.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attnproto import _core

LANES = _core.LANES
Steps = tuple[int, ...]
ZERO: Steps = (0,) * LANES
INDEX: Steps = tuple(range(LANES))
_ZERO_BASE = 1 << 62  # a multiple of every power of two that matters


@dataclass(frozen=True)
class LaneValue:
    """``base + sum of factor * steps + steps`` for each lane.

    Attributes:
        steps: one number a lane.
        terms: factors, which all lanes share, each with a number a lane. A factor is a name or
            (cast, type, from, factor). The host's analysis has them: it can multiply when the
            kernel runs.
        multiple: power of two that divides the base; ``_ZERO_BASE`` where the base is zero.
        wraps: whether the sum may have wrapped in its type, so that widening it, or shifting it
            to the right, is not the same of its parts.
    """

    steps: Steps
    terms: tuple[tuple[object, Steps], ...] = ()
    multiple: int = 1
    wraps: bool = False

    @property
    def exact(self) -> bool:
        """Whether the base is zero, so that the value of each lane is known."""
        return self.multiple == _ZERO_BASE

    @property
    def uniform(self) -> bool:
        """Whether every lane has the same value."""
        return not self.terms and len(set(self.steps)) == 1

    @property
    def constant(self) -> int | None:
        """The value, where it is known and the same for all."""
        return self.steps[0] if self.exact and self.uniform else None


# A value of which is known only that it does not vary.
UNIFORM = LaneValue(ZERO, wraps=True)


def exactly(steps: Steps) -> LaneValue:
    """A value that is known in each lane."""
    return LaneValue(steps, multiple=_ZERO_BASE)


def number(value: int) -> LaneValue:
    """A constant."""
    return exactly((value,) * LANES)


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


def _computed(op: str, a: int, b: int, bits: int) -> int:
    """What an operation on two numbers of so many bits gives; 0 where it is not defined."""
    full = (1 << bits) - 1
    if op in _UNSIGNED:
        a, b = a & full, b & full
    if (op in _DIVISIONS and b == 0) or (op in _SHIFTS and b & full >= bits):
        return 0
    return wrap(_OPERATIONS[op](a, b), bits)


_SHIFTS, _DIVISIONS = ("shl", "lshr", "ashr"), ("udiv", "urem", "sdiv", "srem")
DIVIDES = (*_DIVISIONS, "lshr", "ashr")
_UNSIGNED = ("lshr", "udiv", "urem")
_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "and": operator.and_,
    "or": operator.or_, "xor": operator.xor, "shl": operator.lshift, "lshr": operator.rshift,
    "ashr": operator.rshift, "udiv": operator.floordiv, "urem": operator.mod, "sdiv": _quotient,
    "srem": lambda a, b: a - _quotient(a, b) * b,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le,
    "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip


def _holds(predicate: str, a: int, b: int, bits: int) -> int:
    """1 if the comparison holds, else 0."""
    if predicate[0] == "u":
        full = (1 << bits) - 1
        a, b = a & full, b & full
    return int(_COMPARISONS[predicate.removeprefix("u").removeprefix("s")](a, b))


def _wrapped(steps: Steps, bits: int) -> Steps:
    half = 1 << (bits - 1)
    if -half <= min(steps) and max(steps) < half:
        return steps
    return tuple(wrap(n, bits) for n in steps)


def divisor(value: int) -> int:
    """The power of two that divides a number."""
    return value & -value if value else _ZERO_BASE


def _checked(flags: Sequence[str]) -> bool:
    return "nuw" in flags or "nsw" in flags


def add(a: LaneValue, b: LaneValue, bits: int, flags: Sequence[str] = ()) -> LaneValue:
    """The sum of two values of so many bits."""
    steps = _wrapped(tuple(map(operator.add, a.steps, b.steps)), bits)
    terms = dict(a.terms)
    for factor, other in b.terms:
        terms[factor] = _wrapped(tuple(map(operator.add, terms.get(factor, ZERO), other)), bits)
    wraps = a.wraps or b.wraps or not (_checked(flags) or (a.exact and b.exact))
    known = tuple((factor, numbers) for factor, numbers in terms.items() if any(numbers))
    return LaneValue(steps, known, min(a.multiple, b.multiple), wraps)


def subtract(a: LaneValue, b: LaneValue, bits: int, flags: Sequence[str] = ()) -> LaneValue:
    """The difference of two values."""
    return add(a, scale(b, -1, bits, ("nsw",)), bits, flags)


def scale(a: LaneValue, factor: int, bits: int, flags: Sequence[str] = ()) -> LaneValue:
    """A multiple of a value."""
    steps, *others = (
        _wrapped(tuple(n * factor for n in numbers), bits)
        for numbers in (a.steps, *(numbers for _, numbers in a.terms))
    )
    terms = tuple((name, numbers) for (name, _), numbers in zip(a.terms, others, strict=True))
    multiple = a.multiple if a.exact else min(a.multiple * divisor(factor), _ZERO_BASE >> 1)
    return LaneValue(steps, terms, multiple, a.wraps or not (a.exact or _checked(flags)))


def times(a: LaneValue, factor: object) -> LaneValue | None:
    """A value times a number that all lanes share and that is known when the kernel runs."""
    return None if a.terms else LaneValue(ZERO, ((factor, a.steps),))


def multiply(a: LaneValue, b: LaneValue, bits: int, flags: Sequence[str] = ()) -> LaneValue | None:
    """The product of two values, where one is a constant or neither varies."""
    if b.constant is None and a.constant is not None:
        a, b = b, a
    if b.constant is not None:
        return scale(a, b.constant, bits, flags)
    if a.uniform and b.uniform:
        parts = [min(v.multiple, divisor(v.steps[0]), _ZERO_BASE >> 1) for v in (a, b)]
        wraps = a.wraps or b.wraps or not (a.exact or _checked(flags))
        return LaneValue(ZERO, (), min(parts[0] * parts[1], _ZERO_BASE >> 1), wraps)
    return None


def shift_left(
    a: LaneValue, b: LaneValue, bits: int, flags: Sequence[str] = ()
) -> LaneValue | None:
    """A value shifted by a constant."""
    return None if b.constant is None else scale(a, 1 << b.constant, bits, flags)


def stands_apart(a: LaneValue) -> bool:
    """Whether the steps take low bits in which the base has none."""
    return not a.terms and min(a.steps) >= 0 and (a.exact or max(a.steps) < a.multiple)


def bitwise(op: str, a: LaneValue, b: LaneValue, bits: int) -> LaneValue | None:
    """and, or, xor with a constant, where the steps' bits are told from the base's."""
    if b.constant is None:
        a, b = b, a
    mask = b.constant
    if mask is None or not stands_apart(a):
        return None
    low = (1 << max(a.steps).bit_length()) - 1
    steps = tuple(_computed(op, n, mask & low, bits) for n in a.steps)
    if op == "and":
        gone = 0 <= mask < a.multiple
        return exactly(steps) if gone else LaneValue(steps, (), a.multiple, a.wraps)
    return LaneValue(steps, (), min(a.multiple, divisor(mask & ~low)), a.wraps)


def divide(op: str, a: LaneValue, by: int) -> LaneValue | None:
    """A value that is not negative by a power of two that divides its base, or what is left over.

    A shift to the right is such a division.
    """
    power = 1 << by if op in ("lshr", "ashr") else by
    if power <= 0 or power & (power - 1) or a.multiple < power:
        return None
    if a.terms or a.wraps or min(a.steps) < 0:
        return None
    if op in ("urem", "srem"):
        return exactly(tuple(n % power for n in a.steps))
    multiple = a.multiple if a.exact else a.multiple // power
    return LaneValue(tuple(n // power for n in a.steps), (), multiple)


def evaluate(op: str, a: LaneValue, b: LaneValue, bits: int) -> LaneValue:
    """Any operation on two values that are known in each lane."""
    pairs = zip(a.steps, b.steps, strict=True)
    return exactly(tuple(_computed(op, x, y, bits) for x, y in pairs))


def compare(predicate: str, a: LaneValue, b: LaneValue, bits: int) -> LaneValue | None:
    """A comparison of two values that are known in each lane."""
    if not (a.exact and b.exact):
        return None
    pairs = zip(a.steps, b.steps, strict=True)
    return exactly(tuple(_holds(predicate, x, y, bits) for x, y in pairs))


def widen(op: str, a: LaneValue, bits: int) -> LaneValue | None:
    """zext or sext of a value of so many bits."""
    if a.exact and op == "zext":
        return exactly(tuple(n & ((1 << bits) - 1) for n in a.steps))
    if a.exact:
        return exactly(tuple(-n if bits == 1 else n for n in a.steps))
    return None if a.wraps else a


def truncate(a: LaneValue, kind: str, to: str, flags: Sequence[str] = ()) -> LaneValue:
    """A value in a narrower type."""
    bits = bits_of(to)
    terms = tuple((("trunc", to, kind, factor), _wrapped(s, bits)) for factor, s in a.terms)
    steps = _wrapped(a.steps, bits)
    wraps = a.wraps or not (a.exact or _checked(flags))
    return LaneValue(steps, terms, a.multiple, wraps and not a.exact)


def choose(condition: LaneValue | None, a: LaneValue, b: LaneValue) -> LaneValue | None:
    """One of two values, by what is known of a condition in each lane."""
    if condition is None or not (condition.exact and a.exact and b.exact):
        return None
    chosen = zip(condition.steps, a.steps, b.steps, strict=True)
    return exactly(tuple(x if holds else y for holds, x, y in chosen))


def merge(values: Sequence[LaneValue]) -> LaneValue | None:
    """Ways of coming by a value: their bases may differ, their steps may not."""
    first = values[0]
    if all(value == first for value in values):
        return first
    # A constant that all lanes share is of the base.
    starts = [value.steps[0] for value in values]
    pairs = zip(values, starts, strict=True)
    apart = {(tuple(n - start for n in value.steps), value.terms) for value, start in pairs}
    if len(apart) > 1:
        return None
    (steps, terms), multiples = apart.pop(), [value.multiple for value in values]
    multiple = min(*multiples, *map(divisor, starts), _ZERO_BASE >> 1)
    return LaneValue(steps, terms, multiple, any(value.wraps for value in values))
