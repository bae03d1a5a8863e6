#include <metal_stdlib>
using namespace metal;
constant int factor [[function_constant(0)]];
kernel void scale(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  x[i] = x[i] * float(factor);
}
kernel void wild(device float* x [[buffer(0)]], constant ulong& far [[buffer(1)]]) {
  x[far] = 1.0f;
}
kernel void forever(device atomic_int* x [[buffer(0)]]) {
  while (atomic_load_explicit(x, memory_order_relaxed) == 0) {
  }
}
kernel void product(device const half* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  simdgroup_half8x8 a, b;
  simdgroup_float8x8 c(0.0f);
  simdgroup_load(a, in);
  simdgroup_load(b, in);
  simdgroup_multiply_accumulate(c, a, b, c);
  simdgroup_store(c, out);
}
kernel void through(device float* x [[buffer(0)]], constant uint& which [[buffer(1)]],
                    visible_function_table<float(float)> table [[buffer(2)]],
                    uint i [[thread_position_in_grid]]) {
  x[i] = table[which](x[i]);
}
[[visible]] float twice(float x) { return 2.0f * x; }
[[visible]] float square(float x) { return x * x; }
