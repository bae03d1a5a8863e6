// The functions a compiled kernel may call, by the names it calls them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "fiber.h"

// Every rendezvous of lanes takes its number first, which
// compiler/passes/number_rendezvous.py gives it. Exported kernels find these in libattnproto, also
// where all else is hidden (cmake/metal.cmake).
#define ATTN_RUNTIME extern "C" __attribute__((used, visibility("default")))

namespace attnproto::cpu {

std::vector<std::pair<const char*, uint64_t>> runtime_symbols();
std::vector<std::pair<const char*, uint64_t>> validation_symbols();

// Whether lanes read each other's values in it, of those they choose.
bool is_shuffle(Operation operation);

}  // namespace attnproto::cpu
