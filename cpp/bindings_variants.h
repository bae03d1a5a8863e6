#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "device.h"

namespace attnproto {

// Adds what only some devices can do to classes already bound.
void bind_variants(nanobind::module_& module);

// Runs without the interpreter's lock; what Python's signal handlers raise meanwhile ends it.
Timing submit(Device& device, const std::vector<const Dispatch*>& dispatches, const Rounds& rounds,
              SubmitOptions options);

}  // namespace attnproto
