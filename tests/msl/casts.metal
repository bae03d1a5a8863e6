#include <metal_stdlib>
using namespace metal;

template <typename T, typename V>
static T cast(V x) {
  return (T)x;
}
template <typename T, typename V>
static T converted(V x) {
  return T(x) + T(1) + -(T)1;
}
template <typename T, typename V>
static T positive(V x) {
  return T(x > 0);
}
template <typename T>
static T (&same(thread T (&pair)[2]))[2] {
  return pair;
}

class Plain {
 public:
  int value;
};
template <typename U, class W = float>
class Scaled {
 public:
  U value;
  Scaled(Plain plain, W by) : value(U(plain.value) * U(by)) {}
  Scaled(Plain plain) : value(U(plain.value > 1)) {}
};

kernel void casts(device float4* out [[buffer(0)]], device const int4* i [[buffer(1)]],
                  device const float4* f [[buffer(2)]]) {
  int4 a = i[0];
  float4 x = f[0];
  out[0] = (float4)a;
  out[1] = float4((int4)x);
  out[2] = (float4)(int4)x;
  out[3] = -(float4)a + 2 * (float4)a;
  out[4] = (float4)-a;
  out[5] = static_cast<float4>(a);
  out[6] = (float4)(1.0f, 2.0f, 3.0f, 4.0f);
  out[7] = (metal::float4)a.wzyx - (vec<float, 4>)a;
  out[8] = (float4)~(int4)x;
  out[9] = (float4)true + float4(false) + float4(x.x > 0);
  out[10] = cast<float4>(a) + (float4)cast<half4>(a);
  out[11] = converted<float4>(a);
  out[12] = (float4)converted<bfloat4>(x);
  out[13] = float4(x > 0) + (float4)(a == 3);
  out[14] = float4((x > 0) & (a > 3));
  out[15] = positive<float4>(x) + positive<float>(a.x);
  out[16] = float4(int4(x < 2.0f)) + (float4)(x > 0 ? 5 : 6);
  out[17] = select(x, float4(9), x > 0);
  float pair[2] = {3, 4};
  out[18] = float4(same(pair)[1], converted<float>(a.y), cast<uchar>(a.w), float(true));
  Plain plain = {3};
  out[19] = Scaled<float4>(plain, 2.0f).value + Scaled<float>(plain).value;
  out[20] = (float4)(uchar4)(half4)(short4)(a + 2);
}
