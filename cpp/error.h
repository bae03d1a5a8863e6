// What can go wrong, as one exception type; the bindings turn each kind into
// the Python class of the same name.
#pragma once

#include <stdexcept>
#include <string>

namespace attnproto {

enum class ErrorKind { DeviceUnavailable, KernelCompileError, DispatchError };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace attnproto
