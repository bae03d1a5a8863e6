// What happens to a score between Q K^T and the softmax: caps, biases, masks.
//
// Scores are kept as raw products q . k; the softmax multiplies by `scale` on the way into exp2.
// A rule that is defined on scaled scores therefore works in raw units: caps and biases arrive
// divided by the scale.
#pragma once
#include "../common/constants.h"
#include "../flash/params.h"
#include "ways.h"

// A masked score is minus infinity, and the running maximum starts at the lowest finite number,
// which no finite score lies below: their difference is minus infinity and its exp2 zero, without a
// select where a row has seen nothing yet. A maximum of minus infinity would make that difference
// NaN.
constant float masked_score = -INFINITY;
constant float first_maximum = -FLT_MAX;

// Slope of a head: 2^(-8 (h + 1) / n) for the n heads of the largest power of two, and every other
// slope of 2 n heads for the rest (Press et al., 2022, arXiv 2108.12409, and its released code).
METAL_FUNC float alibi_slope(int head, int heads) {
  const int whole = 1 << (31 - int(clz(uint(heads))));
  const float step = head < whole ? 8.0f * float(head + 1) / float(whole)
                                  : 4.0f * float(2 * (head - whole) + 1) / float(whole);
  return precise::exp2(-step);
}

// Whether scores change beyond masks.
#ifdef ATTN_SCORE_WAY
constant constexpr bool shapes_scores = true;
#else
constant bool shapes_scores = softcap || alibi;
#endif

struct ScoreRule {
  float scale_log2e;   // log2(e) * scale
  float cap;           // in raw units
  float slope;         // in raw units
  int first_position;  // key index the simdgroup's first query row stands on: alike in all lanes
  int position;        // and the lane's first query row
  int window;
  int end;  // keys from here on do not exist
#ifdef ATTN_SCORE_WAY
  ScoreWay way;
#endif

  // The two neighbouring scores of keys `key` and `key + 1` for the query at `at`.
  METAL_FUNC float2 shaped(float2 score, int key, int at) const {
    if (softcap) {
      const float inverse = 1.0f / cap;
      score = cap * float2(precise::tanh(score.x * inverse), precise::tanh(score.y * inverse));
    }
    if (alibi) score += slope * float2(float(key - at), float(key + 1 - at));
#ifdef ATTN_SCORE_WAY
    score = way.modified(score, key, at);
#endif
    return score;
  }

  METAL_FUNC float2 masked(float2 score, int key, int at) const {
    const int last = causal ? min(end - 1, at) : end - 1;
    if (key > last) score.x = masked_score;
    if (key + 1 > last) score.y = masked_score;
    if (sliding_window) {
      const int first = at - window + 1;
      if (key < first) score.x = masked_score;
      if (key + 1 < first) score.y = masked_score;
    }
    return score;
  }

  // Whether one of keys [key, key + 8) is seen by one of the queries at [low, high].
  METAL_FUNC bool sees_any(int key, int low, int high) const {
    return key <= min(end - 1, high) && (!sliding_window || key + 7 > low - window);
  }
};

// `row`: of the lane's first query, from the simdgroup's first on.
METAL_FUNC ScoreRule score_rule(constant FlashParams& params, int head, int first_position, int row,
                                int end) {
  ScoreRule rule;
  rule.scale_log2e = params.scale_log2e;
  rule.cap = params.softcap;
  rule.slope = alibi ? alibi_slope(head, params.Hq) * params.inverse_scale : 0.0f;
  rule.first_position = first_position;
  rule.position = first_position + row;
  // More keys than there are is all of them, and positions minus it stay within 32 bits.
  rule.window = min(params.window, end);
  rule.end = end;
  return rule;
}
