#include <metal_stdlib>
using namespace metal;
constant float SCALE [[function_constant(0)]];
constant bool NEGATE [[function_constant(1)]];
kernel void scale(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                  constant uint& n [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  if (i < n) y[i] += x[i] * (NEGATE ? -SCALE : SCALE);
}
kernel void sum(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                threadgroup float* tile [[threadgroup(0)]],
                uint lane [[thread_index_in_threadgroup]],
                uint group [[threadgroup_position_in_grid]],
                uint size [[threads_per_threadgroup]]) {
  tile[lane] = x[group * size + lane];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (lane != 0) return;
  float total = 0;
  for (uint i = 0; i < size; ++i) total += tile[i];
  y[group] = total;
}
