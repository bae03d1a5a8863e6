// What the front end writes where MSL allows more than C++ for OpenCL.

// The value of an object, wherever it lies: clang copies none between address spaces that
// no generic pointer covers, and chooses between none of different ones.
template <class T>
ATTN_INLINE T attn_value(const __constant T& from) {
  return *(const __global T*)(ulong)&from;
}
template <class T>
ATTN_INLINE T attn_value(const __global T& from) {
  return from;
}
template <class T>
ATTN_INLINE T attn_value(const __local T& from) {
  return from;
}
template <class T>
ATTN_INLINE T attn_value(const __private T& from) {
  return from;
}
template <class T>
ATTN_INLINE T attn_value(const T&& from) {
  return from;
}

// Any object, for the assignment that clang itself gives a class: beside one of the text's, for
// thread memory, say, both would fit alike.
template <class T>
ATTN_INLINE T& attn_object(__private T& to) {
  return to;
}
template <class T>
ATTN_INLINE T& attn_object(__global T& to) {
  return to;
}
template <class T>
ATTN_INLINE T& attn_object(__local T& to) {
  return to;
}

// `{a, b}` for a vector: clang wants all of its elements, MSL fills with zeros.
template <int N, class T, int M>
ATTN_INLINE constexpr void attn_place(__private T (&to)[N], __private int& at,
                                      metal::vec<T, M> part) {
  for (int i = 0; i < M; ++i) to[at++] = part[i];
}
template <int N, class T, class P>
ATTN_INLINE constexpr void attn_place(__private T (&to)[N], __private int& at, P part) {
  to[at++] = (T)part;
}
template <class V, class... P>
ATTN_INLINE constexpr V attn_filled(P... parts) {
  typedef typename metal::attn_lanes<V>::element T;
  constexpr int N = metal::attn_lanes<V>::count;
  T all[N + 4] = {};
  int at = 0;
  (attn_place(all, at, parts), ...);
  V made = (V)(0);
  for (int i = 0; i < N; ++i) made[i] = all[i];
  return made;
}

// A cast between element types, which clang leaves to a function for vectors and for half and
// bfloat; of other types as clang has it.
template <class To, class From>
ATTN_INLINE constexpr To attn_cast(From from) {
  typedef typename metal::attn_lanes<To>::element T;
  typedef typename metal::attn_lanes<From>::element F;
  constexpr int N = metal::attn_lanes<To>::count;
  if constexpr (N > 1 && metal::attn_lanes<From>::count == N) {
    return attn_vector<To>(from);
  } else if constexpr (attn_are_narrow<T, F>) {
    return (To)(T)(float)from;
  } else if constexpr (__is_same(From, bool)) {  // which fills a vector with -1
    return (To)(T)from;
  } else {
    return (To)from;
  }
}

// `(float4)x`, written `attn_to<float4>() ->* x`: only a unary operator binds tighter, and those
// before it are its own. clang's cast between vectors of one size keeps their bits.
template <class To, int UNARY = 0>
struct attn_to {
  template <class From>
  ATTN_INLINE constexpr To of(From from) const {
    const To to = attn_cast<To>(from);
    if constexpr (UNARY == 1) return -to;
    if constexpr (UNARY == 2) return ~to;
    return to;
  }
};
template <class First, class Then>
struct attn_to_through {
  template <class From>
  ATTN_INLINE constexpr auto of(From from) const {
    return Then().of(First().of(from));
  }
};
template <class To>
ATTN_INLINE constexpr attn_to<To, 1> operator-(attn_to<To>) {
  return {};
}
template <class To>
ATTN_INLINE constexpr attn_to<To, 2> operator~(attn_to<To>) {
  return {};
}
template <class To>
ATTN_INLINE constexpr attn_to<To> operator+(attn_to<To>) {
  return {};
}
template <class A, int U, class B, int V>
ATTN_INLINE constexpr attn_to_through<attn_to<B, V>, attn_to<A, U>> operator->*(attn_to<A, U>,
                                                                               attn_to<B, V>) {
  return {};
}
template <class First, class Then, class To, int U>
ATTN_INLINE constexpr attn_to_through<attn_to<To, U>, attn_to_through<First, Then>> operator->*(
    attn_to_through<First, Then>, attn_to<To, U>) {
  return {};
}
template <class First, class Then, class From>
ATTN_INLINE constexpr auto operator->*(attn_to_through<First, Then> through, From from) {
  return through.of(from);
}
template <class To, int UNARY, class From>
ATTN_INLINE constexpr To operator->*(attn_to<To, UNARY> to, From from) {
  return to.of(from);
}

// A scalar beside a vector is of the vector's element type.
template <class V, class S>
ATTN_INLINE constexpr auto attn_scalar(S from) {
  typedef metal::remove_cv_t<metal::remove_reference_t<V>> vector;
  typedef typename metal::attn_lanes<vector>::element T;
  if constexpr (metal::attn_lanes<vector>::count > 1 && metal::attn_lanes<S>::count == 1)
    return attn_cast<T>(from);
  else
    return from;
}

// What a vector of T is made of: one of bool has a byte an element.
template <class T>
struct attn_stored : metal::attn_type<T> {};
template <>
struct attn_stored<bool> : metal::attn_type<uchar> {};
template <class T>
using attn_element = typename attn_stored<T>::type;

// A threadgroup array's first values, there for every thread: each writes them all, since the
// last simdgroup may lack lanes.
template <class T, int N, class... P>
ATTN_INLINE void attn_start(__local T (&to)[N], P... values) {
  const T from[] = {(T)values..., (T)0};
  for (int i = 0; i < N; ++i)
    to[i] = i < (int)sizeof...(P) ? from[i] : (T)0;
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
}
template <class T>
ATTN_INLINE void attn_start_zero(__local T& to) {
  __local uchar* bytes = (__local uchar*)&to;
  for (uint i = 0; i < sizeof(T); ++i) bytes[i] = 0;
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
}

// What a static method, or an instance of a template of such, is converted to a pointer by.
#define ATTN_FUNCTION(name, ...)                                       \
  static constexpr auto attn_function_##name() {                       \
    return [](auto... attn_given) -> decltype(auto) {                  \
      return name __VA_ARGS__(attn_given...);                          \
    };                                                                 \
  }

// `R (*)(A)` of an alias or a constant: clang puts what one points at in the generic address space,
// which no function is in.
template <class R, class... A>
R attn_declared(A...);
template <class F>
struct attn_pointer_of;
template <class R, class... A>
struct attn_pointer_of<R (*)(A...)> {
  using type = decltype(&attn_declared<R, A...>);
};
template <class F>
using attn_pointer = typename attn_pointer_of<F>::type;
