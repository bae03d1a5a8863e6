// NVIDIA's driver, opened at run time: building needs no toolkit, and a machine
// without a GPU only learns that there is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace attnproto::cuda {

using Result = int;
using DevicePointer = uint64_t;
using Handle = void*;  // context, module, function, event, graph: opaque to us

inline constexpr Result kSuccess = 0, kOutOfMemory = 2;

// CUDA_KERNEL_NODE_PARAMS: a launch as a graph's node.
struct KernelNode {
  Handle function;
  unsigned threadgroups[3], threads[3], dynamic_bytes;
  void** parameters;
  void** extra;
};

// The calls used, by their names in libcuda (without the prefix "cu").
struct Driver {
  Result (*Init)(unsigned);
  Result (*DeviceGetCount)(int*);
  Result (*DeviceGet)(int*, int);
  Result (*DeviceGetName)(char*, int, int);
  Result (*DeviceGetAttribute)(int*, int, int);
  Result (*DevicePrimaryCtxRetain)(Handle*, int);
  Result (*CtxCreate)(Handle*, unsigned, int);
  Result (*CtxSetCurrent)(Handle);
  Result (*CtxGetCurrent)(Handle*);
  Result (*CtxSynchronize)();
  Result (*ModuleLoadDataEx)(Handle*, const void*, unsigned, int*, void**);
  Result (*ModuleUnload)(Handle);
  Result (*ModuleGetFunction)(Handle*, Handle, const char*);
  Result (*ModuleGetGlobal)(DevicePointer*, size_t*, Handle, const char*);
  Result (*LinkCreate)(unsigned, int*, void**, Handle*);
  Result (*LinkAddData)(Handle, int, void*, size_t, const char*, unsigned, int*, void**);
  Result (*LinkComplete)(Handle, void**, size_t*);
  Result (*LinkDestroy)(Handle);
  Result (*DriverGetVersion)(int*);
  Result (*FuncGetAttribute)(int*, int, Handle);
  Result (*LaunchKernel)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                         unsigned, Handle, void**, void**);
  Result (*GraphCreate)(Handle*, unsigned);
  Result (*GraphAddKernelNode)(Handle*, Handle, const Handle*, size_t, const KernelNode*);
  Result (*GraphInstantiate)(Handle*, Handle, unsigned long long);
  Result (*GraphUpload)(Handle, Handle);
  Result (*GraphLaunch)(Handle, Handle);
  Result (*GraphExecDestroy)(Handle);
  Result (*GraphDestroy)(Handle);
  Result (*MemAlloc)(DevicePointer*, size_t);
  Result (*MemFree)(DevicePointer);
  Result (*MemcpyHtoD)(DevicePointer, const void*, size_t);
  Result (*MemcpyDtoH)(void*, DevicePointer, size_t);
  Result (*MemsetD8)(DevicePointer, unsigned char, size_t);
  Result (*EventCreate)(Handle*, unsigned);
  Result (*EventRecord)(Handle, Handle);
  Result (*EventSynchronize)(Handle);
  Result (*EventElapsedTime)(float*, Handle, Handle);
  Result (*GetErrorName)(Result, const char**);
  Result (*GetErrorString)(Result, const char**);
};

// Throws DeviceUnavailable where there is no driver or no GPU.
const Driver& driver();

// "CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal memory access was encountered"
std::string describe(Result result);

}  // namespace attnproto::cuda
