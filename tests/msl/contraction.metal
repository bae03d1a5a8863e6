// (1 + e) squared is 1 + 2e + e squared, whose last part is lost where the product is rounded.
#include <metal_stdlib>
using namespace metal;

// in: 1 + e, 1 + e, -1 - 2e and 1.
kernel void contractions(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                         device const half* narrow [[buffer(2)]]) {
  out[0] = in[0] * in[1] + in[2] * in[3];
  out[1] = in[2] * in[3] + in[0] * in[1];
  out[2] = in[2] + in[0] * in[1];
  out[3] = -in[2] - in[0] * in[1];
  float sum = in[2];
  sum += in[0] * in[1];
  out[4] = sum;
  out[5] = (float2(in[0], 1) * in[1] + in[2]).x;
  out[6] = narrow[0] * narrow[1] + narrow[2];
  float product = in[0] * in[1];
  out[7] = product + in[2];
}

kernel void across(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
#pragma METAL fp contract(fast)
  float product = in[0] * in[1];
  out[0] = product + in[2];
}
