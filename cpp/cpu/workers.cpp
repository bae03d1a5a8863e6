#include "workers.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <utility>

#include "error.h"
#include "faults.h"

namespace attnproto::cpu {
namespace {

// How often a kernel that is to leave is asked again: the engine may hold something just then.
constexpr std::chrono::milliseconds kInsistence{1};

// A thread of the engine gets the signals that its own code causes, and nobody else's.
class OwnSignals {
 public:
  OwnSignals() {
    sigset_t others;
    sigfillset(&others);
    for (int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGURG, SIGABRT})
      sigdelset(&others, own);
    pthread_sigmask(SIG_BLOCK, &others, &before_);
  }
  ~OwnSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

struct Workers::Worker {
  std::unique_ptr<Threadgroup> group;  // made by its own thread
  bool wanted = false;
  std::thread thread;
};

Workers::Workers() = default;

Workers::~Workers() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    quit_ = true;
  }
  begin_.notify_all();
  for (auto& worker : workers_) worker->thread.join();
}

void Workers::grow(size_t count) {
  OwnSignals inherited;
  while (workers_.size() < count) {
    auto worker = std::make_unique<Worker>();
    try {
      worker->thread = std::thread([this, self = worker.get()] { work(*self); });
    } catch (const std::system_error& error) {
      if (!workers_.empty()) return;
      throw Error(ErrorKind::DispatchError,
                  std::string("[dispatch] found no thread that the system would start (") +
                      error.what() + "), needs one; end other programs, or raise the limit");
    }
    workers_.push_back(std::move(worker));
  }
}

void Workers::work(Worker& self) {
  HandlerStack handlers;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    begin_.wait(lock, [&] { return quit_ || self.wanted; });
    if (quit_) return;
    const Job& job = *job_;
    lock.unlock();
    std::exception_ptr failure;
    try {
      if (!self.group) self.group = std::make_unique<Threadgroup>();
      job(*self.group);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) failure_ = failure;
    self.wanted = false;
    if (--running_ == 0) end_.notify_all();
  }
}

Outcome Workers::run(size_t count, const Job& job, const Patience& patience,
                     std::atomic<bool>& stop) {
  std::unique_lock<std::mutex> lock(mutex_);
  catch_faults();
  grow(count);
  job_ = &job;
  for (size_t i = 0; i < std::min(count, workers_.size()); i++) {
    workers_[i]->wanted = true;
    running_++;
  }
  begin_.notify_all();
  Outcome outcome = wait(lock, patience, stop);
  if (std::exception_ptr failure = std::exchange(failure_, nullptr))
    std::rethrow_exception(failure);
  return outcome;
}

Outcome Workers::wait(std::unique_lock<std::mutex>& lock, const Patience& patience,
                      std::atomic<bool>& stop) {
  using Clock = std::chrono::steady_clock;
  Outcome outcome = Outcome::Done;
  auto done = [&] { return running_ == 0; };
  while (!done()) {
    if (stop) {
      for (auto& worker : workers_)
        if (worker->wanted) nudge(worker->thread.native_handle());
      end_.wait_for(lock, kInsistence, done);
      continue;
    }
    auto until = Clock::now() + kGlance;
    if (patience.deadline && *patience.deadline < until) until = *patience.deadline;
    if (end_.wait_until(lock, until, done)) break;
    if (patience.deadline && Clock::now() >= *patience.deadline) {
      outcome = Outcome::TimedOut;
    } else if (patience.interrupted) {
      lock.unlock();
      if (patience.interrupted()) outcome = Outcome::Interrupted;
      lock.lock();
    }
    if (outcome != Outcome::Done) stop = true;
  }
  return outcome;
}

void Workers::each(const std::function<void(Threadgroup&)>& visit) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto& worker : workers_)
    if (worker->group) visit(*worker->group);
}

bool Turns::take(const std::function<bool()>& interrupted) {
  if (owner_ == std::this_thread::get_id())
    throw Error(ErrorKind::DispatchError,
                "[submit] found a signal handler that uses the device within a dispatch of its "
                "own thread, needs that to end first; set a flag and use the device later");
  while (!mutex_.try_lock_for(kGlance))
    if (interrupted && interrupted()) return false;
  owner_ = std::this_thread::get_id();
  return true;
}

void Turns::give() {
  owner_ = std::thread::id();
  mutex_.unlock();
}

}  // namespace attnproto::cpu
