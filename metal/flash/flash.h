// The walk of one simdgroup over the keys: S = Q K^T, online softmax, O = O + P V.
//
// A simdgroup owns 8 R complete query rows, so nothing is ever exchanged with another simdgroup,
// and no barrier stands between key steps. S, P and O are FP32 fragments in registers (P in the
// type of V for the second product); a lane holds two neighbouring columns of each fragment.
//
// Where some row cannot see some key, the values of that key are kept from the product: weight 0
// times NaN would be NaN. Only masked steps pay for it (multiply_seen_values).
#pragma once
#include "../common/finite.h"
#include "../common/row_access.h"
#include "../score_mod/score_rule.h"
#include "keys.h"
#include "queries.h"

// When the accumulated output is multiplied by exp2 of the maximum's growth.
enum Rescale { rescale_always = 0, rescale_when_grown = 1, rescale_past_threshold = 2 };

// Growth, in powers of two, that the third policy lets stand: exponentials then reach 2^8.
constant float rescale_threshold = 8.0f;

// Powers of two by which weights are multiplied before half rounds them: it holds 2^-24 to 2^16,
// and a weight below 2^-24 is not nothing where thousands of keys have it. Float and bfloat hold
// 2^-126.
template <typename T, int RESCALE>
struct WeightPower {
  static constant constexpr int value = 0;
};
template <int RESCALE>
struct WeightPower<half, RESCALE> {
  static constant constexpr int value = RESCALE == rescale_past_threshold ? 7 : 15;
};

// 2^(difference c + power).  Subtract first: folding the scale into either score would lose the
// digits of large ones.
template <int POWER>
METAL_FUNC float weighed(float difference, float scale_log2e) {
  return POWER == 0 ? fast::exp2(difference * scale_log2e)
                    : fast::exp2(difference * scale_log2e + float(POWER));
}

template <int D, int R>
struct RowState {
  Fragment<float> output[R][D / 8];  // [8 R, D], not yet divided by `sum`
  float maximum[R];                  // of the lane's rows, in raw score units
  float sum[R];                      // the lane's share of its rows' sums; both times WeightPower

  METAL_FUNC void clear() {
    ATTN_UNROLL for (short a = 0; a < R; a++) {
      maximum[a] = first_maximum;
      sum[a] = 0.0f;
      ATTN_UNROLL for (short f = 0; f < D / 8; f++)
        output[a][f] = zero_fragment<float>();
    }
  }
};

// S += Q K^T for KEYS keys.  score: [8 R, KEYS]
template <int KEYS, bool CLAMP, typename T, int D, int R, typename Keys, typename Query>
METAL_FUNC void multiply_queries(thread Fragment<float> (&score)[R][KEYS / 8],
                                 thread const Query& query, thread Keys& source, int last) {
  typedef DimensionCut<D, Keys::wide> Cut;
  constexpr int chunk = Keys::template chunk<KEYS>();
  static_assert(KEYS % chunk == 0, "a step is a whole number of chunks");
  ATTN_UNROLL for (short c = 0; c < KEYS; c += chunk) {
    source.template fetch_keys<KEYS>(c, last);
    // The one loop that may stay rolled: every index into registers is independent of it, unless
    // the queries are held there.
#pragma clang loop unroll_count(Query::unrolled_groups)
    for (short g = 0; g < Cut::groups; g++) {
      FragmentGroup<T> left[R];
      ATTN_UNROLL for (short a = 0; a < R; a++)
        query.group(left[a], a, g);
      ATTN_UNROLL for (short i = 0; i < chunk / 8; i++) {
        FragmentGroup<T> right;
        source.template key_fragments<CLAMP>(right, c + i * 8, g, last);
        ATTN_UNROLL for (short j = 0; j < 4; j++) {
          ATTN_UNROLL for (short a = 0; a < R; a++) {
            thread Fragment<float>& s = score[a][c / 8 + i];
            simdgroup_multiply_accumulate(s, left[a].part[j], right.part[j], s);
          }
        }
      }
    }
    ATTN_UNROLL for (short s = 0; s < Cut::singles; s++) {
      Fragment<T> left[R];
      ATTN_UNROLL for (short a = 0; a < R; a++)
        query.single(left[a], a, s);
      ATTN_UNROLL for (short i = 0; i < chunk / 8; i++) {
        Fragment<T> right;
        source.template key_fragment<CLAMP>(right, c + i * 8, Cut::first_single + s * 8, last);
        ATTN_UNROLL for (short a = 0; a < R; a++) {
          thread Fragment<float>& sum = score[a][c / 8 + i];
          simdgroup_multiply_accumulate(sum, left[a], right, sum);
        }
      }
    }
  }
}

// O += P V for KEYS keys that all rows may see, or for which V repeats such a key.
// weight: [8 R, KEYS]
template <int KEYS, bool CLAMP, typename T, int D, int R, typename Keys>
METAL_FUNC void multiply_values(thread RowState<D, R>& rows,
                                thread Fragment<T> (&weight)[R][KEYS / 8], thread Keys& source,
                                int last) {
  typedef DimensionCut<D, Keys::wide> Cut;
  constexpr int chunk = Keys::template chunk<KEYS>();
  ATTN_UNROLL for (short c = 0; c < KEYS; c += chunk) {
    source.template fetch_values<KEYS>(c, last);
    ATTN_UNROLL for (short g = 0; g < Cut::groups; g++) {
      ATTN_UNROLL for (short i = 0; i < chunk / 8; i++) {
        FragmentGroup<T> right;
        source.template value_fragments<CLAMP>(right, c + i * 8, g, last);
        ATTN_UNROLL for (short j = 0; j < 4; j++) {
          ATTN_UNROLL for (short a = 0; a < R; a++) {
            thread Fragment<float>& sum = rows.output[a][g * 4 + j];
            simdgroup_multiply_accumulate(sum, weight[a][c / 8 + i], right.part[j], sum);
          }
        }
      }
    }
    ATTN_UNROLL for (short s = 0; s < Cut::singles; s++) {
      ATTN_UNROLL for (short i = 0; i < chunk / 8; i++) {
        Fragment<T> right;
        source.template value_fragment<CLAMP>(right, c + i * 8, Cut::first_single + s * 8, last);
        ATTN_UNROLL for (short a = 0; a < R; a++) {
          thread Fragment<float>& sum = rows.output[a][Cut::groups * 4 + s];
          simdgroup_multiply_accumulate(sum, weight[a][c / 8 + i], right, sum);
        }
      }
    }
  }
}

// Adds to each row what it sees of KEYS keys' values that are not finite: the product went without.
template <int KEYS, typename T, int D, int R, typename Keys>
METAL_FUNC void add_spoiled_values(thread RowState<D, R>& rows, thread const Keys& source,
                                   thread const ScoreRule& rule, LanePlace place, int key) {
  typedef DimensionCut<D, Keys::wide> Cut;
  ATTN_UNROLL for (short a = 0; a < R; a++) {
    const int at = rule.position + a * 8;
    const int stop = min(min(rule.end - 1, at), key + KEYS - 1);
    for (int j = sliding_window ? max(key, at - rule.window + 1) : key; j <= stop; j++) {
      const device T* row = source.value_row(j - key);
      ATTN_UNROLL for (short g = 0; g < Cut::groups; g++) {
        const device T* from = row + g * 32 + place.column * 4;
        FragmentGroup<T> values;
        value_group(values, read4(from), read4(from + 4));
        ATTN_UNROLL for (short p = 0; p < 4; p++)
          lane_pair(rows.output[a][g * 4 + p]) += not_finite(float2(lane_pair(values.part[p])));
      }
      ATTN_UNROLL for (short s = 0; s < Cut::singles; s++) {
        lane_pair(rows.output[a][Cut::groups * 4 + s]) +=
            not_finite(float2(read2(row + Cut::first_single + s * 8 + place.column)));
      }
    }
  }
}

// O += P V for the 8 keys from `at` on.  weight: [8 R, 8]
template <bool CLAMP, bool CLEAN, typename T, int D, int R, typename Keys>
METAL_FUNC void multiply_eight_values(thread RowState<D, R>& rows, thread Fragment<T> (&weight)[R],
                                      thread const Keys& source, int at, int last) {
  typedef DimensionCut<D, Keys::wide> Cut;
  ATTN_UNROLL for (short g = 0; g < Cut::groups; g++) {
    FragmentGroup<T> right;
    source.template value_fragments<CLAMP>(right, at, g, last);
    if (CLEAN) made_finite<4>(right.part);
    ATTN_UNROLL for (short j = 0; j < 4; j++) {
      ATTN_UNROLL for (short a = 0; a < R; a++) {
        thread Fragment<float>& sum = rows.output[a][g * 4 + j];
        simdgroup_multiply_accumulate(sum, weight[a], right.part[j], sum);
      }
    }
  }
  ATTN_UNROLL for (short s = 0; s < Cut::singles; s++) {
    Fragment<T> right[1];
    source.template value_fragment<CLAMP>(right[0], at, Cut::first_single + s * 8, last);
    if (CLEAN) made_finite<1>(right);
    ATTN_UNROLL for (short a = 0; a < R; a++) {
      thread Fragment<float>& sum = rows.output[a][Cut::groups * 4 + s];
      simdgroup_multiply_accumulate(sum, weight[a], right[0], sum);
    }
  }
}

// Whether the lane holds an element that is not finite of the values of keys [at, stop).
template <typename T, int D, typename Keys>
METAL_FUNC bool values_are_spoiled(thread const Keys& source, LanePlace place, int at, int stop,
                                   int last) {
  typedef DimensionCut<D, Keys::wide> Cut;
  uint largest = 0;
#pragma clang loop unroll(disable)
  for (; at < stop; at += 8) {
    const device T* row = source.value_row(min(at + place.row, last));
    ATTN_UNROLL for (short g = 0; g < Cut::groups; g++) {
      const device T* from = row + g * 32 + place.column * 4;
      FragmentGroup<T> values;
      value_group(values, read4(from), read4(from + 4));
      ATTN_UNROLL for (short j = 0; j < 4; j++)
        largest = max(largest, magnitude_bits(vec<T, 2>(lane_pair(values.part[j]))));
    }
    ATTN_UNROLL for (short s = 0; s < Cut::singles; s++) {
      const device T* from = row + Cut::first_single + s * 8 + place.column;
      largest = max(largest, magnitude_bits(read2(from)));
    }
  }
  return largest >= infinity_bits;
}

// Whether V holds what is not finite in an eight of KEYS keys that some of the simdgroup's rows see
// and others do not: on the diagonal, across the end, and where the windows begin. Asked before
// there are scores, which fill the registers.
template <int KEYS, typename T, int D, int R, typename Keys>
METAL_FUNC bool masked_values_are_spoiled(thread const Keys& source, thread const ScoreRule& rule,
                                          LanePlace place, int key) {
  const int last = rule.end - 1 - key;
  const int low = rule.first_position - key, high = low + 8 * R - 1;
  bool found = values_are_spoiled<T, D>(source, place, max(min(low + 1, last - 6), 0) & ~7,
                                        min(KEYS, min(high, last) + 1), last);
  if (sliding_window) {
    found |= values_are_spoiled<T, D>(source, place, max(low - rule.window + 1, 0) & ~7,
                                      min(KEYS, high - rule.window + 1), last);
  }
  return simd_any(found);
}

// O += P V for KEYS keys of a masked step: eight keys that no row sees are left out, and where V is
// spoiled, values that are not finite go to the rows that see them alone.  weight: [8 R, KEYS]
template <int KEYS, bool CLAMP, typename T, int D, int R, typename Keys>
METAL_FUNC void multiply_seen_values(thread RowState<D, R>& rows,
                                     thread Fragment<T> (&weight)[R][KEYS / 8], thread Keys& source,
                                     thread const ScoreRule& rule, LanePlace place, int key,
                                     bool spoiled) {
  constexpr int chunk = Keys::template chunk<KEYS>();
  const int last = rule.end - 1 - key;
  const int low = rule.first_position, high = low + 8 * R - 1;
  ATTN_UNROLL for (short c = 0; c < KEYS; c += chunk) {
    source.template fetch_values<KEYS>(c, last);
    Fragment<T> part[R];
    if (spoiled) {
#pragma clang loop unroll(disable)
      for (short i = 0; i < chunk / 8; i++) {
        ATTN_UNROLL for (short a = 0; a < R; a++) {
          part[a] = weight[a][c / 8];
          ATTN_UNROLL for (short k = 1; k < chunk / 8; k++)
            if (i == k) lane_pair(part[a]) = lane_pair(weight[a][c / 8 + k]);
        }
        multiply_eight_values<CLAMP, true>(rows, part, source, c + i * 8, last);
      }
      continue;
    }
    ATTN_UNROLL for (short i = 0; i < chunk / 8; i++) {
      if (!rule.sees_any(key + c + i * 8, low, high)) continue;
      ATTN_UNROLL for (short a = 0; a < R; a++)
        part[a] = weight[a][c / 8 + i];
      multiply_eight_values<CLAMP, false>(rows, part, source, c + i * 8, last);
    }
  }
  if (spoiled) add_spoiled_values<KEYS, T>(rows, source, rule, place, key);
}

// Raises row block a's maximum to cover `score`, and shrinks what was accumulated under the old
// one.  score: [8, KEYS]
template <int KEYS, int RESCALE, int D, int R>
METAL_FUNC void raise_maximum(thread RowState<D, R>& rows,
                              thread Fragment<float> (&score)[KEYS / 8], int a, float scale_log2e) {
  float highest = lane_pair(score[0]).x;
  ATTN_UNROLL for (short i = 0; i < KEYS / 8; i++) {
    const float2 s = lane_pair(score[i]);
    highest = max(highest, max(s.x, s.y));
  }
  const float before = rows.maximum[a];
  float now = max(before, row_maximum(highest));
  if (RESCALE == rescale_past_threshold && (now - before) * scale_log2e <= rescale_threshold) {
    now = before;
  }
  if (RESCALE != rescale_always && !simd_any(now > before)) return;
  const float shrink = fast::exp2((before - now) * scale_log2e);
  rows.maximum[a] = now;
  rows.sum[a] *= shrink;
  ATTN_UNROLL for (short f = 0; f < D / 8; f++)
    lane_pair(rows.output[a][f]) *= shrink;
}

// One step of KEYS keys from `key` on. MASK compares keys with the limits of each row; CLAMP also
// keeps every read inside the keys that exist.
template <int KEYS, bool MASK, bool CLAMP, int RESCALE, typename T, int D, int R, typename Keys,
          typename Query>
METAL_FUNC void attend(thread RowState<D, R>& rows, thread const Query& query, thread Keys& source,
                       thread const ScoreRule& rule, LanePlace place, int key) {
  constexpr int power = WeightPower<T, RESCALE>::value;
  const int last = rule.end - 1 - key;
  bool spoiled = false;
  if (MASK && causal) {
    spoiled = masked_values_are_spoiled<KEYS, T, D, R>(source, rule, place, key);
  }
  Fragment<float> score[R][KEYS / 8];
  ATTN_UNROLL for (short a = 0; a < R; a++) {
    ATTN_UNROLL for (short i = 0; i < KEYS / 8; i++)
      score[a][i] = zero_fragment<float>();
  }
  multiply_queries<KEYS, CLAMP, T, D, R>(score, query, source, last);

  Fragment<T> weight[R][KEYS / 8];
  ATTN_UNROLL for (short a = 0; a < R; a++) {
    if (MASK || shapes_scores) {
      const int at = rule.position + a * 8;
      ATTN_UNROLL for (short i = 0; i < KEYS / 8; i++) {
        float2 s = rule.shaped(lane_pair(score[a][i]), key + i * 8 + place.column, at);
        if (MASK) s = rule.masked(s, key + i * 8 + place.column, at);
        lane_pair(score[a][i]) = s;
      }
    }
    raise_maximum<KEYS, RESCALE>(rows, score[a], a, rule.scale_log2e);
    const float maximum = rows.maximum[a];
    float sum = 0.0f;
    ATTN_UNROLL for (short i = 0; i < KEYS / 8; i++) {
      const float2 s = lane_pair(score[a][i]);
      const vec<T, 2> p = vec<T, 2>(T(weighed<power>(s.x - maximum, rule.scale_log2e)),
                                    T(weighed<power>(s.y - maximum, rule.scale_log2e)));
      // Of what was rounded, as the product takes it.
      sum += float(p.x) + float(p.y);
      lane_pair(weight[a][i]) = p;
    }
    rows.sum[a] += sum;
  }
  if (MASK && causal) {
    multiply_seen_values<KEYS, CLAMP, T, D, R>(rows, weight, source, rule, place, key, spoiled);
  } else {
    multiply_values<KEYS, CLAMP, T, D, R>(rows, weight, source, last);
  }
}

// The query positions whose key limits bound a walk: those of the simdgroup, or of its whole
// threadgroup where sources fetch together.
struct PositionSpan {
  int first;
  int last;
};

// All keys in [begin, rule.end) that the span sees. BC-key steps without a mask where every row
// sees every key, with a mask at the window's edge and on the diagonal, and 8-key steps over the
// ragged rest: clamping a whole step would hold a row address for each of its keys.
template <int BC, int RESCALE, typename T, int D, int R, typename Keys, typename Query>
METAL_FUNC void walk(thread RowState<D, R>& rows, thread const Query& query, thread Keys& source,
                     thread const ScoreRule& rule, LanePlace place, PositionSpan span, int begin) {
  int key = begin;
  int stop = rule.end;
  int whole = aligned_keys ? rule.end : begin + (rule.end - begin) / BC * BC;
  int interior = whole;
  if (causal) {
    stop = min(stop, span.last + 1);
    whole = min(whole, max(begin, begin + (stop - begin + BC - 1) / BC * BC));
    interior = min(whole, begin + max(span.first + 1 - begin, 0) / BC * BC);
  }
  if (sliding_window) {
    const int skipped = max(span.first - rule.window + 1 - begin, 0) / BC * BC;
    key += skipped;
    source.advance(skipped);
  }
  source.begin(rule.end - 1 - key);
  if (sliding_window) {
    const int edge = min(whole, span.last - rule.window + 1);
    for (; key < edge; key += BC, source.advance(BC)) {
      attend<BC, true, false, RESCALE, T, D, R>(rows, query, source, rule, place, key);
    }
  }
  for (; key < interior; key += BC, source.advance(BC)) {
    attend<BC, false, false, RESCALE, T, D, R>(rows, query, source, rule, place, key);
  }
  if (causal) {
    for (; key < whole; key += BC, source.advance(BC)) {
      attend<BC, true, false, RESCALE, T, D, R>(rows, query, source, rule, place, key);
    }
  }
  if (!aligned_keys) {
    for (; key < stop; key += 8, source.advance(8)) {
      attend<8, true, true, RESCALE, T, D, R>(rows, query, source, rule, place, key);
    }
  }
}
