#pragma once

#include <functional>
#include <memory>
#include <string>

#include "../device.h"
#include "../front_end.h"

namespace attnproto {

// Makes the front end for an architecture such as "sm_90".
using FrontEndFor = std::function<std::shared_ptr<FrontEnd>(const std::string& architecture)>;

// Throws DeviceUnavailable where there is no NVIDIA GPU.
std::shared_ptr<Device> open_cuda(const FrontEndFor& front_end_for);

}  // namespace attnproto
