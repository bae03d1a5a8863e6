// FUNCTION of one argument, by the name KERNEL: its value, and a bit for each spelling and width
// that gives another one.
template <typename T>
kernel void KERNEL(device const T* in [[buffer(0)]], device T* out [[buffer(1)]],
                   device uint* differ [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  T x = in[i], y = in[i / 2], r = FUNCTION(x), s = FUNCTION(y);
  vec<T, 2> a = FUNCTION(vec<T, 2>(x, y));
  vec<T, 3> b = FUNCTION(vec<T, 3>(y, x, y));
  vec<T, 4> c = metal::FUNCTION(vec<T, 4>(y, y, y, x));
  out[i] = r;
  differ[i] = !same(a.x, r) + 2 * !same(a.y, s) + 4 * !(same(b.y, r) && same(b.z, s)) +
              8 * !(same(c.w, r) && same(c.x, s)) + 16 * !same(T(FAST::FUNCTION(x)), r) +
              32 * !same(T(PRECISE::FUNCTION(x)), r);
}
template [[host_name(NAME "_float")]] kernel decltype(KERNEL<float>) KERNEL<float>;
template [[host_name(NAME "_half")]] kernel decltype(KERNEL<half>) KERNEL<half>;
template [[host_name(NAME "_bfloat")]] kernel decltype(KERNEL<bfloat>) KERNEL<bfloat>;
