#include "stub_device.h"

#include "msl_scan.h"

namespace metal_double {
namespace {

using namespace attnproto;
using Kernels = std::map<std::string, StubSpec>;

struct StubTable : FunctionTable {
  std::vector<std::string> names;
  size_t size() const override { return names.size(); }
};

struct StubPipeline : Pipeline {
  StubSpec spec;
  std::string text;
  PipelineDescriptor descriptor;
  PipelineInfo described;
  const PipelineInfo& info() const override { return described; }
  std::shared_ptr<FunctionTable> function_table(const std::vector<std::string>& names) override {
    auto table = std::make_shared<StubTable>();
    table->names = names;
    return table;
  }
};

struct StubLibrary : Library {
  Kernels kernels;
  std::string text;
  std::vector<std::string> functions() const override { return MslText(text).kernels(); }
  std::shared_ptr<Pipeline> pipeline(const PipelineDescriptor& descriptor) override {
    auto found = kernels.find(descriptor.function);
    if (found == kernels.end())
      throw Error(ErrorKind::KernelCompileError, "no C++ function for " + descriptor.function);
    auto made = std::make_shared<StubPipeline>();
    made->spec = found->second;
    made->text = text;
    made->descriptor = descriptor;
    made->described.static_threadgroup_bytes = found->second.static_threadgroup_bytes;
    made->described.max_threads = found->second.max_threads;
    return made;
  }
};

struct StubDevice : Device {
  Kernels kernels;
  DeviceInfo described{"stub", "C++ functions", "emulated"};
  const DeviceInfo& info() const override { return described; }
  std::shared_ptr<Buffer> new_buffer(size_t) override { return nullptr; }
  std::shared_ptr<Library> library(const std::string& text) override {
    if (text.find("#error") != std::string::npos)
      throw Error(ErrorKind::KernelCompileError,
                  "program_source:1:2: error: " + text.substr(text.find("#error")));
    auto made = std::make_shared<StubLibrary>();
    made->kernels = kernels;
    made->text = text;
    return made;
  }
  Timing submit_repeated(const std::vector<Dispatch>& dispatches, const Rounds& rounds,
                         const SubmitOptions&) override {
    for (uint32_t i = 0; i < rounds.ahead + rounds.times; i++)
      for (const Dispatch& dispatch : dispatches) run(dispatch);
    return {};
  }
  static void run(const Dispatch& dispatch) {
    auto& pipeline = static_cast<StubPipeline&>(*dispatch.pipeline);
    StubLaunch launch;
    launch.text = pipeline.text;
    launch.threadgroups = dispatch.threadgroups;
    launch.threads = dispatch.threads;
    std::vector<std::string> copies;
    copies.reserve(dispatch.bindings.size());
    for (const Binding& binding : dispatch.bindings) {
      if (auto* host = std::get_if<HostMemory>(&binding.source)) {
        launch.buffers[binding.index] = {static_cast<char*>(host->data), host->bytes};
      } else {
        copies.push_back(std::get<InlineBytes>(binding.source));
        launch.buffers[binding.index] = {copies.back().data(), copies.back().size()};
      }
    }
    for (const TableBinding& binding : dispatch.function_tables)
      launch.tables[binding.index] = static_cast<StubTable&>(*binding.table).names;
    for (const Constant& constant : pipeline.descriptor.constants)
      launch.constants[std::get<uint32_t>(constant.key)] = constant.value;
    pipeline.spec.run(launch);
  }
};

}  // namespace

std::shared_ptr<Device> make_stub(Kernels kernels) {
  auto device = std::make_shared<StubDevice>();
  device->kernels = std::move(kernels);
  return device;
}

}  // namespace metal_double
