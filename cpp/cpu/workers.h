// The OS threads that run threadgroups, and the one that waits for them.
//
// They are kept between dispatches. Whoever submits only waits: so it sees what arrives
// meanwhile (a signal of Python's, a deadline) and can end a kernel that never would.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "fiber.h"

namespace attnproto::cpu {

// How often a waiting thread looks up.
inline constexpr std::chrono::milliseconds kGlance{50};

// What may end a wait early.
struct Patience {
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::function<bool()> interrupted;  // asked now and then by the thread that waits
};

// Asks whether somebody wants to end a submission, as often as a wait for its end does.
class Interruptions {
 public:
  explicit Interruptions(const std::function<bool()>& interrupted) : interrupted_(interrupted) {}
  bool any() {
    const auto now = std::chrono::steady_clock::now();
    if (!interrupted_ || now - asked_ < kGlance) return false;
    asked_ = now;
    return interrupted_();
  }

 private:
  const std::function<bool()>& interrupted_;
  std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();
};

enum class Outcome { Done, TimedOut, Interrupted };

class Workers {
 public:
  Workers();
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Runs `job` on up to `count` threads at once, on fewer where the system has no more, and
  // waits. Where patience ends, `stop` is set and the kernels that run are made to leave.
  // Throws what a job threw.
  using Job = std::function<void(Threadgroup&)>;
  Outcome run(size_t count, const Job& job, const Patience& patience, std::atomic<bool>& stop);

  // `visit` every Threadgroup there is; while no job runs.
  void each(const std::function<void(Threadgroup&)>& visit);

 private:
  struct Worker;
  void grow(size_t count);
  void work(Worker& self);
  Outcome wait(std::unique_lock<std::mutex>& lock, const Patience& patience,
               std::atomic<bool>& stop);

  std::mutex mutex_;
  std::condition_variable begin_, end_;
  std::vector<std::unique_ptr<Worker>> workers_;
  const Job* job_ = nullptr;
  size_t running_ = 0;
  bool quit_ = false;
  std::exception_ptr failure_;
};

// One submission at a time; who waits for its turn can be interrupted.
class Turns {
 public:
  // False where `interrupted` said so first. Throws where the calling thread has the turn: a
  // signal handler of Python's runs within a dispatch that its thread waits for.
  bool take(const std::function<bool()>& interrupted);
  void give();

 private:
  std::timed_mutex mutex_;
  std::atomic<std::thread::id> owner_;
};

}  // namespace attnproto::cpu
