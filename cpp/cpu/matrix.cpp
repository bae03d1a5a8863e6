#include "matrix.h"

namespace attnproto::cpu {
namespace {

typedef float Row __attribute__((vector_size(32), aligned(32)));

const Row kZeros[8] = {};

// Two partial sums a row keep eight dependent additions from waiting on each other.
#define ATTN_PRODUCT_BODY                                                                   \
  for (uint32_t i = 0; i < batch.count; i++) {                                              \
    const MatrixOperation& op = batch.operations[i];                                        \
    const float* left = slots[op.left];                                                     \
    const Row* right = reinterpret_cast<const Row*>(slots[op.right]);                       \
    const Row* addend =                                                                     \
        op.addend == kZeroAddend ? kZeros : reinterpret_cast<const Row*>(slots[op.addend]); \
    Row* result = reinterpret_cast<Row*>(slots[op.result]);                                 \
    Row b0 = right[0], b1 = right[1], b2 = right[2], b3 = right[3];                         \
    Row b4 = right[4], b5 = right[5], b6 = right[6], b7 = right[7];                         \
    for (int row = 0; row < 8; row++) {                                                     \
      const float* a = left + row * 8;                                                      \
      Row low = addend[row], high;                                                          \
      low += a[0] * b0;                                                                     \
      high = a[4] * b4;                                                                     \
      low += a[1] * b1;                                                                     \
      high += a[5] * b5;                                                                    \
      low += a[2] * b2;                                                                     \
      high += a[6] * b6;                                                                    \
      low += a[3] * b3;                                                                     \
      high += a[7] * b7;                                                                    \
      result[row] = low + high;                                                             \
    }                                                                                       \
  }

void portable(float (*slots)[64], const MatrixBatch& batch) { ATTN_PRODUCT_BODY }

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void avx2(float (*slots)[64], const MatrixBatch& batch) {
  ATTN_PRODUCT_BODY
}
#endif

using Product = void (*)(float (*)[64], const MatrixBatch&);

Product best() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2;
#endif
  return portable;
}

}  // namespace

void multiply_accumulate(float (*slots)[64], const MatrixBatch& batch) {
  static const Product product = best();
  product(slots, batch);
}

}  // namespace attnproto::cpu
