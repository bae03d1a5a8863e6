// What a device without a compiler for MSL needs from one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device.h"

namespace attnproto {

struct KernelArgument {
  enum class Kind { Buffer, Threadgroup, FunctionTable };
  Kind kind = Kind::Buffer;
  uint32_t index = 0;
  uint32_t min_bytes = 0;  // size of the pointee: a smaller binding is refused
  std::string name;        // as the kernel text spells it
  bool writes = false;     // the kernel may write what it points at
  uint32_t element = 0;    // the numbers it points at: kind times 16, and bytes; 0: unknown
};

// One kernel, specialised and compiled for one target.
struct KernelImage {
  std::vector<KernelArgument> arguments;
  uint32_t static_threadgroup_bytes = 0;
  uint32_t max_threads = kMaxThreadsPerThreadgroup;
  uint64_t entry_address = 0;  // machine code already loaded in this process
  std::string code;            // or text for the device's driver (PTX)
  // Linked functions that a table may hold, by name.
  std::vector<std::pair<std::string, uint64_t>> function_addresses;
  double compile_us = 0;
  double function_us = 0;
  bool cached = false;
  bool validates = false;         // asks before it accesses memory (cpu/validation.h)
  bool distinct_buffers = false;  // relies on what PipelineDescriptor::distinct_buffers says
  // Set where the entry runs a whole simdgroup along the threadgroup's first axis: gives an
  // entry for one lane, which other threadgroups need.
  std::function<uint64_t()> lane_entry;
  std::string engine;         // what runs it, where a device has several
  std::string engine_reason;  // why not the faster one
};

class FrontEnd {
 public:
  virtual ~FrontEnd() = default;
  // Checks the text; throws KernelCompileError naming its line.
  virtual std::vector<std::string> functions(const std::string& msl_text) = 0;
  virtual KernelImage compile(const std::string& msl_text, const PipelineDescriptor&) = 0;
  // Writes a file that PipelineDescriptor::archive may name: one pipeline of each text.
  virtual void save_archive(const std::vector<std::string>& /*msl_texts*/,
                            const std::vector<PipelineDescriptor>&, const std::string& path) {
    throw Error(ErrorKind::KernelCompileError,
                "[front_end.archive] found nothing to write " + path +
                    " with, needs a device that stores pipelines; compile from the text");
  }
};

}  // namespace attnproto
