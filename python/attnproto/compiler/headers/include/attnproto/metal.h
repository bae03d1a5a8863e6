// What #include <metal_stdlib> means to the compiler.
#include "types.h"
#ifdef __NVPTX__
#include "math_nvptx.h"
#define ATTN_LIBM(name) attn_nv_##name
#else
#define ATTN_LIBM(name) __builtin_##name##f
#endif
#include "math.h"
#include "simd.h"
#include "simdgroup_matrix.h"
#include "builtins.h"
#include "functions.h"
#ifdef __NVPTX__
#include "../attnproto_lane.h"
#include "cuda.h"
#endif
#include "entry.h"
