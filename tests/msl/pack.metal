// Packed and unpacked, from float and from half.
#include <metal_stdlib>
using namespace metal;
kernel void pack(device const float4* in [[buffer(0)]], device uint* out [[buffer(1)]],
                 uint i [[thread_position_in_grid]]) {
  float4 v = in[i];
  half4 h = half4(v);
  device uint* o = out + 14 * i;
  o[0] = pack_float_to_unorm4x8(v);
  o[1] = pack_float_to_snorm4x8(v);
  o[2] = pack_float_to_unorm2x16(v.xy);
  o[3] = pack_float_to_snorm2x16(v.xy);
  o[4] = pack_float_to_unorm10a2(v);
  o[5] = pack_float_to_unorm565(v.xyz);
  o[6] = pack_float_to_srgb_unorm4x8(v);
  o[7] = pack_half_to_unorm4x8(h);
  o[8] = pack_half_to_snorm4x8(h);
  o[9] = pack_half_to_unorm2x16(h.xy);
  o[10] = pack_half_to_snorm2x16(h.xy);
  o[11] = pack_half_to_unorm10a2(h);
  o[12] = pack_half_to_unorm565(h.xyz);
  o[13] = pack_half_to_srgb_unorm4x8(h);
}
kernel void unpack(device const uint* in [[buffer(0)]], device float4* out [[buffer(1)]],
                   device half4* halves [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  uint n = in[i];
  device float4* o = out + 7 * i;
  device half4* h = halves + 7 * i;
  o[0] = unpack_unorm4x8_to_float(n);
  o[1] = unpack_snorm4x8_to_float(n);
  o[2] = float4(unpack_unorm2x16_to_float(n), 0, 0);
  o[3] = float4(unpack_snorm2x16_to_float(n), 0, 0);
  o[4] = unpack_unorm10a2_to_float(n);
  o[5] = float4(unpack_unorm565_to_float(ushort(n)), 0);
  o[6] = unpack_unorm4x8_srgb_to_float(n);
  h[0] = unpack_unorm4x8_to_half(n);
  h[1] = unpack_snorm4x8_to_half(n);
  h[2] = half4(unpack_unorm2x16_to_half(n), 0, 0);
  h[3] = half4(unpack_snorm2x16_to_half(n), 0, 0);
  h[4] = unpack_unorm10a2_to_half(n);
  h[5] = half4(unpack_unorm565_to_half(ushort(n)), 0);
  h[6] = unpack_unorm4x8_srgb_to_half(n);
}
