#include "context.h"

#include "../error.h"

namespace attnproto::cuda {
namespace {

// CUdevice_attribute
constexpr int kMultiprocessors = 16, kMajor = 75, kMinor = 76;

// CUresult of a kernel that ran too long, or outside its memory.
constexpr Result kIllegalAddress = 700, kTimedOut = 702;
// What attnproto.errors.FAULTS calls them, by Metal's numbers.
constexpr int kOtherFault = 1, kTimeoutFault = 2, kPageFault = 3, kOutOfMemoryFault = 8,
              kLostFault = 11;

size_t rounded(size_t bytes) { return (bytes + 511) / 512 * 512 + (bytes == 0) * 512; }

}  // namespace

Context::Context() {
  const Driver& d = driver();
  d.DeviceGet(&ordinal_, 0);
  char name[256] = "";
  d.DeviceGetName(name, sizeof name, ordinal_);
  name_ = name;
  int major = 0, minor = 0, multiprocessors = 1;
  d.DeviceGetAttribute(&major, kMajor, ordinal_);
  d.DeviceGetAttribute(&minor, kMinor, ordinal_);
  d.DeviceGetAttribute(&multiprocessors, kMultiprocessors, ordinal_);
  multiprocessors_ = uint32_t(multiprocessors);
  architecture_ = "sm_" + std::to_string(major) + std::to_string(minor);
  renew();
}

void Context::renew() {
  const Driver& d = driver();
  free_.clear();
  allocated_ = 0;
  // The first is the one that other libraries of the process share.
  Result result = generation_++ == 0 ? d.DevicePrimaryCtxRetain(&handle_, ordinal_)
                                     : d.CtxCreate(&handle_, 0, ordinal_);
  if (result == kSuccess) result = d.CtxSetCurrent(handle_);
  if (result == kSuccess) result = d.EventCreate(&start_, 0);
  if (result == kSuccess) result = d.EventCreate(&end_, 0);
  if (result != kSuccess)
    throw Error(ErrorKind::DeviceUnavailable,
                "[cuda] found " + describe(result) +
                    " while opening the GPU, needs a working one; start a new process");
}

std::string Context::driver_version() const {
  int version = 0;
  driver().DriverGetVersion(&version);
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

void Context::make_current() { driver().CtxSetCurrent(handle_); }

void Context::check(Result result, const std::string& where) {
  if (result == kSuccess) return;
  std::string message = "[cuda " + where + "] found " + describe(result);
  // "dispatch NAME" is where kernels run; other places run none.
  const std::string ran = where.rfind("dispatch ", 0) == 0 ? where.substr(9) : "";
  if (result == kOutOfMemory)
    throw Fault(ErrorKind::DispatchError, message + "; free buffers or use a smaller problem",
                kOutOfMemoryFault, ran);
  // Errors of a running kernel stay with the context and fail every later call.
  if (driver().CtxSynchronize() != kSuccess) {
    try {
      renew();
      message += "; the device was opened again, and buffers made before are lost";
    } catch (const Error&) {
      throw Fault(ErrorKind::DispatchError,
                  message + "; this process can use the GPU no more, start a new one", kLostFault,
                  ran);
    }
    const int fault = result == kIllegalAddress ? kPageFault
                      : kTimedOut == result     ? kTimeoutFault
                                                : kOtherFault;
    throw Fault(ErrorKind::DispatchError, message, fault, ran);
  }
  throw Error(ErrorKind::DispatchError, message);
}

DevicePointer Context::allocate(size_t bytes, const std::string& where) {
  auto found = free_.find(rounded(bytes));
  if (found != free_.end()) {
    DevicePointer pointer = found->second;
    free_.erase(found);
    allocated_ += rounded(bytes);
    return pointer;
  }
  DevicePointer pointer = 0;
  Result result = driver().MemAlloc(&pointer, rounded(bytes));
  if (result == kOutOfMemory && !free_.empty()) {
    for (auto& [size, unused] : free_) driver().MemFree(unused);
    free_.clear();
    result = driver().MemAlloc(&pointer, rounded(bytes));
  }
  check(result, where);
  allocated_ += rounded(bytes);
  return pointer;
}

void Context::release(DevicePointer pointer, size_t bytes, uint64_t generation) {
  if (!pointer || generation != generation_) return;
  free_.emplace(rounded(bytes), pointer);
  allocated_ -= rounded(bytes);
}

void Context::mark_start(const std::string& where) {
  check(driver().EventRecord(start_, nullptr), where);
}

void Context::mark_end(const std::string& where) {
  check(driver().EventRecord(end_, nullptr), where);
  check(driver().EventSynchronize(end_), where);
}

float Context::elapsed_us() {
  float milliseconds = 0;
  driver().EventElapsedTime(&milliseconds, start_, end_);
  return milliseconds * 1000;
}

}  // namespace attnproto::cuda
