#include "fiber.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define ATTN_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ATTN_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(ATTN_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#endif

#include "faults.h"
#include "runtime.h"
#include "validation.h"

extern "C" void attn_switch(void** save, void* load);

namespace attnproto::cpu {
namespace {

constexpr size_t kArenaBytes = size_t(128) << 20;
// The first stack lies so far from the arena's beginning that what runs over it spoils nothing
// before check_depth() sees it.
constexpr size_t kArenaHeader = 128 * 1024;
// Stacks of equal alignment would share a few cache sets between all lanes.
constexpr size_t kStackStride = kStackBytes + 5 * 64;
// What check_depth() leaves for functions that call nothing more.
constexpr size_t kLeastStackBytes = 8 * 1024;
constexpr uint64_t kCanary = 0x6174746e70726f74;
static_assert(kArenaHeader + kMaxThreads * kStackStride < kArenaBytes);

uint32_t bit(const Fiber& lane) { return 1u << lane.public_state.lane; }

unsigned char* reserve_arena() {
  void* raw = mmap(nullptr, 2 * kArenaBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) throw std::bad_alloc();
  auto* begin = static_cast<unsigned char*>(raw);
  auto aligned = (reinterpret_cast<uintptr_t>(begin) + kArenaBytes - 1) & ~(kArenaBytes - 1);
  auto* arena = reinterpret_cast<unsigned char*>(aligned);
  if (arena != begin) munmap(begin, size_t(arena - begin));
  munmap(arena + kArenaBytes, size_t(begin + kArenaBytes - arena));
  return arena;
}

void continue_with(Fiber& from, Fiber& to) {
  if (&from == &to) return;
  from.simdgroup->threadgroup->current = &to;
  attn_switch(&from.stack_pointer, to.stack_pointer);
}

// Executes what the lanes of a simdgroup wait for, none of which can run. Where
// they wait at different places, the earliest in the code goes first: lanes
// inside a branch catch up with those that jumped over it.
void resolve(Simdgroup& simdgroup) {
  uint32_t waiting = simdgroup.alive & ~simdgroup.at_barrier;
  if (!waiting) return;
  uint32_t first = ~0u, active = 0;
  for (uint32_t rest = waiting; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    uint32_t place = simdgroup.place[lane];
    if (place < first) first = place, active = 0;
    if (place == first) active |= 1u << lane;
  }
  int any = __builtin_ctz(active);
  if (Validation* validation = simdgroup.threadgroup->validation) {
    simdgroup.threadgroup->held = 1;
    if (!validation->meet(simdgroup, active, is_shuffle(simdgroup.operation[any]),
                          simdgroup.argument[any] != nullptr))
      return;
    simdgroup.threadgroup->held = 0;
  }
  simdgroup.operation[any](simdgroup, active, simdgroup.argument[any]);
  simdgroup.runnable = active;
}

Fiber* first_runnable(Simdgroup& simdgroup) {
  return simdgroup.runnable ? &simdgroup.fibers[__builtin_ctz(simdgroup.runnable)] : nullptr;
}

// The lane to run after one of `simdgroup` parked or ended; null when none is left
// or the kernel broke a rule.
Fiber* next_lane(Simdgroup& simdgroup) {
  Threadgroup& group = *simdgroup.threadgroup;
  if (!simdgroup.runnable && simdgroup.alive) resolve(simdgroup);
  if (!group.fault.empty()) return nullptr;
  if (Fiber* lane = first_runnable(simdgroup)) return lane;
  for (uint32_t i = 0; i < group.simdgroup_count; i++)
    if (Fiber* lane = first_runnable(group.simdgroups[i])) return lane;
  // All that are alive wait at the barrier: it opens.
  group.held = 1;
  if (group.validation && !group.validation->open_barrier()) return nullptr;
  Fiber* first = nullptr;
  uint32_t barrier = 0;
  for (uint32_t i = 0; i < group.simdgroup_count; i++) {
    Simdgroup& other = group.simdgroups[i];
    for (uint32_t rest = other.alive; rest; rest &= rest - 1) {
      uint32_t place = other.place[__builtin_ctz(rest)];
      if (!first) first = &other.fibers[__builtin_ctz(rest)], barrier = place;
      if (place != barrier) {
        group.fault =
            "threads wait at two different threadgroup_barrier calls; every thread of a "
            "threadgroup must reach the same one";
        return nullptr;
      }
    }
    other.runnable = other.alive;
    other.at_barrier = 0;
  }
  group.held = 0;
  return first;
}

void park(Fiber& lane) {
  Simdgroup& simdgroup = *lane.simdgroup;
  simdgroup.runnable &= ~bit(lane);
  Fiber* next = first_runnable(simdgroup);
  if (!next) next = next_lane(simdgroup);
  if (next) return continue_with(lane, *next);
  attn_switch(&lane.stack_pointer, simdgroup.threadgroup->caller_stack_pointer);
}

[[noreturn]] void run_lane() {
  Fiber& lane = self();
  Simdgroup& simdgroup = *lane.simdgroup;
  Threadgroup& group = *simdgroup.threadgroup;
  group.entry(&lane.public_state);
  simdgroup.alive &= ~bit(lane);
  park(lane);
  __builtin_unreachable();
}

}  // namespace

Fiber& self() {
  auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  return *(*reinterpret_cast<Threadgroup**>(here & ~(kArenaBytes - 1)))->current;
}

void rendezvous(Fiber& lane, uint32_t place, Operation operation, const void* argument) {
  Simdgroup& simdgroup = *lane.simdgroup;
  uint32_t index = lane.public_state.lane;
  simdgroup.place[index] = place;
  simdgroup.operation[index] = operation;
  simdgroup.argument[index] = argument;
  park(lane);
}

void threadgroup_barrier(Fiber& lane, uint32_t place) {
  Simdgroup& simdgroup = *lane.simdgroup;
  simdgroup.place[lane.public_state.lane] = place;
  simdgroup.at_barrier |= bit(lane);
  park(lane);
}

void abandon(Fiber& lane) {
  attn_switch(&lane.stack_pointer, lane.simdgroup->threadgroup->caller_stack_pointer);
  __builtin_unreachable();
}

bool too_deep(Fiber& lane) {
  auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  const Threadgroup& group = *lane.simdgroup->threadgroup;
  auto lowest = reinterpret_cast<uintptr_t>(group.stack_of(lane.public_state.index));
  return here < lowest + kLeastStackBytes;
}

void check_depth(Fiber& lane) {
  if (!too_deep(lane)) return;
  Threadgroup& group = *lane.simdgroup->threadgroup;
  group.held = 1;
  group.fault = kTooDeep;
  abandon(lane);
}

unsigned char* Threadgroup::stack_of(uint32_t index) const {
  return arena_ + kArenaHeader + index * kStackStride;
}

Threadgroup::Threadgroup() {
  arena_ = reserve_arena();
  *reinterpret_cast<Threadgroup**>(arena_) = this;
  fibers_ = new Fiber[kMaxThreads]();
  simdgroups = static_cast<Simdgroup*>(
      std::aligned_alloc(64, (sizeof(Simdgroup) * kMaxSimdgroups + 63) / 64 * 64));
  if (!simdgroups) throw std::bad_alloc();
  add_stacks(arena_, kArenaBytes);
}

Threadgroup::~Threadgroup() {
  remove_stacks(arena_);
  std::free(simdgroups);
  delete[] fibers_;
  munmap(arena_, kArenaBytes);
}

void Threadgroup::reserve(size_t threadgroup_bytes) {
  if (!memory_.data()) memory_ = Guarded(kMaxThreadgroupMemory);
  shared.threadgroup_memory = memory_.end() - (threadgroup_bytes + kGuardedAlignment - 1) /
                                                  kGuardedAlignment * kGuardedAlignment;
}

void Threadgroup::place_lanes() {
  const uint32_t (&size)[3] = shared.threads;
  uint32_t count = size[0] * size[1] * size[2];
  simdgroup_count = (count + kLanes - 1) / kLanes;
  shared.simdgroups = simdgroup_count;
  for (uint32_t i = 0; i < simdgroup_count; i++) {
    Simdgroup& simdgroup = simdgroups[i];
    uint32_t lanes = count - i * kLanes < kLanes ? count - i * kLanes : kLanes;
    if (lockstep) lanes = 1;
    simdgroup.alive = simdgroup.runnable = lanes == kLanes ? ~0u : (1u << lanes) - 1;
    simdgroup.at_barrier = 0;
    simdgroup.fibers = fibers_ + i * kLanes;
    simdgroup.threadgroup = this;
  }
  for (uint32_t i = 0; i < count; i++) {
    Fiber& fiber = fibers_[i];
    fiber.simdgroup = &simdgroups[i / kLanes];
    fiber.public_state = {&shared,
                          {i % size[0], i / size[0] % size[1], i / (size[0] * size[1])},
                          i,
                          i / kLanes,
                          i % kLanes};
    if (lockstep && i % kLanes) continue;
    unsigned char* stack = stack_of(i);
    std::memcpy(stack, &kCanary, sizeof kCanary);
    // What attn_switch pops: the preserved registers, then the address to run at.
    size_t bytes = lockstep ? kLanes * kStackStride : kStackBytes;
    auto top = (reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t(63);
#if defined(__x86_64__)
    auto* frame = reinterpret_cast<uint64_t*>(top) - 8;
    std::memset(frame, 0, 64);
    frame[6] = reinterpret_cast<uint64_t>(&run_lane);
#else
    auto* frame = reinterpret_cast<uint64_t*>(top) - 20;
    std::memset(frame, 0, 160);
    frame[11] = reinterpret_cast<uint64_t>(&run_lane);
#endif
    fiber.stack_pointer = frame;
  }
}

void Threadgroup::check_stacks() {
  uint32_t count = shared.threads[0] * shared.threads[1] * shared.threads[2];
  for (uint32_t i = 0; i < count && fault.empty(); i += lockstep ? kLanes : 1)
    if (std::memcmp(stack_of(i), &kCanary, sizeof kCanary) != 0)
      fault =
          "the kernel's local variables need more than 65536 bytes a thread; use smaller arrays";
}

void Threadgroup::forget_frames() {
#if defined(ATTN_ADDRESS_SANITIZER)
  for (uint32_t i = 0; i < simdgroup_count; i++)
    if (simdgroups[i].alive)
      __asan_unpoison_memory_region(stack_of(i * kLanes), kLanes * kStackStride);
#endif
}

void Threadgroup::run() {
  place_lanes();
  current = fibers_;
  attn_switch(&caller_stack_pointer, fibers_[0].stack_pointer);
  held = 0;
  forget_frames();
  if (!left.signal) check_stacks();
}

}  // namespace attnproto::cpu
