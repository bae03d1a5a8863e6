// Vectors of truth wherever they may stand: each writes 1 where it is true.
#include <metal_stdlib>
using namespace metal;

struct Holds {
  bool4 m;
  uint low : 3;
  uint high : 5;
};
static bool4 returned(float4 a, float4 b) {
  return a > b;
}
static float4 taken(int n, bool4 m) {
  return float4(m) * n;
}
template <typename T>
static float4 deduced(T m) {
  return float4(m);
}
template <int N>
static vec<float, N> dependent(vec<float, N> a, vec<float, N> b) {
  vec<bool, N> m = a > b;
  return vec<float, N>(m);
}

kernel void truths(device float4* out [[buffer(0)]], device const float4* x [[buffer(1)]]) {
  float4 a = x[0], b = x[1];
  int4 n = int4(a) - 2;
  auto deduced_type = a > b;
  out[0] = float4(deduced_type);
  out[1] = float4(int4(deduced_type));
  bool4 m;
  m = a > b;
  out[2] = float4(m);
  Holds holds[2];
  holds[1].m = a > b;
  out[3] = float4(holds[1].m);
  out[4] = float4(returned(a, b));
  out[5] = taken(1, a > b);
  out[6] = deduced(a > b);
  out[7] = dependent<4>(a, b);
  bool4 both = m & (a > b);
  out[8] = float4(both);
  out[9] = float4((a > b).x, (a > b).y * 1.0f, (a > b)[2], 1 - (a <= b).w);
  out[10] = static_cast<float4>(a > b);
  out[11] = float4(half4(a) > half4(b));
  out[12] = float4(!(a <= b));
  out[13] = a > b ? float4(1) : float4(0);
  out[14] = select(float4(0), float4(1), a > b);
  auto either = (a > b) || (a > b);
  out[15] = float4(either);
  // What is below 0 is also what a choice of clang's is made by.
  out[16] = n < 0 ? float4(1) : float4(0);
  out[17] = float4(n < 0);
  out[18] = float4(!(n >= 0));
  holds[0].low = 9;
  holds[0].high = 33;
  out[19] = float4(holds[0].low, holds[0].high, 0, 0);
}
