#include "launch.h"

#include <algorithm>

namespace attnproto::cuda {
namespace {

// Fewer launches are through before a graph of them is made.
constexpr uint64_t kFewestNodes = 8;
// More gain nothing: the driver takes 2 us for a graph.
constexpr uint32_t kMostNodes = 512;

}  // namespace

LaunchQueue::LaunchQueue(Context& context, const std::vector<Launch>& launches)
    : context_(context),
      launches_(launches),
      most_(std::max<uint32_t>(1, kMostNodes / std::max<size_t>(1, launches.size()))) {}

LaunchQueue::~LaunchQueue() {
  for (auto& [rounds, executable] : graphs_) driver().GraphExecDestroy(executable);
}

bool LaunchQueue::is_few(uint32_t rounds) const {
  return rounds * uint64_t(launches_.size()) < kFewestNodes;
}

void LaunchQueue::prepare(uint32_t rounds) {
  if (is_few(rounds)) return;
  for (uint32_t part : {std::min(rounds, most_), rounds % most_})
    if (!is_few(part) && !executable(part)) graphs_.emplace_back(part, new_executable(part));
}

void LaunchQueue::put(uint32_t rounds) {
  while (rounds > 0) {
    const uint32_t part = std::min(rounds, most_);
    rounds -= part;
    if (Handle graph = executable(part)) {
      const int status = driver().GraphLaunch(graph, nullptr);
      // A sentence is put together only where there is something to say.
      if (status) context_.check(status, "dispatch " + launches_.back().kernel);
      continue;
    }
    for (uint32_t i = 0; i < part; i++)
      for (const Launch& launch : launches_) {
        void* parameters[] = {const_cast<LaunchParameter*>(&launch.parameter)};
        const Extent& grid = launch.threadgroups;
        const int status =
            driver().LaunchKernel(launch.function, grid.x, grid.y, grid.z, launch.threads, 1, 1,
                                  launch.dynamic_bytes, nullptr, parameters, nullptr);
        if (status) context_.check(status, "dispatch " + launch.kernel);
      }
  }
}

Handle LaunchQueue::executable(uint32_t rounds) const {
  for (const auto& [of, executable] : graphs_)
    if (of == rounds) return executable;
  return nullptr;
}

Handle LaunchQueue::new_executable(uint32_t rounds) {
  const Driver& d = driver();
  const std::string where = launches_.back().kernel;
  Handle graph = nullptr, executable = nullptr, last = nullptr;
  context_.check(d.GraphCreate(&graph, 0), where);
  Result result = kSuccess;
  for (uint32_t i = 0; i < rounds; i++)
    for (const Launch& launch : launches_) {
      void* parameters[] = {const_cast<LaunchParameter*>(&launch.parameter)};
      const Extent& grid = launch.threadgroups;
      const KernelNode node = {launch.function,
                               {grid.x, grid.y, grid.z},
                               {launch.threads, 1, 1},
                               launch.dynamic_bytes,
                               parameters,
                               nullptr};
      const Handle before = last;
      if (result == kSuccess)
        result = d.GraphAddKernelNode(&last, graph, &before, before ? 1 : 0, &node);
    }
  if (result == kSuccess) result = d.GraphInstantiate(&executable, graph, 0);
  d.GraphDestroy(graph);
  // What the GPU needs of it goes over now, not when it is first launched.
  if (result == kSuccess) result = d.GraphUpload(executable, nullptr);
  if (result != kSuccess && executable) d.GraphExecDestroy(executable);
  context_.check(result, where);
  return executable;
}

}  // namespace attnproto::cuda
