// S = Q K^T, [N, D] by [N, D] transposed: the product that CubeCL's generated kernels compute,
// written by hand at the same geometry (Bc = 8) and with wider tiles. Sizes are constants, as
// CubeCL was given them.
//
// A simdgroup covers 8 rows and Bc columns of S; a threadgroup is one simdgroup. Each 8 x 8 tile
// of Q is loaded once for Bc / 8 products.
// Limits: N a multiple of Bc, D a multiple of 8.
#include <metal_stdlib>
using namespace metal;

template <typename T, int Bc, int N, int D>
kernel void scores(device const T* q [[buffer(0)]],  // [N, D]
                   device const T* k [[buffer(1)]],  // [N, D]
                   device float* s [[buffer(2)]],    // [N, N]
                   uint2 at [[threadgroup_position_in_grid]]) {
  const uint row = at.y * 8, column = at.x * Bc;
  simdgroup_float8x8 sums[Bc / 8];
  for (int j = 0; j < Bc / 8; j++) sums[j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (uint step = 0; step < D; step += 8) {
    simdgroup_matrix<T, 8, 8> a, b;
    simdgroup_load(a, q + row * D + step, D);
    for (int j = 0; j < Bc / 8; j++) {
      simdgroup_load(b, k + (column + j * 8) * D + step, D, 0, true);
      simdgroup_multiply_accumulate(sums[j], a, b, sums[j]);
    }
  }
  for (int j = 0; j < Bc / 8; j++) simdgroup_store(sums[j], s + row * N + column + j * 8, N);
}
