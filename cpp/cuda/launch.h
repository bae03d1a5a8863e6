// Kernels on their way into the GPU's queue: one by one, or many as a graph.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../device.h"
#include "context.h"

namespace attnproto::cuda {

// What attn_launch in attnproto/cuda.h says.
struct LaunchParameter {
  uint64_t buffers[kMaxBufferIndex];
  uint32_t threadgroup_offsets[kMaxBufferIndex];
  uint32_t threads[3];
  uint32_t grid_threads[3];
};
static_assert(sizeof(LaunchParameter) == 400, "attn_launch in attnproto/cuda.h has this size");

struct Launch {
  Handle function = nullptr;
  std::string kernel;
  LaunchParameter parameter{};
  Extent threadgroups;
  uint32_t threads = 0, dynamic_bytes = 0;
};

// Puts rounds of launches into the GPU's queue, each launch after the one before it. The driver
// takes 4 us for a launch, in which a small kernel has long ended; as a node of a graph it takes
// 0.9 us (results/h200). Making a graph costs the host some microseconds a node, before the clock
// starts.
class LaunchQueue {
 public:
  // The launches stay the caller's.
  LaunchQueue(Context& context, const std::vector<Launch>& launches);
  ~LaunchQueue();
  LaunchQueue(const LaunchQueue&) = delete;
  LaunchQueue& operator=(const LaunchQueue&) = delete;

  // Makes what ``put`` needs for so many rounds.
  void prepare(uint32_t rounds);
  void put(uint32_t rounds);

 private:
  bool is_few(uint32_t rounds) const;
  Handle executable(uint32_t rounds) const;
  Handle new_executable(uint32_t rounds);

  Context& context_;
  const std::vector<Launch>& launches_;
  const uint32_t most_;                              // rounds of a graph
  std::vector<std::pair<uint32_t, Handle>> graphs_;  // executables by their rounds
};

}  // namespace attnproto::cuda
