/* A host in C: opens libattnproto as any other language would. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "c_api.h"

static int failures = 0;
static const char* (*last_error)(void);

static void check(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "failed: %s (last error: %s)\n", what, last_error ? last_error() : "");
  failures++;
}

static void check_error(int failed, const char* part, const char* what) {
  check(failed && strstr(last_error(), part), what);
}

/* argv: the library, an exported kernel, an archive of it with shift = 1.5 and = 2, a copy that
 * lost its end, one built for another system, the kernel's text, and the device: cpu or cuda. */
int main(int argc, char** argv) {
  if (argc != 8) return 2;
  const char* kind = argv[7];
  const int on_cpu = !strcmp(kind, "cpu");
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
/* ISO C has no conversion from an object's address to a function's. */
#define LOAD(type, name, arguments) \
  type(*name) arguments;            \
  *(void**)&name = dlsym(library, "attnproto_" #name)
  LOAD(uint32_t, version, (void));
  LOAD(attnproto_device*, open, (const char*, uint32_t));
  LOAD(void, close, (attnproto_device*));
  LOAD(const char*, tier, (const attnproto_device*));
  LOAD(attnproto_kernel*, load, (attnproto_device*, const char*));
  LOAD(attnproto_kernel*, compile,
       (attnproto_device*, const char*, const char*, const attnproto_constant*, size_t));
  LOAD(void, release_kernel, (attnproto_kernel*));
  LOAD(attnproto_buffer*, new_buffer, (attnproto_device*, uint64_t));
  LOAD(void*, contents, (attnproto_buffer*));
  LOAD(void, release_buffer, (attnproto_buffer*));
  LOAD(attnproto_archive*, open_archive, (attnproto_device*, const char*));
  LOAD(attnproto_kernel*, archived,
       (attnproto_archive*, const char*, const char*, const attnproto_constant*, size_t));
  LOAD(void, release_archive, (attnproto_archive*));
  LOAD(int, run, (attnproto_device*, attnproto_kernel*, const attnproto_dispatch*, double*));
  LOAD(int, run_repeated, (attnproto_device*, attnproto_kernel* const*, const attnproto_dispatch*,
                           size_t, uint32_t, uint32_t, double*));
  *(void**)&last_error = dlsym(library, "attnproto_last_error");

  check(version() == ATTNPROTO_C_API_VERSION, "version");
  check_error(!open("tpu", 0), "needs 'metal', 'cuda' or 'cpu'", "an unknown device");
  check_error(!open(NULL, 0), "found NULL", "no device name");
  attnproto_device* device = open(kind, 2);
  check(device && !strcmp(tier(device), on_cpu ? "emulated" : "measured"), "open");
  if (!device) return 1;
  check_error(!load(device, "/nowhere.so"), on_cpu ? "[cpu.load]" : "[cuda.load]",
              "a missing kernel");
  check_error(!load(device, argv[3]), on_cpu ? "[cpu.load]" : "[cuda.load]", "no kernel");
  check_error(!load(NULL, argv[2]), "needs a device", "no device");
  check_error(!compile(device, "kernel void f() {}", "f", NULL, 0), "compiler of its own",
              "compiling without a compiler");
  attnproto_kernel* kernel = load(device, argv[2]);
  check(kernel != NULL, "load");

  enum { N = 100 };
  float a[N], b[N + 1];
  for (int i = 0; i < N; i++) a[i] = (float)i;
  for (int i = 0; i <= N; i++) b[i] = -7;
  uint32_t n = N;
  attnproto_binding bindings[] = {
      {0, ATTNPROTO_READ, NULL, 0, a, sizeof a},
      {1, ATTNPROTO_WRITE, NULL, 0, b, N * sizeof(float)},
      {2, ATTNPROTO_BYTES, NULL, 0, &n, sizeof n},
      {0, ATTNPROTO_THREADGROUP, NULL, 0, NULL, 128},
  };
  attnproto_dispatch dispatch = {{4, 1, 1}, {32, 1, 1}, bindings, 4};
  double gpu_us = -1;
  check(run(device, kernel, &dispatch, &gpu_us) == 0 && gpu_us >= 0, "run");
  int right = 1;
  for (int i = 0; i < N; i++) right = right && b[i] == a[i] + 2.5f;
  check(right && b[N] == -7, "what the kernel wrote into the caller's memory");

  attnproto_buffer* buffer = new_buffer(device, N * sizeof(float));
  bindings[1].kind = ATTNPROTO_BUFFER;
  bindings[1].buffer = buffer;
  check(run(device, kernel, &dispatch, NULL) == 0, "run into a buffer");
  check(((float*)contents(buffer))[99] == 101.5f, "what the kernel wrote into a buffer");

  float twice[N] = {0};
  attnproto_binding onward[] = {
      {0, ATTNPROTO_BUFFER, buffer, 0, NULL, 0},
      {1, ATTNPROTO_WRITE, NULL, 0, twice, sizeof twice},
      bindings[2],
      bindings[3],
  };
  attnproto_dispatch both[] = {dispatch, {{4, 1, 1}, {32, 1, 1}, onward, 4}};
  attnproto_kernel* kernels[] = {kernel, kernel};
  gpu_us = -1;
  check(run_repeated(device, kernels, both, 2, 1, 3, &gpu_us) == 0 && gpu_us >= 0, "rounds");
  check(twice[0] == 5.0f && twice[99] == 104.0f, "what the second of a round made of the first's");
  check_error(run_repeated(device, kernels, both, 2, 1, 0, NULL), "0 rounds", "no timed round");
  check_error(run_repeated(device, kernels, both, 0, 1, 3, NULL), "0 dispatches", "no dispatch");

  attnproto_archive* archive = open_archive(device, argv[3]);
  check(archive != NULL, "open an archive");
  attnproto_constant shift = {"shift", ATTNPROTO_REAL, 0, 2.0};
  attnproto_kernel* other = archived(archive, argv[6], "add", &shift, 1);
  check(other && run(device, other, &dispatch, NULL) == 0, "run a kernel of an archive");
  check(((float*)contents(buffer))[99] == 102.0f, "what an archive's kernel wrote");
  shift.kind = ATTNPROTO_INTEGER, shift.integer = 2;
  attnproto_kernel* again = archived(archive, NULL, "add", &shift, 1);
  check(again != NULL, "a kernel by its name and constants alone, a whole number among them");
  shift.integer = 3;
  check_error(!archived(archive, NULL, "add", &shift, 1), "no add", "a constant never archived");
  check_error(!archived(archive, NULL, "add", NULL, 0), "no add", "a constant left out");
  check_error(!archived(archive, NULL, "sub", NULL, 0), "no sub", "a kernel never archived");
  attnproto_constant place[] = {{"place", ATTNPROTO_INTEGER, 16777217, 0},
                                {"place", ATTNPROTO_INTEGER, 5, 0}};
  check(archived(archive, NULL, "put", place, 2) != NULL, "a kernel by a vector's elements");
  check_error(!archived(archive, NULL, "put", place, 1), "no put", "an element left out");
  place[0].integer = 16777216;
  check_error(!archived(archive, NULL, "put", place, 2), "no put", "a float's neighbour");
  shift.integer = 2;
  check_error(!archived(archive, "kernel void add() {}", "add", &shift, 1), "no add",
              "another text");
  check_error(!archived(NULL, NULL, "add", &shift, 1), "needs an archive", "no archive");
  check_error(!open_archive(device, "/nowhere"), "No such file", "a missing archive");
  check_error(!open_archive(device, argv[4]), "damaged, truncated", "a truncated archive");
  check_error(!open_archive(device, argv[5]), "built for os 'Nothing 1'", "another system's");
  check_error(!open_archive(device, argv[2]), "no archive", "a file of another kind");
  check_error(!open_archive(NULL, argv[3]), "needs a device", "no device for an archive");
  release_archive(archive);
  release_archive(NULL);
  release_kernel(again);
  check(run(device, other, &dispatch, NULL) == 0, "a kernel outlives its archive");
  release_kernel(other);

  if (!on_cpu) {
    bindings[1].offset = 4;
    check_error(run(device, kernel, &dispatch, NULL), "multiple of 16", "a buffer between words");
    bindings[1].offset = 0;
  }
  bindings[1].kind = 9;
  check_error(run(device, kernel, &dispatch, NULL), "kind 9", "an unknown binding");
  bindings[1].kind = ATTNPROTO_BUFFER;
  dispatch.binding_count = 1;
  check_error(run(device, kernel, &dispatch, NULL), "found nothing bound", "a binding left out");
  dispatch.binding_count = 4;
  dispatch.threads[0] = 4096;
  check_error(run(device, kernel, &dispatch, NULL), "4096", "too many threads");
  check_error(run(device, NULL, &dispatch, NULL), "needs a kernel", "no kernel");

  release_buffer(buffer);
  release_buffer(NULL);
  release_kernel(kernel);
  close(device);
  if (failures == 0) puts("all checks passed");
  return failures != 0;
}
