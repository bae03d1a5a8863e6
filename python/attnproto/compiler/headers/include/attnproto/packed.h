// Packed vectors of three. Those of two and four are vectors that lie at any element.
namespace metal {

// Three elements without the fourth's padding; a vector wherever it is read.
template <class T>
struct attn_packed3 {
  T x, y, z;
  attn_packed3() = default;
  attn_packed3(const attn_packed3&) = default;
  attn_packed3& operator=(const attn_packed3&) = default;
  ATTN_INLINE constexpr attn_packed3(const __constant attn_packed3& v) : x(v.x), y(v.y), z(v.z) {}
  ATTN_INLINE constexpr attn_packed3(vec<T, 3> v) : x(v.x), y(v.y), z(v.z) {}
  ATTN_INLINE constexpr attn_packed3(T a, T b, T c) : x(a), y(b), z(c) {}
  ATTN_INLINE constexpr attn_packed3(vec<T, 2> a, T b) : x(a.x), y(a.y), z(b) {}
  ATTN_INLINE constexpr attn_packed3(T a, vec<T, 2> b) : x(a), y(b.x), z(b.y) {}
  ATTN_INLINE constexpr explicit attn_packed3(T v) : x(v), y(v), z(v) {}
  template <class U>
  ATTN_INLINE constexpr explicit attn_packed3(vec<U, 3> v)
      : attn_packed3(attn_vector<vec<T, 3>>(v)) {}
  template <class U>
  ATTN_INLINE constexpr explicit attn_packed3(attn_packed3<U> v) : attn_packed3((vec<U, 3>)v) {}
  ATTN_INLINE operator vec<T, 3>() const&& { return (vec<T, 3>)(x, y, z); }
  ATTN_INLINE T operator[](int i) const&& { return ((vec<T, 3>)(x, y, z))[i]; }
#define ATTN_READ(space)                                                                       \
  ATTN_INLINE operator vec<T, 3>() const space& { return (vec<T, 3>)(x, y, z); }                \
  ATTN_INLINE const space T& operator[](int i) const space& { return (&x)[i]; }
#define ATTN_OPERATION(space, op)                                                              \
  template <class U>                                                                           \
  ATTN_INLINE void operator op##=(U by) space {                                                \
    *this = (vec<T, 3>)(x, y, z) op (vec<T, 3>)by;                                             \
  }
#define ATTN_WRITE(space)                                                                      \
  ATTN_INLINE space T& operator[](int i) space& { return (&x)[i]; }                            \
  template <class U> /* deduced: no other argument becomes a vector for it */                  \
  ATTN_INLINE void operator=(vec<U, 3> v) space {                                              \
    static_assert(__is_same(U, T), "no vector becomes one of another type by itself");         \
    x = v.x, y = v.y, z = v.z;                                                                 \
  }                                                                                            \
  ATTN_INLINE void operator=(const __constant attn_packed3& v) space { *this = (vec<T, 3>)v; } \
  ATTN_OPERATION(space, +) ATTN_OPERATION(space, -)                                            \
  ATTN_OPERATION(space, *) ATTN_OPERATION(space, /)
  ATTN_READ(__private) ATTN_READ(__global) ATTN_READ(__local) ATTN_READ(__constant)
  ATTN_WRITE(__private) ATTN_WRITE(__global) ATTN_WRITE(__local)
#undef ATTN_READ
#undef ATTN_WRITE
#undef ATTN_OPERATION
};

template <class T>
ATTN_INLINE constexpr vec<T, 3> attn_unpack(attn_packed3<T> v) {
  return v;
}
// `v.zx` where it is written to: the elements of a packed vector by their numbers.
template <class P, class T, int... I>
struct attn_swizzled {
  typedef vec<T, sizeof...(I)> V;
  P to;
  ATTN_INLINE void operator=(V v) const&& {
    int k = 0;
    ((to[I] = v[k++]), ...);
  }
  ATTN_INLINE V value() const&& {
    V v;
    int k = 0;
    ((v[k++] = to[I]), ...);
    return v;
  }
#define ATTN_OPERATION(op)                           \
  template <class U>                                 \
  ATTN_INLINE void operator op##=(U by) const&& {    \
    attn_swizzled{to} = attn_swizzled{to}.value() op by; \
  }
  ATTN_OPERATION(+) ATTN_OPERATION(-) ATTN_OPERATION(*) ATTN_OPERATION(/)
#undef ATTN_OPERATION
};
#define ATTN_SWIZZLE(space)                                                                     \
  template <int... I, class T>                                                                  \
  ATTN_INLINE attn_swizzled<space T*, T, I...> attn_swizzle(space attn_packed3<T>& v) {         \
    return {&v.x};                                                                              \
  }
ATTN_SWIZZLE(__private) ATTN_SWIZZLE(__global) ATTN_SWIZZLE(__local)
#undef ATTN_SWIZZLE

// With a packed vector on either side, both become vectors.
template <bool Packed, class A, class B>
struct attn_vector_of {};
template <class A, class B>
struct attn_vector_of<true, A, B> : attn_common<A, B> {};
template <class A, class B>
using attn_either_packed =
    typename attn_vector_of<!__is_same(A, typename attn_unpacked<A>::type) ||
                                !__is_same(B, typename attn_unpacked<B>::type),
                            A, B>::type;
#define ATTN_OPERATOR(op)                                          \
  template <class A, class B, class V = attn_either_packed<A, B>>  \
  ATTN_INLINE auto operator op(A a, B b) {                         \
    return (V)a op (V)b;                                           \
  }
ATTN_OPERATOR(+) ATTN_OPERATOR(-) ATTN_OPERATOR(*) ATTN_OPERATOR(/)
ATTN_OPERATOR(==) ATTN_OPERATOR(!=) ATTN_OPERATOR(<) ATTN_OPERATOR(>)
ATTN_OPERATOR(<=) ATTN_OPERATOR(>=)
#undef ATTN_OPERATOR
template <class T>
ATTN_INLINE vec<T, 3> operator-(attn_packed3<T> v) {
  return -(vec<T, 3>)v;
}
#define ATTN_FUNCTION(name)                                          \
  template <class T>                                                 \
  ATTN_INLINE auto name(attn_packed3<T> a) {                         \
    return name((vec<T, 3>)a);                                       \
  }
ATTN_FUNCTION(length) ATTN_FUNCTION(length_squared) ATTN_FUNCTION(normalize)
#undef ATTN_FUNCTION
#define ATTN_FUNCTION(name)                                          \
  template <class A, class B, class V = attn_either_packed<A, B>>    \
  ATTN_INLINE auto name(A a, B b) {                                  \
    return name((V)a, (V)b);                                         \
  }
ATTN_FUNCTION(dot) ATTN_FUNCTION(cross) ATTN_FUNCTION(distance)
ATTN_FUNCTION(distance_squared) ATTN_FUNCTION(reflect)
#undef ATTN_FUNCTION

}  // namespace metal

// What the host binds to an argument of packed vectors.
template <class T>
struct attn_number<metal::attn_packed3<T>> : attn_number<T> {};

#define ATTN_PACKED(T)                              \
  typedef metal::attn_packed3<T> packed_##T##3;     \
  namespace metal {                                 \
  using ::packed_##T##2;                            \
  using ::packed_##T##3;                            \
  using ::packed_##T##4;                            \
  }
ATTN_PACKED(char) ATTN_PACKED(uchar) ATTN_PACKED(short) ATTN_PACKED(ushort) ATTN_PACKED(int)
ATTN_PACKED(uint) ATTN_PACKED(long) ATTN_PACKED(ulong) ATTN_PACKED(half) ATTN_PACKED(float)
ATTN_PACKED(bfloat)
#undef ATTN_PACKED

// As a conversion of another vector (shapes.h).
template <class V, class T>
ATTN_INLINE constexpr V attn_vector(metal::attn_packed3<T> from) {
  return attn_vector<V>((metal::vec<T, 3>)from);
}
