// The Metal device through its contract, on the double: what it computes, what
// it refuses, what it leaves behind. After every test no rule of Metal's may
// have been broken and no object may be alive.
#include <cstdlib>

#include "lab.h"
#include "stub_device.h"

using namespace attnproto;
using metal_double::StubLaunch;

namespace {

void axpy(const StubLaunch& launch) {
  const size_t count = launch.buffers.at(0).second / sizeof(float);
  for (size_t i = 0; i < count; ++i)
    launch.at<float>(1)[i] += launch.at<float>(2)[0] * launch.at<float>(0)[i];
}

void scaled(const StubLaunch& launch) {
  auto constant = [&](uint32_t index) { return std::get<Number>(launch.constants.at(index)); };
  const double scale = double(std::get<int64_t>(constant(3)));
  launch.at<float>(0)[0] *= float(std::get<bool>(constant(4)) ? -scale : scale);
}

// The last element of each.
void vectors(const StubLaunch& launch) {
  auto last = [&](uint32_t index) {
    return std::get<std::vector<Number>>(launch.constants.at(index)).back();
  };
  float* y = launch.at<float>(0);
  y[0] = float(std::get<double>(last(10)));
  y[1] = float(std::get<int64_t>(last(11)));
  y[2] = float(std::get<bool>(last(12)));
  y[3] = float(std::get<double>(last(13)));
  y[4] = float(std::get<uint64_t>(last(14)) - (uint64_t(1) << 63));
}

void modified(const StubLaunch& launch) {
  const bool stitched =
      launch.text.find("float modify(float a0) { return twice(twice(a0)); }") != std::string::npos;
  const bool linked = launch.text.find("return GAIN * x") != std::string::npos;
  launch.at<float>(0)[0] *= stitched ? 4 : linked ? 8 : 0;
}

// Counts what is bound: a kernel must find its own arguments and no others.
void alone(const StubLaunch& launch) {
  const bool defined = launch.text.find("#define MACRO 7\n") != std::string::npos;
  launch.at<float>(0)[0] = float(launch.buffers.size()) + (defined ? 100 : 0);
}

void through_table(const StubLaunch& launch) {
  for (const std::string& name : launch.tables.at(1))
    launch.at<float>(0)[0] *= name == "halve" ? 0.5f : 1.0f;
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
  // The double runs what nothing orders in any order: a chain of eight would come out wrong.
  std::vector<std::shared_ptr<Buffer>> links;
  for (int i = 0; i < 9; ++i) links.push_back(lab.buffer({i == 0 ? 1.0f : 0.0f}));
  std::vector<Dispatch> chain;
  for (int i = 0; i < 8; ++i) chain.push_back(axpy_of(lab, links[i], links[i + 1], 2));
  lab.device->submit(chain);
  EXPECT(first(links[8]) == 256);
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

TEST("a submission has one encoder, whatever its dispatches set") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  Dispatch greedy = axpy_of(lab, x, y, 1);
  greedy.threadgroup_memory = {{0, 32768}};
  Dispatch small = run(lab.pipeline("alone"), {{0, DeviceMemory{y, 0}}});
  const int before = metal_double::encoders();
  lab.device->submit({greedy, small, greedy, small});
  EXPECT(metal_double::encoders() == before + 1);
}

TEST("rounds run one after another, those ahead too, and only the others are timed") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0}), z = lab.buffer({0});
  const std::vector<Dispatch> two = {axpy_of(lab, x, y, 1), axpy_of(lab, y, z, 1)};
  const int before = metal_double::encoders();
  const Timing timing = lab.device->submit_repeated(two, {3, 2}, {});
  EXPECT(metal_double::encoders() == before + 2);
  // Five rounds: z is 1 + 2 + 3 + 4 + 5.
  EXPECT(first(y) == 5 && first(z) == 15);
  EXPECT(timing.gpu_start_us > 0 && timing.gpu_us() >= 0);
  lab.device->submit_repeated({two[0]}, {4, 0}, {});
  EXPECT(first(y) == 9);
  EXPECT(lab.device->submit_repeated(two, {0, 1}, {}).gpu_us() == 0);
  behaviour().fail_next = 1;
  EXPECT(refused(kDispatch, {"internal error"},
                 [&] { lab.device->submit_repeated({two[0]}, {1, 1}, {}); }));
}

TEST("a Mac that is too old or has another GPU gets a sentence") {
  behaviour().macos = 13;
  EXPECT(refused(ErrorKind::DeviceUnavailable, {"macOS Version 13", "macOS 14 or later"},
                 [] { open_metal(); }));
  behaviour() = {};
  behaviour().apple_gpu = false;
  EXPECT(refused(ErrorKind::DeviceUnavailable, {"needs an Apple GPU"}, [] { open_metal(); }));
}

TEST("an exception of Objective-C is an error with its name and reason, and all works on") {
  Lab lab;
  const std::vector<std::string> words = {"NSInvalidArgumentException", "told to raise"};
  auto x = lab.buffer({1}), y = lab.buffer({0});
  const Dispatch one = axpy_of(lab, x, y, 1);
  behaviour().raise_next = true;
  EXPECT(refused(kDispatch, words, [&] { lab.device->submit({one}); }));
  behaviour().raise_next = true;
  EXPECT(refused(kDispatch, words, [&] { lab.device->library("kernel void other() {}"); }));
  lab.device->submit({one});
  EXPECT(first(y) == 1);
}

TEST("heat, power and power saving are told") {
  Lab lab;
  using Told = std::vector<std::pair<std::string, std::string>>;
  EXPECT(lab.device->conditions() ==
         (Told{{"thermal", "nominal"}, {"low_power_mode", "off"}, {"power", "AC Power"}}));
  behaviour().thermal_state = 2;
  behaviour().low_power_mode = behaviour().on_battery = true;
  EXPECT(lab.device->conditions() ==
         (Told{{"thermal", "serious"}, {"low_power_mode", "on"}, {"power", "Battery Power"}}));
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

TEST("a grid that its threadgroups do not fill reaches Metal as threads") {
  Lab lab;
  auto x = lab.buffer({1}), y = lab.buffer({0});
  Dispatch dispatch = axpy_of(lab, x, y, 1);
  dispatch.threadgroups = {2, 1, 1};
  dispatch.grid = Extent{33, 1, 1};
  lab.device->submit({dispatch});
  EXPECT(first(y) == 1);
}

int main(int argc, char** argv) {
  metal_double::use(metal_double::make_stub({{"axpy", {axpy}},
                                             {"scaled", {scaled}},
                                             {"vectors", {vectors}},
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
