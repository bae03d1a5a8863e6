#include "lockstep.h"

#include "collectives.h"
#include "fiber.h"
#include "matrix.h"
#include "runtime.h"

namespace {

using namespace attnproto::cpu;

template <Reduction op, class T>
T reduce(const T* values, uint32_t active) {
  return reduced<op, T>(active, [&](int lane) { return values[lane]; });
}

template <class T>
T reduce(const T* values, uint32_t active, uint32_t op) {
  switch (op) {
    case kSum:
      return reduce<kSum>(values, active);
    case kProduct:
      return reduce<kProduct>(values, active);
    case kMin:
      return reduce<kMin>(values, active);
    case kMax:
      return reduce<kMax>(values, active);
    case kAnd:
      return reduce<kAnd>(values, active);
    case kOr:
      return reduce<kOr>(values, active);
    default:
      return reduce<kXor>(values, active);
  }
}

template <Reduction op, bool inclusive, class T>
void scan(T* values, uint32_t active) {
  scanned<op, inclusive, T>(
      active, [&](int lane) { return values[lane]; },
      [&](int lane, T result) { values[lane] = result; });
}

template <class T>
void scan(T* values, uint32_t active, uint32_t op, bool inclusive) {
  if (op == kSum)
    inclusive ? scan<kSum, true>(values, active) : scan<kSum, false>(values, active);
  else
    inclusive ? scan<kProduct, true>(values, active) : scan<kProduct, false>(values, active);
}

}  // namespace

#define ATTN_REDUCTIONS(suffix, type)                                                         \
  ATTN_RUNTIME type attn_lockstep_reduce_##suffix(const type* values, uint32_t active,        \
                                                  uint32_t op) {                              \
    return reduce(values, active, op);                                                        \
  }                                                                                           \
  ATTN_RUNTIME void attn_lockstep_prefix_##suffix(type* values, uint32_t active, uint32_t op, \
                                                  uint32_t inclusive) {                       \
    scan(values, active, op, inclusive != 0);                                                 \
  }
ATTN_REDUCTIONS(f32, float)
ATTN_REDUCTIONS(i32, int32_t)
ATTN_REDUCTIONS(u32, uint32_t)
ATTN_REDUCTIONS(i64, int64_t)
ATTN_REDUCTIONS(u64, uint64_t)

ATTN_RUNTIME void attn_lockstep_barrier(uint32_t place) {
  Fiber& first = self();
  if (first.simdgroup->threadgroup->simdgroup_count > 1) threadgroup_barrier(first, place);
}

ATTN_RUNTIME float* attn_lockstep_slots() { return self().simdgroup->matrices[0]; }

ATTN_RUNTIME void attn_lockstep_batch(const MatrixBatch* batch) {
  multiply_accumulate(self().simdgroup->matrices, *batch);
}

namespace attnproto::cpu {

std::vector<std::pair<const char*, uint64_t>> lockstep_symbols() {
#define ATTN_SYMBOL(name)                    \
  {                                          \
    #name, reinterpret_cast<uint64_t>(&name) \
  }
  return {
      ATTN_SYMBOL(attn_lockstep_reduce_f32), ATTN_SYMBOL(attn_lockstep_prefix_f32),
      ATTN_SYMBOL(attn_lockstep_reduce_i32), ATTN_SYMBOL(attn_lockstep_prefix_i32),
      ATTN_SYMBOL(attn_lockstep_reduce_u32), ATTN_SYMBOL(attn_lockstep_prefix_u32),
      ATTN_SYMBOL(attn_lockstep_reduce_i64), ATTN_SYMBOL(attn_lockstep_prefix_i64),
      ATTN_SYMBOL(attn_lockstep_reduce_u64), ATTN_SYMBOL(attn_lockstep_prefix_u64),
      ATTN_SYMBOL(attn_lockstep_barrier),    ATTN_SYMBOL(attn_lockstep_slots),
      ATTN_SYMBOL(attn_lockstep_batch),
  };
#undef ATTN_SYMBOL
}

}  // namespace attnproto::cpu
