// What the tests of the Metal device share: a text of kernels, a device, and short forms.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>

#include "check.h"
#include "metal/metal_device.h"

namespace attnproto {

using metal_double::behaviour;

inline const char* kText = R"(#include <metal_stdlib>
using namespace metal;
constant uint SCALE [[function_constant(3)]];
constant bool NEGATE [[function_constant(4)]];
constant half UNUSED [[function_constant(9)]];
constant float3 OFFSET [[function_constant(10)]];
constant vec<short, 2> STEP [[function_constant(11)]];
constant bool4 MASK [[function_constant(12)]];
constant bfloat2 WEIGHT [[function_constant(13)]];
constant ulong4 LARGE [[function_constant(14)]];
[[visible]] float modify(float x);
[[visible]] float halve(float x) { return x / 2; }
[[stitchable]] float twice(float x) { return 2 * x; }
[[stitchable]] float add(float x, float y) { return x + y; }
[[stitchable]] int whole(float x) { return int(x); }
kernel void axpy(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                 constant float& a [[buffer(2)]]) { }
kernel void scaled(device float* y [[buffer(0)]]) { y[0] *= NEGATE ? -SCALE : SCALE; }
kernel void vectors(device float* y [[buffer(0)]]) { y[0] = OFFSET.z + STEP.y + MASK.w + WEIGHT.y + LARGE.w; }
kernel void modified(device float* y [[buffer(0)]]) { y[0] = modify(y[0]); }
kernel void through_table(device float* y [[buffer(0)]], visible_function_table<float(float)> t [[buffer(1)]]) { }
kernel void heavy(device float* y [[buffer(0)]]) { }
kernel void alone(device float* y [[buffer(0)]], threadgroup float* t [[threadgroup(0)]]) { }
)";

// A library of its own for a function that kText declares, with a constant that only it has.
inline const char* kLinked = R"(#include <metal_stdlib>
using namespace metal;
constant float GAIN [[function_constant(20)]];
[[visible]] float modify(float x) { return GAIN * x; }
)";

struct Lab {
  std::shared_ptr<Device> device = open_metal();
  std::shared_ptr<Library> library = device->library(kText);

  std::shared_ptr<Pipeline> pipeline(const std::string& name,
                                     std::vector<Constant> constants = {}) {
    PipelineDescriptor descriptor;
    descriptor.function = name;
    descriptor.constants = std::move(constants);
    return library->pipeline(descriptor);
  }
  std::shared_ptr<Buffer> buffer(std::vector<float> values) {
    auto made = device->new_buffer(values.size() * sizeof(float));
    memcpy(made->contents(), values.data(), made->bytes());
    return made;
  }
};

inline InlineBytes bytes_of(float value) {
  return InlineBytes(reinterpret_cast<const char*>(&value), sizeof value);
}

inline float first(const std::shared_ptr<Buffer>& buffer) {
  return static_cast<float*>(buffer->contents())[0];
}

inline Dispatch run(std::shared_ptr<Pipeline> pipeline, std::vector<Binding> bindings) {
  Dispatch dispatch;
  dispatch.pipeline = std::move(pipeline);
  dispatch.threads = {32, 1, 1};
  dispatch.bindings = std::move(bindings);
  return dispatch;
}

inline Dispatch axpy_of(Lab& lab, std::shared_ptr<Buffer> x, std::shared_ptr<Buffer> y, float a) {
  return run(lab.pipeline("axpy"),
             {{0, DeviceMemory{x, 0}}, {1, DeviceMemory{y, 0}}, {2, bytes_of(a)}});
}

// Whether the call throws that kind with all those words.
inline bool refused(ErrorKind kind, std::vector<std::string> words,
                    const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    const std::string message = error.what();
    bool all = error.kind() == kind;
    for (const std::string& word : words) all &= message.find(word) != std::string::npos;
    if (!all) printf("    refused otherwise: %s\n", message.c_str());
    return all;
  }
  printf("    not refused\n");
  return false;
}

inline constexpr auto kCompile = ErrorKind::KernelCompileError;
inline constexpr auto kDispatch = ErrorKind::DispatchError;

inline std::string temporary(const std::string& name) {
  auto folder = std::filesystem::temp_directory_path();
  return (folder / ("attnproto-" + std::to_string(getpid()) + "-" + name)).string();
}

}  // namespace attnproto
