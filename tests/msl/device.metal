#include <metal_stdlib>
using namespace metal;
constant int kAdd [[function_constant(0)]];
constant bool kDouble [[function_constant(1)]];
struct Params { uint n; float scale; };
kernel void affine(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                   constant Params& p [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  if (i < p.n) y[i] = x[i] * p.scale * (kDouble ? 2.0 : 1.0) + kAdd;
}
kernel void increment(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] += 1.0f;
}
kernel void halve(device const bfloat* x [[buffer(0)]], device bfloat* y [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  y[i] = bfloat(float(x[i]) * 0.5f);
}
kernel void stage(device float* y [[buffer(0)]], threadgroup float* shared [[threadgroup(0)]],
                  uint i [[thread_position_in_threadgroup]],
                  uint n [[threads_per_threadgroup]]) {
  threadgroup float fixed[256];
  shared[i] = float(i);
  fixed[i] = 1.0f;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = shared[n - 1 - i] + fixed[i];
}
kernel void greedy(device float* y [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  threadgroup float big[8193];
  big[i] = y[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = big[8192 - i];
}
