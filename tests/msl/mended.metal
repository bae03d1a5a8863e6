// What MSL allows by the types of operands, one kernel a kind; out[k] is what the test expects.
#include <metal_stdlib>
using namespace metal;

struct Pair {
  float a, b;
};
template <typename T>
struct Twin {
  T a, b;
};
struct Start {
  static constexpr constant Pair pair = {1, 2};
  static constexpr constant Twin<float> twin = {3, 4};
};

kernel void chosen(device float* out [[buffer(0)]], device Pair* pairs [[buffer(1)]],
                   constant Twin<float>* twins [[buffer(2)]]) {
  Pair own = {10, 20};
  Pair first = out[0] > 0 ? pairs[0] : own;
  Pair second = out[0] > 0 ? own : pairs[1];
  Twin<float> local[2] = {{5, 6}, {7, 8}};
  Twin<float> third = out[0] > 0 ? local[0] : twins[1];
  Twin<float> fourth = out[0] > 0 ? Twin<float>{0, 0} : local[1];
  out[0] = first.b;
  out[1] = second.a;
  out[2] = third.b;
  out[3] = fourth.a;
}

template <typename T>
static Twin<T> copied(constant Twin<T>* from) {
  return from[0];
}
static float sum(Twin<float> twin) { return twin.a + twin.b; }

kernel void copies(device float* out [[buffer(0)]], device Pair* pairs [[buffer(1)]],
                   constant Twin<float>* twins [[buffer(2)]]) {
  pairs[0] = Start::pair;
  Twin<float> one = twins[0];
  Twin<float> both[2] = {twins[1], Start::twin};
  out[0] = pairs[0].a;
  out[1] = one.b + both[0].a + both[1].b;
  out[2] = copied(twins).a;
  out[3] = sum(twins[1]);
}

static void keep(thread const short& from, thread float& to) { to = from; }
template <typename T>
static T larger(const thread T& a, const thread T& b) {
  return a < b ? b : a;
}

kernel void temporaries(device float* out [[buffer(0)]]) {
  const int n = 3;
  float kept;
  float own = 7;
  keep(n, kept);
  out[0] = kept;
  out[1] = larger(own + 1, own);
  out[2] = larger(own, out[1] * 2);
  out[3] = larger(own + 2, own * 3);
}

template <typename I>
static I at(uint3 e, int n) {
  return e.x * n + e.y;
}
template <typename V, typename T>
static V made(T a) {
  return V(a, a, a, a);
}

kernel void vectors(device float* out [[buffer(0)]], device half4* halves [[buffer(1)]],
                    device bfloat* small [[buffer(2)]]) {
  float4 shorter = {2.f};
  uint4 three = {1, 2, 3};
  float s = 3;
  halves[1] = halves[0] * s;
  halves[1] *= s;
  small[0] = static_cast<bfloat>(halves[0].y);
  float4 wide = (float4)halves[1] * 2 + static_cast<float4>(halves[0]);
  out[0] = shorter.x + shorter.y + shorter.z + shorter.w + float(three.z + three.w);
  out[1] = wide.y;
  out[2] = at<int>({5, 6, 7}, 10);
  out[3] = made<float4>(float(small[0])).w;
}

template <typename T>
static float dot(T a, T b) {
  return (a * b).x + 100;
}
template <typename T>
static T max(T a, T b) {
  return T(200);
}
static float distance(float4 a, float4 b) {
  return 300;
}
kernel void own_function(device float* out [[buffer(0)]], device float4* in [[buffer(1)]]) {
  out[0] = dot(in[0], in[1]);
  out[1] = max(in[0].x, in[1].x);
  out[2] = distance(in[0], in[1]);
}
