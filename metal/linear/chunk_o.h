// The outputs of 8 tokens of one chunk:
//
//     o_t = scale ((q_t 2^G_t) h + sum_{s <= t} (q_t . k_s 2^(G_t - G_s)) v_s)
//
// with h the state before the chunk and s running over the chunk only. A simdgroup owns the 8 rows,
// 8 tokens s at a time, exactly as in flash but without a softmax.
#pragma once
#include "../common/finite.h"
#include "../common/row_access.h"
#include "gates.h"
#include "params.h"

template <typename T, int D>
struct ChunkRows {
  const device T* q;  // of one head, [N, D] each
  const device T* k;
  const device T* v;
  Gates<D> gates;
  LanePlace place;
  int token;                           // the lane's row; the last token again past it
  FragmentGroup<float> query[D / 32];  // the lane's dimensions 32 g + 4 column .. + 7
  Fragment<float> output[D / 8];
  float weight;  // the lane's share of its row's weights

  // Dimensions 32 g .. 32 g + 31 of Q of the rows, times 2^(G_t - G_from); G before the chunk is 0.
  METAL_FUNC void read_queries(thread FragmentGroup<float>& group, short g, int from) {
    const int d = g * 32 + place.column * 4;
    const device T* at = q + long(token) * D + d;
    float4 low = float4(read4(at)), high = float4(read4(at + 4));
    if (decays()) {
      const GateSum<float4> before = gates.at(token, d), after = gates.at(token, d + 4);
      low *= power(from < 0 ? whole(before) : between(gates.at(from, d), before));
      high *= power(from < 0 ? whole(after) : between(gates.at(from, d + 4), after));
    }
    query_group(group, low, high);
  }

  METAL_FUNC void read_queries(int from) {
    ATTN_UNROLL for (short g = 0; g < D / 32; g++)
      read_queries(query[g], g, from);
  }

  // What came before the chunk.  h: [D, D], z: [D]
  // Each 8 terms are summed apart: added to a sum of D terms one by one, they would be rounded at
  // its size. The loop stays a loop: unrolled, a compiler moves the additions, which only rows
  // before `end` need, past the last product, and every part waits in registers until then.
  METAL_FUNC void add_state(const device float* h, const device float* z) {
    _Pragma("clang loop unroll(disable)") for (short g = 0; g < D / 32; g++) {
      FragmentGroup<float> left;
      read_queries(left, g, -1);
      ATTN_UNROLL for (short i = 0; i < 4; i++) {
        const device float* row = h + (g * 32 + place.row * 4 + i) * D + place.column * 4;
        ATTN_UNROLL for (short w = 0; w < D / 32; w++) {
          FragmentGroup<float> right;
          value_group(right, read4(row + w * 32), read4(row + w * 32 + 4));
          ATTN_UNROLL for (short j = 0; j < 4; j++) {
            Fragment<float> part;
            simdgroup_multiply(part, left.part[i], right.part[j]);
            lane_pair(output[w * 4 + j]) += lane_pair(part);
          }
        }
        if (!normalized) continue;
        const device float* dimension = z + g * 32 + place.column * 4 + i;
        const float2 pair = lane_pair(left.part[i]);
        weight += pair.x * dimension[0] + pair.y * dimension[4];
      }
    }
  }

  // Products with tokens s .. s + 7, decayed from `from` on backwards; none may lie after it.
  METAL_FUNC void scores(thread Fragment<float>& out, int s, int from, int last) {
    out = zero_fragment<float>();
    ATTN_UNROLL for (short g = 0; g < D / 32; g++) {
      const int d = g * 32 + place.row * 4;
      const device T* at = k + d;
      float4 one = float4(read4(at + long(min(s + place.column, last)) * D));
      float4 two = float4(read4(at + long(min(s + place.column + 1, last)) * D));
      if (decays()) {
        const GateSum<float4> until = gates.at(from, d);
        one *= power(between(gates.at(s + place.column, d), until));
        two *= power(between(gates.at(s + place.column + 1, d), until));
      }
      FragmentGroup<float> right;
      key_group(right, one, two);
      ATTN_UNROLL for (short j = 0; j < 4; j++) {
        simdgroup_multiply_accumulate(out, query[g].part[j], right.part[j], out);
      }
    }
  }

  // Products of the rows with themselves, each with itself and what came before.
  METAL_FUNC void own_scores(thread Fragment<float>& out, int first, int end) {
    if (decays()) return own_decayed_scores(out, first, end);
    scores(out, first, first, end - 1);
    if (place.column > place.row) lane_pair(out).x = 0.0f;
    if (place.column + 1 > place.row) lane_pair(out).y = 0.0f;
  }

  // Decay between the rows straddles every point at which its factor could be split, so each lane
  // sums its two products with the decay between the two tokens itself.
  METAL_FUNC void own_decayed_scores(thread Fragment<float>& out, int first, int end) {
    float2 sum = float2(0.0f);
    const int one = first + place.column, row = first + place.row;
    for (int j = 0; j < 2; j++) {
      const int s = one + j;
      if (s > row || s >= end || row >= end) continue;
      float4 parts = float4(0.0f);
      for (int d = 0; d < D; d += 4) {
        float4 product = float4(read4(q + long(row) * D + d)) * float4(read4(k + long(s) * D + d));
        product *= power(between(gates.at(s, d), gates.at(row, d)));
        parts += product;
      }
      sum[j] = parts.x + parts.y + parts.z + parts.w;
    }
    lane_pair(out) = sum;
  }

  METAL_FUNC void add_values(thread Fragment<float>& score, int s, int last) {
    const float2 pair = lane_pair(score);
    weight += pair.x + pair.y;
    const device T* row = v + long(min(s + place.row, last)) * D + place.column * 4;
    ATTN_UNROLL for (short w = 0; w < D / 32; w++) {
      FragmentGroup<float> right;
      value_group(right, float4(read4(row + w * 32)), float4(read4(row + w * 32 + 4)));
      ATTN_UNROLL for (short j = 0; j < 4; j++) {
        thread Fragment<float>& o = output[w * 4 + j];
        simdgroup_multiply_accumulate(o, score, right.part[j], o);
      }
    }
  }

  // Of the rows' own tokens, from `first` on: those that are not finite reach no row before theirs,
  // which the product's weight 0 would let through.
  METAL_FUNC void add_own_values(thread Fragment<float>& score, int first, int last) {
    const float2 pair = lane_pair(score);
    weight += pair.x + pair.y;
    const device T* row = v + long(min(first + place.row, last)) * D + place.column * 4;
    bool spoiled = false;
    ATTN_UNROLL for (short w = 0; w < D / 32; w++) {
      FragmentGroup<float> right;
      value_group(right, float4(read4(row + w * 32)), float4(read4(row + w * 32 + 4)));
      spoiled |= made_finite<4>(right.part);
      ATTN_UNROLL for (short j = 0; j < 4; j++) {
        thread Fragment<float>& o = output[w * 4 + j];
        simdgroup_multiply_accumulate(o, score, right.part[j], o);
      }
    }
    if (!simd_any(spoiled)) return;
    for (int t = first; t <= token; t++) {
      const device T* from = v + long(t) * D + place.column * 4;
      ATTN_UNROLL for (short w = 0; w < D / 32; w++) {
        FragmentGroup<float> values;
        value_group(values, float4(read4(from + w * 32)), float4(read4(from + w * 32 + 4)));
        ATTN_UNROLL for (short j = 0; j < 4; j++) lane_pair(output[w * 4 + j]) +=
            not_finite(lane_pair(values.part[j]));
      }
    }
  }
};
