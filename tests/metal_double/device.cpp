// The device, its memory and its counters: rules E6, E7, E11, E16.
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "commands.h"

namespace metal_double {

Library* new_library(Device*, Sel, Object* source, Object* options, Object** error);
Library* new_compiled_library(Device*, Sel, Url* url, Object** error);
Library* new_stitched_library(Device*, Sel, Object* descriptor, Object** error);
Object* archive_from(Device*, Sel, Object* descriptor, Object** error);

namespace {

constexpr size_t kGuard = 4096;
constexpr size_t kMaxBuffer = size_t(1) << 33;
constexpr size_t kMaxSamples = 4096;

struct CounterSet : Object {
  Ref<String> name;
};
struct SampleDescriptor : Object {
  Ref<CounterSet> set;
  UInt count = 0, storage = 0;
};
struct Architecture : Object {};

Device* device = nullptr;
CounterSet* timestamp_set = nullptr;

size_t page() { return size_t(getpagesize()); }
size_t round_up(size_t bytes) { return (bytes + page() - 1) / page() * page(); }

Buffer* new_buffer(Device* self, Sel, UInt bytes, UInt) {
  if (bytes == 0 || bytes > kMaxBuffer) {
    violation("newBufferWithLength: length(%zu) must be 1 to %zu", size_t(bytes), kMaxBuffer);
    return nullptr;
  }
  Buffer* buffer = make<Buffer>();
  buffer->guarded = true;
  buffer->bytes = bytes;
  buffer->storage.resize(round_up(bytes) + 2 * kGuard + page());
  const auto start = reinterpret_cast<uintptr_t>(buffer->storage.data()) + kGuard;
  buffer->contents = reinterpret_cast<char*>(round_up(start));
  self->allocated += round_up(bytes);
  return buffer;
}

Buffer* borrow(Device* self, Sel, char* pointer, UInt bytes, UInt, void*) {
  if (!pointer || bytes == 0 || reinterpret_cast<uintptr_t>(pointer) % page() || bytes % page()) {
    violation("newBufferWithBytesNoCopy: pointer and length must be page aligned");
    return nullptr;
  }
  if (!behaviour().no_copy) return nullptr;
  Buffer* buffer = make<Buffer>();
  buffer->contents = pointer;
  buffer->bytes = bytes;
  self->allocated += round_up(bytes);
  return buffer;
}

void* contents(Buffer* self, Sel) {
  if (self->in_flight > 0)
    violation("contents of %s read while a command buffer using it is in flight",
              describe(self).c_str());
  return self->contents;
}

SampleBuffer* new_samples(Device*, Sel, SampleDescriptor* descriptor, Object** error) {
  if (!descriptor->set || descriptor->count == 0 || descriptor->count > kMaxSamples) {
    violation("newCounterSampleBuffer: sampleCount(%zu) must be 1 to 4096",
              size_t(descriptor->count));
    set_error(error, "MTLCounterErrorDomain", 1, "Cannot allocate sample buffer");
    return nullptr;
  }
  if (!behaviour().counter_memory) {
    set_error(error, "MTLCounterErrorDomain", 1, "Cannot allocate sample buffer");
    return nullptr;
  }
  SampleBuffer* samples = make<SampleBuffer>();
  samples->samples.resize(descriptor->count);
  return samples;
}

// Samples of commands that have not run are zero, as the hardware leaves them.
Data* resolve(SampleBuffer* self, Sel, Range range) {
  if (range.location + range.length > self->samples.size()) {
    violation("resolveCounterRange: range ends beyond sampleCount(%zu)", self->samples.size());
    return nullptr;
  }
  std::vector<uint64_t> samples(self->samples.begin() + long(range.location),
                                self->samples.begin() + long(range.location + range.length));
  switch (behaviour().samples) {
    case Samples::Zero:
      std::fill(samples.begin(), samples.end(), 0);
      break;
    case Samples::Error:
      std::fill(samples.begin(), samples.end(), ~uint64_t(0));
      break;
    case Samples::Unordered:
      std::reverse(samples.begin(), samples.end());
      break;
    case Samples::Overlapping:
      for (size_t i = 0; i + 2 < samples.size(); i += 2) samples[i + 1] = samples[i + 2] + 1;
      break;
    case Samples::Long:
      for (size_t i = 0; i < samples.size(); ++i) samples[i] = (i + 1) * uint64_t(1e12);
      break;
    case Samples::Good:
      break;
  }
  Data* data = make<Data>();
  data->content.assign(reinterpret_cast<const char*>(samples.data()),
                       samples.size() * sizeof(uint64_t));
  return pooled(data);
}

SampleAttachment* attachment_at(SampleAttachments* self, Sel, UInt index) {
  if (index >= 4) {
    violation("sampleBufferAttachments[%zu] does not exist", size_t(index));
    return nullptr;
  }
  auto& attachment = self->attachments[index];
  if (!attachment) {
    SampleAttachment* made = make<SampleAttachment>();
    attachment = made;
    release(made);
  }
  return attachment;
}

SampleAttachments* attachments_of(PassDescriptor* self, Sel) {
  if (!self->samples) {
    SampleAttachments* made = make<SampleAttachments>();
    self->samples = made;
    release(made);
  }
  return self->samples;
}

void register_counters() {
  Type<CounterSet>("_MTLCounterSet", root_class()).property<&CounterSet::name>("name");
  Type<SampleDescriptor>("MTLCounterSampleBufferDescriptor", root_class())
      .property<&SampleDescriptor::set>("counterSet", "setCounterSet:")
      .property<&SampleDescriptor::count>("sampleCount", "setSampleCount:")
      .property<&SampleDescriptor::storage>("storageMode", "setStorageMode:");
  Type<SampleBuffer>("_MTLCounterSampleBuffer", root_class())
      .method("resolveCounterRange:", resolve);
  Type<SampleAttachment>("MTLComputePassSampleBufferAttachmentDescriptor", root_class())
      .property<&SampleAttachment::buffer>("sampleBuffer", "setSampleBuffer:")
      .property<&SampleAttachment::start>("startOfEncoderSampleIndex",
                                          "setStartOfEncoderSampleIndex:")
      .property<&SampleAttachment::end>("endOfEncoderSampleIndex", "setEndOfEncoderSampleIndex:");
  Type<SampleAttachments>("MTLComputePassSampleBufferAttachmentDescriptorArray", root_class())
      .method("objectAtIndexedSubscript:", attachment_at);
  Type<PassDescriptor>("MTLComputePassDescriptor", root_class())
      .class_method("computePassDescriptor",
                    [](Class, Sel) { return pooled(make<PassDescriptor>()); })
      .property<&PassDescriptor::order>("dispatchType", "setDispatchType:")
      .method("sampleBufferAttachments", attachments_of);
}

}  // namespace

Buffer::~Buffer() { device->allocated -= round_up(bytes); }

bool Buffer::guards_intact() {
  if (!guarded) return true;
  bool intact = true;
  for (char* guard : {contents - kGuard, contents + bytes}) {
    intact &= std::all_of(guard, guard + kGuard, [](char c) { return c == 0; });
    memset(guard, 0, kGuard);
  }
  return intact;
}

Device* the_device() { return device; }

#define METAL_STRINGS(X)              \
  X(BinaryArchiveDomain)              \
  X(CommandBufferEncoderInfoErrorKey) \
  X(CounterErrorDomain)               \
  X(IOErrorDomain)                    \
  X(LogStateErrorDomain)              \
  X(TensorDomain)                     \
  X(CommonCounterTimestamp)           \
  X(CommonCounterSetTimestamp)        \
  X(CommonCounterSetStatistic)        \
  X(CommonCounterSetStageUtilization)
#define DEFINE(name)            \
  extern "C" String* MTL##name; \
  String* MTL##name;
METAL_STRINGS(DEFINE)
#undef DEFINE

extern "C" {
Object* MTLCreateSystemDefaultDevice() {
  return behaviour().default_device ? retain(device) : nullptr;
}
Object* MTLCopyAllDevices() {
  Array* all = make<Array>();
  if (behaviour().listed_device) all->items.push_back(device);
  return all;
}
Object* MTLCopyAllDevicesWithObserver(Object**, void*) { return MTLCopyAllDevices(); }
void MTLRemoveDeviceObserver(Object*) {}
}

void register_device() {
  register_counters();
  Type<Architecture>("MTLArchitecture", root_class()).method("name", [](Architecture*, Sel) {
    return string("applegpu_double");
  });
  Type<SharedEvent>("_MTLSharedEvent", root_class())
      .method("signaledValue", [](SharedEvent* self, Sel) { return uint64_t(self->value); });
  Type<Buffer>("_MTLBuffer", root_class())
      .method("contents", contents)
      .method("length", [](Buffer* self, Sel) { return UInt(self->bytes); });
  Type<Device>("_MTLDevice", root_class())
      .property<&Device::name>("name")
      .method(
          "architecture", [](Device*, Sel) { return pooled(make<Architecture>()); }, 14)
      .method("registryID", [](Device*, Sel) { return uint64_t(1); })
      .method("hasUnifiedMemory", [](Device*, Sel) { return true; })
      .method("supportsFamily:",
              [](Device*, Sel, intptr_t family) {
                const bool apple = family >= 1001 && family <= 1009;
                return (behaviour().apple_gpu && apple) || family == 5001;
              })
      .method("supportsFunctionPointers", [](Device*, Sel) { return true; })
      .method("supportsCounterSampling:",
              [](Device*, Sel, UInt point) { return behaviour().counters && point == 0; })
      .method("counterSets",
              [](Device*, Sel) {
                Array* sets = make<Array>();
                sets->items.push_back(timestamp_set);
                return pooled(sets);
              })
      .method("maxThreadsPerThreadgroup", [](Device*, Sel) { return Size{1024, 1024, 1024}; })
      .method("maxThreadgroupMemoryLength", [](Device*, Sel) { return UInt(32768); })
      .method("maxBufferLength", [](Device*, Sel) { return UInt(kMaxBuffer); })
      .method("recommendedMaxWorkingSetSize", [](Device*, Sel) { return uint64_t(kMaxBuffer); })
      .method("maximumConcurrentCompilationTaskCount", [](Device*, Sel) { return UInt(2); })
      .method("currentAllocatedSize", [](Device* self, Sel) { return UInt(self->allocated); })
      .method("newSharedEvent", [](Device*, Sel) { return make<SharedEvent>(); })
      .method("newCommandQueue", [](Device*, Sel) { return new_queue(); })
      .method("newBufferWithLength:options:", new_buffer)
      .method("newBufferWithBytesNoCopy:length:options:deallocator:", borrow)
      .method("newLibraryWithSource:options:error:", new_library)
      .method("newLibraryWithURL:error:", new_compiled_library)
      .method("newLibraryWithStitchedDescriptor:error:", new_stitched_library)
      .method("newComputePipelineStateWithDescriptor:options:reflection:error:",
              [](Device*, Sel, PipelineDescriptor* descriptor, UInt options, void*,
                 Object** error) { return new_pipeline(descriptor, options, error); })
      .method("newBinaryArchiveWithDescriptor:error:", archive_from)
      .method("newCounterSampleBufferWithDescriptor:error:", new_samples);
#define FILL(name) MTL##name = immortal_string("MTL" #name);
  METAL_STRINGS(FILL)
#undef FILL
  device = make<Device>();
  device->immortal = true;
  device->name = immortal_string("Software double of an Apple GPU");
  timestamp_set = make<CounterSet>();
  timestamp_set->immortal = true;
  timestamp_set->name = immortal_string("timestamp");
}

}  // namespace metal_double
