// Decay of the state, as cumulative sums of log2 factors from each chunk's first token on.
//
// Only differences of sums inside a chunk are ever exponentiated, later minus earlier, so that for
// factors up to 1 no exponential exceeds 1. A difference must hold what the tokens between gave,
// even behind a reset that is 10^5 times larger: a sum is two floats, the second what the first
// rounded away (Dekker, 1971).
#pragma once
#include "../common/constants.h"

// Largest log2 of a factor, and of its inverse. 2^-2048 leaves nothing of the largest float, and
// 256 of them sum to 2^19, far from overflow.
constant float forgets_all = 2048.0f;

template <typename V>
struct GateSum {
  V high;
  V low;
};

// The sum with one more gate: exact in the first addition, then rounded at the size of `low`.
METAL_FUNC GateSum<float> added(GateSum<float> sum, float gate) {
  const float high = sum.high + gate, kept = high - sum.high;
  const float low = sum.low + ((sum.high - (high - kept)) + (gate - kept));
  GateSum<float> result;
  result.high = high + low;
  result.low = low - (result.high - high);
  return result;
}

METAL_FUNC float4 whole(GateSum<float4> sum) { return sum.high + sum.low; }

// Log2 of the decay from just after one token until another.
METAL_FUNC float4 between(GateSum<float4> from, GateSum<float4> until) {
  return (until.high - from.high) + (until.low - from.low);
}

template <int D>
struct Gates {
  const device float* sums;  // [N, 2], or [N, 2, D], of one head; not read when nothing decays

  // Of token t, for 4 dimensions from d on.
  METAL_FUNC GateSum<float4> at(int t, int d) const {
    GateSum<float4> sum;
    sum.high = sum.low = float4(0.0f);
    if (key_gates) {
      const device float* from = sums + long(t) * 2 * D + d;
      sum.high = *reinterpret_cast<const device float4*>(from);
      sum.low = *reinterpret_cast<const device float4*>(from + D);
    } else if (token_gates) {
      const float2 pair = *reinterpret_cast<const device float2*>(sums + long(t) * 2);
      sum.high = float4(pair.x);
      sum.low = float4(pair.y);
    }
    return sum;
  }
};

METAL_FUNC float4 power(float4 x) {
  return float4(fast::exp2(x.x), fast::exp2(x.y), fast::exp2(x.z), fast::exp2(x.w));
}

METAL_FUNC bool decays() { return token_gates || key_gates; }
