// Scalars, vectors, type traits and limits of MSL, in C++ for OpenCL.
#pragma OPENCL EXTENSION cl_khr_fp16 : enable

#define ATTN_INLINE inline __attribute__((always_inline))

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef uchar uint8_t;
typedef ushort uint16_t;
typedef uint uint32_t;
typedef ulong uint64_t;
typedef ulong size_t;
typedef long ptrdiff_t;
typedef long intptr_t;
typedef ulong uintptr_t;
typedef __bf16 bfloat;

#define ATTN_VECTORS(T)                                       \
  typedef T T##2 __attribute__((ext_vector_type(2)));         \
  typedef T T##3 __attribute__((ext_vector_type(3)));         \
  typedef T T##4 __attribute__((ext_vector_type(4)));         \
  typedef T packed_##T##2 __attribute__((ext_vector_type(2), aligned(sizeof(T)))); \
  typedef T packed_##T##4 __attribute__((ext_vector_type(4), aligned(sizeof(T))));
ATTN_VECTORS(char)
ATTN_VECTORS(uchar)
ATTN_VECTORS(short)
ATTN_VECTORS(ushort)
ATTN_VECTORS(int)
ATTN_VECTORS(uint)
ATTN_VECTORS(long)
ATTN_VECTORS(ulong)
ATTN_VECTORS(half)
ATTN_VECTORS(float)
ATTN_VECTORS(bfloat)
#undef ATTN_VECTORS
// A vector of bool has one byte an element, as in MSL.
typedef uchar bool2 __attribute__((ext_vector_type(2)));
typedef uchar bool3 __attribute__((ext_vector_type(3)));
typedef uchar bool4 __attribute__((ext_vector_type(4)));

namespace metal {

typedef ::uint uint;
typedef ::size_t size_t;
#define ATTN_VECTORS(T) \
  using ::T##2;         \
  using ::T##3;         \
  using ::T##4;
ATTN_VECTORS(char)
ATTN_VECTORS(uchar)
ATTN_VECTORS(short)
ATTN_VECTORS(ushort)
ATTN_VECTORS(int)
ATTN_VECTORS(uint)
ATTN_VECTORS(long)
ATTN_VECTORS(ulong)
ATTN_VECTORS(half)
ATTN_VECTORS(float)
ATTN_VECTORS(bfloat)
ATTN_VECTORS(bool)
#undef ATTN_VECTORS

template <class T, int N>
using vec = T __attribute__((ext_vector_type(N)));

template <class T, T V>
struct integral_constant {
  static constexpr __constant T value = V;
  typedef T value_type;
  typedef integral_constant type;
  constexpr operator T() const __private { return V; }
  constexpr operator T() const { return V; }
  constexpr T operator()() const { return V; }
};
template <bool B>
using bool_constant = integral_constant<bool, B>;
using true_type = bool_constant<true>;
using false_type = bool_constant<false>;

template <bool B, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool B, class T = void>
using enable_if_t = typename enable_if<B, T>::type;
template <bool B, class T, class F>
struct conditional {
  typedef T type;
};
template <class T, class F>
struct conditional<false, T, F> {
  typedef F type;
};
template <bool B, class T, class F>
using conditional_t = typename conditional<B, T, F>::type;

template <class T>
struct remove_const {
  typedef T type;
};
template <class T>
struct remove_const<const T> {
  typedef T type;
};
template <class T>
struct remove_volatile {
  typedef T type;
};
template <class T>
struct remove_volatile<volatile T> {
  typedef T type;
};
template <class T>
struct remove_addrspace {
  typedef T type;
};
template <class T>
struct remove_addrspace<__global T> {
  typedef T type;
};
template <class T>
struct remove_addrspace<__local T> {
  typedef T type;
};
template <class T>
struct remove_addrspace<__constant T> {
  typedef T type;
};
template <class T>
struct remove_addrspace<__private T> {
  typedef T type;
};
template <class T>
struct remove_reference {
  typedef T type;
};
template <class T>
struct remove_reference<T&> {
  typedef T type;
};
template <class T>
struct remove_pointer {
  typedef T type;
};
template <class T>
struct remove_pointer<T*> {
  typedef T type;
};
template <class T>
using remove_const_t = typename remove_const<T>::type;
template <class T>
using remove_addrspace_t = remove_const_t<typename remove_addrspace<remove_const_t<T>>::type>;
template <class T>
struct remove_cv {
  typedef remove_addrspace_t<typename remove_volatile<remove_const_t<T>>::type> type;
};
template <class T>
using remove_cv_t = typename remove_cv<T>::type;
template <class T>
using remove_reference_t = typename remove_reference<T>::type;
template <class T>
using remove_pointer_t = typename remove_pointer<T>::type;
template <class T>
using decay_t = remove_cv_t<remove_reference_t<T>>;

template <class A, class B>
struct is_same : bool_constant<__is_same(A, B)> {};
template <class T>
constexpr __constant bool attn_is_real =
    __is_floating_point(T) || __is_same(remove_cv_t<T>, half) || __is_same(remove_cv_t<T>, bfloat);
template <class T>
struct is_integral : bool_constant<__is_integral(T)> {};
template <class T>
struct is_floating_point : bool_constant<attn_is_real<T>> {};
template <class T>
struct is_arithmetic : bool_constant<__is_integral(T) || attn_is_real<T>> {};
template <class T>
struct is_signed : bool_constant<__is_signed(T) || attn_is_real<T>> {};
template <class T>
struct is_unsigned : bool_constant<__is_unsigned(T)> {};
template <class T>
struct is_pointer : bool_constant<__is_pointer(T)> {};
template <class T>
struct is_reference : bool_constant<__is_reference(T)> {};
template <class T>
struct is_const : bool_constant<__is_const(T)> {};
template <class T>
struct is_enum : bool_constant<__is_enum(T)> {};
template <class A, class B>
struct is_convertible : bool_constant<__is_convertible_to(A, B)> {};
#define ATTN_TRAIT(name) \
  template <class T>     \
  constexpr __constant bool name##_v = name<T>::value;
ATTN_TRAIT(is_integral)
ATTN_TRAIT(is_floating_point)
ATTN_TRAIT(is_arithmetic)
ATTN_TRAIT(is_signed)
ATTN_TRAIT(is_unsigned)
ATTN_TRAIT(is_pointer)
ATTN_TRAIT(is_reference)
ATTN_TRAIT(is_const)
ATTN_TRAIT(is_enum)
#undef ATTN_TRAIT
template <class A, class B>
constexpr __constant bool is_same_v = __is_same(A, B);
template <class A, class B>
constexpr __constant bool is_convertible_v = __is_convertible_to(A, B);

template <int Bytes, bool Signed>
struct attn_integer;
template <class T>
struct attn_type {
  typedef T type;
};
template <>
struct attn_integer<1, true> : attn_type<char> {};
template <>
struct attn_integer<2, true> : attn_type<short> {};
template <>
struct attn_integer<4, true> : attn_type<int> {};
template <>
struct attn_integer<8, true> : attn_type<long> {};
template <>
struct attn_integer<1, false> : attn_type<uchar> {};
template <>
struct attn_integer<2, false> : attn_type<ushort> {};
template <>
struct attn_integer<4, false> : attn_type<uint> {};
template <>
struct attn_integer<8, false> : attn_type<ulong> {};
template <class T>
struct make_unsigned : attn_integer<sizeof(T), false> {};
template <class T>
struct make_signed : attn_integer<sizeof(T), true> {};
template <class T>
using make_unsigned_t = typename make_unsigned<T>::type;
template <class T>
using make_signed_t = typename make_signed<T>::type;

template <class T>
struct numeric_limits;
template <class T, T Lowest, T Max>
struct attn_integer_limits {
  static constexpr __constant bool is_specialized = true;
  static constexpr __constant bool is_integer = true;
  static constexpr __constant bool is_signed = Lowest < T(0);
  static constexpr __constant int digits = sizeof(T) * 8 - is_signed;
  static constexpr T min() { return Lowest; }
  static constexpr T lowest() { return Lowest; }
  static constexpr T max() { return Max; }
};
#define ATTN_LIMITS(T, lowest, max) \
  template <>                       \
  struct numeric_limits<T> : attn_integer_limits<T, lowest, max> {};
ATTN_LIMITS(bool, false, true)
ATTN_LIMITS(char, -128, 127)
ATTN_LIMITS(signed char, -128, 127)
ATTN_LIMITS(uchar, 0, 255)
ATTN_LIMITS(short, -32768, 32767)
ATTN_LIMITS(ushort, 0, 65535)
ATTN_LIMITS(int, -2147483647 - 1, 2147483647)
ATTN_LIMITS(uint, 0u, 4294967295u)
ATTN_LIMITS(long, -9223372036854775807l - 1, 9223372036854775807l)
ATTN_LIMITS(ulong, 0ul, 18446744073709551615ul)
#undef ATTN_LIMITS
#define ATTN_LIMITS(T, smallest, largest, step, bits)                                \
  template <>                                                                        \
  struct numeric_limits<T> {                                                         \
    static constexpr __constant bool is_specialized = true;                          \
    static constexpr __constant bool is_integer = false;                             \
    static constexpr __constant bool is_signed = true;                               \
    static constexpr __constant int digits = bits;                                   \
    static constexpr T min() { return (T)smallest; }                                 \
    static constexpr T lowest() { return (T)-largest; }                              \
    static constexpr T max() { return (T)largest; }                                  \
    static constexpr T epsilon() { return (T)step; }                                 \
    static constexpr T infinity() { return (T)__builtin_inff(); }                    \
    static constexpr T quiet_NaN() { return (T)__builtin_nanf(""); }                 \
  };
ATTN_LIMITS(float, 1.175494351e-38f, 3.402823466e+38f, 1.192092896e-07f, 24)
ATTN_LIMITS(half, 6.103515625e-05f, 65504.0f, 0.0009765625f, 11)
ATTN_LIMITS(bfloat, 1.175494351e-38f, 3.38953139e38f, 0.0078125f, 8)
#undef ATTN_LIMITS

template <class T, size_t N>
struct array {
  T values[N];
  constexpr size_t size() const { return N; }
  ATTN_INLINE __private T& operator[](size_t i) __private { return values[i]; }
  ATTN_INLINE const __private T& operator[](size_t i) const __private { return values[i]; }
  ATTN_INLINE __global T& operator[](size_t i) __global { return values[i]; }
  ATTN_INLINE const __global T& operator[](size_t i) const __global { return values[i]; }
  ATTN_INLINE __local T& operator[](size_t i) __local { return values[i]; }
  ATTN_INLINE const __local T& operator[](size_t i) const __local { return values[i]; }
  ATTN_INLINE const __constant T& operator[](size_t i) const __constant { return values[i]; }
};

template <class T>
using uniform = T;
template <class T>
ATTN_INLINE constexpr T make_uniform(T value) {
  return value;
}

// Three elements without the fourth's padding; a vector wherever it is read.
template <class T>
struct attn_packed3 {
  T x, y, z;
  attn_packed3() = default;
  ATTN_INLINE constexpr attn_packed3(vec<T, 3> v) : x(v.x), y(v.y), z(v.z) {}
  ATTN_INLINE constexpr attn_packed3(T a, T b, T c) : x(a), y(b), z(c) {}
#define ATTN_PACKED(space)                                                                       \
  ATTN_INLINE operator vec<T, 3>() const space { return (vec<T, 3>)(x, y, z); }                  \
  ATTN_INLINE const space T& operator[](int i) const space { return (&x)[i]; }
#define ATTN_PACKED_WRITE(space)                                                                 \
  ATTN_INLINE space T& operator[](int i) space { return (&x)[i]; }
  ATTN_PACKED(__private) ATTN_PACKED(__global) ATTN_PACKED(__local) ATTN_PACKED(__constant)
  ATTN_PACKED_WRITE(__private) ATTN_PACKED_WRITE(__global) ATTN_PACKED_WRITE(__local)
#undef ATTN_PACKED
#undef ATTN_PACKED_WRITE
};

}  // namespace metal

#define ATTN_PACKED3(T) typedef metal::attn_packed3<T> packed_##T##3;
ATTN_PACKED3(char) ATTN_PACKED3(uchar) ATTN_PACKED3(short) ATTN_PACKED3(ushort)
ATTN_PACKED3(int) ATTN_PACKED3(uint) ATTN_PACKED3(half) ATTN_PACKED3(float) ATTN_PACKED3(bfloat)
#undef ATTN_PACKED3

// clang looks for no conversion to an integer when a class object (a static integer)
// is added to a pointer with an address space.
template <class T, class I, class = metal::enable_if_t<__is_class(I)>>
ATTN_INLINE constexpr T* operator+(T* p, I i) {
  return p + (long)i;
}
template <class T, class I, class = metal::enable_if_t<__is_class(I)>>
ATTN_INLINE constexpr T* operator-(T* p, I i) {
  return p - (long)i;
}
template <class T, class I, class = metal::enable_if_t<__is_class(I)>>
ATTN_INLINE constexpr T*& operator+=(T*& p, I i) {
  p = p + (long)i;
  return p;
}
template <class T, class I, class = metal::enable_if_t<__is_class(I)>>
ATTN_INLINE constexpr T*& operator-=(T*& p, I i) {
  p = p - (long)i;
  return p;
}

// One-argument vector conversion: a scalar fills, a vector converts.
template <class V, class T, int N>
ATTN_INLINE constexpr V attn_vector(metal::vec<T, N> from) {
  return __builtin_convertvector(from, V);
}
template <class V, class T>
ATTN_INLINE constexpr V attn_vector(T from) {
  return (V)(from);
}

// To a vector of bool: 1 where the value is not 0 (clang's comparisons give -1).
template <class V, class T, int N>
ATTN_INLINE constexpr V attn_bools(metal::vec<T, N> from) {
  return __builtin_convertvector(from != (T)0, V) & (uchar)1;
}
template <class V, class T>
ATTN_INLINE constexpr V attn_bools(T from) {
  return (V)(uchar)(from ? 1 : 0);
}

// An object, also one of constant memory, which clang's own constructors cannot copy.
template <class T>
ATTN_INLINE T attn_copy(const __constant T& from) {
  return *(const __global T*)(ulong)&from;
}
template <class T>
ATTN_INLINE T attn_copy(const T& from) {
  return from;
}

// By value: clang 19's __builtin_bit_cast of a vector's component reads component 0.
template <class To, class From>
ATTN_INLINE constexpr To as_type(From from) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs types of the same size");
  return __builtin_bit_cast(To, from);
}
