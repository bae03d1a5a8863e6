#include <metal_stdlib>
using namespace metal;
typedef simdgroup_float8x8 M;
kernel void once(device const half* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  simdgroup_half8x8 a, b;
  M c(1.0f);
  simdgroup_load(a, in);
  simdgroup_load(b, in + 64);
  simdgroup_multiply_accumulate(c, a, b, c);
  simdgroup_multiply_accumulate(c, b, a, c);
  simdgroup_store(c, out);
}
kernel void loop(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                 constant int& n [[buffer(2)]], uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float shared[32];
  M a, sum(0.0f);
  for (int i = 0; i < n; i++) {
    simdgroup_load(a, in + 64 * i);
    simdgroup_multiply_accumulate(sum, a, a, sum);
    if (sum.thread_elements()[0] > 0) shared[lane] = simd_sum(sum.thread_elements()[1]);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  simdgroup_store(sum, out);
  out[64 + lane] = shared[lane ^ 1];
}
kernel void functions(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                      device atomic_int* count [[buffer(2)]],
                      threadgroup float* kept [[threadgroup(0)]],
                      uint i [[thread_position_in_grid]], uint n [[threads_per_threadgroup]],
                      uint t [[thread_position_in_threadgroup]]) {
  float x = in[i];
  kept[t] = x;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  device float* o = out + 6 * i;
  o[0] = exp(x);
  o[1] = 1.0f / x;
  o[2] = kept[(t + 37) % n];
  o[3] = log2(abs(x)) + sin(x);
  o[4] = x > 0 ? simd_prefix_inclusive_sum(x) : simd_max(x);
  o[5] = float(half(x) * half(1.5)) + float(bfloat(x));
  atomic_fetch_add_explicit(count, int(x > 0), memory_order_relaxed);
}
