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
