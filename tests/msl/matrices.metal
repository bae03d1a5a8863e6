// Matrices in every memory: made, read, written, computed.
#include <metal_stdlib>
using namespace metal;
struct Camera {
  uint n;
  float4x4 view;
  float3x2 flat;
};
template <typename T>
kernel void matrices(device const T* in [[buffer(0)]], device T* out [[buffer(1)]],
                     constant matrix<T, 4, 4>& fixed [[buffer(2)]],
                     device matrix<T, 4, 4>* stored [[buffer(3)]]) {
  typedef matrix<T, 4, 4> M;
  threadgroup M shared[2];
  vec<T, 4> v(in[0], in[1], in[2], in[3]);
  M a = fixed, b = M(v, v.yzwx, v.zwxy, v.wxyz), c(in[0], in[1], in[2], in[3], in[4], in[5], in[6],
    in[7], in[8], in[9], in[10], in[11], in[12], in[13], in[14], in[15]);
  stored[0] = a * b;
  stored[1] = fixed;
  stored[2] = M(T(3));
  stored[3] = c;
  stored[3] *= fixed;
  shared[0] = c;
  shared[1] = shared[0] + a - b;
  stored[4] = shared[1];
  stored[5] = -a * T(2) + T(3) * b;
  stored[6] = transpose(c);
  stored[7] = fixed;
  stored[7] += b;
  stored[7] -= c;
  stored[7] *= T(2);
  stored[8] = a;
  stored[8][1] = v;
  stored[8][2][3] = T(7);
  stored[8][3].xy = v.zw;
  vec<T, 4> r = fixed * v, s = v * fixed, t = shared[0] * v;
  for (int i = 0; i < 4; i++) {
    out[i] = r[i];
    out[4 + i] = s[i];
    out[8 + i] = t[i];
    out[12 + i] = (a * b)[1][i];
  }
  out[16] = determinant(a);
  out[17] = determinant(matrix<T, 3, 3>(v.xyz, v.yzw, v.wwx));
  out[18] = determinant(matrix<T, 2, 2>(v.xy, v.wz));
  out[19] = (a == fixed) + 2 * (a != b) + 4 * (a == c) + 8 * (c.columns[2].x == in[8]);
  matrix<T, 2, 3> wide(in[0], in[1], in[2], in[3], in[4], in[5]);
  matrix<T, 3, 2> tall = transpose(wide);
  matrix<T, 2, 2> small = tall * wide;
  matrix<T, 3, 3> large = wide * tall;
  vec<T, 3> up = wide * v.xy;
  vec<T, 2> down = up * wide;
  for (int i = 0; i < 4; i++) out[20 + i] = small[i / 2][i % 2];
  for (int i = 0; i < 9; i++) out[24 + i] = large[i / 3][i % 3];
  for (int i = 0; i < 3; i++) out[33 + i] = up[i];
  for (int i = 0; i < 2; i++) out[36 + i] = down[i];
}
template [[host_name("matrices_float")]] kernel decltype(matrices<float>) matrices<float>;
template [[host_name("matrices_half")]] kernel decltype(matrices<half>) matrices<half>;

kernel void converted(constant float4x4& m [[buffer(0)]], device half4x4* out [[buffer(1)]],
                      constant Camera& camera [[buffer(2)]], device Camera* cameras [[buffer(3)]],
                      device uint* sizes [[buffer(4)]]) {
  out[0] = half4x4(m);
  out[1] = half4x4(float4x4(out[0]) * m);
  cameras[0] = cameras[1];
  cameras[0].view = camera.view * m;
  cameras[0].flat[2] = (camera.flat * float3(1, 2, 3)).yx;
  sizes[0] = sizeof(float2x2);
  sizes[1] = sizeof(float2x3);
  sizes[2] = sizeof(float3x3);
  sizes[3] = sizeof(float4x3);
  sizes[4] = sizeof(float4x4);
  sizes[5] = sizeof(half2x2);
  sizes[6] = sizeof(half3x3);
  sizes[7] = sizeof(half4x2);
  sizes[8] = alignof(float3x2);
  sizes[9] = alignof(half4x3);
}

typedef matrix<bfloat, 4, 4> bfloat4x4;

template <typename To, typename From>
void convert_to(device const From* from, device To* to) {
  *to = (To)(*from);
}

kernel void between_narrow_types(device const half4x4* h [[buffer(0)]],
                                 device bfloat4x4* b [[buffer(1)]],
                                 device half4x4* back [[buffer(2)]],
                                 device float4x4* wide [[buffer(3)]]) {
  convert_to(h, b);
  convert_to(b, back);
  *wide = float4x4(*b);
}
