// What every kernel's text needs of <metal_stdlib>; library_parts.py adds what it names besides.
#include "types.h"
#ifdef __NVPTX__
#include "math_nvptx.h"
#define ATTN_LIBM(name) attn_nv_##name
#else
#define ATTN_LIBM(name) __builtin_##name##f
#endif
#include "shapes.h"
#include "math.h"
#include "common.h"
#include "integer.h"
#include "geometric.h"
#include "simd.h"
#ifdef __NVPTX__
#include "../attnproto_lane.h"
#include "cuda.h"
#endif
#include "entry.h"
