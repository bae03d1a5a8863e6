"""What operations do to lane values, against the numbers that lanes have."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from attnproto.compiler.analysis import lane_values
from attnproto.compiler.analysis.lane_values import INDEX, LANES, ZERO, LaneValue, exactly, number

BITS = 32
CASES = 300


def value_and_numbers(random_: random.Random) -> tuple[LaneValue, list[int]]:
    """A value of some kind, and what each lane has of it where its base is one that it may be."""
    kind = random_.randrange(4)
    if kind == 0:
        constant = random_.choice([0, 1, 3, 4, 31, 32, 96, 255])
        return number(constant), [constant] * LANES
    factor = random_.choice([1, 2, 3, 4, 16])
    steps = tuple(factor * k for k in INDEX) if kind < 3 else tuple(k // 4 * 2 for k in INDEX)
    if kind == 1:
        return exactly(steps), list(steps)
    multiple = 1 << random_.randrange(9)
    base = multiple * random_.randrange(64)
    return LaneValue(steps, multiple=multiple), [base + n for n in steps]


def check(result: LaneValue | None, numbers: list[int], bits: int = BITS) -> bool:
    """Whether something is known; what is known has to hold."""
    if result is None:
        return False
    bases = {(n - step) % (1 << bits) for n, step in zip(numbers, result.steps, strict=True)}
    assert len(bases) == 1, (result, numbers)
    base = bases.pop()
    assert base == 0 if result.exact else base % min(result.multiple, 1 << bits) == 0
    return True


BINARY = {
    "add": (lane_values.add, lambda a, b: a + b),
    "sub": (lane_values.subtract, lambda a, b: a - b),
    "mul": (lane_values.multiply, lambda a, b: a * b),
    "shl": (lane_values.shift_left, lambda a, b: a << b),
    "and": (lambda a, b, bits: lane_values.bitwise("and", a, b, bits), lambda a, b: a & b),
    "or": (lambda a, b, bits: lane_values.bitwise("or", a, b, bits), lambda a, b: a | b),
    "xor": (lambda a, b, bits: lane_values.bitwise("xor", a, b, bits), lambda a, b: a ^ b),
}


@pytest.mark.parametrize("op", BINARY)
def test_an_operation_on_bases_and_steps_is_that_on_numbers(op):
    transfer, exact = BINARY[op]
    random_, known = random.Random(op), 0
    for _ in range(CASES):
        (a, left), (b, right) = value_and_numbers(random_), value_and_numbers(random_)
        if op == "shl":
            right = [n % BITS for n in right]
            b = number(right[0]) if len(set(right)) == 1 else exactly(tuple(right))
        numbers = [exact(x, y) for x, y in zip(left, right, strict=True)]
        known += check(transfer(a, b, BITS), numbers)
    assert known > CASES / 10


@pytest.mark.parametrize("op", ["lshr", "ashr", "udiv", "sdiv", "urem", "srem"])
def test_division_by_a_power_of_two_divides_steps_where_the_base_allows_it(op):
    random_, known = random.Random(op), 0
    for _ in range(CASES):
        a, left = value_and_numbers(random_)
        by = random_.randrange(1, 7)
        power = 1 << by if op.endswith("shr") else by
        numbers = [n % power if op.endswith("rem") else n // power for n in left]
        known += check(lane_values.divide(op, a, by), numbers)
        assert lane_values.divide(op, replace(a, wraps=True), by) is None
    assert known > CASES / 10


def test_what_is_known_in_each_lane_is_computed_whatever_the_operation():
    product = lane_values.evaluate("mul", exactly(INDEX), exactly(INDEX), BITS)
    assert product.steps == tuple(k * k for k in INDEX)
    assert product.exact
    below = lane_values.compare("ult", exactly(INDEX), number(4), BITS)
    assert below.steps == tuple(int(k < 4) for k in INDEX)
    assert lane_values.compare("ult", LaneValue(INDEX), number(4), BITS) is None
    chosen = lane_values.choose(below, exactly(INDEX), number(9))
    assert chosen.steps == (0, 1, 2, 3, *[9] * 28)
    assert lane_values.choose(None, exactly(INDEX), number(9)) is None


@pytest.mark.parametrize(("op", "first"), [("zext", 2**32 - 1), ("sext", -1)])
def test_a_known_number_is_widened_by_its_sign(op, first):
    down = lane_values.subtract(exactly(INDEX), number(1), BITS)
    assert lane_values.widen(op, down, BITS).steps == (first, *range(31))


def test_a_sum_that_may_have_wrapped_is_not_widened():
    total = lane_values.add(LaneValue(INDEX, multiple=32), number(1), BITS)
    assert lane_values.widen("zext", total, BITS) is None
    sure = lane_values.add(LaneValue(INDEX, multiple=32), number(1), BITS, ("nuw",))
    assert lane_values.widen("zext", sure, BITS) == sure


def test_a_mask_leaves_nothing_of_a_base_that_has_no_bit_of_it():
    value = LaneValue(INDEX, multiple=32)
    assert lane_values.bitwise("and", value, number(31), BITS).exact
    assert lane_values.bitwise("and", value, number(32), BITS) == LaneValue(ZERO, multiple=32)
    assert lane_values.bitwise("and", value, number(-4), BITS).multiple == 32
    assert lane_values.bitwise("and", LaneValue(INDEX, multiple=16), number(31), BITS) is None


def test_truncation_keeps_low_bits_and_their_alignment():
    wide = LaneValue(tuple(k << 14 for k in INDEX), multiple=1 << 6)
    narrow = lane_values.truncate(wide, "i32", "i16")
    check(narrow, [64 * 1025 + (k << 14) for k in INDEX], 16)
    assert narrow.wraps
    assert not lane_values.truncate(exactly(INDEX), "i32", "i16").wraps


def test_ways_of_coming_by_a_value_keep_what_they_share():
    start, next_ = LaneValue(INDEX, multiple=32), LaneValue(INDEX, multiple=8)
    assert lane_values.merge([start, next_]) == LaneValue(INDEX, multiple=8)
    # A constant that all lanes share is the base's, so that the base need not be zero.
    shifted = exactly(tuple(4 + k for k in INDEX))
    assert lane_values.merge([exactly(INDEX), shifted]) == LaneValue(INDEX, multiple=4)
    assert lane_values.merge([start, LaneValue(ZERO)]) is None


def test_a_factor_that_is_known_when_the_kernel_runs_stays_a_term():
    scaled = lane_values.scale(lane_values.times(exactly(INDEX), "%n"), 3, BITS)
    assert scaled.terms == (("%n", tuple(3 * k for k in INDEX)),)
    assert not scaled.uniform
    gone = lane_values.subtract(scaled, scaled, BITS)
    assert (gone.terms, gone.uniform) == ((), True)
    assert lane_values.times(scaled, "%m") is None
    assert lane_values.bitwise("and", scaled, number(3), BITS) is None
