// SHA-256 (FIPS 180-4), for archives that are read where there is no Python.
#pragma once

#include <string>
#include <string_view>

namespace attnproto {

// Of the bytes, as 64 hexadecimal digits.
std::string sha256(std::string_view bytes);

}  // namespace attnproto
