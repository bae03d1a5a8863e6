// Caps, biases and masks on a stored score matrix:  S = mask(cap tanh(S / cap) + slope (j - i))
//
// Source: Press et al., "ALiBi", 2022 (arXiv 2108.12409), section 3; the cap as in Gemma 2 (arXiv
// 2408.00118), section 2. The rule is the very one that flash applies in registers (score_rule.h);
// this kernel exists so that fused and separate can be compared on equal work.
//
// Threads  one for two neighbouring keys
// Grid     (ceil(Nkv / 2), Nq, B Hq) threads
// Limits   masked scores become minus infinity
#include <metal_stdlib>

#include "score_rule.h"
using namespace metal;

template <typename T>
[[kernel]] void shape_scores(device T* scores [[buffer(0)]],  // [B, Hq, Nq, Nkv], scaled
                             constant FlashParams& params [[buffer(1)]],
                             uint3 at [[thread_position_in_grid]]) {
  const int key = int(at.x) * 2, query = int(at.y);
  if (key >= params.Nkv || query >= params.Nq) return;
  const int position = query + params.Nkv - params.Nq;
  const ScoreRule rule = score_rule(params, int(at.z) % params.Hq, position, 0, params.Nkv);
  device T* row = scores + (long(at.z) * params.Nq + query) * params.Nkv + key;
  const bool both = key + 1 < params.Nkv;
  float2 score = float2(float(row[0]), both ? float(row[1]) : 0.0f);
  score = rule.masked(rule.shaped(score, key, position), key, position);
  row[0] = T(score.x);
  if (both) row[1] = T(score.y);
}
