/* Runs one kernel through libattnproto, for a processor that an emulator stands in for.
 *
 * argv: kernel, OS threads, six numbers (threadgroups, threads), then a word a binding:
 *   INDEX:r:FILE  the kernel reads the file's bytes     INDEX:w:FILE  and writes them back
 *   INDEX:b:FILE  a few bytes, copied                   INDEX:t:BYTES threadgroup memory
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "c_api.h"

enum { MOST = 31 };

static void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, attnproto_last_error());
  exit(1);
}

static void* read_file(const char* path, uint64_t* bytes) {
  FILE* file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) fail(path);
  *bytes = (uint64_t)ftell(file);
  rewind(file);
  /* Kernels may ask for the alignment of a float4. */
  void* data = aligned_alloc(64, (*bytes + 64) / 64 * 64);
  if (!data || fread(data, 1, *bytes, file) != *bytes) fail(path);
  fclose(file);
  return data;
}

static void write_file(const char* path, const void* data, uint64_t bytes) {
  FILE* file = fopen(path, "wb");
  if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file)) fail(path);
}

int main(int argc, char** argv) {
  if (argc < 9 || argc > 9 + MOST) return 2;
  attnproto_binding bindings[MOST];
  const char* files[MOST];
  memset(bindings, 0, sizeof bindings);
  for (int i = 9; i < argc; i++) {
    char kind = 0;
    int taken = 0;
    attnproto_binding* one = &bindings[i - 9];
    if (sscanf(argv[i], "%u:%c:%n", &one->index, &kind, &taken) != 2 || !taken) return 2;
    const char* rest = files[i - 9] = argv[i] + taken;
    one->kind = kind == 'r'   ? ATTNPROTO_READ
                : kind == 'w' ? ATTNPROTO_WRITE
                : kind == 'b' ? ATTNPROTO_BYTES
                              : ATTNPROTO_THREADGROUP;
    if (kind == 't')
      one->bytes = strtoull(rest, NULL, 10);
    else
      one->data = read_file(rest, &one->bytes);
  }
  attnproto_device* device = attnproto_open("cpu", (uint32_t)atoi(argv[2]));
  if (!device) fail("open");
  attnproto_kernel* kernel = attnproto_load(device, argv[1]);
  if (!kernel) fail("load");
  attnproto_dispatch dispatch = {{0}, {0}, bindings, (size_t)(argc - 9)};
  for (int i = 0; i < 3; i++) {
    dispatch.threadgroups[i] = (uint32_t)atoi(argv[3 + i]);
    dispatch.threads[i] = (uint32_t)atoi(argv[6 + i]);
  }
  if (attnproto_run(device, kernel, &dispatch, NULL)) fail("run");
  for (int i = 0; i < argc - 9; i++) {
    if (bindings[i].kind == ATTNPROTO_WRITE)
      write_file(files[i], bindings[i].data, bindings[i].bytes);
    free(bindings[i].data);
  }
  attnproto_release_kernel(kernel);
  attnproto_close(device);
  return 0;
}
