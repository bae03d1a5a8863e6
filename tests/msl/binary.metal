// FUNCTION of two arguments, by the name KERNEL: its value, and a bit for each spelling, width and
// mixture of a vector with a number that gives another one.
template <typename T>
kernel void KERNEL(device const T* p [[buffer(0)]], device const T* q [[buffer(1)]],
                   device T* out [[buffer(2)]], device uint* differ [[buffer(3)]],
                   uint i [[thread_position_in_grid]]) {
  T x = p[i], y = q[i], r = FUNCTION(x, y), s = FUNCTION(y, x);
  vec<T, 2> a = FUNCTION(vec<T, 2>(x, y), vec<T, 2>(y, x));
  vec<T, 3> b = FUNCTION(vec<T, 3>(y, x, y), vec<T, 3>(x, y, x));
  vec<T, 4> c = metal::FUNCTION(vec<T, 4>(y, y, y, x), vec<T, 4>(x, x, x, y));
  vec<T, 3> d = FUNCTION(vec<T, 3>(x, y, x), y), e = FUNCTION(x, vec<T, 3>(y, y, x));
  out[i] = r;
  differ[i] = !same(a.x, r) + 2 * !same(a.y, s) + 4 * !(same(b.y, r) && same(b.z, s)) +
              8 * !(same(c.w, r) && same(c.x, s)) + 16 * !same(T(FAST::FUNCTION(x, y)), r) +
              32 * !same(T(PRECISE::FUNCTION(x, y)), r) + 64 * !same(d.x, r) + 128 * !same(e.y, r);
}
template [[host_name(NAME "_float")]] kernel decltype(KERNEL<float>) KERNEL<float>;
template [[host_name(NAME "_half")]] kernel decltype(KERNEL<half>) KERNEL<half>;
template [[host_name(NAME "_bfloat")]] kernel decltype(KERNEL<bfloat>) KERNEL<bfloat>;
