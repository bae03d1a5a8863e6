// The Metal device through its contract, on the double: what it computes, what
// it refuses, what it leaves behind. After every test no rule of Metal's may
// have been broken and no object may be alive.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "check.h"
#include "metal/metal_device.h"
#include "stub_device.h"

using namespace attnproto;
using metal_double::behaviour;
using metal_double::StubLaunch;

namespace {

const char* kText = R"(#include <metal_stdlib>
using namespace metal;
constant uint SCALE [[function_constant(3)]];
constant bool NEGATE [[function_constant(4)]];
constant half UNUSED [[function_constant(9)]];
[[visible]] float modify(float x);
[[visible]] float halve(float x) { return x / 2; }
[[stitchable]] float twice(float x) { return 2 * x; }
[[stitchable]] float add(float x, float y) { return x + y; }
[[stitchable]] int whole(float x) { return int(x); }
kernel void axpy(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                 constant float& a [[buffer(2)]]) { }
kernel void scaled(device float* y [[buffer(0)]]) { y[0] *= NEGATE ? -SCALE : SCALE; }
kernel void modified(device float* y [[buffer(0)]]) { y[0] = modify(y[0]); }
kernel void through_table(device float* y [[buffer(0)]], visible_function_table<float(float)> t [[buffer(1)]]) { }
kernel void heavy(device float* y [[buffer(0)]]) { }
kernel void alone(device float* y [[buffer(0)]], threadgroup float* t [[threadgroup(0)]]) { }
)";

// A library of its own for a function that kText declares, with a constant that only it has.
const char* kLinked = R"(#include <metal_stdlib>
using namespace metal;
constant float GAIN [[function_constant(20)]];
[[visible]] float modify(float x) { return GAIN * x; }
)";

void axpy(const StubLaunch& launch) {
  const size_t count = launch.buffers.at(0).second / sizeof(float);
  for (size_t i = 0; i < count; ++i)
    launch.at<float>(1)[i] += launch.at<float>(2)[0] * launch.at<float>(0)[i];
}

void scaled(const StubLaunch& launch) {
  const double scale = double(std::get<int64_t>(launch.constants.at(3)));
  launch.at<float>(0)[0] *= float(std::get<bool>(launch.constants.at(4)) ? -scale : scale);
}

void modified(const StubLaunch& launch) {
  const bool stitched =
      launch.text.find("float modify(float a0) { return twice(twice(a0)); }") != std::string::npos;
  const bool linked = launch.text.find("return GAIN * x") != std::string::npos;
  launch.at<float>(0)[0] *= stitched ? 4 : linked ? 8 : 0;
}

// Counts what is bound: a kernel must find its own arguments and no others.
void alone(const StubLaunch& launch) { launch.at<float>(0)[0] = float(launch.buffers.size()); }

void through_table(const StubLaunch& launch) {
  for (const std::string& name : launch.tables.at(1))
    launch.at<float>(0)[0] *= name == "halve" ? 0.5f : 1.0f;
}

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

InlineBytes bytes_of(float value) {
  return InlineBytes(reinterpret_cast<const char*>(&value), sizeof value);
}

float first(const std::shared_ptr<Buffer>& buffer) {
  return static_cast<float*>(buffer->contents())[0];
}

Dispatch run(std::shared_ptr<Pipeline> pipeline, std::vector<Binding> bindings) {
  Dispatch dispatch;
  dispatch.pipeline = std::move(pipeline);
  dispatch.threads = {32, 1, 1};
  dispatch.bindings = std::move(bindings);
  return dispatch;
}

Dispatch axpy_of(Lab& lab, std::shared_ptr<Buffer> x, std::shared_ptr<Buffer> y, float a) {
  return run(lab.pipeline("axpy"),
             {{0, DeviceMemory{x, 0}}, {1, DeviceMemory{y, 0}}, {2, bytes_of(a)}});
}

// Whether the call throws that kind with all those words.
bool refused(ErrorKind kind, std::vector<std::string> words, const std::function<void()>& call) {
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

constexpr auto kCompile = ErrorKind::KernelCompileError;
constexpr auto kDispatch = ErrorKind::DispatchError;

std::string temporary(const std::string& name) {
  auto folder = std::filesystem::temp_directory_path();
  return (folder / ("attnproto-" + std::to_string(getpid()) + "-" + name)).string();
}

}  // namespace

TEST("dispatches of one submission run in order and see each other's writes") {
  Lab lab;
  auto a = lab.buffer({1, 2}), b = lab.buffer({0, 0}), c = lab.buffer({0, 0});
  const Timing timing = lab.device->submit({axpy_of(lab, a, b, 3), axpy_of(lab, b, c, 10)});
  EXPECT(first(c) == 30 && static_cast<float*>(c->contents())[1] == 60);
  EXPECT(timing.gpu_start_us > 0 && timing.gpu_us() >= 0 && timing.gpu_us() < 1e7);
  EXPECT(timing.each.empty());
  EXPECT(lab.device->submit({}).gpu_us() == 0);
}

TEST("results are read after completion, however late it comes") {
  Lab lab;
  behaviour().delay_ms = 30;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  lab.device->submit({axpy_of(lab, x, y, 7)});
  EXPECT(first(y) == 7);
}

TEST("a buffer is bound from its offset") {
  Lab lab;
  auto x = lab.buffer({1, 2, 3}), y = lab.buffer({0});
  lab.device->submit({run(lab.pipeline("axpy"),
                          {{0, DeviceMemory{x, 8}}, {1, DeviceMemory{y, 0}}, {2, bytes_of(1)}})});
  EXPECT(first(y) == 3);
}

TEST(
    "host memory: written back where writable, left alone where not, in place where it fills "
    "pages") {
  Lab lab;
  auto pipeline = lab.pipeline("axpy");
  float x[3] = {1, 2, 3}, y[3] = {0, 0, 0}, fixed[3] = {5, 5, 5};
  auto go = [&](void* to, size_t bytes, bool writable) {
    lab.device->submit({run(pipeline, {{0, HostMemory{x, sizeof x, false}},
                                       {1, HostMemory{to, bytes, writable}},
                                       {2, bytes_of(2)}})});
  };
  go(y, sizeof y, true);
  EXPECT(y[0] == 2 && y[2] == 6);
  go(fixed, sizeof fixed, false);
  EXPECT(fixed[0] == 5 && fixed[2] == 5);
  const size_t page = size_t(getpagesize());
  auto* pages = static_cast<float*>(aligned_alloc(page, page));
  memset(pages, 0, page);
  go(pages, page, true);
  EXPECT(pages[1] == 4);
  free(pages);
}

TEST("one host array bound by two dispatches is one buffer; overlapping arrays are refused") {
  Lab lab;
  auto pipeline = lab.pipeline("axpy");
  float x[2] = {1, 1}, y[2] = {0, 0}, z[2] = {0, 0};
  auto step = [&](float* from, float* to) {
    return run(pipeline,
               {{0, HostMemory{from, 8, false}}, {1, HostMemory{to, 8, true}}, {2, bytes_of(2)}});
  };
  lab.device->submit({step(x, y), step(y, z)});
  EXPECT(z[0] == 4);
  EXPECT(refused(kDispatch, {"overlapping"}, [&] {
    lab.device->submit(
        {run(pipeline,
             {{0, HostMemory{x, 8, false}}, {1, HostMemory{x + 1, 4, true}}, {2, bytes_of(1)}})});
  }));
}

TEST("an empty host array beside the whole one loses nothing") {
  Lab lab;
  float x[2] = {1, 1}, y[2] = {0, 0};
  lab.device->submit({run(lab.pipeline("axpy"), {{0, HostMemory{x, 8, false}},
                                                 {1, HostMemory{y, 8, true}},
                                                 {2, bytes_of(2)},
                                                 {3, HostMemory{y, 0, true}}})});
  EXPECT(y[0] == 2 && y[1] == 2);
}

TEST("memory that Metal does not map is copied and written back") {
  Lab lab;
  behaviour().no_copy = false;
  const size_t page = size_t(getpagesize());
  auto* pages = static_cast<float*>(aligned_alloc(page, page));
  memset(pages, 0, page);
  float x[1] = {3};
  lab.device->submit(
      {run(lab.pipeline("axpy"),
           {{0, HostMemory{x, 4, false}}, {1, HostMemory{pages, page, true}}, {2, bytes_of(1)}})});
  EXPECT(pages[0] == 3);
  free(pages);
}

TEST("a dispatch runs with its own arguments, whatever the one before it had") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  Dispatch greedy = axpy_of(lab, x, y, 1);
  greedy.threadgroup_memory = {{0, 32768}};
  Dispatch small = run(lab.pipeline("alone"), {{0, DeviceMemory{y, 0}}});
  lab.device->submit({greedy, small});
  EXPECT(first(y) == 1);
  lab.device->submit_with({greedy, small}, {true, false});
  small.threadgroup_memory = {{0, 16}};
  lab.device->submit({small, greedy, small});
  EXPECT(first(y) == 1);
}

TEST("constants are given by index or name, in the type the text declares") {
  Lab lab;
  auto y = lab.buffer({1});
  auto pipeline =
      lab.pipeline("scaled", {{uint32_t(3), int64_t(5)}, {std::string("NEGATE"), true}});
  lab.device->submit({run(pipeline, {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == -5);
  auto other = lab.pipeline("scaled", {{uint32_t(3), int64_t(7)}, {std::string("NEGATE"), false}});
  lab.device->submit({run(other, {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == -35);
}

TEST("constants that do not fit are refused before Metal could misread them") {
  Lab lab;
  const Constant negate{std::string("NEGATE"), true};
  auto with = [&](Constant scale) { lab.pipeline("scaled", {scale, negate}); };
  EXPECT(refused(kCompile, {"3=-1"}, [&] { with({uint32_t(3), int64_t(-1)}); }));
  EXPECT(refused(kCompile, {"3=4294967296"}, [&] { with({uint32_t(3), int64_t(1) << 32}); }));
  EXPECT(refused(kCompile, {"an integer"}, [&] { with({uint32_t(3), 0.5}); }));
  EXPECT(
      refused(kCompile, {"88=1", "function constant"}, [&] { with({uint32_t(88), int64_t(1)}); }));
  EXPECT(refused(kCompile, {"NOBODY"}, [&] { with({std::string("NOBODY"), int64_t(1)}); }));
  EXPECT(refused(kCompile, {"SCALE", "no value"}, [&] { lab.pipeline("scaled", {negate}); }));
  EXPECT(refused(kCompile, {"true or false"}, [&] {
    lab.pipeline("scaled", {{uint32_t(3), int64_t(1)}, {uint32_t(4), int64_t(2)}});
  }));
  EXPECT(lab.pipeline("axpy", {{uint32_t(9), 0.5}}));
  EXPECT(refused(kCompile, {"one value for each"}, [&] {
    lab.pipeline("scaled", {{uint32_t(3), int64_t(1)}, {std::string("SCALE"), int64_t(2)}, negate});
  }));
  with({uint32_t(3), int64_t(5)});
  EXPECT(refused(kCompile, {"3=5.0", "an integer"}, [&] { with({uint32_t(3), 5.0}); }));
}

TEST("pipelines are cached by constants, libraries by text and options") {
  Lab lab;
  EXPECT(!lab.pipeline("axpy")->info().cached && lab.pipeline("axpy")->info().cached);
  auto scaled = [&](int64_t value) {
    return lab.pipeline("scaled", {{uint32_t(3), value}, {uint32_t(4), true}})->info();
  };
  EXPECT(!scaled(1).cached && !scaled(2).cached && scaled(1).cached);
  EXPECT(scaled(2).compile_us == 0 && lab.pipeline("heavy")->info().compile_us > 0);
  EXPECT(lab.device->library(kText) == lab.library);
  EXPECT(lab.device->library_with(kText, {true, {}}) != lab.library);
  EXPECT(lab.device->library_with(kText, {false, {{"A", "1"}}}) !=
         lab.device->library_with(kText, {false, {{"A", "2"}}}));
}

TEST("compile errors carry Metal's text; warnings are no errors; a lost compiler is asked again") {
  Lab lab;
  EXPECT(refused(kCompile,
                 {"[metal.compile]", "program_source:1:2: error", "MTLLibraryErrorDomain 3"},
                 [&] { lab.device->library("#error boom\n"); }));
  EXPECT(refused(kCompile, {"zero byte"}, [&] { lab.device->library(std::string("a\0b", 3)); }));
  behaviour().warn_on_compile = true;
  EXPECT(lab.device->library("kernel void w() {}"));
  behaviour().compiler_crashes = 1;
  EXPECT(lab.device->library("kernel void v() {}"));
  behaviour().compiler_crashes = 1;
  EXPECT(lab.pipeline("axpy"));
  behaviour().compiler_crashes = 1;
  EXPECT(lab.library->stitch({{"g", {{"twice", {{StitchedCall::From::Input, 0}}}}}}));
  behaviour().compiler_crashes = 1;
  lab.device->new_archive()->add(*lab.library, {"axpy", {}, {}, "", false, {}});
  behaviour().compiler_crashes = 2;
  EXPECT(refused(kCompile, {"XPC_ERROR_CONNECTION_INTERRUPTED"}, [&] { lab.pipeline("heavy"); }));
  EXPECT(refused(kCompile, {"nobody"}, [&] { lab.pipeline("nobody"); }));
  EXPECT(refused(kCompile, {"no kernel"}, [&] { lab.pipeline("twice"); }));
}

TEST("macros reach the text") {
  Lab lab;
  auto library =
      lab.device->library_with("kernel void KERNEL() {}", {false, {{"KERNEL", "named"}}});
  EXPECT(library->functions().size() == 1);
}

TEST("safe and fast math are chosen whole on macOS 14 and on newer ones") {
  for (int macos : {14, 15, 26}) {
    behaviour().macos = macos;
    Lab lab;
    EXPECT(metal_double::last_math() == "safe, precise");
    lab.device->library_with(kText, {true, {}});
    EXPECT(metal_double::last_math() == "fast, fast");
  }
}

TEST("on macOS 14 no newer selector is called") {
  behaviour().macos = 14;
  Lab lab;
  EXPECT(lab.device->library_with(kText, {true, {}}));
  auto x = lab.buffer({1}), y = lab.buffer({0});
  lab.device->submit_with({axpy_of(lab, x, y, 1)}, {true, true});
  EXPECT(lab.device->properties().size() > 8);
}

TEST("a session that lists a device and has no default one, and one that has none") {
  behaviour().default_device = false;
  EXPECT(open_metal()->info().kind == "metal");
  behaviour().listed_device = false;
  EXPECT(refused(ErrorKind::DeviceUnavailable, {"[metal.open]"}, [] { open_metal(); }));
  behaviour() = {};
  EXPECT(open_metal()->info().tier == "emulated");
}

TEST("what Metal would drop silently is refused") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  auto with = [&](const std::function<void(Dispatch&)>& change) {
    Dispatch dispatch = axpy_of(lab, x, y, 1);
    change(dispatch);
    lab.device->submit({dispatch});
  };
  EXPECT(refused(kDispatch, {"1056 threads"},
                 [&] { with([](Dispatch& d) { d.threads = {33, 32, 1}; }); }));
  EXPECT(
      refused(kDispatch, {"empty grid"}, [&] { with([](Dispatch& d) { d.threadgroups.x = 0; }); }));
  EXPECT(refused(kDispatch, {"multiple of 16"},
                 [&] { with([](Dispatch& d) { d.threadgroup_memory = {{0, 24}}; }); }));
  EXPECT(refused(kDispatch, {"32784 bytes"},
                 [&] { with([](Dispatch& d) { d.threadgroup_memory = {{0, 32768}, {1, 16}}; }); }));
  EXPECT(refused(kDispatch, {"below 31"},
                 [&] { with([](Dispatch& d) { d.bindings[0].index = 31; }); }));
  EXPECT(refused(kDispatch, {"bound twice"},
                 [&] { with([](Dispatch& d) { d.bindings[0].index = 1; }); }));
  EXPECT(refused(kDispatch, {"at most 4096"}, [&] {
    with([](Dispatch& d) { d.bindings[2].source = InlineBytes(4097, 'x'); });
  }));
  EXPECT(refused(kDispatch, {"no inline bytes"},
                 [&] { with([](Dispatch& d) { d.bindings[2].source = InlineBytes(); }); }));
  EXPECT(refused(kDispatch, {"offset 64"},
                 [&] { with([&](Dispatch& d) { d.bindings[0].source = DeviceMemory{x, 64}; }); }));
  EXPECT(first(y) == 0);
  behaviour().max_threads = 256;
  auto narrow = lab.pipeline("heavy");
  EXPECT(narrow->info().max_threads == 256);
  EXPECT(refused(kDispatch, {"512 threads", "256"}, [&] {
    Dispatch dispatch = run(narrow, {{0, DeviceMemory{y, 0}}});
    dispatch.threads = {512, 1, 1};
    lab.device->submit({dispatch});
  }));
}

TEST("a buffer, a pipeline or a library of another device is refused") {
  Lab lab, other;
  auto x = lab.buffer({1}), y = other.buffer({0});
  EXPECT(
      refused(kDispatch, {"another device"}, [&] { lab.device->submit({axpy_of(lab, x, y, 1)}); }));
  EXPECT(refused(kDispatch, {"another device"},
                 [&] { other.device->submit({axpy_of(lab, x, x, 1)}); }));
  EXPECT(refused(kCompile, {"another device"}, [&] {
    PipelineDescriptor descriptor;
    descriptor.function = "modified";
    descriptor.private_functions = {{other.library, "twice"}};
    lab.library->pipeline(descriptor);
  }));
}

TEST("a concurrent submission keeps the order its barriers ask for") {
  Lab lab;
  for (int round = 0; round < 12; ++round) {
    auto a = lab.buffer({1}), b = lab.buffer({0}), c = lab.buffer({0});
    std::vector<Dispatch> chain = {axpy_of(lab, a, b, 2), axpy_of(lab, b, c, 2)};
    chain[1].barrier_before = true;
    lab.device->submit_with(chain, {true, false});
    EXPECT(first(c) == 4);
  }
}

TEST("each dispatch is timed by the counters, or not at all when they cannot be believed") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  const std::vector<Dispatch> two = {axpy_of(lab, x, y, 1), axpy_of(lab, x, y, 1)};
  Timing timing = lab.device->submit_with(two, {false, true});
  EXPECT(timing.each.size() == 2);
  for (const Timing::Span& span : timing.each)
    EXPECT(span.start_us >= timing.gpu_start_us - 1 && span.end_us <= timing.gpu_end_us + 1 &&
           span.end_us >= span.start_us);
  EXPECT(timing.each[0].end_us <= timing.each[1].start_us);
  using metal_double::Samples;
  for (Samples bad : {Samples::Zero, Samples::Error, Samples::Unordered}) {
    behaviour().samples = bad;
    timing = lab.device->submit_with(two, {false, true});
    EXPECT(timing.each.empty() && timing.gpu_start_us > 0 && timing.gpu_us() >= 0);
  }
  behaviour().counter_memory = false;
  EXPECT(lab.device->submit_with(two, {false, true}).each.empty());
  behaviour() = {};
  behaviour().counters = false;
  EXPECT(lab.device->submit_with(two, {false, true}).each.empty());
  behaviour() = {};
  const std::vector<Dispatch> many(2049, two[0]);
  EXPECT(lab.device->submit_with(many, {false, true}).each.empty());
}

TEST("an archive serves what it holds in a new device, and fails on what it does not") {
  const std::string path = temporary("archive");
  PipelineDescriptor scaled;
  scaled.function = "scaled";
  scaled.constants = {{uint32_t(3), int64_t(5)}, {uint32_t(4), false}};
  {
    Lab lab;
    auto archive = lab.device->new_archive();
    EXPECT(refused(kCompile, {"not writable"}, [&] { archive->save(path); }));
    archive->add(*lab.library, scaled);
    archive->save(path);
    EXPECT(refused(kCompile, {"not writable"}, [&] { archive->save("/nonexistent/folder/a"); }));
  }
  Lab lab;
  scaled.archive = path;
  scaled.fail_on_archive_miss = true;
  EXPECT(lab.library->pipeline(scaled));
  PipelineDescriptor other = scaled;
  other.constants[0].value = int64_t(6);
  EXPECT(refused(kCompile, {"no binary for scaled"}, [&] { lab.library->pipeline(other); }));
  other.fail_on_archive_miss = false;
  EXPECT(lab.library->pipeline(other));
  auto replaced = lab.device->new_archive();
  replaced->add(*lab.library, other);
  replaced->save(path);
  other.fail_on_archive_miss = true;
  EXPECT(lab.library->pipeline(other));
  other.fail_on_archive_miss = false;
  std::remove(path.c_str());
  std::ofstream(path + "2") << "not an archive";
  other.archive = path + "2";
  EXPECT(refused(kCompile, {"unreadable", "delete it"}, [&] { lab.library->pipeline(other); }));
  std::ofstream(path + "2") << "metal double archive 1\n";
  EXPECT(lab.library->pipeline(other));
  std::remove(other.archive.c_str());
}

TEST("no archive under shader validation") {
  Lab lab;
  setenv("MTL_SHADER_VALIDATION", "1", 1);
  EXPECT(refused(kCompile, {"unset MTL_SHADER_VALIDATION"}, [&] { lab.device->new_archive(); }));
  PipelineDescriptor stored{"axpy", {}, {}, "/nonexistent", false, {}};
  EXPECT(
      refused(kCompile, {"unset MTL_SHADER_VALIDATION"}, [&] { lab.library->pipeline(stored); }));
  setenv("MTL_SHADER_VALIDATION", "0", 1);
  EXPECT(lab.device->new_archive());
  unsetenv("MTL_SHADER_VALIDATION");
}

namespace {

StitchedCall call(std::string function, std::vector<StitchedCall::Argument> arguments) {
  return {std::move(function), std::move(arguments)};
}
constexpr StitchedCall::Argument input(uint32_t index) {
  return {StitchedCall::From::Input, index};
}
constexpr StitchedCall::Argument result(uint32_t index) {
  return {StitchedCall::From::Call, index};
}

}  // namespace

TEST("a stitched function is linked into a kernel that only declares it") {
  Lab lab;
  PipelineDescriptor descriptor;
  descriptor.function = "modified";
  EXPECT(
      refused(kCompile, {"Undefined symbol: modify"}, [&] { lab.library->pipeline(descriptor); }));
  auto stitched =
      lab.library->stitch({{"modify", {call("twice", {input(0)}), call("twice", {result(0)})}}});
  EXPECT(stitched->functions() == std::vector<std::string>{"modify"});
  descriptor.private_functions = {{stitched, "modify"}};
  auto y = lab.buffer({3});
  lab.device->submit({run(lab.library->pipeline(descriptor), {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == 12);
}

TEST("a linked function reads a constant that only its own text has") {
  Lab lab;
  PipelineDescriptor descriptor;
  descriptor.function = "modified";
  descriptor.private_functions = {{lab.device->library(kLinked), "modify"}};
  EXPECT(refused(kCompile, {"GAIN", "no value"}, [&] { lab.library->pipeline(descriptor); }));
  descriptor.constants = {{std::string("GAIN"), 8.0}};
  auto y = lab.buffer({3});
  lab.device->submit({run(lab.library->pipeline(descriptor), {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == 24);
  descriptor.constants.push_back({std::string("NOBODY"), 8.0});
  EXPECT(refused(kCompile, {"NOBODY"}, [&] { lab.library->pipeline(descriptor); }));
}

TEST("a linked function of other types than its caller declares is refused") {
  Lab lab;
  auto linked = lab.device->library("[[visible]] float modify(float x, int y) { return x; }\n");
  PipelineDescriptor descriptor;
  descriptor.function = "modified";
  descriptor.private_functions = {{linked, "modify"}};
  const std::vector<std::string> words = {"float(float, int)", "float(float)", "modified"};
  EXPECT(refused(kCompile, words, [&] { lab.library->pipeline(descriptor); }));
  EXPECT(
      refused(kCompile, words, [&] { lab.device->new_archive()->add(*lab.library, descriptor); }));
}

TEST("a stitching graph that Metal leaves undefined is refused") {
  Lab lab;
  auto stitch = [&](std::vector<StitchedCall> calls) {
    lab.library->stitch({{"g", std::move(calls)}});
  };
  EXPECT(refused(kCompile, {"int as argument 0 of twice", "float"},
                 [&] { stitch({call("whole", {input(0)}), call("twice", {result(0)})}); }));
  EXPECT(
      refused(kCompile, {"no visible function axpy"}, [&] { stitch({call("axpy", {input(0)})}); }));
  EXPECT(refused(kCompile, {"later call"}, [&] { stitch({call("twice", {result(0)})}); }));
  EXPECT(refused(kCompile, {"1 arguments for add"}, [&] { stitch({call("add", {input(0)})}); }));
  EXPECT(refused(kCompile, {"no calls"}, [&] { stitch({}); }));
  EXPECT(refused(kCompile, {"no use of input 0"}, [&] { stitch({call("twice", {input(1)})}); }));
}

TEST("visible functions are called through a table made from their pipeline") {
  Lab lab;
  PipelineDescriptor descriptor;
  descriptor.function = "through_table";
  descriptor.linked_functions = {"halve", "twice"};
  auto pipeline = lab.library->pipeline(descriptor);
  auto table = pipeline->function_table({"halve", "halve", "twice"});
  EXPECT(table->size() == 3);
  auto y = lab.buffer({8});
  Dispatch dispatch = run(pipeline, {{0, DeviceMemory{y, 0}}});
  dispatch.function_tables = {{1, table}};
  lab.device->submit({dispatch});
  EXPECT(first(y) == 2);
  EXPECT(
      refused(kCompile, {"add which is not linked"}, [&] { pipeline->function_table({"add"}); }));
  EXPECT(refused(kCompile, {"at least one"}, [&] { pipeline->function_table({}); }));
  dispatch.pipeline = lab.pipeline("heavy");
  EXPECT(refused(kDispatch, {"another pipeline"}, [&] { lab.device->submit({dispatch}); }));
  dispatch.pipeline = pipeline;
  dispatch.function_tables[0].index = 0;
  EXPECT(refused(kDispatch, {"distinct indices"}, [&] { lab.device->submit({dispatch}); }));
}

TEST("a fault names the kernel and Metal's code, and the next dispatch works") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  struct Case {
    int code;
    std::vector<std::string> words;
  };
  for (const Case& fault :
       {Case{1, {"internal error (code 1)", "Internal Error", "run it again"}},
        Case{2, {"timeout (code 2)", "Caused GPU Timeout Error", "fewer threadgroups"}},
        Case{3, {"page fault (code 3)", "Caused GPU Address Fault Error", "check its indices"}},
        Case{4, {"access revoked (code 4)", "SubmissionsIgnored", "new process"}},
        Case{5, {"another kernel's fault (code 5)", "victim", "run it again"}},
        Case{7, {"not permitted (code 7)"}},
        Case{8, {"out of memory (code 8)", "Insufficient Memory", "release buffers"}},
        Case{9, {"invalid resource (code 9)"}}, Case{10, {"memoryless (code 10)"}},
        Case{12, {"stack overflow (code 12)", "recursion"}}}) {
    behaviour().fail_next = fault.code;
    int code = 0;
    std::string kernels;
    EXPECT(refused(kDispatch, fault.words, [&] {
      try {
        lab.device->submit({axpy_of(lab, x, y, 1)});
      } catch (const Fault& typed) {
        code = typed.code();
        kernels = typed.kernels();
        throw;
      }
    }));
    EXPECT(code == fault.code && kernels == "axpy");
    const float before = first(y);
    lab.device->submit({axpy_of(lab, x, y, 1)});
    EXPECT(first(y) == before + 1);
  }
}

TEST("a device that went away is said to be gone, each time") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  behaviour().fail_next = 11;
  for (int i = 0; i < 2; ++i)
    EXPECT(refused(ErrorKind::DeviceUnavailable, {"device removed (code 11)", "new process"},
                   [&] { lab.device->submit({axpy_of(lab, x, y, 1)}); }));
  EXPECT(first(y) == 0);
}

TEST("when dispatches have encoders of their own, the one at fault is named alone") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  behaviour().fail_next = 3;
  try {
    lab.device->submit_with(
        {run(lab.pipeline("heavy"), {{0, DeviceMemory{y, 0}}}), axpy_of(lab, x, y, 1)},
        {false, true});
    EXPECT(false);
  } catch (const Error& error) {
    EXPECT(std::string(error.what()).find("running axpy,") != std::string::npos);
  }
}

TEST("a failed submission leaves host memory as it was") {
  Lab lab;
  float x[1] = {1}, y[1] = {5};
  behaviour().fail_next = 2;
  EXPECT(refused(kDispatch, {"timeout"}, [&] {
    lab.device->submit(
        {run(lab.pipeline("axpy"),
             {{0, HostMemory{x, 4, false}}, {1, HostMemory{y, 4, true}}, {2, bytes_of(1)}})});
  }));
  EXPECT(y[0] == 5);
}

TEST("memory is given back, and what was made outlives the device's handle") {
  std::shared_ptr<Buffer> kept;
  {
    Lab lab;
    const uint64_t before = lab.device->allocated_bytes();
    {
      auto large = lab.device->new_buffer(1 << 20);
      EXPECT(lab.device->allocated_bytes() >= before + (1 << 20));
      float x[1] = {1}, y[1] = {0};
      lab.device->submit(
          {run(lab.pipeline("axpy"),
               {{0, HostMemory{x, 4, false}}, {1, HostMemory{y, 4, true}}, {2, bytes_of(1)}})});
    }
    EXPECT(lab.device->allocated_bytes() == before);
    kept = lab.buffer({42});
    EXPECT(lab.device->new_buffer(0)->bytes() == 0);
    EXPECT(refused(kDispatch, {"at most"}, [&] { lab.device->new_buffer(size_t(1) << 40); }));
  }
  EXPECT(first(kept) == 42);
}

TEST("many threads at once, none with a pool of its own") {
  Lab lab;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  behaviour().delay_ms = 2;
  behaviour().in_flight_wait_ms = 0;
  for (int i = 0; i < 80; ++i)
    threads.emplace_back([&, i] {
      auto x = lab.buffer({float(i)}), y = lab.buffer({0});
      lab.device->library("kernel void k" + std::to_string(i % 3) + "() {}")->functions();
      lab.device->submit({axpy_of(lab, x, y, 2)});
      wrong += first(y) != 2.0f * float(i);
    });
  for (auto& thread : threads) thread.join();
  EXPECT(wrong == 0);
  EXPECT(!lab.device->properties().empty() && lab.device->allocated_bytes() < (1 << 20));
}

TEST("a grid that its threadgroups do not fill reaches Metal as threads") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  Dispatch dispatch = axpy_of(lab, x, y, 1);
  dispatch.grid = Extent{33, 1, 1};
  lab.device->submit({dispatch});
  EXPECT(first(y) == 1);
}

int main(int argc, char** argv) {
  metal_double::use(metal_double::make_stub({{"axpy", {axpy}},
                                             {"scaled", {scaled}},
                                             {"modified", {modified}},
                                             {"through_table", {through_table}},
                                             {"alone", {alone, 16}},
                                             {"heavy", {[](const StubLaunch&) {}}}}));
  return metal_double::run_tests(argc, argv, metal_double::reset, [] {
    const auto broken = metal_double::violations();
    const auto leaked = metal_double::live();
    metal_double::print_all("rule broken", broken);
    metal_double::print_all("still alive", leaked);
    EXPECT(broken.empty());
    EXPECT(leaked.empty());
  });
}
