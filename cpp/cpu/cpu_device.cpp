// The contract over the engine: threadgroups of a dispatch are handed to
// OS threads one by one; nothing but their order depends on how many there are.
#include "cpu_device.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "check.h"
#include "error.h"
#include "faults.h"
#include "fiber.h"
#include "guarded.h"
#include "host.h"
#include "library.h"
#include "validation.h"
#include "workers.h"

namespace attnproto {
namespace {

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

class CpuBuffer final : public Buffer {
 public:
  explicit CpuBuffer(size_t bytes) : bytes_(bytes), memory_(bytes) {}
  size_t bytes() const override { return bytes_; }
  void* contents() override { return memory_.data(); }

 private:
  size_t bytes_;
  cpu::Guarded memory_;
};

// A dispatch checked and turned into what the engine reads.
struct Launch {
  std::string kernel;
  cpu::Entry entry;
  bool lockstep = false;
  attn_group group{};
  Extent threadgroups, threads, grid;
  size_t threadgroup_bytes = 0;
};

void* address(const Binding& binding) {
  if (auto* device = std::get_if<DeviceMemory>(&binding.source))
    return static_cast<char*>(device->buffer->contents()) + device->offset;
  if (auto* host = std::get_if<HostMemory>(&binding.source)) return host->data;
  return const_cast<char*>(std::get<InlineBytes>(binding.source).data());
}

// Gives the kernel its function tables, which stand among its buffers.
void bind_tables(const Dispatch& dispatch, const CpuPipeline& pipeline, attn_group& group) {
  for (const KernelArgument& argument : pipeline.image().arguments) {
    if (argument.kind != KernelArgument::Kind::FunctionTable) continue;
    auto& table = bound_table<CpuTable>(dispatch, argument, pipeline.name());
    if (table.pipeline() != pipeline.identity()) refuse_table(argument, pipeline.name());
    group.buffers[argument.index] = const_cast<uint64_t*>(table.addresses());
  }
}

// Whether simdgroups lie along the first axis, whole ones only, also at the grid's edge.
bool fills_simdgroups(const Launch& launch) {
  return launch.threads.x % cpu::kLanes == 0 && launch.grid.x % cpu::kLanes == 0;
}

// Whether two buffers of a kernel share bytes, of which it may write one.
bool buffers_overlap(const Dispatch& dispatch, const std::vector<KernelArgument>& arguments) {
  struct Range {
    uintptr_t begin, end;
    bool writes;
  };
  std::vector<Range> ranges;
  for (const KernelArgument& argument : arguments) {
    if (argument.kind != KernelArgument::Kind::Buffer) continue;
    for (const Binding& binding : dispatch.bindings) {
      if (binding.index != argument.index) continue;
      const auto begin = reinterpret_cast<uintptr_t>(address(binding));
      ranges.push_back({begin, begin + binding_bytes(binding), argument.writes});
    }
  }
  for (size_t i = 0; i < ranges.size(); i++)
    for (size_t j = 0; j < i; j++)
      if ((ranges[i].writes || ranges[j].writes) && ranges[i].begin < ranges[j].end &&
          ranges[j].begin < ranges[i].end)
        return true;
  return false;
}

// Which of a kernel's codes runs, and where its threadgroup memory lies.
void choose_code(const Dispatch& dispatch, CpuPipeline& pipeline, Launch& launch) {
  const KernelImage* image = &pipeline.image();
  std::shared_ptr<const KernelImage> for_overlap;
  if (image->distinct_buffers && buffers_overlap(dispatch, image->arguments)) {
    for_overlap = pipeline.image_for_overlap();
    image = for_overlap.get();
  }
  launch.lockstep = image->lane_entry && fills_simdgroups(launch);
  launch.entry = reinterpret_cast<cpu::Entry>(
      launch.lockstep || !image->lane_entry ? image->entry_address : image->lane_entry());
  launch.threadgroup_bytes = round_up(image->static_threadgroup_bytes, 16);
  for (const ThreadgroupMemory& memory : dispatch.threadgroup_memory) {
    launch.group.threadgroup_offsets[memory.index] = uint32_t(launch.threadgroup_bytes);
    launch.threadgroup_bytes += memory.bytes;
  }
}

Launch prepare(const Dispatch& dispatch, bool validate) {
  auto* pipeline = dynamic_cast<CpuPipeline*>(dispatch.pipeline.get());
  if (!pipeline)
    throw Error(ErrorKind::DispatchError,
                "[dispatch] found a pipeline of another device, needs one of this cpu device");
  if (pipeline->image().validates != validate)
    throw Error(ErrorKind::DispatchError, "[dispatch " + pipeline->name() +
                                              "] found a pipeline of a cpu device that " +
                                              (validate ? "does not validate" : "validates") +
                                              ", needs one of this device; compile its text here");
  check_dispatch(dispatch, pipeline->info(), pipeline->name());
  check_arguments(dispatch, pipeline->image().arguments, pipeline->name());

  Launch launch;
  launch.kernel = pipeline->name();
  launch.threads = dispatch.threads;
  launch.threadgroups = threadgroups_of(dispatch);
  launch.grid = whole_grid(dispatch);
  for (const Binding& binding : dispatch.bindings)
    launch.group.buffers[binding.index] = address(binding);
  bind_tables(dispatch, *pipeline, launch.group);
  choose_code(dispatch, *pipeline, launch);
  return launch;
}

// A limit that the clock can count to: a century is none.
std::chrono::nanoseconds limit(double time_limit_s) {
  return std::chrono::nanoseconds(int64_t(std::min(time_limit_s, 3e9) * 1e9));
}

std::string seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

uint32_t threads_in(const attn_group& group) {
  return group.threads[0] * group.threads[1] * group.threads[2];
}

void store(uint32_t (&to)[3], const Extent& from) {
  to[0] = from.x, to[1] = from.y, to[2] = from.z;
}

class CpuDevice final : public Device {
 public:
  CpuDevice(std::shared_ptr<FrontEnd> front_end, unsigned threads, bool validate)
      : front_end_(std::move(front_end)), threads_(validate ? 1 : threads) {
    if (validate) validation_ = std::make_unique<cpu::Validation>();
    info_ = {"cpu",
             "MSL on the host's processor, " +
                 (validate ? "validated" : std::to_string(threads) + " threads"),
             "emulated", host_processor(), host_system()};
  }
  const DeviceInfo& info() const override { return info_; }
  std::shared_ptr<Buffer> new_buffer(size_t bytes) override {
    return std::make_shared<CpuBuffer>(bytes);
  }
  std::shared_ptr<Library> library(const std::string& text) override {
    return std::make_shared<CpuLibrary>(front_end_, text);
  }
  std::shared_ptr<Archive> new_archive() override {
    return std::make_shared<CpuArchive>(front_end_);
  }
  Timing submit_repeated(const std::vector<Dispatch>& dispatches, const Rounds& rounds,
                         const SubmitOptions& options) override {
    std::vector<Launch> launches;
    for (const Dispatch& dispatch : dispatches)
      launches.push_back(prepare(dispatch, bool(validation_)));
    Turn turn(*turns_, options, launches);
    cpu::Interruptions interruptions(options.interrupted);
    auto round = [&] {
      for (size_t i = 0; i < launches.size(); i++) {
        if (interruptions.any()) throw Interrupted(launches[i].kernel);
        if (validation_) {
          if (!i || !options.concurrent || dispatches[i].barrier_before)
            validation_->forget_dispatches();
          watch(dispatches[i], launches[i], options.concurrent);
        }
        run(launches[i], options);
        if (validation_ && options.concurrent) validation_->end_dispatch(launches[i].kernel);
      }
    };
    for (uint32_t i = 0; i < rounds.ahead; i++) round();
    Timing timing;
    timing.gpu_start_us = now_us();
    for (uint32_t i = 0; i < rounds.times; i++) round();
    timing.gpu_end_us = now_us();
    if (options.time_each) timing.each_refused = "the cpu device times whole submissions";
    return timing;
  }

  // In a child of this process there are no threads but the one that forked it, and what the
  // others held is held for ever.
  void begin_anew() {
    (void)turns_.release();
    (void)workers_.release();
    turns_ = std::make_unique<cpu::Turns>();
    workers_ = std::make_unique<cpu::Workers>();
    if (!validation_) return;
    (void)validation_.release();
    validation_ = std::make_unique<cpu::Validation>();
  }

  std::map<std::string, cpu::Counted> take_counts() {
    std::map<std::string, cpu::Counted> totals;
    workers_->each([&](cpu::Threadgroup& group) {
      for (auto& [kernel, counted] : std::exchange(group.counting.counted, {}))
        totals[kernel].merge(counted);
    });
    return totals;
  }

 private:
  static double now_us() {
    auto since = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::micro>(since).count();
  }

  // From here on the kernel sees no addresses.
  void watch(const Dispatch& dispatch, Launch& launch, bool overlap) {
    auto& pipeline = static_cast<const CpuPipeline&>(*dispatch.pipeline);
    validation_->bind(dispatch, pipeline.image().arguments, launch.group, overlap);
    for (const TableBinding& table : dispatch.function_tables) {
      auto& words = static_cast<const CpuTable&>(*table.table);
      validation_->bind_table(table.index, words.addresses(), words.size() + 1, launch.group);
    }
  }

  // What the threads that run a dispatch share.
  struct Progress {
    std::atomic<uint64_t> next{0}, finished{0};
    std::atomic<bool> stop{false};
    std::mutex mutex;
    const cpu::Threadgroup* broken = nullptr;  // the first that did not come to its end by itself
  };

  void run(const Launch& launch, const SubmitOptions& options) {
    const uint64_t total = launch.threadgroups.count();
    Progress progress;
    cpu::Patience patience;
    patience.interrupted = options.interrupted;
    if (options.time_limit_s > 0)
      patience.deadline = std::chrono::steady_clock::now() + limit(options.time_limit_s);
    auto job = [&](cpu::Threadgroup& group) { run(launch, group, total, progress); };
    const size_t workers = size_t(std::min<uint64_t>(threads_, total));
    cpu::Outcome outcome = workers_->run(workers, job, patience, progress.stop);
    if (progress.broken) fail(*progress.broken, launch.kernel);
    if (outcome == cpu::Outcome::Interrupted) throw Interrupted(launch.kernel);
    if (outcome == cpu::Outcome::TimedOut && progress.finished < total)
      throw Fault(ErrorKind::DispatchError,
                  "[dispatch " + launch.kernel + "] found a kernel that had not ended after " +
                      seconds(options.time_limit_s) +
                      " s, needs one that does; raise time_limit_s, or look for a loop that has "
                      "no end",
                  kTimeout, launch.kernel);
  }

  // The threadgroups that one thread gets.
  void run(const Launch& launch, cpu::Threadgroup& group, uint64_t total, Progress& progress) {
    group.reserve(launch.threadgroup_bytes);
    void* memory = group.shared.threadgroup_memory;
    group.shared = launch.group;
    group.shared.threadgroup_memory = memory;
    group.entry = launch.entry;
    group.lockstep = launch.lockstep;
    group.fault.clear();
    group.left.signal = 0;
    group.stopped = false;
    group.stop = &progress.stop;
    group.validation = validation_.get();
    for (uint64_t i; !progress.stop && (i = progress.next++) < total;) {
      place(launch, i, group.shared);
      // What was never written reads as NaN, so that a kernel relying on it is found out.
      if (launch.threadgroup_bytes) std::memset(memory, 0xff, launch.threadgroup_bytes);
      if (validation_) validation_->begin(group);
      group.run();
      if (validation_ && !group.left.signal) validation_->end();
      if (group.abandoned()) {
        group.counting.discard();
        note(group, progress);
        break;
      }
      group.counting.finish(threads_in(group.shared), launch.threadgroup_bytes);
      progress.finished++;
    }
    group.stop = nullptr;
  }

  // One that was told to stop is not broken.
  static void note(const cpu::Threadgroup& group, Progress& progress) {
    std::lock_guard<std::mutex> lock(progress.mutex);
    if (group.fault.empty() && progress.stop) return;
    if (!progress.broken) progress.broken = &group;
    progress.stop = true;
  }

  [[noreturn]] void fail(const cpu::Threadgroup& group, const std::string& kernel) {
    if (validation_ && validation_->found())
      throw cpu::ValidationFault(kernel, validation_->take_finding());
    if (group.left.signal) cpu::throw_fault(group, kernel);
    if (group.fault == cpu::kTooDeep)
      throw Fault(ErrorKind::DispatchError, "[dispatch " + kernel + "] " + group.fault,
                  kKernelFault, kernel);
    throw Error(ErrorKind::DispatchError, "[dispatch " + kernel + "] " + group.fault);
  }

  // A submission's turn at the device.
  class Turn {
   public:
    Turn(cpu::Turns& turns, const SubmitOptions& options, const std::vector<Launch>& launches)
        : turns_(turns) {
      if (!turns.take(options.interrupted))
        throw Interrupted(launches.empty() ? "" : launches.front().kernel);
    }
    ~Turn() { turns_.give(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    cpu::Turns& turns_;
  };

  static void place(const Launch& launch, uint64_t linear, attn_group& group) {
    const Extent &n = launch.threadgroups, &size = launch.threads, &grid = launch.grid;
    Extent at = {uint32_t(linear % n.x), uint32_t(linear / n.x % n.y),
                 uint32_t(linear / (uint64_t(n.x) * n.y))};
    Extent here = {std::min(size.x, grid.x - at.x * size.x),
                   std::min(size.y, grid.y - at.y * size.y),
                   std::min(size.z, grid.z - at.z * size.z)};
    store(group.threadgroup_position, at);
    store(group.threadgroups, n);
    store(group.threads, here);
    store(group.dispatch_threads, size);
    store(group.grid_threads, grid);
  }

  std::shared_ptr<FrontEnd> front_end_;
  unsigned threads_;
  DeviceInfo info_;
  std::unique_ptr<cpu::Turns> turns_ = std::make_unique<cpu::Turns>();
  std::unique_ptr<cpu::Workers> workers_ = std::make_unique<cpu::Workers>();
  std::unique_ptr<cpu::Validation> validation_;  // of a device that validates
};

// The devices of this process, for a child that it forks.
struct Devices {
  std::mutex mutex;
  std::vector<CpuDevice*> open;
};

Devices& devices() {
  static Devices* all = [] {
    pthread_atfork([] { devices().mutex.lock(); }, [] { devices().mutex.unlock(); },
                   [] {
                     for (CpuDevice* device : devices().open) device->begin_anew();
                     devices().mutex.unlock();
                   });
    return new Devices;
  }();
  return *all;
}

void remember(CpuDevice* device) {
  std::lock_guard<std::mutex> lock(devices().mutex);
  devices().open.push_back(device);
}

void forget(CpuDevice* device) {
  std::lock_guard<std::mutex> lock(devices().mutex);
  auto& open = devices().open;
  open.erase(std::remove(open.begin(), open.end(), device), open.end());
}

}  // namespace

std::map<std::string, cpu::Counted> take_counts(Device& device) {
  return dynamic_cast<CpuDevice&>(device).take_counts();
}

std::shared_ptr<Device> open_cpu(std::shared_ptr<FrontEnd> front_end, unsigned threads,
                                 bool validate) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  std::shared_ptr<CpuDevice> made(new CpuDevice(std::move(front_end), threads, validate),
                                  [](CpuDevice* device) {
                                    forget(device);
                                    delete device;
                                  });
  remember(made.get());
  return made;
}

}  // namespace attnproto
