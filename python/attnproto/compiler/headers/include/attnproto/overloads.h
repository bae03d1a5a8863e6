// Which arguments a function of Apple's library does not take. It has a function of every type that
// it takes, where this one has templates that take more: clang says so under lint, at the call.
// A text's own function of exactly those types is called instead, here as there.
#ifdef ATTN_LINT
namespace metal {

enum : uint {
  attn_half = 1, attn_float = 2, attn_char = 4, attn_uchar = 8, attn_short = 16, attn_ushort = 32,
  attn_int = 64, attn_uint = 128, attn_long = 256, attn_ulong = 512, attn_bool = 1024,
  attn_bfloat = 2048, attn_class = 4096, attn_other = 8192,
  attn_reals = attn_half | attn_float,
  attn_words = attn_int | attn_uint,
  attn_integers_32 = attn_char | attn_uchar | attn_short | attn_ushort | attn_words,
  attn_integers = attn_integers_32 | attn_long | attn_ulong,
  attn_numbers = attn_reals | attn_integers,
  attn_numbers_32 = attn_reals | attn_integers_32,
  attn_selected = attn_numbers | attn_bool,
  attn_truths = attn_integers | attn_bool,  // those that clang's comparisons have, too
  attn_counters = attn_words | attn_float,
  attn_atomics = attn_counters | attn_bool
};
// A class or an enumeration that becomes a number, or a packed vector; no function takes another.
template <class T>
struct attn_type_of {
  static constexpr __constant bool converts =
      __is_convertible_to(T, float) || !__is_same(T, typename attn_unpacked<T>::type);
  static constexpr __constant uint bit = converts ? attn_class : attn_other;
};
#define ATTN_BIT(T)                                      \
  template <>                                            \
  struct attn_type_of<T> {                               \
    static constexpr __constant uint bit = attn_##T;     \
  };
ATTN_BIT(half) ATTN_BIT(float) ATTN_BIT(char) ATTN_BIT(uchar) ATTN_BIT(short) ATTN_BIT(ushort)
ATTN_BIT(int) ATTN_BIT(uint) ATTN_BIT(long) ATTN_BIT(ulong) ATTN_BIT(bool) ATTN_BIT(bfloat)
#undef ATTN_BIT
template <>
struct attn_type_of<int8_t> : attn_type_of<char> {};
template <class T>
constexpr __constant uint attn_scalar_bit = attn_is_vector<T> ? 0 : attn_type_of<T>::bit;
template <class T>
constexpr __constant uint attn_vector_bit =
    attn_is_vector<T> ? attn_type_of<typename attn_lanes<T>::element>::bit : 0;
template <class V, class T>
constexpr __constant bool attn_are_apart = attn_is_vector<V> && attn_is_vector<T> && !__is_same(V, T);

// Of f(T, T, ...) for every T of some: whether C++ finds two that fit alike, or, of vectors, which
// nothing converts, none. Every argument that is one of these types wants its own function, one
// that is promoted wants int's, and others fit all alike. What is said of bfloat depends on the
// version of Apple's library: it is taken.
template <uint Types, class A, class B = A, class C = A>
constexpr bool attn_is_undecided() {
  constexpr uint vectors = attn_vector_bit<A> | attn_vector_bit<B> | attn_vector_bit<C>;
  constexpr uint scalars = attn_scalar_bit<A> | attn_scalar_bit<B> | attn_scalar_bit<C>;
  constexpr uint exact = scalars & Types;
  constexpr uint promoted =
      scalars & ~Types & (attn_bool | attn_char | attn_uchar | attn_short | attn_ushort);
  if ((scalars | vectors) & (attn_class | attn_other)) return false;
  if (vectors)
    return (vectors & ~(Types | attn_bfloat)) || attn_are_apart<A, B> || attn_are_apart<A, C> ||
           attn_are_apart<B, C>;
  if (exact & (exact - 1)) return true;
  if (exact) return Types & attn_int && promoted && exact != attn_int;
  if (scalars & attn_bfloat) return false;
  return !(Types & attn_int) || scalars != promoted;
}
template <class... T>
constexpr __constant bool attn_are_other = ((attn_scalar_bit<T> == attn_other) || ...);
template <uint Types, class T>
constexpr bool attn_is_outside() {
  return attn_lanes<T>::count > 4 ||
         !((attn_scalar_bit<T> | attn_vector_bit<T>) & (Types | attn_bfloat | attn_class));
}
template <uint Types, bool Threadgroup, class T>
constexpr bool attn_has_no_atomic() {
  return !(attn_type_of<T>::bit & Types & ~(Threadgroup ? attn_float : 0));
}
template <class T>
constexpr __constant bool attn_is_atomic_float = false;
template <class T, ulong N>
constexpr __constant bool attn_is_atomic_float<T[N]> = attn_is_atomic_float<T>;

}  // namespace metal
// Infinity and NaN, as a float that is no bfloat.
#define attn_infinity(...) 3.3e38f
#define ATTN_SAYS(condition, rule) __attribute__((diagnose_if(condition, rule, "warning")))
#define ATTN_ONE_OF(types, ...)                                                              \
  ATTN_SAYS((metal::attn_are_other<__VA_ARGS__>), "argument-type")                           \
  ATTN_SAYS((metal::attn_is_undecided<metal::attn_##types, __VA_ARGS__>()), "ambiguous-call")
#define ATTN_ONLY(types, T) \
  ATTN_SAYS((metal::attn_is_outside<metal::attn_##types, T>()), "argument-type")
#else
#define ATTN_SAYS(condition, rule)
#define ATTN_ONE_OF(types, ...)
#define ATTN_ONLY(types, T)
#endif
