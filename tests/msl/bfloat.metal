#include <metal_stdlib>
using namespace metal;
kernel void every(device const float* x [[buffer(0)]], device bfloat* out [[buffer(1)]],
                  device int* whole [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  bfloat a = bfloat(x[i]), b = bfloat(x[(i + 7) % 256]);
  device bfloat* o = out + 12 * i;
  o[0] = a;
  o[1] = a + b;
  o[2] = a - b;
  o[3] = a * b;
  o[4] = a / b;
  o[5] = -a;
  o[6] = a < b ? a : b;
  o[7] = bfloat(int(i) * 1000 - 70000);
  o[8] = bfloat(i * 1000u);
  o[9] = fabs(a);
  bfloat4 v = bfloat4(a, b, a, b) * bfloat4(b) + bfloat4(1.0f);
  o[10] = v.x;
  o[11] = v.w;
  whole[i] = abs(float(a)) < 1e6f ? int(a) : 0;
}
