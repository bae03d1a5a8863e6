// metal_common and metal_relational.
namespace metal {

// A NaN loses against a number.
template <class T>
ATTN_INLINE constexpr auto attn_min(T a, T b) {
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
ATTN_INLINE constexpr auto attn_max(T a, T b) {
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
ATTN_ONE_OF(numbers, A, B)
ATTN_INLINE constexpr auto min(A a, B b) {
  typedef typename attn_common<A, B>::type T;
  return attn_min<T>((T)a, (T)b);
}
template <class A, class B>
ATTN_ONE_OF(numbers, A, B)
ATTN_INLINE constexpr auto max(A a, B b) {
  typedef typename attn_common<A, B>::type T;
  return attn_max<T>((T)a, (T)b);
}
ATTN_TERNARY_OF(min3, numbers, attn_min<T>(x, attn_min<T>(y, z)))
ATTN_TERNARY_OF(max3, numbers, attn_max<T>(x, attn_max<T>(y, z)))
ATTN_TERNARY_OF(median3, numbers, attn_max<T>(attn_min<T>(x, y), attn_min<T>(attn_max<T>(x, y), z)))
ATTN_TERNARY_OF(fmin3, reals, attn_min<T>(x, attn_min<T>(y, z)))
ATTN_TERNARY_OF(fmax3, reals, attn_max<T>(x, attn_max<T>(y, z)))
ATTN_TERNARY_OF(fmedian3, reals, attn_max<T>(attn_min<T>(x, y), attn_min<T>(attn_max<T>(x, y), z)))

// Numbers beside a vector become vectors; beside a number, what the first one is.
template <class A, class B, class C>
ATTN_ONE_OF(numbers, A, B, C)
ATTN_INLINE constexpr auto clamp(A x, B low, C high) {
  typedef attn_common3<A, B, C> Common;
  typedef conditional_t<attn_is_vector<Common>, Common, A> T;
  return attn_min<T>(attn_max<T>((T)x, (T)low), (T)high);
}
template <class A>
ATTN_ONE_OF(reals, A)
ATTN_INLINE auto saturate(A x) {
  typedef typename attn_unpacked<A>::type T;
  return clamp((T)x, (T)0.0f, (T)1.0f);
}
template <class A, class B>
ATTN_ONE_OF(reals, A, B)
ATTN_INLINE auto step(A edge, B x) {
  typedef typename attn_common<A, B>::type T;
  return (T)x < (T)edge ? (T)0.0f : (T)1.0f;
}
ATTN_TERNARY_OF(mix, reals, x + (y - x) * z)
template <class A, class B, class C>
ATTN_ONE_OF(reals, A, B, C)
ATTN_INLINE auto smoothstep(A a, B b, C x) {
  typedef attn_common3<A, B, C> T;
  T t = saturate(((T)x - (T)a) / ((T)b - (T)a));
  return t * t * ((T)3.0f - (T)2.0f * t);
}
// The sign of 0 is that 0, and of a NaN 0.
ATTN_UNARY(sign, x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x == 0.0f ? x : 0.0f)

template <class A, class B, class C>
ATTN_ONE_OF(selected, A, B)
ATTN_INLINE auto select(A a, B b, C c) {
  typedef typename attn_common<A, B>::type T;
  T x = (T)a, y = (T)b;
  if constexpr (attn_is_vector<T> && attn_is_vector<C>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = c[i] ? y[i] : x[i];
    return x;
  } else {
    return c ? y : x;
  }
}
template <class A>
ATTN_ONE_OF(numbers, A)
ATTN_INLINE constexpr auto abs(A a) {
  typedef typename attn_unpacked<A>::type T;
  T x = a;
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = abs(x[i]);
    return x;
  } else if constexpr (attn_is_real<T>) {
    return (T)__builtin_fabsf((float)x);
  } else if constexpr (__is_signed(T)) {
    return (T)(x < (T)0 ? (make_unsigned_t<T>)0 - (make_unsigned_t<T>)x : (make_unsigned_t<T>)x);
  } else {
    return x;
  }
}

// Of a vector, a vector of bool; else a bool.
#define ATTN_TEST(name, expression)                                                     \
  template <class A>                                                                    \
  ATTN_ONE_OF(reals, A)                                                                 \
  ATTN_INLINE auto name(A x) {                                                          \
    typedef typename attn_unpacked<A>::type T;                                          \
    if constexpr (attn_is_vector<T>) {                                                  \
      vec<uchar, attn_lanes<T>::count> r;                                               \
      for (int i = 0; i < attn_lanes<T>::count; i++) r[i] = name(((T)x)[i]);            \
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
#define ATTN_TEST(name, expression)                                                     \
  template <class A, class B>                                                           \
  ATTN_ONE_OF(reals, A, B)                                                              \
  ATTN_INLINE auto name(A a, B b) {                                                     \
    typedef typename attn_common<A, B>::type T;                                         \
    T x = (T)a, y = (T)b;                                                               \
    if constexpr (attn_is_vector<T>) {                                                  \
      vec<uchar, attn_lanes<T>::count> r;                                               \
      for (int i = 0; i < attn_lanes<T>::count; i++) r[i] = name(x[i], y[i]);           \
      return r;                                                                         \
    } else {                                                                            \
      return (bool)(expression);                                                        \
    }                                                                                   \
  }
ATTN_TEST(isordered, x == x && y == y)
ATTN_TEST(isunordered, x != x || y != y)
#undef ATTN_TEST
template <class T>
ATTN_ONLY(truths, T)
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
ATTN_ONLY(truths, T)
ATTN_INLINE bool all(T v) {
  if constexpr (attn_is_vector<T>) {
    bool r = true;
    for (int i = 0; i < attn_lanes<T>::count; i++) r = r && v[i];
    return r;
  } else {
    return v;
  }
}

}  // namespace metal
