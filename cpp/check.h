// The rules of a dispatch that every device keeps, checked before anything runs.
#pragma once

#include <string>

#include "device.h"

namespace attnproto {

// Throws DispatchError. `static_bytes` and `max_threads` come from the pipeline.
void check_dispatch(const Dispatch& dispatch, const PipelineInfo& pipeline,
                    const std::string& kernel);

size_t binding_bytes(const Binding& binding);

}  // namespace attnproto
