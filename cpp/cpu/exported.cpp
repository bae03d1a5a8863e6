#include "exported.h"

#include <dlfcn.h>

#include "c_api.h"
#include "error.h"
#include "runtime.h"

namespace attnproto {
namespace {

[[noreturn]] void refuse(const std::string& found, const std::string& needs) {
  throw Error(ErrorKind::KernelCompileError, "[cpu.load] found " + found + ", needs " + needs);
}

// An exported kernel calls the engine by name. Whoever opened this library may
// have kept its names to themselves, so it opens itself once more, for all.
void publish_engine() {
  Dl_info self;
  void* address = reinterpret_cast<void*>(cpu::runtime_symbols().front().second);
  if (!dladdr(address, &self) || !dlopen(self.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD))
    refuse("an engine that cannot show its functions", "libattnproto as a shared library");
#if defined(__linux__)
  // glibc keeps expf and its like apart, and nothing else of the process may need them.
  dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL);
#endif
}

const attnproto_exported_kernel& open(const std::string& path) {
  static const bool published = (publish_engine(), true);
  (void)published;
  // Never closed: pipelines and other threads may be inside.
  void* file = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!file) refuse(dlerror(), "a kernel exported on this machine; export it again");
  auto* kernel = static_cast<attnproto_exported_kernel*>(dlsym(file, "attnproto_exported"));
  if (!kernel) refuse(path + " without a kernel", "one that attnproto exported");
  if (kernel->version != ATTNPROTO_C_API_VERSION)
    refuse(path + " of version " + std::to_string(kernel->version),
           "version " + std::to_string(ATTNPROTO_C_API_VERSION) + "; export it again");
  return *kernel;
}

class ExportedKernels final : public FrontEnd {
 public:
  std::vector<std::string> functions(const std::string& path) override {
    return {open(path).function};
  }
  KernelImage compile(const std::string& path, const PipelineDescriptor&) override {
    const attnproto_exported_kernel& kernel = open(path);
    KernelImage image;
    for (uint32_t i = 0; i < kernel.argument_count; i++) {
      const attnproto_exported_argument& one = kernel.arguments[i];
      auto kind = one.kind ? KernelArgument::Kind::Threadgroup : KernelArgument::Kind::Buffer;
      image.arguments.push_back({kind, one.index, one.min_bytes, one.name});
    }
    image.static_threadgroup_bytes = kernel.static_threadgroup_bytes;
    image.max_threads = kernel.max_threads;
    const auto lane = reinterpret_cast<uint64_t>(kernel.entry);
    image.entry_address = lane;
    image.engine = "fibers";
    if (kernel.simdgroup_entry) {
      image.entry_address = reinterpret_cast<uint64_t>(kernel.simdgroup_entry);
      image.lane_entry = [lane] { return lane; };
      image.engine = "lockstep";
    }
    image.cached = true;
    return image;
  }
};

}  // namespace

std::shared_ptr<FrontEnd> exported_kernels() { return std::make_shared<ExportedKernels>(); }

}  // namespace attnproto
