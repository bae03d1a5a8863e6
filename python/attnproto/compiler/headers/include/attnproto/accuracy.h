// fast:: and precise:: are one here, within the bounds of both, but for one function. They are of
// float alone: a half or an integer becomes one.
namespace metal {

template <class T>
using attn_single =
    conditional_t<__is_integral(T) || __is_same(T, half) || __is_same(T, bfloat), float, T>;

#define ATTN_SINGLE(name)                                                                        \
  template <class... A>                                                                          \
  ATTN_SAYS(((attn_vector_bit<A> | ...) & ~(attn_float | attn_bfloat)), "argument-type")         \
  ATTN_INLINE constexpr auto name(A... x) {                                                      \
    return metal::name((attn_single<A>)x...);                                                    \
  }
#define ATTN_ACCURACY(space)                                                                     \
  namespace space {                                                                              \
  ATTN_SINGLE(exp) ATTN_SINGLE(exp2) ATTN_SINGLE(exp10) ATTN_SINGLE(log) ATTN_SINGLE(log2)       \
  ATTN_SINGLE(log10) ATTN_SINGLE(sqrt) ATTN_SINGLE(sin) ATTN_SINGLE(cos) ATTN_SINGLE(tan)        \
  ATTN_SINGLE(asin) ATTN_SINGLE(acos) ATTN_SINGLE(atan) ATTN_SINGLE(atan2) ATTN_SINGLE(sinh)     \
  ATTN_SINGLE(cosh) ATTN_SINGLE(tanh) ATTN_SINGLE(asinh) ATTN_SINGLE(acosh) ATTN_SINGLE(atanh)   \
  ATTN_SINGLE(sinpi) ATTN_SINGLE(cospi) ATTN_SINGLE(tanpi) ATTN_SINGLE(pow) ATTN_SINGLE(powr)    \
  ATTN_SINGLE(divide) ATTN_SINGLE(fmod) ATTN_SINGLE(min) ATTN_SINGLE(max) ATTN_SINGLE(fmin)      \
  ATTN_SINGLE(fmax) ATTN_SINGLE(abs) ATTN_SINGLE(fabs) ATTN_SINGLE(clamp) ATTN_SINGLE(saturate)  \
  ATTN_SINGLE(floor) ATTN_SINGLE(ceil) ATTN_SINGLE(round) ATTN_SINGLE(rint) ATTN_SINGLE(trunc)   \
  ATTN_SINGLE(fract) ATTN_SINGLE(fma) ATTN_SINGLE(sign) ATTN_SINGLE(min3) ATTN_SINGLE(max3)      \
  ATTN_SINGLE(median3) ATTN_SINGLE(fmin3) ATTN_SINGLE(fmax3) ATTN_SINGLE(fmedian3)               \
  ATTN_SINGLE(nextafter) ATTN_SINGLE(fdim) ATTN_SINGLE(copysign) ATTN_SINGLE(mix)                \
  ATTN_SINGLE(step) ATTN_SINGLE(smoothstep)                                                      \
  using metal::length; using metal::normalize; using metal::distance; using metal::ldexp;        \
  using metal::frexp;  using metal::sincos;    using metal::modf;     using metal::ilogb;        \
  using metal::distance_squared; using metal::length_squared; using metal::dot;                  \
  }
ATTN_ACCURACY(fast)
ATTN_ACCURACY(precise)
#undef ATTN_ACCURACY
namespace fast {
ATTN_SINGLE(rsqrt)
}
#undef ATTN_SINGLE
// Correctly rounded.
namespace precise {
ATTN_INLINE float rsqrt(float x) { return (float)(1.0 / __builtin_sqrt((double)x)); }
template <class T, int N>
ATTN_SAYS(!__is_same(T, float), "argument-type")
ATTN_INLINE vec<T, N> rsqrt(vec<T, N> x) {
  for (int i = 0; i < N; i++) x[i] = (T)rsqrt((float)x[i]);
  return x;
}
}

}  // namespace metal
