// What ends a kernel from outside: a fault of the hardware, and whoever no longer waits for it.
//
// A kernel runs on the stacks of its Threadgroup, and nothing else does. So a signal handler that
// finds the stack pointer there has interrupted a kernel, and may let the thread go on where
// Threadgroup::run() left off: a kernel owns no lock and no memory. The engine's own functions do
// for moments; they say so in Threadgroup::held. Signals that are not ours go to who had them.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace attnproto::cpu {

struct Threadgroup;

// Catches the signals of this process, also where somebody has taken them since; before kernels
// run.
void catch_faults();
// Says where the stacks of a Threadgroup are, until it is destroyed; false where there are more
// than anybody has threads, whose faults are then not caught.
bool add_stacks(const void* arena, size_t bytes);
void remove_stacks(const void* arena);

// Lets a thread look at Threadgroup::stop, if it runs a kernel.
void nudge(pthread_t thread);

// A kernel's own stack may be what is broken: a stack for the handlers of the calling thread.
class HandlerStack {
 public:
  HandlerStack();
  ~HandlerStack();
  HandlerStack(const HandlerStack&) = delete;
  HandlerStack& operator=(const HandlerStack&) = delete;

 private:
  struct Previous;
  std::unique_ptr<unsigned char[]> memory_;
  std::unique_ptr<Previous> previous_;
};

// Throws the Fault that a signal was, of a Threadgroup that `kernel` left by it.
[[noreturn]] void throw_fault(const Threadgroup& group, const std::string& kernel);

}  // namespace attnproto::cpu
