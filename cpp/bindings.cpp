// nanobind over the contract. No policy here: python/attnproto/device/device.py is what users see.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>
#include <nanobind/trampoline.h>

#include <map>

#include "bindings_variants.h"
#include "c_api.h"
#include "cpu/cpu_device.h"
#include "cpu/runtime.h"
#include "cpu/validation.h"
#include "cuda/cuda_device.h"
#include "cuda/exported.h"
#include "cuda/library.h"
#include "device.h"
#include "error.h"
#include "front_end.h"
#include "metal/metal_device.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace attnproto;

namespace {

// Calls back into Python (attnproto.compiler), which holds the compiler.
struct PythonFrontEnd final : FrontEnd {
  NB_TRAMPOLINE(FrontEnd, 3);
  std::vector<std::string> functions(const std::string& text) override {
    NB_OVERRIDE_PURE(functions, text);
  }
  KernelImage compile(const std::string& text, const PipelineDescriptor& descriptor) override {
    NB_OVERRIDE_PURE(compile, text, descriptor);
  }
  void save_archive(const std::vector<std::string>& texts,
                    const std::vector<PipelineDescriptor>& descriptors,
                    const std::string& path) override {
    NB_OVERRIDE(save_archive, texts, descriptors, path);
  }
};

// Compilers run outside the interpreter's lock, so that several can run at once.
using Unlocked = nb::call_guard<nb::gil_scoped_release>;

using Axes = std::tuple<uint32_t, uint32_t, uint32_t>;
Extent extent(const Axes& axes) {
  return {std::get<0>(axes), std::get<1>(axes), std::get<2>(axes)};
}

using Bytes = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using ConstBytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Another library's array, by DLPack: its memory where that is contiguous and the host's, DLPack's
// code, bits and lanes of an element, its shape, where it lies, whether it may be written. What has
// the buffer protocol only does not get here: nanobind reads strides that an exporter may leave
// out.
template <class Array>
nb::object described(const Array& array, bool writable) {
  bool contiguous = true;
  int64_t step = 1;
  nb::list shape;
  for (size_t i = array.ndim(); i-- > 0; step *= int64_t(array.shape(i))) {
    contiguous = contiguous && (array.shape(i) == 1 || array.stride(i) == step);
    shape.insert(0, array.shape(i));
  }
  nb::object memory = nb::none();
  if ((contiguous || array.size() == 0) && array.device_type() == nb::device::cpu::value) {
    auto* kept = new Array(array);
    nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<Array*>(p); });
    size_t bytes[1] = {array.nbytes()};
    memory = nb::cast(nb::ndarray<nb::numpy, uint8_t, nb::ndim<1>>(
        const_cast<void*>(static_cast<const void*>(array.data())), 1, bytes, owner));
  }
  const nb::dlpack::dtype type = array.dtype();
  return nb::make_tuple(memory, type.code, type.bits, type.lanes, nb::tuple(shape),
                        int(array.device_type()), writable);
}

nb::object host_array(nb::object value) {
  nb::ndarray<> writable;
  if (nb::try_cast(value, writable, false)) return described(writable, true);
  nb::ndarray<nb::ro> readonly;
  if (nb::try_cast(value, readonly, false)) return described(readonly, false);
  return nb::none();
}

void raise(const char* name, const char* message) {
  nb::object type = nb::module_::import_("attnproto.errors").attr(name);
  PyErr_SetString(type.ptr(), message);
}

void raise(const Fault& fault) {
  nb::object errors = nb::module_::import_("attnproto.errors");
  nb::object type = errors.attr("FAULTS").attr("get")(fault.code(), errors.attr("GpuFault"));
  nb::object error = type(fault.what());
  error.attr("code") = fault.code();
  error.attr("kernels") = fault.kernels();
  PyErr_SetObject(type.ptr(), error.ptr());
}

// Python makes the sentence of a finding (attnproto.errors.ValidationError).
void raise(const cpu::ValidationFault& fault) {
  const cpu::Finding& found = fault.finding;
  nb::list parties;
  for (const cpu::Party& party : found.parties)
    parties.append(nb::make_tuple(
        party.action, party.line, party.source,
        nb::make_tuple(party.threadgroup[0], party.threadgroup[1], party.threadgroup[2]),
        party.thread, party.kernel));
  nb::object type = nb::module_::import_("attnproto.errors").attr("ValidationError");
  nb::object error = type(fault.kernel, found.kind, parties, found.memory, found.offset,
                          found.memory_bytes, found.bytes);
  PyErr_SetObject(type.ptr(), error.ptr());
}

// Where each field of a struct lies that compiled kernels bring along.
using Layout = std::map<std::string, size_t>;

// What compiled kernels and the engine agree on: attnproto.compiler writes code by these.
void bind_kernel_interface(nb::module_& m) {
  m.attr("LANES") = cpu::kLanes;
  m.attr("LANE_BYTES") = sizeof(cpu::Fiber);
  m.attr("LANE") = nb::cast(Layout{{"group", offsetof(attn_lane, group)},
                                   {"position", offsetof(attn_lane, position)},
                                   {"index", offsetof(attn_lane, index)},
                                   {"simdgroup", offsetof(attn_lane, simdgroup)},
                                   {"lane", offsetof(attn_lane, lane)}});
  m.attr("MAX_THREADS") = cpu::kMaxThreads;
  m.attr("MAX_BUFFERS") = kMaxBufferIndex;
  m.attr("STACK_BYTES") = cpu::kStackBytes;
  m.attr("MATRIX_SLOTS") = cpu::kMatrixSlots;
  m.attr("C_API_VERSION") = ATTNPROTO_C_API_VERSION;
  m.attr("EXPORTED_PTX_VERSION") = kExportedVersion;

  m.attr("SITE_READ") = uint32_t(cpu::kRead);
  m.attr("SITE_WRITE") = uint32_t(cpu::kWrite);
  m.attr("SITE_ATOMIC") = uint32_t(cpu::kAtomic);
  m.attr("SITE_COPY") = uint32_t(cpu::kCopy);
  m.attr("SITE_KEPT") = uint32_t(cpu::kKept);
  m.attr("SITE_THREADGROUP_BARRIER") = uint32_t(cpu::kThreadgroupBarrier);
  m.attr("SITE_SIMDGROUP_BARRIER") = uint32_t(cpu::kSimdgroupBarrier);
  using cpu::Site;
  m.attr("SITE_BYTES") = sizeof(Site);
  m.attr("SITE") = nb::cast(Layout{{"source", offsetof(Site, source)},
                                   {"tables", offsetof(Site, tables)},
                                   {"line", offsetof(Site, line)},
                                   {"index", offsetof(Site, index)},
                                   {"bytes", offsetof(Site, bytes)},
                                   {"alignment", offsetof(Site, alignment)},
                                   {"kind", offsetof(Site, kind)},
                                   {"shift", offsetof(Site, shift)}});
  using cpu::ConstantTable;
  m.attr("CONSTANT_TABLE") = nb::cast(
      Layout{{"begin", offsetof(ConstantTable, begin)}, {"end", offsetof(ConstantTable, end)}});
  using Segment = cpu::CountedSegment;
  m.attr("COUNTED_SEGMENT") = nb::cast(Layout{{"order", offsetof(Segment, order)},
                                              {"first_access", offsetof(Segment, first_access)},
                                              {"accesses", offsetof(Segment, accesses)}});
  using Access = cpu::CountedAccess;
  m.attr("COUNTED_ACCESS") = nb::cast(Layout{{"device", offsetof(Access, device)},
                                             {"store", offsetof(Access, store)},
                                             {"bytes", offsetof(Access, bytes)}});
  using Kernel = cpu::CountedKernel;
  m.attr("COUNTED_KERNEL") = nb::cast(Layout{{"description", offsetof(Kernel, description)},
                                             {"segments", offsetof(Kernel, segments)},
                                             {"accesses", offsetof(Kernel, accesses)},
                                             {"segment_count", offsetof(Kernel, segment_count)},
                                             {"access_count", offsetof(Kernel, access_count)}});
}

}  // namespace

NB_MODULE(_core, m) {
  // Devices stay open until the process ends, and with them what they are made of: no leak.
  nb::set_leak_warnings(false);
  nb::register_exception_translator([](const std::exception_ptr& error, void*) {
    try {
      std::rethrow_exception(error);
    } catch (const Fault& e) {
      return raise(e);
    } catch (const cpu::ValidationFault& fault) {
      return raise(fault);
    } catch (const Error& e) {
      switch (e.kind()) {
        case ErrorKind::DeviceUnavailable:
          return raise("DeviceUnavailable", e.what());
        case ErrorKind::KernelCompileError:
          return raise("KernelCompileError", e.what());
        case ErrorKind::DispatchError:
          return raise("DispatchError", e.what());
      }
    }
  });

  nb::class_<Constant>(m, "Constant")
      .def(nb::init<std::variant<uint32_t, std::string>, std::variant<bool, int64_t, double>>(),
           "key"_a, "value"_a)
      .def_ro("key", &Constant::key)
      .def_ro("value", &Constant::value);
  nb::class_<PipelineDescriptor>(m, "PipelineDescriptor")
      .def(
          "__init__",
          [](PipelineDescriptor* self, std::string function, std::vector<Constant> constants,
             std::vector<std::string> linked_functions, std::string archive) {
            new (self) PipelineDescriptor{std::move(function), std::move(constants),
                                          std::move(linked_functions), std::move(archive)};
          },
          "function"_a, "constants"_a = std::vector<Constant>(),
          "linked_functions"_a = std::vector<std::string>(), "archive"_a = "")
      .def_ro("function", &PipelineDescriptor::function)
      .def_ro("constants", &PipelineDescriptor::constants)
      .def_ro("linked_functions", &PipelineDescriptor::linked_functions)
      .def_ro("archive", &PipelineDescriptor::archive)
      .def_ro("fails_on_archive_miss", &PipelineDescriptor::fail_on_archive_miss)
      .def_rw("distinct_buffers", &PipelineDescriptor::distinct_buffers)
      .def_prop_ro("private_functions", [](const PipelineDescriptor& self) {
        std::vector<std::pair<std::string, std::string>> found;
        for (const LinkedFunction& one : self.private_functions)
          found.emplace_back(one.library->text(), one.function);
        return found;
      });
  nb::class_<PipelineInfo>(m, "PipelineInfo")
      .def_ro("static_threadgroup_bytes", &PipelineInfo::static_threadgroup_bytes)
      .def_ro("max_threads", &PipelineInfo::max_threads)
      .def_ro("simd_width", &PipelineInfo::simd_width)
      .def_ro("compile_us", &PipelineInfo::compile_us)
      .def_ro("function_us", &PipelineInfo::function_us)
      .def_ro("cached", &PipelineInfo::cached)
      .def_ro("engine", &PipelineInfo::engine)
      .def_ro("engine_reason", &PipelineInfo::engine_reason)
      .def_prop_ro("elements", [](const PipelineInfo& self) {
        std::map<uint32_t, std::pair<uint32_t, std::string>> found;
        for (const ElementType& one : self.elements) found[one.index] = {one.element, one.name};
        return found;
      });

  nb::enum_<KernelArgument::Kind>(m, "ArgumentKind")
      .value("BUFFER", KernelArgument::Kind::Buffer)
      .value("THREADGROUP", KernelArgument::Kind::Threadgroup)
      .value("FUNCTION_TABLE", KernelArgument::Kind::FunctionTable);
  nb::class_<KernelArgument>(m, "KernelArgument")
      .def(nb::init<KernelArgument::Kind, uint32_t, uint32_t, std::string, bool>(), "kind"_a,
           "index"_a, "min_bytes"_a, "name"_a, "writes"_a = false)
      .def_ro("kind", &KernelArgument::kind)
      .def_ro("index", &KernelArgument::index)
      .def_ro("min_bytes", &KernelArgument::min_bytes)
      .def_ro("name", &KernelArgument::name)
      .def_ro("writes", &KernelArgument::writes)
      .def_rw("element", &KernelArgument::element);
  nb::class_<KernelImage>(m, "KernelImage")
      .def(
          "__init__",
          [](KernelImage* self, std::vector<KernelArgument> arguments, uint32_t static_bytes,
             uint32_t max_threads, uint64_t entry, nb::bytes code,
             std::vector<std::pair<std::string, uint64_t>> addresses, double compile_us,
             double function_us, bool cached) {
            new (self) KernelImage{std::move(arguments),
                                   static_bytes,
                                   max_threads,
                                   entry,
                                   std::string(code.c_str(), code.size()),
                                   std::move(addresses),
                                   compile_us,
                                   function_us,
                                   cached};
          },
          "arguments"_a, "static_threadgroup_bytes"_a, "max_threads"_a, "entry_address"_a, "code"_a,
          "function_addresses"_a, "compile_us"_a, "function_us"_a, "cached"_a)
      .def_ro("arguments", &KernelImage::arguments)
      .def_ro("static_threadgroup_bytes", &KernelImage::static_threadgroup_bytes)
      .def_ro("max_threads", &KernelImage::max_threads)
      .def_prop_ro(
          "code",
          [](const KernelImage& self) { return nb::bytes(self.code.data(), self.code.size()); })
      .def_rw("validates", &KernelImage::validates)
      .def_rw("distinct_buffers", &KernelImage::distinct_buffers)
      .def_ro("entry_address", &KernelImage::entry_address)
      .def_rw("lane_entry", &KernelImage::lane_entry)
      .def_rw("engine", &KernelImage::engine)
      .def_rw("engine_reason", &KernelImage::engine_reason);
  nb::class_<FrontEnd, PythonFrontEnd>(m, "FrontEnd")
      .def(nb::init<>())
      .def("functions", &FrontEnd::functions)
      .def("compile", &FrontEnd::compile)
      .def("save_archive", &FrontEnd::save_archive);

  nb::class_<Buffer>(m, "Buffer")
      .def_prop_ro("nbytes", &Buffer::bytes)
      .def("view", [](std::shared_ptr<Buffer> self) {
        // The array keeps the buffer alive through its own shared reference.
        auto* owner = new std::shared_ptr<Buffer>(self);
        nb::capsule keep(owner,
                         [](void* p) noexcept { delete static_cast<std::shared_ptr<Buffer>*>(p); });
        size_t shape[1] = {self->bytes()};
        return nb::ndarray<nb::numpy, uint8_t, nb::ndim<1>>(self->contents(), 1, shape, keep);
      });
  nb::class_<Pipeline>(m, "Pipeline").def_prop_ro("info", &Pipeline::info);
  nb::class_<Library>(m, "Library")
      .def("functions", &Library::functions)
      .def_prop_ro("text", &Library::text)
      .def("pipeline", &Library::pipeline, "descriptor"_a, Unlocked());
  nb::class_<Timing>(m, "Timing")
      .def_ro("gpu_start_us", &Timing::gpu_start_us)
      .def_ro("gpu_end_us", &Timing::gpu_end_us)
      .def_ro("each_refused", &Timing::each_refused)
      .def_prop_ro("gpu_us", &Timing::gpu_us);

  nb::class_<Dispatch>(m, "Dispatch")
      .def(
          "__init__",
          [](Dispatch* self, std::shared_ptr<Pipeline> pipeline, Axes threadgroups, Axes threads,
             std::optional<Axes> grid) {
            new (self) Dispatch{
                std::move(pipeline), extent(threadgroups), extent(threads), std::nullopt, {}, {}};
            if (grid) self->grid = extent(*grid);
          },
          "pipeline"_a, "threadgroups"_a, "threads"_a, "grid"_a = nb::none())
      .def("bind_buffer",
           [](Dispatch& self, uint32_t index, std::shared_ptr<Buffer> buffer, size_t offset) {
             self.bindings.push_back({index, DeviceMemory{std::move(buffer), offset}});
           })
      .def("bind_writable",
           [](Dispatch& self, uint32_t index, Bytes array) {
             self.bindings.push_back({index, HostMemory{array.data(), array.size(), true}});
           })
      .def("bind_readonly",
           [](Dispatch& self, uint32_t index, ConstBytes array) {
             self.bindings.push_back(
                 {index, HostMemory{const_cast<uint8_t*>(array.data()), array.size(), false}});
           })
      // What nobody else may hold: the memory of an array that was exported for this dispatch.
      .def(
          "keep", [](Dispatch&, nb::handle) {}, "memory"_a, nb::keep_alive<1, 2>())
      .def("bind_bytes",
           [](Dispatch& self, uint32_t index, nb::bytes bytes) {
             self.bindings.push_back({index, InlineBytes(bytes.c_str(), bytes.size())});
           })
      .def("threadgroup_bytes", [](Dispatch& self, uint32_t index, uint32_t bytes) {
        self.threadgroup_memory.push_back({index, bytes});
      });

  nb::class_<Device>(m, "Device")
      .def_prop_ro("kind", [](const Device& self) { return self.info().kind; })
      .def_prop_ro("name", [](const Device& self) { return self.info().name; })
      .def_prop_ro("tier", [](const Device& self) { return self.info().tier; })
      .def_prop_ro("processor", [](const Device& self) { return self.info().processor; })
      .def_prop_ro("os", [](const Device& self) { return self.info().os; })
      .def("new_buffer", &Device::new_buffer, "nbytes"_a)
      .def("library", &Device::library, "text"_a, Unlocked())
      .def(
          "submit",
          [](Device& self, const std::vector<const Dispatch*>& dispatches) {
            return submit(self, dispatches, {}, {});
          },
          "dispatches"_a);

  m.def("host_array", &host_array, "value"_a.none());

  bind_variants(m);
  bind_kernel_interface(m);
  m.def("open_cpu", &open_cpu, "front_end"_a, "threads"_a = 0, "validate"_a = false);
  m.def("open_metal", &open_metal);
  m.def("open_cuda", &open_cuda, "front_end_for"_a);
  m.attr("CUDA_BUFFER_ALIGNMENT") = cuda::kBufferAlignment;
  m.def(
      "assemble_ptx",
      [](const std::vector<std::string>& texts) {
        std::vector<std::string> codes;
        {
          nb::gil_scoped_release unlocked;
          codes = cuda::assemble(texts);
        }
        nb::list bytes;
        for (const std::string& code : codes) bytes.append(nb::bytes(code.data(), code.size()));
        return bytes;
      },
      "texts"_a);
  nb::class_<cpu::Counted>(m, "Counted")
      .def_ro("lanes", &cpu::Counted::lanes)
      .def_ro("issued", &cpu::Counted::issued)
      .def_ro("divergent", &cpu::Counted::divergent)
      .def_ro("uniform", &cpu::Counted::uniform)
      .def_ro("threadgroups", &cpu::Counted::threadgroups)
      .def_ro("simdgroups", &cpu::Counted::simdgroups)
      .def_ro("threads", &cpu::Counted::threads)
      .def_ro("threadgroup_bytes", &cpu::Counted::threadgroup_bytes)
      .def_prop_ro("loaded_bytes", [](const cpu::Counted& self) { return self.loaded.bytes(); })
      .def_prop_ro("stored_bytes", [](const cpu::Counted& self) { return self.stored.bytes(); });
  m.def("take_counts", &take_counts, "cpu_device"_a);
  m.def("runtime_symbols", [] {
    std::vector<std::pair<std::string, uint64_t>> symbols;
    for (const auto& [name, address] : cpu::runtime_symbols()) symbols.emplace_back(name, address);
    return symbols;
  });
}
