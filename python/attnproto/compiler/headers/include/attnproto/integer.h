// metal_integer: each element by element of vectors.
namespace metal {

#define ATTN_BITS(name, expression)                                       \
  template <class T>                                                      \
  ATTN_ONE_OF(integers, T)                                                \
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

// A helper's result is deduced so that it is instantiated where it is called, and an error names
// the call.
template <class T>
ATTN_INLINE auto attn_rotate(T x, T by) {
  constexpr uint width = 8 * sizeof(T);
  uint k = (uint)by % width;
  make_unsigned_t<T> u = x;
  return k ? (T)((u << k) | (u >> (width - k))) : x;
}
template <class T>
ATTN_INLINE auto attn_mulhi(T a, T b) {
  if constexpr (__is_signed(T)) return (T)(((__int128)a * b) >> (8 * sizeof(T)));
  else return (T)(((unsigned __int128)a * b) >> (8 * sizeof(T)));
}
template <class T>
ATTN_INLINE auto attn_addsat(T a, T b) {
  T r;
  if (!__builtin_add_overflow(a, b, &r)) return r;
  return b < (T)0 ? numeric_limits<T>::min() : numeric_limits<T>::max();
}
template <class T>
ATTN_INLINE auto attn_subsat(T a, T b) {
  T r;
  if (!__builtin_sub_overflow(a, b, &r)) return r;
  return b > (T)0 ? numeric_limits<T>::min() : numeric_limits<T>::max();
}
ATTN_BINARY_OF(rotate, integers, attn_rotate<T>(x, y))
ATTN_BINARY_OF(mulhi, integers, attn_mulhi<T>(x, y))
ATTN_BINARY_OF(mul24, words, x * y)
ATTN_BINARY_OF(hadd, integers, (x & y) + ((x ^ y) >> 1))
ATTN_BINARY_OF(rhadd, integers, (x | y) - ((x ^ y) >> 1))
ATTN_BINARY_OF(addsat, integers, attn_addsat<T>(x, y))
ATTN_BINARY_OF(subsat, integers, attn_subsat<T>(x, y))
ATTN_TERNARY_OF(madhi, integers, mulhi(x, y) + z)
ATTN_TERNARY_OF(mad24, words, x * y + z)

template <class T>
ATTN_ONE_OF(integers, T)
ATTN_INLINE T madsat(T a, T b, T c) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) a[i] = madsat(a[i], b[i], c[i]);
    return a;
  } else {
    typedef conditional_t<__is_signed(T), __int128, unsigned __int128> Wide;
    constexpr T low = numeric_limits<T>::min(), high = numeric_limits<T>::max();
    Wide exact = (Wide)a * b + c;
    return exact < (Wide)low ? low : exact > (Wide)high ? high : (T)exact;
  }
}
template <class T>
ATTN_ONE_OF(integers, T)
ATTN_INLINE auto absdiff(T a, T b) {
  if constexpr (attn_is_vector<T>) {
    vec<make_unsigned_t<typename attn_lanes<T>::element>, attn_lanes<T>::count> r;
    for (int i = 0; i < attn_lanes<T>::count; i++) r[i] = absdiff(a[i], b[i]);
    return r;
  } else {
    typedef make_unsigned_t<T> U;  // the difference may exceed T
    return a < b ? (U)((U)b - (U)a) : (U)((U)a - (U)b);
  }
}
// No bits may lie anywhere, past the last one too.
template <class T>
ATTN_ONE_OF(integers, T)
ATTN_INLINE T insert_bits(T base, T insert, uint offset, uint bits) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++)
      base[i] = insert_bits(base[i], insert[i], offset, bits);
    return base;
  } else {
    typedef make_unsigned_t<T> U;
    if (bits == 0) return base;
    U mask = (U)((bits < 8 * sizeof(T) ? ((U)1 << bits) - 1 : (U)-1) << offset);
    return (T)(((U)base & ~mask) | ((U)((U)insert << offset) & mask));
  }
}
template <class T>
ATTN_ONE_OF(integers, T)
ATTN_INLINE T extract_bits(T x, uint offset, uint bits) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = extract_bits(x[i], offset, bits);
    return x;
  } else {
    constexpr uint width = 8 * sizeof(T);
    return bits ? (T)((T)(x << (width - offset - bits)) >> (width - bits)) : (T)0;
  }
}

}  // namespace metal
