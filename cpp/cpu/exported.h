#pragma once

#include <memory>

#include "front_end.h"

namespace attnproto {

// The front end of a cpu device without a compiler: its "texts" are paths of
// kernels exported as shared objects (python/attnproto/compiler/codegen/shared_object.py).
std::shared_ptr<FrontEnd> exported_kernels();

}  // namespace attnproto
