// Breaks each of Metal's rules on purpose, through metal-cpp, and expects the
// double to behave as Metal does and to say so. E1 to E18 are the rules of the
// project's page on Metal's semantics.
#include <objc/message.h>

#include "machine.h"
#include "stub_device.h"

using namespace metal_double;

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
