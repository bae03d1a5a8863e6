// Conversions between vectors of all element types, and of numbers, in dependent code too.
#include <metal_stdlib>
using namespace metal;
template <typename To, typename From>
void each(device const float* in, device float* out, uint i) {
  vec<From, 4> four = vec<From, 4>(float4(in[i], in[i + 1], in[i + 2], in[i + 3]));
  vec<To, 4> converted = vec<To, 4>(four);
  vec<To, 3> three = vec<To, 3>(four.xyz);
  vec<To, 2> filled = vec<To, 2>(four.y);
  out[0] = float(converted.x) + float(converted.w);
  out[1] = float(three.y) + float(three.z);
  out[2] = float(filled.x) + float(filled.y);
}
kernel void conversions(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                        uint i [[thread_position_in_grid]]) {
  device float* o = out + 300 * i;
#define TO(k, To) each<To, float>(in, o + 30 * k, i); each<To, half>(in, o + 30 * k + 3, i); \
  each<To, bfloat>(in, o + 30 * k + 6, i); each<To, int>(in, o + 30 * k + 9, i); \
  each<To, uint>(in, o + 30 * k + 12, i); each<To, short>(in, o + 30 * k + 15, i); \
  each<To, ushort>(in, o + 30 * k + 18, i); each<To, char>(in, o + 30 * k + 21, i); \
  each<To, uchar>(in, o + 30 * k + 24, i); each<To, long>(in, o + 30 * k + 27, i);
  TO(0, float) TO(1, half) TO(2, bfloat) TO(3, int) TO(4, uint)
  TO(5, short) TO(6, ushort) TO(7, char) TO(8, uchar) TO(9, long)
}
kernel void packs(device const packed_half3* h [[buffer(0)]],
                  device packed_float3* f [[buffer(1)]]) {
  packed_bfloat3 b = packed_bfloat3(h[0]);
  f[0] = packed_float3(b);
  f[1] = packed_float3(float3(h[1]));
}
