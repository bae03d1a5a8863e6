// The contract over NVIDIA's driver. A simdgroup is a warp, a threadgroup a block.
#include "cuda_device.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "../check.h"
#include "../error.h"
#include "context.h"
#include "launch.h"
#include "library.h"

namespace attnproto {
namespace {

using cuda::Context;
using cuda::CudaArchive;
using cuda::CudaLibrary;
using cuda::CudaPipeline;
using cuda::CudaTable;
using cuda::DevicePointer;
using cuda::driver;
using cuda::Launch;
using cuda::LaunchParameter;
using cuda::LaunchQueue;

constexpr uint32_t kMaxGridYz = 65535;

// Host and device copies; the one written last is copied when the other is wanted.
class CudaBuffer final : public Buffer {
 public:
  CudaBuffer(std::shared_ptr<Context> context, size_t bytes)
      : context_(std::move(context)), host_(bytes), host_is_newer_(true) {}
  ~CudaBuffer() override { context_->release(device_, host_.size(), generation_); }
  size_t bytes() const override { return host_.size(); }
  void* contents() override {
    if (device_is_newer_) {
      context_->make_current();
      check_alive();
      context_->check(driver().MemcpyDtoH(host_.data(), device_, host_.size()), "buffer");
    }
    device_is_newer_ = false;
    host_is_newer_ = true;  // the caller may write through the address it gets
    return host_.data();
  }
  DevicePointer on_device() {
    if (device_ && generation_ != context_->generation()) {
      if (device_is_newer_) check_alive();
      device_ = 0;
    }
    if (!device_) {
      device_ = context_->allocate(host_.size(), "buffer");
      generation_ = context_->generation();
      host_is_newer_ = true;
    }
    if (host_is_newer_)
      context_->check(driver().MemcpyHtoD(device_, host_.data(), host_.size()), "buffer");
    host_is_newer_ = false;
    return device_;
  }
  void written() { device_is_newer_ = true; }

 private:
  void check_alive() const {
    if (generation_ != context_->generation())
      throw Error(ErrorKind::DispatchError,
                  "[cuda buffer] found a buffer whose contents a fault destroyed, needs a new one; "
                  "make it again with device.buffer(...)");
  }

  std::shared_ptr<Context> context_;
  std::vector<unsigned char> host_;
  DevicePointer device_ = 0;
  uint64_t generation_ = 0;
  bool host_is_newer_, device_is_newer_ = false;
};

// Device copies of the caller's memory for one submission; the same memory bound
// twice is one copy.
class Staging {
 public:
  explicit Staging(Context& context) : context_(context), generation_(context.generation()) {}
  ~Staging() {
    for (const Copy& copy : copies_) context_.release(copy.device, copy.bytes, generation_);
  }
  DevicePointer stage(const void* data, size_t bytes, void* write_back, const std::string& where) {
    for (Copy& copy : copies_)
      if (copy.host == data && copy.bytes == bytes) {
        if (write_back) copy.write_back = write_back;
        return copy.device;
      }
    DevicePointer device = context_.allocate(bytes, where);
    copies_.push_back({data, bytes, write_back, device});
    context_.check(driver().MemcpyHtoD(device, data, bytes), where);
    return device;
  }
  // Bytes given by value go over together, in one copy (send_inline).
  void reserve_inline(size_t bytes, const std::string& where) {
    if (bytes == 0) return;
    inline_.reserve(bytes);
    inline_device_ = context_.allocate(bytes, where);
    copies_.push_back({nullptr, bytes, nullptr, inline_device_});
  }
  DevicePointer inline_bytes(const std::string& bytes) {
    DevicePointer at = inline_device_ + inline_.size();
    inline_ += bytes;
    inline_.resize(inline_room(inline_.size()));
    return at;
  }
  void send_inline(const std::string& where) {
    if (!inline_.empty())
      context_.check(driver().MemcpyHtoD(inline_device_, inline_.data(), inline_.size()), where);
  }
  static size_t inline_room(size_t bytes) {
    return (bytes + cuda::kBufferAlignment - 1) / cuda::kBufferAlignment * cuda::kBufferAlignment;
  }
  void write_back(const std::string& where) {
    for (const Copy& copy : copies_)
      if (copy.write_back)
        context_.check(driver().MemcpyDtoH(copy.write_back, copy.device, copy.bytes), where);
  }

 private:
  struct Copy {
    const void* host;
    size_t bytes;
    void* write_back;
    DevicePointer device;
  };
  Context& context_;
  uint64_t generation_;
  std::vector<Copy> copies_;
  std::string inline_;
  DevicePointer inline_device_ = 0;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(const FrontEndFor& front_end_for)
      : context_(std::make_shared<Context>()),
        front_ends_{front_end_for(context_->architecture(), cuda::kBufferAlignment),
                    front_end_for(context_->architecture(), 1)} {
    // Machine code of an architecture runs on every GPU of it; to compiled code the driver is
    // what an operating system is to others'.
    info_ = {"cuda", context_->name(), "measured", context_->architecture(),
             "NVIDIA driver for CUDA " + context_->driver_version()};
  }
  const DeviceInfo& info() const override { return info_; }
  std::shared_ptr<Buffer> new_buffer(size_t bytes) override {
    return std::make_shared<CudaBuffer>(context_, bytes);
  }
  std::shared_ptr<Library> library(const std::string& text) override {
    return std::make_shared<CudaLibrary>(context_, front_ends_, text);
  }
  std::shared_ptr<Archive> new_archive() override {
    return std::make_shared<CudaArchive>(context_, front_ends_.aligned);
  }
  uint64_t allocated_bytes() const override { return context_->allocated_bytes(); }
  std::vector<std::pair<std::string, std::string>> properties() const override {
    return {{"architecture", info_.processor}, {"os", info_.os}};
  }

  Timing submit_repeated(const std::vector<Dispatch>& dispatches, const Rounds& rounds,
                         const SubmitOptions& options) override {
    std::lock_guard<std::mutex> one_at_a_time(mutex_);
    context_->make_current();
    std::string where = "submission";
    for (const Dispatch& dispatch : dispatches) where = check(dispatch);
    Staging staging(*context_);
    staging.reserve_inline(inline_bytes_of(dispatches), where);
    std::vector<Launch> launches;
    for (const Dispatch& dispatch : dispatches) launches.push_back(prepare(dispatch, staging));
    staging.send_inline(where);
    // Graphs are made before the clock starts.
    LaunchQueue queue(*context_, launches);
    queue.prepare(rounds.ahead);
    queue.prepare(rounds.times);
    queue.put(rounds.ahead);
    context_->mark_start(where);
    queue.put(rounds.times);
    context_->mark_end("dispatch " + where);
    Timing timing;
    auto since = std::chrono::steady_clock::now().time_since_epoch();
    timing.gpu_end_us = std::chrono::duration<double, std::micro>(since).count();
    timing.gpu_start_us = timing.gpu_end_us - context_->elapsed_us();
    staging.write_back(where);
    if (options.time_each) timing.each_refused = "the cuda device times whole submissions";
    return timing;
  }

 private:
  static std::string check(const Dispatch& dispatch) {
    auto* pipeline = dynamic_cast<CudaPipeline*>(dispatch.pipeline.get());
    if (!pipeline)
      throw Error(ErrorKind::DispatchError,
                  "[dispatch] found a pipeline of another device, needs one of this cuda device");
    check_dispatch(dispatch, pipeline->info(), pipeline->name());
    check_arguments(dispatch, pipeline->image().arguments, pipeline->name());
    if (dispatch.threadgroups.y > kMaxGridYz || dispatch.threadgroups.z > kMaxGridYz)
      throw Error(ErrorKind::DispatchError,
                  "[dispatch " + pipeline->name() +
                      "] found more than 65535 threadgroups on axis y or z, needs fewer on an "
                      "NVIDIA GPU; use axis x");
    return pipeline->name();
  }

  DevicePointer address(const Binding& binding, Staging& staging, const std::string& where) {
    if (auto* device = std::get_if<DeviceMemory>(&binding.source)) {
      auto* buffer = dynamic_cast<CudaBuffer*>(device->buffer.get());
      if (!buffer)
        throw Error(ErrorKind::DispatchError, "[dispatch " + where +
                                                  "] found a buffer of another device for buffer " +
                                                  std::to_string(binding.index));
      DevicePointer pointer = buffer->on_device() + device->offset;
      buffer->written();
      return pointer;
    }
    if (auto* host = std::get_if<HostMemory>(&binding.source))
      return staging.stage(host->data, host->bytes, host->writable ? host->data : nullptr, where);
    return staging.inline_bytes(std::get<InlineBytes>(binding.source));
  }

  static size_t inline_bytes_of(const std::vector<Dispatch>& dispatches) {
    size_t total = 0;
    for (const Dispatch& dispatch : dispatches)
      for (const Binding& binding : dispatch.bindings)
        if (auto* bytes = std::get_if<InlineBytes>(&binding.source))
          total += Staging::inline_room(bytes->size());
    return total;
  }

  Launch prepare(const Dispatch& dispatch, Staging& staging) {
    Launch launch;
    auto& pipeline = static_cast<CudaPipeline&>(*dispatch.pipeline);
    launch.kernel = pipeline.name();
    const Extent &size = dispatch.threads, grid = whole_grid(dispatch);
    launch.threadgroups = threadgroups_of(dispatch);
    // Whole warps: lanes past the end leave at once (attn_place).
    launch.threads = uint32_t((size.count() + kSimdWidth - 1) / kSimdWidth * kSimdWidth);
    LaunchParameter& p = launch.parameter;
    p.threads[0] = size.x, p.threads[1] = size.y, p.threads[2] = size.z;
    p.grid_threads[0] = grid.x, p.grid_threads[1] = grid.y, p.grid_threads[2] = grid.z;
    for (const ThreadgroupMemory& memory : dispatch.threadgroup_memory) {
      p.threadgroup_offsets[memory.index] = launch.dynamic_bytes;
      launch.dynamic_bytes += memory.bytes;
    }
    bool aligned = true;  // every buffer's address is a multiple of kBufferAlignment
    for (const Binding& binding : dispatch.bindings) {
      DevicePointer pointer = address(binding, staging, launch.kernel);
      p.buffers[binding.index] = pointer;
      aligned &= pointer % cuda::kBufferAlignment == 0;
    }
    for (const KernelArgument& argument : pipeline.image().arguments) {
      if (argument.kind != KernelArgument::Kind::FunctionTable) continue;
      auto& table = bound_table<CudaTable>(dispatch, argument, launch.kernel);
      if (table.pipeline() != &pipeline) refuse_table(argument, launch.kernel);
      p.buffers[argument.index] = table.address();
    }
    // The module is loaded before the clock starts.
    launch.function =
        pipeline.function(aligned, launch.threadgroups.count(), launch.threads / kSimdWidth);
    return launch;
  }

  std::shared_ptr<Context> context_;
  cuda::FrontEnds front_ends_;
  DeviceInfo info_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<Device> open_cuda(const FrontEndFor& front_end_for) {
  return std::make_shared<CudaDevice>(front_end_for);
}

}  // namespace attnproto
