// What the lanes of a simdgroup compute together, for both engines alike.
#pragma once

#include <cstdint>
#include <type_traits>

namespace attnproto::cpu {

// The numbers are the ones attnproto/simd.h passes.
enum Reduction : uint32_t { kSum, kProduct, kMin, kMax, kAnd, kOr, kXor };

template <Reduction op, class T>
T combine(T a, T b) {
  if constexpr (op == kSum) return a + b;
  if constexpr (op == kProduct) return a * b;
  // A NaN loses against a number, as in fmin and fmax.
  if constexpr (op == kMin) return (b < a || a != a) ? b : a;
  if constexpr (op == kMax) return (a < b || a != a) ? b : a;
  if constexpr (std::is_integral_v<T>) {
    if constexpr (op == kAnd) return a & b;
    if constexpr (op == kOr) return a | b;
    if constexpr (op == kXor) return a ^ b;
  }
  return a;
}

// `value(lane)` of the active lanes, combined in their order.
template <Reduction op, class T, class Value>
T reduced(uint32_t active, Value value) {
  T total = value(__builtin_ctz(active));
  for (uint32_t rest = active & (active - 1); rest; rest &= rest - 1)
    total = combine<op>(total, value(__builtin_ctz(rest)));
  return total;
}

// `put(lane, result)` what the active lanes up to it give, itself included or not.
template <Reduction op, bool inclusive, class T, class Value, class Put>
void scanned(uint32_t active, Value value, Put put) {
  T total = op == kProduct ? T(1) : T(0);
  for (uint32_t rest = active; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    T next = combine<op>(total, value(lane));
    put(lane, inclusive ? next : total);
    total = next;
  }
}

}  // namespace attnproto::cpu
