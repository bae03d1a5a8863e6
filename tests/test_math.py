"""Numbers on the cpu device: rounding, conversions and geometry against numpy.

Functions one by one are in test_functions.py and test_integers.py.
"""

from __future__ import annotations

import attnproto
import ml_dtypes
import numpy as np
import pytest
from support.msl import launch_threadgroup, read_text

BFLOAT = ml_dtypes.bfloat16
TEXT = read_text("math.metal")


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


@pytest.mark.parametrize(("name", "dtype"), [("half", np.float16), ("bfloat", BFLOAT)])
def test_every_operation_of_a_narrow_type_rounds(device, library, name, dtype):
    rng = np.random.default_rng(3)
    a, b = (rng.uniform(0.5, 8, 64).astype(dtype) for _ in range(2))
    out = np.zeros((9, 64), dtype)
    launch_threadgroup(device, library, f"arithmetic_{name}", a, b, out, threads=64)
    for row, expected in enumerate([a + b, a - b, a * b, a / b, (a + b) * (a + b)]):
        np.testing.assert_array_equal(out[row], expected)
    np.testing.assert_array_equal(out[5], (a + b) * (a - b))
    np.testing.assert_array_equal(out[7], np.where(a < b, -a, b))
    # A product and a sum in one expression may be fused: one rounding or two.
    wide = [x.astype(np.float64) for x in (a, b)]
    once = ((wide[0] * wide[1]) + wide[1]).astype(dtype)
    twice = a * b + b
    assert ((out[8] == once) | (out[8] == twice)).all()
    product = (a + b) * b
    fused = ((a + b).astype(np.float64) * wide[1] - wide[0]).astype(dtype)
    assert ((out[6] == product - a) | (out[6] == fused)).all()


def test_conversions_round_wrap_and_keep_bits(device, library):
    x = np.linspace(-300, 300, 64, dtype=np.float32) * np.float32(1.001)
    ints, halves = np.zeros((6, 64), np.int32), np.zeros((2, 64), np.float16)
    bfloats, bits = np.zeros((2, 64), BFLOAT), np.zeros((6, 64), np.uint32)
    launch_threadgroup(device, library, "conversions", x, ints, halves, bfloats, bits, threads=64)
    truncated = x.astype(np.int32)
    half = x.astype(np.float16)
    expected = [truncated, truncated.astype(np.int8), truncated.astype(np.uint8)]
    expected += [(truncated * 1000).astype(np.int16), x > 3, half.astype(np.int32)]
    np.testing.assert_array_equal(ints, np.array(expected).astype(np.int32))
    np.testing.assert_array_equal(halves, [half, (truncated * 100).astype(np.float16)])
    np.testing.assert_array_equal(bfloats, np.array([x.astype(BFLOAT), half.astype(BFLOAT)]))
    raw, raw_half = x.view(np.uint32), half.view(np.uint16).astype(np.uint32)
    three = int(np.float32(3).view(np.uint32))
    expected = [raw, raw_half, raw_half + (0x3C00 << 16), raw >> 16, raw, raw + np.uint32(three)]
    np.testing.assert_array_equal(bits, np.array(expected))


def test_nan_and_infinity_follow_the_rules_of_precise_math(device, library):
    nan, inf = np.nan, np.inf
    x = np.array([nan, 1, -inf, inf, -0.0, 1e-40, nan, -2], np.float32)
    out, predicates = np.zeros((8, 8), np.float32), np.zeros((4, 8), np.int32)
    launch_threadgroup(device, library, "special", x, out, predicates, threads=8)
    y = np.roll(x, -1)
    low, high = np.fmin(x, y), np.fmax(x, y)
    clamped = np.fmin(np.fmax(x, np.float32(-1)), np.float32(2))
    with np.errstate(invalid="ignore"):
        infinite, power = x * np.float32(inf), np.exp(x)
    expected = [low, high, low, clamped, np.fmax(high, np.float32(0.25)), np.where(x != x, y, x)]
    np.testing.assert_array_equal(out[:7], np.array([*expected, infinite], np.float32))
    np.testing.assert_allclose(out[7], power, rtol=1e-6)
    normal = np.isfinite(x) & (np.abs(x) >= np.finfo(np.float32).tiny)
    kinds = np.isnan(x) + 2 * np.isinf(x) + 4 * np.isfinite(x) + 16 * normal
    known = ~np.isnan(x)  # the sign of a NaN is anyone's
    np.testing.assert_array_equal((predicates[0] & ~8)[known], kinds[known])
    np.testing.assert_array_equal((predicates[0] & 8)[known] > 0, np.signbit(x)[known])
    assert (predicates[0][~known] & ~8 == 1).all()
    with np.errstate(invalid="ignore"):
        order = (x < y) + 2 * (x == y) + 4 * (x != y) + 8 * (x >= y) + 16 * ~(x > y)
    np.testing.assert_array_equal(predicates[1], order)
    np.testing.assert_array_equal(predicates[2], np.isnan(x) + 2 * np.isinf(x))
    np.testing.assert_array_equal(predicates[3] != 0, np.isnan(x) | np.isinf(x))


def test_geometry_and_parts_of_numbers(device, library):
    x, out = np.array([0.5, -3.0, 2.25], np.float32), np.zeros(22, np.float32)
    launch_threadgroup(device, library, "shapes", x, out)
    a, b = x.astype(np.float64), np.array([1.0, -2.0, 3.0])
    t = 0.5 / 4
    expected = [
        a @ b, np.sqrt(a @ a), np.linalg.norm(a - b), -3 / np.sqrt(a @ a), np.cross(a, b)[2],
        a @ a, 0.5 + 0.125, t * t * (3 - 2 * t), 0.5 * -3 + 2.25, 2.25 * 3 + 1, 16, -0.75, 2,
        0.25, 2, np.sin(0.5), np.cos(0.5), -3 + 22.5 + 50, 20, 5 + 4 + 2 + 3 + 1, 3, 1,
    ]  # fmt: skip
    np.testing.assert_allclose(out, expected, rtol=2e-6)
