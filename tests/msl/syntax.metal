// Syntax of MSL that C++ for OpenCL writes otherwise or not at all.
#include <metal_stdlib>
using namespace metal;

#define SMALLER(a, b) ((a) < (b) ? (a) : (b))

extern "C" struct Count {
  uint n;
};
constant int start [[function_constant(010)]];
constant constexpr int stride [[function_constant(4 + 5)]];

template <int N>
struct Table {
  static constant constexpr const float values[2] = {1, 2};
};
template <>
struct Table<3> {
  static constant constexpr const float values[2] = {3, 4};
};
constant constexpr const float Table<3>::values[2];

struct Meter {
  float read(float x) const;
  float scale;
};
float Meter::read(float x) const { return scale * x; }

static float twice(float x) { return 2 * x; }
template <float (*op)(float)>
static float applied(float x) {
  return op(x);
}
template <typename T>
static void fill(device const T* from, thread float& to) {
  to = from[0];
}
template <typename B, void (*get)(device const B*, thread float&)>
kernel void got(device float* out [[buffer(0)]], device const B* in [[buffer(1)]]) {
  float value;
  get(in, value);
  out[0] = value;
}
typedef decltype(got<int, fill>) got_t;
template [[host_name("got_int")]] kernel got_t got<int, fill>;
template [[host_name("got_half")]] [[kernel]] decltype(got<half, fill>) got<half, fill>;

namespace inner {
struct Local {
  float x;
};
template <typename T>
kernel void put(device T* out [[buffer(0)]]) {
  out[0].x = 6;
}
template [[host_name("put_local")]] [[kernel]] void put<Local>(device Local* out [[buffer(0)]]);
}  // namespace inner

template <typename T>
kernel void deduced(device T* out [[buffer(0)]], constant T& value [[buffer(1)]]) {
  out[0] = value + 1;
}
template [[host_name("deduced_int")]] [[kernel]] void deduced(device int* out [[buffer(0)]],
                                                              const constant int& value
                                                              [[buffer(1)]]);

static int read(constant int& n) { return n; }

kernel void declarations(device float* out [[buffer(0)]], constant void* raw [[buffer(1)]],
                         const constant int& größe [[buffer(2)]],
                         constant Count& count [[buffer(3)]]) {
  thread const device float* p[2];
  p[0] = out;
  p[1] = out + 1;
  Meter meter;
  meter.scale = 10;
  vec<bool, 3> flags = {true, größe > 100, größe > 3};
  float total = 0;
#pragma unroll(SMALLER(4, 2))
  for (int i = 0; i < 4; ++i) total += 1;
  out[2] = p[1][0] + float(*(constant uint*)raw);
  out[3] = read(größe) + start + stride;
  out[4] = Table<3>::values[1] + Table<2>::values[1];
  out[5] = meter.read(2) + applied<twice>(4);
  out[6] = (flags[0] ? 1 : 0) + (flags[1] ? 2 : 0) + (flags[2] ? 4 : 0);
  out[7] = total + count.n;
}

kernel void started(device float* out [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  threadgroup __attribute__((aligned(32))) float zeros[8] = {0};
  alignas(16) threadgroup float values[4] = {5, 6, 7};
  zeros[i] += float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = zeros[7 - i] + values[i % 4] + 100 * float(((ulong)(threadgroup char*)zeros) % 32);
}
