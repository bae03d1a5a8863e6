#pragma once

#include <nanobind/nanobind.h>

namespace attnproto {

// Adds what only some devices can do to classes already bound.
void bind_variants(nanobind::module_& module);

}  // namespace attnproto
