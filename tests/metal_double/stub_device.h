// Runs C++ functions under the names of kernels: enough for tests of the Metal
// device itself, before and beside the device that runs real kernels.
#pragma once

#include <functional>
#include <map>

#include "device.h"

namespace metal_double {

struct StubLaunch {
  std::map<uint32_t, std::pair<char*, size_t>> buffers;  // bytes from the bound offset
  std::map<uint32_t, std::vector<std::string>> tables;   // visible functions by name
  std::map<uint32_t, std::variant<attnproto::Number, std::vector<attnproto::Number>>> constants;
  std::string text;
  attnproto::Extent threadgroups, threads;

  template <class T>
  T* at(uint32_t index) const {
    return reinterpret_cast<T*>(buffers.at(index).first);
  }
};
using StubKernel = std::function<void(const StubLaunch&)>;

struct StubSpec {
  StubKernel run;
  uint32_t static_threadgroup_bytes = 0;
  uint32_t max_threads = 1024;
};

// Refuses a text containing "#error", as a compiler would.
std::shared_ptr<attnproto::Device> make_stub(std::map<std::string, StubSpec> kernels);

}  // namespace metal_double
