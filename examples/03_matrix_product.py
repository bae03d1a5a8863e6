"""C = A B by 8 x 8 fragments: simdgroup_matrix, what attention on Apple GPUs rests on."""

import attnproto
import numpy as np

TEXT = """
#include <metal_stdlib>
using namespace metal;

constant uint N [[function_constant(0)]];
constant uint K [[function_constant(1)]];

kernel void product(device const half* a [[buffer(0)]], device const half* b [[buffer(1)]],
                    device float* c [[buffer(2)]], uint2 tile [[threadgroup_position_in_grid]]) {
  simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (uint k = 0; k < K; k += 8) {
    simdgroup_half8x8 left, right;
    simdgroup_load(left, a + tile.y * 8 * K + k, K);
    simdgroup_load(right, b + k * N + tile.x * 8, N);
    simdgroup_multiply_accumulate(sum, left, right, sum);
  }
  simdgroup_store(sum, c + tile.y * 8 * N + tile.x * 8, N);
}
"""
M, N, K = 64, 48, 96


def main() -> None:
    """Multiply halves, accumulate floats, and see the bound on the error hold."""
    device = attnproto.open_device("auto")
    random = np.random.default_rng(0)
    a = random.standard_normal((M, K)).astype(np.float16)
    b = random.standard_normal((K, N)).astype(np.float16)
    c = np.full((M, N), np.nan, np.float32)
    device.run(
        device.library(TEXT).pipeline("product", constants={"N": N, "K": K}),
        threadgroups=(N // 8, M // 8),
        threads=32,
        buffers={0: a, 1: b, 2: c},
    )
    a, b = a.astype(np.float64), b.astype(np.float64)
    # K products of FP32, each of half a unit in the last place.
    allowed = K * 2.0**-24 * (np.abs(a) @ np.abs(b))
    assert (np.abs(c - a @ b) <= allowed).all()
    print(f"C[{M}, {N}] = A[{M}, {K}] B[{K}, {N}]")
    print(
        f"worst error {np.abs(c - a @ b).max():.1e}, {(np.abs(c - a @ b) / allowed).max():.2f} "
        "of what K roundings allow"
    )


if __name__ == "__main__":
    main()
