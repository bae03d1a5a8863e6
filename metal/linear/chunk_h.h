// The state before every chunk:  h <- diag(2^G_last) h + sum_t (k_t 2^(G_last - G_t))^T v_t
//
// A simdgroup owns 32 key dimensions by 32 value dimensions of the state, as 4 x 4 fragments, and
// walks over the tokens 8 at a time. In fragment (a, b) of it, row r is key dimension 4 r + a, and
// columns c, c + 1 are value dimensions 4 c + 2 b, 4 c + 2 b + 1: the orders in which vector reads
// deliver K^T and V (../common/row_access.h).
#pragma once
#include "../common/row_access.h"
#include "gates.h"
#include "params.h"

// Tokens that are summed apart before the state takes them.
constant constexpr int tokens_apart = 16;

struct StateTile {
  Fragment<float> part[4][4];

  // The lane's 8 values of key dimension 4 row + a.  tile: the tile's corner in [D, D]
  template <int D>
  METAL_FUNC void read(const device float* tile, LanePlace place) {
    ATTN_UNROLL for (short a = 0; a < 4; a++) {
      const device float* from = tile + (place.row * 4 + a) * D + place.column * 4;
      FragmentGroup<float> group;
      value_group(group, read4(from), read4(from + 4));
      ATTN_UNROLL for (short b = 0; b < 4; b++)
        part[a][b] = group.part[b];
    }
  }

  template <int D>
  METAL_FUNC void write(device float* tile, LanePlace place) {
    ATTN_UNROLL for (short a = 0; a < 4; a++) {
      device float* to = tile + (place.row * 4 + a) * D + place.column * 4;
      write4(to, float4(lane_pair(part[a][0]), lane_pair(part[a][1])));
      write4(to + 4, float4(lane_pair(part[a][2]), lane_pair(part[a][3])));
    }
  }

  // Adds `other`, which starts from what earlier additions rounded away and ends as what this one
  // did (Kahan's sum).
  METAL_FUNC void add(thread StateTile& other) {
    ATTN_UNROLL for (short a = 0; a < 4; a++) {
      ATTN_UNROLL for (short b = 0; b < 4; b++) {
        const float2 before = lane_pair(part[a][b]), more = lane_pair(other.part[a][b]);
        const float2 after = before + more;
        lane_pair(part[a][b]) = after;
        lane_pair(other.part[a][b]) = more - (after - before);
      }
    }
  }

  // Rows of the state times `factor`, the lane's four key dimensions.
  METAL_FUNC void shrink(float4 factor) {
    ATTN_UNROLL for (short a = 0; a < 4; a++) {
      ATTN_UNROLL for (short b = 0; b < 4; b++)
        lane_pair(part[a][b]) *= factor[a];
    }
  }
};

// Four key dimensions of token t, scaled by its decay until `last`; zero past the last token.
template <typename T, int D>
METAL_FUNC float4 carried_key(const device T* k, thread const Gates<D>& gates, int t, int last,
                              int d) {
  const int token = min(t, last);
  float4 key = float4(read4(k + long(token) * D + d));
  if (decays()) key *= power(between(gates.at(token, d), gates.at(last, d)));
  return t > last ? float4(0.0f) : key;
}

// Adds tokens [begin, last] to the tile, and their keys to `total`, the lane's four dimensions.
// A few at a time are summed apart first, in `added`, which carries what the state is too coarse to
// hold: a state that has grown large would round much of each token away.
template <typename T, int D>
METAL_FUNC void absorb(thread StateTile& state, thread StateTile& added, thread float4& total,
                       const device T* k, const device T* v, thread const Gates<D>& gates,
                       int begin, int last, int key_dimension, int value_dimension,
                       LanePlace place) {
  const int d = key_dimension + place.row * 4;
  float4 sum = float4(0.0f);
  for (int t = begin; t <= last; t += 8) {
    const float4 one = carried_key<T, D>(k, gates, t + place.column, last, d);
    const float4 two = carried_key<T, D>(k, gates, t + place.column + 1, last, d);
    sum += one + two;
    FragmentGroup<float> left, right;
    key_group(left, one, two);
    const int token = min(t + place.row, last);
    const device T* from = v + long(token) * D + value_dimension + place.column * 4;
    value_group(right, float4(read4(from)), float4(read4(from + 4)));
    ATTN_UNROLL for (short a = 0; a < 4; a++) {
      ATTN_UNROLL for (short b = 0; b < 4; b++) {
        thread Fragment<float>& h = added.part[a][b];
        simdgroup_multiply_accumulate(h, left.part[a], right.part[b], h);
      }
    }
    if ((t - begin + 8) % tokens_apart == 0 || t + 8 > last) state.add(added);
  }
  if (normalized) {
    total += float4(row_sum(sum.x), row_sum(sum.y), row_sum(sum.z), row_sum(sum.w));
  }
}
