// What the host's C library gives elsewhere, from the instructions of an NVIDIA GPU.
// Approximate instructions (about 2 ULP) where MSL's own functions are no better.
#pragma OPENCL EXTENSION cl_khr_fp64 : enable

ATTN_INLINE float attn_nv_exp2(float x) { return __nvvm_ex2_approx_ftz_f(x); }
ATTN_INLINE float attn_nv_log2(float x) { return __nvvm_lg2_approx_f(x); }
// The product's rounding error is put back: exp's relative error would grow with x.
ATTN_INLINE float attn_nv_exp(float x) {
  float high = x * 1.44269504f;
  float low = __builtin_fmaf(x, 1.44269504f, -high) + x * 1.925963033e-8f;
  float power = __nvvm_ex2_approx_f(high);
  return x > -87.0f && x < 88.0f ? __builtin_fmaf(power, low * 0.693147181f, power) : power;
}
ATTN_INLINE float attn_nv_log(float x) { return __nvvm_lg2_approx_f(x) * 0.693147181f; }
ATTN_INLINE float attn_nv_log10(float x) { return __nvvm_lg2_approx_f(x) * 0.301029996f; }
ATTN_INLINE float attn_nv_pow(float x, float y) {
  float size = __builtin_fabsf(x);
  float power = __nvvm_ex2_approx_f(y * __nvvm_lg2_approx_f(size));
  bool whole = y == __builtin_truncf(y);
  bool odd = whole && __builtin_truncf(y * 0.5f) * 2.0f != y;
  if (y == 0.0f || x == 1.0f) return 1.0f;
  if (size == 1.0f && whole) power = y - y == 0.0f || x == -1.0f ? 1.0f : power;
  if (x < 0.0f && !whole && size != __builtin_inff()) return __builtin_nanf("");
  return odd ? __builtin_copysignf(power, x) : power;
}
// Exact: each step takes off a multiple that is not too large, and what is left has few bits.
ATTN_INLINE float attn_nv_fmod(float x, float y) {
  double a = __builtin_fabsf(x), b = __builtin_fabsf(y);
  if (!(a < __builtin_inff()) || !(b > 0.0)) return __builtin_nanf("");
  if (b == __builtin_inff()) return x;
  while (a >= b) {
    double times = __builtin_trunc(a / b * 0.9999999999999998);
    a = __builtin_fma(-(times > 1.0 ? times : 1.0), b, a);
  }
  return __builtin_copysignf((float)a, x);
}
// Reduced in double, so that angles of thousands of turns stay exact; |r| <= pi/4.
ATTN_INLINE float attn_nv_reduced(float x, __private int& quadrant) {
  double turns = (double)x * 0.63661977236758134308;
  double whole = __builtin_rint(turns);
  quadrant = (int)((long)whole & 3);
  return (float)((turns - whole) * 1.57079632679489661923);
}
ATTN_INLINE float attn_nv_sine(float r) {
  float s = r * r;
  float p = __builtin_fmaf(s, 2.718e-6f, -1.98393348e-4f);
  p = __builtin_fmaf(p, s, 8.33332964e-3f);
  p = __builtin_fmaf(p, s, -1.66666667e-1f);
  return __builtin_fmaf(p * s, r, r);
}
ATTN_INLINE float attn_nv_cosine(float r) {
  float s = r * r;
  float p = __builtin_fmaf(s, 2.44331571e-5f, -1.38873162e-3f);
  p = __builtin_fmaf(p, s, 4.16666457e-2f);
  p = __builtin_fmaf(p, s, -0.5f);
  return __builtin_fmaf(p, s, 1.0f);
}
ATTN_INLINE float attn_nv_sin(float x) {
  int q;
  float r = attn_nv_reduced(x, q);
  float v = q & 1 ? attn_nv_cosine(r) : attn_nv_sine(r);
  return q & 2 ? -v : v;
}
ATTN_INLINE float attn_nv_cos(float x) {
  int q;
  float r = attn_nv_reduced(x, q);
  float v = q & 1 ? attn_nv_sine(r) : attn_nv_cosine(r);
  return (q + 1) & 2 ? -v : v;
}
ATTN_INLINE float attn_nv_tan(float x) { return attn_nv_sin(x) / attn_nv_cos(x); }
// Halves of exp, multiplied last: the result may be finite where exp is not.
ATTN_INLINE float attn_nv_sinh(float x) {
  float a = __builtin_fabsf(x), s = x * x;
  float p = __builtin_fmaf(s, 1.98412698e-4f, 8.33333333e-3f);
  p = __builtin_fmaf(p, s, 0.16666667f);
  float e = attn_nv_exp(0.5f * a);
  float large = 0.5f * e * e - 0.5f / e / e;
  return a < 0.6f ? __builtin_fmaf(p * s, x, x) : __builtin_copysignf(large, x);
}
ATTN_INLINE float attn_nv_cosh(float x) {
  float e = attn_nv_exp(0.5f * __builtin_fabsf(x));
  return 0.5f * e * e + 0.5f / e / e;
}
ATTN_INLINE float attn_nv_tanh(float x) {
  float a = __builtin_fabsf(x);
  float s = x * x;
  float small = x * __builtin_fmaf(s, __builtin_fmaf(s, 0.13333333f, -0.33333333f), 1.0f);
  float large = __builtin_copysignf(1.0f - 2.0f / (attn_nv_exp(2.0f * a) + 1.0f), x);
  return a < 0.1f ? small : large;
}
ATTN_INLINE float attn_nv_atan(float x) {
  float a = __builtin_fabsf(x);
  bool inverted = a > 1.0f;
  float r = inverted ? 1.0f / a : a;
  bool shifted = r > 0.414213562f;
  r = shifted ? (r - 1.0f) / (r + 1.0f) : r;
  float s = r * r;
  float p = __builtin_fmaf(s, 8.05374449538e-2f, -1.38776856032e-1f);
  p = __builtin_fmaf(p, s, 1.99777106478e-1f);
  p = __builtin_fmaf(p, s, -3.33329491539e-1f);
  float v = __builtin_fmaf(p * s, r, r) + (shifted ? 0.785398163f : 0.0f);
  return __builtin_copysignf(inverted ? 1.57079633f - v : v, x);
}
ATTN_INLINE float attn_nv_atan2(float y, float x) {
  if (x != x || y != y) return x + y;
  float half_turn = as_type<uint>(x) >> 31 ? 3.14159265f : 0.0f;
  float ratio = __builtin_fabsf(y / x);
  if (y == 0.0f) ratio = 0.0f;
  else if (__builtin_fabsf(x) == __builtin_fabsf(y)) ratio = 1.0f;  // infinities too
  float v = attn_nv_atan(ratio);
  return __builtin_copysignf(half_turn == 0.0f ? v : half_turn - v, y);
}
ATTN_INLINE float attn_nv_asin(float x) {
  return attn_nv_atan2(x, __builtin_sqrtf((1.0f - x) * (1.0f + x)));
}
ATTN_INLINE float attn_nv_acos(float x) {
  return attn_nv_atan2(__builtin_sqrtf((1.0f - x) * (1.0f + x)), x);
}
// Near 0 by the series, since a logarithm near 1 has few bits; past 1e9 the root is the number
// itself, and its square may be infinite.
ATTN_INLINE float attn_nv_asinh(float x) {
  float a = __builtin_fabsf(x), s = x * x;
  float p = __builtin_fmaf(s, -4.46428571e-2f, 7.5e-2f);
  p = __builtin_fmaf(p, s, -1.66666667e-1f);
  float sum = a > 1e9f ? a : 0.5f * (a + __builtin_sqrtf(__builtin_fmaf(a, a, 1.0f)));
  float large = __builtin_copysignf(attn_nv_log(sum) + 0.693147181f, x);
  return a < 0.2f ? __builtin_fmaf(p * s, x, x) : large;
}
ATTN_INLINE float attn_nv_acosh(float x) {
  float sum = x > 1e9f ? x : 0.5f * (x + __builtin_sqrtf((x - 1.0f) * (x + 1.0f)));
  return x >= 1.0f ? attn_nv_log(sum) + 0.693147181f : __builtin_nanf("");
}
ATTN_INLINE float attn_nv_atanh(float x) {
  float a = __builtin_fabsf(x), s = x * x;
  float p = __builtin_fmaf(s, 1.42857143e-1f, 0.2f);
  p = __builtin_fmaf(p, s, 3.33333333e-1f);
  float large = __builtin_copysignf(0.5f * attn_nv_log((1.0f + a) / (1.0f - a)), x);
  return a < 0.1f ? __builtin_fmaf(p * s, x, x) : large;
}
ATTN_INLINE float attn_nv_round(float x) {
  return __builtin_truncf(x + __builtin_copysignf(0.49999997f, x));
}
ATTN_INLINE float attn_nv_fdim(float x, float y) { return x > y ? x - y : x <= y ? 0.0f : x + y; }
// In double, which holds every step: rounded once.
ATTN_INLINE float attn_nv_ldexp(float x, int k) {
  long exponent = k < -300 ? -300 : k > 300 ? 300 : k;
  return (float)((double)x * as_type<double>((1023 + exponent) << 52));
}
