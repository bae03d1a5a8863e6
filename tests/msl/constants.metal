// Every constant of the library, as a number of its own type.
#include <metal_stdlib>
using namespace metal;
#define EACH(suffix) M_E_##suffix, M_LOG2E_##suffix, M_LOG10E_##suffix, M_LN2_##suffix, \
  M_LN10_##suffix, M_PI_##suffix, M_PI_2_##suffix, M_PI_4_##suffix, M_1_PI_##suffix, \
  M_2_PI_##suffix, M_2_SQRTPI_##suffix, M_SQRT2_##suffix, M_SQRT1_2_##suffix
#define LIMITS(T, P) T##_MAX, T##_MIN, T##_EPSILON, -P, numeric_limits<decltype(P)>::max(), \
  numeric_limits<decltype(P)>::min(), numeric_limits<decltype(P)>::epsilon(), \
  numeric_limits<decltype(P)>::lowest(), numeric_limits<decltype(P)>::denorm_min(), \
  numeric_limits<decltype(P)>::infinity()
constant float floats[] = {EACH(F), LIMITS(FLT, MAXFLOAT), HUGE_VALF, INFINITY};
constant half halves[] = {EACH(H), LIMITS(HALF, MAXHALF), HUGE_VALH};
constant bfloat bfloats[] = {EACH(BF), LIMITS(BFLT, MAXBFLOAT), HUGE_VALBF};
constant long whole[] = {
  CHAR_BIT, CHAR_MAX, CHAR_MIN, SCHAR_MAX, SCHAR_MIN, UCHAR_MAX, SHRT_MAX, SHRT_MIN, USHRT_MAX,
  INT_MAX, INT_MIN, UINT_MAX, LONG_MAX, LONG_MIN, long(ULONG_MAX),
  FLT_DIG, FLT_MANT_DIG, FLT_MAX_EXP, FLT_MIN_EXP, FLT_MAX_10_EXP, FLT_MIN_10_EXP, FLT_RADIX,
  HALF_DIG, HALF_MANT_DIG, HALF_MAX_EXP, HALF_MIN_EXP, HALF_MAX_10_EXP, HALF_MIN_10_EXP, HALF_RADIX,
  BFLT_DIG, BFLT_MANT_DIG, BFLT_MAX_EXP, BFLT_MIN_EXP, BFLT_MAX_10_EXP, BFLT_MIN_10_EXP, BFLT_RADIX,
};
static_assert(is_same<decltype(MAXHALF), half>::value && is_same<decltype(M_PI_H), half>::value);
static_assert(is_same<decltype(MAXBFLOAT), bfloat>::value, "");
static_assert(is_same<decltype(HUGE_VALBF), bfloat>::value && CHAR_BIT == 8, "");

kernel void constants(device float* f [[buffer(0)]], device half* h [[buffer(1)]],
                      device bfloat* b [[buffer(2)]], device long* n [[buffer(3)]]) {
  for (uint i = 0; i < sizeof(floats) / sizeof(float); i++) f[i] = floats[i];
  for (uint i = 0; i < sizeof(halves) / sizeof(half); i++) h[i] = halves[i];
  for (uint i = 0; i < sizeof(bfloats) / sizeof(bfloat); i++) b[i] = bfloats[i];
  for (uint i = 0; i < sizeof(whole) / sizeof(long); i++) n[i] = whole[i];
  n[60] = ilogb(0.0f) == FP_ILOGB0 && ilogb(NAN) == FP_ILOGBNAN;
}
