#pragma once

#include <cstdint>

#include "cuda_device.h"

namespace attnproto {

inline constexpr uint32_t kExportedVersion = 1;  // in the head of a file

// The front ends of a cuda device without a compiler: their "texts" are paths of kernels exported
// as PTX (python/attnproto/compiler/targets/nvptx.py).
FrontEndFor exported_gpu_kernels();

}  // namespace attnproto
