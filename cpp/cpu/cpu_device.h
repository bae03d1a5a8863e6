#pragma once

#include <map>
#include <memory>
#include <string>

#include "counting.h"
#include "device.h"
#include "front_end.h"

namespace attnproto {

// `threads`: OS threads that share the threadgroups of a dispatch; 0 = one a core.
// `validate`: the front end compiles kernels to validate; they run on one thread.
std::shared_ptr<Device> open_cpu(std::shared_ptr<FrontEnd> front_end, unsigned threads,
                                 bool validate = false);

// What kernels compiled to count did since the last call, over all threads, by their
// descriptions (python/attnproto/measure/dynamic_counts.py).
std::map<std::string, cpu::Counted> take_counts(Device& cpu_device);

}  // namespace attnproto
