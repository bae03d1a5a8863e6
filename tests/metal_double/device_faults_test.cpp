// Faults, clocks, threads and lifetimes of the Metal device, on the double.
#include <atomic>
#include <chrono>
#include <thread>

#include "lab.h"

using namespace attnproto;

TEST("a session that lists a device and has no default one, and one that has none") {
  behaviour().default_device = false;
  EXPECT(open_metal()->info().kind == "metal");
  behaviour().listed_device = false;
  EXPECT(refused(ErrorKind::DeviceUnavailable, {"[metal.open]"}, [] { open_metal(); }));
  behaviour() = {};
  EXPECT(open_metal()->info().tier == "emulated");
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
  EXPECT(timing.each_refused.empty());
  const std::pair<Samples, const char*> refusals[] = {
      {Samples::Zero, "zero"},
      {Samples::Error, "error value"},
      {Samples::Unordered, "ends before it starts"},
      {Samples::Overlapping, "starts before the one before it ends"},
      {Samples::Long, "longer than the command buffer"}};
  for (const auto& [bad, why] : refusals) {
    behaviour().samples = bad;
    timing = lab.device->submit_with(two, {false, true});
    EXPECT(timing.each.empty() && timing.gpu_start_us > 0 && timing.gpu_us() >= 0);
    EXPECT(timing.each_refused.find(why) != std::string::npos);
  }
  behaviour().counter_memory = false;
  EXPECT(lab.device->submit_with(two, {false, true}).each.empty());
  behaviour() = {};
  behaviour().counters = false;
  EXPECT(lab.device->submit_with(two, {false, true}).each.empty());
  behaviour() = {};
  const std::vector<Dispatch> many(2049, two[0]);
  EXPECT(lab.device->submit_with(many, {false, true}).each_refused.find("2048") !=
         std::string::npos);
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
  const std::vector<Dispatch> two = {run(lab.pipeline("heavy"), {{0, DeviceMemory{y, 0}}}),
                                     axpy_of(lab, x, y, 1)};
  // Who is at fault costs time to know: only the run after a failure asks.
  for (const char* named : {"running heavy, axpy,", "running axpy,"}) {
    behaviour().fail_next = 3;
    EXPECT(refused(kDispatch, {named}, [&] { lab.device->submit_with(two, {false, true}); }));
  }
  const int before = metal_double::explained();
  lab.device->submit_with(two, {false, true});
  EXPECT(metal_double::explained() == before + 1);
  lab.device->submit_with(two, {false, true});
  EXPECT(metal_double::explained() == before + 1);
  // A run that is asked to know it does, and no other.
  SubmitOptions explaining;
  explaining.explain_faults = true;
  lab.device->submit_repeated(two, {2, 0}, explaining);
  EXPECT(metal_double::explained() == before + 2);
  lab.device->submit_repeated(two, {2, 0}, {});
  EXPECT(metal_double::explained() == before + 2);
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
  behaviour().in_flight_wait_ms = 0;
  metal_double::hold(true);
  for (int i = 0; i < 80; ++i)
    threads.emplace_back([&, i] {
      auto x = lab.buffer({float(i)}), y = lab.buffer({0});
      lab.device->library("kernel void k" + std::to_string(i % 3) + "() {}")->functions();
      lab.device->submit({axpy_of(lab, x, y, 2)});
      wrong += first(y) != 2.0f * float(i);
    });
  // None is let go before all are under way that the device lets: no more come.
  for (int i = 0, seen = 0, same = 0; i < 5000 && (seen < 32 || same < 200); ++i, ++same) {
    if (metal_double::in_flight() != seen) same = 0;
    seen = metal_double::in_flight();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  metal_double::hold(false);
  for (auto& thread : threads) thread.join();
  EXPECT(wrong == 0);
  EXPECT(!lab.device->properties().empty() && lab.device->allocated_bytes() < (1 << 20));
}
