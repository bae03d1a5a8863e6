// Rules of stitching, linking and archives, each broken on purpose.
#include "machine.h"

using namespace metal_double;

namespace {

Owned<MTL::Library> stitch(Machine& m, const char* called, const char* given, bool nested) {
  auto input = NS::TransferPtr(MTL::FunctionStitchingInputNode::alloc()->init(NS::UInteger(0)));
  const NS::Object* inputs[] = {input.get()};
  auto inner = NS::TransferPtr(MTL::FunctionStitchingFunctionNode::alloc()->init(
      ns(called), NS::Array::array(inputs, 1), NS::Array::array()));
  const NS::Object* results[] = {inner.get()};
  auto outer = NS::TransferPtr(MTL::FunctionStitchingFunctionNode::alloc()->init(
      ns("twice"), NS::Array::array(results, 1), NS::Array::array()));
  const NS::Object* nodes[] = {inner.get(), outer.get()};
  auto graph = NS::TransferPtr(MTL::FunctionStitchingGraph::alloc()->init(
      ns("outside"), NS::Array::array(nodes, nested ? 2 : 1), nested ? outer.get() : inner.get(),
      NS::Array::array()));
  auto function = m.function(given), twice = m.function("twice");
  const NS::Object* functions[] = {function.get(), twice.get()};
  const NS::Object* graphs[] = {graph.get()};
  auto descriptor = make<MTL::StitchedLibraryDescriptor>();
  descriptor->setFunctions(NS::Array::array(functions, 2));
  descriptor->setFunctionGraphs(NS::Array::array(graphs, 1));
  return NS::TransferPtr(m.device->newLibrary(descriptor.get(), &m.error));
}

}  // namespace

TEST("E13 stitching: names resolve, types match, undefined symbols stop the pipeline") {
  Machine m;
  EXPECT(!stitch(m, "nobody", "twice", false));
  EXPECT(m.reason().find("nobody is not among") != std::string::npos);
  EXPECT(violations().empty() && stitch(m, "whole", "whole", true));
  EXPECT(reported("int passed as float to twice"));
  auto calls = m.function("calls");
  EXPECT(!m.pipeline(calls.get()) &&
         m.reason().find("Undefined symbol: outside") != std::string::npos);
  auto stitched = stitch(m, "twice", "twice", true);
  auto outside = NS::TransferPtr(stitched->newFunction(ns("outside")));
  EXPECT(m.pipeline(calls.get(), [&](MTL::ComputePipelineDescriptor* descriptor) {
    auto linked = make<MTL::LinkedFunctions>();
    const NS::Object* functions[] = {outside.get()};
    linked->setPrivateFunctions(NS::Array::array(functions, 1));
    descriptor->setLinkedFunctions(linked.get());
  }));
}

TEST("E13 an input node among a graph's nodes is reported") {
  Machine m;
  auto input = NS::TransferPtr(MTL::FunctionStitchingInputNode::alloc()->init(NS::UInteger(0)));
  const NS::Object* inputs[] = {input.get()};
  auto node = NS::TransferPtr(MTL::FunctionStitchingFunctionNode::alloc()->init(
      ns("twice"), NS::Array::array(inputs, 1), NS::Array::array()));
  const NS::Object* nodes[] = {input.get(), node.get()};
  auto graph = NS::TransferPtr(MTL::FunctionStitchingGraph::alloc()->init(
      ns("g"), NS::Array::array(nodes, 2), node.get(), NS::Array::array()));
  auto twice = m.function("twice");
  const NS::Object* functions[] = {twice.get()};
  const NS::Object* graphs[] = {graph.get()};
  auto descriptor = make<MTL::StitchedLibraryDescriptor>();
  descriptor->setFunctions(NS::Array::array(functions, 1));
  descriptor->setFunctionGraphs(NS::Array::array(graphs, 1));
  NS::TransferPtr(m.device->newLibrary(descriptor.get(), &m.error));
  EXPECT(reported("nodes must be function nodes"));
}

TEST("E14 archives: a miss fails when asked to, a bad file is nil, validation refuses them") {
  Machine m;
  auto create = [&](const std::string& path) {
    auto descriptor = make<MTL::BinaryArchiveDescriptor>();
    if (!path.empty()) descriptor->setUrl(attnproto::metal::file_url(path));
    m.error = nullptr;
    return NS::TransferPtr(m.device->newBinaryArchive(descriptor.get(), &m.error));
  };
  auto archive = create("");
  auto with_archive = [&](MTL::ComputePipelineDescriptor* descriptor) {
    const NS::Object* archives[] = {archive.get()};
    descriptor->setBinaryArchives(NS::Array::array(archives, 1));
  };
  auto plain = m.function("plain");
  EXPECT(m.pipeline(plain.get(), with_archive));
  EXPECT(!m.pipeline(plain.get(), with_archive, MTL::PipelineOptionFailOnBinaryArchiveMiss));
  auto descriptor = make<MTL::ComputePipelineDescriptor>();
  descriptor->setComputeFunction(plain.get());
  EXPECT(!archive->serializeToURL(attnproto::metal::file_url("/tmp"), &m.error));
  EXPECT(archive->addComputePipelineFunctions(descriptor.get(), &m.error));
  EXPECT(m.pipeline(plain.get(), with_archive, MTL::PipelineOptionFailOnBinaryArchiveMiss));
  auto with_text = [&](const std::string& more) {
    auto library = m.compile((kText + more).c_str());
    auto same = NS::TransferPtr(library->newFunction(ns("plain")));
    return m.pipeline(same.get(), with_archive, MTL::PipelineOptionFailOnBinaryArchiveMiss);
  };
  EXPECT(with_text("// a comment\n") && with_text("/* two\nlines */"));
  EXPECT(!with_text("constant float MORE = 1;"));
  EXPECT(!create("/dev/null") && m.error->code() == 1);
  behaviour().shader_validation = true;
  EXPECT(!create(""));
}

TEST("a specialised visible function is known by its new name only") {
  Machine m;
  auto values = make<MTL::FunctionConstantValues>();
  auto special = [&](const char* name) {
    auto wanted = make<MTL::FunctionDescriptor>();
    wanted->setName(ns("outside"));
    wanted->setConstantValues(values.get());
    if (name) wanted->setSpecializedName(ns(name));
    auto library = m.compile("[[visible]] float outside(float x) { return x; }\n");
    return NS::TransferPtr(library->newFunction(wanted.get(), &m.error));
  };
  for (const char* name : {"another", static_cast<const char*>(nullptr)}) {
    auto linked = special(name);
    auto state =
        m.pipeline(m.function("calls").get(), [&](MTL::ComputePipelineDescriptor* descriptor) {
          auto functions = make<MTL::LinkedFunctions>();
          const NS::Object* one[] = {linked.get()};
          functions->setPrivateFunctions(NS::Array::array(one, 1));
          descriptor->setLinkedFunctions(functions.get());
        });
    EXPECT(bool(state) == (name == nullptr));
  }
}
