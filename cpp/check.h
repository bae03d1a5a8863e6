// The rules of a dispatch that every device keeps, checked before anything runs.
#pragma once

#include <string>
#include <vector>

#include "device.h"
#include "front_end.h"

namespace attnproto {

// Throws DispatchError. `static_bytes` and `max_threads` come from the pipeline.
void check_dispatch(const Dispatch& dispatch, const PipelineInfo& pipeline,
                    const std::string& kernel);

// A pipeline that no dispatch could run is refused when it is made. Throws KernelCompileError.
void check_pipeline(const PipelineInfo& pipeline, const std::string& kernel);

// What the kernel declares must be bound, large enough, and writable where the kernel may
// write. Throws DispatchError.
void check_arguments(const Dispatch& dispatch, const std::vector<KernelArgument>& arguments,
                     const std::string& kernel);

// The table of this device that is bound for an argument. Throws DispatchError.
template <class Table>
Table& bound_table(const Dispatch& dispatch, const KernelArgument& argument,
                   const std::string& kernel);
[[noreturn]] void refuse_missing_table(const KernelArgument& argument, const std::string& kernel);
[[noreturn]] void refuse_table(const KernelArgument& argument, const std::string& kernel);

// Of the buffers among a kernel's arguments, those whose elements are known.
std::vector<ElementType> elements_of(const std::vector<KernelArgument>& arguments);

size_t binding_bytes(const Binding& binding);

// Threads in the whole grid, and the threadgroups that cover it.
Extent whole_grid(const Dispatch& dispatch);
Extent threadgroups_of(const Dispatch& dispatch);

template <class Table>
Table& bound_table(const Dispatch& dispatch, const KernelArgument& argument,
                   const std::string& kernel) {
  for (const TableBinding& binding : dispatch.function_tables)
    if (binding.index == argument.index)
      if (auto* table = dynamic_cast<Table*>(binding.table.get())) return *table;
  refuse_missing_table(argument, kernel);
}

}  // namespace attnproto
