// Memory between two pages that nobody may touch: what lies past its end is a fault.
#pragma once

#include <cstddef>

namespace attnproto::cpu {

// Zeros. The end lies within kGuardedAlignment bytes of a page that is not there; where the
// system has no more mappings, memory without one.
inline constexpr size_t kGuardedAlignment = 256;

class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(size_t bytes);  // throws std::bad_alloc
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  Guarded(Guarded&& other) noexcept;
  Guarded& operator=(Guarded&& other) noexcept;

  unsigned char* data() const { return data_; }
  unsigned char* end() const { return end_; }

 private:
  unsigned char* data_ = nullptr;
  unsigned char* end_ = nullptr;  // the guard begins here
  void* mapping_ = nullptr;       // null: data_ is from the heap
  size_t mapped_ = 0;
};

}  // namespace attnproto::cpu
