// Fragments read from rows of D dimensions, and rows written from fragments.
//
// A product over D may visit the dimensions in any order, provided both operands agree. Inside a
// group of 32 dimensions that freedom turns scattered 2-element reads into vector reads:
//
//   Q K^T  fragment j, contraction index x  <->  dimension 4 x + j
//          a lane reads dimensions 4 row .. 4 row + 3 of keys `column` and `column + 1`
//   P V    fragment j, columns c, c + 1     <->  dimensions 4 c + 2 j, 4 c + 2 j + 1
//          a lane reads, and in the end stores, dimensions 4 column .. 4 column + 7
//
// Dimensions beyond the last whole group form single fragments in plain order. Vector reads want
// rows whose stride is a multiple of 4 elements, which D % 8 == 0 gives.
#pragma once
#include "fragment.h"

// How D is cut: `groups` of 32 dimensions, then `singles` of 8 from dimension `first_single` on.
template <int D, bool WIDE>
struct DimensionCut {
  static constant constexpr int groups = WIDE ? D / 32 : 0;
  static constant constexpr int first_single = groups * 32;
  static constant constexpr int singles = (D - first_single) / 8;
};

// Left operand of Q K^T: `low`, `high` are dimensions 4 column .. 4 column + 7 of the lane's row.
template <typename T>
METAL_FUNC void query_group(thread FragmentGroup<T>& out, vec<T, 4> low, vec<T, 4> high) {
  lane_pair(out.part[0]) = vec<T, 2>(low.x, high.x);
  lane_pair(out.part[1]) = vec<T, 2>(low.y, high.y);
  lane_pair(out.part[2]) = vec<T, 2>(low.z, high.z);
  lane_pair(out.part[3]) = vec<T, 2>(low.w, high.w);
}

// Right operand of Q K^T: dimensions 4 row .. 4 row + 3 of keys `column` and `column + 1`.
template <typename T>
METAL_FUNC void key_group(thread FragmentGroup<T>& out, vec<T, 4> first, vec<T, 4> second) {
  lane_pair(out.part[0]) = vec<T, 2>(first.x, second.x);
  lane_pair(out.part[1]) = vec<T, 2>(first.y, second.y);
  lane_pair(out.part[2]) = vec<T, 2>(first.z, second.z);
  lane_pair(out.part[3]) = vec<T, 2>(first.w, second.w);
}

// Right operand of P V: the same dimensions of the lane's key.
template <typename T>
METAL_FUNC void value_group(thread FragmentGroup<T>& out, vec<T, 4> low, vec<T, 4> high) {
  lane_pair(out.part[0]) = vec<T, 2>(low.x, low.y);
  lane_pair(out.part[1]) = vec<T, 2>(low.z, low.w);
  lane_pair(out.part[2]) = vec<T, 2>(high.x, high.y);
  lane_pair(out.part[3]) = vec<T, 2>(high.z, high.w);
}

template <typename T>
METAL_FUNC vec<T, 4> read4(const device T* at) {
  return *reinterpret_cast<const device vec<T, 4>*>(at);
}

template <typename T>
METAL_FUNC vec<T, 4> read4(const threadgroup T* at) {
  return *reinterpret_cast<const threadgroup vec<T, 4>*>(at);
}

template <typename T>
METAL_FUNC vec<T, 2> read2(const device T* at) {
  return *reinterpret_cast<const device vec<T, 2>*>(at);
}

template <typename T>
METAL_FUNC vec<T, 2> read2(const threadgroup T* at) {
  return *reinterpret_cast<const threadgroup vec<T, 2>*>(at);
}

template <typename T>
METAL_FUNC void write2(device T* at, vec<T, 2> value) {
  *reinterpret_cast<device vec<T, 2>*>(at) = value;
}

template <typename T>
METAL_FUNC void write4(device T* at, vec<T, 4> value) {
  *reinterpret_cast<device vec<T, 4>*>(at) = value;
}

// One row of the output, `scale` times the fragments of its D dimensions.  row: [D]
template <typename T, int D, bool WIDE>
METAL_FUNC void write_row(device T* row, thread Fragment<float> (&output)[D / 8], float scale,
                          LanePlace place) {
  typedef DimensionCut<D, WIDE> Cut;
  ATTN_UNROLL for (short g = 0; g < Cut::groups; g++) {
    float2 part[4];
    ATTN_UNROLL for (short j = 0; j < 4; j++)
      part[j] = lane_pair(output[g * 4 + j]) * scale;
    device T* at = row + g * 32 + place.column * 4;
    write4(at, vec<T, 4>(T(part[0].x), T(part[0].y), T(part[1].x), T(part[1].y)));
    write4(at + 4, vec<T, 4>(T(part[2].x), T(part[2].y), T(part[3].x), T(part[3].y)));
  }
  ATTN_UNROLL for (short s = 0; s < Cut::singles; s++) {
    const float2 part = lane_pair(output[Cut::groups * 4 + s]) * scale;
    write2(row + Cut::first_single + s * 8 + place.column, vec<T, 2>(T(part.x), T(part.y)));
  }
}
