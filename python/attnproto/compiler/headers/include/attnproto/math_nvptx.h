// What the host's C library gives elsewhere, from the instructions of an NVIDIA GPU.
// Approximate instructions (about 2 ULP) where MSL's own functions are no better.
#pragma OPENCL EXTENSION cl_khr_fp64 : enable

ATTN_INLINE float attn_nv_exp2(float x) { return __nvvm_ex2_approx_f(x); }
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
  float power = __nvvm_ex2_approx_f(y * __nvvm_lg2_approx_f(__builtin_fabsf(x)));
  bool odd = y == __builtin_truncf(y) && __builtin_truncf(y * 0.5f) * 2.0f != y;
  if (x < 0.0f && y != __builtin_truncf(y)) return __builtin_nanf("");
  return y == 0.0f ? 1.0f : x < 0.0f && odd ? -power : power;
}
ATTN_INLINE float attn_nv_fmod(float x, float y) {
  double a = x, b = y;
  return (float)(a - b * __builtin_trunc(a / b));
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
ATTN_INLINE float attn_nv_sinh(float x) {
  float e = attn_nv_exp(__builtin_fabsf(x));
  float v = __builtin_fabsf(x) < 0.1f ? x * __builtin_fmaf(x * x, 0.16666667f, 1.0f)
                                      : __builtin_copysignf(0.5f * (e - 1.0f / e), x);
  return v;
}
ATTN_INLINE float attn_nv_cosh(float x) {
  float e = attn_nv_exp(__builtin_fabsf(x));
  return 0.5f * (e + 1.0f / e);
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
  if (x == 0.0f && y == 0.0f) return __builtin_copysignf(x == 0.0f ? 0.0f : 3.14159265f, y);
  if (x == 0.0f) return __builtin_copysignf(1.57079633f, y);
  float v = attn_nv_atan(y / x);
  return x > 0.0f ? v : v + __builtin_copysignf(3.14159265f, y);
}
ATTN_INLINE float attn_nv_asin(float x) {
  return attn_nv_atan2(x, __builtin_sqrtf((1.0f - x) * (1.0f + x)));
}
ATTN_INLINE float attn_nv_acos(float x) {
  return attn_nv_atan2(__builtin_sqrtf((1.0f - x) * (1.0f + x)), x);
}
ATTN_INLINE float attn_nv_asinh(float x) {
  float a = __builtin_fabsf(x);
  return __builtin_copysignf(attn_nv_log(a + __builtin_sqrtf(__builtin_fmaf(a, a, 1.0f))), x);
}
ATTN_INLINE float attn_nv_acosh(float x) {
  return attn_nv_log(x + __builtin_sqrtf((x - 1.0f) * (x + 1.0f)));
}
ATTN_INLINE float attn_nv_atanh(float x) { return 0.5f * attn_nv_log((1.0f + x) / (1.0f - x)); }
ATTN_INLINE float attn_nv_round(float x) {
  return __builtin_truncf(x + __builtin_copysignf(0.49999997f, x));
}
ATTN_INLINE float attn_nv_fdim(float x, float y) { return x > y ? x - y : x <= y ? 0.0f : x + y; }
ATTN_INLINE float attn_nv_nextafter(float x, float y) {
  if (x != x || y != y) return x + y;
  if (x == y) return y;
  if (x == 0.0f) return __builtin_copysignf(as_type<float>(1u), y);
  uint bits = as_type<uint>(x);
  return as_type<float>((x < y) == (x > 0.0f) ? bits + 1 : bits - 1);
}
ATTN_INLINE float attn_nv_ldexp(float x, int k) {
  int half_way = k / 2;
  return x * __nvvm_ex2_approx_f((float)half_way) * __nvvm_ex2_approx_f((float)(k - half_way));
}
