#include <metal_stdlib>
using namespace metal;
kernel void diverged(device const half* in [[buffer(0)]], device float* out [[buffer(1)]],
                     device const int* steps [[buffer(2)]],
                     uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_half8x8 a, b;
  simdgroup_float8x8 c(0.0f);
  simdgroup_load(a, in);
  device const half* at = in;
  for (int i = 0; i < steps[lane]; i++) at += 64;  // each lane ends elsewhere
  simdgroup_load(b, at);
  simdgroup_multiply_accumulate(c, a, b, c);
  simdgroup_store(c, out);
}
