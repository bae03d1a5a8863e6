// The device itself: finding it, its buffers, its libraries and what it is.
#include <algorithm>

#include "internal.h"

// Of IOKit: its objects are Foundation's too.
extern "C" void* IOPSCopyPowerSourcesInfo();
extern "C" const void* IOPSGetProvidingPowerSourceType(const void* sources);

namespace attnproto::metal {

void Gate::enter() {
  std::unique_lock<std::mutex> lock(mutex_);
  freed_.wait(lock, [&] { return places_ > 0; });
  --places_;
}

void Gate::leave() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ++places_;
  }
  freed_.notify_one();
}

Owned<MTL::CommandQueue> Context::queue() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!queue_) queue_ = NS::TransferPtr(device->newCommandQueue());
  if (!queue_)
    throw Error(ErrorKind::DeviceUnavailable,
                "[metal.queue] found no command queue, needs one; close other processes using the "
                "GPU or log in again");
  return queue_;
}

void Context::renew_queue() {
  std::lock_guard<std::mutex> lock(mutex_);
  queue_ = {};
}

namespace {

Owned<MTL::Device> find_device() {
  // A session without a display may have no default device while the list holds
  // one, and the other way round; an empty list must not be indexed.
  if (auto device = NS::TransferPtr(MTL::CreateSystemDefaultDevice())) return device;
  auto all = NS::TransferPtr(MTL::CopyAllDevices());
  if (all && all->count() > 0) return NS::RetainPtr(all->object<MTL::Device>(0));
  throw Error(ErrorKind::DeviceUnavailable,
              "[metal.open] found no Metal device in this session, needs an Apple GPU; leave the "
              "sandbox or virtual machine, or open the cpu device");
}

Owned<MTL::CompileOptions> compile_options(const CompileOptions& options) {
  auto metal = make<MTL::CompileOptions>();
  metal->setLanguageVersion(MTL::LanguageVersion3_1);
  // Math mode alone leaves the functions fast, so both are set where they exist (macOS 15).
  if (responds(metal.get(), "setMathMode:") &&
      responds(metal.get(), "setMathFloatingPointFunctions:")) {
    metal->setMathMode(options.fast_math ? MTL::MathModeFast : MTL::MathModeSafe);
    metal->setMathFloatingPointFunctions(options.fast_math
                                             ? MTL::MathFloatingPointFunctionsFast
                                             : MTL::MathFloatingPointFunctionsPrecise);
  } else {
    metal->setFastMathEnabled(options.fast_math);
  }
  std::vector<const NS::Object*> names, values;
  for (const auto& [name, value] : options.macros) {
    names.push_back(ns(name));
    values.push_back(ns(value));
  }
  if (!names.empty())
    metal->setPreprocessorMacros(
        NS::Dictionary::dictionary(values.data(), names.data(), names.size()));
  return metal;
}

std::string library_key(const std::string& msl_text, const CompileOptions& options) {
  std::string key = options.fast_math ? "fast\n" : "safe\n";
  for (const auto& [name, value] : options.macros)
    key += std::to_string(name.size()) + ":" + name + "=" + std::to_string(value.size()) + ":" +
           value + "\n";
  return key + msl_text;
}

std::string system_version() {
  return text(NS::ProcessInfo::processInfo()->operatingSystemVersionString());
}

// What the device is made for; on other machines a sentence, where Metal would end the process.
void check_machine(MTL::Device* device) {
  if (!responds(device, "architecture"))
    throw Error(ErrorKind::DeviceUnavailable,
                "[metal.open] found macOS " + system_version() +
                    ", needs macOS 14 or later; update it, or open the cpu device");
  // Virtual machines own up to few families, but to this one.
  if (!device->supportsFamily(MTL::GPUFamilyApple5))
    throw Error(ErrorKind::DeviceUnavailable,
                "[metal.open] found " + text(device->name()) +
                    ", needs an Apple GPU; use a Mac with Apple silicon, or open the cpu device");
}

class MetalDevice : public Device {
 public:
  MetalDevice() : context_(std::make_shared<Context>()) {
    Pool pool;
    remember_exceptions();
    context_->device = find_device();
    check_machine(context_->device.get());
#if defined(__APPLE__)
    const char* tier = "measured";
#else
    const char* tier = "emulated";
#endif
    const std::string name = text(context_->device->name());
    info_ = {"metal", name, tier, name + " " + text(context_->device->architecture()->name()),
             system_version()};
  }

  const DeviceInfo& info() const override { return info_; }

  std::shared_ptr<Buffer> new_buffer(size_t bytes) override {
    Pool pool;
    const size_t most = context_->device->maxBufferLength();
    if (bytes > most)
      throw Error(ErrorKind::DispatchError, "[metal.buffer] found " + std::to_string(bytes) +
                                                " bytes, needs at most " + std::to_string(most) +
                                                "; split the data");
    // Metal has no buffer of no bytes.
    const size_t at_least = std::max<size_t>(bytes, 16);
    auto buffer =
        NS::TransferPtr(context_->device->newBuffer(at_least, MTL::ResourceStorageModeShared));
    if (!buffer)
      throw Error(ErrorKind::DispatchError, "[metal.buffer] found no memory for " +
                                                std::to_string(bytes) +
                                                " bytes, needs free memory; release buffers");
    return std::make_shared<MetalBuffer>(context_, std::move(buffer), bytes);
  }

  std::shared_ptr<Library> library(const std::string& msl_text) override {
    return library_with(msl_text, {});
  }

  std::shared_ptr<Library> library_with(const std::string& msl_text,
                                        const CompileOptions& options) override {
    const std::string key = library_key(msl_text, options);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (auto found = libraries_.find(key); found != libraries_.end()) return found->second;
    }
    auto made = caught("metal.compile", [&] { return compile(msl_text, options); });
    std::lock_guard<std::mutex> lock(mutex_);
    return libraries_.emplace(key, std::move(made)).first->second;
  }

  std::shared_ptr<Library> compiled_library(const std::string& path) override {
    Pool pool;
    NS::Error* error = nullptr;
    auto library = compiled(
        error, [&](NS::Error** why) { return context_->device->newLibrary(file_url(path), why); });
    if (!library)
      throw Error(ErrorKind::KernelCompileError,
                  "[metal.metallib] found " + path +
                      ", which Metal refuses, needs a metallib that is for this system's version "
                      "or an older one; " +
                      describe(error));
    return std::make_shared<MetalLibrary>(context_, std::move(library), "");
  }

  Timing submit_repeated(const std::vector<Dispatch>& dispatches, const Rounds& rounds,
                         const SubmitOptions& options) override {
    return caught("metal.dispatch",
                  [&] { return metal::submit(*context_, dispatches, rounds, options); });
  }

  std::shared_ptr<Archive> new_archive() override { return make_archive(context_); }

  uint64_t allocated_bytes() const override {
    Pool pool;
    return context_->device->currentAllocatedSize();
  }

  std::vector<std::pair<std::string, std::string>> conditions() const override;
  std::vector<std::pair<std::string, std::string>> properties() const override;

 private:
  std::shared_ptr<MetalLibrary> compile(const std::string& msl_text,
                                        const CompileOptions& options) {
    Pool pool;
    auto metal_options = compile_options(options);
    NS::Error* error = nullptr;
    auto library = compiled(error, [&](NS::Error** why) {
      return context_->device->newLibrary(ns(msl_text), metal_options.get(), why);
    });
    // Warnings arrive as an error beside a good library: only the pointer tells.
    if (!library)
      throw Error(ErrorKind::KernelCompileError,
                  "[metal.compile] found text Metal refuses, needs MSL 3.1; " + describe(error));
    return std::make_shared<MetalLibrary>(context_, std::move(library), msl_text);
  }

  std::shared_ptr<Context> context_;
  DeviceInfo info_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<MetalLibrary>> libraries_;
};

std::vector<std::pair<std::string, std::string>> MetalDevice::conditions() const {
  Pool pool;
  auto* process = NS::ProcessInfo::processInfo();
  constexpr const char* kStates[] = {"nominal", "fair", "serious", "critical"};
  const auto state = size_t(process->thermalState());
  std::string power = "unknown";
  if (auto sources = NS::TransferPtr(static_cast<NS::Object*>(IOPSCopyPowerSourcesInfo())))
    power = text(static_cast<const NS::String*>(IOPSGetProvidingPowerSourceType(sources.get())));
  return {{"thermal", state < 4 ? kStates[state] : "unknown"},
          {"low_power_mode", process->isLowPowerModeEnabled() ? "on" : "off"},
          {"power", power}};
}

std::vector<std::pair<std::string, std::string>> MetalDevice::properties() const {
  Pool pool;
  MTL::Device* device = context_->device.get();
  auto yes_no = [](bool value) { return std::string(value ? "yes" : "no"); };
  std::string families;
  for (int family = 1; family <= 10; ++family)
    if (device->supportsFamily(MTL::GPUFamily(1000 + family)))
      families += (families.empty() ? "Apple" : " Apple") + std::to_string(family);
  if (device->supportsFamily(MTL::GPUFamilyMetal3)) families += " Metal3";
  const MTL::Size threads = device->maxThreadsPerThreadgroup();
  return {
      {"os", info_.os},
      {"families", families},
      {"architecture", text(device->architecture()->name())},
      {"registry_id", std::to_string(device->registryID())},
      {"unified_memory", yes_no(device->hasUnifiedMemory())},
      {"max_threads", std::to_string(threads.width)},
      {"max_threadgroup_bytes", std::to_string(device->maxThreadgroupMemoryLength())},
      {"max_buffer_bytes", std::to_string(device->maxBufferLength())},
      {"working_set_bytes", std::to_string(device->recommendedMaxWorkingSetSize())},
      {"concurrent_compilations", std::to_string(device->maximumConcurrentCompilationTaskCount())},
      {"function_pointers", yes_no(device->supportsFunctionPointers())},
      {"counters_at_stage_boundary",
       yes_no(device->supportsCounterSampling(MTL::CounterSamplingPointAtStageBoundary))},
      {"counters_at_dispatch_boundary",
       yes_no(device->supportsCounterSampling(MTL::CounterSamplingPointAtDispatchBoundary))},
      {"math_mode", yes_no(responds(make<MTL::CompileOptions>().get(), "setMathMode:"))},
  };
}

}  // namespace
}  // namespace attnproto::metal

namespace attnproto {

std::shared_ptr<Device> open_metal() { return std::make_shared<metal::MetalDevice>(); }

}  // namespace attnproto
