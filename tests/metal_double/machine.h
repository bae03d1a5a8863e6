// What the tests of the double's rules share: a text of kernels and a machine to break rules on.
#pragma once

#include <cstring>

#include "check.h"
#include "metal/objc.h"

namespace metal_double {

using attnproto::metal::make;
using attnproto::metal::ns;
using attnproto::metal::Owned;
using attnproto::metal::Pool;

inline const char* kText = R"(#include <metal_stdlib>
using namespace metal;
constant uint WIDTH [[function_constant(0)]];
constant bool CAUSAL [[function_constant(1)]];
constant bool HAS_BIAS = is_function_constant_defined(BIAS);
constant float BIAS [[function_constant(2)]];
struct Params { float WIDTH; };
kernel void members(constant Params& p [[buffer(0)]], device float* y [[buffer(1)]]) { y[0] = p.WIDTH; }
[[visible]] float outside(float x);
[[stitchable]] float twice(float x) { return 2 * x; }
[[stitchable]] int whole(float x) { return int(x); }
kernel void plain(device float* y [[buffer(0)]], device float* x [[buffer(1)]]) { y[0] = x[0]; }
kernel void special(device float* y [[buffer(0)]]) { y[0] = CAUSAL ? WIDTH : 0; }
kernel void optional(device float* y [[buffer(0)]]) { y[0] = HAS_BIAS ? BIAS : 0; }
kernel void calls(device float* y [[buffer(0)]]) { y[0] = outside(1); }
kernel void vast(device float* y [[buffer(0)]]) { threadgroup float t[8193]; y[0] = t[0]; }
kernel void beyond(device float* y [[buffer(0)]]) { y[0] = y[16]; }
)";

struct Machine {
  Pool pool;
  Owned<MTL::Device> device = NS::TransferPtr(MTL::CreateSystemDefaultDevice());
  Owned<MTL::CommandQueue> queue = NS::TransferPtr(device->newCommandQueue());
  Owned<MTL::Library> library = compile();
  NS::Error* error = nullptr;

  Owned<MTL::Library> compile(const char* source = kText) {
    auto options = make<MTL::CompileOptions>();
    options->setLanguageVersion(MTL::LanguageVersion3_1);
    return NS::TransferPtr(device->newLibrary(ns(source), options.get(), &error));
  }
  Owned<MTL::ComputePipelineState> pipeline(
      MTL::Function* function,
      const std::function<void(MTL::ComputePipelineDescriptor*)>& change = {},
      MTL::PipelineOption options = MTL::PipelineOptionNone) {
    auto descriptor = make<MTL::ComputePipelineDescriptor>();
    descriptor->setComputeFunction(function);
    if (change) change(descriptor.get());
    error = nullptr;
    return NS::TransferPtr(
        device->newComputePipelineState(descriptor.get(), options, nullptr, &error));
  }
  Owned<MTL::Function> function(const char* name) {
    return NS::TransferPtr(library->newFunction(ns(name)));
  }
  Owned<MTL::ComputePipelineState> plain() { return pipeline(function("plain").get()); }
  Owned<MTL::Buffer> buffer(size_t bytes = 64) {
    return NS::TransferPtr(device->newBuffer(bytes, MTL::ResourceStorageModeShared));
  }
  std::string reason() { return attnproto::metal::describe(error); }
};

inline bool reported(const std::string& part) { return contains(violations(), part); }

// One threadgroup of one thread, committed and not waited for.
inline MTL::CommandBuffer* start(MTL::CommandQueue* queue, MTL::ComputePipelineState* state,
                                 std::vector<MTL::Buffer*> buffers, MTL::Event* event = nullptr) {
  auto* commands = queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder();
  encoder->setComputePipelineState(state);
  for (size_t i = 0; i < buffers.size(); ++i) encoder->setBuffer(buffers[i], 0, i);
  encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
  encoder->endEncoding();
  if (event) commands->encodeSignalEvent(event, 1);
  commands->commit();
  return commands;
}

inline float value(const Owned<MTL::Buffer>& buffer) {
  return static_cast<float*>(buffer->contents())[0];
}

}  // namespace metal_double
