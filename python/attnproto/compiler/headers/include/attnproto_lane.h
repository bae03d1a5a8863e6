// What a compiled kernel reads about where it runs. One layout, included by the
// engine (C++) and by every kernel (C++ for OpenCL); pointers are 8 bytes on both sides.
#ifndef ATTNPROTO_LANE_H
#define ATTNPROTO_LANE_H

#ifdef __OPENCL_CPP_VERSION__
#define ATTN_GLOBAL __global
#define ATTN_U32 unsigned int
#ifdef __NVPTX__
#define ATTN_SHARED_BY_LANES __private  // each lane makes its own from registers
#else
#define ATTN_SHARED_BY_LANES __global
#endif
#else
#include <stdint.h>
#define ATTN_GLOBAL
#define ATTN_SHARED_BY_LANES
#define ATTN_U32 uint32_t
#endif

#define ATTN_MAX_BUFFERS 31

// Shared by all lanes of a threadgroup.
struct attn_group {
  ATTN_GLOBAL void* buffers[ATTN_MAX_BUFFERS];
  ATTN_GLOBAL void* threadgroup_memory;
  ATTN_U32 threadgroup_offsets[ATTN_MAX_BUFFERS];  // of [[threadgroup(i)]] arguments
  ATTN_U32 threadgroup_position[3];
  ATTN_U32 threadgroups[3];
  ATTN_U32 threads[3];           // in this threadgroup: fewer at the edge of a grid
  ATTN_U32 dispatch_threads[3];  // in a whole one
  ATTN_U32 grid_threads[3];
  ATTN_U32 simdgroups;
};

struct attn_lane {
  ATTN_SHARED_BY_LANES struct attn_group* group;
  ATTN_U32 position[3];  // in the threadgroup
  ATTN_U32 index;        // the same, linear
  ATTN_U32 simdgroup;
  ATTN_U32 lane;  // in the simdgroup
};

#endif
