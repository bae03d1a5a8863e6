#include "guarded.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace attnproto::cpu {
namespace {

size_t round_up(size_t value, size_t unit) {
  if (value > SIZE_MAX - unit) throw std::bad_alloc();
  return (value + unit - 1) / unit * unit;
}

}  // namespace

Guarded::Guarded(size_t bytes) {
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  const size_t used = round_up(bytes ? bytes : 1, kGuardedAlignment), whole = round_up(used, page);
  if (whole > SIZE_MAX - 2 * page) throw std::bad_alloc();
  mapped_ = whole + 2 * page;
  void* raw = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (raw != MAP_FAILED) {
    auto* begin = static_cast<unsigned char*>(raw) + page;
    if (mprotect(begin, whole, PROT_READ | PROT_WRITE) == 0) {
      mapping_ = raw;
      end_ = begin + whole;
      data_ = end_ - used;
      return;
    }
    munmap(raw, mapped_);
  }
  data_ = static_cast<unsigned char*>(std::aligned_alloc(page, whole));
  if (!data_) throw std::bad_alloc();
  std::memset(data_, 0, whole);
  end_ = data_ + used;
}

Guarded::~Guarded() {
  if (mapping_)
    munmap(mapping_, mapped_);
  else
    std::free(data_);
}

Guarded::Guarded(Guarded&& other) noexcept { *this = std::move(other); }

Guarded& Guarded::operator=(Guarded&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(end_, other.end_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

}  // namespace attnproto::cpu
