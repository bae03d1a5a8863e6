"""The language on the cpu device: small kernels against numpy."""

from __future__ import annotations

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto.errors import DispatchError, KernelCompileError

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
BFLOAT = ml_dtypes.bfloat16
I = "uint i [[thread_position_in_grid]]"  # noqa: E741

SIZES = {
    "bool": (1, 1), "char": (1, 1), "uchar": (1, 1), "short": (2, 2), "ushort": (2, 2),
    "int": (4, 4), "uint": (4, 4), "long": (8, 8), "ulong": (8, 8), "half": (2, 2),
    "bfloat": (2, 2), "float": (4, 4), "size_t": (8, 8), "int8_t": (1, 1), "uint16_t": (2, 2),
    "int32_t": (4, 4), "uint64_t": (8, 8),
    "char2": (2, 2), "char3": (4, 4), "uchar4": (4, 4), "bool2": (2, 2), "bool4": (4, 4),
    "short2": (4, 4), "short3": (8, 8), "ushort4": (8, 8), "int2": (8, 8), "int3": (16, 16),
    "uint4": (16, 16), "long2": (16, 16), "ulong4": (32, 32), "half2": (4, 4), "half3": (8, 8),
    "half4": (8, 8), "bfloat4": (8, 8), "float2": (8, 8), "float3": (16, 16), "float4": (16, 16),
    "packed_float2": (8, 4), "packed_float3": (12, 4), "packed_float4": (16, 4),
    "packed_half3": (6, 2), "packed_half4": (8, 2), "packed_int3": (12, 4),
    "packed_uchar4": (4, 1),
}  # fmt: skip

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

TEXT = HEAD + "kernel void sizes(device int2* out [[buffer(0)]]) {\n"
TEXT += "".join(f"  out[{k}] = int2(sizeof({t}), alignof({t}));\n" for k, t in enumerate(SIZES))
TEXT += "}\n"
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
kernel void swizzles(device const float4* in [[buffer(0)]], device float4* out [[buffer(1)]]) {{
  float4 v = in[0];
  out[0] = v.wzyx;
  out[1] = float4(v.xy, v.rg);
  out[2] = v;
  out[2].zx = v.xy;
  float4 w = v;
  w.yz = w.zy;
  w.a += 10.0f;
  out[3] = w;
  float3 t = v.xyz;
  t.x *= 2.0f;
  t[2] = 7.0f;
  out[4] = float4(t, dot(t, t));
  out[5] = float4(float2(1, 2), 3, v.w);
  out[6] = float4(v.x > 1.0f ? v.xx : v.yy, float2(0.5f)).xzyw;
  out[7] = select(v, -v, v > 2.5f);
  out[8] = float4(bool4(v > 2.5f));
  out[9] = float4();
  out[10] = vec<float, 4>(vec<half, 4>(v)) + (float4)(1.0f);
  out[11] = float4(int4(v * 1.7f));
  out[12] = float4(any(v > 3.5f), all(v > 0.5f), all(v > 1.5f), any(v.xy > v.zw));
  out[13] = float4(uchar4(250, 251, 252, 253) + uchar4(5));
}}

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

struct Params {{
  int n;
  float scale;
  float3 offset;
  half2 pair;
  ulong wide;
  uchar flag;
  packed_float3 tight;
  short list[3];
}};
kernel void by_reference(constant Params& p [[buffer(0)]], device float* out [[buffer(1)]],
                         constant float* table [[buffer(2)]],
                         const device Params* again [[buffer(3)]]) {{
  out[0] = p.n; out[1] = p.scale; out[2] = p.offset.z; out[3] = p.pair.y; out[4] = p.wide >> 32;
  out[5] = p.flag; out[6] = p.tight.z; out[7] = p.list[2]; out[8] = table[p.n];
  Params copy = p;
  copy.scale *= 2;
  out[9] = copy.scale + again->offset.y + again[0].tight[1];
  out[10] = sizeof(Params);
}}

struct Complex {{
  float re, im;
  Complex() = default;
  Complex(float r, float i = 0) : re(r), im(i) {{}}
  Complex operator*(Complex o) const {{ return {{re * o.re - im * o.im, re * o.im + im * o.re}}; }}
  thread Complex& operator+=(Complex o) {{ re += o.re; im += o.im; return *this; }}
  bool operator==(const thread Complex& o) const {{ return re == o.re && im == o.im; }}
  float norm() const {{ return re * re + im * im; }}
  static Complex unit() {{ return Complex(0, 1); }}
  float operator()(float x) const {{ return re * x + im; }}
  explicit operator float() const {{ return re; }}
}};
Complex operator-(Complex a, Complex b) {{ return Complex(a.re - b.re, a.im - b.im); }}
template <typename T, int N>
struct Stack {{
  T items[N];
  int count = 0;
  void push(T item) thread {{ items[count++] = item; }}
  thread T& top() {{ return items[count - 1]; }}
  template <typename F> T fold(F f, T start) const {{
    for (int k = 0; k < count; k++) start = f(start, items[k]);
    return start;
  }}
}};
struct Add {{ template <typename T> T operator()(T a, T b) const {{ return a + b; }} }};
struct Greater {{
  static constexpr constant int kind = 3;
  float operator()(float a, float b) {{ return max(a, b); }}
}};
template <typename Op> float twice(float x) {{ return Op()(x, x) + Op{{}}(x, 1.0f); }}
template <int N> struct Power {{ static float of(float x) {{ return x * Power<N - 1>::of(x); }} }};
template <> struct Power<0> {{ static float of(float x) {{ return 1.0f; }} }};
template <typename T, typename U = float> U sum_of(const device T* p, int n) {{
  U total = 0;
  for (int k = 0; k < n; ++k) total += U(p[k]);
  return total;
}}
template <typename T> T pointed(const thread T* p) {{ return *p + 1; }}
template <typename T> T pointed(const device T* p) {{ return *p + 2; }}
template <typename T> T pointed(const constant T* p) {{ return *p + 3; }}
template <typename... Ts> int how_many(Ts... values) {{ return sizeof...(values); }}
enum class Mode : uint {{ none, one = 4, two }};
namespace outer {{ namespace inner {{
constant float table[4] = {{1.0f, 10.0f, 100.0f, 1000.0f}};
}} }}
constant int3 corners[2] = {{int3(1, 2, 3), int3(4, 5, 6)}};
constexpr constant float kThird = 1.0f / 3.0f;
typedef vec<float, 4> Four;
template <typename T> using Two = vec<T, 2>;
kernel void contracted(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {{
  out[0] = in[0] * in[1] + in[2];
}}
kernel void rounded(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {{
#pragma METAL fp contract(off)
  out[0] = in[0] * in[1] + in[2];
}}
struct Held {{
  float4 v;
  Complex c;
  Held(float x) : v(x, x + 1.0f, 0, 1), c(x, 2) {{}}
}};
struct Mixed {{ packed_float3 tight; float last; }};
kernel void members(device Mixed* m [[buffer(0)]], constant packed_float3* given [[buffer(1)]]) {{
  threadgroup packed_float3 shared[2];
  float3 v = m[0].tight;
  m[1].tight = v * 2.0f;
  m[1].tight[1] = 9;
  m[2].tight = m[1].tight;
  m[2].tight.z += given[1].y;
  shared[1] = float3(given[1]) + v;
  packed_float3 here = shared[1];
  m[3].tight = here;
  m[3].last = dot(float3(here), float3(1, 10, 100));
  Held held(3);
  m[0].last = held.v.y * 10 + held.c.im + held.c.re * 100 + held.v.w * 1000;
  bool3 greater = v > float3(1.5f);
  m[1].last = float3(greater).x + 10 * float3(greater).y + 100 * any(greater) + 1000 * all(greater);
  m[2].last = select(v, -v, greater).z;
}}
kernel void objects({VALUES}) {{
  Complex a(in[0], in[1]), b = Complex::unit();
  Complex c = a * b;
  c += a - Complex(1);
  out[0] = c.re; out[1] = c.im; out[2] = (a * a).norm(); out[3] = a(2.0f) + Complex(5, 6)(1.0f);
  out[4] = (a == a) + 2 * (a == b) + float(Complex(7)) + (float)a;
  Stack<float, 8> stack;
  for (int k = 0; k < 5; k++) stack.push(in[k]);
  stack.top() *= 3.0f;
  out[5] = stack.fold(Add(), 0.5f); out[6] = stack.fold(Greater{{}}, -1.0f);
  out[7] = twice<Add>(in[2]) + Greater::kind;
  out[8] = Power<3>::of(in[3]);
  float local = in[0];
  out[9] = sum_of(in, 4) + sum_of<float, int>(in, 4);
  out[10] = pointed(&local) + pointed(in) + pointed(&outer::inner::table[0]);
  out[11] = how_many(1, 2.0f, a) + int(Mode::two) + how_many();
  out[12] = outer::inner::table[int(in[1])] + corners[1].y + kThird;
  Four f = Four(in[0]);
  f.xy = Two<float>(in[1], in[2]);
  out[13] = f.x + 10 * f.y + 100 * f.w;
  metal::array<int, 4> list = {{1, 2, 3, 4}};
  list[2] += 10;
  int total = 0;
  for (ushort k = 0; k < list.size(); k++) total += list[k];
  out[14] = total;
  auto lowest = numeric_limits<float>::lowest();
  half biggest = numeric_limits<half>::max();
  out[15] = float(lowest == -FLT_MAX) + float(biggest) + numeric_limits<int>::max() / 1073741824
            + numeric_limits<uchar>::max() + numeric_limits<short>::min();
  out[16] = metal::is_same_v<decltype(half(1) + half(1)), half> + 2 * is_floating_point_v<bfloat>
            + 4 * is_integral<uint>::value
            + 8 * is_same<conditional_t<true, int, float>, int>::value
            + 16 * is_unsigned_v<ushort> + 32 * is_same_v<remove_cv_t<const volatile int>, int>
            + 64 * is_same_v<make_unsigned_t<short>, ushort>
            + 128 * is_same_v<decltype(1.0), float>;
  out[17] = 1'000.5 + 1.5h + 0x10 + 0b101 + 1e2f + 010 + 'a';
  out[18] = numeric_limits<float>::infinity() > FLT_MAX
            && isnan(numeric_limits<float>::quiet_NaN());
}}

int collatz(int n) {{
  int steps = 0;
  while (true) {{
    if (n == 1) return steps;
    n = n & 1 ? 3 * n + 1 : n >> 1;
    ++steps;
  }}
}}
kernel void control(device int* out [[buffer(0)]], {I}) {{
  int table[16];
  for (int k = 0; k < 16; k++) table[k] = k * k;
  int x = int(i), y = 0;
  switch (x % 5) {{
    case 0: y = 1; break;
    case 1:
    case 2: y = 2;
    case 3: y += 10; break;
    default: {{ int t = x; y = t * 100; }}
  }}
  out[i] = y;
  out[64 + i] = collatz(x + 1);
  do {{ y -= 3; if (y < -5) break; if (y % 2) continue; y -= 1; }} while (y > 0);
  out[128 + i] = y;
  out[192 + i] = table[(x * 7) % 16] + (table + 3)[x % 4];
  if (x > 40) return;
  int k = 0;
  for (int a = 0, b = x; a < b; a += 2, b--) k += a ^ b;
  out[256 + i] = x ? k : -1;
}}

constant bool flag [[function_constant(0)]];
constant int whole [[function_constant(1)]];
constant uint natural [[function_constant(2)]];
constant float real [[function_constant(3)]];
constant half small [[function_constant(4)]];
constant short shorter [[function_constant(5)]];
constant uchar byte [[function_constant(6)]];
constant int optional [[function_constant(7)]];
constant long longest [[function_constant(8)]];
constant bool both = flag && whole > 3;
constant int chosen = is_function_constant_defined(optional) ? optional : -77;
kernel void constants(device float* out [[buffer(0)]],
                      device const float* extra [[buffer(1), function_constant(flag)]],
                      device const float* never [[buffer(2), function_constant(both)]]) {{
  out[0] = flag; out[1] = whole; out[2] = natural; out[3] = real; out[4] = small;
  out[5] = shorter; out[6] = byte; out[7] = chosen; out[8] = both; out[9] = longest;
  out[10] = is_function_constant_defined(optional);
  if (flag) out[11] = extra[0];
  if (both) out[12] = never[0];
}}
"""


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def launch(device, library, name, *buffers, threads=1, constants=None):
    device.run(
        library.pipeline(name, constants),
        threadgroups=1,
        threads=threads,
        buffers={k: b for k, b in enumerate(buffers) if b is not None},
    )


def test_types_have_the_sizes_and_alignments_of_metal(device, library):
    out = np.zeros((len(SIZES), 2), np.int32)
    launch(device, library, "sizes", out)
    assert {t: tuple(row) for t, row in zip(SIZES, out.tolist(), strict=True)} == SIZES


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


def test_swizzles_and_constructors_of_vectors(device, library):
    out = np.zeros((14, 4), np.float32)
    launch(device, library, "swizzles", np.array([1, 2, 3, 4], np.float32), out)
    expected = [
        [4, 3, 2, 1], [1, 2, 1, 2], [2, 2, 1, 4], [1, 3, 2, 14], [2, 2, 7, 57], [1, 2, 3, 4],
        [2, 0.5, 2, 0.5], [1, 2, -3, -4], [0, 0, 1, 1], [0, 0, 0, 0], [2, 3, 4, 5], [1, 3, 5, 6],
        [1, 1, 0, 0], [255, 0, 1, 2],
    ]  # fmt: skip
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


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


def test_a_structure_by_reference_has_the_layout_of_the_host(device, library):
    fields = np.dtype(
        {
            "names": ["n", "scale", "offset", "pair", "wide", "flag", "tight", "list"],
            "formats": ["i4", "f4", ("f4", 3), ("f2", 2), "u8", "u1", ("f4", 3), ("i2", 3)],
            "offsets": [0, 4, 16, 32, 40, 48, 52, 64],
            "itemsize": 80,
        }
    )
    p = np.zeros((), fields)
    p["n"], p["scale"], p["offset"], p["pair"] = 2, 1.5, [1, 2, 3], [4, 5]
    p["wide"], p["flag"], p["tight"], p["list"] = 9 << 32, 200, [6, 7, 8], [-1, -2, -3]
    table, out = np.array([0, 0, 42, 0], np.float32), np.zeros(11, np.float32)
    launch(device, library, "by_reference", p, out, table, p.reshape(1))
    assert out.tolist() == [2, 1.5, 3, 5, 9, 200, 8, -3, 42, 3 + 2 + 7, 80]


def test_classes_templates_and_tables(device, library):
    x, out = np.array([1.5, 2, 3, -2, 4], np.float32), np.zeros(19, np.float32)
    launch(device, library, "objects", x, out)
    a = complex(1.5, 2)
    c = a * 1j + a - 1
    expected = [
        c.real, c.imag, abs(a * a) ** 2, 1.5 * 2 + 2 + 11, 1 + 7 + 1.5,
        0.5 + 1.5 + 2 + 3 - 2 + 12, 12, 6 + 4 + 3, -8, 4.5 + (1 + 2 + 3 - 2), 2.5 + 3.5 + 4,
        3 + 5, 100 + 5 + 1 / 3, 2 + 30 + 150, 20, 1 + 65504 + 1 + 255 - 32768, 255,
        1000.5 + 1.5 + 16 + 5 + 100 + 8 + 97, 1,
    ]  # fmt: skip
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_packed_vectors_leave_no_gap_and_members_are_initialised(device, library):
    fields = np.dtype([("tight", "f4", 3), ("last", "f4")])
    out = np.zeros(4, fields)
    out[0]["tight"] = [1, 2, 3]
    given = np.array([[0, 0, 0], [4, 5, 6]], np.float32)
    launch(device, library, "members", out, given)
    assert out["tight"].tolist() == [[1, 2, 3], [2, 9, 6], [2, 9, 11], [5, 7, 9]]
    assert out["last"].tolist() == [1342, 110, -3, 975]


def test_a_pragma_keeps_a_product_and_a_sum_apart(device, library):
    # (1 + 2^-12)^2 - 1 - 2^-11 is 2^-24, which rounding the product to float loses.
    x = np.array([1 + 2**-12, 1 + 2**-12, -1 - 2**-11], np.float32)
    out = np.full(1, np.nan, np.float32)
    launch(device, library, "contracted", x, out)
    assert out[0] in (0, np.float32(2**-24))  # either is allowed
    launch(device, library, "rounded", x, out)
    assert out[0] == 0


def test_control_flow_follows_c(device, library):
    out = np.full((5, 64), -9, np.int32)
    launch(device, library, "control", out, threads=64)
    for i in range(64):
        y = {0: 1, 1: 12, 2: 12, 3: 10, 4: i * 100}[i % 5]
        n, steps = i + 1, 0
        while n != 1:
            n, steps = (3 * n + 1 if n % 2 else n // 2), steps + 1
        column = [y, steps]
        while True:
            y -= 3
            if y < -5:
                break
            if y % 2 == 0:
                y -= 1
            if y <= 0:
                break
        a, b, k = 0, i, 0
        while a < b:
            k, a, b = k + (a ^ b), a + 2, b - 1
        column += [y, (i * 7 % 16) ** 2 + (3 + i % 4) ** 2]
        column.append(-9 if i > 40 else k if i else -1)
        assert out[:, i].tolist() == column, i


CONSTANTS = {0: True, 1: -5, 2: 4000000000, 3: 0.1, 4: 0.1, 5: -300, "byte": 200, 8: 1 << 40}


def test_function_constants_of_each_type_reach_the_kernel(device, library):
    out, extra = np.full(13, -1, np.float32), np.array([3.5], np.float32)
    launch(device, library, "constants", out, extra, constants=CONSTANTS)
    expected = [1, -5, 4e9, 0.1, np.float16(0.1), -300, 200, -77, 0, 2.0**40, 0, 3.5, -1]
    np.testing.assert_array_equal(out, np.array(expected, np.float32))
    more = CONSTANTS | {1: 4, "optional": 12}
    launch(device, library, "constants", out, extra, extra * 2, constants=more)
    assert out[[1, 7, 8, 10, 12]].tolist() == [4, 12, 1, 1, 7]
    launch(device, library, "constants", out, constants=CONSTANTS | {0: False})
    assert out[0] == 0


def test_a_conditional_argument_must_be_bound_where_its_condition_holds(device, library):
    out, extra = np.zeros(13, np.float32), np.zeros(1, np.float32)
    with pytest.raises(DispatchError, match=r"buffer 1 \(extra\)"):
        launch(device, library, "constants", out, constants=CONSTANTS)
    with pytest.raises(DispatchError, match=r"buffer 2 \(never\)"):
        launch(device, library, "constants", out, extra, constants=CONSTANTS | {1: 4})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({5: 70000}, "shorter.*70000"),
        ({6: -1}, "byte.*-1"),
        ({0: 2}, "flag.*2"),
        ({99: 1}, "99"),
        ({1: None}, "whole.*index 1"),
    ],
)
def test_a_function_constant_that_does_not_fit_is_named(library, change, message):
    constants = {k: v for k, v in (CONSTANTS | change).items() if v is not None}
    with pytest.raises(KernelCompileError, match=message):
        library.pipeline("constants", constants)
