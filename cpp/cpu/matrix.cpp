#include "matrix.h"

namespace attnproto::cpu {
namespace {

typedef float Row __attribute__((vector_size(32), aligned(32)));
typedef uint64_t Pair __attribute__((may_alias));  // two neighbouring floats
typedef Pair Pairs __attribute__((vector_size(32)));

const Row kZeros[8] = {};

// A column of four rows, each element twice; or a row's pair of elements, four times.
#define ATTN_FIRST(v) (Row{v[0], v[0], v[2], v[2], v[4], v[4], v[6], v[6]})
#define ATTN_SECOND(v) (Row{v[1], v[1], v[3], v[3], v[5], v[5], v[7], v[7]})
#define ATTN_PAIR(p) (reinterpret_cast<Row>(Pairs{p, p, p, p}))

// A Row is four rows of two columns: bit 1 of its number says which rows, bits 0 and 2 which
// columns. Two partial sums keep eight dependent additions from waiting on each other.
#define ATTN_PRODUCT_BODY                                                                   \
  for (uint32_t i = 0; i < batch.count; i++) {                                              \
    const MatrixOperation& op = batch.operations[i];                                        \
    const Row* left = reinterpret_cast<const Row*>(slots[op.left]);                         \
    const Pair* right = reinterpret_cast<const Pair*>(slots[op.right]);                     \
    const Row* addend =                                                                     \
        op.addend == kZeroAddend ? kZeros : reinterpret_cast<const Row*>(slots[op.addend]); \
    Row* result = reinterpret_cast<Row*>(slots[op.result]);                                 \
    for (int rows = 0; rows < 4; rows += 2) {                                               \
      const Row c02 = left[rows], c46 = left[rows + 1];                                     \
      const Row c13 = left[rows + 4], c57 = left[rows + 5];                                 \
      const Row a0 = ATTN_FIRST(c02), a1 = ATTN_FIRST(c13);                                 \
      const Row a2 = ATTN_SECOND(c02), a3 = ATTN_SECOND(c13);                               \
      const Row a4 = ATTN_FIRST(c46), a5 = ATTN_FIRST(c57);                                 \
      const Row a6 = ATTN_SECOND(c46), a7 = ATTN_SECOND(c57);                               \
      for (int n = 0; n < 4; n++) {                                                         \
        const int columns = (n & 2) * 2 + (n & 1);                                          \
        const Pair *b = right + columns * 4, *d = b + 8;                                    \
        Row low = addend[rows + columns], high;                                             \
        low += a0 * ATTN_PAIR(b[0]);                                                        \
        high = a4 * ATTN_PAIR(d[0]);                                                        \
        low += a1 * ATTN_PAIR(b[1]);                                                        \
        high += a5 * ATTN_PAIR(d[1]);                                                       \
        low += a2 * ATTN_PAIR(b[2]);                                                        \
        high += a6 * ATTN_PAIR(d[2]);                                                       \
        low += a3 * ATTN_PAIR(b[3]);                                                        \
        high += a7 * ATTN_PAIR(d[3]);                                                       \
        result[rows + columns] = low + high;                                                \
      }                                                                                     \
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
