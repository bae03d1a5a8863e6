#pragma once

#include <memory>

#include "device.h"

namespace attnproto {

// Throws DeviceUnavailable where there is no Metal.
std::shared_ptr<Device> open_metal();

}  // namespace attnproto
