// How a kernel's entry point gets its arguments from the engine.
#include "attnproto_lane.h"

// Each converts to whatever pointer or reference type the parameter has.
struct attn_device_pointer {
  __global void* address;
  template <class U>
  ATTN_INLINE operator U*() const __private { return (U*)address; }
};
struct attn_device_reference {
  __global void* address;
  template <class U>
  ATTN_INLINE operator U&() const __private { return *(U*)address; }
};
struct attn_constant_pointer {
  __constant void* address;
  template <class U>
  ATTN_INLINE operator U*() const __private { return (U*)address; }
};
struct attn_constant_reference {
  __constant void* address;
  template <class U>
  ATTN_INLINE operator U&() const __private { return *(U*)address; }
};
struct attn_threadgroup_pointer {
  __local void* address;
  template <class U>
  ATTN_INLINE operator U*() const __private { return (U*)address; }
};
struct attn_threadgroup_reference {
  __local void* address;
  template <class U>
  ATTN_INLINE operator U&() const __private { return *(U*)address; }
};

// Position and size arguments: uint or ushort, of one to three components.
template <class T>
ATTN_INLINE T attn_position(uint x, uint y, uint z) {
  if constexpr (metal::attn_lanes<T>::count == 1) {
    return (T)x;
  } else {
    typedef typename metal::attn_lanes<T>::element E;
    T result;
    result.x = (E)x;
    result.y = (E)y;
    if constexpr (metal::attn_lanes<T>::count == 3) result.z = (E)z;
    return result;
  }
}

// Bytes behind each parameter of a kernel: what a binding must at least hold.
template <class T>
struct attn_pointee {
  static constexpr __constant uint bytes = 0;
};
template <class T>
struct attn_pointee<T&> {
  static constexpr __constant uint bytes = sizeof(T);
};
template <class T>
struct attn_pointee<T*> {
  static constexpr __constant uint bytes = sizeof(T);
};
template <>
struct attn_pointee<__global void*> {
  static constexpr __constant uint bytes = 1;
};
template <>
struct attn_pointee<const __global void*> {
  static constexpr __constant uint bytes = 1;
};
template <>
struct attn_pointee<const __constant void*> {
  static constexpr __constant uint bytes = 1;
};
// What those bytes are, where they are numbers of one type: its kind times 16, and its bytes.
template <class T>
struct attn_number {
  static constexpr __constant uint code = 0;
};
#define ATTN_NUMBER(T, kind)                                          \
  template <>                                                         \
  struct attn_number<T> {                                             \
    static constexpr __constant uint code = kind * 16 + sizeof(T);    \
  };
ATTN_NUMBER(bool, 1)
ATTN_NUMBER(char, 2)
ATTN_NUMBER(uchar, 2)
ATTN_NUMBER(int8_t, 2)
ATTN_NUMBER(short, 2)
ATTN_NUMBER(ushort, 2)
ATTN_NUMBER(int, 2)
ATTN_NUMBER(uint, 2)
ATTN_NUMBER(long, 2)
ATTN_NUMBER(ulong, 2)
ATTN_NUMBER(half, 3)
ATTN_NUMBER(float, 3)
ATTN_NUMBER(bfloat, 4)
#undef ATTN_NUMBER

template <class T>
struct attn_element_kind {
  static constexpr __constant uint code = 0;
};
template <class T>
struct attn_element_kind<T&> : attn_element_kind<T*> {};
template <class T>
struct attn_element_kind<T*> {
  typedef metal::remove_addrspace_t<metal::remove_cv_t<metal::remove_addrspace_t<T>>> plain;
  static constexpr __constant uint code =
      attn_number<typename metal::attn_lanes<plain>::element>::code;
};
template <>
struct attn_element_kind<__global void*> : attn_element_kind<int> {};
template <>
struct attn_element_kind<const __global void*> : attn_element_kind<int> {};
template <>
struct attn_element_kind<const __constant void*> : attn_element_kind<int> {};

template <class... A>
struct attn_parameters {};
template <class F>
struct attn_signature;
template <class... A>
struct attn_signature<void(A...)> {
  typedef attn_parameters<A...> type;
};
template <int I, class P>
struct attn_parameter;
template <class First, class... Rest>
struct attn_parameter<0, attn_parameters<First, Rest...>> {
  typedef First type;
};
template <int I, class First, class... Rest>
struct attn_parameter<I, attn_parameters<First, Rest...>>
    : attn_parameter<I - 1, attn_parameters<Rest...>> {};

// A number that an attribute says by an expression.
template <long Value, long Least, long End>
struct attn_number_within {
  static_assert(Least <= Value && Value < End,
                "an attribute needs an index that a kernel has, or at least one thread");
  static constexpr __constant uint value = (uint)Value;
};

// A threadgroup variable. Which offset it has is decided when all the variables
// that a kernel really uses are known (attnproto/compiler/ir/module.py).
template <int Id, ulong Bytes, ulong Alignment>
__attribute__((const, nothrow)) __local void* attn_threadgroup_variable();
template <int Id, class T, ulong Alignment = 1>
ATTN_SAYS(metal::attn_is_atomic_float<T>, "atomic-operation")
ATTN_INLINE __local T& attn_threadgroup() {
  constexpr ulong alignment = Alignment > alignof(T) ? Alignment : alignof(T);
  return *(__local T*)attn_threadgroup_variable<Id, sizeof(T), alignment>();
}
