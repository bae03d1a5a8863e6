// The contract every device keeps. Nothing here names a vendor.
//
// A Device makes Buffers and Libraries; a Library holds the kernels of one MSL
// text and makes Pipelines (a kernel with its function constants fixed); a
// submission runs Dispatches in order and returns its Timing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "error.h"

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

using Number = std::variant<bool, int64_t, uint64_t, double>;

// A function constant. The device converts the value to the type declared in
// the kernel text, and refuses a value that type cannot hold.
struct Constant {
  std::variant<uint32_t, std::string> key;          // [[function_constant(index)]] or its name
  std::variant<Number, std::vector<Number>> value;  // of a vector its elements
};

class Library;

// What a text is compiled with, beside the text itself.
struct CompileOptions {
  bool fast_math = false;
  std::vector<std::pair<std::string, std::string>> macros;
};

// One call inside a stitched function: its arguments are inputs of the stitched
// function or results of earlier calls.
struct StitchedCall {
  enum class From { Input, Call };
  struct Argument {
    From from = From::Input;
    uint32_t index = 0;
  };
  std::string function;
  std::vector<Argument> arguments;
};

// A function composed without source text (Metal: a stitching graph). The result
// is that of the last call.
struct StitchedFunction {
  std::string name;
  std::vector<StitchedCall> calls;
  bool always_inline = true;
};

// A function of another library, linked into one pipeline so that the kernel
// can call what its own text only declares.
struct LinkedFunction {
  std::shared_ptr<Library> library;
  std::string function;
};

struct PipelineDescriptor {
  std::string function;
  std::vector<Constant> constants;
  // Visible functions the pipeline may call through a function table.
  std::vector<std::string> linked_functions;
  // A file holding pipelines compiled earlier; empty: none is looked up.
  std::string archive;
  // With an archive: refuse to compile what the archive does not hold.
  bool fail_on_archive_miss = false;
  std::vector<LinkedFunction> private_functions;
  // Its code may rely on it that no buffer which the kernel writes overlaps another of its buffers.
  // Whoever asks for such code looks at what each dispatch binds.
  bool distinct_buffers = false;
};

// A buffer whose elements a device knows, as KernelArgument says it.
struct ElementType {
  uint32_t index = 0;
  uint32_t element = 0;
  std::string name;
};

struct PipelineInfo {
  uint32_t static_threadgroup_bytes = 0;
  uint32_t max_threads = 0;  // per threadgroup
  uint32_t simd_width = kSimdWidth;
  double compile_us = 0;      // time until the pipeline was ready, whatever the cache gave
  double function_us = 0;     // the part of it in which constants were fixed and functions linked
  bool cached = false;        // true when no compiler ran
  std::string engine;         // what runs it, where a device has several
  std::string engine_reason;  // why not the faster one
  std::vector<ElementType> elements;
};

class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual size_t bytes() const = 0;
  virtual void* contents() = 0;  // host address; valid between submissions
};

// Visible functions of one pipeline, called by their place in the table.
class FunctionTable {
 public:
  virtual ~FunctionTable() = default;
  virtual size_t size() const = 0;
};

class Pipeline {
 public:
  virtual ~Pipeline() = default;
  virtual const PipelineInfo& info() const = 0;
  // The names must be among the descriptor's linked_functions.
  virtual std::shared_ptr<FunctionTable> function_table(const std::vector<std::string>&) {
    throw Error(ErrorKind::KernelCompileError,
                "[device.function_table] found a device without function tables, needs one that "
                "calls functions indirectly; branch on an argument instead");
  }
};

class Library {
 public:
  virtual ~Library() = default;
  virtual std::vector<std::string> functions() const = 0;
  // What it was compiled from, where the device keeps it.
  virtual std::string text() const { return ""; }
  virtual std::shared_ptr<Pipeline> pipeline(const PipelineDescriptor&) = 0;
  // A library of functions composed from this one's visible functions.
  virtual std::shared_ptr<Library> stitch(const std::vector<StitchedFunction>&) {
    throw Error(
        ErrorKind::KernelCompileError,
        "[device.stitch] found a device without function stitching, needs one that composes "
        "functions; concatenate the source instead");
  }
};

// Compiled pipelines that outlive the process.
class Archive {
 public:
  virtual ~Archive() = default;
  virtual void add(Library& library, const PipelineDescriptor& descriptor) = 0;
  virtual void save(const std::string& path) = 0;
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

struct TableBinding {
  uint32_t index = 0;
  std::shared_ptr<FunctionTable> table;
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
  std::vector<TableBinding> function_tables;
  // In a concurrent submission: wait for everything encoded before.
  bool barrier_before = false;
};

struct SubmitOptions {
  // Dispatches may overlap and see no writes of each other, save across barrier_before.
  bool concurrent = false;
  // Ask the device's counters for the time of every dispatch.
  bool time_each = false;
  // Longest time of a dispatch in seconds, of a device that can end one; 0: any.
  double time_limit_s = 0;
  // Asked now and then while the device works; true ends the dispatch with Interrupted.
  std::function<bool()> interrupted;
  // Ask for the state of every encoder, which names the one at fault and may cost time; of a device
  // that does so after a failure anyway.
  bool explain_faults = false;
};

// How often a submission's dispatches run: `ahead` rounds that are not timed, so that a GPU is at
// work when the clock starts, then `times` rounds between the timing's start and end.
struct Rounds {
  uint32_t times = 1;
  uint32_t ahead = 0;
};

// Start and end on the device's own clock, for the whole submission.
struct Timing {
  double gpu_start_us = 0;
  double gpu_end_us = 0;
  double gpu_us() const { return gpu_end_us - gpu_start_us; }
  // One entry a dispatch when time_each was asked for and the counters could be read, else none.
  struct Span {
    double start_us = 0;
    double end_us = 0;
  };
  std::vector<Span> each;
  // Why there are none, where time_each was asked for.
  std::string each_refused;
};

struct DeviceInfo {
  std::string kind;  // "metal", "cuda", "cpu"
  std::string name;
  std::string tier;  // what a time measured here is worth: "measured" or "emulated"
  // What compiled code depends on besides its compiler.
  std::string processor;
  std::string os;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual std::shared_ptr<Buffer> new_buffer(size_t bytes) = 0;
  virtual std::shared_ptr<Library> library(const std::string& msl_text) = 0;
  // Runs the dispatches in rounds, in order, each seeing what the ones before it wrote; encoded
  // once. A device may run a concurrent submission in order: that is one of the orders it allows.
  virtual Timing submit_repeated(const std::vector<Dispatch>& dispatches, const Rounds& rounds,
                                 const SubmitOptions& options) = 0;
  Timing submit_with(const std::vector<Dispatch>& dispatches, const SubmitOptions& options) {
    return submit_repeated(dispatches, {}, options);
  }
  Timing submit(const std::vector<Dispatch>& dispatches) { return submit_with(dispatches, {}); }

  // What only some devices can do; the defaults are those of a device that cannot.
  virtual std::shared_ptr<Library> library_with(const std::string& msl_text,
                                                const CompileOptions& options) {
    if (options.fast_math || !options.macros.empty())
      throw Error(ErrorKind::KernelCompileError,
                  "[device.library] found compile options, needs a device that takes them; write "
                  "them into the text");
    return library(msl_text);
  }
  // The kernels of a file that Metal's compiler has compiled ahead of time.
  virtual std::shared_ptr<Library> compiled_library(const std::string& path) {
    throw Error(ErrorKind::KernelCompileError,
                "[device.metallib] found " + path +
                    " for a device that loads no metallib itself, needs Metal; use "
                    "Device.metallib, which lifts its kernels");
  }
  virtual std::shared_ptr<Archive> new_archive() {
    throw Error(ErrorKind::KernelCompileError,
                "[device.archive] found a device without binary archives, needs one that stores "
                "pipelines; compile from the text");
  }
  // Memory the device holds for this process, for leak checks; 0 when it cannot say.
  virtual uint64_t allocated_bytes() const { return 0; }
  // What changes a time and is not the program's doing, by name: thermal state, power.
  virtual std::vector<std::pair<std::string, std::string>> conditions() const { return {}; }
  // What the device says of itself, by name: at least the limits it enforces.
  virtual std::vector<std::pair<std::string, std::string>> properties() const {
    return {{"max_threads", std::to_string(kMaxThreadsPerThreadgroup)},
            {"max_threadgroup_bytes", std::to_string(kMaxThreadgroupBytes)},
            {"simd_width", std::to_string(kSimdWidth)}};
  }
};

}  // namespace attnproto
