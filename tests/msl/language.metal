#include <metal_stdlib>
using namespace metal;

kernel void swizzles(device const float4* in [[buffer(0)]], device float4* out [[buffer(1)]]) {
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
}

struct Params {
  int n;
  float scale;
  float3 offset;
  half2 pair;
  ulong wide;
  uchar flag;
  packed_float3 tight;
  short list[3];
};
kernel void by_reference(constant Params& p [[buffer(0)]], device float* out [[buffer(1)]],
                         constant float* table [[buffer(2)]],
                         const device Params* again [[buffer(3)]]) {
  out[0] = p.n; out[1] = p.scale; out[2] = p.offset.z; out[3] = p.pair.y; out[4] = p.wide >> 32;
  out[5] = p.flag; out[6] = p.tight.z; out[7] = p.list[2]; out[8] = table[p.n];
  Params copy = p;
  copy.scale *= 2;
  out[9] = copy.scale + again->offset.y + again[0].tight[1];
  out[10] = sizeof(Params);
}

struct Complex {
  float re, im;
  Complex() = default;
  Complex(float r, float i = 0) : re(r), im(i) {}
  Complex operator*(Complex o) const { return {re * o.re - im * o.im, re * o.im + im * o.re}; }
  thread Complex& operator+=(Complex o) { re += o.re; im += o.im; return *this; }
  bool operator==(const thread Complex& o) const { return re == o.re && im == o.im; }
  float norm() const { return re * re + im * im; }
  static Complex unit() { return Complex(0, 1); }
  float operator()(float x) const { return re * x + im; }
  explicit operator float() const { return re; }
};
Complex operator-(Complex a, Complex b) { return Complex(a.re - b.re, a.im - b.im); }
template <typename T, int N>
struct Stack {
  T items[N];
  int count = 0;
  void push(T item) thread { items[count++] = item; }
  thread T& top() { return items[count - 1]; }
  template <typename F> T fold(F f, T start) const {
    for (int k = 0; k < count; k++) start = f(start, items[k]);
    return start;
  }
};
struct Add { template <typename T> T operator()(T a, T b) const { return a + b; } };
struct Greater {
  static constexpr constant int kind = 3;
  float operator()(float a, float b) { return max(a, b); }
};
template <typename Op> float twice(float x) { return Op()(x, x) + Op{}(x, 1.0f); }
template <int N> struct Power { static float of(float x) { return x * Power<N - 1>::of(x); } };
template <> struct Power<0> { static float of(float x) { return 1.0f; } };
template <typename T, typename U = float> U sum_of(const device T* p, int n) {
  U total = 0;
  for (int k = 0; k < n; ++k) total += U(p[k]);
  return total;
}
template <typename T> T pointed(const thread T* p) { return *p + 1; }
template <typename T> T pointed(const device T* p) { return *p + 2; }
template <typename T> T pointed(const constant T* p) { return *p + 3; }
template <typename... Ts> int how_many(Ts... values) { return sizeof...(values); }
enum class Mode : uint { none, one = 4, two };
namespace outer { namespace inner {
constant float table[4] = {1.0f, 10.0f, 100.0f, 1000.0f};
} }
constant int3 corners[2] = {int3(1, 2, 3), int3(4, 5, 6)};
constexpr constant float kThird = 1.0f / 3.0f;
typedef vec<float, 4> Four;
template <typename T> using Two = vec<T, 2>;
kernel void contracted(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  out[0] = in[0] * in[1] + in[2];
}
kernel void rounded(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
#pragma METAL fp contract(off)
  out[0] = in[0] * in[1] + in[2];
}
struct Held {
  float4 v;
  Complex c;
  Held(float x) : v(x, x + 1.0f, 0, 1), c(x, 2) {}
};
struct Mixed { packed_float3 tight; float last; };
kernel void members(device Mixed* m [[buffer(0)]], constant packed_float3* given [[buffer(1)]]) {
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
}
kernel void objects(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  Complex a(in[0], in[1]), b = Complex::unit();
  Complex c = a * b;
  c += a - Complex(1);
  out[0] = c.re; out[1] = c.im; out[2] = (a * a).norm(); out[3] = a(2.0f) + Complex(5, 6)(1.0f);
  out[4] = (a == a) + 2 * (a == b) + float(Complex(7)) + (float)a;
  Stack<float, 8> stack;
  for (int k = 0; k < 5; k++) stack.push(in[k]);
  stack.top() *= 3.0f;
  out[5] = stack.fold(Add(), 0.5f); out[6] = stack.fold(Greater{}, -1.0f);
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
  metal::array<int, 4> list = {1, 2, 3, 4};
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
}

int collatz(int n) {
  int steps = 0;
  while (true) {
    if (n == 1) return steps;
    n = n & 1 ? 3 * n + 1 : n >> 1;
    ++steps;
  }
}
kernel void control(device int* out [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  int table[16];
  for (int k = 0; k < 16; k++) table[k] = k * k;
  int x = int(i), y = 0;
  switch (x % 5) {
    case 0: y = 1; break;
    case 1:
    case 2: y = 2;
    case 3: y += 10; break;
    default: { int t = x; y = t * 100; }
  }
  out[i] = y;
  out[64 + i] = collatz(x + 1);
  do { y -= 3; if (y < -5) break; if (y % 2) continue; y -= 1; } while (y > 0);
  out[128 + i] = y;
  out[192 + i] = table[(x * 7) % 16] + (table + 3)[x % 4];
  if (x > 40) return;
  int k = 0;
  for (int a = 0, b = x; a < b; a += 2, b--) k += a ^ b;
  out[256 + i] = x ? k : -1;
}

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
                      device const float* never [[buffer(2), function_constant(both)]]) {
  out[0] = flag; out[1] = whole; out[2] = natural; out[3] = real; out[4] = small;
  out[5] = shorter; out[6] = byte; out[7] = chosen; out[8] = both; out[9] = longest;
  out[10] = is_function_constant_defined(optional);
  if (flag) out[11] = extra[0];
  if (both) out[12] = never[0];
}
