// Static members that are declared in their class and given their values outside, or by a
// specialisation; classes that say how they are copied.
#include <metal_stdlib>
using namespace metal;
template <typename U> struct Limits { static const constant U max; static const constant U min; };
template <> struct Limits<float> {
  static constexpr constant float max = 5;
  static constexpr constant float min = -5;
};
struct Plain { static const constant int size; static constant float4 corner; };
constant const int Plain::size = 3;
constant float4 Plain::corner = float4(1, 2, 3, 4);
template <typename T, int N> struct Table { static const constant T row[2]; static const constant int n; };
template <typename A, int M> constant const A Table<A, M>::row[2] = {A(M), A(2 * M)};
template <typename A, int M> constant const int Table<A, M>::n = M + sizeof(A);
namespace inner { struct Deep { static const constant float x; }; }
constant const float inner::Deep::x = 0.5f;
struct Counted {
  int copies;
  Counted(int c) : copies(c) {}
  Counted(thread const Counted& other) : copies(other.copies + 1) {}
  static int twice(int x);
};
int Counted::twice(int x) { return 2 * x; }

kernel void members(device float* out [[buffer(0)]]) {
  out[0] = Limits<float>::max;
  out[1] = Limits<float>::min;
  out[2] = Plain::size;
  out[3] = Plain::corner.y;
  out[4] = Table<float, 3>::row[1];
  out[5] = Table<half, 3>::n;
  out[6] = inner::Deep::x;
  Counted one(4);
  Counted two = one;
  Counted three(two);
  out[7] = two.copies;
  out[8] = three.copies;
  out[9] = Counted::twice(9);
}
