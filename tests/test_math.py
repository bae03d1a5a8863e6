"""Numbers on the cpu device: functions, rounding and conversions against numpy."""

from __future__ import annotations

import attnproto
import ml_dtypes
import numpy as np
import pytest
from test_language import launch

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
BFLOAT = ml_dtypes.bfloat16
I = "uint i [[thread_position_in_grid]]"  # noqa: E741

# Functions of one float argument: numpy's, the range, and the error allowed in units in the
# last place (MSL 3.1 table 8.1 for precise::, and the host library is at least as good).
UNARY = {
    "exp": (np.exp, (-80, 80), 4), "exp2": (np.exp2, (-100, 100), 4),
    "exp10": (lambda x: 10.0**x, (-30, 30), 4), "log": (np.log, (1e-30, 1e30), 4),
    "log2": (np.log2, (1e-30, 1e30), 4), "log10": (np.log10, (1e-30, 1e30), 4),
    "sqrt": (np.sqrt, (0, 1e30), 1), "rsqrt": (lambda x: 1 / np.sqrt(x), (1e-20, 1e20), 2),
    "sin": (np.sin, (-6, 6), 4), "cos": (np.cos, (-6, 6), 4), "tan": (np.tan, (-1.5, 1.5), 6),
    "asin": (np.arcsin, (-1, 1), 4), "acos": (np.arccos, (-0.99, 0.99), 4),
    "atan": (np.arctan, (-50, 50), 5), "sinh": (np.sinh, (-20, 20), 4),
    "cosh": (np.cosh, (-20, 20), 4), "tanh": (np.tanh, (-20, 20), 5),
    "asinh": (np.arcsinh, (-100, 100), 4), "acosh": (np.arccosh, (1, 100), 4),
    "atanh": (np.arctanh, (-0.99, 0.99), 5), "floor": (np.floor, (-9, 9), 0),
    "ceil": (np.ceil, (-9, 9), 0), "trunc": (np.trunc, (-9, 9), 0), "rint": (np.rint, (-9, 9), 0),
    "round": (lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x), (-9, 9), 0),
    "fabs": (np.abs, (-9, 9), 0), "abs": (np.abs, (-9, 9), 0), "sign": (np.sign, (-9, 9), 0),
    "fract": (lambda x: x - np.floor(x), (-9, 9), 1),
    "sinpi": (lambda x: np.sin(np.pi * x), (-0.9, 0.9), 8),
    "cospi": (lambda x: np.cos(np.pi * x), (-0.4, 0.4), 8),
    "saturate": (lambda x: np.clip(x, 0, 1), (-2, 3), 0),
}  # fmt: skip
BINARY = {
    "pow": (np.power, 16), "powr": (np.power, 16), "fmod": (np.fmod, 0), "atan2": (np.arctan2, 6),
    "fmin": (np.fmin, 0), "fmax": (np.fmax, 0), "min": (np.fmin, 0), "max": (np.fmax, 0),
    "copysign": (np.copysign, 0), "fdim": (lambda a, b: np.maximum(a - b, 0), 1),
    "step": (lambda a, b: (b >= a) * 1.0, 0), "divide": (np.divide, 3),
}  # fmt: skip

VALUES = "device const float* in [[buffer(0)]], device float* out [[buffer(1)]]"
PAIRS = (
    "device const T* a [[buffer(0)]], device const T* b [[buffer(1)]], device T* out [[buffer(2)]]"
)

TEXT = HEAD
for name in UNARY:
    spaces = ["", "metal::", "fast::", "precise::"] if name not in ("abs",) else ["", "metal::"]
    lines = "".join(f" out[{64 * s} + i] = {space}{name}(x);" for s, space in enumerate(spaces))
    TEXT += f"kernel void unary_{name}({VALUES}, {I}) {{ float x = in[i];{lines}\n"
    TEXT += f"  float4 v = {name}(float4(x)); out[256 + i] = v.z;\n"
    TEXT += f"  out[320 + i] = float({name}(half(x))); }}\n"
for name in BINARY:
    TEXT += f"kernel void binary_{name}(device const float* a [[buffer(0)]], "
    TEXT += f"device const float* b [[buffer(1)]], device float* out [[buffer(2)]], {I}) {{\n"
    TEXT += (
        f"  out[i] = {name}(a[i], b[i]); out[64 + i] = {name}(float3(a[i]), float3(b[i])).y; }}\n"
    )
TEXT += f"""
template <typename T>
kernel void arithmetic({PAIRS}, {I}) {{
  T x = a[i], y = b[i];
  out[i] = x + y;
  out[64 + i] = x - y;
  out[128 + i] = x * y;
  out[192 + i] = x / y;
  T sum = x + y;
  out[256 + i] = sum * sum;
  out[320 + i] = (x + y) * (x - y);
  T z = x;
  z += y; z *= y; z -= x;
  out[384 + i] = z;
  out[448 + i] = x < y ? -x : y;
  vec<T, 4> v(x, y, x, y);
  v = v * v.yxwz + v;
  out[512 + i] = v.y;
}}
template [[host_name("arithmetic_half")]] kernel decltype(arithmetic<half>) arithmetic<half>;
template [[host_name("arithmetic_bfloat")]] kernel decltype(arithmetic<bfloat>) arithmetic<bfloat>;

kernel void conversions(device const float* in [[buffer(0)]], device int* ints [[buffer(1)]],
                        device half* halves [[buffer(2)]], device bfloat* bfloats [[buffer(3)]],
                        device uint* bits [[buffer(4)]], {I}) {{
  float x = in[i];
  ints[i] = int(x);
  ints[64 + i] = int(char(int(x)));
  ints[128 + i] = int(uchar(int(x)));
  ints[192 + i] = int(short(int(x) * 1000));
  ints[256 + i] = int(bool(x > 3));
  ints[320 + i] = static_cast<int>(half(x));
  halves[i] = half(x);
  halves[64 + i] = half(int(x) * 100);
  bfloats[i] = bfloat(x);
  bfloats[64 + i] = static_cast<bfloat>(float(half(x)));
  bits[i] = as_type<uint>(x);
  bits[64 + i] = as_type<ushort>(half(x));
  bits[128 + i] = as_type<uint>(half2(half(x), 1.0h));
  bits[192 + i] = as_type<ushort2>(x).y;
  bits[256 + i] = as_type<uint>(as_type<float>(bits[i]) + 0.0f);
  float4 wide = float4(x, 2, 3, 4);
  bits[320 + i] = as_type<uint4>(wide).x + as_type<uint>(wide[2]);
}}

template <typename T>
kernel void integers({PAIRS}, {I}) {{
  T x = a[i], y = b[i];
  out[i] = popcount(x);
  out[64 + i] = clz(x);
  out[128 + i] = ctz(x);
  out[192 + i] = reverse_bits(x);
  out[256 + i] = rotate(x, T(5));
  out[320 + i] = extract_bits(x, 3u, 4u);
  out[384 + i] = min(x, y);
  out[448 + i] = max(x, y);
  out[512 + i] = clamp(x, T(10), T(100));
  out[576 + i] = absdiff(x, y);
  out[640 + i] = mulhi(x, y);
  out[704 + i] = insert_bits(x, y, 3u, 4u);
  out[768 + i] = hadd(x, y);
  out[832 + i] = addsat(x, y);
  out[896 + i] = subsat(x, y);
  out[960 + i] = mad24(T(x & 15), T(y & 15), T(3));
}}
template [[host_name("integers_int")]] kernel decltype(integers<int>) integers<int>;
template [[host_name("integers_uint")]] kernel decltype(integers<uint>) integers<uint>;
template [[host_name("integers_short")]] kernel decltype(integers<short>) integers<short>;
template [[host_name("integers_uchar")]] kernel decltype(integers<uchar>) integers<uchar>;
template [[host_name("integers_long")]] kernel decltype(integers<long>) integers<long>;

kernel void special(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                    device int* is [[buffer(2)]], {I}) {{
  float x = in[i], y = in[(i + 1) % 8];
  out[i] = min(x, y);
  out[8 + i] = max(x, y);
  out[16 + i] = fmin(x, y);
  out[24 + i] = clamp(x, -1.0f, 2.0f);
  out[32 + i] = max(x, max(y, 0.25f));
  out[40 + i] = select(x, y, isnan(x));
  out[48 + i] = x * INFINITY;
  out[56 + i] = exp(x);
  is[i] = isnan(x) + 2 * isinf(x) + 4 * isfinite(x) + 8 * signbit(x) + 16 * isnormal(x);
  is[8 + i] = (x < y) + 2 * (x == y) + 4 * (x != y) + 8 * (x >= y) + 16 * !(x > y);
  is[16 + i] = isnan(half(x)) + 2 * isinf(half(x));
  is[24 + i] = isnan(float2(0, x)).y + 2 * isinf(float4(x)).w;
}}

kernel void shapes({VALUES}) {{
  float3 a(in[0], in[1], in[2]), b = float3(1, -2, 3);
  out[0] = dot(a, b);
  out[1] = length(a);
  out[2] = distance(a, b);
  out[3] = normalize(a).y;
  out[4] = cross(a, b).z;
  out[5] = length_squared(a);
  out[6] = mix(a, b, 0.25f).x;
  out[7] = smoothstep(0.0f, 4.0f, in[0]);
  out[8] = fma(in[0], in[1], in[2]);
  out[9] = fma(a, b, float3(1.0f)).z;
  out[10] = ldexp(in[0], 5);
  int e;
  out[11] = frexp(in[1], e);
  out[12] = e;
  float whole;
  out[13] = modf(in[2], whole);
  out[14] = whole;
  float c;
  out[15] = sincos(in[0], c);
  out[16] = c;
  out[17] = min3(in[0], in[1], in[2]) + 10 * max3(in[0], in[1], in[2])
            + 100 * median3(in[0], in[1], in[2]);
  out[18] = dot(half4(1, 2, 3, 4), half4(2.0h));
  out[19] = max(in[0], 5.0f) + max(3, 4) + min(2u, 7u) + abs(-3) + clamp(in[2], 0.0f, 1.0f);
  out[20] = reflect(a, float3(0, 1, 0)).y;
  out[21] = ilogb(in[1]);
}}
"""


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def ulps(found, exact):
    """Distance in units in the last place of the exact value rounded to found's type."""
    near = np.abs(exact).astype(found.dtype)
    return np.abs(found.astype(np.float64) - exact) / np.spacing(near).astype(np.float64)


@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_one_argument_is_within_its_error(device, library, name):
    function, (low, high), allowed = UNARY[name]
    rng = np.random.default_rng(1)
    x = rng.uniform(low, high, 64).astype(np.float32)
    if high > 1e19:
        x = np.exp(rng.uniform(np.log(max(low, 1e-30)), np.log(high), 64)).astype(np.float32)
    out = np.full((6, 64), np.nan, np.float32)
    launch(device, library, f"unary_{name}", x, out, threads=64)
    exact = function(x.astype(np.float64))
    for row in (0, 1, 4) if name == "abs" else range(5):
        assert (ulps(out[row], exact) <= max(allowed, 0.5)).all(), row
    with np.errstate(over="ignore", divide="ignore"):
        h = x.astype(np.float16)
        exact = function(h.astype(np.float64))
        in_range = np.isfinite(h) & (np.abs(exact) < 65504) & (np.abs(exact) > 6.2e-5)
        found = out[5].astype(np.float16)
    assert (ulps(found[in_range], exact[in_range]) <= 1.01).all()


@pytest.mark.parametrize("name", BINARY)
def test_a_function_of_two_arguments_is_within_its_error(device, library, name):
    function, allowed = BINARY[name]
    rng = np.random.default_rng(2)
    a = rng.uniform(0.1 if "pow" in name else -9, 9, 64).astype(np.float32)
    b = rng.uniform(-9, 9, 64).astype(np.float32)
    out = np.full((2, 64), np.nan, np.float32)
    launch(device, library, f"binary_{name}", a, b, out, threads=64)
    exact = function(a.astype(np.float64), b.astype(np.float64))
    assert (ulps(out, exact) <= max(allowed, 0.5)).all()


@pytest.mark.parametrize(("name", "dtype"), [("half", np.float16), ("bfloat", BFLOAT)])
def test_every_operation_of_a_narrow_type_rounds(device, library, name, dtype):
    rng = np.random.default_rng(3)
    a, b = (rng.uniform(0.5, 8, 64).astype(dtype) for _ in range(2))
    out = np.zeros((9, 64), dtype)
    launch(device, library, f"arithmetic_{name}", a, b, out, threads=64)
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
    launch(device, library, "conversions", x, ints, halves, bfloats, bits, threads=64)
    whole = x.astype(np.int32)
    half = x.astype(np.float16)
    expected = [whole, whole.astype(np.int8), whole.astype(np.uint8)]
    expected += [(whole * 1000).astype(np.int16), x > 3, half.astype(np.int32)]
    np.testing.assert_array_equal(ints, np.array(expected).astype(np.int32))
    np.testing.assert_array_equal(halves, [half, (whole * 100).astype(np.float16)])
    np.testing.assert_array_equal(bfloats, np.array([x.astype(BFLOAT), half.astype(BFLOAT)]))
    raw, raw_half = x.view(np.uint32), half.view(np.uint16).astype(np.uint32)
    three = int(np.float32(3).view(np.uint32))
    expected = [raw, raw_half, raw_half + (0x3C00 << 16), raw >> 16, raw, raw + np.uint32(three)]
    np.testing.assert_array_equal(bits, np.array(expected))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("int", np.int32),
        ("uint", np.uint32),
        ("short", np.int16),
        ("uchar", np.uint8),
        ("long", np.int64),
    ],
)
def test_integer_functions_agree_with_arithmetic_on_unbounded_integers(
    device, library, name, dtype
):
    info = np.iinfo(dtype)
    width, mask = info.bits, 2**info.bits - 1
    rng = np.random.default_rng(4)
    a = rng.integers(info.min, info.max, 64, dtype, endpoint=True)
    b = rng.integers(info.min, info.max, 64, dtype, endpoint=True)
    a[:4] = [0, 1, info.max, info.min]
    out = np.zeros((16, 64), dtype)
    launch(device, library, f"integers_{name}", a, b, out, threads=64)

    def wrap(n):
        n &= mask
        return n - 2**width if n > info.max else n

    def rows(x, y):
        u, v = x & mask, y & mask
        text = f"{u:0{width}b}"
        field = u >> 3 & 15
        yield text.count("1")
        yield width - u.bit_length()
        yield (u & -u).bit_length() - 1 if u else width
        yield wrap(int(text[::-1], 2))
        yield wrap(u << 5 | u >> (width - 5))
        yield field - 16 if info.min < 0 and field > 7 else field
        yield min(x, y)
        yield max(x, y)
        yield min(max(x, 10), 100)
        yield wrap(abs(x - y))
        yield x * y >> width
        yield wrap(u & ~(15 << 3) | (v & 15) << 3)
        yield x + y >> 1
        yield min(max(x + y, info.min), info.max)
        yield min(max(x - y, info.min), info.max)
        yield wrap((x & 15) * (y & 15) + 3)

    expected = np.array([list(rows(int(x), int(y))) for x, y in zip(a, b, strict=True)], dtype).T
    np.testing.assert_array_equal(out, expected)


def test_nan_and_infinity_follow_the_rules_of_precise_math(device, library):
    nan, inf = np.nan, np.inf
    x = np.array([nan, 1, -inf, inf, -0.0, 1e-40, nan, -2], np.float32)
    out, found = np.zeros((8, 8), np.float32), np.zeros((4, 8), np.int32)
    launch(device, library, "special", x, out, found, threads=8)
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
    np.testing.assert_array_equal((found[0] & ~8)[known], kinds[known])
    np.testing.assert_array_equal((found[0] & 8)[known] > 0, np.signbit(x)[known])
    assert (found[0][~known] & ~8 == 1).all()
    with np.errstate(invalid="ignore"):
        order = (x < y) + 2 * (x == y) + 4 * (x != y) + 8 * (x >= y) + 16 * ~(x > y)
    np.testing.assert_array_equal(found[1], order)
    np.testing.assert_array_equal(found[2], np.isnan(x) + 2 * np.isinf(x))
    np.testing.assert_array_equal(found[3] != 0, np.isnan(x) | np.isinf(x))


def test_geometry_and_parts_of_numbers(device, library):
    x, out = np.array([0.5, -3.0, 2.25], np.float32), np.zeros(22, np.float32)
    launch(device, library, "shapes", x, out)
    a, b = x.astype(np.float64), np.array([1.0, -2.0, 3.0])
    t = 0.5 / 4
    expected = [
        a @ b, np.sqrt(a @ a), np.linalg.norm(a - b), -3 / np.sqrt(a @ a), np.cross(a, b)[2],
        a @ a, 0.5 + 0.125, t * t * (3 - 2 * t), 0.5 * -3 + 2.25, 2.25 * 3 + 1, 16, -0.75, 2,
        0.25, 2, np.sin(0.5), np.cos(0.5), -3 + 22.5 + 50, 20, 5 + 4 + 2 + 3 + 1, 3, 1,
    ]  # fmt: skip
    np.testing.assert_allclose(out, expected, rtol=2e-6)
