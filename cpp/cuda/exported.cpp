#include "exported.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "../error.h"
#include "library.h"

namespace attnproto {
namespace {

const std::string kComment = "// ";

[[noreturn]] void refuse(const std::string& found, const std::string& needs) {
  throw Error(ErrorKind::KernelCompileError,
              "[cuda.load] found " + found + ", needs " + needs + "; export it again");
}

struct Exported {
  std::string function;
  KernelImage image;
};

// What follows the name of a line in the head, all of it or nothing.
template <typename... Fields>
void read(std::istringstream& line, const std::string& path, Fields&... fields) {
  if (!(line >> ... >> fields) || !(line >> std::ws).eof())
    refuse(path + " with a damaged head", "every byte as written");
}

// Comments say what the host must know; the code, which is left in `file`, follows them.
Exported read_head(const std::string& path, std::ifstream& file) {
  file.open(path, std::ios::binary);
  if (!file) refuse("no kernel at " + path + " (" + std::strerror(errno) + ")", "one");
  Exported kernel;
  uint32_t version = 0;
  for (std::string line; std::getline(file, line) && line.rfind(kComment, 0) == 0;) {
    std::istringstream fields(line.substr(kComment.size()));
    std::string what;
    fields >> what;
    if (what == "attnproto") {
      read(fields, path, version);
    } else if (what == "function") {
      read(fields, path, kernel.function, kernel.image.entry_address,
           kernel.image.static_threadgroup_bytes, kernel.image.max_threads);
    } else if (what == "buffer" || what == "threadgroup") {
      KernelArgument argument;
      if (what == "threadgroup") argument.kind = KernelArgument::Kind::Threadgroup;
      read(fields, path, argument.index, argument.min_bytes, argument.name);
      kernel.image.arguments.push_back(argument);
    } else {
      refuse(path + " with a damaged head", "every byte as written");
    }
  }
  if (version != kExportedVersion)
    refuse(path + " of version " + std::to_string(version),
           "a kernel of version " + std::to_string(kExportedVersion));
  if (kernel.function.empty()) refuse(path + " cut short", "every byte as written");
  kernel.image.cached = true;
  return kernel;
}

class ExportedKernels final : public FrontEnd {
 public:
  explicit ExportedKernels(uint32_t alignment) : alignment_(alignment) {}
  std::vector<std::string> functions(const std::string& path) override {
    std::ifstream file;
    return {read_head(path, file).function};
  }
  KernelImage compile(const std::string& path, const PipelineDescriptor& descriptor) override {
    if (alignment_ < cuda::kBufferAlignment)
      throw Error(ErrorKind::DispatchError,
                  "[cuda dispatch " + descriptor.function +
                      "] found a buffer at an offset that 16 does not divide, needs another for an "
                      "exported kernel; bind it at a multiple of 16 bytes");
    std::ifstream file;
    KernelImage image = read_head(path, file).image;
    image.code.assign(std::istreambuf_iterator<char>(file), {});
    if (image.code.empty()) refuse(path + " cut short", "every byte as written");
    return image;
  }

 private:
  uint32_t alignment_;  // of the buffers that the kernels are given
};

}  // namespace

FrontEndFor exported_gpu_kernels() {
  return [](const std::string&, uint32_t alignment) {
    return std::make_shared<ExportedKernels>(alignment);
  };
}

}  // namespace attnproto
