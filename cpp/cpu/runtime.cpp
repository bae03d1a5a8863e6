#include "runtime.h"

#include <cstring>

#include "collectives.h"
#include "fiber.h"
#include "lockstep.h"
#include "matrix.h"
#include "validation.h"

namespace {

using namespace attnproto::cpu;

template <class T>
T as(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
uint64_t bits(T value) {
  uint64_t result = 0;
  std::memcpy(&result, &value, sizeof value);
  return result;
}

template <Reduction op, class T>
void reduce(Simdgroup& simdgroup, uint32_t active, const void*) {
  T total = reduced<op, T>(active, [&](int lane) { return as<T>(simdgroup.in[lane]); });
  for (uint32_t lane = 0; lane < kLanes; lane++) simdgroup.out[lane] = bits(total);
}

template <Reduction op, bool inclusive, class T>
void scan(Simdgroup& simdgroup, uint32_t active, const void*) {
  scanned<op, inclusive, T>(
      active, [&](int lane) { return as<T>(simdgroup.in[lane]); },
      [&](int lane, T result) { simdgroup.out[lane] = bits(result); });
}

void shuffle(Simdgroup& simdgroup, uint32_t, const void*) {
  for (uint32_t lane = 0; lane < kLanes; lane++)
    simdgroup.out[lane] = simdgroup.in[simdgroup.source[lane] % kLanes];
}

void broadcast_first(Simdgroup& simdgroup, uint32_t active, const void*) {
  uint64_t value = simdgroup.in[__builtin_ctz(active)];
  for (uint32_t lane = 0; lane < kLanes; lane++) simdgroup.out[lane] = value;
}

void ballot(Simdgroup& simdgroup, uint32_t active, const void*) {
  uint64_t votes = 0;
  for (uint32_t rest = active; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    votes |= uint64_t(simdgroup.in[lane] != 0) << lane;
  }
  for (uint32_t lane = 0; lane < kLanes; lane++) simdgroup.out[lane] = votes;
}

void meet(Simdgroup&, uint32_t, const void*) {}

uint64_t exchange(uint32_t place, uint64_t value, Operation operation, uint32_t source = 0) {
  Fiber& lane = self();
  Simdgroup& simdgroup = *lane.simdgroup;
  uint32_t index = lane.public_state.lane;
  simdgroup.in[index] = value;
  simdgroup.source[index] = source;
  rendezvous(lane, place, operation);
  return simdgroup.out[index];
}

template <class T>
Operation reduction(uint32_t op) {
  static constexpr Operation table[] = {reduce<kSum, T>, reduce<kProduct, T>, reduce<kMin, T>,
                                        reduce<kMax, T>, reduce<kAnd, T>,     reduce<kOr, T>,
                                        reduce<kXor, T>};
  return table[op];
}

template <class T>
Operation prefix(uint32_t op, bool inclusive) {
  if (op == kSum) return inclusive ? scan<kSum, true, T> : scan<kSum, false, T>;
  return inclusive ? scan<kProduct, true, T> : scan<kProduct, false, T>;
}

}  // namespace

#define ATTN_REDUCTIONS(suffix, type)                                                \
  ATTN_RUNTIME type attn_reduce_##suffix(uint32_t place, type value, uint32_t op) {  \
    return as<type>(exchange(place, bits(value), reduction<type>(op)));              \
  }                                                                                  \
  ATTN_RUNTIME type attn_prefix_##suffix(uint32_t place, type value, uint32_t op,    \
                                         uint32_t inclusive) {                       \
    return as<type>(exchange(place, bits(value), prefix<type>(op, inclusive != 0))); \
  }
ATTN_REDUCTIONS(f32, float)
ATTN_REDUCTIONS(i32, int32_t)
ATTN_REDUCTIONS(u32, uint32_t)
ATTN_REDUCTIONS(i64, int64_t)
ATTN_REDUCTIONS(u64, uint64_t)

ATTN_RUNTIME uint32_t attn_lane_index() { return self().public_state.lane; }
ATTN_RUNTIME uint32_t attn_shuffle_u32(uint32_t place, uint32_t value, uint32_t source) {
  return uint32_t(exchange(place, value, shuffle, source));
}
ATTN_RUNTIME uint64_t attn_shuffle_u64(uint32_t place, uint64_t value, uint32_t source) {
  return exchange(place, value, shuffle, source);
}
ATTN_RUNTIME uint32_t attn_broadcast_first_u32(uint32_t place, uint32_t value) {
  return uint32_t(exchange(place, value, broadcast_first));
}
ATTN_RUNTIME uint32_t attn_ballot(uint32_t place, uint32_t vote) {
  return uint32_t(exchange(place, vote, ballot));
}
ATTN_RUNTIME void attn_simdgroup_barrier(uint32_t place) { exchange(place, 0, meet); }
ATTN_RUNTIME void attn_threadgroup_barrier(uint32_t place) { threadgroup_barrier(self(), place); }
ATTN_RUNTIME void* attn_threadgroup_memory() {
  Fiber& lane = self();
  if (lane.simdgroup->threadgroup->validation) return Validation::threadgroup_memory();
  return lane.public_state.group->threadgroup_memory;
}

// A segment of code begins here, of a kernel that counts; and one of its accesses.
ATTN_RUNTIME void attn_count_segment(const CountedKernel* kernel, uint32_t number) {
  Fiber& lane = self();
  undisturbed(lane, [&] {
    lane.simdgroup->threadgroup->counting.segment(lane.public_state.index, kernel, number);
  });
}
ATTN_RUNTIME void attn_count_access(uint64_t address) {
  Fiber& lane = self();
  undisturbed(lane, [&] {
    lane.simdgroup->threadgroup->counting.access(lane.public_state.index, address);
  });
}

ATTN_RUNTIME void attn_check_depth() { check_depth(self()); }

// The calling lane's first element of matrix slot 0, 32 floats before its second.
ATTN_RUNTIME float* attn_matrix_slots() {
  Fiber& lane = self();
  return &lane.simdgroup->matrices[0][lane.public_state.lane];
}
ATTN_RUNTIME void attn_matrix_batch(uint32_t place, const MatrixBatch* batch) {
  rendezvous(
      self(), place,
      [](Simdgroup& simdgroup, uint32_t, const void* argument) {
        multiply_accumulate(simdgroup.matrices, *static_cast<const MatrixBatch*>(argument));
      },
      batch);
}

namespace attnproto::cpu {

bool is_shuffle(Operation operation) { return operation == shuffle; }

std::vector<std::pair<const char*, uint64_t>> runtime_symbols() {
#define ATTN_SYMBOL(name) {#name, reinterpret_cast<uint64_t>(&name)}
  std::vector<std::pair<const char*, uint64_t>> symbols = {
      ATTN_SYMBOL(attn_reduce_f32),
      ATTN_SYMBOL(attn_prefix_f32),
      ATTN_SYMBOL(attn_reduce_i32),
      ATTN_SYMBOL(attn_prefix_i32),
      ATTN_SYMBOL(attn_reduce_u32),
      ATTN_SYMBOL(attn_prefix_u32),
      ATTN_SYMBOL(attn_reduce_i64),
      ATTN_SYMBOL(attn_prefix_i64),
      ATTN_SYMBOL(attn_reduce_u64),
      ATTN_SYMBOL(attn_prefix_u64),
      ATTN_SYMBOL(attn_lane_index),
      ATTN_SYMBOL(attn_shuffle_u32),
      ATTN_SYMBOL(attn_shuffle_u64),
      ATTN_SYMBOL(attn_broadcast_first_u32),
      ATTN_SYMBOL(attn_ballot),
      ATTN_SYMBOL(attn_simdgroup_barrier),
      ATTN_SYMBOL(attn_threadgroup_barrier),
      ATTN_SYMBOL(attn_threadgroup_memory),
      ATTN_SYMBOL(attn_count_segment),
      ATTN_SYMBOL(attn_count_access),
      ATTN_SYMBOL(attn_check_depth),
      ATTN_SYMBOL(attn_matrix_slots),
      ATTN_SYMBOL(attn_matrix_batch),
  };
#undef ATTN_SYMBOL
  for (const auto& symbol : validation_symbols()) symbols.push_back(symbol);
  auto others = lockstep_symbols();
  symbols.insert(symbols.end(), others.begin(), others.end());
  return symbols;
}

}  // namespace attnproto::cpu
