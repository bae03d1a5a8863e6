// Rotary position embedding on its own:  y = R(position) x
//
// Source: Su et al., "RoFormer", 2021 (arXiv 2104.09864), section 3.4.2. It exists beside the
// rotation fused into flash (rotation.h) so that the two can be compared on equal work.
//
// Threads  one for 4 pairs: 8 dimensions of a row, read and written once
// Grid     B H N D / 8 threads in one axis
// Limits   D a multiple of 8; positions below the length of the table
#include <metal_stdlib>

#include "../common/constants.h"
using namespace metal;

struct RopeParams {
  int N;      // tokens
  int D;      // dimensions of a head
  uint work;  // B H N D / 8
};

static_assert(sizeof(RopeParams) == 12, "the host packs 12 bytes");

template <typename T>
[[kernel]] void rope_rows(const device T* x [[buffer(0)]],           // [B, H, N, D]
                          device T* y [[buffer(1)]],                 // [B, H, N, D]
                          const device float2* turns [[buffer(2)]],  // [N, D / 2] of (cos, sin)
                          constant RopeParams& params [[buffer(3)]],
                          uint index [[thread_position_in_grid]]) {
  if (index >= params.work) return;
  const int eighths = params.D / 8, half_d = params.D / 2;
  const uint row = index / uint(eighths);
  const int pair = int(index % uint(eighths)) * 4;
  const device float2* turn = turns + long(row % uint(params.N)) * half_d + pair;
  // The four pairs are (first[step j], second[step j]).
  const long start = long(row) * params.D + (rope_interleaved ? 2 * pair : pair);
  const int step = rope_interleaved ? 2 : 1, reach = rope_interleaved ? 1 : half_d;
  for (int j = 0; j < 4; j++) {
    const long at = start + step * j;
    const float a = float(x[at]), b = float(x[at + reach]);
    y[at] = T(a * turn[j].x - b * turn[j].y);
    y[at + reach] = T(b * turn[j].x + a * turn[j].y);
  }
}
