/* A host in C: no Python, no compiler, only libattnproto and an exported kernel.
 * 15_from_c.py exports the kernel, builds this file and runs it with both paths. */
#include <dlfcn.h>
#include <stdio.h>

#include "c_api.h"

/* ISO C has no conversion from an object's address to a function's. */
#define LOAD(type, name, arguments) \
  type(*name) arguments;            \
  *(void**)&name = dlsym(library, "attnproto_" #name)

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  LOAD(const char*, last_error, (void));
  LOAD(attnproto_device*, open, (const char*, uint32_t));
  LOAD(const char*, tier, (const attnproto_device*));
  LOAD(attnproto_kernel*, load, (attnproto_device*, const char*));
  LOAD(int, run, (attnproto_device*, attnproto_kernel*, const attnproto_dispatch*, double*));
  LOAD(void, release_kernel, (attnproto_kernel*));
  LOAD(void, close, (attnproto_device*));

  attnproto_device* device = open("cpu", 0);
  attnproto_kernel* kernel = device ? load(device, argv[2]) : NULL;
  if (!kernel) {
    fprintf(stderr, "%s\n", last_error());
    return 1;
  }
  float x[100], y[100];
  uint32_t n = 100;
  for (uint32_t i = 0; i < n; i++) x[i] = (float)i;
  const attnproto_binding bindings[] = {
      {.index = 0, .kind = ATTNPROTO_READ, .data = x, .bytes = sizeof x},
      {.index = 1, .kind = ATTNPROTO_WRITE, .data = y, .bytes = sizeof y},
      {.index = 2, .kind = ATTNPROTO_BYTES, .data = &n, .bytes = sizeof n},
  };
  const attnproto_dispatch dispatch = {
      .threadgroups = {4, 1, 1},
      .threads = {32, 1, 1},
      .bindings = bindings,
      .binding_count = sizeof bindings / sizeof *bindings,
  };
  double gpu_us;
  const int failed = run(device, kernel, &dispatch, &gpu_us);
  if (failed)
    fprintf(stderr, "%s\n", last_error());
  else
    printf("%s: y[99] = %g after %.0f us\n", tier(device), y[99], gpu_us);
  release_kernel(kernel);
  close(device);
  return failed || y[99] != 99.0f * 99.0f;
}
