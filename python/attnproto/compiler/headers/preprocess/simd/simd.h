// The types that Apple's simd.h shares between a host's text and a kernel's: MSL's own, by three
// names each.
#pragma once
#include <metal_stdlib>

#define ATTN_SIMD_VECTOR(type, n)    \
  typedef type##n simd_##type##n;    \
  typedef type##n vector_##type##n;  \
  namespace simd {                   \
  typedef ::type##n type##n;         \
  }
#define ATTN_SIMD_VECTORS(type) \
  ATTN_SIMD_VECTOR(type, 2) ATTN_SIMD_VECTOR(type, 3) ATTN_SIMD_VECTOR(type, 4)
ATTN_SIMD_VECTORS(char) ATTN_SIMD_VECTORS(uchar) ATTN_SIMD_VECTORS(short) ATTN_SIMD_VECTORS(ushort)
ATTN_SIMD_VECTORS(int) ATTN_SIMD_VECTORS(uint) ATTN_SIMD_VECTORS(long) ATTN_SIMD_VECTORS(ulong)
ATTN_SIMD_VECTORS(half) ATTN_SIMD_VECTORS(float)
#undef ATTN_SIMD_VECTORS
#undef ATTN_SIMD_VECTOR

#define ATTN_SIMD_MATRIX(type, n, m)                 \
  typedef metal::type##n##x##m simd_##type##n##x##m;   \
  typedef metal::type##n##x##m matrix_##type##n##x##m; \
  namespace simd {                                   \
  typedef metal::type##n##x##m type##n##x##m;        \
  }
#define ATTN_SIMD_MATRICES(type, n) \
  ATTN_SIMD_MATRIX(type, n, 2) ATTN_SIMD_MATRIX(type, n, 3) ATTN_SIMD_MATRIX(type, n, 4)
ATTN_SIMD_MATRICES(half, 2) ATTN_SIMD_MATRICES(half, 3) ATTN_SIMD_MATRICES(half, 4)
ATTN_SIMD_MATRICES(float, 2) ATTN_SIMD_MATRICES(float, 3) ATTN_SIMD_MATRICES(float, 4)
#undef ATTN_SIMD_MATRICES
#undef ATTN_SIMD_MATRIX
