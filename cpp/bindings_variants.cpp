// The part of the contract for variants: compile options, stitching, function
// tables, archives, concurrent and individually timed submissions.
#include "bindings_variants.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "archive.h"
#include "device.h"

namespace nb = nanobind;
using namespace nb::literals;

#if defined(ATTNPROTO_METAL_DOUBLE)
namespace metal_double {
void bind(nb::module_& module);
}
#endif

namespace attnproto {
namespace {

using Unlocked = nb::call_guard<nb::gil_scoped_release>;

// A method for a class that another file binds.
template <class T, class F, class... Extra>
void add_method(const char* name, F&& function, const Extra&... extra) {
  nb::object type = nb::borrow(nb::type<T>());
  nb::setattr(type, name,
              nb::cpp_function(std::forward<F>(function), nb::scope(type), nb::name(name),
                               nb::is_method(), extra...));
}

void bind_stitching(nb::module_& m) {
  nb::enum_<StitchedCall::From>(m, "From")
      .value("INPUT", StitchedCall::From::Input)
      .value("CALL", StitchedCall::From::Call);
  nb::class_<StitchedCall>(m, "StitchedCall")
      .def(
          "__init__",
          [](StitchedCall* self, std::string function,
             const std::vector<std::pair<StitchedCall::From, uint32_t>>& arguments) {
            new (self) StitchedCall{std::move(function), {}};
            for (const auto& [from, index] : arguments) self->arguments.push_back({from, index});
          },
          "function"_a, "arguments"_a);
  nb::class_<StitchedFunction>(m, "StitchedFunction")
      .def(nb::init<std::string, std::vector<StitchedCall>, bool>(), "name"_a, "calls"_a,
           "always_inline"_a = true);
  add_method<Library>("stitch", &Library::stitch, "functions"_a, Unlocked());
}

void bind_pipelines(nb::module_& m) {
  nb::class_<FunctionTable>(m, "FunctionTable").def("__len__", &FunctionTable::size);
  nb::class_<Archive>(m, "Archive")
      .def("add", &Archive::add, "library"_a, "descriptor"_a, Unlocked())
      .def("save", &Archive::save, "path"_a, Unlocked());
  add_method<Pipeline>("function_table", &Pipeline::function_table, "functions"_a);
  add_method<PipelineDescriptor>(
      "link",
      [](PipelineDescriptor& self, std::shared_ptr<Library> library, std::string function) {
        self.private_functions.push_back({std::move(library), std::move(function)});
      },
      "library"_a, "function"_a);
  add_method<PipelineDescriptor>(
      "fail_on_archive_miss", [](PipelineDescriptor& self) { self.fail_on_archive_miss = true; });
}

void bind_archives(nb::module_& m) {
  nb::class_<ArchivedPipeline>(m, "ArchivedPipeline")
      .def_ro("function", &ArchivedPipeline::function)
      .def_ro("text", &ArchivedPipeline::text)
      .def_ro("linked", &ArchivedPipeline::linked)
      .def_ro("privately", &ArchivedPipeline::privately)
      .def_ro("constants", &ArchivedPipeline::constants)
      .def_prop_ro("code_bytes", [](const ArchivedPipeline& self) { return self.code.size(); });
  nb::class_<ArchiveFile>(m, "ArchiveFile")
      .def_ro("device", &ArchiveFile::device)
      .def_ro("pipelines", &ArchiveFile::pipelines)
      .def_prop_ro("payload", [](const ArchiveFile& self) {
        return nb::bytes(self.payload.data(), self.payload.size());
      });
  m.def("read_archive", &read_archive, "path"_a, Unlocked());
}

void bind_submissions(nb::module_&) {
  add_method<Dispatch>(
      "bind_table",
      [](Dispatch& self, uint32_t index, std::shared_ptr<FunctionTable> table) {
        self.function_tables.push_back({index, std::move(table)});
      },
      "index"_a, "table"_a);
  add_method<Dispatch>("barrier_before", [](Dispatch& self) { self.barrier_before = true; });
  add_method<Timing>("spans", [](const Timing& self) {
    std::vector<std::pair<double, double>> spans;
    for (const Timing::Span& span : self.each) spans.emplace_back(span.start_us, span.end_us);
    return spans;
  });
}

void bind_device(nb::module_&) {
  add_method<Device>(
      "library_with",
      [](Device& self, const std::string& text, bool fast_math,
         std::vector<std::pair<std::string, std::string>> macros) {
        return self.library_with(text, {fast_math, std::move(macros)});
      },
      "text"_a, "fast_math"_a = false,
      "macros"_a = std::vector<std::pair<std::string, std::string>>(), Unlocked());
  add_method<Device>(
      "submit_with",
      [](Device& self, const std::vector<const Dispatch*>& dispatches, bool concurrent,
         bool time_each, double time_limit_s) {
        return submit(self, dispatches, {}, {concurrent, time_each, time_limit_s, nullptr, false});
      },
      "dispatches"_a, "concurrent"_a = false, "time_each"_a = false, "time_limit_s"_a = 0.0);
  add_method<Device>("compiled_library", &Device::compiled_library, "path"_a, Unlocked());
  add_method<Device>(
      "submit_repeated",
      [](Device& self, const std::vector<const Dispatch*>& dispatches, uint32_t times,
         uint32_t ahead, double time_limit_s, bool explain_faults) {
        return submit(self, dispatches, {times, ahead},
                      {false, false, time_limit_s, nullptr, explain_faults});
      },
      "dispatches"_a, "times"_a, "ahead"_a = 0, "time_limit_s"_a = 0.0, "explain_faults"_a = false);
  add_method<Device>("conditions", &Device::conditions);
  add_method<Device>("new_archive", &Device::new_archive);
  add_method<Device>("allocated_bytes", &Device::allocated_bytes);
  add_method<Device>("properties", &Device::properties);
}

}  // namespace

Timing submit(Device& device, const std::vector<const Dispatch*>& dispatches, const Rounds& rounds,
              SubmitOptions options) {
  std::vector<Dispatch> copies;
  for (const Dispatch* dispatch : dispatches) copies.push_back(*dispatch);
  std::exception_ptr raised;
  // Only the main thread has signals. Another that asked for the interpreter while that ends would
  // be ended by it, in the middle of this.
  nb::object main = nb::module_::import_("threading").attr("main_thread")();
  const bool has_signals =
      nb::cast<unsigned long>(main.attr("ident")) == PyThread_get_thread_ident();
  options.interrupted = [&] {
    if (!has_signals) return false;
    nb::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() == 0) return false;
    raised = std::make_exception_ptr(nb::python_error());
    return true;
  };
  try {
    nb::gil_scoped_release unlocked;
    return device.submit_repeated(copies, rounds, options);
  } catch (const Interrupted&) {
    std::rethrow_exception(raised);
  }
}

void bind_variants(nb::module_& m) {
  bind_stitching(m);
  bind_pipelines(m);
  bind_archives(m);
  bind_submissions(m);
  bind_device(m);
#if defined(ATTNPROTO_METAL_DOUBLE)
  nb::module_ controls = m.def_submodule("metal_double", "Controls of the software double.");
  ::metal_double::bind(controls);
#endif
}

}  // namespace attnproto
