// Names that other people's kernels use.
#include <metal_stdlib>
#include <metal_logging>
using namespace metal;
template <typename T> constexpr int width() { return vec_elements<T>::value; }
template <typename T>
constexpr constant bool word = _disjunction<is_same<T, int>, is_same<T, uint>>::value;
template <typename T> T tenth(T x) { return x * 0.1 + T(.5) - 1. * T(1e-1) + T(0x1p-2); }
// The library's own dot is the better match where both take vectors, as in Metal.
template <typename T> inline float dot(T a, T b) { return -1; }
static_assert(is_void<void>::value && is_array<int[2]>::value && !is_class<float>::value, "");
static_assert(is_scalar<half>::value && is_fundamental<bfloat>::value && is_union_v<int> == 0, "");
static_assert(is_same<common_type_t<float, float4>, float4>::value, "");
static_assert(is_same<remove_extent_t<half[3]>, half>::value, "");
static_assert(is_same_v<add_const_t<int>, const int>, "");
static_assert(numeric_limits<metal::ushort>::max() == USHRT_MAX, "");
static_assert(numeric_limits<int>::digits == 31 && numeric_limits<half>::digits10 == 3, "");
static_assert(_conjunction<is_integral<int>, _negation<is_integral<half>>>::value, "");
constant os_log logger("kernels", "tests");

kernel void names(device float* x [[buffer(0)]], device half* h [[buffer(1)]],
                  device bfloat* b [[buffer(2)]], device int* n [[buffer(3)]],
                  device metal::packed_float3* p [[buffer(4)]],
                  device packed_half3* q [[buffer(5)]],
                  constant packed_float3& fixed [[buffer(6)]]) {
  x[0] = tenth(x[8]);
  h[0] = tenth(h[8]);
  b[0] = tenth(b[8]);
  float4 v = tenth(float4(x[8], x[9], x[10], x[11]));
  x[1] = v.y;
  n[0] = width<float4>() + 10 * width<half>() + 100 * width<uchar2>();
  n[1] = word<int> + 2 * word<float> + 4 * word<uint>;
  n[2] = is_same<metal::nullptr_t, decltype(nullptr)>::value;
  n[3] = isordered(x[8], x[9]) + 2 * isordered(x[8], NAN) + 4 * isunordered(NAN, x[8]) +
         8 * isunordered(float2(NAN, 1), float2(1, 1)).x + 16 * isordered(float2(NAN, 1), 1.0f).y;
  assert(n[0] > 0);
  x[2] = dot(v, v) > 0 ? faceforward(v, v, -v).x / v.x : 0;
  x[3] = distance_squared(float2(1, 2), float2(4, 6));
  x[4] = refract(float2(0.6f, -0.8f), float2(0, 1), 1.5f).y;
  p[0] = metal::packed_float3(metal::float3(1, 2, 3));
  p[0] += p[1];
  p[0] *= 2.0f;
  p[2] = p[0] + p[1] - float3(1) * p[1] / 2.0f;
  p[3] = fixed;
  p[3] -= float3(1, 1, 1);
  packed_float3 copy = fixed;
  p[4] = -copy;
  x[5] = dot(p[1], float3(copy)) + length(fixed) + max(p[1], 2.5f).x + cross(p[1], p[3])[2];
  q[0] = packed_half3(half3(p[1]));
  packed_float2 two = float2(x[8], x[9]) * 2.0f;
  x[6] = two.x + two[1];
  n[4] = all(p[1] == p[1]) + 2 * any(p[1] != p[1]);
  os_log_default.log("the number %d and %f", n[0], x[0]);
  logger.log_error("nothing");
  x[7] = clamp(v, 0.25f, 0.5f).x + mix(v, v + 1.0f, 0.5f).y + step(0.5f, v).z + min(v, 0.1f).x +
         smoothstep(0.0f, 1.0f, v).w + max(0.75f, v).x + select(v, -v, true).x +
         fmax3(v, 0.1f, 2.0f).w;
}

kernel void ordered(device atomic_ulong* most [[buffer(0)]],
                    device atomic_ulong* least [[buffer(1)]],
                    volatile coherent(system) device uint* seen [[buffer(2)]],
                    coherent(device) device uint* more [[buffer(3)]],
                    uint i [[thread_position_in_grid]]) {
  atomic_max_explicit(most, (ulong(i) << 33) + 5, memory_order_relaxed);
  atomic_min_explicit(least, (ulong(i) << 33) + 5, memory_order_relaxed);
  seen[i] = i;
  atomic_thread_fence(mem_flags::mem_device, memory_order_seq_cst, static_cast<thread_scope>(3));
  atomic_thread_fence(mem_flags::mem_device, memory_order_acq_rel, thread_scope_device);
  atomic_thread_fence(mem_flags::mem_threadgroup, memory_order_relaxed);
  more[i] = seen[i] + 1;
}
