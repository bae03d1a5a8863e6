// The GPU's context: memory, modules, and what happens to them when a kernel faults.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "driver.h"

namespace attnproto::cuda {

// A fault poisons everything a context holds. Another context is then made; what the
// old one held belongs to an older generation and is made again, or refused.
class Context {
 public:
  Context();
  const std::string& name() const { return name_; }
  const std::string& architecture() const { return architecture_; }
  std::string driver_version() const;
  uint32_t multiprocessors() const { return multiprocessors_; }
  uint64_t generation() const { return generation_; }
  uint64_t allocated_bytes() const { return allocated_; }  // handed out and not released

  void make_current();
  // Throws a Fault where a kernel did not complete, and then opens another context; else an Error.
  void check(Result result, const std::string& where);

  // Memory is kept for the next allocation of its size.
  DevicePointer allocate(size_t bytes, const std::string& where);
  void release(DevicePointer pointer, size_t bytes, uint64_t generation);

  float elapsed_us();  // between the two marks
  void mark_start(const std::string& where);
  void mark_end(const std::string& where);

 private:
  void renew();

  int ordinal_ = 0;
  Handle handle_ = nullptr;
  Handle start_ = nullptr, end_ = nullptr;
  std::string name_, architecture_;
  uint32_t multiprocessors_ = 0;
  uint64_t generation_ = 0;
  uint64_t allocated_ = 0;
  std::multimap<size_t, DevicePointer> free_;
};

}  // namespace attnproto::cuda
