// Linear attention in chunks:  S_t = diag(a_t) S_{t-1} + k_t^T v_t,   o_t = scale q_t S_t
//
// Source: Katharopoulos et al., "Transformers are RNNs", ICML 2020, section 3.3 (the recurrence);
// Yang et al., "Gated Linear Attention", ICML 2024, section 4 (chunks, decay). Derivation:
// README.md.
//
//   chunk_gates  cumulative log2 decay inside each chunk
//   chunk_h      the state before each chunk: sequential over chunks, parallel over its tiles
//   chunk_o      outputs: parallel over all tokens
//
// Tile     chunk_h: 32 x 32 of the state a simdgroup; chunk_o: 8 tokens a simdgroup, 32 a group
// Grid     chunk_gates: a thread a chunk (and key dimension); chunk_h: (D / 32, H, B), D / 32
//          simdgroups; chunk_o: (count / 32, H, B), 4 simdgroups
// Memory   no threadgroup memory and no barrier; states in device memory, FP32
//
// Limits   D 32, 64, 96 or 128; chunks a multiple of 32; a decay beyond a factor of 2^2048 either
// way
//          counts as that
#include <metal_simdgroup_matrix>
#include <metal_stdlib>

#include "chunk_h.h"
#include "chunk_o.h"
using namespace metal;

template <int WIDTH>
[[kernel]] void chunk_gates(const device float* decay
                            [[buffer(0)]],                     // [B, H, N, WIDTH], natural log
                            device float* sums [[buffer(1)]],  // [B, H, N, 2, WIDTH], log2
                            constant LinearParams& params [[buffer(2)]],
                            uint3 at [[thread_position_in_grid]]) {
  const int column = int(at.x % WIDTH);
  const long first = long(at.x / WIDTH) * params.chunk;
  if (first >= params.N) return;
  const long head = (long(at.z) * params.H + at.y) * params.N;
  GateSum<float> sum;
  sum.high = sum.low = 0.0f;
  for (long t = head + first; t < head + min(first + params.chunk, long(params.N)); t++) {
    sum = added(sum, clamp(decay[t * WIDTH + column] * 1.44269504f, -forgets_all, forgets_all));
    sums[t * 2 * WIDTH + column] = sum.high;
    sums[(t * 2 + 1) * WIDTH + column] = sum.low;
  }
}

template <typename T, int D>
[[kernel]] void chunk_h(const device T* k [[buffer(0)]],  // [B, H, N, D]
                        const device T* v [[buffer(1)]],  // [B, H, N, D]
                        // [B, H, N, 2], or [B, H, N, 2, D]
                        const device float* gates [[buffer(2), function_constant(token_gates)]],
                        const device float* key_decay [[buffer(3), function_constant(key_gates)]],
                        device float* state [[buffer(4)]],   // [B, H, D, D], carried
                        device float* total [[buffer(5)]],   // [B, H, D], carried
                        device float* states [[buffer(6)]],  // [B, H, chunks, D, D], before each
                        device float* totals [[buffer(7)]],  // [B, H, chunks, D]
                        constant LinearParams& params [[buffer(8)]],
                        device float* residue [[buffer(9)]],  // [B, H, D, D], carried
                        uint3 group [[threadgroup_position_in_grid]],
                        uint simdgroup [[simdgroup_index_in_threadgroup]],
                        uint lane [[thread_index_in_simdgroup]]) {
  const LanePlace place = lane_place(lane);
  const long head = long(group.z) * params.H + group.y;
  const int key_dimension = int(group.x) * 32, value_dimension = int(simdgroup) * 32;
  const long corner = long(key_dimension) * D + value_dimension;
  const int d = key_dimension + place.row * 4;
  const int chunks = (params.count + params.chunk - 1) / params.chunk;
  const bool counts = normalized && simdgroup == 0 && place.column == 0;
  k += head * params.N * D;
  v += head * params.N * D;
  Gates<D> decay;
  if (token_gates) decay.sums = gates + head * params.N * 2;
  if (key_gates) decay.sums = key_decay + head * params.N * 2 * D;

  StateTile tile, rest;
  rest.read<D>(residue + head * D * D + corner, place);
  tile.read<D>(state + head * D * D + corner, place);
  float4 sum = counts ? read4(total + head * D + d) : float4(0.0f);
  for (int c = 0; c < chunks; c++) {
    const int begin = params.first + c * params.chunk;
    const int last = min(begin + params.chunk, params.N) - 1;
    tile.write<D>(states + (head * chunks + c) * D * D + corner, place);
    if (counts) write4(totals + (head * chunks + c) * D + d, sum);
    if (decays()) {
      const float4 kept = power(whole(decay.at(last, d)));
      tile.shrink(kept);
      rest.shrink(kept);
      sum *= kept;
    }
    absorb<T, D>(tile, rest, sum, k, v, decay, begin, last, key_dimension, value_dimension, place);
  }
  tile.write<D>(state + head * D * D + corner, place);
  rest.write<D>(residue + head * D * D + corner, place);
  if (counts) write4(total + head * D + d, sum);
}

template <typename T, int D>
[[kernel]] void chunk_o(const device T* q [[buffer(0)]],  // [B, H, N, D]
                        const device T* k [[buffer(1)]],  // [B, H, N, D]
                        const device T* v [[buffer(2)]],  // [B, H, N, D]
                        const device float* gates [[buffer(3), function_constant(token_gates)]],
                        const device float* key_decay [[buffer(4), function_constant(key_gates)]],
                        const device float* states [[buffer(5)]],  // [B, H, chunks, D, D]
                        const device float* totals [[buffer(6)]],  // [B, H, chunks, D]
                        device T* output [[buffer(7)]],            // [B, H, N, D]
                        constant LinearParams& params [[buffer(8)]],
                        uint3 group [[threadgroup_position_in_grid]],
                        uint simdgroup [[simdgroup_index_in_threadgroup]],
                        uint lane [[thread_index_in_simdgroup]]) {
  const int row = params.first + int(group.x) * 32 + int(simdgroup) * 8;
  const int end = min(params.first + params.count, params.N);
  if (row >= end) return;
  const long head = long(group.z) * params.H + group.y;
  const int c = (row - params.first) / params.chunk;
  const int begin = params.first + c * params.chunk;
  const long chunk = head * ((params.count + params.chunk - 1) / params.chunk) + c;

  ChunkRows<T, D> rows;
  rows.place = lane_place(lane);
  rows.q = q + head * params.N * D;
  rows.k = k + head * params.N * D;
  rows.v = v + head * params.N * D;
  if (token_gates) rows.gates.sums = gates + head * params.N * 2;
  if (key_gates) rows.gates.sums = key_decay + head * params.N * 2 * D;
  rows.token = min(row + rows.place.row, end - 1);
  rows.weight = 0.0f;
  ATTN_UNROLL for (short f = 0; f < D / 8; f++)
    rows.output[f] = zero_fragment<float>();

  // The chunk's part first: it is small beside the state's, and would be rounded at its size.
  Fragment<float> score;
  // The token before the rows parts every pair: both factors then are at most 1.
  rows.read_queries(row > begin ? row - 1 : -1);
  for (int s = begin; s < row; s += 8) {
    rows.scores(score, s, row - 1, row - 1);
    rows.add_values(score, s, end - 1);
  }
  rows.own_scores(score, row, end);
  rows.add_own_values(score, row, end - 1);
  rows.add_state(states + chunk * D * D, totals + chunk * D);

  const float weight = row_sum(rows.weight);
  if (row + rows.place.row < end) {
    write_row<T, D, true>(output + (head * params.N + rows.token) * D, rows.output,
                          normalized ? 1.0f / weight : params.scale, rows.place);
  }
}
