// Decay of the state, as cumulative sums of log2 factors from each chunk's first token on.
//
// Only differences of sums inside a chunk are ever exponentiated, later minus earlier, so that for
// factors up to 1 no exponential exceeds 1.
#pragma once
#include "../common/constants.h"

template <int D>
struct Gates {
  const device float* sums;  // [N], or [N, D], of one head; not read when nothing decays

  // Of token t, for 4 dimensions from d on.
  METAL_FUNC float4 at(int t, int d) const {
    if (key_gates) return *reinterpret_cast<const device float4*>(sums + long(t) * D + d);
    return token_gates ? float4(sums[t]) : float4(0.0f);
  }

  METAL_FUNC float of_token(int t) const { return token_gates ? sums[t] : 0.0f; }
};

METAL_FUNC float4 power(float4 x) {
  return float4(fast::exp2(x.x), fast::exp2(x.y), fast::exp2(x.z), fast::exp2(x.w));
}

METAL_FUNC bool decays() { return token_gates || key_gates; }
