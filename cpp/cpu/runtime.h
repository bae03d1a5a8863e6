// The functions a compiled kernel may call, by the names it calls them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "fiber.h"

namespace attnproto::cpu {

std::vector<std::pair<const char*, uint64_t>> runtime_symbols();
std::vector<std::pair<const char*, uint64_t>> validation_symbols();

// Whether lanes read each other's values in it, of those they choose.
bool is_shuffle(Operation operation);

}  // namespace attnproto::cpu
