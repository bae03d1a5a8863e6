// metal_pack: vectors in the bits of integers, the first element lowest.
namespace metal {

// A number of `bits` bits from 0 to 1, or from -1 to 1 with a sign. NaN becomes 0.
ATTN_INLINE uint attn_pack_unorm(float x, uint bits) {
  float most = (float)((1u << bits) - 1);
  return (uint)__builtin_rintf(attn_min(attn_max(x == x ? x : 0.0f, 0.0f), 1.0f) * most);
}
ATTN_INLINE uint attn_pack_snorm(float x, uint bits) {
  float most = (float)((1u << (bits - 1)) - 1);
  int n = (int)__builtin_rintf(attn_min(attn_max(x == x ? x : 0.0f, -1.0f), 1.0f) * most);
  return (uint)n & ((1u << bits) - 1);
}
ATTN_INLINE float attn_unpack_unorm(uint n, uint bits) {
  uint most = (1u << bits) - 1;
  return (float)(n & most) / (float)most;
}
ATTN_INLINE float attn_unpack_snorm(uint n, uint bits) {
  int value = (int)(n << (32 - bits)) >> (32 - bits);
  return attn_max((float)value / (float)((1 << (bits - 1)) - 1), -1.0f);
}
// The curve of sRGB, to and from linear (IEC 61966-2-1).
ATTN_INLINE float attn_to_srgb(float x) {
  return x < 0.0031308f ? 12.92f * x : 1.055f * ATTN_LIBM(pow)(x, 1.0f / 2.4f) - 0.055f;
}
ATTN_INLINE float attn_from_srgb(float x) {
  return x <= 0.04045f ? x / 12.92f : ATTN_LIBM(pow)((x + 0.055f) / 1.055f, 2.4f);
}

// Defines both directions, of float and of half: fields are the bits of each element.
#define ATTN_PACK(kind, layout, T, N, first, second, third, fourth)                      \
  ATTN_PACK_OF(kind, layout, float, T, N, first, second, third, fourth)                  \
  ATTN_PACK_OF(kind, layout, half, T, N, first, second, third, fourth)
#define ATTN_PACK_OF(kind, layout, E, T, N, first, second, third, fourth)                \
  ATTN_INLINE T pack_##E##_to_##kind##layout(vec<E, N> v) {                              \
    const uint widths[4] = {first, second, third, fourth};                               \
    uint packed = 0;                                                                     \
    for (uint i = 0, at = 0; i < N; at += widths[i++])                                   \
      packed |= attn_pack_##kind((float)v[i], widths[i]) << at;                          \
    return (T)packed;                                                                    \
  }                                                                                      \
  ATTN_INLINE vec<E, N> unpack_##kind##layout##_to_##E(T packed) {                       \
    const uint widths[4] = {first, second, third, fourth};                               \
    vec<E, N> v;                                                                         \
    for (uint i = 0, at = 0; i < N; at += widths[i++])                                   \
      v[i] = (E)attn_unpack_##kind((uint)packed >> at, widths[i]);                       \
    return v;                                                                            \
  }
ATTN_PACK(unorm, 4x8, uint, 4, 8, 8, 8, 8)
ATTN_PACK(snorm, 4x8, uint, 4, 8, 8, 8, 8)
ATTN_PACK(unorm, 2x16, uint, 2, 16, 16, 0, 0)
ATTN_PACK(snorm, 2x16, uint, 2, 16, 16, 0, 0)
ATTN_PACK(unorm, 10a2, uint, 4, 10, 10, 10, 2)
ATTN_PACK(unorm, 565, ushort, 3, 5, 6, 5, 0)
#undef ATTN_PACK
#undef ATTN_PACK_OF

// The fourth element, opacity, has no curve.
#define ATTN_SRGB(E)                                                                     \
  ATTN_INLINE uint pack_##E##_to_srgb_unorm4x8(vec<E, 4> v) {                            \
    float4 curved = __builtin_convertvector(v, float4);                                  \
    for (int i = 0; i < 3; i++)                                                          \
      curved[i] = attn_to_srgb(attn_min(attn_max(curved[i], 0.0f), 1.0f));               \
    return pack_float_to_unorm4x8(curved);                                               \
  }                                                                                      \
  ATTN_INLINE vec<E, 4> unpack_unorm4x8_srgb_to_##E(uint packed) {                       \
    float4 v = unpack_unorm4x8_to_float(packed);                                         \
    for (int i = 0; i < 3; i++) v[i] = attn_from_srgb(v[i]);                             \
    return __builtin_convertvector(v, vec<E, 4>);                                        \
  }
ATTN_SRGB(float)
ATTN_SRGB(half)
#undef ATTN_SRGB

}  // namespace metal
