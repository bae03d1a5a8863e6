// S = Q K^T, [N, D] by [N, D] transposed: the product that CubeCL's generated kernels compute,
// written by hand at the same geometry (Bc = 8) and with wider tiles.
//
// A simdgroup covers 8 rows and Bc columns of S; a threadgroup is one simdgroup. Each 8 x 8 tile
// of Q is loaded once for Bc / 8 products.
// Limits: N a multiple of Bc, D a multiple of 8.
#include <metal_stdlib>
using namespace metal;

template <typename T, int Bc>
kernel void scores(device const T* q [[buffer(0)]],            // [N, D]
                   device const T* k [[buffer(1)]],            // [N, D]
                   device float* s [[buffer(2)]],              // [N, N]
                   constant uint2& shape [[buffer(3)]],        // N, D
                   uint2 at [[threadgroup_position_in_grid]]) {
  const uint n = shape.x, d = shape.y, row = at.y * 8, column = at.x * Bc;
  simdgroup_float8x8 sums[Bc / 8];
  for (int j = 0; j < Bc / 8; j++) sums[j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (uint step = 0; step < d; step += 8) {
    simdgroup_matrix<T, 8, 8> a, b;
    simdgroup_load(a, q + row * d + step, d);
    for (int j = 0; j < Bc / 8; j++) {
      simdgroup_load(b, k + (column + j * 8) * d + step, d, 0, true);
      simdgroup_multiply_accumulate(sums[j], a, b, sums[j]);
    }
  }
  for (int j = 0; j < Bc / 8; j++) simdgroup_store(sums[j], s + row * n + column + j * 8, n);
}
