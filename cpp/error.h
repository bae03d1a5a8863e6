// What can go wrong, as one exception type; the bindings turn each kind into
// the Python class of the same name.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace attnproto {

enum class ErrorKind { DeviceUnavailable, KernelCompileError, DispatchError };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Whoever waits for kernels does not want to any more; they have ended.
class Interrupted : public Error {
 public:
  explicit Interrupted(const std::string& kernel)
      : Error(ErrorKind::DispatchError,
              "[dispatch " + kernel +
                  "] found an interruption, needs to run to its end; run it "
                  "again") {}
};

// Codes of a Fault, as Metal's command buffers have them (MTLCommandBufferError).
inline constexpr int kKernelFault = 1, kTimeout = 2, kPageFault = 3;

// Kernels that were submitted did not complete: the device's own code, and which they were.
class Fault : public Error {
 public:
  Fault(ErrorKind kind, const std::string& message, int code, std::string kernels)
      : Error(kind, message), code_(code), kernels_(std::move(kernels)) {}
  int code() const { return code_; }
  const std::string& kernels() const { return kernels_; }

 private:
  int code_;
  std::string kernels_;
};

}  // namespace attnproto
