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

const char* name_of(NS::Integer code) {
  switch (code) {
    case MTL::CommandBufferErrorInternal:
      return "internal error";
    case MTL::CommandBufferErrorTimeout:
      return "timeout";
    case MTL::CommandBufferErrorPageFault:
      return "page fault";
    case MTL::CommandBufferErrorAccessRevoked:
      return "access revoked";
    case MTL::CommandBufferErrorNotPermitted:
      return "not permitted";
    case MTL::CommandBufferErrorOutOfMemory:
      return "out of memory";
    case MTL::CommandBufferErrorInvalidResource:
      return "invalid resource";
    case MTL::CommandBufferErrorMemoryless:
      return "memoryless";
    case MTL::CommandBufferErrorDeviceRemoved:
      return "device removed";
    case MTL::CommandBufferErrorStackOverflow:
      return "stack overflow";
    default:
      return "unknown error";
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

Error command_error(MTL::CommandBuffer* commands, const std::string& kernels) {
  NS::Error* error = commands->error();
  if (!error)
    return Error(ErrorKind::DispatchError, "[metal.dispatch] found status " +
                                               std::to_string(commands->status()) + " running " +
                                               kernels + ", needs completion; run it again");
  const std::string faulted = culprit(error);
  const auto kind = error->code() == MTL::CommandBufferErrorDeviceRemoved
                        ? ErrorKind::DeviceUnavailable
                        : ErrorKind::DispatchError;
  return Error(kind, "[metal.dispatch] found " + std::string(name_of(error->code())) + " (code " +
                         std::to_string(error->code()) + ") running " +
                         (faulted.empty() ? kernels : faulted) +
                         ", needs a kernel that ends and stays in its buffers; " + describe(error));
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

std::vector<Timing::Span> Counters::read() const {
  const NS::Data* data = buffer_->resolveCounterRange(NS::Range(0, samples_));
  if (!data || data->length() < samples_ * sizeof(uint64_t)) return {};
  std::vector<uint64_t> ticks(samples_);
  std::memcpy(ticks.data(), data_bytes(data), samples_ * sizeof(uint64_t));
  std::vector<Timing::Span> spans;
  for (size_t i = 0; i < samples_; i += 2) {
    // Some macOS releases resolve to zero or to the error value: no time is better than those.
    const uint64_t start = ticks[i], end = ticks[i + 1];
    if (start == 0 || end == MTL::CounterErrorValue || end < start) return {};
    spans.push_back({start * 1e-3, end * 1e-3});
  }
  return spans;
}

}  // namespace attnproto::metal
