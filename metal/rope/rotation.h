// Rotary position embedding of a row while it is read.
//
//     pair (a, b) at position p, frequency w:  (a cos pw - b sin pw,  b cos pw + a sin pw)
//
// Source: Su et al., "RoFormer", 2021 (arXiv 2104.09864), section 3.4.2. Pair i has frequency
// theta^(-2 i / D). Interleaved pairs are dimensions 2 i, 2 i + 1, as in that paper; half-split
// pairs are i, i + D / 2, as in GPT-NeoX. The sines come from a table made in FP64: computed here,
// a position of 10^5 would cost 10^-2 of an angle in FP32.
#pragma once
#include "../common/constants.h"
#include "../common/row_access.h"

template <typename T, int D>
struct Rotation {
  const device float2* table;  // [positions, D / 2] of (cos, sin); row 0 is position 0

  METAL_FUNC float2 turn(int position, int pair) const {
    return table[long(position) * (D / 2) + pair];
  }

  // Dimensions d .. d + 3 of the row, `at` standing on dimension d, a multiple of 4.
  METAL_FUNC vec<T, 4> four(const device T* at, int d, int position) const {
    const vec<T, 4> own = read4(at);
    const float4 x = float4(own);
    if (rope_interleaved) {
      const float2 first = turn(position, d / 2), second = turn(position, d / 2 + 1);
      return vec<T, 4>(float4(x.x * first.x - x.y * first.y, x.y * first.x + x.x * first.y,
                              x.z * second.x - x.w * second.y, x.w * second.x + x.z * second.y));
    }
    const bool low = d < D / 2;
    const float4 y = float4(read4(low ? at + D / 2 : at - D / 2)) * (low ? -1.0f : 1.0f);
    const int pair = low ? d : d - D / 2;
    float4 rotated;
    ATTN_UNROLL for (short j = 0; j < 4; j++) {
      const float2 angle = turn(position, pair + j);
      rotated[j] = x[j] * angle.x + y[j] * angle.y;
    }
    return vec<T, 4>(rotated);
  }

  // Dimension d alone, `at` standing on it.
  METAL_FUNC T one(const device T* at, int d, int position) const {
    const bool low = rope_interleaved ? d % 2 == 0 : d < D / 2;
    const int reach = rope_interleaved ? 1 : D / 2;
    const float partner = float(low ? at[reach] : at[-reach]);
    const int pair = rope_interleaved ? d / 2 : d % (D / 2);
    const float2 angle = turn(position, pair);
    return T(float(at[0]) * angle.x + (low ? -partner : partner) * angle.y);
  }
};

// Reads that rotate when the variant asks for it.
template <typename T, int D>
METAL_FUNC vec<T, 4> read4(const device T* at, int d, int position,
                           thread const Rotation<T, D>& rotation) {
  return rope ? rotation.four(at, d, position) : read4(at);
}

template <typename T, int D>
METAL_FUNC T read1(const device T* at, int d, int position, thread const Rotation<T, D>& rotation) {
  return rope ? rotation.one(at, d, position) : at[0];
}
