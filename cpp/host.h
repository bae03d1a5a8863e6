// The machine this runs on, in words that compiled code can be bound to.
#pragma once

#include <string>

namespace attnproto {

// Architecture, model and a digest of what the processor can do; no spaces.
std::string host_processor();
// Name and release of the operating system, as "Linux 6.1.0" or "Darwin 14.5".
std::string host_system();

}  // namespace attnproto
