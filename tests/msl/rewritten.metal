#include <metal_stdlib>
using namespace metal;

// A comment with a "quote, and an attribute [[buffer(9)]].
#define WIDTH 4 /* of a row */
struct Row {
  float4 v;
  Row(float4 x) : v(x) {}
  float sum() const { return v.x + v.y + v.z + v.w; }
  thread Row& scale(float by) { v *= by; return *this; }
  template <int K> float pick() const { return v[K]; }
  float operator()(int k) const { return v[k]; }
  static Row filled(float x) { return Row(float4(x)); }
};
struct Switches { bool on; int level; };
struct Plain { int a; float b; };
float use(Plain p) { return p.a + p.b; }
template <typename T, typename U = T>
[[kernel]] void rows(device T* out [[buffer(0)]], constant Plain* plain [[buffer(1)]],
                     uint local [[thread_position_in_grid]]) {
  using V = vec<T, 4>;
  const int global = int(local), pipe = 2;
  V v(T(1), T(2), T(3), T(global));
  Plain p = plain[1];
  Plain q = {3, 0.5f};
  Row row(float4(v.x, v.y, v.z, v.w));
  out[0] = T(row.sum());
  out[1] = T(Row::filled(2.0f).sum() + Row(float4(1, 2, 3, 4)).pick<2>());
  out[2] = T(Row(float4(1, 2, 3, 4))(3) + row.scale(2.0f).sum());
  out[3] = T(use(p) + use(q) + pipe);
  out[4] = T(WIDTH >= 4 && 16 >> 2 == WIDTH);
}
template [[host_name("rows_" "float")]] [[kernel]] decltype(rows<float>) rows<float>;
template [[host_name("rows_half")]] kernel void rows<half>(device half*, constant Plain*, uint);
