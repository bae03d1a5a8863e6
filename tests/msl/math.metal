#include <metal_stdlib>
using namespace metal;

template <typename T>
kernel void arithmetic(device const T* a [[buffer(0)]], device const T* b [[buffer(1)]],
                       device T* out [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  T x = a[i], y = b[i];
  out[i] = x + y;
  out[64 + i] = x - y;
  out[128 + i] = x * y;
  out[192 + i] = x / y;
  T sum = x + y;
  out[256 + i] = sum * sum;
  out[320 + i] = (x + y) * (x - y);
  T z = x;
  z += y; z *= y; z -= x;
  out[384 + i] = z;
  out[448 + i] = x < y ? -x : y;
  vec<T, 4> v(x, y, x, y);
  v = v * v.yxwz + v;
  out[512 + i] = v.y;
}
template [[host_name("arithmetic_half")]] kernel decltype(arithmetic<half>) arithmetic<half>;
template [[host_name("arithmetic_bfloat")]] kernel decltype(arithmetic<bfloat>) arithmetic<bfloat>;

kernel void conversions(device const float* in [[buffer(0)]], device int* ints [[buffer(1)]],
                        device half* halves [[buffer(2)]], device bfloat* bfloats [[buffer(3)]],
                        device uint* bits [[buffer(4)]], uint i [[thread_position_in_grid]]) {
  float x = in[i];
  ints[i] = int(x);
  ints[64 + i] = int(char(int(x)));
  ints[128 + i] = int(uchar(int(x)));
  ints[192 + i] = int(short(int(x) * 1000));
  ints[256 + i] = int(bool(x > 3));
  ints[320 + i] = static_cast<int>(half(x));
  halves[i] = half(x);
  halves[64 + i] = half(int(x) * 100);
  bfloats[i] = bfloat(x);
  bfloats[64 + i] = static_cast<bfloat>(float(half(x)));
  bits[i] = as_type<uint>(x);
  bits[64 + i] = as_type<ushort>(half(x));
  bits[128 + i] = as_type<uint>(half2(half(x), 1.0h));
  bits[192 + i] = as_type<ushort2>(x).y;
  bits[256 + i] = as_type<uint>(as_type<float>(bits[i]) + 0.0f);
  float4 wide = float4(x, 2, 3, 4);
  bits[320 + i] = as_type<uint4>(wide).x + as_type<uint>(wide[2]);
}

kernel void special(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                    device int* is [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  float x = in[i], y = in[(i + 1) % 8];
  out[i] = min(x, y);
  out[8 + i] = max(x, y);
  out[16 + i] = fmin(x, y);
  out[24 + i] = clamp(x, -1.0f, 2.0f);
  out[32 + i] = max(x, max(y, 0.25f));
  out[40 + i] = select(x, y, isnan(x));
  out[48 + i] = x * INFINITY;
  out[56 + i] = exp(x);
  is[i] = isnan(x) + 2 * isinf(x) + 4 * isfinite(x) + 8 * signbit(x) + 16 * isnormal(x);
  is[8 + i] = (x < y) + 2 * (x == y) + 4 * (x != y) + 8 * (x >= y) + 16 * !(x > y);
  is[16 + i] = isnan(half(x)) + 2 * isinf(half(x));
  is[24 + i] = isnan(float2(0, x)).y + 2 * isinf(float4(x)).w;
}

kernel void shapes(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  float3 a(in[0], in[1], in[2]), b = float3(1, -2, 3);
  out[0] = dot(a, b);
  out[1] = length(a);
  out[2] = distance(a, b);
  out[3] = normalize(a).y;
  out[4] = cross(a, b).z;
  out[5] = length_squared(a);
  out[6] = mix(a, b, 0.25f).x;
  out[7] = smoothstep(0.0f, 4.0f, in[0]);
  out[8] = fma(in[0], in[1], in[2]);
  out[9] = fma(a, b, float3(1.0f)).z;
  out[10] = ldexp(in[0], 5);
  int e;
  out[11] = frexp(in[1], e);
  out[12] = e;
  float whole;
  out[13] = modf(in[2], whole);
  out[14] = whole;
  float c;
  out[15] = sincos(in[0], c);
  out[16] = c;
  out[17] = min3(in[0], in[1], in[2]) + 10 * max3(in[0], in[1], in[2])
            + 100 * median3(in[0], in[1], in[2]);
  out[18] = dot(half4(1, 2, 3, 4), half4(2.0h));
  out[19] = max(in[0], 5.0f) + max(3, 4) + min(2u, 7u) + abs(-3) + clamp(in[2], 0.0f, 1.0f);
  out[20] = reflect(a, float3(0, 1, 0)).y;
  out[21] = ilogb(in[1]);
}
