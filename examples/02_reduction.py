"""Sums over rows: a simdgroup adds with simd_sum, threadgroup memory joins the simdgroups."""

import attnproto
import numpy as np

TEXT = """
#include <metal_stdlib>
using namespace metal;

kernel void row_sums(device const float* x [[buffer(0)]], device float* sums [[buffer(1)]],
                     constant uint& n [[buffer(2)]], uint row [[threadgroup_position_in_grid]],
                     uint thread_index [[thread_index_in_threadgroup]],
                     uint threads [[threads_per_threadgroup]],
                     uint lane [[thread_index_in_simdgroup]],
                     uint simdgroup [[simdgroup_index_in_threadgroup]],
                     uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[32];
  float sum = 0;
  for (uint i = thread_index; i < n; i += threads) sum += x[row * n + i];
  sum = simd_sum(sum);
  if (lane == 0) partial[simdgroup] = sum;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    sum = simd_sum(lane < simdgroups ? partial[lane] : 0.0f);
    if (lane == 0) sums[row] = sum;
  }
}
"""


def main() -> None:
    """Add the rows of a matrix up and compare with FP64."""
    device = attnproto.open_device("auto")
    x = np.random.default_rng(0).standard_normal((37, 1003), np.float32)
    sums = np.full(len(x), np.nan, np.float32)
    device.run(
        device.library(TEXT).pipeline("row_sums"),
        threadgroups=len(x),
        threads=128,
        buffers={0: x, 1: sums, 2: np.uint32(x.shape[1])},
    )
    error = np.abs(sums - x.sum(axis=1, dtype=np.float64)).max()
    assert error < 1e-4
    print(f"{len(x)} rows of {x.shape[1]}: at most {error:.1e} from FP64")


if __name__ == "__main__":
    main()
