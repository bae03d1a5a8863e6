// 8x8 matrix products, each run once for its simdgroup.
#pragma once

#include <cstdint>

namespace attnproto::cpu {

// A slot holds 8x8 floats as simdgroup_matrix deals them out: the first element of each lane, then
// the second, so that a simdgroup in lockstep keeps and takes them as they are.
// result = left * right + addend, which is zero when it names no slot.
inline constexpr uint16_t kZeroAddend = 0xffff;
struct MatrixOperation {
  uint16_t left, right, addend, result;
};

// As the compiled kernel lays it out: a count, then that many operations.
struct MatrixBatch {
  uint32_t count;
  MatrixOperation operations[1];
};

void multiply_accumulate(float (*slots)[64], const MatrixBatch& batch);

}  // namespace attnproto::cpu
