#include "faults.h"

#include <signal.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <type_traits>

#include "error.h"
#include "fiber.h"

// The part of attn_switch that continues a context: the stack pointer is at what it pops.
extern "C" void attn_continue();

namespace attnproto::cpu {
namespace {

constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
// Ignored by who does not know it, and used by hardly anybody.
constexpr int kNudge = SIGURG;
constexpr size_t kHandlerStackBytes = 64 * 1024;
constexpr size_t kMostStacks = 4096;
constexpr uintptr_t kUnnamed = ~uintptr_t(0);

struct Stacks {
  std::atomic<uintptr_t> arena{0};
  size_t bytes = 0;
};
Stacks stacks[kMostStacks];
std::atomic<size_t> stacks_used{0};
std::mutex stacks_mutex;
struct sigaction previous[NSIG];
// The thread in whose handler `previous` is called.
std::atomic<uintptr_t> passing[NSIG];
std::mutex install_mutex;

// Where an interrupted thread is, and where it shall go on.
#if defined(__APPLE__) && defined(__x86_64__)
#define ATTN_STACK_POINTER(context) (context)->uc_mcontext->__ss.__rsp
#define ATTN_PROGRAM_COUNTER(context) (context)->uc_mcontext->__ss.__rip
#elif defined(__APPLE__)
#define ATTN_STACK_POINTER(context) (context)->uc_mcontext->__ss.__sp
#define ATTN_PROGRAM_COUNTER(context) (context)->uc_mcontext->__ss.__pc
#elif defined(__x86_64__)
#define ATTN_STACK_POINTER(context) (context)->uc_mcontext.gregs[REG_RSP]
#define ATTN_PROGRAM_COUNTER(context) (context)->uc_mcontext.gregs[REG_RIP]
#else
#define ATTN_STACK_POINTER(context) (context)->uc_mcontext.sp
#define ATTN_PROGRAM_COUNTER(context) (context)->uc_mcontext.pc
#endif

void go_on(ucontext_t* thread, void (*at)(), void* stack) {
  using Word = std::remove_reference_t<decltype(ATTN_STACK_POINTER(thread))>;
  ATTN_STACK_POINTER(thread) = Word(reinterpret_cast<uintptr_t>(stack));
  ATTN_PROGRAM_COUNTER(thread) = Word(reinterpret_cast<uintptr_t>(at));
}

// The Threadgroup whose kernel a signal has interrupted.
Threadgroup* interrupted(uintptr_t stack_pointer) {
  for (size_t i = 0, n = stacks_used.load(std::memory_order_acquire); i < n; i++) {
    uintptr_t arena = stacks[i].arena.load(std::memory_order_acquire);
    if (arena && stack_pointer >= arena && stack_pointer - arena < stacks[i].bytes)
      return *reinterpret_cast<Threadgroup**>(arena);
  }
  return nullptr;
}

void pass_on(int number, siginfo_t* info, void* context) {
  const struct sigaction before = previous[number];
  const bool has_handler = (before.sa_flags & SA_SIGINFO) ||
                           (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN);
  const auto self = reinterpret_cast<uintptr_t>(pthread_self());
  // A handler that was installed after ours, and before ours was again, raises the signal for us
  // when it has said its word.
  const bool returned = passing[number].exchange(self) == self && info->si_code <= 0;
  if (has_handler && !returned) {
    if (before.sa_flags & SA_SIGINFO)
      before.sa_sigaction(number, info, context);
    else
      before.sa_handler(number);
    passing[number] = 0;
    return;
  }
  if (number == kNudge) return;
  // What faulted does so again, and is met as if we had never been here.
  signal(number, SIG_DFL);
  if (info->si_code <= 0) raise(number);
}

void on_signal(int number, siginfo_t* info, void* context) {
  auto* thread = static_cast<ucontext_t*>(context);
  Threadgroup* group = interrupted(uintptr_t(ATTN_STACK_POINTER(thread)));
  const bool fault = number != kNudge && info->si_code > 0;  // others are sent by somebody
  if (!group || group->held || (!fault && number != kNudge)) return pass_on(number, info, context);
  if (!fault && !(group->stop && group->stop->load(std::memory_order_relaxed))) return;
  group->left.signal = number;
  group->left.address = reinterpret_cast<uintptr_t>(info->si_addr);
#if defined(SI_KERNEL)  // the processor did not say which
  if (info->si_code == SI_KERNEL) group->left.address = kUnnamed;
#endif
  go_on(thread, attn_continue, group->caller_stack_pointer);
}

bool is_ours(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) && action.sa_sigaction == on_signal;
}

void install(int number) {
  struct sigaction action{}, before{};
  if (!sigaction(number, nullptr, &before) && is_ours(before)) return;
  std::lock_guard<std::mutex> lock(install_mutex);
  action.sa_sigaction = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER;
  sigaction(number, &action, &before);
  if (!is_ours(before)) previous[number] = before;
}

std::string place(uintptr_t address) {
  if (address == kUnnamed) return "an access of a wild or misaligned address";
  char text[32];
  std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(address));
  return std::string("an access of address ") + text + ", where there is no memory for it,";
}

std::string name_of(const Threadgroup& group) {
  const attn_group& shared = group.shared;
  std::string text = "thread " + std::to_string(group.current->public_state.index);
  if (group.lockstep) text = "simdgroup " + std::to_string(group.current->public_state.simdgroup);
  text += " of threadgroup (";
  for (int axis = 0; axis < 3; axis++)
    text += (axis ? ", " : "") + std::to_string(shared.threadgroup_position[axis]);
  return text + ")";
}

}  // namespace

struct HandlerStack::Previous {
  stack_t stack{};
};

void catch_faults() {
  for (int number : kFaults) install(number);
  install(kNudge);
}

bool add_stacks(const void* arena, size_t bytes) {
  std::lock_guard<std::mutex> lock(stacks_mutex);
  for (size_t i = 0; i < kMostStacks; i++) {
    if (stacks[i].arena.load(std::memory_order_relaxed)) continue;
    stacks[i].bytes = bytes;
    stacks[i].arena.store(reinterpret_cast<uintptr_t>(arena), std::memory_order_release);
    stacks_used.store(std::max(stacks_used.load(), i + 1), std::memory_order_release);
    return true;
  }
  return false;
}

void remove_stacks(const void* arena) {
  std::lock_guard<std::mutex> lock(stacks_mutex);
  for (Stacks& one : stacks)
    if (one.arena.load(std::memory_order_relaxed) == reinterpret_cast<uintptr_t>(arena))
      one.arena.store(0, std::memory_order_release);
}

void nudge(pthread_t thread) {
  install(kNudge);  // somebody may have taken it since
  pthread_kill(thread, kNudge);
}

HandlerStack::HandlerStack()
    : memory_(new unsigned char[kHandlerStackBytes]), previous_(new Previous) {
  stack_t ours{};
  ours.ss_sp = memory_.get();
  ours.ss_size = kHandlerStackBytes;
  sigaltstack(&ours, &previous_->stack);
}

HandlerStack::~HandlerStack() { sigaltstack(&previous_->stack, nullptr); }

void throw_fault(const Threadgroup& group, const std::string& kernel) {
  const std::string where = "[dispatch " + kernel + "] found ", who = name_of(group);
  const std::string cure =
      group.validation ? "" : "; open the cpu device with validate=True to be told the line";
  const int number = group.left.signal;
  if (number == SIGSEGV || number == SIGBUS)
    throw Fault(ErrorKind::DispatchError,
                where + place(group.left.address) + " by " + who +
                    ", needs one inside what is bound and aligned for its type" + cure,
                kPageFault, kernel);
  throw Fault(ErrorKind::DispatchError,
              where +
                  (number == SIGFPE ? "an operation that the processor refuses"
                                    : "a trap, or an end of code that has none,") +
                  " by " + who + ", needs a kernel that returns" + cure,
              kKernelFault, kernel);
}

}  // namespace attnproto::cpu
