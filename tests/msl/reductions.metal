// What reductions over a text's own types ask of the library: limits of such a type, which types
// a simdgroup function takes, and matrices beside packed vectors.
#include <metal_stdlib>
using namespace metal;

template <typename T>
struct Indexed {
  uint i;
  T value;
};

template <typename T>
struct _numeric_limits_impl<Indexed<T>> {
  static constexpr Indexed<T> lowest() { return Indexed<T>{7, numeric_limits<T>::lowest()}; }
};

kernel void limits(device float* out [[buffer(0)]]) {
  const Indexed<half> start = numeric_limits<Indexed<half>>::lowest();
  out[0] = start.i;
  out[1] = start.value;
  out[2] = numeric_limits<int>::max() == INT_MAX;
}

template <typename T>
constexpr constant bool taken = __is_valid_simdgroup_type<T>::value;

kernel void types(device int* out [[buffer(0)]]) {
  const bool all[] = {taken<float>, taken<half4>, taken<bfloat>, taken<uchar>, taken<int2>,
                      taken<bool>,  taken<ulong>, taken<long2>,  taken<Indexed<float>>};
  for (int i = 0; i < 9; i++) out[i] = all[i];
}

struct Dual {
  float x, dx;
  Dual(float x, float dx) : x(x), dx(dx) {}
};
Dual operator*(Dual a, float by) { return Dual(a.x * by, a.dx * by); }

kernel void products(device packed_float3* out [[buffer(0)]],
                     device const float2x3* m [[buffer(1)]]) {
  const Dual d = Dual(1.0f, 2.0f) * 3.0f;
  out[0] = packed_float3((*m * 2.0f)[1]);
  out[1] = packed_float3(d.x, d.dx, 0) * 2.0f;
}
