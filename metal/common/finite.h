// NaN and infinity kept out of a product in which they would meet weight 0, and handed to the rows
// that should have them.
#pragma once
#include "fragment.h"
using namespace metal;

constant uint infinity_bits = 0x7f800000;

// The larger magnitude of two elements as a float's bits, which are in order: from those of infinity
// on it is not finite.
template <typename T>
METAL_FUNC uint magnitude_bits(vec<T, 2> pair) {
  const uint2 bits = as_type<uint2>(float2(pair)) & 0x7fffffffu;
  return max(bits.x, bits.y);
}

// Puts 0 where an element of the lane is not finite, and returns whether one was not. Without a
// branch: lanes would part at every fragment.
template <int COUNT, typename T>
METAL_FUNC bool made_finite(thread Fragment<T> (&part)[COUNT]) {
  bool all_whole = true;
  ATTN_UNROLL for (short j = 0; j < COUNT; j++) {
    thread vec<T, 2>& pair = lane_pair(part[j]);
    const bool2 whole = isfinite(float2(pair));
    pair = vec<T, 2>(whole.x ? pair.x : T(0.0f), whole.y ? pair.y : T(0.0f));
    all_whole = all_whole & whole.x & whole.y;
  }
  return !all_whole;
}

// What is not finite, and 0 in place of the rest.
METAL_FUNC float2 not_finite(float2 pair) {
  const bool2 whole = isfinite(pair);
  return float2(whole.x ? 0.0f : pair.x, whole.y ? 0.0f : pair.y);
}
