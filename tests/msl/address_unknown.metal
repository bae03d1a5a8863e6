#include <metal_stdlib>
using namespace metal;
kernel void odd(device const half* in [[buffer(0)]], device float* out [[buffer(1)]],
                device const int* rows [[buffer(2)]], uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_half8x8 a, b;
  simdgroup_float8x8 c(0.0f);
  simdgroup_load(a, in);
  b.thread_elements()[0] = in[rows[lane]];
  b.thread_elements()[1] = in[rows[lane] + 1];
  simdgroup_multiply_accumulate(c, a, b, c);
  simdgroup_store(c, out);
}
