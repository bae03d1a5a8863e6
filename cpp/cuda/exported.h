#pragma once

#include "cuda_device.h"

namespace attnproto {

// The front ends of a cuda device without a compiler: their "texts" are paths of kernels exported
// as PTX (python/attnproto/compiler/targets/nvptx.py).
FrontEndFor exported_gpu_kernels();

}  // namespace attnproto
