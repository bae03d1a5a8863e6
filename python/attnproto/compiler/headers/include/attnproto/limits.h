// metal_limits.
namespace metal {

// A text may give its own type limits by either.
template <class T>
struct _numeric_limits_impl;
template <class T>
struct numeric_limits : _numeric_limits_impl<T> {};
template <class T, T Lowest, T Max>
struct attn_integer_limits {
  static constexpr __constant bool is_specialized = true;
  static constexpr __constant bool is_integer = true;
  static constexpr __constant bool is_signed = Lowest < T(0);
  static constexpr __constant int digits = sizeof(T) * 8 - is_signed;
  static constexpr T min() { return Lowest; }
  static constexpr T lowest() { return Lowest; }
  static constexpr T max() { return Max; }
  static constexpr __constant bool has_infinity = false;
  static constexpr __constant bool has_quiet_NaN = false;
  static constexpr __constant bool is_exact = true;
  static constexpr __constant bool is_bounded = true;
  static constexpr __constant int digits10 = digits * 643 / 2136;
  static constexpr __constant int radix = 2;
  static constexpr T epsilon() { return T(0); }
  static constexpr T infinity() { return T(0); }
  static constexpr T quiet_NaN() { return T(0); }
  static constexpr T denorm_min() { return T(0); }
};
#define ATTN_LIMITS(T, lowest, max) \
  template <>                       \
  struct _numeric_limits_impl<T> : attn_integer_limits<T, lowest, max> {};
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
#define ATTN_LIMITS(T, smallest, largest, step, least, bits, decimals, low10, high10, low, high) \
  template <>                                                                        \
  struct _numeric_limits_impl<T> {                                                   \
    static constexpr __constant bool is_specialized = true;                          \
    static constexpr __constant bool is_integer = false;                             \
    static constexpr __constant bool is_signed = true;                               \
    static constexpr __constant bool has_infinity = true;                            \
    static constexpr __constant bool has_quiet_NaN = true;                           \
    static constexpr __constant bool is_exact = false;                               \
    static constexpr __constant bool is_bounded = true;                              \
    static constexpr __constant int digits = bits;                                   \
    static constexpr __constant int digits10 = decimals;                             \
    static constexpr __constant int radix = 2;                                       \
    static constexpr __constant int min_exponent = low;                              \
    static constexpr __constant int max_exponent = high;                             \
    static constexpr __constant int min_exponent10 = low10;                          \
    static constexpr __constant int max_exponent10 = high10;                         \
    static constexpr T min() { return (T)smallest; }                                 \
    static constexpr T lowest() { return (T)-largest; }                              \
    static constexpr T max() { return (T)largest; }                                  \
    static constexpr T epsilon() { return (T)step; }                                 \
    static constexpr T round_error() { return (T)0.5f; }                             \
    static constexpr T infinity() { return (T)ATTN_INEXACT(__builtin_inff(), 0x1.fffffep127f); }                    \
    static constexpr T quiet_NaN() { return (T)ATTN_INEXACT(__builtin_nanf(""), 0x1.fffffep127f); }                 \
    static constexpr T denorm_min() { return (T)least; }                             \
  };
// Under lint no limit of float is a bfloat, since clang says nothing of a conversion that is exact.
#ifdef ATTN_LINT
#define ATTN_INEXACT(exact, inexact) inexact
#else
#define ATTN_INEXACT(exact, inexact) exact
#endif
ATTN_LIMITS(float, ATTN_INEXACT(0x1p-126f, 0x1.000002p-126f), 0x1.fffffep127f,
            ATTN_INEXACT(0x1p-23f, 0x1.000002p-23f), 0x1p-149f, 24, 6, -37, 38, -125, 128)
ATTN_LIMITS(half, 0x1p-14f, 65504.0f, 0x1p-10f, 0x1p-24f, 11, 3, -4, 4, -13, 16)
ATTN_LIMITS(bfloat, 0x1p-126f, 0x1.fep127f, 0x1p-7f, 0x1p-133f, 8, 2, -37, 38, -125, 128)
#undef ATTN_LIMITS
#undef ATTN_INEXACT

}  // namespace metal
