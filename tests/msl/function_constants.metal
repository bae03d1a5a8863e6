// Function constants of every vector type: read whole, by element, by a varying index, and through
// constants derived from them.
#include <metal_stdlib>
using namespace metal;
typedef bool flag;
typedef unsigned int natural;
using flags = vec<bool, 2>;
constant float4 f [[function_constant(0)]];
constant half2 h [[function_constant(1)]];
constant bfloat4 b [[function_constant(2)]];
constant metal::float3 optional [[function_constant(3)]];
constant uint3 u [[function_constant(4)]];
constant bool4 truths [[function_constant(5)]];
constant vec<short, 3> s [[function_constant(6)]];
constant long4 l [[function_constant(7)]];
constant ulong ul [[function_constant(8)]];
constant uchar2 bytes [[function_constant(9)]];
constant flags two [[function_constant(10)]];
constant flag one [[function_constant(11)]];
constant natural n [[function_constant(12)]];
constant float3 twice = is_function_constant_defined(optional) ? 2 * optional : float3(-1);
constant bool some = any(truths);
constant float first = f.x;

kernel void reals(device float* out [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  device float* row = out + 14 * i;
  for (int k = 0; k < 4; k++) row[k] = f[k];
  row[4] = f[i & 3];
  row[5] = h.x;
  row[6] = h.y;
  row[7] = b.x;
  row[8] = b[i & 3];
  row[9] = twice.x;
  row[10] = twice.z;
  row[11] = first;
  row[12] = (2 * f).y;
  row[13] = is_function_constant_defined(optional);
}

kernel void wholes(device long* out [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  device long* row = out + 16 * i;
  row[0] = u.x;
  row[1] = u.z;
  row[2] = u[i % 3];
  for (int k = 0; k < 4; k++) row[3 + k] = truths[k];
  row[7] = s.y;
  row[8] = l.w;
  row[9] = ul;
  row[10] = bytes.y;
  row[11] = two.x;
  row[12] = two.y;
  row[13] = one;
  row[14] = n;
  row[15] = some;
}
