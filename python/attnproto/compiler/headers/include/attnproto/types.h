// Scalars and vectors of MSL, in C++ for OpenCL.
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#pragma OPENCL EXTENSION __cl_clang_function_pointers : enable  // for the types of kernels too
#pragma OPENCL EXTENSION __cl_clang_bitfields : enable

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

using ::uchar;     using ::ushort;   using ::uint;     using ::ulong;     using ::size_t;
using ::ptrdiff_t; using ::int8_t;   using ::int16_t;  using ::int32_t;   using ::int64_t;
using ::uint8_t;   using ::uint16_t; using ::uint32_t; using ::uint64_t;
typedef decltype(nullptr) nullptr_t;
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

template <class T>
struct attn_packed3;

}  // namespace metal
#include "traits.h"
#include "limits.h"
namespace metal {

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

}  // namespace metal

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

// To a vector of bool: 1 where the value is not 0 (clang's comparisons give -1).
template <class V, class T, int N>
ATTN_INLINE constexpr V attn_bools(metal::vec<T, N> from) {
  return __builtin_convertvector(from != (T)0, V) & (uchar)1;
}
template <class V, class T>
ATTN_INLINE constexpr V attn_bools(T from) {
  return (V)(uchar)(from ? 1 : 0);
}

// The same of what a declaration starts with: Metal converts a comparison by itself, and a number.
template <class V, class T, int N>
ATTN_INLINE constexpr V attn_start_bools(metal::vec<T, N> from) {
  static_assert(__is_integral(T) && (__is_signed(T) || __is_same(T, uchar)),
                "a vector is no vector of bools by itself; convert it, as in bool4(x)");
  return attn_bools<V>(from);
}
template <class V, class T>
ATTN_INLINE constexpr V attn_start_bools(T from) {
  return attn_bools<V>(from);
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
template <class T, class From, class = metal::enable_if_t<!__is_base_of(T, From)>>
ATTN_INLINE T attn_copy(From from) {
  return from;
}

// The value of a static member that no specialisation of its class gives one.
template <class T, class Class>
constexpr T attn_undefined() {
  static_assert(__is_same(Class, void), "found a static member without a value; give it one");
  return T();
}

// A temporary that is bound to a reference to thread memory: clang's own are in no address space.
template <class T>
struct attn_held {
  T value;
  ATTN_INLINE attn_held(T from) : value(from) {}
  ATTN_INLINE const __private T& get() const&& {
    return ((const __private attn_held*)this)->value;
  }
};

// By value: clang 19's __builtin_bit_cast of a vector's component reads component 0.
template <class To, class From>
ATTN_INLINE constexpr To as_type(From from) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs types of the same size");
  return __builtin_bit_cast(To, from);
}
