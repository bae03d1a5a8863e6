// NaN and infinity kept out of a product in which they would meet weight 0, and handed to the rows
// that should have them.
#pragma once
#include <metal_stdlib>
using namespace metal;

// Puts 0 where an element is not finite, and returns whether one was not.
template <typename T>
METAL_FUNC bool made_finite(thread vec<T, 2>& pair) {
  const bool2 whole = isfinite(float2(pair));
  if (!whole.x) pair.x = T(0.0f);
  if (!whole.y) pair.y = T(0.0f);
  return !(whole.x && whole.y);
}

// What is not finite, and 0 in place of the rest.
METAL_FUNC float2 not_finite(float2 pair) {
  const bool2 whole = isfinite(pair);
  return float2(whole.x ? 0.0f : pair.x, whole.y ? 0.0f : pair.y);
}
