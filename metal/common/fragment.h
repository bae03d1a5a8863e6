// The 8x8 matrix of a simdgroup, as its 32 lanes hold it.
//
// Lane l keeps two neighbours of one row, (row, column) and (row, column + 1):
//
//     quad = l / 4,   row = (quad & 4) + (l / 2) % 4,   column = (quad & 2) * 2 + (l % 2) * 2
//
// so the four lanes of a row differ in bits 0 and 3 of l, and two exchanges (xor 1, xor 8) reduce
// a row. The kernels read and write fragments through this layout instead of through memory.
#pragma once
#include <metal_simdgroup_matrix>
#include <metal_stdlib>
using namespace metal;

#define ATTN_UNROLL _Pragma("clang loop unroll(full)")

template <typename T>
using Fragment = simdgroup_matrix<T, 8, 8>;

// Four fragments that cover 32 dimensions of the head.
template <typename T>
struct FragmentGroup {
  Fragment<T> part[4];
};

struct LanePlace {
  short row;
  short column;
};

METAL_FUNC LanePlace lane_place(uint lane) {
  LanePlace place;
  place.row = short(((lane / 4) & 4) + (lane / 2) % 4);
  place.column = short(((lane / 4) & 2) * 2 + (lane % 2) * 2);
  return place;
}

// The lane's two elements of a fragment.
template <typename T>
METAL_FUNC thread vec<T, 2>& lane_pair(thread Fragment<T>& matrix) {
  return reinterpret_cast<thread vec<T, 2>&>(matrix.thread_elements());
}

template <typename T>
METAL_FUNC Fragment<T> zero_fragment() {
  return make_filled_simdgroup_matrix<T, 8, 8>(T(0.0f));
}

METAL_FUNC float row_maximum(float value) {
  value = max(value, simd_shuffle_xor(value, ushort(1)));
  return max(value, simd_shuffle_xor(value, ushort(8)));
}

METAL_FUNC float row_sum(float value) {
  value += simd_shuffle_xor(value, ushort(1));
  return value + simd_shuffle_xor(value, ushort(8));
}
