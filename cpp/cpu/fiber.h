// The engine: one fiber for each GPU thread of a threadgroup, or for each simdgroup of a
// kernel compiled to run one in lockstep.
//
// A lane runs until it meets an operation of its simdgroup (a collective) or a
// threadgroup barrier. There it parks, and the next lane runs. When no lane of a
// simdgroup can run, those that wait at the same place in the code are the active
// lanes of that operation: it is executed once, for all of them, and they go on.
#pragma once

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>

#include "attnproto_lane.h"
#include "counting.h"
#include "guarded.h"

namespace attnproto::cpu {

inline constexpr uint32_t kLanes = 32;
inline constexpr uint32_t kMaxThreads = 1024;
inline constexpr size_t kMaxThreadgroupMemory = 32768;
inline constexpr uint32_t kMaxSimdgroups = kMaxThreads / kLanes;
inline constexpr size_t kStackBytes = 64 * 1024;  // of a lane
// Operands and results of one batch of matrix operations, 8x8 floats each.
inline constexpr uint32_t kMatrixSlots = 192;

// The lane's state; in lockstep the first lane's.
using Entry = void (*)(const attn_lane*);

class Validation;
struct Simdgroup;
struct Threadgroup;

// Runs once for the active lanes of a collective (one bit each).
using Operation = void (*)(Simdgroup&, uint32_t active, const void* argument);

struct Fiber {
  attn_lane public_state;
  void* stack_pointer;
  Simdgroup* simdgroup;
};
// A kernel in lockstep finds the lanes of its simdgroup by this distance, one that was exported
// too: another needs another ATTNPROTO_C_API_VERSION.
static_assert(sizeof(Fiber) == 48);

// Every lane writes only its own element of `in` and `source` before it parks and
// reads only its own of `out` after, so one set serves all collectives in a row.
struct Simdgroup {
  alignas(64) float matrices[kMatrixSlots][64];
  uint64_t in[kLanes];
  uint32_t source[kLanes];
  uint64_t out[kLanes];

  uint32_t alive, runnable, at_barrier;  // one bit a lane
  uint32_t place[kLanes];                // where in the code a parked lane waits
  Operation operation[kLanes];
  const void* argument[kLanes];
  Fiber* fibers;  // of its lanes, in order
  Threadgroup* threadgroup;
};

// One threadgroup in flight and the memory it needs. Owned by one OS thread, used
// for one threadgroup after the other.
struct Threadgroup {
  attn_group shared{};
  Entry entry = nullptr;
  bool lockstep = false;             // the entry runs a whole simdgroup, on one fiber
  Counting counting;                 // of kernels compiled to count
  Validation* validation = nullptr;  // of kernels compiled to validate
  std::string fault;                 // set when the kernel broke a rule; its run was abandoned
  // Set where a signal made the kernel leave (faults.h): which, and the address that it is about.
  struct Left {
    volatile std::sig_atomic_t signal = 0;
    volatile uintptr_t address = 0;
  } left;
  // Set while the engine, called by the kernel, owns what a signal must not leave behind.
  volatile std::sig_atomic_t held = 0;
  const std::atomic<bool>* stop = nullptr;  // nobody waits for the kernel any more
  bool stopped = false;                     // the kernel was left for that, at a call of the engine

  Threadgroup();
  ~Threadgroup();
  Threadgroup(const Threadgroup&) = delete;
  Threadgroup& operator=(const Threadgroup&) = delete;

  // Whether the run ended before its kernel did.
  bool abandoned() const { return left.signal || stopped || !fault.empty(); }
  // Makes room for threadgroup memory, whose end a guard follows; called before run().
  void reserve(size_t threadgroup_bytes);
  // Runs every lane to its end; `shared` says where and how many.
  void run();

  Fiber* current = nullptr;
  void* caller_stack_pointer = nullptr;
  Simdgroup* simdgroups = nullptr;
  uint32_t simdgroup_count = 0;

  unsigned char* stack_of(uint32_t lane_index) const;  // its lowest address

 private:
  void place_lanes();
  void check_stacks();
  // Tells the address sanitizer, where there is one, that frames which lanes never returned from
  // are gone: it would take what it noted between their variables for that of later frames.
  void forget_frames();

  Fiber* fibers_ = nullptr;
  unsigned char* arena_ = nullptr;
  Guarded memory_;
};

// The lane that calls. Found through the stack pointer: an arena of stacks is
// aligned to its own size and begins with a pointer to its Threadgroup.
Fiber& self();

// Parks the calling lane until its simdgroup's active lanes have arrived. Places rise
// along the code (python/attnproto/compiler/passes/number_rendezvous.py).
void rendezvous(Fiber& lane, uint32_t place, Operation operation, const void* argument = nullptr);
void threadgroup_barrier(Fiber& lane, uint32_t place);
// Ends the run of the calling lane's threadgroup, whose fault is set.
[[noreturn]] void abandon(Fiber& lane);

// Ends the run where the calling lane's stack is nearly used up: a function that calls itself
// asks (compiler/passes/define_arithmetic.py).
bool too_deep(Fiber& lane);
void check_depth(Fiber& lane);
inline constexpr char kNoMemory[] =
    "found no memory for what is noted of the kernel, needs more; use a smaller grid";
inline constexpr char kTooDeep[] =
    "found calls deeper than the 65536 bytes of a thread's stack, needs a recursion that ends "
    "before; use a loop";

// What the engine does for a kernel with memory or locks of its own: no signal leaves it, and
// the kernel is not returned to where nobody waits for it.
template <class Work>
void undisturbed(Fiber& lane, Work work) {
  Threadgroup& group = *lane.simdgroup->threadgroup;
  group.held = 1;
  try {
    work();
  } catch (const std::bad_alloc&) {  // nothing thrown may pass the kernel
    group.fault = kNoMemory;
    abandon(lane);
  }
  group.held = 0;
  group.stopped = group.stop && group.stop->load(std::memory_order_relaxed);
  if (group.stopped) abandon(lane);
}

}  // namespace attnproto::cpu
