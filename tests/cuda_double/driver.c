/* A double of NVIDIA's driver: memory is the host's, and a "kernel" is a line of text.
 *
 * A module's image lists, a line each, its functions with what they do, steps parted by ";":
 *     attn_launch_0 scale 1 64 3; copy 1 2 256; fault 700
 * scale multiplies that many floats of a buffer, copy takes bytes from one buffer to another, fault
 * poisons the context as a real one is: every later call on it fails alike. "table 2" is a module's
 * table of two functions; an image that begins with "refuse" is no valid PTX.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_PTX = 218, NOT_FOUND = 500 };
enum { MOST = 4096, TABLE_AT = 1000, PARAMETER_BYTES = 400 };

typedef struct {
  int fault;
} Context;
typedef struct {
  char* at;
  size_t bytes;
  Context* owner;
} Allocation;
typedef struct {
  char* image;
  Context* owner;
  uint64_t* table;
} Module;

static Context contexts[16];
static int context_count;
static __thread Context* current;
static Allocation allocations[MOST];
static long gpus = 1, memory_bytes = 1L << 30, renewals = 16;
static long to_device, to_host, allocated_bytes, modules;
static long launches, graph_launches, kernels, graphs;

/* What a test sets and reads. */
long* double_number(const char* name) {
  struct {
    const char* name;
    long* number;
  } all[] = {{"gpus", &gpus},         {"memory_bytes", &memory_bytes},
             {"renewals", &renewals}, {"to_device", &to_device},
             {"to_host", &to_host},   {"allocated_bytes", &allocated_bytes},
             {"modules", &modules},   {"launches", &launches},
             {"graphs", &graphs},     {"graph_launches", &graph_launches},
             {"kernels", &kernels}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (!strcmp(all[i].name, name)) return all[i].number;
  return NULL;
}

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : SUCCESS; }
int cuDeviceGetCount(int* count) { return *count = (int)gpus, SUCCESS; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, SUCCESS; }
int cuDeviceGetName(char* name, int bytes, int device) {
  return snprintf(name, (size_t)bytes, "Double %d", device), SUCCESS;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  (void)device;
  /* 4 multiprocessors, compute capability 9.0 */
  *value = attribute == 16 ? 4 : attribute == 75 ? 9 : 0;
  return SUCCESS;
}
int cuDriverGetVersion(int* version) { return *version = 13000, SUCCESS; }

static Context* new_context(void) { return &contexts[context_count++]; }
int cuDevicePrimaryCtxRetain(void** context, int device) {
  (void)device;
  *context = new_context();
  return SUCCESS;
}
int cuCtxCreate_v2(void** context, unsigned flags, int device) {
  (void)flags, (void)device;
  if (renewals-- <= 0) return current->fault ? current->fault : INVALID_VALUE;
  *context = new_context();
  return SUCCESS;
}
int cuCtxSetCurrent(void* context) { return current = context, SUCCESS; }
int cuCtxGetCurrent(void** context) { return *context = current, SUCCESS; }
int cuCtxSynchronize(void) { return current->fault; }

int cuMemAlloc_v2(uint64_t* pointer, size_t bytes) {
  if (current->fault) return current->fault;
  if (allocated_bytes + (long)bytes > memory_bytes) return OUT_OF_MEMORY;
  for (int i = 0; i < MOST; i++) {
    if (allocations[i].at) continue;
    char* at = aligned_alloc(512, (bytes + 511) / 512 * 512);
    memset(at, 0xff, bytes);
    allocations[i] = (Allocation){at, bytes, current};
    allocated_bytes += (long)bytes;
    *pointer = (uint64_t)(uintptr_t)at;
    return SUCCESS;
  }
  return OUT_OF_MEMORY;
}
/* The allocation that holds these bytes, of the current context. */
static Allocation* holding(uint64_t pointer, size_t bytes) {
  for (int i = 0; i < MOST; i++) {
    uint64_t at = (uint64_t)(uintptr_t)allocations[i].at;
    if (at && allocations[i].owner == current && pointer >= at &&
        pointer + bytes <= at + allocations[i].bytes)
      return &allocations[i];
  }
  return NULL;
}
int cuMemFree_v2(uint64_t pointer) {
  Allocation* found = holding(pointer, 1);
  if (!found || (uint64_t)(uintptr_t)found->at != pointer) return INVALID_VALUE;
  allocated_bytes -= (long)found->bytes;
  free(found->at);
  found->at = NULL;
  return SUCCESS;
}
static int checked(uint64_t pointer, size_t bytes) {
  if (current->fault) return current->fault;
  return holding(pointer, bytes) ? SUCCESS : INVALID_VALUE;
}
int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) {
  int result = checked(to, bytes);
  if (result == SUCCESS) memcpy((void*)(uintptr_t)to, from, bytes), to_device++;
  return result;
}
int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
  int result = checked(from, bytes);
  if (result == SUCCESS) memcpy(to, (void*)(uintptr_t)from, bytes), to_host++;
  return result;
}
int cuMemsetD8_v2(uint64_t to, unsigned char value, size_t bytes) {
  int result = checked(to, bytes);
  if (result == SUCCESS) memset((void*)(uintptr_t)to, value, bytes);
  return result;
}

/* The end of the image's line that begins with a name, or NULL. */
static const char* after(const char* image, const char* name) {
  for (const char* line = image; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ' ') return line + strlen(name);
    if (!*line) return NULL;
  }
  return NULL;
}
int cuModuleLoadDataEx(void** module, const void* image, unsigned count, int* options,
                       void** values) {
  if (current->fault) return current->fault;
  if (!strncmp(image, "refuse", 6)) {
    if (count) snprintf(values[0], (size_t)(uintptr_t)values[1], "line 1: %s", (const char*)image);
    (void)options;
    return INVALID_PTX;
  }
  Module* made = calloc(1, sizeof *made);
  made->image = strdup(image);
  made->owner = current;
  *module = made;
  modules++;
  return SUCCESS;
}
int cuModuleUnload(void* module) {
  Module* loaded = module;
  if (loaded->owner != current) return INVALID_VALUE;
  free(loaded->image);
  free(loaded);
  modules--;
  return SUCCESS;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = (void*)after(((Module*)module)->image, name);
  return *function ? SUCCESS : NOT_FOUND;
}
int cuModuleGetGlobal_v2(uint64_t* pointer, size_t* bytes, void* module, const char* name) {
  const char* text = after(((Module*)module)->image, "table");
  if (!text || strcmp(name, "attn_table")) return NOT_FOUND;
  size_t count = (size_t)atoi(text);
  *bytes = count * sizeof(uint64_t);
  int result = cuMemAlloc_v2(pointer, *bytes);
  for (size_t i = 0; result == SUCCESS && i < count; i++)
    ((uint64_t*)(uintptr_t)*pointer)[i] = TABLE_AT + i;
  return result;
}
int cuFuncGetAttribute(int* value, int attribute, void* function) {
  (void)attribute, (void)function;
  return *value = 1024, SUCCESS;
}
static int run(const char* function, const uint64_t* buffers) {
  if (current->fault) return current->fault;
  kernels++;
  for (const char* step = function; step && *step && *step != '\n';) {
    int a, b, count, fault;
    float factor;
    if (sscanf(step, " scale %d %d %f", &a, &count, &factor) == 3) {
      if (!holding(buffers[a], (size_t)count * 4)) return current->fault = 700;
      float* x = (float*)(uintptr_t)buffers[a];
      for (int i = 0; i < count; i++) x[i] *= factor;
    } else if (sscanf(step, " copy %d %d %d", &a, &b, &count) == 3) {
      if (!holding(buffers[a], (size_t)count) || !holding(buffers[b], (size_t)count))
        return current->fault = 700;
      memcpy((void*)(uintptr_t)buffers[b], (void*)(uintptr_t)buffers[a], (size_t)count);
    } else if (sscanf(step, " fault %d", &fault) == 1) {
      current->fault = fault; /* what runs is heard of when it is waited for */
      return SUCCESS;
    }
    const char *next = strchr(step, ';'), *end = strchr(step, '\n');
    step = next && (!end || next < end) ? next + 1 : NULL;
  }
  return SUCCESS;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned tx, unsigned ty,
                   unsigned tz, unsigned shared, void* stream, void** parameters, void** extra) {
  (void)gx, (void)gy, (void)gz, (void)tx, (void)ty, (void)tz, (void)shared, (void)stream;
  (void)extra;
  launches++;
  return run(function, parameters[0]);
}

/* Nodes run in the order they were added, which is the one that the device's chain has. */
typedef struct {
  const char* function;
  char parameter[PARAMETER_BYTES];
} Node;
typedef struct {
  Context* owner;
  int count, uploaded;
  Node* nodes;
} Graph;
typedef struct {
  void* function;
  unsigned threadgroups[3], threads[3], dynamic_bytes;
  void** parameters;
  void** extra;
} KernelNode;

static Graph* new_graph(const Graph* from) {
  Graph* graph = calloc(1, sizeof *graph);
  *graph = (Graph){current, from ? from->count : 0, 0, NULL};
  size_t bytes = (size_t)graph->count * sizeof(Node);
  if (from) graph->nodes = memcpy(malloc(bytes), from->nodes, bytes);
  graphs++;
  return graph;
}
int cuGraphCreate(void** graph, unsigned flags) {
  if (flags) return INVALID_VALUE;
  if (current->fault) return current->fault;
  return *graph = new_graph(NULL), SUCCESS;
}
int cuGraphAddKernelNode(void** node, void* graph, void* const* before, size_t count,
                         const KernelNode* what) {
  Graph* to = graph;
  /* Handles of nodes are their numbers, from one. */
  if (count != (to->count > 0) || (count && *before != (void*)(uintptr_t)to->count))
    return INVALID_VALUE;
  to->nodes = realloc(to->nodes, (size_t)(to->count + 1) * sizeof(Node));
  Node* one = &to->nodes[to->count++];
  one->function = what->function;
  memcpy(one->parameter, what->parameters[0], PARAMETER_BYTES);
  *node = (void*)(uintptr_t)to->count;
  return SUCCESS;
}
int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long flags) {
  if (flags) return INVALID_VALUE;
  return *executable = new_graph(graph), SUCCESS;
}
int cuGraphUpload(void* executable, void* stream) {
  (void)stream;
  ((Graph*)executable)->uploaded = 1;
  return current->fault;
}
int cuGraphLaunch(void* executable, void* stream) {
  (void)stream;
  Graph* graph = executable;
  if (current->fault) return current->fault;
  if (graph->owner != current || !graph->uploaded) return INVALID_VALUE;
  graph_launches++;
  for (int i = 0; i < graph->count && !current->fault; i++)
    run(graph->nodes[i].function, (const uint64_t*)graph->nodes[i].parameter);
  return SUCCESS; /* what runs is heard of when it is waited for */
}
int cuGraphDestroy(void* graph) {
  free(((Graph*)graph)->nodes);
  free(graph);
  graphs--;
  return SUCCESS;
}
int cuGraphExecDestroy(void* executable) { return cuGraphDestroy(executable); }

int cuEventCreate(void** event, unsigned flags) {
  (void)flags;
  return *event = current, SUCCESS;
}
int cuEventRecord(void* event, void* stream) {
  (void)event, (void)stream;
  return current->fault;
}
int cuEventSynchronize(void* event) {
  (void)event;
  return current->fault;
}
int cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  (void)start, (void)end;
  return *milliseconds = 0.25f, SUCCESS;
}

/* Linking is no part of what is doubled. */
int cuLinkCreate_v2(unsigned count, int* options, void** values, void** state) {
  (void)count, (void)options, (void)values, (void)state;
  return NOT_FOUND;
}
int cuLinkAddData_v2(void* state, int kind, void* data, size_t bytes, const char* name,
                     unsigned count, int* options, void** values) {
  (void)state, (void)kind, (void)data, (void)bytes, (void)name, (void)count, (void)options;
  (void)values;
  return NOT_FOUND;
}
int cuLinkComplete(void* state, void** code, size_t* bytes) {
  (void)state, (void)code, (void)bytes;
  return NOT_FOUND;
}
int cuLinkDestroy(void* state) {
  (void)state;
  return SUCCESS;
}

int cuGetErrorName(int result, const char** name) {
  *name = result == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
          : result == INVALID_PTX ? "CUDA_ERROR_INVALID_PTX"
          : result == 700         ? "CUDA_ERROR_ILLEGAL_ADDRESS"
          : result == 702         ? "CUDA_ERROR_LAUNCH_TIMEOUT"
                                  : "CUDA_ERROR_UNKNOWN";
  return SUCCESS;
}
int cuGetErrorString(int result, const char** text) {
  (void)result;
  return *text = "as the double says", SUCCESS;
}
