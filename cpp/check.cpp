#include "check.h"

#include <set>
#include <utility>

#include "error.h"

namespace attnproto {
namespace {

constexpr size_t kMaxInlineBytes = 4096;
// A thread's position is of three numbers of 32 bits, and so is a threadgroup counted.
constexpr uint64_t kMaxGridThreads = UINT32_MAX, kMaxThreadgroups = UINT32_MAX;

[[noreturn]] void refuse(const std::string& kernel, const std::string& why) {
  throw Error(ErrorKind::DispatchError, "[dispatch " + kernel + "] " + why);
}

std::string text(const Extent& e) {
  return "(" + std::to_string(e.x) + ", " + std::to_string(e.y) + ", " + std::to_string(e.z) + ")";
}

// The product of the axes; where it is more than `most`, a number that is.
uint64_t counted(const Extent& e, uint64_t most) {
  uint64_t plane = uint64_t(e.x) * e.y;  // of two numbers of 32 bits
  return plane > most && e.z ? plane : plane * e.z;
}

uint32_t covering(uint32_t grid, uint32_t threads) { return grid / threads + (grid % threads > 0); }

void check_grid(const Dispatch& dispatch, const std::string& kernel) {
  const Extent &groups = dispatch.threadgroups, &threads = dispatch.threads;
  auto empty = [](const Extent& e) { return !e.x || !e.y || !e.z; };
  if (empty(groups))
    refuse(kernel, "found an empty grid of threadgroups " + text(groups) +
                       ", needs at least 1 on each axis");
  if (counted(groups, kMaxThreadgroups) > kMaxThreadgroups)
    refuse(kernel, "found more threadgroups " + text(groups) + " than can be counted, needs at " +
                       "most 2^32 - 1 in all; dispatch parts of the grid");
  if (dispatch.grid) {
    const Extent& grid = *dispatch.grid;
    if (empty(grid))
      refuse(kernel,
             "found an empty grid of threads " + text(grid) + ", needs at least 1 on each axis");
    Extent cover = {covering(grid.x, threads.x), covering(grid.y, threads.y),
                    covering(grid.z, threads.z)};
    if (cover.x != groups.x || cover.y != groups.y || cover.z != groups.z)
      refuse(kernel, "found threadgroups " + text(groups) + " for a grid of threads " + text(grid) +
                         ", needs the " + text(cover) + " that cover it; pass these");
    return;
  }
  for (auto [n, each] : {std::pair(groups.x, threads.x), std::pair(groups.y, threads.y),
                         std::pair(groups.z, threads.z)})
    if (uint64_t(n) * each > kMaxGridThreads)
      refuse(kernel, "found " + std::to_string(uint64_t(n) * each) + " threads on an axis of " +
                         text(groups) + " threadgroups of " + text(threads) +
                         ", needs at most 2^32 - 1; dispatch parts of the grid");
}

}  // namespace

void refuse_missing_table(const KernelArgument& argument, const std::string& kernel) {
  refuse(kernel, "found no function table bound to buffer " + std::to_string(argument.index) +
                     " (" + argument.name +
                     "), needs one made by this pipeline; pass pipeline.function_table(...) in "
                     "buffers");
}

void refuse_table(const KernelArgument& argument, const std::string& kernel) {
  refuse(kernel, "found a function table of another pipeline bound to buffer " +
                     std::to_string(argument.index) + " (" + argument.name +
                     "), needs one made by this pipeline");
}

std::vector<ElementType> elements_of(const std::vector<KernelArgument>& arguments) {
  std::vector<ElementType> found;
  for (const KernelArgument& one : arguments)
    if (one.kind == KernelArgument::Kind::Buffer && one.element)
      found.push_back({one.index, one.element, one.name});
  return found;
}

size_t binding_bytes(const Binding& binding) {
  if (auto* device = std::get_if<DeviceMemory>(&binding.source))
    return device->buffer->bytes() - device->offset;
  if (auto* host = std::get_if<HostMemory>(&binding.source)) return host->bytes;
  return std::get<InlineBytes>(binding.source).size();
}

void check_pipeline(const PipelineInfo& pipeline, const std::string& kernel) {
  auto refuse = [&](uint32_t found, const std::string& what, uint32_t most) {
    throw Error(ErrorKind::KernelCompileError,
                "[pipeline " + kernel + "] found " + std::to_string(found) + " " + what +
                    ", needs at most " + std::to_string(most) + "; use a smaller tile");
  };
  if (pipeline.static_threadgroup_bytes > kMaxThreadgroupBytes)
    refuse(pipeline.static_threadgroup_bytes, "bytes of threadgroup variables",
           kMaxThreadgroupBytes);
  if (pipeline.max_threads > kMaxThreadsPerThreadgroup)
    refuse(pipeline.max_threads, "threads in max_total_threads_per_threadgroup",
           kMaxThreadsPerThreadgroup);
}

void check_dispatch(const Dispatch& dispatch, const PipelineInfo& pipeline,
                    const std::string& kernel) {
  uint64_t threads = counted(dispatch.threads, pipeline.max_threads);
  if (threads == 0 || threads > pipeline.max_threads)
    refuse(kernel, "found " + std::to_string(threads) + " threads " + text(dispatch.threads) +
                       " a threadgroup, needs 1 to " + std::to_string(pipeline.max_threads) +
                       "; pass fewer threads and more threadgroups");
  check_grid(dispatch, kernel);

  std::set<uint32_t> seen;
  for (const Binding& binding : dispatch.bindings) {
    std::string name = "buffer " + std::to_string(binding.index);
    if (binding.index >= kMaxBufferIndex)
      refuse(kernel, "found " + name + ", needs an index below 31");
    if (!seen.insert(binding.index).second) refuse(kernel, "found " + name + " bound twice");
    if (auto* device = std::get_if<DeviceMemory>(&binding.source)) {
      if (!device->buffer) refuse(kernel, "found no memory for " + name);
      if (device->offset > device->buffer->bytes())
        refuse(kernel, "found offset " + std::to_string(device->offset) + " for " + name +
                           ", which holds " + std::to_string(device->buffer->bytes()) + " bytes");
    }
    if (auto* bytes = std::get_if<InlineBytes>(&binding.source))
      if (bytes->size() > kMaxInlineBytes)
        refuse(kernel, "found " + std::to_string(bytes->size()) + " inline bytes for " + name +
                           ", needs at most 4096; pass an array or a device buffer");
  }

  uint64_t threadgroup_bytes = pipeline.static_threadgroup_bytes;
  for (const ThreadgroupMemory& memory : dispatch.threadgroup_memory) {
    if (memory.index >= kMaxBufferIndex)
      refuse(kernel, "found threadgroup memory " + std::to_string(memory.index) +
                         ", needs an index below 31");
    if (memory.bytes % 16)
      refuse(kernel, "found " + std::to_string(memory.bytes) + " bytes of threadgroup memory " +
                         std::to_string(memory.index) + ", needs a multiple of 16");
    threadgroup_bytes += memory.bytes;
  }
  if (threadgroup_bytes > kMaxThreadgroupBytes)
    refuse(kernel, "found " + std::to_string(threadgroup_bytes) +
                       " bytes of threadgroup memory (static " +
                       std::to_string(pipeline.static_threadgroup_bytes) +
                       "), needs at most 32768; use a smaller tile");
}

void check_arguments(const Dispatch& dispatch, const std::vector<KernelArgument>& arguments,
                     const std::string& kernel) {
  for (const KernelArgument& argument : arguments) {
    if (argument.kind == KernelArgument::Kind::FunctionTable) continue;
    bool buffer = argument.kind == KernelArgument::Kind::Buffer;
    std::string what = std::string(buffer ? "buffer " : "threadgroup memory ") +
                       std::to_string(argument.index) + " (" + argument.name + ")";
    size_t bytes = 0;
    bool bound = false;
    if (buffer) {
      for (const Binding& binding : dispatch.bindings) {
        if (binding.index != argument.index) continue;
        bound = true, bytes = binding_bytes(binding);
        if (!argument.writes) continue;
        auto* host = std::get_if<HostMemory>(&binding.source);
        if (host && !host->writable)
          refuse(kernel, "found a read-only array bound to " + what +
                             ", which the kernel may write; pass a writable one");
        if (!host && !std::holds_alternative<DeviceMemory>(binding.source))
          refuse(kernel, "found bytes or a number bound to " + what +
                             ", which the kernel may write; pass an array, which gets it");
      }
    } else {
      for (const ThreadgroupMemory& memory : dispatch.threadgroup_memory)
        if (memory.index == argument.index) bound = true, bytes = memory.bytes;
    }
    if (!bound)
      refuse(kernel, "found nothing bound to " + what + "; pass it in " +
                         (buffer ? "buffers" : "threadgroup_bytes"));
    if (bytes < argument.min_bytes)
      refuse(kernel, "found " + std::to_string(bytes) + " bytes bound to " + what +
                         ", needs at least " + std::to_string(argument.min_bytes));
  }
}

Extent whole_grid(const Dispatch& dispatch) {
  if (dispatch.grid) return *dispatch.grid;
  const Extent &groups = dispatch.threadgroups, &threads = dispatch.threads;
  return {groups.x * threads.x, groups.y * threads.y, groups.z * threads.z};
}

Extent threadgroups_of(const Dispatch& dispatch) {
  Extent grid = whole_grid(dispatch), threads = dispatch.threads;
  return {covering(grid.x, threads.x), covering(grid.y, threads.y), covering(grid.z, threads.z)};
}

}  // namespace attnproto
