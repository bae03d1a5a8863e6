// What a kernel calls that runs a whole simdgroup at once (python/attnproto/compiler/vectorize).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace attnproto::cpu {

std::vector<std::pair<const char*, uint64_t>> lockstep_symbols();

}  // namespace attnproto::cpu
