// Attention, one thread a query row, and the ways to cheat at it. The self-test runs them all:
// the honest way must pass the correctness gate and every other way must fail it.
//
// Threads  cheat: one a row of a head, grid (Nq, Hq); shared: two simdgroups a row of a head
// Limits   float, D at most 64, one batch entry
#include <metal_stdlib>
using namespace metal;

struct CheatParams {
  int heads_per_group;
  int queries;
  int keys;
  int dimensions;
  float scale;
};

// 0 honest, 1 skips the second half of the keys, 2 skips the last row, 3 returns its input,
// 4 writes nothing, 5 also writes past its output, 6 keeps an answer it finds in `memory`. Of
// `shared`: 0 honest, 7 races.
constant int way [[function_constant(0)]];

kernel void cheat(const device float* q [[buffer(0)]], const device float* k [[buffer(1)]],
                  const device float* v [[buffer(2)]], device float* out [[buffer(3)]],
                  constant CheatParams& p [[buffer(4)]], device float* memory [[buffer(5)]],
                  uint2 at [[thread_position_in_grid]], uint2 grid [[threads_per_grid]]) {
  const int row = int(at.x), head = int(at.y), d = p.dimensions;
  const int base = (head * p.queries + row) * d;
  if (way == 4 || (way == 2 && row == p.queries - 1)) return;
  if (way == 3) {
    for (int i = 0; i < d; ++i) out[base + i] = q[base + i];
    return;
  }
  const device float* keys = k + head / p.heads_per_group * p.keys * d;
  const device float* values = v + head / p.heads_per_group * p.keys * d;
  const int seen = way == 1 ? p.keys / 2 : p.keys;
  float sums[64], top = -1e30f, total = 0.0f;
  for (int i = 0; i < d; ++i) sums[i] = 0.0f;
  for (int j = 0; j < seen; ++j) {
    float score = 0.0f;
    for (int i = 0; i < d; ++i) score += q[base + i] * keys[j * d + i];
    score *= p.scale;
    const float higher = max(top, score);
    const float kept = precise::exp(top - higher), weight = precise::exp(score - higher);
    total = total * kept + weight;
    for (int i = 0; i < d; ++i) sums[i] = sums[i] * kept + weight * values[j * d + i];
    top = higher;
  }
  for (int i = 0; i < d; ++i) {
    float result = sums[i] / total;
    if (way == 6) {
      // The first slot says whether an answer is kept; the host starts it at zero.
      if (memory[0] != 0.0f) result = memory[1 + base + i];
      else memory[1 + base + i] = result;
    }
    out[base + i] = result;
  }
  if (way == 5 && row == 0 && head == 0) out[p.queries * int(grid.y) * d] = 0.0f;
}

// The second simdgroup computes, an element a lane; the first writes what it finds of it.
kernel void shared(const device float* q [[buffer(0)]], const device float* k [[buffer(1)]],
                   const device float* v [[buffer(2)]], device float* out [[buffer(3)]],
                   constant CheatParams& p [[buffer(4)]],
                   uint2 group [[threadgroup_position_in_grid]],
                   ushort simdgroup [[simdgroup_index_in_threadgroup]],
                   ushort lane [[thread_index_in_simdgroup]]) {
  threadgroup float results[32];
  const int row = int(group.x), head = int(group.y), d = p.dimensions;
  const int base = (head * p.queries + row) * d, other = head / p.heads_per_group * p.keys * d;
  if (simdgroup == 1 && int(lane) < d) {
    float sum = 0.0f, top = -1e30f, total = 0.0f;
    for (int j = 0; j < p.keys; ++j) {
      float score = 0.0f;
      for (int i = 0; i < d; ++i) score += q[base + i] * k[other + j * d + i];
      score *= p.scale;
      const float higher = max(top, score);
      const float kept = precise::exp(top - higher), weight = precise::exp(score - higher);
      total = total * kept + weight;
      sum = sum * kept + weight * v[other + j * d + int(lane)];
      top = higher;
    }
    results[lane] = sum / total;
  }
  if (way != 7) threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0 && int(lane) < d) out[base + int(lane)] = results[lane];
}
