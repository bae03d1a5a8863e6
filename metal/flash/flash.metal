// FlashAttention forward:  O = softmax(scale Q K^T + mask) V
//
// Source: Dao et al., "FlashAttention", NeurIPS 2022, section 3.1 and algorithm 1 (tiling, online
// softmax); Dao, "FlashAttention-2", ICLR 2024, section 3.1 (one division at the end) and 3.3 (rows
// split over warps, nothing shared). Derivation: README.md.
//
// Tile     threadgroup = Br query rows of one head; keys in steps of Bc; all D dimensions at once
// Threads  Br / ROWS simdgroups, each ROWS (8 or 16) complete rows; a row lives in four lanes
// Grid     (ceil(Nq / Br), Hq, B); query tiles last first when causal, the long ones leading; a
// long
//          problem takes several dispatches, each with some of the tiles
// Memory   K and V read in place; Q in threadgroup memory, lane-private; S, P, O in registers
//
// Ladder (axes of the template; no remark here is a measurement on an Apple GPU)
//   1  MatrixKeys, rescale_always   simdgroup_load and the textbook softmax: the plain version
//   2  LaneKeys                     permuted dimensions, 2 line segments a fragment instead of 8
//   3  rescale_when_grown           0.17 of the steps still multiply O on random inputs
//   4  rescale_past_threshold       0.008 of them; weights reach 2^8 before the division
//   5  ROWS = 16                    halves the K and V reads, nearly doubles the live registers
//   6  StagedKeys                   one device read a threadgroup, two barriers a chunk
//   7  StagedKeys, AHEAD            the next chunk in registers while one is multiplied
//
// Limits  D a multiple of 8 up to 512; Br D elements of Q plus a staged chunk within 32768 bytes;
//         1e-20 <= scale <= 1e20; Nq and Nkv up to 2^30
#include <metal_simdgroup_matrix>
#include <metal_stdlib>

#include "flash.h"
using namespace metal;

// KEYS: 0 LaneKeys, 1 MatrixKeys, else the rows of StagedKeys' tile; past keys_ahead it is AHEAD.
enum KeyPath { keys_by_lane = 0, keys_by_matrix = 1, keys_ahead = 1024 };

template <typename T, int D, int KEYS, int THREADS>
struct KeySource {
  static constant constexpr bool ahead = KEYS > keys_ahead;
  static constant constexpr int rows = ahead ? KEYS - keys_ahead : KEYS;
  typedef StagedKeys<T, D, rows, THREADS, ahead> type;
  static constant constexpr int tile = rows * (D + 16 / int(sizeof(T)));
  static METAL_FUNC type open(const device T* k, const device T* v, threadgroup T* at,
                              LanePlace place, Rotation<T, D> rotation, uint thread_index) {
    type source;
    source.keys = k;
    source.values = v;
    source.tile = at;
    source.place = place;
    source.rotation = rotation;
    source.first = 0;
    source.thread_index = int(thread_index);
    return source;
  }
};

template <typename T, int D, int THREADS>
struct KeySource<T, D, keys_by_lane, THREADS> {
  typedef LaneKeys<T, D> type;
  static constant constexpr int tile = 0;
  static METAL_FUNC type open(const device T* k, const device T* v, threadgroup T*, LanePlace place,
                              Rotation<T, D> rotation, uint) {
    return lane_keys<T, D>(k, v, place, rotation);
  }
};

template <typename T, int D, int THREADS>
struct KeySource<T, D, keys_by_matrix, THREADS> {
  typedef MatrixKeys<T, D> type;
  static constant constexpr int tile = 0;
  static METAL_FUNC type open(const device T* k, const device T* v, threadgroup T*, LanePlace place,
                              Rotation<T, D> rotation, uint) {
    type source;
    source.keys = k;
    source.values = v;
    source.place = place;
    source.rotation = rotation;
    source.first = 0;
    return source;
  }
};

template <typename T, int BR, int BC, int D, int ROWS, int KEYS, int QUERY, int RESCALE>
[[kernel]] void flash(const device T* q [[buffer(0)]],  // [B, Hq, Nq, D]
                      const device T* k [[buffer(1)]],  // [B, Hkv, Nkv, D]
                      const device T* v [[buffer(2)]],  // [B, Hkv, Nkv, D]
                      device T* output [[buffer(3)]],   // [B, Hq, Nq, D]
                      constant FlashParams& params [[buffer(4)]],
                      // [positions, D / 2] of (cos, sin), from the first query's position on
                      const device float2* turns [[buffer(5), function_constant(rope)]],
#ifdef ATTN_SCORE_WAY  // score_mod/ways.h
                      constant ScoreNumbers& score_numbers [[buffer(6)]],
#if ATTN_SCORE_WAY == ATTN_SCORE_TABLE
                      visible_function_table<float2(float2, int, int, float4)> score_functions
                      [[buffer(7)]],
#endif
#endif
                      uint3 group [[threadgroup_position_in_grid]],
                      uint simdgroup [[simdgroup_index_in_threadgroup]],
                      uint lane [[thread_index_in_simdgroup]]) {
  static_assert(D % 8 == 0 && BC % 8 == 0 && BR % ROWS == 0 && ROWS % 8 == 0, "whole fragments");
  constexpr int R = ROWS / 8;
  typedef KeySource<T, D, KEYS, BR / ROWS * 32> Source;
  typedef typename Source::type Keys;
  typedef Queries<T, D, R, Keys::wide, QUERY> Query;
  constexpr int query_tile = QUERY == query_in_threadgroup ? BR * D : 0;
  // One array, whatever it holds: nine geometries fill all 32768 bytes with Q alone. Its rows begin
  // on 16 bytes, so that they can be read as whole rows of fragments.
  constexpr int tile = query_tile + Source::tile;
  threadgroup float4 memory[tile > 0 ? tile * int(sizeof(T)) / 16 : 1];
  threadgroup T* shared = reinterpret_cast<threadgroup T*>(memory);

  const int turn = params.first_tile + int(group.x);
  const int tile_row = (causal ? (params.Nq + BR - 1) / BR - 1 - turn : turn) * BR;
  const int first_row = tile_row + int(simdgroup) * ROWS;
  if (!aligned_queries && !Keys::collective && first_row >= params.Nq) return;

  const int head = int(group.y);
  const long query_head = long(group.z) * params.Hq + head;
  const long kv_head = query_head / params.group;
  const LanePlace place = lane_place(lane);

  const int offset = params.Nkv - params.Nq;
  QueryRows<T, D, R> from =
      query_rows<T, D, R>(q + query_head * params.Nq * D, first_row, params.Nq, offset, place);
  if (rope) from.rotation.table = turns + long(max(-offset, 0)) * (D / 2);
  Query query;
  query.start(from, shared + (QUERY == query_in_threadgroup ? int(simdgroup) * ROWS * D : 0), lane);
  const long kv_start = kv_head * params.Nkv * D;
  Keys source = Source::open(k + kv_start, v + kv_start, shared + query_tile, place, from.rotation,
                             simdgroup * 32 + lane);

  ScoreRule rule = score_rule(params, head, offset + first_row, place.row, params.Nkv);
#ifdef ATTN_SCORE_WAY
  rule.way.numbers = float4(score_numbers.cap, alibi_slope(head, params.Hq) * params.inverse_scale,
                            score_numbers.window, score_numbers.rate);
  rule.way.choice = score_numbers.choice;
#if ATTN_SCORE_WAY == ATTN_SCORE_TABLE
  rule.way.functions = score_functions;
#endif
#endif
  PositionSpan span;
  span.first = offset + (Keys::collective ? tile_row : first_row);
  span.last = offset + min(Keys::collective ? tile_row + BR : first_row + ROWS, params.Nq) - 1;
  RowState<D, R> rows;
  rows.clear();
  walk<BC, RESCALE, T, D, R>(rows, query, source, rule, place, span, 0);

  ATTN_UNROLL for (short a = 0; a < R; a++) {
    const float sum = row_sum(rows.sum[a]);
    const int row = first_row + a * 8 + place.row;
    // A row that saw no key is zero; a NaN sum is not zero and stays.
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
    if (aligned_queries || row < params.Nq) {
      write_row<T, D, Keys::wide>(output + (query_head * params.Nq + row) * D, rows.output[a],
                                  inverse, place);
    }
  }
}
