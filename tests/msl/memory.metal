// Structs, matrices and arrays in a lane's own memory, indexed by what lanes do not share.
// Each kernel writes one number a lane.
#include <metal_stdlib>
using namespace metal;

struct Pair {
  float a;
  int b[2];
};
struct Nested {
  Pair pairs[2];
  half4 v;
  bool t;
};
struct __attribute__((packed)) Packed {
  char c;
  float v;
};
struct Pointing {
  device const float* p;
  int n;
};

#define KERNEL(name)                                                                      \
  kernel void name(device const float* x [[buffer(0)]], device float* o [[buffer(1)]],    \
                   uint i [[thread_position_in_grid]])

KERNEL(structs) {
  Nested n[3];
  for (int j = 0; j < 3; j++) {
    for (int k = 0; k < 2; k++) {
      n[j].pairs[k].a = x[i] + j;
      n[j].pairs[k].b[k] = j + 2 * k;
      n[j].pairs[k].b[1 - k] = 7;
    }
    n[j].v = half4(x[j], 1, 2, 3);
    n[j].t = x[i + j] > 0;
  }
  n[i % 3].pairs[i & 1].b[i / 2 & 1] += 5;
  Nested m = n[(i + 1) % 3];
  n[(i + 2) % 3] = m;
  o[i] = m.pairs[i & 1].a + n[i % 3].pairs[1].b[i / 2 & 1] + n[2].v[i & 3] + (n[i % 3].t ? 100 : 0);
}

KERNEL(packed) {
  Packed p[3];
  for (int j = 0; j < 3; j++) {
    p[j].c = j;
    p[j].v = x[i + j];
  }
  o[i] = p[i % 3].v + p[(i + 1) % 3].c;
}

KERNEL(matrices) {
  float3x3 m[2];
  for (int j = 0; j < 2; j++)
    for (int k = 0; k < 3; k++) m[j][k] = float3(x[i + k], j, k);
  m[i & 1][i % 3][1] = 9;
  float3x3 product = m[0] * m[1];
  half2x4 h(half4(1, 2, 3, 4), half4(half(x[i])));
  o[i] = product[i % 3][(i + 1) % 3] + h[i & 1][i / 2 & 3];
}

KERNEL(arrays) {
  array<float, 4> a;
  for (int j = 0; j < 4; j++) a[j] = x[i] + j;
  long4 wide[2] = {long4(i), long4(1, 2, 3, 4)};
  o[i] = a[i & 3] + wide[i & 1][i / 2 & 3];
}

KERNEL(pointing) {
  Pointing q[2] = {{x, 1}, {x + 3, 2}};
  o[i] = q[i & 1].p[i] + q[i & 1].n;
}

__attribute__((noinline)) Nested filled(float from) {
  Nested n = {};
  n.pairs[1].a = from;
  n.v = half4(1, 2, 3, half(from));
  return n;
}

KERNEL(returned) {
  Nested n = filled(x[i]);
  o[i] = n.pairs[i & 1].a + n.v[i & 3];
}

void accumulate(device float* __restrict to, device const float* __restrict from, uint i) {
  for (int j = 0; j < 3; j++) to[i] += from[i + j];
}

KERNEL(restricted) {
  o[i] = 0;
  accumulate(o, x, i);
  accumulate(o, x + 1, i);
  o[i] += simd_sum(x[i]);
}
