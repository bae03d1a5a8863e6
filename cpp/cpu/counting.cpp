#include "counting.h"

#include <algorithm>
#include <array>

#include "fiber.h"

namespace attnproto::cpu {
namespace {

constexpr uint32_t kEnded = ~0u;

// One lane of a simdgroup that is run again: the segment it is at, and what it used up.
struct Replay {
  uint32_t at = kEnded;
  size_t segment = 0, address = 0;
};

void add(std::vector<uint64_t>& to, const std::vector<uint64_t>& from) {
  to.resize(std::max(to.size(), from.size()));
  for (size_t i = 0; i < from.size(); i++) to[i] += from[i];
}

}  // namespace

void Touched::add(uint64_t address, uint32_t bytes) {
  while (bytes) {
    uint32_t at = address % 64, here = std::min(bytes, 64 - at);
    uint64_t mask = here == 64 ? ~uint64_t(0) : ((uint64_t(1) << here) - 1) << at;
    lines_[address / 64] |= mask;
    address += here, bytes -= here;
  }
}

void Touched::merge(const Touched& other) {
  for (const auto& [line, mask] : other.lines_) lines_[line] |= mask;
}

uint64_t Touched::bytes() const {
  uint64_t total = 0;
  for (const auto& [line, mask] : lines_) total += uint64_t(__builtin_popcountll(mask));
  return total;
}

void Counted::merge(const Counted& other) {
  add(lanes, other.lanes);
  add(issued, other.issued);
  add(divergent, other.divergent);
  add(uniform, other.uniform);
  threadgroups += other.threadgroups;
  simdgroups += other.simdgroups;
  threads += other.threads;
  threadgroup_bytes = std::max(threadgroup_bytes, other.threadgroup_bytes);
  loaded.merge(other.loaded);
  stored.merge(other.stored);
}

void Counting::segment(uint32_t thread, const CountedKernel* kernel, uint32_t number) {
  kernel_ = kernel;
  if (thread >= lanes_.size()) lanes_.resize(kMaxThreads);
  lanes_[thread].segments.push_back(number);
}

void Counting::access(uint32_t thread, uint64_t address) {
  lanes_[thread].addresses.push_back(address);
}

void Counting::finish(uint32_t threads, size_t threadgroup_bytes) {
  if (!kernel_) return;
  Counted& total = counted[kernel_->description];
  for (auto* each : {&total.lanes, &total.issued, &total.divergent})
    each->resize(kernel_->segment_count);
  total.uniform.resize(kernel_->access_count);
  for (uint32_t first = 0; first < threads; first += kLanes) {
    lockstep(&lanes_[first], std::min(kLanes, threads - first), total);
    total.simdgroups++;
  }
  total.threadgroups++;
  total.threads += threads;
  total.threadgroup_bytes = std::max<uint64_t>(total.threadgroup_bytes, threadgroup_bytes);
  discard();
}

void Counting::discard() {
  for (Lane& lane : lanes_) lane.segments.clear(), lane.addresses.clear();
  kernel_ = nullptr;
}

void Counting::lockstep(const Lane* lanes, uint32_t count, Counted& total) {
  const CountedSegment* segments = kernel_->segments;
  std::array<Replay, kLanes> replays;
  auto next = [&](uint32_t lane) {
    const auto& trace = lanes[lane].segments;
    Replay& replay = replays[lane];
    replay.at = replay.segment < trace.size() ? trace[replay.segment++] : kEnded;
  };
  for (uint32_t lane = 0; lane < count; lane++) next(lane);

  for (;;) {
    uint32_t first = kEnded;
    for (uint32_t lane = 0; lane < count; lane++)
      if (replays[lane].at != kEnded &&
          (first == kEnded || segments[replays[lane].at].order < segments[replays[first].at].order))
        first = lane;
    if (first == kEnded) return;
    const uint32_t here = replays[first].at;
    uint32_t active = 0;
    for (uint32_t lane = first; lane < count; lane++)
      if (replays[lane].at == here) active |= 1u << lane;

    total.issued[here]++;
    total.lanes[here] += uint64_t(__builtin_popcount(active));
    const CountedSegment& segment = segments[here];
    for (uint32_t i = 0; i < segment.accesses; i++) {
      const CountedAccess& access = kernel_->accesses[segment.first_access + i];
      bool uniform = true;
      uint64_t one = lanes[first].addresses[replays[first].address];
      for (uint32_t rest = active; rest; rest &= rest - 1) {
        uint32_t lane = uint32_t(__builtin_ctz(rest));
        uint64_t address = lanes[lane].addresses[replays[lane].address++];
        uniform = uniform && address == one;
        if (access.device) (access.store ? total.stored : total.loaded).add(address, access.bytes);
      }
      total.uniform[segment.first_access + i] += uniform;
    }

    bool parted = false;
    for (uint32_t rest = active; rest; rest &= rest - 1) next(uint32_t(__builtin_ctz(rest)));
    for (uint32_t rest = active; rest; rest &= rest - 1)
      parted = parted || replays[__builtin_ctz(rest)].at != replays[first].at;
    total.divergent[here] += parted;
  }
}

}  // namespace attnproto::cpu
