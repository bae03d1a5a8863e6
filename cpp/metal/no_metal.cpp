// A build without Metal stays honest: it says so when asked, and nothing else.
#include "error.h"
#include "metal_device.h"

namespace attnproto {

std::shared_ptr<Device> open_metal() {
  throw Error(ErrorKind::DeviceUnavailable,
              "[device] found no Metal in this build, needs macOS 14 or later on Apple silicon; "
              "use open_device(\"cpu\")");
}

}  // namespace attnproto
