// The validation mode of the cpu device: what a kernel does wrong is found where it
// does it.
//
// Kernels compiled to validate (python/attnproto/compiler/passes/sanitize_accesses.py) ask before
// every access of device, constant or threadgroup memory. Their pointers are not addresses: the
// upper bits name a binding or a threadgroup array, the lower ones count from its middle, so that
// an access is judged by the memory it was meant for however far it strays. The answer is the
// address.
//
// Every granule of memory that can be written remembers its last write and two reads.
// Two accesses of a granule by different threads, not both reads and not both atomic,
// need a barrier between them that orders this memory for both: any of the threadgroup,
// or of the simdgroup that both belong to. Threads of two threadgroups have none. Two
// writes of the same value are let pass: published kernels rely on them, and no order of
// the two gives another result.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "fiber.h"
#include "front_end.h"

namespace attnproto::cpu {

// Memory of a compiled kernel's own: a constant table.
struct ConstantTable {
  const unsigned char* begin;
  const unsigned char* end;
};

// One place of a kernel's text that accesses memory or is a rendezvous. The compiled
// kernel holds a table of them, in the order of their indices.
struct Site {
  const char* source;           // the text of the line
  const ConstantTable* tables;  // all of the kernel, then one that begins nowhere
  uint32_t line;                // 0: unknown
  uint32_t index;
  uint32_t bytes;      // 0: given with the access
  uint32_t alignment;  // the address is a multiple of it
  uint32_t kind;       // bits below
  uint32_t shift;      // log2 of the kernel's granule in this memory
};
enum SiteKind : uint32_t {
  kRead = 1,
  kWrite = 2,
  kAtomic = 4,
  kThreadgroupBarrier = 8,
  kSimdgroupBarrier = 16,
  kCopy = 32,  // a read of what is only stored again: of a struct, some may be unset
  kKept = 64,  // a read of what is stored again where it was, beside what is new: all may be unset
};

// One thread's part in a finding.
struct Party {
  std::string action;  // "reads", "waits in", "has returned", ...
  uint32_t line = 0;
  std::string source;
  uint32_t threadgroup[3] = {};
  uint32_t thread = 0;      // in the threadgroup
  std::string kernel = {};  // where it is not the one that was stopped
};

struct Finding {
  std::string kind;    // "race", "out-of-bounds", ...
  std::string memory;  // what was accessed, in words; empty for a barrier
  int64_t offset = 0;  // from the beginning of that memory, in bytes
  uint64_t memory_bytes = 0;
  uint32_t bytes = 0;  // of the access
  std::vector<Party> parties;
};

class ValidationFault : public Error {
 public:
  ValidationFault(std::string kernel, Finding finding)
      : Error(ErrorKind::DispatchError, "[validate " + kernel + "] found " + finding.kind),
        kernel(std::move(kernel)),
        finding(std::move(finding)) {}
  std::string kernel;
  Finding finding;
};

class Validation {
 public:
  Validation();
  // Takes what a dispatch binds and gives `group` the pointers the kernel will see. Every read is
  // noted where other dispatches may `overlap`, else those of memory that this one may write.
  void bind(const Dispatch& dispatch, const std::vector<KernelArgument>& arguments,
            attn_group& group, bool overlap);
  void bind_table(uint32_t index, const uint64_t* words, size_t count, attn_group& group);
  // Before the lanes of a threadgroup start.
  void begin(Threadgroup& group);
  // After they ended or were abandoned.
  void end() { settle(); }
  // What a dispatch did is over before the next begins.
  void forget_dispatches() { overlapping_.clear(); }
  // After a dispatch of a concurrent submission: throws ValidationFault where it and one since the
  // last forget_dispatches() access a granule that one of them writes.
  void end_dispatch(const std::string& kernel);

  // What compiled kernels call.
  static void* threadgroup_memory();
  void* access(Fiber& lane, uint64_t pointer, uint64_t bytes, const Site& site);
  uint64_t threadgroup_array(uint32_t number, uint32_t offset, uint32_t bytes, const Site* site);
  void arrive(Fiber& lane, uint32_t flags, const Site& site);
  void about_to_multiply(Fiber& lane, const Site& site);
  void made_nan(Fiber& lane, const Site& site);
  // A mistake that is no access: "division", "recursion", "trap".
  [[noreturn]] void refuse(Fiber& lane, const char* kind, const char* action, const Site& site);
  void check_constant(Fiber& lane, int64_t offset, uint64_t bytes, uint64_t size, const Site& site);
  void check_local(Fiber& lane, int64_t offset, uint64_t bytes, uint64_t size, const Site& site);

  // What the engine asks; false when the run is to be abandoned. `shuffle` says that the
  // lanes read each other's values, `matrix` that they need all others.
  bool meet(Simdgroup& simdgroup, uint32_t active, bool shuffle, bool matrix);
  bool open_barrier();

  bool found() const { return finding_ != nullptr; }
  Finding take_finding();

 private:
  enum Space : uint32_t { kDevice, kThreadgroup };
  static bool is_own(const Fiber& lane, uint64_t pointer, uint64_t bytes, const Site& site);
  struct Stamp {
    uint32_t clock, group;
    uint16_t thread, site;
    uint8_t binding, atomic;
  };
  struct Cell {
    Stamp write, read, other_read;
  };
  struct Free {
    void operator()(Cell* cells) const { std::free(cells); }
  };
  // Bindings that overlap share one: a granule's history goes by address.
  struct Allocation {
    uintptr_t begin, end;  // the beginning rounded down, so that granules are aligned
    uintptr_t first;
    bool watched;  // its history is kept
    std::unique_ptr<Cell[], Free> cells{};
    const Site* sites = nullptr;  // the kernel's table, once there are cells
    uint32_t shift = 0;
    std::vector<unsigned char> contents{};  // as the dispatch left them, if others overlap
  };
  // A dispatch that has run, and may overlap those after it.
  struct Overlapping {
    std::string kernel;
    uint32_t threadgroups[3];
    std::vector<std::unique_ptr<Allocation>> allocations;
  };
  struct Memory {
    unsigned char* base = nullptr;
    int64_t bytes = 0;
    bool writable = true;
    uint8_t binding = 0;
    Allocation* allocation = nullptr;
    std::string name;
    const Site* declared = nullptr;
  };
  struct Lane {
    const Site* at = nullptr;      // the barrier or shuffle it is about to wait at
    uint32_t flags = 0;            // memory that barrier orders
    const Site* matrix = nullptr;  // its latest matrix operation
  };

  // A write that races with an earlier one, unless it turns out to write the same.
  struct Suspect {
    bool open = false;
    const Fiber* lane;
    const Memory* memory;
    const Site* site;
    Stamp earlier;
    int64_t offset;
    size_t bytes;
    const unsigned char* address;
    unsigned char before[64];
  };

  void bind_memory(uint32_t index, void* base, size_t bytes, bool writable, std::string name,
                   attn_group& group);
  void share_allocations(bool overlap);
  void compare(const Overlapping& earlier, const Allocation& before, const Allocation& now,
               const std::string& kernel) const;
  // Judges the write that was let through, which is done by now; false when it raced.
  bool settle();
  void suspect(const Fiber& lane, const Memory& memory, int64_t offset, size_t bytes,
               const unsigned char* address, const Site& site, const Stamp& earlier);
  template <Space space>
  void touch(Fiber& lane, const Memory& memory, Cell* cells, uint64_t at, int64_t offset,
             uint64_t bytes, const unsigned char* address, const Site& site);
  template <Space space>
  bool ordered(const Stamp& stamp, uint32_t thread) const;
  template <Space space>
  bool is_set(const Stamp& stamp) const;
  bool any_set(const Cell* begin, const Cell* end) const;
  template <Space space>
  void remember_read(Cell& cell, const Stamp& now);

  Party party(const Fiber& lane, const Site* site, const char* action) const;
  static Party party(const Stamp& stamp, const Site& site, const uint32_t (&threadgroups)[3],
                     bool write);
  std::string describe(const Memory& memory) const;
  uint32_t lanes_of(uint32_t simdgroup) const;
  void find(const char* kind, std::vector<Party> parties);
  void find(const char* kind, const Fiber& lane, const Memory& memory, int64_t offset,
            uint64_t bytes, const Site& site, const Stamp* earlier, bool earlier_writes);
  [[noreturn]] void refuse(Fiber& lane, const char* kind, const Memory& memory, int64_t offset,
                           uint64_t bytes, const Site& site, const Stamp* earlier = nullptr,
                           bool earlier_writes = false);

  Threadgroup* group_ = nullptr;
  uint32_t group_number_ = 0;  // linear, from 1
  uint32_t clock_ = 1;         // counts barriers
  uint32_t begun_ = 1;         // the clock when this threadgroup started
  uint32_t since_group_[2] = {};
  uint32_t since_simdgroup_[kMaxSimdgroups][2] = {};
  std::vector<Lane> lanes_;
  Memory buffers_[kMaxBufferIndex];
  Memory arrays_[256];
  Memory nowhere_, constant_table_, local_;
  std::vector<std::unique_ptr<Allocation>> allocations_;
  std::vector<Overlapping> overlapping_;
  std::vector<Cell> threadgroup_cells_;
  Suspect suspect_;
  std::unique_ptr<Finding> finding_;
};

}  // namespace attnproto::cpu
