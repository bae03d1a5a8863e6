// 8x8 matrix products, each run once for its simdgroup.
#pragma once

#include <cstdint>

namespace attnproto::cpu {

// Slots hold row-major 8x8 floats. result = left * right + addend, which is zero
// when it names no slot.
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
