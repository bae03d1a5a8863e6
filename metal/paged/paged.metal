// Attention over a paged KV cache, in two phases:
//
//   attend_pages       for each partition p of the keys: m_p = max s, l_p = sum 2^((s - m_p) c),
//                      o_p = sum 2^((s - m_p) c) v
//   reduce_partitions  O = sum 2^((m_p - m) c) o_p / sum 2^((m_p - m) c) l_p,   m = max m_p
//
// Source: Kwon et al., "PagedAttention", SOSP 2023, section 4.1 (block tables); Dao et al., "Flash-
// Decoding", 2023 (partitions joined by log-sum-exp). Derivation: README.md.
//
// Tile     Br query rows of one head, one partition of its keys; the walk is flash.h's
// Threads  Br / ROWS simdgroups; the reduction takes one simdgroup a row
// Grid     (query tiles x partitions, Hq, B), then (Nq, Hq, B); a long problem takes several
//          dispatches of the first, each with some of its slices
// Memory   as flash: no page is ever copied, so the page size costs no threadgroup memory
//
// PAGE = 0 is the contiguous twin: the same kernel over LaneKeys, so that what differs between the
// two is the indirection alone. With one partition no second phase runs.
//
// Limits  PAGE 8, 16, 32, 64 or 128; partitions a multiple of Bc; rows of all pages below 2^31
#include <metal_simdgroup_matrix>
#include <metal_stdlib>

#include "../flash/flash.h"
#include "page_keys.h"
#include "params.h"
using namespace metal;

template <typename T, int D, int PAGE, int BC>
struct CacheSource {
  typedef PageKeys<T, D, PAGE, BC> type;
  // k, v: [P, Hkv, PAGE, D]
  static METAL_FUNC type open(const device T* k, const device T* v, const device int* table,
                              constant PagedParams& params, int sequence, int kv_head, int first,
                              LanePlace place) {
    type source;
    source.keys = k + long(kv_head) * PAGE * D + place.column * D + place.row * 4;
    source.values = v + long(kv_head) * PAGE * D + place.row * D + place.column * 4;
    source.table = table + long(sequence) * params.capacity;
    source.page_rows = params.Hkv * PAGE;
    source.place = place;
    source.first = first;
    return source;
  }
};

template <typename T, int D, int BC>
struct CacheSource<T, D, 0, BC> {
  typedef LaneKeys<T, D> type;
  // k, v: [B, Hkv, capacity, D]
  static METAL_FUNC type open(const device T* k, const device T* v, const device int*,
                              constant PagedParams& params, int sequence, int kv_head, int first,
                              LanePlace place) {
    const long start = (long(sequence) * params.Hkv + kv_head) * params.capacity * D;
    Rotation<T, D> none;
    type source = lane_keys<T, D>(k + start, v + start, place, none);
    source.advance(first);
    return source;
  }
};

template <typename T, int BR, int BC, int D, int ROWS, int PAGE, int QUERY, int RESCALE>
[[kernel]] void attend_pages(
    const device T* q [[buffer(0)]],  // [B, Hq, Nq, D]
    const device T* k [[buffer(1)]],  // pages, or [B, Hkv, capacity, D]
    const device T* v [[buffer(2)]],
    device T* output [[buffer(3)]],  // [B, Hq, Nq, D]; written when not split
    constant PagedParams& params [[buffer(4)]],
    const device int* table [[buffer(5)]],     // [B, capacity]
    const device int* contexts [[buffer(6)]],  // [B]
    device float* partial
    [[buffer(7), function_constant(split_keys)]],  // [B, Hq, Nq, partitions, D]
    device float2* stats
    [[buffer(8), function_constant(split_keys)]],  // [.., partitions] of (m, l)
    uint3 group [[threadgroup_position_in_grid]], uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
  static_assert(D % 8 == 0 && BC % 8 == 0 && BR % ROWS == 0 && ROWS % 8 == 0, "whole fragments");
  constexpr int R = ROWS / 8;
  typedef CacheSource<T, D, PAGE, BC> Source;
  typedef typename Source::type Keys;
  typedef Queries<T, D, R, Keys::wide, QUERY> Query;
  constexpr int tile = QUERY == query_in_threadgroup ? BR * D : 4;
  threadgroup vec<T, 4> memory[tile / 4];

  const int Nq = params.flash.Nq;
  const int slice = params.flash.first_tile + int(group.x);
  const int part = slice % params.partitions;
  const int first_row = slice / params.partitions * BR + int(simdgroup) * ROWS;
  if (!aligned_queries && first_row >= Nq) return;
  const int sequence = int(group.z), head = int(group.y);
  const long query_head = long(sequence) * params.flash.Hq + head;
  const LanePlace place = lane_place(lane);

  const int context = contexts[sequence];
  const int begin = part * params.partition;
  const int end = begin + min(params.partition, context - begin);
  const int offset = context - Nq;
  const QueryRows<T, D, R> from =
      query_rows<T, D, R>(q + query_head * Nq * D, first_row, Nq, offset, place);
  Query query;
  query.start(from,
              reinterpret_cast<threadgroup T*>(memory) +
                  (QUERY == query_in_threadgroup ? int(simdgroup) * ROWS * D : 0),
              lane);
  Keys source =
      Source::open(k, v, table, params, sequence, head / params.flash.group, begin, place);
  const ScoreRule rule = score_rule(params.flash, head, offset + first_row, place.row, end);
  PositionSpan span;
  span.first = offset + first_row;
  span.last = offset + min(first_row + ROWS, Nq) - 1;
  RowState<D, R> rows;
  rows.clear();
  walk<BC, RESCALE, T, D, R>(rows, query, source, rule, place, span, begin);

  ATTN_UNROLL for (short a = 0; a < R; a++) {
    const float sum = row_sum(rows.sum[a]);
    const int row = first_row + a * 8 + place.row;
    if (!aligned_queries && row >= Nq) continue;
    const long at = query_head * Nq + row;
    if (split_keys) {
      const long slot = at * params.partitions + part;
      write_row<float, D, Keys::wide>(partial + slot * D, rows.output[a], 1.0f, place);
      if (place.column == 0) stats[slot] = float2(rows.maximum[a], sum);
    } else {
      const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
      write_row<T, D, Keys::wide>(output + at * D, rows.output[a], inverse, place);
    }
  }
}

template <typename T, int D>
[[kernel]] void reduce_partitions(const device float* partial [[buffer(0)]],  // [.., partitions, D]
                                  const device float2* stats [[buffer(1)]],   // [.., partitions]
                                  device T* output [[buffer(2)]],             // [B, Hq, Nq, D]
                                  constant PagedParams& params [[buffer(3)]],
                                  uint3 group [[threadgroup_position_in_grid]],
                                  uint lane [[thread_index_in_simdgroup]]) {
  const int count = params.partitions;
  const float scale_log2e = params.flash.scale_log2e;
  const long row = (long(group.z) * params.flash.Hq + group.y) * params.flash.Nq + group.x;
  partial += row * count * D;
  stats += row * count;
  float highest = first_maximum;
  for (int p = int(lane); p < count; p += 32) highest = max(highest, stats[p].x);
  highest = simd_max(highest);
  float sum = 0.0f;
  float2 joined[(D / 2 + 31) / 32];
  ATTN_UNROLL for (short i = 0; i < (D / 2 + 31)
    / 32; i++) joined[i] = float2(0.0f);
  for (int p = 0; p < count; p++) {
    const float2 part = stats[p];
    const float weight = fast::exp2((part.x - highest) * scale_log2e);
    sum += weight * part.y;
    ATTN_UNROLL for (short i = 0; i < (D / 2 + 31) / 32; i++) {
      const int d = (int(lane) + i * 32) * 2;
      if (d < D) joined[i] += weight * read2(partial + long(p) * D + d);
    }
  }
  const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
  ATTN_UNROLL for (short i = 0; i < (D / 2 + 31) / 32; i++) {
    const int d = (int(lane) + i * 32) * 2;
    if (d < D)
      write2(output + row * D + d, vec<T, 2>(T(joined[i].x * inverse), T(joined[i].y * inverse)));
  }
}
