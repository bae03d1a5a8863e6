"""The library's functions of floating-point numbers, in a table, against FP64 on the cpu device.

``pytest -s`` prints the table: each function's largest error, of each type.
"""

from __future__ import annotations

from fractions import Fraction

import attnproto
import ml_dtypes
import numpy as np
import pytest
from support.function_table import BINARY, ROUNDED, UNARY, Function, special_values, ulps
from support.msl import (
    HEAD_WITH_SAME,
    LANES,
    launch_over,
    read_text,
    repeat_to_threadgroups,
    text_of_functions,
)

pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
DTYPES = {"float": np.float32, "half": np.float16, "bfloat": ml_dtypes.bfloat16}
NARROW = [name for name in DTYPES if name != "float"]


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def unary(device):
    return device.library(text_of_functions(UNARY, "unary.metal"))


@pytest.fixture(scope="module")
def binary(device):
    return device.library(text_of_functions(BINARY, "binary.metal"))


@pytest.fixture(scope="module")
def table():
    rows: dict[str, dict[str, float]] = {}
    yield rows
    print(f"\n{'largest error, ulp':20}" + "".join(f"{t:>10}" for t in DTYPES))
    for name, errors in rows.items():
        print(f"{name:20}" + "".join(f"{errors.get(t, np.nan):10.3f}" for t in DTYPES))


def values(name: str) -> np.ndarray:
    """Every number of 16 bits; of float special ones and random bits."""
    dtype = DTYPES[name]
    if name != "float":
        return np.arange(2**16, dtype=np.uint16).view(dtype)
    rng = np.random.default_rng(5)
    anything = rng.integers(0, 2**32, 4096, np.uint32).view(np.float32)
    usual = (rng.standard_normal(4096) * 10).astype(np.float32)
    return repeat_to_threadgroups(np.concatenate([special_values(dtype), anything, usual]))


def pairs(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Each special number with each, and random ones."""
    dtype = DTYPES[name]
    special = special_values(dtype)
    rng = np.random.default_rng(6)
    bits = rng.integers(0, 2**32, 4096, np.uint32).astype(
        np.uint32 if name == "float" else np.uint16
    )
    usual = rng.standard_normal((2, 2048)) * 4
    x, y = (np.concatenate([bits[k::2].view(dtype), usual[k].astype(dtype)]) for k in range(2))
    grid = np.meshgrid(special, special)
    return tuple(
        repeat_to_threadgroups(np.concatenate([g.ravel(), r]))
        for g, r in zip(grid, (x, y), strict=True)
    )


def judge(function: Function, name: str, actual, exact, where) -> float:
    """The largest error; raises where it is too large or a zero has the wrong sign."""
    allowed = function.ulp if name == "float" else function.narrow_ulp
    error = np.where(where, ulps(actual, exact), 0)
    # The exact value is itself rounded to float64.
    bad = error > allowed + 1e-6
    assert not bad.any(), (np.flatnonzero(bad)[:8], actual[bad][:8], exact[bad][:8])
    if function.signed_zero:
        zero = where & (exact == 0)
        assert (np.signbit(actual) == np.signbit(exact))[zero].all()
    return float(error.max())


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("which", UNARY)
def test_a_function_of_one_number_is_within_its_error(device, unary, table, which, name):
    function, x = UNARY[which], values(name)
    out, differ = np.full(x.shape, np.nan, x.dtype), np.ones(x.size, np.uint32)
    launch_over(device, unary, f"{which}_{name}", x, out, differ)
    with np.errstate(all="ignore"):
        exact = np.asarray(function.exact(x.astype(np.float64)))
    if which == "fract":
        below = np.float64(1) - float(ml_dtypes.finfo(x.dtype).eps) / 2
        assert (out[np.isfinite(x)].astype(np.float64) <= below).all()
        exact = np.minimum(exact, below)
    error = judge(function, name, out, exact, np.ones(x.size, bool))
    table.setdefault(which, {})[name] = error
    np.testing.assert_array_equal(differ, 0)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("which", BINARY)
def test_a_function_of_two_numbers_is_within_its_error(device, binary, table, which, name):
    function, (x, y) = BINARY[which], pairs(name)
    out, differ = np.full(x.shape, np.nan, x.dtype), np.ones(x.size, np.uint32)
    launch_over(device, binary, f"{which}_{name}", x, y, out, differ)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64), y.astype(np.float64)
        exact = np.asarray(function.exact(*wide))
        where = function.defined(*wide) if function.defined else np.ones(x.size, bool)
    table.setdefault(which, {})[name] = judge(function, name, out, exact, where)
    np.testing.assert_array_equal(differ, 0)


@pytest.mark.parametrize("name", DTYPES)
def test_the_next_number_is_the_next(device, table, name):
    x, y = pairs(name)
    out, differ = np.full(x.shape, np.nan, x.dtype), np.ones(x.size, np.uint32)
    # Of half, fast:: and precise:: give the next float.
    function = Function(np.nextafter, 0, in_accuracies=name == "float")
    library = device.library(text_of_functions({"nextafter": function}, "binary.metal"))
    launch_over(device, library, f"nextafter_{name}", x, y, out, differ)
    with np.errstate(all="ignore"):
        expected = np.nextafter(x, y)
    expected[x == y] = y[x == y]  # of two zeros the second one's sign
    assert_same_bits(out, expected)
    np.testing.assert_array_equal(differ, 0)


def assert_same_bits(actual, expected) -> None:
    """Equal, zeros of one sign, NaNs for NaNs."""
    none = np.isnan(expected.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(actual.astype(np.float64)), none)
    bits = np.uint32 if actual.itemsize == 4 else np.uint16
    np.testing.assert_array_equal(actual[~none].view(bits), expected[~none].view(bits))


def assert_rounded_once(x, y, z, rounded) -> None:
    """Against rational arithmetic, where float64 would round too."""
    info = ml_dtypes.finfo(rounded.dtype)
    after = Fraction(2) ** int(info.maxexp)  # stands for infinity
    for a, b, c, r in zip(*(v.astype(np.float64) for v in (x, y, z, rounded)), strict=True):
        exact = Fraction(a) * Fraction(b) + Fraction(c)
        exponent = max(int(np.frexp(min(abs(float(r)), float(info.max)))[1]), info.minexp + 1)
        half_unit = Fraction(2) ** (exponent - 2 - info.nmant)
        nearest = Fraction(r) if np.isfinite(r) else after * (1 if r > 0 else -1)
        assert abs(nearest - min(max(exact, -after), after)) <= half_unit, (a, b, c, r)


@pytest.mark.parametrize("name", DTYPES)
def test_parts_of_numbers_and_fused_sums_are_exact(device, table, name):
    x, dtype = values(name), DTYPES[name]
    rng = np.random.default_rng(7)
    y = (rng.standard_normal(x.size) * 3).astype(dtype)
    k = rng.integers(-40, 40, x.size, np.int32)
    out, ints = np.full((x.size, 6), np.nan, dtype), np.zeros((x.size, 2), np.int32)
    differ = np.ones(x.size, np.uint32)
    library = device.library(HEAD_WITH_SAME + read_text("parts.metal"))
    launch_over(device, library, f"parts_{name}", x, y, k, out, ints, differ)
    np.testing.assert_array_equal(differ, 0)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        finite = np.isfinite(wide)
        mantissa, exponent = np.frexp(wide)
        part, integral = np.modf(wide)
        scaled = np.ldexp(wide, k).astype(dtype)
        sine = np.sin(wide)
    np.testing.assert_array_equal(out[:, 0][finite].astype(np.float64), mantissa[finite])
    np.testing.assert_array_equal(ints[:, 0][finite], exponent[finite])
    np.testing.assert_array_equal(out[:, 1].astype(np.float64), part)
    np.testing.assert_array_equal(np.signbit(out[:, 1])[finite], np.signbit(wide)[finite])
    np.testing.assert_array_equal(out[:, 2].astype(np.float64), integral)
    assert_same_bits(out[:, 3], scaled)
    table.setdefault("sincos", {})[name] = judge(UNARY["sin"], name, out[:, 4], sine, finite)
    least = np.iinfo(np.int32).min
    expected = np.where(finite & (wide != 0), exponent - 1, least)
    expected[np.isinf(wide)] = np.iinfo(np.int32).max
    np.testing.assert_array_equal(ints[:, 1], expected)
    z = x[np.arange(x.size) // 3]
    usable = np.flatnonzero(np.isfinite(wide) & np.isfinite(z.astype(np.float64)))
    some = rng.choice(usable, 4096, replace=False)
    assert_rounded_once(x[some], y[some], z[some], out[:, 5][some])


def test_a_half_fused_near_a_tie_is_rounded_once(device):
    """1 + 3 2^-11 lies between two halves; 2^-27 less, which float loses, decides for the lower."""
    library = device.library(HEAD_WITH_SAME + read_text("parts.metal"))
    x, y = np.ones(LANES, np.float16), np.ones(LANES, np.float16)
    # in[i / 3] is the addend: of the fourth lane the second number.
    x[1], x[3], y[3] = 1 + 2.0**-10, 2.0**-11 * (1 + 2.0**-8), 1 - 2.0**-8
    exact = Fraction(float(x[3])) * Fraction(float(y[3])) + Fraction(float(x[1]))
    assert exact == 1 + 3 * Fraction(2) ** -11 - Fraction(2) ** -27
    out, ints = np.zeros((LANES, 6), np.float16), np.zeros((LANES, 2), np.int32)
    differ = np.ones(LANES, np.uint32)
    launch_over(device, library, "parts_half", x, y, np.zeros(LANES, np.int32), out, ints, differ)
    assert out[3, 5] == 1 + 2.0**-10


def test_the_bounds_are_the_specification_s():
    """Half a unit is what correctly rounded means; whole numbers have no error at all."""
    assert {f.ulp for f in (UNARY["sqrt"], BINARY["divide"])} == {ROUNDED}
    assert ulps(np.array([1 + 2.0**-23], np.float32), np.array([1.0]))[0] == 1
    assert ulps(np.array([np.inf], np.float32), np.array([2.0**128 - 2.0**103]))[0] == 0.5
    assert ulps(np.array([1e-45], np.float32), np.array([0.0]))[0] == 1
    assert ulps(np.array([np.nan], np.float32), np.array([0.0]))[0] == np.inf
