// Breaks each of Metal's rules on purpose, through metal-cpp, and expects the
// double to behave as Metal does and to say so. E1 to E18 are the rules of the
// project's page on Metal's semantics.
#include <objc/message.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "check.h"
#include "metal/objc.h"
#include "stub_device.h"

using namespace metal_double;
using attnproto::metal::make;
using attnproto::metal::ns;
using attnproto::metal::Owned;
using attnproto::metal::Pool;

namespace {

const char* kText = R"(#include <metal_stdlib>
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

bool reported(const std::string& part) { return contains(violations(), part); }

// One threadgroup of one thread, committed and not waited for.
MTL::CommandBuffer* start(MTL::CommandQueue* queue, MTL::ComputePipelineState* state,
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

float value(const Owned<MTL::Buffer>& buffer) { return static_cast<float*>(buffer->contents())[0]; }

}  // namespace

TEST("E1 a required constant without a value gives nil and code 3; unknown ones are ignored") {
  Machine m;
  auto values = make<MTL::FunctionConstantValues>();
  const uint32_t width = 64;
  const bool causal = true;
  values->setConstantValue(&width, MTL::DataTypeUInt, NS::UInteger(0));
  values->setConstantValue(&width, MTL::DataTypeUInt, NS::UInteger(77));
  auto none = NS::TransferPtr(m.library->newFunction(ns("special"), values.get(), &m.error));
  EXPECT(!none && m.error->code() == 3 && m.reason().find("CAUSAL") != std::string::npos);
  values->setConstantValue(&causal, MTL::DataTypeBool, ns("CAUSAL"));
  EXPECT(NS::TransferPtr(m.library->newFunction(ns("special"), values.get(), &m.error)));
  auto empty = make<MTL::FunctionConstantValues>();
  EXPECT(NS::TransferPtr(m.library->newFunction(ns("optional"), empty.get(), &m.error)));
}

TEST("E1 a constant of another type is refused") {
  Machine m;
  auto values = make<MTL::FunctionConstantValues>();
  const int32_t one = 1;
  values->setConstantValue(&one, MTL::DataTypeInt, NS::UInteger(0));
  values->setConstantValue(&one, MTL::DataTypeBool, NS::UInteger(1));
  EXPECT(!NS::TransferPtr(m.library->newFunction(ns("special"), values.get(), &m.error)));
}

TEST("E2 an unspecialised function is good for reflection only") {
  Machine m;
  auto function = m.function("special");
  EXPECT(function && function->functionConstantsDictionary()->count() == 2);
  EXPECT(m.function("members")->functionConstantsDictionary()->count() == 0);
  EXPECT(!m.pipeline(function.get()));
  EXPECT(m.reason().find("to get the specialized function") != std::string::npos);
  EXPECT(!m.function("no_such_kernel"));
}

TEST("E3 warnings come as an error beside a good library") {
  Machine m;
  behaviour().warn_on_compile = true;
  EXPECT(m.compile() && m.error && m.error->code() == 4);
  m.error = nullptr;
  EXPECT(!m.compile("#error boom\n") && m.error->code() == 3);
}

TEST("E4 too many threads for the pipeline: the dispatch is dropped, and reported") {
  Machine m;
  behaviour().max_threads = 256;
  auto state = m.plain();
  EXPECT(state->maxTotalThreadsPerThreadgroup() == 256);
  auto y = m.buffer(), x = m.buffer();
  static_cast<float*>(x->contents())[0] = 5;
  auto* commands = m.queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder();
  encoder->setComputePipelineState(state.get());
  encoder->setBuffer(y.get(), 0, 0);
  encoder->setBuffer(x.get(), 0, 1);
  encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(512, 1, 1));
  encoder->endEncoding();
  commands->commit();
  commands->waitUntilCompleted();
  EXPECT(commands->status() == MTL::CommandBufferStatusCompleted);
  EXPECT(static_cast<float*>(y->contents())[0] == 0);
  EXPECT(reported("(512) must be <= 256. (kernel threadgroup size limit)"));
}

TEST("E5 threadgroup memory: a multiple of 16, at most 32768 in all") {
  Machine m;
  auto state = m.plain();
  auto* commands = m.queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder();
  encoder->setComputePipelineState(state.get());
  encoder->setThreadgroupMemoryLength(24, 0);
  EXPECT(reported("length(24) must be a multiple of 16 bytes."));
  encoder->setThreadgroupMemoryLength(32768, 0);
  encoder->setThreadgroupMemoryLength(16, 1);
  encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
  EXPECT(reported("threadgroup memory(32784) must be <= 32768"));
  encoder->endEncoding();
}

TEST("E5 a kernel that declares more than 32768 bytes of threadgroup memory is no pipeline") {
  Machine m;
  EXPECT(!m.pipeline(m.function("vast").get()) && m.error->code() == 3);
  EXPECT(m.reason().find("Threadgroup memory size (32772) exceeds") == 0);
}

TEST("E6 setBytes beyond 4096, buffers of no length, unaligned no-copy memory, index 31") {
  Machine m;
  static char bytes[8192];
  auto* encoder = m.queue->commandBuffer()->computeCommandEncoder();
  encoder->setBytes(bytes, 4097, 0);
  EXPECT(reported("setBytes: length(4097)"));
  encoder->setBytes(bytes, 4, 31);
  EXPECT(reported("index(31) must be < 31"));
  encoder->endEncoding();
  EXPECT(!m.buffer(0) && reported("length(0) must be"));
  EXPECT(!NS::TransferPtr(
      m.device->newBuffer(bytes + 1, 4096, MTL::ResourceStorageModeShared, nullptr)));
  EXPECT(reported("must be page aligned"));
}

TEST("E7 counters: at stage boundaries only, zero until run, at most 4096 samples") {
  Machine m;
  EXPECT(!m.device->supportsCounterSampling(MTL::CounterSamplingPointAtDispatchBoundary));
  auto descriptor = make<MTL::CounterSampleBufferDescriptor>();
  descriptor->setCounterSet(m.device->counterSets()->object<MTL::CounterSet>(0));
  descriptor->setSampleCount(4097);
  EXPECT(!NS::TransferPtr(m.device->newCounterSampleBuffer(descriptor.get(), &m.error)));
  descriptor->setSampleCount(2);
  auto samples = NS::TransferPtr(m.device->newCounterSampleBuffer(descriptor.get(), &m.error));
  auto* early = samples->resolveCounterRange(NS::Range(0, 2));
  uint64_t ticks[2] = {1, 1};
  memcpy(ticks, attnproto::metal::data_bytes(early), sizeof ticks);
  EXPECT(ticks[0] == 0 && ticks[1] == 0);
  auto* encoder = m.queue->commandBuffer()->computeCommandEncoder();
  encoder->sampleCountersInBuffer(samples.get(), 0, true);
  EXPECT(reported("sampleCountersInBuffer is not available"));
  encoder->endEncoding();
  samples->resolveCounterRange(NS::Range(0, 3));
  EXPECT(reported("range ends beyond"));
}

TEST("E7 NSData answers to bytes and not to mutableBytes") {
  Machine m;
  auto descriptor = make<MTL::CounterSampleBufferDescriptor>();
  descriptor->setCounterSet(m.device->counterSets()->object<MTL::CounterSet>(0));
  descriptor->setSampleCount(2);
  auto samples = NS::TransferPtr(m.device->newCounterSampleBuffer(descriptor.get(), &m.error));
  samples->resolveCounterRange(NS::Range(0, 2))->mutableBytes();
  EXPECT(reported("mutableBytes]: unrecognized selector"));
}

TEST("E8 GPU times are zero until completion, and contents in flight are reported") {
  Machine m;
  behaviour().delay_ms = 50;
  auto state = m.plain();
  auto y = m.buffer(), x = m.buffer();
  auto* commands = m.queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder();
  encoder->setComputePipelineState(state.get());
  encoder->setBuffer(y.get(), 0, 0);
  encoder->setBuffer(x.get(), 0, 1);
  encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
  encoder->endEncoding();
  commands->commit();
  EXPECT(commands->GPUStartTime() == 0 && commands->GPUEndTime() == 0);
  y->contents();
  EXPECT(reported("while a command buffer using it is in flight"));
  commands->waitUntilCompleted();
  EXPECT(commands->GPUStartTime() > 0 && commands->GPUEndTime() >= commands->GPUStartTime());
}

TEST("E9 encoders: one at a time, ended before commit, never used after, on one thread") {
  Machine m;
  auto* commands = m.queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder();
  EXPECT(!commands->computeCommandEncoder() && reported("is still open"));
  commands->commit();
  EXPECT(reported("commit command buffer with uncommitted encoder"));
  commands->waitUntilCompleted();
  EXPECT(reported("waitUntilCompleted before commit"));
  auto state = m.plain();
  std::thread([&] { encoder->setComputePipelineState(state.get()); }).join();
  EXPECT(reported("on another thread"));
  encoder->endEncoding();
  encoder->setBytes("x", 1, 0);
  EXPECT(reported("after endEncoding"));
  commands->commit();
  commands->commit();
  EXPECT(reported("commit an already committed"));
  commands->waitUntilCompleted();
  EXPECT(!commands->computeCommandEncoder() && reported("on a committed command buffer"));
}

TEST("E9 an encoder released un-ended and a dispatch without a pipeline are reported") {
  Machine m;
  {
    Pool inner;
    auto* encoder = m.queue->commandBuffer()->computeCommandEncoder();
    encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
    EXPECT(reported("without setComputePipelineState"));
  }
  EXPECT(reported("released without endEncoding"));
}

TEST("E10 a concurrent encoder runs what no barrier orders in any order") {
  Machine m;
  auto state = m.plain();
  int disorders = 0;
  for (int round = 0; round < 20; ++round) {
    auto a = m.buffer(), b = m.buffer(), c = m.buffer();
    static_cast<float*>(a->contents())[0] = 1;
    auto* commands = m.queue->commandBuffer();
    auto* encoder = commands->computeCommandEncoder(MTL::DispatchTypeConcurrent);
    encoder->setComputePipelineState(state.get());
    for (auto [to, from] : {std::pair{b.get(), a.get()}, std::pair{c.get(), b.get()}}) {
      encoder->setBuffer(to, 0, 0);
      encoder->setBuffer(from, 0, 1);
      encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
    }
    encoder->endEncoding();
    commands->commit();
    commands->waitUntilCompleted();
    disorders += static_cast<float*>(c->contents())[0] == 0;
  }
  EXPECT(disorders > 2 && disorders < 18);
}

TEST("E10 two queues have no order between them") {
  Machine m;
  auto state = m.plain();
  auto other = NS::TransferPtr(m.device->newCommandQueue());
  int disorders = 0;
  for (int round = 0; round < 40; ++round) {
    auto a = m.buffer(), b = m.buffer(), c = m.buffer();
    static_cast<float*>(a->contents())[0] = 1;
    auto* first = start(m.queue.get(), state.get(), {b.get(), a.get()});
    auto* second = start(other.get(), state.get(), {c.get(), b.get()});
    first->waitUntilCompleted();
    second->waitUntilCompleted();
    disorders += value(c) == 0;
  }
  EXPECT(disorders > 3 && disorders < 37);
}

TEST("E11 an autoreleased object dies with its pool; without a pool it leaks, and is named") {
  Machine m;
  MTL::CommandBuffer* kept = nullptr;
  {
    Pool inner;
    kept = m.queue->commandBuffer();
  }
  kept->status();
  EXPECT(reported("sent to a deallocated object"));
  std::thread([&] { m.queue->commandBuffer(); }).join();
  EXPECT(reported("autoreleased with no pool in place"));
}

TEST("E11 releasing what is not ours is an over-release") {
  Machine m;
  {
    Pool inner;
    m.queue->commandBuffer()->release();
  }
  EXPECT(reported("over-release"));
}

TEST("E11 a message on a thread without a pool is reported") {
  Machine m;
  auto y = m.buffer();
  std::thread([&] { y->length(); }).join();
  EXPECT(reported("length] sent with no pool in place"));
}

TEST("E12 the 65th unfinished command buffer blocks") {
  Machine m;
  behaviour().in_flight_wait_ms = 20;
  for (int i = 0; i < 64; ++i) m.queue->commandBuffer();
  EXPECT(violations().empty());
  m.queue->commandBuffer();
  EXPECT(reported("commandBuffer blocks: 64"));
}

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
  EXPECT(with_text("// a comment") && with_text("/* two\nlines */"));
  EXPECT(!with_text("constant float MORE = 1;"));
  EXPECT(!create("/dev/null") && m.error->code() == 1);
  behaviour().shader_validation = true;
  EXPECT(!create(""));
}

TEST("E15 an injected fault has Metal's code and text, and names the encoder") {
  Machine m;
  auto state = m.plain();
  auto y = m.buffer(), x = m.buffer();
  auto run = [&] {
    auto descriptor = make<MTL::CommandBufferDescriptor>();
    descriptor->setErrorOptions(MTL::CommandBufferErrorOptionEncoderExecutionStatus);
    auto* commands = m.queue->commandBuffer(descriptor.get());
    auto* encoder = commands->computeCommandEncoder();
    encoder->setLabel(ns("plain"));
    encoder->setComputePipelineState(state.get());
    encoder->setBuffer(y.get(), 0, 0);
    encoder->setBuffer(x.get(), 0, 1);
    encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
    encoder->endEncoding();
    commands->commit();
    commands->waitUntilCompleted();
    return commands;
  };
  behaviour().fail_next = 2;
  auto* failed = run();
  EXPECT(failed->status() == MTL::CommandBufferStatusError && failed->error()->code() == 2);
  EXPECT(attnproto::metal::describe(failed->error()).find("Caused GPU Timeout") == 0);
  EXPECT(failed->error()->userInfo()->count() == 1);
  EXPECT(run()->error()->code() == 4);
  m.queue = NS::TransferPtr(m.device->newCommandQueue());
  EXPECT(run()->status() == MTL::CommandBufferStatusCompleted);
}

TEST("E15 an event is not signalled by commands that failed") {
  Machine m;
  auto state = m.plain();
  auto y = m.buffer(), x = m.buffer();
  auto event = NS::TransferPtr(m.device->newSharedEvent());
  behaviour().fail_next = 3;
  start(m.queue.get(), state.get(), {y.get(), x.get()}, event.get())->waitUntilCompleted();
  EXPECT(event->signaledValue() == 0);
  start(m.queue.get(), state.get(), {y.get(), x.get()}, event.get())->waitUntilCompleted();
  EXPECT(event->signaledValue() == 1);
}

TEST("E16 reads out of bounds are 0, writes vanish and are reported") {
  Machine m;
  auto state = m.pipeline(m.function("optional").get());
  auto values = make<MTL::FunctionConstantValues>();
  auto function = NS::TransferPtr(m.library->newFunction(ns("optional"), values.get(), &m.error));
  state = m.pipeline(function.get());
  auto y = m.buffer(64);
  auto* commands = m.queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder();
  encoder->setComputePipelineState(state.get());
  encoder->setBuffer(y.get(), 0, 0);
  encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
  encoder->endEncoding();
  commands->commit();
  commands->waitUntilCompleted();
  EXPECT(reported("Invalid device store"));
  EXPECT(static_cast<float*>(y->contents())[16] == 0);
  static_cast<float*>(y->contents())[0] = 5;
  auto beyond = m.pipeline(m.function("beyond").get());
  start(m.queue.get(), beyond.get(), {y.get()})->waitUntilCompleted();
  EXPECT(value(y) == 0);
}

TEST("E17 on macOS 14 a newer selector does not exist") {
  Machine m;
  behaviour().macos = 14;
  auto options = make<MTL::CompileOptions>();
  EXPECT(!attnproto::metal::responds(options.get(), "setMathMode:"));
  options->setMathMode(MTL::MathModeSafe);
  EXPECT(reported("setMathMode:]: unrecognized selector on macOS 14, it came with 15"));
  behaviour().macos = 15;
  EXPECT(attnproto::metal::responds(options.get(), "setMathMode:"));
}

TEST("E18 one buffer bound to two arguments is a warning") {
  Machine m;
  auto state = m.plain();
  auto y = m.buffer();
  auto* encoder = m.queue->commandBuffer()->computeCommandEncoder();
  encoder->setComputePipelineState(state.get());
  encoder->setBuffer(y.get(), 0, 0);
  encoder->setBuffer(y.get(), 0, 1);
  encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
  encoder->endEncoding();
  EXPECT(contains(warnings(), "bound to two arguments of plain") && violations().empty());
}

TEST("safe math with fast functions is reported") {
  Machine m;
  auto options = make<MTL::CompileOptions>();
  options->setLanguageVersion(MTL::LanguageVersion3_1);
  options->setFastMathEnabled(false);
  NS::TransferPtr(m.device->newLibrary(ns(kText), options.get(), &m.error));
  EXPECT(violations().empty() && last_math() == "safe, precise");
  auto half_done = make<MTL::CompileOptions>();
  half_done->setLanguageVersion(MTL::LanguageVersion3_1);
  half_done->setMathMode(MTL::MathModeSafe);
  NS::TransferPtr(m.device->newLibrary(ns(kText), half_done.get(), &m.error));
  EXPECT(reported("mathMode safe alone") && last_math() == "safe, fast");
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

TEST("a library of no stated language version, a message to nil, an index beyond an array") {
  Machine m;
  auto options = make<MTL::CompileOptions>();
  NS::TransferPtr(m.device->newLibrary(ns(kText), options.get(), &m.error));
  EXPECT(reported("languageVersion is not set"));
  attnproto::metal::responds(nullptr, "length");
  EXPECT(violations().size() == 1);
  attnproto::metal::describe(nullptr);
  NS::Object* none = nullptr;
  using Message = uintptr_t (*)(void*, SEL);
  reinterpret_cast<Message>(&objc_msgSend)(none, sel_registerName("length"));
  EXPECT(reported("message length sent to nil"));
  NS::Array::array()->object(0);
  EXPECT(reported("beyond bounds"));
}

int main(int argc, char** argv) {
  use(make_stub({
      {"plain",
       {[](const StubLaunch& launch) { launch.at<float>(0)[0] = launch.at<float>(1)[0]; }}},
      {"special", {[](const StubLaunch&) {}}},
      {"calls", {[](const StubLaunch&) {}}},
      {"vast", {[](const StubLaunch&) {}, 32772}},
      {"beyond",
       {[](const StubLaunch& launch) { launch.at<float>(0)[0] = launch.at<float>(0)[16]; }}},
      {"optional", {[](const StubLaunch& launch) { launch.at<float>(0)[16] = 3; }}},
  }));
  return run_tests(argc, argv, reset, [] { live(); });
}
