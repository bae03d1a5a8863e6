// A build without Metal says so, instead of lacking the name.
#include "metal_device.h"

namespace attnproto {

std::shared_ptr<Device> open_metal() {
  throw Error(ErrorKind::DeviceUnavailable,
              "[metal.open] found a build without Metal, needs macOS 14 or newer on Apple silicon; "
              "open the cpu device, which runs the same kernels anywhere");
}

}  // namespace attnproto
