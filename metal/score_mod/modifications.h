// Modifications of a pair of scores, all of one type, so that they can be chosen in any way.
//
//   score    raw products q . k of keys `key` and `key + 1` for the query at position `at`
//   numbers  (cap, slope, window, rate); cap and slope in raw units, window in keys
//
//   scale    s                               only the softmax's own scale
//   alibi    s + slope (j - i)               Press et al., 2022 (arXiv 2108.12409), section 3
//   softcap  cap tanh(s / cap)               Gemma 2 (arXiv 2408.00118), section 2
//   window   s, or masked where j <= i - window
//   custom   softcap, then - slope log2(1 + rate |j - i|): KERPLE's logarithmic kernel (Chi et al.,
//            2022, arXiv 2205.09921, section 4) on capped scores, which no built-in switch offers
#pragma once
// Two texts of the host's may stand in one, and each has this file (registry.py).
#ifndef ATTN_SCORE_MODIFICATIONS
#define ATTN_SCORE_MODIFICATIONS
#include <metal_stdlib>
using namespace metal;

METAL_FUNC float2 distances(int key, int at) {
  return float2(float(key - at), float(key + 1 - at));
}

METAL_FUNC float2 scale_score(float2 score, int, int, float4) { return score; }

METAL_FUNC float2 alibi_score(float2 score, int key, int at, float4 numbers) {
  return score + numbers.y * distances(key, at);
}

METAL_FUNC float2 softcap_score(float2 score, int, int, float4 numbers) {
  const float inverse = 1.0f / numbers.x;
  return numbers.x * float2(precise::tanh(score.x * inverse), precise::tanh(score.y * inverse));
}

METAL_FUNC float2 window_score(float2 score, int key, int at, float4 numbers) {
  const int first = at - int(numbers.z) + 1;
  // As masked_score of score_rule.h.
  return float2(key < first ? -INFINITY : score.x, key + 1 < first ? -INFINITY : score.y);
}

METAL_FUNC float2 distance_score(float2 score, int key, int at, float4 numbers) {
  const float2 far = 1.0f + numbers.w * abs(distances(key, at));
  return score - numbers.y * float2(precise::log2(far.x), precise::log2(far.y));
}

METAL_FUNC float2 custom_score(float2 score, int key, int at, float4 numbers) {
  return distance_score(softcap_score(score, key, at, numbers), key, at, numbers);
}

METAL_FUNC float2 chosen_score(uint choice, float2 score, int key, int at, float4 numbers) {
  switch (choice) {
    case 1:
      return alibi_score(score, key, at, numbers);
    case 2:
      return softcap_score(score, key, at, numbers);
    case 3:
      return window_score(score, key, at, numbers);
    case 4:
      return custom_score(score, key, at, numbers);
    default:
      return scale_score(score, key, at, numbers);
  }
}

#endif
