#pragma once

#include <memory>

#include "device.h"
#include "front_end.h"

namespace attnproto {

// `threads`: OS threads that share the threadgroups of a dispatch; 0 = one a core.
std::shared_ptr<Device> open_cpu(std::shared_ptr<FrontEnd> front_end, unsigned threads);

}  // namespace attnproto
