// One submission: checked whole, encoded, run, waited for, judged and timed.
#include <unistd.h>

#include <algorithm>
#include <bitset>
#include <cstring>
#include <optional>
#include <set>

#include "check.h"
#include "internal.h"

namespace attnproto::metal {
namespace {

// Metal has no buffer of no bytes.
constexpr size_t kLeastBytes = 16;
// 32 KB of 8-byte samples, two a dispatch.
constexpr size_t kMaxTimedDispatches = 2048;

[[noreturn]] void refuse(const std::string& found, const std::string& needs,
                         const std::string& cure) {
  throw Error(ErrorKind::DispatchError,
              "[metal.dispatch] found " + found + ", needs " + needs + "; " + cure);
}

const MetalPipeline& pipeline_of(const Context& context, const Dispatch& dispatch) {
  auto* pipeline = dynamic_cast<const MetalPipeline*>(dispatch.pipeline.get());
  if (!pipeline || pipeline->context() != &context)
    refuse("a pipeline of another device", "one of this device", "compile the kernel here");
  return *pipeline;
}

void check_binding(const Context& context, const std::string& kernel, const Binding& binding) {
  const std::string where = "binding " + std::to_string(binding.index) + " of " + kernel;
  if (auto* memory = std::get_if<DeviceMemory>(&binding.source)) {
    auto* buffer = dynamic_cast<const MetalBuffer*>(memory->buffer.get());
    if (!buffer || buffer->context() != &context)
      refuse("a buffer of another device as " + where, "one of this device", "copy the data here");
    if (memory->offset >= buffer->get()->length())
      refuse("offset " + std::to_string(memory->offset) + " in " + where,
             "less than " + std::to_string(buffer->bytes()), "check the offset");
  } else if (auto* host = std::get_if<HostMemory>(&binding.source)) {
    if (!host->data) refuse("no memory as " + where, "an array", "pass one");
  } else if (std::get<InlineBytes>(binding.source).empty()) {
    refuse("no inline bytes as " + where, "1 to 4096", "pass the bytes or leave them out");
  }
}

void check(const Context& context, const Dispatch& dispatch) {
  const MetalPipeline& pipeline = pipeline_of(context, dispatch);
  // Metal drops a dispatch with too many threads without a word: nothing is left for it to judge.
  check_dispatch(dispatch, pipeline.info(), pipeline.kernel());
  std::set<uint32_t> used;
  for (const Binding& binding : dispatch.bindings) {
    used.insert(binding.index);
    check_binding(context, pipeline.kernel(), binding);
  }
  for (const TableBinding& binding : dispatch.function_tables) {
    if (binding.index >= kMaxBufferIndex || !used.insert(binding.index).second)
      refuse("buffer index " + std::to_string(binding.index) + " for " + pipeline.kernel(),
             "distinct indices below 31", "renumber the arguments");
    auto* table = dynamic_cast<const MetalTable*>(binding.table.get());
    if (!table || table->state() != pipeline.get())
      refuse("a function table of another pipeline for " + pipeline.kernel(),
             "one made from this pipeline", "call function_table on it");
  }
}

// The caller's memory for the time of one submission: in place where it fills
// whole pages, else as a copy that is written back.
class HostBuffers {
 public:
  explicit HostBuffers(Context& context) : context_(context) {}

  void add(const HostMemory& memory) {
    const auto begin = uintptr_t(memory.data);
    for (auto& [place, entry] : entries_) {
      const auto [other, bytes] = place;
      if (place == Place(begin, memory.bytes)) {
        entry.writable |= memory.writable;
        return;
      }
      if (begin < other + bytes && other < begin + memory.bytes)
        refuse("two overlapping host arrays", "the same array or separate ones",
               "bind the whole array once and pass offsets");
    }
    const size_t page = size_t(getpagesize());
    MTL::Device* device = context_.device.get();
    Owned<MTL::Buffer> buffer;
    if (memory.bytes && begin % page == 0 && memory.bytes % page == 0)
      buffer = NS::TransferPtr(
          device->newBuffer(memory.data, memory.bytes, MTL::ResourceStorageModeShared, nullptr));
    // Metal takes one mapping at a time: memory that two of them make up is copied like any other.
    const bool copied = !buffer;
    if (copied)
      buffer = NS::TransferPtr(
          device->newBuffer(std::max(memory.bytes, kLeastBytes), MTL::ResourceStorageModeShared));
    if (!buffer)
      refuse("no memory for " + std::to_string(memory.bytes) + " bytes", "free memory",
             "release buffers");
    if (copied) std::memcpy(buffer->contents(), memory.data, memory.bytes);
    entries_[{begin, memory.bytes}] = {std::move(buffer), memory.writable, copied};
  }

  MTL::Buffer* get(const HostMemory& memory) const {
    return entries_.at({uintptr_t(memory.data), memory.bytes}).buffer.get();
  }

  void write_back() const {
    for (const auto& [place, entry] : entries_)
      if (entry.copied && entry.writable)
        std::memcpy(reinterpret_cast<void*>(place.first), entry.buffer->contents(), place.second);
  }

 private:
  using Place = std::pair<uintptr_t, size_t>;  // address and bytes: an empty array has both
  struct Entry {
    Owned<MTL::Buffer> buffer;
    bool writable = false;
    bool copied = false;
  };
  Context& context_;
  std::map<Place, Entry> entries_;
};

// All that a dispatch runs with.
void set(MTL::ComputeCommandEncoder* encoder, const Dispatch& dispatch, const HostBuffers& host) {
  auto& pipeline = static_cast<const MetalPipeline&>(*dispatch.pipeline);
  encoder->setComputePipelineState(pipeline.get());
  for (const Binding& binding : dispatch.bindings) {
    if (auto* memory = std::get_if<DeviceMemory>(&binding.source)) {
      auto& buffer = static_cast<const MetalBuffer&>(*memory->buffer);
      encoder->setBuffer(buffer.get(), memory->offset, binding.index);
    } else if (auto* caller = std::get_if<HostMemory>(&binding.source)) {
      encoder->setBuffer(host.get(*caller), 0, binding.index);
    } else {
      const auto& bytes = std::get<InlineBytes>(binding.source);
      encoder->setBytes(bytes.data(), bytes.size(), binding.index);
    }
  }
  for (const TableBinding& binding : dispatch.function_tables)
    encoder->setVisibleFunctionTable(static_cast<const MetalTable&>(*binding.table).get(),
                                     binding.index);
  for (const ThreadgroupMemory& memory : dispatch.threadgroup_memory)
    encoder->setThreadgroupMemoryLength(memory.bytes, memory.index);
}

void launch(MTL::ComputeCommandEncoder* encoder, const Dispatch& dispatch) {
  auto size = [](const Extent& extent) { return MTL::Size(extent.x, extent.y, extent.z); };
  if (dispatch.grid) {
    encoder->dispatchThreads(size(*dispatch.grid), size(dispatch.threads));
  } else {
    encoder->dispatchThreadgroups(size(dispatch.threadgroups), size(dispatch.threads));
  }
}

// Ends its encoder whatever happens: Metal aborts when one is released un-ended.
class Encoder {
 public:
  Encoder(MTL::ComputeCommandEncoder* encoder, const std::string& label) : encoder_(encoder) {
    if (!encoder_)
      throw Error(ErrorKind::DispatchError,
                  "[metal.dispatch] found no encoder, needs one; release buffers and try again");
    encoder_->setLabel(ns(label));
  }
  ~Encoder() { encoder_->endEncoding(); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  MTL::ComputeCommandEncoder* operator->() const { return encoder_; }
  MTL::ComputeCommandEncoder* get() const { return encoder_; }

 private:
  MTL::ComputeCommandEncoder* encoder_;
};

std::string kernels_of(const std::vector<Dispatch>& dispatches) {
  std::vector<std::string> names;
  for (const Dispatch& dispatch : dispatches) {
    const auto& name = static_cast<const MetalPipeline&>(*dispatch.pipeline).kernel();
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::string joined = names.front();
  for (size_t i = 1; i < names.size() && i < 8; ++i) joined += ", " + names[i];
  return names.size() > 8 ? joined + ", ..." : joined;
}

// Places of arguments that are set: buffers and inline bytes, tables, threadgroup memory.
struct Places {
  std::bitset<kMaxBufferIndex> buffers, tables, memory;

  explicit Places(const Dispatch& dispatch) {
    for (const Binding& one : dispatch.bindings) buffers.set(one.index);
    for (const TableBinding& one : dispatch.function_tables) tables.set(one.index);
    for (const ThreadgroupMemory& one : dispatch.threadgroup_memory) memory.set(one.index);
  }

  // What was set stays set until the encoder ends: a dispatch that sets less would run with its
  // forerunner's arguments, and with its threadgroup memory on top of its own.
  void clear_but(const Places& kept, MTL::ComputeCommandEncoder* encoder) const {
    for (uint32_t i = 0; i < kMaxBufferIndex; ++i) {
      if (buffers[i] && !kept.buffers[i]) encoder->setBuffer(nullptr, 0, i);
      if (tables[i] && !kept.tables[i]) encoder->setVisibleFunctionTable(nullptr, i);
      if (memory[i] && !kept.memory[i]) encoder->setThreadgroupMemoryLength(0, i);
    }
  }
};

// One encoder for all: its boundaries cost a GPU microseconds.
void encode_all(MTL::CommandBuffer* commands, const std::vector<Dispatch>& dispatches,
                uint32_t rounds, bool concurrent, const HostBuffers& host) {
  const auto order = concurrent ? MTL::DispatchTypeConcurrent : MTL::DispatchTypeSerial;
  Encoder encoder(commands->computeCommandEncoder(order), kernels_of(dispatches));
  const std::vector<Places> places(dispatches.begin(), dispatches.end());
  std::optional<size_t> held;
  for (uint32_t round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < dispatches.size(); ++i) {
      if (concurrent && dispatches[i].barrier_before)
        encoder->memoryBarrier(MTL::BarrierScopeBuffers);
      if (held != i) {
        if (held) places[*held].clear_but(places[i], encoder.get());
        set(encoder.get(), dispatches[i], host);
        held = i;
      }
      launch(encoder.get(), dispatches[i]);
    }
  }
}

}  // namespace

Timing submit(Context& context, const std::vector<Dispatch>& dispatches, const Rounds& rounds,
              const SubmitOptions& options) {
  Pool pool;
  for (const Dispatch& dispatch : dispatches) check(context, dispatch);
  if (dispatches.empty() || !rounds.times) return {};

  struct Place {
    Gate& gate;
    explicit Place(Gate& held) : gate(held) { gate.enter(); }
    ~Place() { gate.leave(); }
  } place(context.gate);

  HostBuffers host(context);
  for (const Dispatch& dispatch : dispatches)
    for (const Binding& binding : dispatch.bindings)
      if (auto* memory = std::get_if<HostMemory>(&binding.source)) host.add(*memory);

  const bool timed = options.time_each && dispatches.size() <= kMaxTimedDispatches;
  Counters counters(context, timed ? dispatches.size() : 0);
  auto queue = context.queue();
  auto new_commands = [&] {
    auto descriptor = make<MTL::CommandBufferDescriptor>();
    if (context.explain_faults || options.explain_faults)
      descriptor->setErrorOptions(MTL::CommandBufferErrorOptionEncoderExecutionStatus);
    MTL::CommandBuffer* commands = queue->commandBuffer(descriptor.get());
    if (!commands)
      throw Error(ErrorKind::DeviceUnavailable,
                  "[metal.dispatch] found no command buffer, needs a working queue; open the "
                  "device again");
    commands->setLabel(ns(kernels_of(dispatches)));
    return commands;
  };
  // Both are encoded before either is committed: the second finds the GPU at work.
  MTL::CommandBuffer* ahead = rounds.ahead ? new_commands() : nullptr;
  if (ahead) encode_all(ahead, dispatches, rounds.ahead, options.concurrent, host);
  MTL::CommandBuffer* commands = new_commands();
  if (counters.available()) {
    for (size_t i = 0; i < dispatches.size(); ++i) {
      Encoder encoder(commands->computeCommandEncoder(counters.pass(i)),
                      kernels_of({dispatches[i]}));
      set(encoder.get(), dispatches[i], host);
      launch(encoder.get(), dispatches[i]);
    }
  } else {
    encode_all(commands, dispatches, rounds.times, options.concurrent, host);
  }
  if (ahead) ahead->commit();
  commands->commit();
  commands->waitUntilCompleted();
  for (MTL::CommandBuffer* one : {ahead, commands}) {
    if (!one || one->status() == MTL::CommandBufferStatusCompleted) continue;
    const Fault error = command_error(one, kernels_of(dispatches));
    context.explain_faults = true;
    context.renew_queue();
    throw error;
  }
  context.explain_faults = false;
  host.write_back();
  Timing timing;
  timing.gpu_start_us = commands->GPUStartTime() * 1e6;
  timing.gpu_end_us = commands->GPUEndTime() * 1e6;
  if (counters.available()) {
    counters.read(timing);
  } else if (options.time_each) {
    timing.each_refused = timed ? "the GPU has no counters at the ends of encoders"
                                : "a submission times at most 2048 dispatches each";
  }
  return timing;
}

}  // namespace attnproto::metal
