// The Metal device, wherever there is one.
#pragma once

#include <memory>

#include "../device.h"

namespace attnproto {

// Throws DeviceUnavailable where the build or the session has no Metal device.
std::shared_ptr<Device> open_metal();

}  // namespace attnproto
