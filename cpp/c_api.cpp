#include "c_api.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "archive.h"
#include "cpu/cpu_device.h"
#include "cpu/exported.h"
#include "cuda/exported.h"
#include "device.h"
#include "error.h"
#include "metal/metal_device.h"

using namespace attnproto;

struct attnproto_device {
  std::shared_ptr<Device> device;
};
struct attnproto_kernel {
  std::shared_ptr<Pipeline> pipeline;
};
struct attnproto_buffer {
  std::shared_ptr<Buffer> buffer;
};
struct attnproto_archive {
  std::shared_ptr<Device> device;
  ArchiveFile file;
  TemporaryFile payload;
};

namespace {

thread_local std::string last_error;

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorKind::DispatchError, why); }

template <typename T>
T* given(T* pointer, const char* what) {
  if (!pointer) refuse(std::string("[c_api] found NULL, needs ") + what);
  return pointer;
}

// Nothing that is thrown may reach a caller who cannot catch it.
template <typename Result, typename Work>
Result guarded(Result failed, Work work) {
  try {
    return work();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "[c_api] found an exception of unknown type, needs a std::exception";
  }
  return failed;
}

// Metal has its compiler in the system; other devices read what Python exported.
bool has_compiler(const Device& device) { return device.info().kind == "metal"; }

Constant constant(const attnproto_constant& from) {
  std::string name = given(from.name, "the name of a constant");
  switch (from.kind) {
    case ATTNPROTO_BOOL:
      return {name, from.integer != 0};
    case ATTNPROTO_INTEGER:
      return {name, from.integer};
    case ATTNPROTO_REAL:
      return {name, from.real};
  }
  refuse("[c_api.compile] found constant " + name + " of kind " + std::to_string(from.kind) +
         ", needs 0, 1 or 2");
}

std::vector<Constant> constants(const attnproto_constant* from, size_t count) {
  if (count) given(from, "constants");
  std::vector<Constant> to;
  for (size_t i = 0; i < count; i++) {
    Constant one = constant(from[i]);
    auto same =
        std::find_if(to.begin(), to.end(), [&](auto& other) { return other.key == one.key; });
    if (same == to.end()) {
      to.push_back(std::move(one));
      continue;
    }
    if (auto* first = std::get_if<Number>(&same->value)) same->value = std::vector{*first};
    std::get<std::vector<Number>>(same->value).push_back(std::get<Number>(one.value));
  }
  return to;
}

void bind(const attnproto_binding& from, Dispatch& to) {
  auto host = [&](bool writable) {
    return HostMemory{given(from.data, "data in a binding"), from.bytes, writable};
  };
  switch (from.kind) {
    case ATTNPROTO_BUFFER:
      to.bindings.push_back(
          {from.index, DeviceMemory{given(from.buffer, "a buffer")->buffer, from.offset}});
      return;
    case ATTNPROTO_READ:
      to.bindings.push_back({from.index, host(false)});
      return;
    case ATTNPROTO_WRITE:
      to.bindings.push_back({from.index, host(true)});
      return;
    case ATTNPROTO_BYTES:
      to.bindings.push_back(
          {from.index, InlineBytes(static_cast<const char*>(given(from.data, "data in a binding")),
                                   from.bytes)});
      return;
    case ATTNPROTO_THREADGROUP:
      to.threadgroup_memory.push_back({from.index, uint32_t(from.bytes)});
      return;
  }
  refuse("[c_api.run] found a binding of kind " + std::to_string(from.kind) + ", needs 0 to 4");
}

Dispatch dispatch(const attnproto_dispatch& from, const attnproto_kernel& kernel) {
  Dispatch to;
  to.pipeline = kernel.pipeline;
  to.threadgroups = {from.threadgroups[0], from.threadgroups[1], from.threadgroups[2]};
  to.threads = {from.threads[0], from.threads[1], from.threads[2]};
  if (from.binding_count) given(from.bindings, "bindings");
  for (size_t i = 0; i < from.binding_count; i++) bind(from.bindings[i], to);
  return to;
}

}  // namespace

uint32_t attnproto_version(void) { return ATTNPROTO_C_API_VERSION; }

const char* attnproto_last_error(void) { return last_error.c_str(); }

attnproto_device* attnproto_open(const char* kind, uint32_t threads) {
  return guarded<attnproto_device*>(nullptr, [&] {
    std::string name = given(kind, "the name of a device");
    if (name == "cpu") return new attnproto_device{open_cpu(exported_kernels(), threads)};
    if (name == "metal") return new attnproto_device{open_metal()};
    if (name == "cuda") return new attnproto_device{open_cuda(exported_gpu_kernels())};
    throw Error(ErrorKind::DeviceUnavailable,
                "[c_api.open] found device '" + name + "', needs 'metal', 'cuda' or 'cpu'");
  });
}

void attnproto_close(attnproto_device* device) { delete device; }

const char* attnproto_tier(const attnproto_device* device) {
  return guarded<const char*>(
      nullptr, [&] { return given(device, "a device")->device->info().tier.c_str(); });
}

attnproto_kernel* attnproto_load(attnproto_device* device, const char* path) {
  return guarded<attnproto_kernel*>(nullptr, [&] {
    Device& on = *given(device, "a device")->device;
    given(path, "a path");
    if (has_compiler(on))
      refuse("[c_api.load] found device " + on.info().kind +
             ", needs cpu or cuda for an exported kernel; compile its text");
    auto library = on.library(path);
    PipelineDescriptor wanted;
    wanted.function = library->functions().front();
    return new attnproto_kernel{library->pipeline(wanted)};
  });
}

attnproto_kernel* attnproto_compile(attnproto_device* device, const char* msl_text,
                                    const char* function, const attnproto_constant* constants,
                                    size_t constant_count) {
  return guarded<attnproto_kernel*>(nullptr, [&] {
    Device& on = *given(device, "a device")->device;
    PipelineDescriptor wanted;
    wanted.function = given(function, "the name of a function");
    wanted.constants = ::constants(constants, constant_count);
    given(msl_text, "a text");
    if (!has_compiler(on))
      throw Error(ErrorKind::KernelCompileError,
                  "[c_api.compile] found device " + on.info().kind + " for " + wanted.function +
                      " with " + std::to_string(wanted.constants.size()) +
                      " constants, needs one with a compiler of its own; load an exported kernel");
    return new attnproto_kernel{on.library(msl_text)->pipeline(wanted)};
  });
}

void attnproto_release_kernel(attnproto_kernel* kernel) { delete kernel; }

attnproto_archive* attnproto_open_archive(attnproto_device* device, const char* path) {
  return guarded<attnproto_archive*>(nullptr, [&] {
    std::shared_ptr<Device> on = given(device, "a device")->device;
    ArchiveFile file = read_archive(given(path, "a path"));
    check_archive(file, path, *on);
    // Without a compiler the device's own file is for Python; each kernel brings its code for C.
    TemporaryFile payload(has_compiler(*on) ? file.payload : "");
    return new attnproto_archive{on, std::move(file), std::move(payload)};
  });
}

attnproto_kernel* attnproto_archived(attnproto_archive* archive, const char* msl_text,
                                     const char* function, const attnproto_constant* constants,
                                     size_t constant_count) {
  return guarded<attnproto_kernel*>(nullptr, [&] {
    Device& on = *given(archive, "an archive")->device;
    PipelineDescriptor wanted;
    wanted.function = given(function, "the name of a function");
    wanted.constants = ::constants(constants, constant_count);
    if (!has_compiler(on)) {
      const ArchivedPipeline& found =
          find_pipeline(archive->file, msl_text ? msl_text : "", wanted.function, wanted.constants);
      if (found.code.empty())
        refuse("[c_api.archived] found no code of " + wanted.function +
               " for this library, needs a kernel without function tables, saved where there is "
               "a linker; save the archive again");
      TemporaryFile code(found.code);
      return new attnproto_kernel{on.library(code.path())->pipeline(wanted)};
    }
    wanted.archive = archive->payload.path();
    wanted.fail_on_archive_miss = true;
    return new attnproto_kernel{
        on.library(given(msl_text, "the text of the kernel"))->pipeline(wanted)};
  });
}

void attnproto_release_archive(attnproto_archive* archive) { delete archive; }

attnproto_buffer* attnproto_new_buffer(attnproto_device* device, uint64_t bytes) {
  return guarded<attnproto_buffer*>(nullptr, [&] {
    return new attnproto_buffer{given(device, "a device")->device->new_buffer(bytes)};
  });
}

void* attnproto_contents(attnproto_buffer* buffer) {
  return guarded<void*>(nullptr, [&] { return given(buffer, "a buffer")->buffer->contents(); });
}

void attnproto_release_buffer(attnproto_buffer* buffer) { delete buffer; }

int attnproto_run(attnproto_device* device, attnproto_kernel* kernel,
                  const attnproto_dispatch* wanted, double* gpu_us) {
  return guarded(1, [&] {
    Device& on = *given(device, "a device")->device;
    Timing timing = on.submit({dispatch(*given(wanted, "a dispatch"), *given(kernel, "a kernel"))});
    if (gpu_us) *gpu_us = timing.gpu_us();
    return 0;
  });
}

int attnproto_run_repeated(attnproto_device* device, attnproto_kernel* const* kernels,
                           const attnproto_dispatch* wanted, size_t count, uint32_t ahead,
                           uint32_t times, double* gpu_us) {
  return guarded(1, [&] {
    Device& on = *given(device, "a device")->device;
    given(kernels, "kernels");
    given(wanted, "dispatches");
    if (!count) refuse("[c_api.run_repeated] found 0 dispatches, needs at least one to run");
    if (!times) refuse("[c_api.run_repeated] found 0 rounds, needs at least one that is timed");
    std::vector<Dispatch> dispatches;
    for (size_t i = 0; i < count; i++)
      dispatches.push_back(dispatch(wanted[i], *given(kernels[i], "a kernel")));
    Timing timing = on.submit_repeated(dispatches, {times, ahead}, {});
    if (gpu_us) *gpu_us = timing.gpu_us();
    return 0;
  });
}
