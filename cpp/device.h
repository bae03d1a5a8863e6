// The contract every device keeps. Nothing here names a vendor.
//
// A Device makes Buffers and Libraries; a Library holds the kernels of one MSL
// text and makes Pipelines (a kernel with its function constants fixed); a
// submission runs Dispatches in order and returns its Timing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace attnproto {

// Metal's limits on Apple silicon (Metal feature set tables, Apple family 9),
// enforced by every device so that a kernel which runs anywhere fits an M4.
inline constexpr uint32_t kMaxThreadgroupBytes = 32768;
inline constexpr uint32_t kMaxThreadsPerThreadgroup = 1024;
inline constexpr uint32_t kMaxBufferIndex = 31;
inline constexpr uint32_t kSimdWidth = 32;

struct Extent {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t(x) * y * z; }
};

// A function constant. The device converts the value to the type declared in
// the kernel text, and refuses a value that type cannot hold.
struct Constant {
  std::variant<uint32_t, std::string> key;  // [[function_constant(index)]] or its name
  std::variant<bool, int64_t, double> value;
};

struct PipelineDescriptor {
  std::string function;
  std::vector<Constant> constants;
  // Visible functions the pipeline may call through a function table.
  std::vector<std::string> linked_functions;
  // A file holding pipelines compiled earlier; empty: none is looked up.
  std::string archive;
};

struct PipelineInfo {
  uint32_t static_threadgroup_bytes = 0;
  uint32_t max_threads = 0;  // per threadgroup
  uint32_t simd_width = kSimdWidth;
  double compile_us = 0;     // time until the pipeline was ready, whatever the cache gave
  bool cached = false;       // true when no compiler ran
};

class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual size_t bytes() const = 0;
  virtual void* contents() = 0;  // host address; valid between submissions
};

class Pipeline {
 public:
  virtual ~Pipeline() = default;
  virtual const PipelineInfo& info() const = 0;
};

class Library {
 public:
  virtual ~Library() = default;
  virtual std::vector<std::string> functions() const = 0;
  virtual std::shared_ptr<Pipeline> pipeline(const PipelineDescriptor&) = 0;
};

// Memory of the caller, bound for one submission. After it, `data` holds what
// the kernel wrote when `writable` is set.
struct HostMemory {
  void* data = nullptr;
  size_t bytes = 0;
  bool writable = false;
};

struct DeviceMemory {
  std::shared_ptr<Buffer> buffer;
  size_t offset = 0;
};

// A few bytes copied at encoding time (Metal: setBytes, at most 4096 bytes).
using InlineBytes = std::string;

struct Binding {
  uint32_t index = 0;
  std::variant<DeviceMemory, HostMemory, InlineBytes> source;
};

struct ThreadgroupMemory {
  uint32_t index = 0;
  uint32_t bytes = 0;
};

struct Dispatch {
  std::shared_ptr<Pipeline> pipeline;
  Extent threadgroups;  // how many in the grid
  Extent threads;       // in each threadgroup
  // Threads in the whole grid, when that is not threadgroups x threads: the
  // threadgroups at the far edges are then smaller (Metal: dispatchThreads).
  std::optional<Extent> grid;
  std::vector<Binding> bindings;
  std::vector<ThreadgroupMemory> threadgroup_memory;
};

// Start and end on the device's own clock, for the whole submission.
struct Timing {
  double gpu_start_us = 0;
  double gpu_end_us = 0;
  double gpu_us() const { return gpu_end_us - gpu_start_us; }
};

struct DeviceInfo {
  std::string kind;  // "metal", "cuda", "cpu"
  std::string name;
  std::string tier;  // what a time measured here is worth: "measured" or "emulated"
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual std::shared_ptr<Buffer> new_buffer(size_t bytes) = 0;
  virtual std::shared_ptr<Library> library(const std::string& msl_text) = 0;
  // Runs the dispatches in order, each seeing what the ones before it wrote.
  virtual Timing submit(const std::vector<Dispatch>& dispatches) = 0;
};

}  // namespace attnproto
