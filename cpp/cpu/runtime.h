// The functions a compiled kernel may call, by the names it calls them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace attnproto::cpu {

std::vector<std::pair<const char*, uint64_t>> runtime_symbols();

}  // namespace attnproto::cpu
