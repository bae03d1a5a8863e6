// What a function of MSL does with its arguments' types, before it computes.
namespace metal {

template <class T>
struct attn_lanes {
  static constexpr __constant int count = 1;
  typedef T element;
};
template <class T, int N>
struct attn_lanes<vec<T, N>> {
  static constexpr __constant int count = N;
  typedef T element;
};
// How many elements a vector has, by the name that Apple's library has for it.
template <class T>
struct vec_elements {
  static constexpr __constant int value = attn_lanes<T>::count;
};
template <class T>
constexpr __constant bool attn_is_vector = attn_lanes<T>::count > 1;

// A packed vector computes as the vector that it converts to.
template <class T>
struct attn_unpacked {
  typedef T type;
};
template <class T>
struct attn_unpacked<attn_packed3<T>> {
  typedef vec<T, 3> type;
};

// The type that arguments are converted to: scalars become the vector beside them.
template <class A, class B, bool VectorA, bool VectorB>
struct attn_common_of {
  typedef A type;
};
template <class A, class B>
struct attn_common_of<A, B, false, false> {
  typedef decltype(A() + B()) type;
};
template <class A>
struct attn_common_of<A, A, false, false> {
  typedef A type;
};
template <class A, class B>
struct attn_common_of<A, B, false, true> {
  typedef B type;
};
template <class A, class B>
struct attn_common_plain : attn_common_of<A, B, attn_is_vector<A>, attn_is_vector<B>> {};
template <class A, class B>
struct attn_common
    : attn_common_plain<typename attn_unpacked<A>::type, typename attn_unpacked<B>::type> {};
template <class A, class B, class C>
using attn_common3 = typename attn_common<typename attn_common<A, B>::type, C>::type;

}  // namespace metal
#include "overloads.h"
namespace metal {

// Defines name(x), element by element of a vector. Half and bfloat are computed in float
// and rounded once, integers become float.
#define ATTN_UNARY(name, expression)                                    \
  ATTN_INLINE float name(float x) { return expression; }                \
  template <class A>                                                    \
  ATTN_ONE_OF(reals, A)                                                 \
  ATTN_INLINE auto name(A x) {                                          \
    typedef typename attn_unpacked<A>::type T;                          \
    if constexpr (attn_is_vector<T>) {                                  \
      T v = x;                                                          \
      for (int i = 0; i < attn_lanes<T>::count; i++) v[i] = name(v[i]); \
      return v;                                                         \
    } else if constexpr (__is_integral(T)) {                            \
      return name((float)x);                                            \
    } else {                                                            \
      return (T)name((float)x);                                         \
    }                                                                   \
  }
// Defines name(x, y) for some types; the expression is the one of two numbers of type T.
#define ATTN_BINARY_OF(name, types, expression)                               \
  template <class A, class B>                                                 \
  ATTN_ONE_OF(types, A, B)                                                    \
  ATTN_INLINE constexpr auto name(A a, B b) {                                 \
    typedef typename attn_common<A, B>::type T;                               \
    T x = (T)a, y = (T)b;                                                     \
    if constexpr (attn_is_vector<T>) {                                        \
      for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = name(x[i], y[i]); \
      return x;                                                               \
    } else {                                                                  \
      return (T)(expression);                                                 \
    }                                                                         \
  }
// The same, computed in float.
#define ATTN_BINARY(name, expression)                             \
  ATTN_INLINE float name(float x, float y) { return expression; } \
  ATTN_BINARY_OF(name, reals, name((float)x, (float)y))
// Defines name(x, y, z) by name(T, T, T) of whole vectors or numbers of some types.
#define ATTN_TERNARY_OF(name, types, expression)      \
  template <class A, class B, class C>                \
  ATTN_ONE_OF(types, A, B, C)                         \
  ATTN_INLINE constexpr auto name(A a, B b, C c) {    \
    typedef attn_common3<A, B, C> T;                  \
    T x = (T)a, y = (T)b, z = (T)c;                   \
    return (T)(expression);                           \
  }
}  // namespace metal

// What comparisons of vectors give: all bits of an element where it is true, for clang; 1 in MSL.
template <class T>
ATTN_INLINE constexpr T attn_truth(T from) {
  return from;
}
template <class T, int N>
ATTN_INLINE constexpr metal::vec<T, N> attn_truth(metal::vec<T, N> from) {
  return from & (metal::vec<T, N>)((T)1);
}

// One-argument conversion: a number fills a vector, a vector converts element by element. Half and
// bfloat go by way of float, which holds both: clang refuses numbers, and makes no valid code for
// vectors.
template <class A, class B>
constexpr __constant bool attn_are_narrow =
    __is_same(A, half) ? __is_same(B, bfloat) : __is_same(A, bfloat) && __is_same(B, half);
template <class V, class T, int N>
ATTN_INLINE constexpr V attn_vector(metal::vec<T, N> from) {
  if constexpr (attn_are_narrow<typename metal::attn_lanes<V>::element, T>)
    return __builtin_convertvector(__builtin_convertvector(from, metal::vec<float, N>), V);
  else
    return __builtin_convertvector(from, V);
}
template <class V, class T>
ATTN_INLINE constexpr V attn_vector(T from) {
  if constexpr (attn_are_narrow<typename metal::attn_lanes<V>::element, T>)
    return (V)((typename metal::attn_lanes<V>::element)(float)from);
  else if constexpr (__is_same(T, bool))  // which fills a vector with -1
    return (V)((typename metal::attn_lanes<V>::element)from);
  else
    return (V)(from);
}
