// Functions with two results or with an integer; three numbers fused.
template <typename T>
kernel void parts(device const T* in [[buffer(0)]], device const T* others [[buffer(1)]],
                  device const int* k [[buffer(2)]], device T* out [[buffer(3)]],
                  device int* whole [[buffer(4)]], device uint* differ [[buffer(5)]],
                  uint i [[thread_position_in_grid]]) {
  T x = in[i], y = others[i], integral, cosine;
  int exponent;
  device T* o = out + 6 * i;
  o[0] = frexp(x, exponent);
  o[1] = modf(x, integral);
  o[2] = integral;
  o[3] = ldexp(x, k[i]);
  o[4] = sincos(x, cosine);
  o[5] = fma(x, y, in[i / 3]);
  whole[2 * i] = exponent;
  whole[2 * i + 1] = ilogb(x);
  vec<T, 3> v(y, x, y), found;
  vec<int, 3> exponents;
  bool equal = same(frexp(v, exponents).y, o[0]) && exponents.y == exponent;
  equal = equal && same(modf(v, found).y, o[1]) && same(found.y, integral);
  equal = equal && same(ldexp(v, vec<int, 3>(k[i])).y, o[3]) && same(ldexp(v, k[i]).y, o[3]);
  equal = equal && same(sincos(v, found).y, o[4]) && same(found.y, cosine) && same(cosine, cos(x));
  equal = equal && same(fma(v, vec<T, 3>(y), vec<T, 3>(in[i / 3])).y, o[5]);
  equal = equal && same(fma(v, y, in[i / 3]).y, o[5]) && ilogb(v).y == ilogb(x);
  differ[i] = !equal;
}
template [[host_name("parts_float")]] kernel decltype(parts<float>) parts<float>;
template [[host_name("parts_half")]] kernel decltype(parts<half>) parts<half>;
template [[host_name("parts_bfloat")]] kernel decltype(parts<bfloat>) parts<bfloat>;
