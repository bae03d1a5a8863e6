// Other texts of the kinds that published kernels have, one kernel a kind.
#include <metal_stdlib>
using namespace metal;

// A number in a byte, with what other types become by themselves and what it becomes.
struct Sixteenths {
  uchar count;
  Sixteenths() thread = default;
  Sixteenths(float x) thread : count(uchar(x * 16)) {}
  operator float() const thread { return count / 16.0f; }
  operator float() const device { return count / 16.0f; }
  operator float() const constant { return count / 16.0f; }
  thread Sixteenths& operator=(float x) thread {
    count = uchar(x * 16);
    return *this;
  }
  device Sixteenths& operator=(float x) device {
    count = uchar(x * 16);
    return *this;
  }
};
struct Doubled {
  template <typename T>
  T operator()(T x) thread {
    return 2 * x;
  }
  Sixteenths operator()(Sixteenths x) thread;
};
Sixteenths Doubled::operator()(Sixteenths x) thread {
  return Sixteenths(2 * float(x));
}
inline Sixteenths operator+(Sixteenths a, Sixteenths b) {
  return Sixteenths(float(a) + float(b));
}
inline thread Sixteenths& operator+=(thread Sixteenths& a, Sixteenths b) {
  a = a + b;
  return a;
}
inline device Sixteenths& operator+=(device Sixteenths& a, float b) {
  a = float(a) + b;
  return a;
}

kernel void operators(device float* out [[buffer(0)]], device Sixteenths* x [[buffer(1)]],
                      constant Sixteenths& given [[buffer(2)]]) {
  Sixteenths a = 2.0f;
  Sixteenths b(x[0]);
  a += b;
  out[0] = a;
  x[1] += 1.5f;
  out[1] = x[1];
  x[2] = given;
  out[2] = x[2] + a;
  out[3] = (float)(a + b) + float(Doubled()(a)) + Doubled{}(0.5f);
}

kernel void packed(device float* out [[buffer(0)]], device packed_float3* x [[buffer(1)]]) {
  device packed_float3* p = x + 1;
  float4 parts = float4(x[0], 1);
  out[0] = parts.z + 10 * parts.w + 100 * float4(0.5f, p[0]).y;
  out[1] = x[0].xy.y + 10 * p->zyx.x + 100 * p->bg.x;
  x[2].xz = float2(70, 80);
  p->zy += 0.5f;
  packed_float3 own = x[2];
  own.rg *= own.bb;
  out[2] = own.x;
}

template <typename T>
struct Sum {
  uint calls;
  constexpr Sum<T>() thread : calls(0) {}
  constexpr Sum<T>() threadgroup = default;
  static constexpr constant T init = T(0);
  T operator()(T a, T b) { return a + b; }
};
template <template <typename> class Op, typename T>
struct Fold {
  Op<T> op;
  template <int N>
  T over(thread const T (&x)[N]) {
    T result = Op<T>::init;
    for (int i = 0; i < N; ++i) result = op(result, x[i]);
    return result;
  }
};
namespace outer {
namespace inner {
template <template <typename> class Op, typename T, int N>
kernel void folded(device T* out [[buffer(0)]]) {
  T x[N];
  for (int i = 0; i < N; ++i) x[i] = T(i + 1);
  Fold<Op, T> fold;
  out[0] = fold.over(x);
  out[1] = fold.template over<N>(x);
}
}  // namespace inner
}  // namespace outer
namespace short_name = outer::inner;
template [[host_name("folded_half")]] kernel decltype(short_name::folded<Sum, half, 4>)
    short_name::folded<Sum, half, 4>;

kernel void votes(device uint* out [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
  simd_vote third = simd_ballot(lane % 3 == 0);
  simd_vote::vote_t bits = static_cast<simd_vote::vote_t>(third);
  simd_vote rebuilt = simd_vote(bits << 1);
  simd_vote nothing;
  quad_vote odd = quad_vote(quad_vote::vote_t(quad_ballot(lane & 1)) | 5);
  if (lane == 31) {
    out[0] = uint(simd_vote::vote_t(rebuilt));
    out[1] = rebuilt.all() + 2 * rebuilt.any() + 4 * simd_vote(~0ul).any() + 8 * nothing.any();
    out[2] = odd.all() + 2 * quad_vote(4).all() + 4 * quad_vote(4).any();
  }
}

kernel void narrow(device float* out [[buffer(0)]], device const half* h [[buffer(1)]],
                   device const bfloat* b [[buffer(2)]]) {
  out[0] = bfloat(h[0]);
  out[1] = half(b[0] * b[1]) + h[0];
  out[2] = bfloat(h[0] * 2.0h) * b[1];
}

// Indices are enumerators and constants, as in a header that a host shares.
typedef enum BufferIndex { BufferIndexOut = 0, BufferIndexIn } BufferIndex;
enum class Settings : uint { scale = BufferIndexIn + 1 };
constant constexpr int shift_index = 1 << 2, bias_index = shift_index - 1;
enum { bias_constant = 20 };
constant int bias [[function_constant(bias_constant)]];
namespace settings {
constant bool is_doubled [[function_constant(uint(bias_constant) + 1)]];
constant bool is_plain = is_function_constant_defined(is_doubled) ? !is_doubled : true;
}  // namespace settings

kernel void numbered(device float* out [[buffer(BufferIndexOut)]],
                     device const float* x [[ buffer(BufferIndex::BufferIndexIn) ]],
                     constant float& scale [[buffer(uint(Settings::scale))]],
                     constant float& shift [[buffer(shift_index)]],
                     constant float& more [[buffer(static_cast<int>(bias_index))]]) {
  out[0] = scale * x[0] + shift + more + bias;
  out[1] = settings::is_plain ? 1 : 2;
  out[2] = is_function_constant_defined(settings::is_doubled) ? 1 : 2;
}

kernel void widths(device float* out [[buffer(0)]]) {
  auto bytes = vec<uchar, 3>(7);
  auto truths = metal::vec<bool, 3>(7);
  vec<uchar, 2> pair(5);
  bool4 compared = float4(1, 2, 3, 4) > 2, filled = true;
  auto kept = int4(3) > 2;
  bool4 from_kept = kept;
  out[0] = bytes.x;
  out[1] = truths.y;
  out[2] = pair.y;
  out[3] = compared.z + filled.x + from_kept.y;
}

typedef bool4 Mask;
using Third = metal::vec<bool, 3>;
kernel void masks(device float* out [[buffer(0)]]) {
  Mask above = float4(1, 2, 3, 4) > 2, set(9);
  Third third = Third(5);
  using Pair = bool2;
  Pair pair = float2(0, 7) > 1;
  out[0] = above.x + 10 * above.w + 100 * set.y + 1000 * third.z + 10000 * pair.y;
}

// Temporaries, of the references' types and of others.
struct Adding {
  template <typename T>
  T operator()(const thread T& a, const thread T& b) const { return a + b; }
  static float once(const thread float& a) { return a + 1; }
  float twice(const thread float& a, thread const int& b) { return a + 2 * b; }
};
template <typename T>
struct Kept {
  T value;
  Kept(const thread T& from) : value(from) {}
  T plus(const thread T& more) const { return value + more; }
  void set(const thread T& from) { value = from; }
};
struct Pairs { float a, b; };
float first_of(thread const Pairs& p) { return p.a; }
float lowest(const thread float4& v, thread const float& least) { return max(v.x, least); }
kernel void references(device float* out [[buffer(0)]], device const float* x [[buffer(1)]]) {
  Adding adding;
  Kept<float> kept(x[0] + 1), other(3);
  kept.set(kept.plus(2));
  out[0] = adding(x[0] * 2, 3.0f) + Adding()(1, 2);
  out[1] = Adding::once(4) + adding.twice(x[1] - 1, 3);
  out[2] = kept.value + other.plus(x[2] + 0.5f) + Kept<float>(7).value;
  out[3] = first_of({8}) + first_of(Pairs{9, 1}) + lowest(float4(5), 6);
}

kernel void packed_made(device float* out [[buffer(0)]]) {
  packed_float2 two(1, 2);
  packed_half4 four(3);
  packed_float3 right(4, float2(two)), left(float2(5, 6), 7);
  float3 sum = right + left;
  sum += left;
  sum *= right;
  two = packed_float2(8, two.x);
  out[0] = two.x + two.y;
  out[1] = four.w;
  out[2] = sum.x;
  out[3] = sum.z;
}

kernel void quarters(device float* out [[buffer(0)]], uint n [[quadgroups_per_threadgroup]],
                     uint most [[dispatch_quadgroups_per_threadgroup]],
                     constant float& [[buffer(1)]], uint [[thread_position_in_grid]]) {
  out[0] = n;
  out[1] = most;
}

// One name is a function in a template, and a type in another.
template <float (*F)(float)>
float called(float x) {
  return F(x);
}
template <typename F>
float called_as(F f, float x) {
  return f(x) + float(sizeof(F) > 0);
}
float doubled_once(float x) { return 2 * x; }
struct Tripled {
  float operator()(float x) const { return 3 * x; }
};
kernel void scoped(device float* out [[buffer(0)]]) {
  Tripled tripled;
  out[0] = called<doubled_once>(5);
  out[1] = called_as(tripled, 5);
}

typedef uint32_t u32;
using f16 = half;
constant unsigned int plain_unsigned [[function_constant(30)]];
constant unsigned no_type [[function_constant(31)]];
constant u32 by_typedef [[function_constant(32)]];
constant metal::uint of_metal [[function_constant(33)]];
constant f16 by_alias [[function_constant(34)]];
constant signed char signed_byte [[function_constant(35)]];
constant short int short_one [[function_constant(36)]];
constant bfloat brain [[function_constant(37)]];
constant long int long_one [[function_constant(38)]];
kernel void given(device float* out [[buffer(0)]], device ulong* words [[buffer(1)]]) {
  out[0] = plain_unsigned;
  out[1] = no_type + by_typedef + of_metal;
  out[2] = by_alias;
  out[3] = signed_byte + short_one;
  out[4] = brain;
  words[0] = long_one;
}

// The other argument of the template has a default.
template <typename T, typename U = T>
kernel void copied(device U* out [[buffer(0)]], device const T* x [[buffer(1)]]) {
  out[0] = static_cast<U>(x[0]) + U(sizeof(U));
}
template [[host_name("copied_short")]] kernel void copied<short>(device short*, device const short*);
template [[host_name("copied_int")]] kernel decltype(copied<short, int>) copied<short, int>;

template <size_t... I>
size_t sum_of(index_sequence<I...>) { return (I + ...); }
kernel void sequences(device uint* out [[buffer(0)]]) {
  out[0] = sum_of(make_index_sequence<4>()) + sum_of(index_sequence<10, 20>());
}

namespace own {
typedef float4 wide;
using Mask = metal::bool4;
}  // namespace own
kernel void qualified(device float* out [[buffer(0)]]) {
  own::wide a(1), b = own::wide(2, 3, 4, 5), c[2] = {own::wide(6), b}, d(7);
  own::Mask above = b > 3, set(true);
  for (metal::uint2 range(0, 3); range.x < range.y; range.x++) a += (own::wide)int4(range.x);
  out[0] = a.x + c[0].x + ::metal::float2(10).x + ::own::wide(20).y + d.x;
  out[1] = above.x + 10 * above.w + 100 * set.x;
}
