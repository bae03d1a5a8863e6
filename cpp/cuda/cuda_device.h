#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "../device.h"
#include "../front_end.h"

namespace attnproto {

// Makes the front end for an architecture such as "sm_90"; the second argument divides the
// address of every buffer that its kernels will be given.
using FrontEndFor =
    std::function<std::shared_ptr<FrontEnd>(const std::string& architecture, uint32_t alignment)>;

// Throws DeviceUnavailable where there is no NVIDIA GPU.
std::shared_ptr<Device> open_cuda(const FrontEndFor& front_end_for);

}  // namespace attnproto
