// The engine: one fiber for each GPU thread of a threadgroup, or for each simdgroup of a
// kernel compiled to run one in lockstep.
//
// A lane runs until it meets an operation of its simdgroup (a collective) or a
// threadgroup barrier. There it parks, and the next lane runs. When no lane of a
// simdgroup can run, those that wait at the same place in the code are the active
// lanes of that operation: it is executed once, for all of them, and they go on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "attnproto_lane.h"
#include "counting.h"

namespace attnproto::cpu {

inline constexpr uint32_t kLanes = 32;
inline constexpr uint32_t kMaxThreads = 1024;
inline constexpr uint32_t kMaxSimdgroups = kMaxThreads / kLanes;
// Operands and results of one batch of matrix operations, 8x8 floats each.
// python/attnproto/compiler/passes/batch_matrix_products.py cuts its batches to fit.
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
// A kernel in lockstep finds the lanes of its simdgroup by this distance
// (python/attnproto/compiler/analysis/lane_offsets.py).
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

  Threadgroup();
  ~Threadgroup();
  Threadgroup(const Threadgroup&) = delete;
  Threadgroup& operator=(const Threadgroup&) = delete;

  // Makes room for threadgroup memory; called before run().
  void reserve(size_t threadgroup_bytes);
  // Runs every lane to its end; `shared` says where and how many.
  void run();

  Fiber* current = nullptr;
  void* caller_stack_pointer = nullptr;
  Simdgroup* simdgroups = nullptr;
  uint32_t simdgroup_count = 0;

 private:
  void place_lanes();
  void check_stacks();

  Fiber* fibers_ = nullptr;
  unsigned char* arena_ = nullptr;
  unsigned char* memory_ = nullptr;
  size_t memory_bytes_ = 0;
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

}  // namespace attnproto::cpu
