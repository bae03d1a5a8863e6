// Three probes of what a device can do at most; times are checked against them.
//
// probe_empty   a dispatch that does nothing: the least time anything takes
// probe_copy    out[i] = in[i], 16 bytes a thread: device memory bandwidth, read plus write
// probe_matrix  eight independent chains of 8x8x8 products a simdgroup: the matrix rate
//
// Threads  probe_copy one 16-byte vector each; probe_matrix 4 simdgroups a threadgroup
// Limits   the matrix probe measures chains in registers; a kernel that loads can only be slower
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;

kernel void probe_empty(device float* out [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  // The condition is never true, but a compiler cannot know, so the binding stays.
  if (i == 0xffffffffu) out[0] = 0.0f;
}

kernel void probe_copy(const device float4* in [[buffer(0)]], device float4* out [[buffer(1)]],
                       uint i [[thread_position_in_grid]]) {
  out[i] = in[i];
}

constant int rounds [[function_constant(0)]];

template <typename T>
METAL_FUNC void matrix_chains(device float* out, uint group) {
  simdgroup_matrix<T, 8, 8> a = make_filled_simdgroup_matrix<T, 8, 8>(T(0.125f));
  simdgroup_matrix<T, 8, 8> b = make_filled_simdgroup_matrix<T, 8, 8>(T(1.0f));
  simdgroup_float8x8 sums[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) sums[j] = make_filled_simdgroup_matrix<float, 8, 8>(float(j));
  for (int i = 0; i < rounds; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) simdgroup_multiply_accumulate(sums[j], a, b, sums[j]);
  }
#pragma unroll
  for (int j = 1; j < 8; ++j) {
    sums[0].thread_elements()[0] += sums[j].thread_elements()[0];
    sums[0].thread_elements()[1] += sums[j].thread_elements()[1];
  }
  simdgroup_store(sums[0], out + group * 64, 8);
}

kernel void probe_matrix_float(device float* out [[buffer(0)]],
                               uint3 group [[threadgroup_position_in_grid]],
                               uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  matrix_chains<float>(out, group.x * 4 + simdgroup);
}

kernel void probe_matrix_half(device float* out [[buffer(0)]],
                              uint3 group [[threadgroup_position_in_grid]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  matrix_chains<half>(out, group.x * 4 + simdgroup);
}
