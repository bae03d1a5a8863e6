// metal_geometric. A vector's own type in each signature, so that a function template of
// the same name in a kernel's text does not make a call ambiguous.
namespace metal {

template <class T, int N>
ATTN_ONLY(reals, T)
ATTN_INLINE T dot(vec<T, N> a, vec<T, N> b) {
  T sum = a[0] * b[0];
  for (int i = 1; i < N; i++) sum += a[i] * b[i];
  return sum;
}
template <class T, int N>
ATTN_ONLY(reals, T)
ATTN_INLINE T length_squared(vec<T, N> a) {
  return dot(a, a);
}
template <class T, int N>
ATTN_ONLY(reals, T)
ATTN_INLINE T length(vec<T, N> a) {
  return sqrt(dot(a, a));
}
template <class T, int N>
ATTN_ONLY(reals, T)
ATTN_INLINE T distance(vec<T, N> a, vec<T, N> b) {
  return length(a - b);
}
template <class T, int N>
ATTN_ONLY(reals, T)
ATTN_INLINE T distance_squared(vec<T, N> a, vec<T, N> b) {
  return length_squared(a - b);
}
template <class T, int N>
ATTN_ONLY(reals, T)
ATTN_INLINE vec<T, N> normalize(vec<T, N> a) {
  return a * rsqrt(dot(a, a));
}
template <class T, int N>
ATTN_ONLY(reals, T)
ATTN_INLINE vec<T, N> faceforward(vec<T, N> normal, vec<T, N> incident, vec<T, N> reference) {
  return dot(reference, incident) < (T)0.0f ? normal : -normal;
}
template <class T, int N>
ATTN_ONLY(reals, T)
ATTN_INLINE vec<T, N> reflect(vec<T, N> incident, vec<T, N> normal) {
  return incident - (T)2.0f * dot(normal, incident) * normal;
}
template <class T, int N>
ATTN_ONLY(reals, T)
ATTN_INLINE vec<T, N> refract(vec<T, N> incident, vec<T, N> normal, T eta) {
  T cosine = dot(normal, incident);
  T k = (T)1.0f - eta * eta * ((T)1.0f - cosine * cosine);
  if (k < (T)0.0f) return (vec<T, N>)((T)0.0f);
  return eta * incident - (eta * cosine + sqrt(k)) * normal;
}
template <class T>
ATTN_ONLY(reals, T)
ATTN_INLINE vec<T, 3> cross(vec<T, 3> a, vec<T, 3> b) {
  return a.yzx * b.zxy - a.zxy * b.yzx;
}

}  // namespace metal
