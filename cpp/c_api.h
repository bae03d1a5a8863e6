/* The contract for other languages: plain C, no exception leaves it.
 *
 * A function that returns a pointer returns NULL, and one that returns an int a
 * non-zero value, where it failed; attnproto_last_error then says why, for the
 * calling thread, until its next call fails. What open, load, compile, open_archive, archived and
 * new_buffer return is released by the caller, in any order.
 */
#ifndef ATTNPROTO_C_API_H
#define ATTNPROTO_C_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ATTNPROTO_C_API_VERSION 3

typedef struct attnproto_device attnproto_device;
typedef struct attnproto_kernel attnproto_kernel;
typedef struct attnproto_buffer attnproto_buffer;
typedef struct attnproto_archive attnproto_archive;

enum { ATTNPROTO_BOOL = 0, ATTNPROTO_INTEGER = 1, ATTNPROTO_REAL = 2 };

/* A function constant by name; `real` holds the value of an ATTNPROTO_REAL. The elements of a
 * vector are as many constants of its name, in order. */
typedef struct {
  const char* name;
  int32_t kind;
  int64_t integer;
  double real;
} attnproto_constant;

enum {
  ATTNPROTO_BUFFER = 0,
  ATTNPROTO_READ = 1,       /* memory of the caller that the kernel reads */
  ATTNPROTO_WRITE = 2,      /* memory of the caller that the kernel writes */
  ATTNPROTO_BYTES = 3,      /* a few bytes, copied */
  ATTNPROTO_THREADGROUP = 4 /* threadgroup memory of `bytes` */
};

typedef struct {
  uint32_t index;
  int32_t kind;
  attnproto_buffer* buffer; /* of an ATTNPROTO_BUFFER, with `offset` */
  uint64_t offset;
  void* data;
  uint64_t bytes;
} attnproto_binding;

typedef struct {
  uint32_t threadgroups[3];
  uint32_t threads[3]; /* of each threadgroup */
  const attnproto_binding* bindings;
  size_t binding_count;
} attnproto_dispatch;

/* ATTNPROTO_C_API_VERSION of the library; also the call that does nothing. */
uint32_t attnproto_version(void);
const char* attnproto_last_error(void);

/* kind: "metal", "cuda" or "cpu"; threads: of the cpu device, 0 for one a core. */
attnproto_device* attnproto_open(const char* kind, uint32_t threads);
void attnproto_close(attnproto_device*);
/* "measured" or "emulated": what a time of this device is worth. */
const char* attnproto_tier(const attnproto_device*);

/* A kernel exported for the cpu or the cuda device (attnproto.compiler.targets.shared_object). */
attnproto_kernel* attnproto_load(attnproto_device*, const char* path);
/* A kernel from its text, on a device that has a compiler of its own. */
attnproto_kernel* attnproto_compile(attnproto_device*, const char* msl_text, const char* function,
                                    const attnproto_constant*, size_t constant_count);
void attnproto_release_kernel(attnproto_kernel*);

/* Pipelines compiled earlier (attnproto.archive): the file is read whole, and refused where a byte
 * is not as written or it was built for another device, processor or operating system. */
attnproto_archive* attnproto_open_archive(attnproto_device*, const char* path);
/* A kernel of the archive, and an error where it holds none such: nothing is compiled that it does
 * not hold. msl_text may be NULL but on Metal: the name and the constants choose. */
attnproto_kernel* attnproto_archived(attnproto_archive*, const char* msl_text, const char* function,
                                     const attnproto_constant*, size_t constant_count);
void attnproto_release_archive(attnproto_archive*);

attnproto_buffer* attnproto_new_buffer(attnproto_device*, uint64_t bytes);
/* Host address; valid between dispatches. */
void* attnproto_contents(attnproto_buffer*);
void attnproto_release_buffer(attnproto_buffer*);

/* Runs one dispatch to its end; gpu_us, where not NULL, receives the device's own time. */
int attnproto_run(attnproto_device*, attnproto_kernel*, const attnproto_dispatch*, double* gpu_us);

/* Runs dispatches in rounds, each seeing what the ones before it wrote: `ahead` rounds that are not
 * timed and keep a GPU at work, then `times` rounds whose time gpu_us receives. There must be a
 * dispatch, and a timed round. */
int attnproto_run_repeated(attnproto_device*, attnproto_kernel* const* kernels,
                           const attnproto_dispatch* dispatches, size_t dispatch_count,
                           uint32_t ahead, uint32_t times, double* gpu_us);

/* What a kernel exported for the cpu device holds, under the symbol attnproto_exported. */
typedef struct {
  uint32_t kind; /* 0 buffer, 1 threadgroup memory */
  uint32_t index;
  uint32_t min_bytes;
  const char* name;
} attnproto_exported_argument;

typedef struct {
  uint32_t version;
  uint32_t static_threadgroup_bytes;
  uint32_t max_threads;
  uint32_t argument_count;
  const char* function;
  const attnproto_exported_argument* arguments;
  void (*entry)(void);           /* runs a lane */
  void (*simdgroup_entry)(void); /* runs a simdgroup along the first axis; NULL: there is none */
} attnproto_exported_kernel;

#ifdef __cplusplus
}
#endif
#endif
