// The compiler's own names that Apple's library is written in. Some published
// kernels (MLX's bf16_math.h) call them; the last argument chooses the accuracy.
namespace metal {
#define ATTN_MATH1(name) \
  template <class T>     \
  ATTN_INLINE T __metal_##name(T x, bool) { return (T)metal::name(x); }
#define ATTN_MATH2(name) \
  template <class T>     \
  ATTN_INLINE T __metal_##name(T x, T y, bool) { return (T)metal::name(x, y); }
#define ATTN_MATH2_PLAIN(name) \
  template <class T>     \
  ATTN_INLINE T __metal_##name(T x, T y) { return (T)metal::name(x, y); }
#define ATTN_MATH3(name) \
  template <class T>     \
  ATTN_INLINE T __metal_##name(T x, T y, T z, bool) { return (T)metal::name(x, y, z); }
ATTN_MATH1(acos) ATTN_MATH1(acosh) ATTN_MATH1(asin) ATTN_MATH1(asinh) ATTN_MATH1(atan)
ATTN_MATH1(atanh) ATTN_MATH1(ceil) ATTN_MATH1(cos) ATTN_MATH1(cosh) ATTN_MATH1(cospi)
ATTN_MATH1(exp) ATTN_MATH1(exp2) ATTN_MATH1(exp10) ATTN_MATH1(fabs) ATTN_MATH1(floor)
ATTN_MATH1(fract) ATTN_MATH1(log) ATTN_MATH1(log2) ATTN_MATH1(log10) ATTN_MATH1(rint)
ATTN_MATH1(round) ATTN_MATH1(rsqrt) ATTN_MATH1(sin) ATTN_MATH1(sinh) ATTN_MATH1(sinpi)
ATTN_MATH1(sqrt) ATTN_MATH1(tan) ATTN_MATH1(tanh) ATTN_MATH1(tanpi) ATTN_MATH1(trunc)
ATTN_MATH2(atan2) ATTN_MATH2(divide) ATTN_MATH2(fmax) ATTN_MATH2(fmin) ATTN_MATH2(fmod)
ATTN_MATH2(pow) ATTN_MATH2(powr) ATTN_MATH2(fdim) ATTN_MATH2(copysign)
ATTN_MATH2_PLAIN(nextafter)
ATTN_MATH3(fmax3) ATTN_MATH3(fmin3) ATTN_MATH3(fmedian3)
#undef ATTN_MATH1
#undef ATTN_MATH2
#undef ATTN_MATH2_PLAIN
#undef ATTN_MATH3
template <class T>
ATTN_INLINE T __metal_fma(T x, T y, T z) { return (T)metal::fma(x, y, z); }
template <class T>
ATTN_INLINE T __metal_ldexp(T x, int k, bool) { return (T)ldexp((float)x, k); }
template <class T>
ATTN_INLINE T __metal_frexp(T x, __private int* e) { return (T)frexp((float)x, *e); }

#define ATTN_SIMD1(name) \
  template <class T>     \
  ATTN_INLINE T __metal_##name(T x) { return metal::name(x); }
#define ATTN_SIMD2(name) \
  template <class T>     \
  ATTN_INLINE T __metal_##name(T x, ushort y) { return metal::name(x, y); }
ATTN_SIMD1(simd_sum) ATTN_SIMD1(simd_product) ATTN_SIMD1(simd_min) ATTN_SIMD1(simd_max)
ATTN_SIMD1(simd_and) ATTN_SIMD1(simd_or) ATTN_SIMD1(simd_xor)
ATTN_SIMD1(simd_prefix_inclusive_sum) ATTN_SIMD1(simd_prefix_exclusive_sum)
ATTN_SIMD1(simd_prefix_inclusive_product) ATTN_SIMD1(simd_prefix_exclusive_product)
ATTN_SIMD2(simd_shuffle) ATTN_SIMD2(simd_broadcast) ATTN_SIMD2(simd_shuffle_xor)
ATTN_SIMD2(simd_shuffle_down) ATTN_SIMD2(simd_shuffle_up)
ATTN_SIMD2(simd_shuffle_rotate_down) ATTN_SIMD2(simd_shuffle_rotate_up)
#undef ATTN_SIMD1
#undef ATTN_SIMD2
template <class T>
ATTN_INLINE T __metal_simd_shuffle_and_fill_down(T x, T fill, ushort delta, ushort modulo) {
  return simd_shuffle_and_fill_down(x, fill, delta, modulo);
}
template <class T>
ATTN_INLINE T __metal_simd_shuffle_and_fill_up(T x, T fill, ushort delta, ushort modulo) {
  return simd_shuffle_and_fill_up(x, fill, delta, modulo);
}
ATTN_INLINE ushort __metal_get_simdgroup_size(ushort) { return 32; }
}  // namespace metal
