// What happens to a score between Q K^T and the softmax: caps, biases, masks.
//
// Scores are kept as raw products q . k; the softmax multiplies by `scale` on the way into exp2.
// A rule that is defined on scaled scores therefore works in raw units: caps and biases arrive
// divided by the scale.
#pragma once
#include "../common/constants.h"
#include "../flash/params.h"
#include "ways.h"

// Finite stand-ins for minus infinity. The running maximum starts above a masked score, so that
// exp2 of their difference is zero and no select is needed where a row has seen nothing yet.
constant float masked_score = -1.0e38f;
constant float first_maximum = -1.0e30f;

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
  float scale_log2e;  // log2(e) * scale
  float cap;          // in raw units
  float slope;        // in raw units
  int position;       // key index the lane's first query row stands on
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
};

METAL_FUNC ScoreRule score_rule(constant FlashParams& params, int head, int position, int end) {
  ScoreRule rule;
  rule.scale_log2e = params.scale_log2e;
  rule.cap = params.softcap;
  rule.slope = alibi ? alibi_slope(head, params.Hq) * params.inverse_scale : 0.0f;
  rule.position = position;
  rule.window = params.window;
  rule.end = end;
  return rule;
}
