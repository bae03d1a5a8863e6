// What is known once the GPU has finished: the times of each dispatch, or why it failed.
#include <cstring>

#include "internal.h"

namespace attnproto::metal {
namespace {

MTL::CounterSet* timestamps(MTL::Device* device) {
  NS::Array* sets = device->counterSets();
  for (NS::UInteger i = 0; sets && i < sets->count(); ++i) {
    auto* set = sets->object<MTL::CounterSet>(i);
    if (text(set->name()) == "timestamp") return set;
  }
  return nullptr;
}

// Two clocks are read: what they may differ by.
constexpr double kClockSlackUs = 1;

// What a code of Metal's means, and what to do about it.
struct Meaning {
  const char* name;
  const char* cure;
};

constexpr const char* kSmaller =
    "needs less work at once; use fewer threadgroups or a smaller tile";
constexpr const char* kInside = "needs a kernel that stays inside its buffers; check its indices";
constexpr const char* kAgain = "needs another try; run it again";

Meaning meaning_of(NS::Integer code) {
  switch (code) {
    case MTL::CommandBufferErrorInternal:
      return {"internal error", kAgain};
    case MTL::CommandBufferErrorTimeout:
      return {"timeout", kSmaller};
    case MTL::CommandBufferErrorPageFault:
      return {"page fault", kInside};
    case MTL::CommandBufferErrorAccessRevoked:
      return {"access revoked",
              "needs a pause after earlier faults; run it again in a new process"};
    case MTL::CommandBufferErrorNotPermitted:
      return {"not permitted", "needs a process in the foreground; run it from a login session"};
    case MTL::CommandBufferErrorOutOfMemory:
      return {"out of memory", "needs free memory; release buffers or use a smaller problem"};
    case MTL::CommandBufferErrorInvalidResource:
      return {"invalid resource", "needs resources that live and are its own; bind them anew"};
    case MTL::CommandBufferErrorMemoryless:
      return {"memoryless", "needs memory of its own; bind a buffer"};
    case MTL::CommandBufferErrorDeviceRemoved:
      return {"device removed", "needs its GPU; open the device again in a new process"};
    case MTL::CommandBufferErrorStackOverflow:
      return {"stack overflow", "needs a kernel of shallower calls; take recursion out"};
    default:
      return {"unknown error", kAgain};
  }
}

// The label of the encoder Metal blames, when it knows which one.
std::string culprit(const NS::Error* error) {
  NS::Dictionary* details = error->userInfo();
  NS::Array* encoders = details && MTL::CommandBufferEncoderInfoErrorKey
                            ? details->object<NS::Array>(MTL::CommandBufferEncoderInfoErrorKey)
                            : nullptr;
  for (NS::UInteger i = 0; encoders && i < encoders->count(); ++i) {
    auto* encoder = encoders->object<MTL::CommandBufferEncoderInfo>(i);
    if (encoder->errorState() == MTL::CommandEncoderErrorStateFaulted)
      return text(encoder->label());
  }
  return "";
}

}  // namespace

Fault command_error(MTL::CommandBuffer* commands, const std::string& submitted) {
  NS::Error* error = commands->error();
  if (!error)
    return Fault(ErrorKind::DispatchError,
                 "[metal.dispatch] found status " + std::to_string(commands->status()) +
                     " running " + submitted + ", " + kAgain,
                 0, submitted);
  const int code = int(error->code());
  const std::string reason = describe(error), faulted = culprit(error);
  Meaning meaning = meaning_of(code);
  // Metal reports a bystander of another's fault under several codes, and says so in the text.
  if (reason.find("InnocentVictim") != std::string::npos)
    meaning = {"another kernel's fault", kAgain};
  const std::string& kernels = faulted.empty() ? submitted : faulted;
  const auto kind = code == MTL::CommandBufferErrorDeviceRemoved ? ErrorKind::DeviceUnavailable
                                                                 : ErrorKind::DispatchError;
  return Fault(kind,
               "[metal.dispatch] found " + std::string(meaning.name) + " (code " +
                   std::to_string(code) + ") running " + kernels + ", " + meaning.cure + ": " +
                   reason,
               code, kernels);
}

Counters::Counters(Context& context, size_t dispatches) : samples_(2 * dispatches) {
  MTL::Device* device = context.device.get();
  if (samples_ == 0 || !device->supportsCounterSampling(MTL::CounterSamplingPointAtStageBoundary))
    return;
  MTL::CounterSet* set = timestamps(device);
  if (!set) return;
  auto descriptor = make<MTL::CounterSampleBufferDescriptor>();
  descriptor->setCounterSet(set);
  descriptor->setSampleCount(samples_);
  descriptor->setStorageMode(MTL::StorageModeShared);
  NS::Error* error = nullptr;
  buffer_ = NS::TransferPtr(device->newCounterSampleBuffer(descriptor.get(), &error));
}

MTL::ComputePassDescriptor* Counters::pass(size_t dispatch) const {
  auto* pass = MTL::ComputePassDescriptor::computePassDescriptor();
  auto* attachment = pass->sampleBufferAttachments()->object(0);
  attachment->setSampleBuffer(buffer_.get());
  attachment->setStartOfEncoderSampleIndex(2 * dispatch);
  attachment->setEndOfEncoderSampleIndex(2 * dispatch + 1);
  return pass;
}

void Counters::read(Timing& timing) const {
  auto refuse = [&](const char* why) { timing.each_refused = why; };
  const NS::Data* data = buffer_->resolveCounterRange(NS::Range(0, samples_));
  if (!data || data->length() < samples_ * sizeof(uint64_t))
    return refuse("the counters gave too few samples");
  std::vector<uint64_t> ticks(samples_);
  std::memcpy(ticks.data(), data_bytes(data), samples_ * sizeof(uint64_t));
  std::vector<Timing::Span> spans;
  double total_us = 0;
  for (size_t i = 0; i < samples_; i += 2) {
    // Some macOS releases resolve to zero or to the error value: no time is better than those.
    const uint64_t start = ticks[i], end = ticks[i + 1];
    if (start == 0) return refuse("the counters gave zero");
    if (end == MTL::CounterErrorValue) return refuse("the counters gave Metal's error value");
    if (end < start) return refuse("a dispatch ends before it starts");
    if (i && start < ticks[i - 1]) return refuse("a dispatch starts before the one before it ends");
    spans.push_back({start * 1e-3, end * 1e-3});
    total_us += (end - start) * 1e-3;
  }
  if (total_us > timing.gpu_us() + kClockSlackUs)
    return refuse("the dispatches take longer than the command buffer");
  timing.each = std::move(spans);
}

}  // namespace attnproto::metal
