// What compiled kernels call of the validation, by the names they call it.
#include "runtime.h"
#include "validation.h"

using namespace attnproto::cpu;

namespace {
Validation& validation(Fiber& lane) { return *lane.simdgroup->threadgroup->validation; }
}  // namespace

ATTN_RUNTIME void* attn_access(uint64_t pointer, const Site* site) {
  Fiber& lane = self();
  void* address = nullptr;
  undisturbed(lane, [&] { address = validation(lane).access(lane, pointer, 0, *site); });
  return address;
}
ATTN_RUNTIME void* attn_access_range(uint64_t pointer, uint64_t bytes, const Site* site) {
  Fiber& lane = self();
  void* address = nullptr;
  if (bytes)
    undisturbed(lane, [&] { address = validation(lane).access(lane, pointer, bytes, *site); });
  return address;
}
ATTN_RUNTIME uint64_t attn_threadgroup_array(uint32_t number, uint32_t offset, uint32_t bytes,
                                             const Site* site) {
  return validation(self()).threadgroup_array(number, offset, bytes, site);
}
ATTN_RUNTIME void attn_arrive(uint32_t flags, const Site* site) {
  Fiber& lane = self();
  validation(lane).arrive(lane, flags, *site);
}
ATTN_RUNTIME void attn_about_to_multiply(const Site* site) {
  Fiber& lane = self();
  validation(lane).about_to_multiply(lane, *site);
}
ATTN_RUNTIME void attn_made_nan(uint32_t nan, const Site* site) {
  Fiber& lane = self();
  if (nan) undisturbed(lane, [&] { validation(lane).made_nan(lane, *site); });
}
ATTN_RUNTIME void attn_judge_division(uint32_t bad, const Site* site) {
  Fiber& lane = self();
  if (bad)
    undisturbed(lane, [&] {
      validation(lane).refuse(lane, "division", "divides by zero, or past its type,", *site);
    });
}
ATTN_RUNTIME void attn_judge_depth(const Site* site) {
  Fiber& lane = self();
  if (too_deep(lane))
    undisturbed(lane,
                [&] { validation(lane).refuse(lane, "recursion", "calls too deeply", *site); });
}
ATTN_RUNTIME void attn_trapped(const Site* site) {
  Fiber& lane = self();
  undisturbed(lane, [&] { validation(lane).refuse(lane, "trap", "reaches a trap", *site); });
}
ATTN_RUNTIME void attn_check_constant(int64_t offset, uint64_t bytes, uint64_t size,
                                      const Site* site) {
  Fiber& lane = self();
  undisturbed(lane, [&] { validation(lane).check_constant(lane, offset, bytes, size, *site); });
}
ATTN_RUNTIME void attn_check_local(int64_t offset, uint64_t bytes, uint64_t size,
                                   const Site* site) {
  Fiber& lane = self();
  undisturbed(lane, [&] { validation(lane).check_local(lane, offset, bytes, size, *site); });
}

namespace attnproto::cpu {

std::vector<std::pair<const char*, uint64_t>> validation_symbols() {
  auto address = [](auto* function) { return reinterpret_cast<uint64_t>(function); };
  std::vector<std::pair<const char*, uint64_t>> symbols = {
      {"attn_threadgroup_array", address(&attn_threadgroup_array)},
      {"attn_arrive", address(&attn_arrive)},
      {"attn_about_to_multiply", address(&attn_about_to_multiply)},
      {"attn_made_nan", address(&attn_made_nan)},
      {"attn_check_constant", address(&attn_check_constant)},
      {"attn_check_local", address(&attn_check_local)},
      {"attn_judge_division", address(&attn_judge_division)},
      {"attn_judge_depth", address(&attn_judge_depth)},
      {"attn_trapped", address(&attn_trapped)},
  };
  // One name for each address space, whose pointers are types of their own.
  for (const char* name :
       {"attn_access_0", "attn_access_1", "attn_access_2", "attn_access_3", "attn_access_4"})
    symbols.emplace_back(name, address(&attn_access));
  for (const char* name :
       {"attn_access_range_1", "attn_access_range_2", "attn_access_range_3", "attn_access_range_4"})
    symbols.emplace_back(name, address(&attn_access_range));
  return symbols;
}

}  // namespace attnproto::cpu
