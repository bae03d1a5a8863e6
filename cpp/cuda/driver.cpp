#include "driver.h"

#include <dlfcn.h>

#include "../error.h"

namespace attnproto::cuda {
namespace {

[[noreturn]] void unavailable(const std::string& found) {
  throw Error(
      ErrorKind::DeviceUnavailable,
      "[cuda] found " + found + ", needs an NVIDIA GPU and its driver; use open_device(\"cpu\")");
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function) unavailable(std::string("a driver without ") + name);
}

Driver open() {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) unavailable("no libcuda.so.1");
  Driver d{};
  find(library, "cuInit", d.Init);
  find(library, "cuDeviceGetCount", d.DeviceGetCount);
  find(library, "cuDeviceGet", d.DeviceGet);
  find(library, "cuDeviceGetName", d.DeviceGetName);
  find(library, "cuDeviceGetAttribute", d.DeviceGetAttribute);
  find(library, "cuDevicePrimaryCtxRetain", d.DevicePrimaryCtxRetain);
  find(library, "cuCtxCreate_v2", d.CtxCreate);
  find(library, "cuCtxSetCurrent", d.CtxSetCurrent);
  find(library, "cuCtxGetCurrent", d.CtxGetCurrent);
  find(library, "cuCtxSynchronize", d.CtxSynchronize);
  find(library, "cuModuleLoadDataEx", d.ModuleLoadDataEx);
  find(library, "cuModuleUnload", d.ModuleUnload);
  find(library, "cuModuleGetFunction", d.ModuleGetFunction);
  find(library, "cuModuleGetGlobal_v2", d.ModuleGetGlobal);
  find(library, "cuLinkCreate_v2", d.LinkCreate);
  find(library, "cuLinkAddData_v2", d.LinkAddData);
  find(library, "cuLinkComplete", d.LinkComplete);
  find(library, "cuLinkDestroy", d.LinkDestroy);
  find(library, "cuDriverGetVersion", d.DriverGetVersion);
  find(library, "cuFuncGetAttribute", d.FuncGetAttribute);
  find(library, "cuLaunchKernel", d.LaunchKernel);
  find(library, "cuGraphCreate", d.GraphCreate);
  find(library, "cuGraphAddKernelNode", d.GraphAddKernelNode);
  find(library, "cuGraphInstantiateWithFlags", d.GraphInstantiate);
  find(library, "cuGraphUpload", d.GraphUpload);
  find(library, "cuGraphLaunch", d.GraphLaunch);
  find(library, "cuGraphExecDestroy", d.GraphExecDestroy);
  find(library, "cuGraphDestroy", d.GraphDestroy);
  find(library, "cuMemAlloc_v2", d.MemAlloc);
  find(library, "cuMemFree_v2", d.MemFree);
  find(library, "cuMemcpyHtoD_v2", d.MemcpyHtoD);
  find(library, "cuMemcpyDtoH_v2", d.MemcpyDtoH);
  find(library, "cuMemsetD8_v2", d.MemsetD8);
  find(library, "cuEventCreate", d.EventCreate);
  find(library, "cuEventRecord", d.EventRecord);
  find(library, "cuEventSynchronize", d.EventSynchronize);
  find(library, "cuEventElapsedTime", d.EventElapsedTime);
  find(library, "cuGetErrorName", d.GetErrorName);
  find(library, "cuGetErrorString", d.GetErrorString);
  Result result = d.Init(0);
  int count = 0;
  if (result == kSuccess) d.DeviceGetCount(&count);
  if (count == 0) unavailable("a driver but no GPU");
  return d;
}

}  // namespace

const Driver& driver() {
  static const Driver opened = open();
  return opened;
}

std::string describe(Result result) {
  const char *name = nullptr, *text = nullptr;
  driver().GetErrorName(result, &name);
  driver().GetErrorString(result, &text);
  return std::string(name ? name : "unknown error") + " (" + std::to_string(result) +
         "): " + (text ? text : "no description");
}

}  // namespace attnproto::cuda
