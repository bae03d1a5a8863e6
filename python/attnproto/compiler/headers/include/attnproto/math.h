// metal_math, metal_common, metal_integer, metal_relational, metal_geometric.
namespace metal {

template <class T>
struct attn_lanes {
  static constexpr __constant int count = 1;
  typedef T element;
};
template <class T>
struct attn_lanes<vec<T, 2>> {
  static constexpr __constant int count = 2;
  typedef T element;
};
template <class T>
struct attn_lanes<vec<T, 3>> {
  static constexpr __constant int count = 3;
  typedef T element;
};
template <class T>
struct attn_lanes<vec<T, 4>> {
  static constexpr __constant int count = 4;
  typedef T element;
};
template <class T>
constexpr __constant bool attn_is_vector = attn_lanes<T>::count > 1;

// Half and bfloat are computed in float and rounded once, integers become float,
// vectors go element by element.
#define ATTN_UNARY(name, expression)                                    \
  ATTN_INLINE float name(float x) { return expression; }                \
  template <class T>                                                    \
  ATTN_INLINE auto name(T v) {                                          \
    if constexpr (attn_is_vector<T>) {                                  \
      for (int i = 0; i < attn_lanes<T>::count; i++) v[i] = name(v[i]); \
      return v;                                                         \
    } else if constexpr (__is_integral(T)) {                            \
      return name((float)v);                                            \
    } else {                                                            \
      return (T)name((float)v);                                         \
    }                                                                   \
  }
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
ATTN_UNARY(sinpi, ATTN_LIBM(sin)(3.14159265358979323846f * x))
ATTN_UNARY(cospi, ATTN_LIBM(cos)(3.14159265358979323846f * x))
ATTN_UNARY(tanpi, ATTN_LIBM(tan)(3.14159265358979323846f * x))
ATTN_UNARY(floor, __builtin_floorf(x))
ATTN_UNARY(ceil, __builtin_ceilf(x))
ATTN_UNARY(round, ATTN_LIBM(round)(x))
ATTN_UNARY(rint, __builtin_rintf(x))
ATTN_UNARY(trunc, __builtin_truncf(x))
ATTN_UNARY(fract, x - __builtin_floorf(x))
ATTN_UNARY(fabs, __builtin_fabsf(x))
ATTN_UNARY(sign, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f)
#undef ATTN_UNARY

#define ATTN_BINARY(name, expression)                                         \
  ATTN_INLINE float name(float x, float y) { return expression; }             \
  template <class T>                                                          \
  ATTN_INLINE T name(T a, T b) {                                              \
    if constexpr (attn_is_vector<T>) {                                        \
      for (int i = 0; i < attn_lanes<T>::count; i++) a[i] = name(a[i], b[i]); \
      return a;                                                               \
    } else {                                                                  \
      return (T)name((float)a, (float)b);                                     \
    }                                                                         \
  }
ATTN_BINARY(pow, ATTN_LIBM(pow)(x, y))
ATTN_BINARY(powr, ATTN_LIBM(pow)(x, y))
ATTN_BINARY(fmod, ATTN_LIBM(fmod)(x, y))
ATTN_BINARY(atan2, ATTN_LIBM(atan2)(x, y))
ATTN_BINARY(fmin, __builtin_fminf(x, y))
ATTN_BINARY(fmax, __builtin_fmaxf(x, y))
ATTN_BINARY(fdim, ATTN_LIBM(fdim)(x, y))
ATTN_BINARY(copysign, __builtin_copysignf(x, y))
ATTN_BINARY(nextafter, ATTN_LIBM(nextafter)(x, y))
ATTN_BINARY(divide, x / y)
#undef ATTN_BINARY

// A NaN loses against a number.
template <class T>
ATTN_INLINE constexpr T attn_min(T a, T b) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) a[i] = attn_min(a[i], b[i]);
    return a;
  } else if constexpr (__is_same(T, float)) {
    return __builtin_fminf(a, b);
  } else if constexpr (attn_is_real<T>) {
    return (T)__builtin_fminf((float)a, (float)b);
  } else {
    return b < a ? b : a;
  }
}
template <class T>
ATTN_INLINE constexpr T attn_max(T a, T b) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) a[i] = attn_max(a[i], b[i]);
    return a;
  } else if constexpr (__is_same(T, float)) {
    return __builtin_fmaxf(a, b);
  } else if constexpr (attn_is_real<T>) {
    return (T)__builtin_fmaxf((float)a, (float)b);
  } else {
    return a < b ? b : a;
  }
}
template <class A, class B>
struct attn_common {
  typedef decltype(A() + B()) type;
};
template <class A>
struct attn_common<A, A> {
  typedef A type;
};
template <class A, class B>
ATTN_INLINE constexpr auto min(A a, B b) {
  typedef typename attn_common<A, B>::type T;
  return attn_min<T>((T)a, (T)b);
}
template <class A, class B>
ATTN_INLINE constexpr auto max(A a, B b) {
  typedef typename attn_common<A, B>::type T;
  return attn_max<T>((T)a, (T)b);
}
template <class T>
ATTN_INLINE T min3(T a, T b, T c) {
  return min(a, min(b, c));
}
template <class T>
ATTN_INLINE T max3(T a, T b, T c) {
  return max(a, max(b, c));
}
template <class T>
ATTN_INLINE T median3(T a, T b, T c) {
  return max(min(a, b), min(max(a, b), c));
}
template <class T>
ATTN_INLINE T fmin3(T a, T b, T c) {
  return min3(a, b, c);
}
template <class T>
ATTN_INLINE T fmax3(T a, T b, T c) {
  return max3(a, b, c);
}
template <class T>
ATTN_INLINE T fmedian3(T a, T b, T c) {
  return median3(a, b, c);
}
template <class T, class A, class B>
ATTN_INLINE constexpr T clamp(T x, A low, B high) {
  return attn_min<T>(attn_max<T>(x, (T)low), (T)high);
}
template <class T>
ATTN_INLINE T saturate(T x) {
  return clamp(x, (T)0.0f, (T)1.0f);
}
template <class T>
ATTN_INLINE T step(T edge, T x) {
  return x < edge ? (T)0.0f : (T)1.0f;
}
template <class T, class U>
ATTN_INLINE T mix(T a, T b, U t) {
  return a + (b - a) * t;
}
template <class T>
ATTN_INLINE T smoothstep(T a, T b, T x) {
  T t = saturate((x - a) / (b - a));
  return t * t * ((T)3.0f - (T)2.0f * t);
}
ATTN_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
template <class T>
ATTN_INLINE T fma(T a, T b, T c) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) a[i] = fma(a[i], b[i], c[i]);
    return a;
  } else {
    return (T)__builtin_fmaf((float)a, (float)b, (float)c);
  }
}
template <class T>
ATTN_INLINE T mad(T a, T b, T c) {
  return a * b + c;
}
ATTN_INLINE float ldexp(float x, int k) { return ATTN_LIBM(ldexp)(x, k); }
ATTN_INLINE half ldexp(half x, int k) { return (half)ATTN_LIBM(ldexp)((float)x, k); }
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
ATTN_INLINE float modf(float x, __private float& whole) {
  whole = __builtin_truncf(x);
  return x - whole;
}

ATTN_INLINE float sincos(float x, __private float& cosine) {
  cosine = cos(x);
  return sin(x);
}
ATTN_INLINE int ilogb(float x) { return __builtin_ilogbf(x); }

template <class T, class C>
ATTN_INLINE T select(T a, T b, C c) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) a[i] = c[i] ? b[i] : a[i];
    return a;
  } else {
    return c ? b : a;
  }
}
template <class T>
ATTN_INLINE T abs(T x) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = abs(x[i]);
    return x;
  } else if constexpr (attn_is_real<T>) {
    return (T)__builtin_fabsf((float)x);
  } else {
    return x < (T)0 ? (T)-x : x;
  }
}
// Of a vector, a vector of bool; else a bool.
#define ATTN_TEST(name, expression)                                                     \
  template <class T>                                                                    \
  ATTN_INLINE auto name(T x) {                                                          \
    if constexpr (attn_is_vector<T>) {                                                  \
      vec<uchar, attn_lanes<T>::count> r;                                               \
      for (int i = 0; i < attn_lanes<T>::count; i++) r[i] = name(x[i]);                 \
      return r;                                                                         \
    } else {                                                                            \
      return (bool)(expression);                                                        \
    }                                                                                   \
  }
ATTN_TEST(isnan, x != x)
ATTN_TEST(isinf, __builtin_fabsf((float)x) == __builtin_inff())
ATTN_TEST(isfinite, __builtin_fabsf((float)x) < __builtin_inff())
ATTN_TEST(isnormal, isfinite(x) && __builtin_fabsf((float)x) >= (float)numeric_limits<T>::min())
ATTN_TEST(signbit, as_type<uint>((float)x) >> 31)
#undef ATTN_TEST
template <class T>
ATTN_INLINE bool any(T v) {
  if constexpr (attn_is_vector<T>) {
    bool r = false;
    for (int i = 0; i < attn_lanes<T>::count; i++) r = r || v[i];
    return r;
  } else {
    return v;
  }
}
template <class T>
ATTN_INLINE bool all(T v) {
  if constexpr (attn_is_vector<T>) {
    bool r = true;
    for (int i = 0; i < attn_lanes<T>::count; i++) r = r && v[i];
    return r;
  } else {
    return v;
  }
}

template <class T>
ATTN_INLINE auto dot(T a, T b) {
  auto sum = a[0] * b[0];
  for (int i = 1; i < attn_lanes<T>::count; i++) sum += a[i] * b[i];
  return sum;
}
template <class T>
ATTN_INLINE auto length_squared(T a) {
  return dot(a, a);
}
template <class T>
ATTN_INLINE auto length(T a) {
  return sqrt(dot(a, a));
}
template <class T>
ATTN_INLINE auto distance(T a, T b) {
  return length(a - b);
}
template <class T>
ATTN_INLINE T normalize(T a) {
  return a * rsqrt(dot(a, a));
}
template <class T>
ATTN_INLINE T reflect(T incident, T normal) {
  return incident - 2 * dot(normal, incident) * normal;
}
template <class T>
ATTN_INLINE T cross(T a, T b) {
  return a.yzx * b.zxy - a.zxy * b.yzx;
}

#define ATTN_BITS(name, expression)                                       \
  template <class T>                                                      \
  ATTN_INLINE T name(T x) {                                               \
    if constexpr (attn_is_vector<T>) {                                    \
      for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = name(x[i]);   \
      return x;                                                           \
    } else {                                                              \
      constexpr int width = 8 * sizeof(T);                                \
      ulong u = (make_unsigned_t<T>)x;                                    \
      return (T)(expression);                                             \
    }                                                                     \
  }
ATTN_BITS(popcount, __builtin_popcountl(u))
ATTN_BITS(clz, u ? __builtin_clzl(u) - (64 - width) : width)
ATTN_BITS(ctz, u ? __builtin_ctzl(u) : width)
ATTN_BITS(reverse_bits, __builtin_bitreverse64(u) >> (64 - width))
#undef ATTN_BITS
template <class T>
ATTN_INLINE T rotate(T x, T by) {
  constexpr uint width = 8 * sizeof(T);
  uint k = (uint)by % width;
  make_unsigned_t<T> u = x;
  return k ? (T)((u << k) | (u >> (width - k))) : x;
}
template <class T>
ATTN_INLINE T mulhi(T a, T b) {
  if constexpr (__is_signed(T)) return (T)(((__int128)a * b) >> (8 * sizeof(T)));
  else return (T)(((unsigned __int128)a * b) >> (8 * sizeof(T)));
}
template <class T>
ATTN_INLINE T madhi(T a, T b, T c) {
  return (T)(mulhi(a, b) + c);
}
template <class T>
ATTN_INLINE T mul24(T a, T b) {
  return a * b;
}
template <class T>
ATTN_INLINE T mad24(T a, T b, T c) {
  return a * b + c;
}
template <class T>
ATTN_INLINE T hadd(T a, T b) {
  return (T)((a & b) + ((a ^ b) >> 1));
}
template <class T>
ATTN_INLINE T rhadd(T a, T b) {
  return (T)((a | b) - ((a ^ b) >> 1));
}
template <class T>
ATTN_INLINE T addsat(T a, T b) {
  T r;
  if (!__builtin_add_overflow(a, b, &r)) return r;
  return b < (T)0 ? numeric_limits<T>::min() : numeric_limits<T>::max();
}
template <class T>
ATTN_INLINE T subsat(T a, T b) {
  T r;
  if (!__builtin_sub_overflow(a, b, &r)) return r;
  return b > (T)0 ? numeric_limits<T>::min() : numeric_limits<T>::max();
}
template <class T>
ATTN_INLINE T insert_bits(T base, T insert, uint offset, uint bits) {
  typedef make_unsigned_t<T> U;
  U mask = (U)((bits < 8 * sizeof(T) ? ((U)1 << bits) - 1 : (U)-1) << offset);
  return (T)(((U)base & ~mask) | ((U)((U)insert << offset) & mask));
}
template <class T>
ATTN_INLINE T absdiff(T a, T b) {
  typedef make_unsigned_t<T> U;  // the difference may exceed T
  return a < b ? (T)((U)b - (U)a) : (T)((U)a - (U)b);
}
template <class T>
ATTN_INLINE T extract_bits(T x, uint offset, uint bits) {
  constexpr uint width = 8 * sizeof(T);
  return bits ? (T)((T)(x << (width - offset - bits)) >> (width - bits)) : (T)0;
}

#define ATTN_ACCURACY(space)                                                                     \
  namespace space {                                                                              \
  using metal::exp;   using metal::exp2;  using metal::exp10;  using metal::log;                 \
  using metal::log2;  using metal::log10; using metal::sqrt;   using metal::rsqrt;               \
  using metal::sin;   using metal::cos;   using metal::tan;    using metal::asin;                \
  using metal::acos;  using metal::atan;  using metal::atan2;  using metal::sinh;                \
  using metal::cosh;  using metal::tanh;  using metal::asinh;  using metal::acosh;               \
  using metal::atanh; using metal::sinpi; using metal::cospi;  using metal::tanpi;               \
  using metal::pow;   using metal::powr;  using metal::divide; using metal::fmod;                \
  using metal::min;   using metal::max;   using metal::fmin;   using metal::fmax;                \
  using metal::abs;   using metal::fabs;  using metal::clamp;  using metal::saturate;            \
  using metal::floor; using metal::ceil;  using metal::round;  using metal::rint;                \
  using metal::trunc; using metal::fract; using metal::length; using metal::normalize;           \
  using metal::distance; using metal::fma; using metal::ldexp; using metal::frexp;               \
  using metal::sign;  using metal::min3; using metal::max3; using metal::sincos;                                     \
  }
ATTN_ACCURACY(fast)
ATTN_ACCURACY(precise)
#undef ATTN_ACCURACY

}  // namespace metal
