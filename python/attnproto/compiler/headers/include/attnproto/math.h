// metal_math: functions of floating-point numbers.
namespace metal {

ATTN_UNARY(exp, ATTN_LIBM(exp)(x))
ATTN_UNARY(exp2, ATTN_LIBM(exp2)(x))
ATTN_UNARY(exp10, ATTN_LIBM(pow)(10.0f, x))
ATTN_UNARY(log, ATTN_LIBM(log)(x))
ATTN_UNARY(log2, ATTN_LIBM(log2)(x))
ATTN_UNARY(log10, ATTN_LIBM(log10)(x))
ATTN_UNARY(sqrt, __builtin_sqrtf(x))
ATTN_UNARY(rsqrt, 1.0f / __builtin_sqrtf(x))
ATTN_UNARY(sin, ATTN_LIBM(sin)(x))
ATTN_UNARY(cos, ATTN_LIBM(cos)(x))
ATTN_UNARY(tan, ATTN_LIBM(tan)(x))
ATTN_UNARY(asin, ATTN_LIBM(asin)(x))
ATTN_UNARY(acos, ATTN_LIBM(acos)(x))
ATTN_UNARY(atan, ATTN_LIBM(atan)(x))
ATTN_UNARY(sinh, ATTN_LIBM(sinh)(x))
ATTN_UNARY(cosh, ATTN_LIBM(cosh)(x))
ATTN_UNARY(tanh, ATTN_LIBM(tanh)(x))
ATTN_UNARY(asinh, ATTN_LIBM(asinh)(x))
ATTN_UNARY(acosh, ATTN_LIBM(acosh)(x))
ATTN_UNARY(atanh, ATTN_LIBM(atanh)(x))
ATTN_UNARY(floor, __builtin_floorf(x))
ATTN_UNARY(ceil, __builtin_ceilf(x))
ATTN_UNARY(round, ATTN_LIBM(round)(x))
ATTN_UNARY(rint, __builtin_rintf(x))
ATTN_UNARY(trunc, __builtin_truncf(x))
ATTN_UNARY(fabs, __builtin_fabsf(x))

ATTN_BINARY(pow, ATTN_LIBM(pow)(x, y))
ATTN_BINARY(powr, ATTN_LIBM(pow)(x, y))
ATTN_BINARY(fmod, ATTN_LIBM(fmod)(x, y))
ATTN_BINARY(atan2, ATTN_LIBM(atan2)(x, y))
ATTN_BINARY(fmin, __builtin_fminf(x, y))
ATTN_BINARY(fmax, __builtin_fmaxf(x, y))
ATTN_BINARY(fdim, ATTN_LIBM(fdim)(x, y))
ATTN_BINARY(copysign, __builtin_copysignf(x, y))
ATTN_BINARY(divide, x / y)

// Quarters of a turn in x half turns, and exactly what is left, at most 1/8 turn: a
// product with pi would lose all of a large x.
ATTN_INLINE int attn_quarters(float x, __private float& rest) {
  float turn = x - 2.0f * __builtin_truncf(0.5f * x);
  float quarters = __builtin_rintf(2.0f * turn);
  rest = 3.14159265358979323846f * (turn - 0.5f * quarters);
  return (int)quarters & 3;
}
ATTN_INLINE float attn_sinpi(float x) {
  float rest;
  int quarter = attn_quarters(x, rest);
  if (rest == 0.0f && !(quarter & 1)) return __builtin_copysignf(0.0f, x);
  float v = quarter & 1 ? ATTN_LIBM(cos)(rest) : ATTN_LIBM(sin)(rest);
  return quarter & 2 ? -v : v;
}
ATTN_INLINE float attn_cospi(float x) {
  float rest;
  int quarter = attn_quarters(x, rest);
  float v = quarter & 1 ? ATTN_LIBM(sin)(rest) : ATTN_LIBM(cos)(rest);
  return (quarter + 1) & 2 ? 0.0f - v : v;
}
ATTN_UNARY(sinpi, attn_sinpi(x))
ATTN_UNARY(cospi, attn_cospi(x))
ATTN_UNARY(tanpi, attn_sinpi(x) / attn_cospi(x))

// Less than 1, to which a fraction just below 0 would round.
template <class A>
ATTN_ONE_OF(reals, A)
ATTN_INLINE auto fract(A x) {
  typedef typename attn_unpacked<A>::type T;
  if constexpr (attn_is_vector<T>) {
    T v = x;
    for (int i = 0; i < attn_lanes<T>::count; i++) v[i] = fract(v[i]);
    return v;
  } else if constexpr (__is_integral(T)) {
    return 0.0f;
  } else {
    T part = (T)((float)x - __builtin_floorf((float)x));
    return part >= (T)1.0f ? (T)((T)1.0f - numeric_limits<T>::epsilon() / (T)2.0f) : part;
  }
}

// One rounding: the sum of an exact product is made odd where it was rounded to float, so
// that the second rounding cannot see a tie that is none.
ATTN_INLINE float attn_fma_odd(float a, float b, float c) {
  float product = a * b, sum = product + c;
  float back = sum - product;
  float lost = (product - (sum - back)) + (c - back);
  uint bits = as_type<uint>(sum);
  if (lost == 0.0f || lost - lost != 0.0f || (bits & 1)) return sum;
  return as_type<float>((lost > 0.0f) == (sum > 0.0f) ? bits + 1 : bits - 1);
}
ATTN_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
template <class A, class B, class C>
ATTN_ONE_OF(reals, A, B, C)
ATTN_INLINE auto fma(A a, B b, C c) {
  typedef attn_common3<A, B, C> T;
  if constexpr (attn_is_vector<T>) {
    T x = (T)a, y = (T)b, z = (T)c;
    for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = fma(x[i], y[i], z[i]);
    return x;
  } else if constexpr (sizeof(T) == 2) {
    return (T)attn_fma_odd((float)a, (float)b, (float)c);
  } else {
    return (T)__builtin_fmaf((float)a, (float)b, (float)c);
  }
}
ATTN_TERNARY_OF(mad, reals, x * y + z)

template <class T>
ATTN_INLINE auto attn_next(T x, T y) {
  typedef make_unsigned_t<T> U;
  constexpr U negative = (U)((U)1 << (8 * sizeof(T) - 1));
  if (x != x || y != y) return (T)(x + y);
  if (x == y) return y;
  U bits = as_type<U>(x);
  if (x == (T)0.0f) return as_type<T>((U)((as_type<U>(y) & negative) | (U)1));
  return as_type<T>((U)((x < y) == (x > (T)0.0f) ? bits + 1 : bits - 1));
}
ATTN_BINARY_OF(nextafter, reals, attn_next<T>(x, y))

// -- functions with a second result -------------------------------------------

ATTN_INLINE float frexp(float x, __private int& exponent) {
  int e = 0;
  float m = x;
  if (x != 0.0f && x - x == 0.0f) {
    uint bits = as_type<uint>(x);
    if ((bits & 0x7f800000u) == 0) {
      bits = as_type<uint>(x * 16777216.0f);
      e = -24;
    }
    e += (int)((bits >> 23) & 0xff) - 126;
    m = as_type<float>((bits & 0x807fffffu) | 0x3f000000u);
  }
  exponent = e;
  return m;
}
// The fraction of infinity is 0, and has the number's sign.
ATTN_INLINE float modf(float x, __private float& whole) {
  whole = __builtin_truncf(x);
  float part = __builtin_fabsf(x) == __builtin_inff() ? 0.0f : x - whole;
  return __builtin_copysignf(part, x);
}
ATTN_INLINE float sincos(float x, __private float& cosine) {
  cosine = ATTN_LIBM(cos)(x);
  return ATTN_LIBM(sin)(x);
}
// Defines a function whose second result is of type Second, a float or an int.
#define ATTN_SECOND(name, Second, SecondOf)                                             \
  template <class T>                                                                    \
  ATTN_INLINE T name(T x, __private SecondOf(T) & second) {                             \
    Second found;                                                                       \
    T result = (T)name((float)x, found);                                                \
    second = (SecondOf(T))found;                                                        \
    return result;                                                                      \
  }                                                                                     \
  template <class T, int N>                                                             \
  ATTN_INLINE vec<T, N> name(vec<T, N> x, __private vec<SecondOf(T), N> & second) {     \
    for (int i = 0; i < N; i++) {                                                       \
      Second found;                                                                     \
      x[i] = (T)name((float)x[i], found);                                               \
      second[i] = (SecondOf(T))found;                                                   \
    }                                                                                   \
    return x;                                                                           \
  }
#define ATTN_INT_OF(T) int
#define ATTN_SAME_OF(T) T
ATTN_SECOND(frexp, int, ATTN_INT_OF)
ATTN_SECOND(modf, float, ATTN_SAME_OF)
ATTN_SECOND(sincos, float, ATTN_SAME_OF)
#undef ATTN_SECOND
#undef ATTN_INT_OF
#undef ATTN_SAME_OF

ATTN_INLINE float ldexp(float x, int k) { return ATTN_LIBM(ldexp)(x, k); }
template <class T>
ATTN_ONE_OF(reals, T)
ATTN_INLINE T ldexp(T x, int k) {
  return (T)ATTN_LIBM(ldexp)((float)x, k);
}
template <class T, int N>
ATTN_INLINE vec<T, N> ldexp(vec<T, N> x, vec<int, N> k) {
  for (int i = 0; i < N; i++) x[i] = ldexp(x[i], k[i]);
  return x;
}
template <class T, int N>
ATTN_INLINE vec<T, N> ldexp(vec<T, N> x, int k) {
  return ldexp(x, (vec<int, N>)(k));
}

// FP_ILOGB0 and FP_ILOGBNAN are the least int.
ATTN_INLINE int ilogb(float x) {
  uint bits = as_type<uint>(x) & 0x7fffffffu;
  if (bits == 0 || bits > 0x7f800000u) return -2147483647 - 1;
  if (bits == 0x7f800000u) return 2147483647;
  return bits < 0x00800000u ? -118 - __builtin_clz(bits) : (int)(bits >> 23) - 127;
}
template <class T>
ATTN_ONE_OF(reals, T)
ATTN_INLINE int ilogb(T x) {
  return ilogb((float)x);
}
template <class T, int N>
ATTN_INLINE vec<int, N> ilogb(vec<T, N> x) {
  vec<int, N> r;
  for (int i = 0; i < N; i++) r[i] = ilogb((float)x[i]);
  return r;
}

}  // namespace metal
