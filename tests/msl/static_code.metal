#include <metal_stdlib>
using namespace metal;
constant bool twice [[function_constant(3)]];
kernel void product(device const float* a [[buffer(0)]], device float* c [[buffer(1)]],
                    device float* spare [[buffer(2), function_constant(twice)]]) {
  simdgroup_float8x8 x, sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  simdgroup_load(x, a);
  simdgroup_multiply_accumulate(sum, x, x, sum);
  if (twice) simdgroup_multiply_accumulate(sum, sum, x, sum);
  threadgroup_barrier(mem_flags::mem_device);
  simdgroup_store(sum, c);
}
