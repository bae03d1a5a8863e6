// metal_matrix: Columns vectors of Rows elements each, computed in the elements' type.
namespace metal {

template <class T, int Columns, int Rows = Columns>
struct matrix {
  static_assert(Columns >= 2 && Columns <= 4 && Rows >= 2 && Rows <= 4, "a matrix is 2x2 to 4x4");
  typedef vec<T, Rows> column;
  column columns[Columns];

  matrix() = default;
  matrix(const matrix&) = default;
  matrix& operator=(const matrix&) = default;
  ATTN_INLINE matrix(const __constant matrix& m) {
    for (int i = 0; i < Columns; i++) columns[i] = m.columns[i];
  }
  // The number fills the diagonal.
  ATTN_INLINE explicit matrix(T diagonal) {
    for (int i = 0; i < Columns; i++) {
      columns[i] = (column)((T)0);
      if (i < Rows) columns[i][i] = diagonal;
    }
  }
  template <class U>
  ATTN_INLINE explicit matrix(matrix<U, Columns, Rows> m) {
    for (int i = 0; i < Columns; i++) columns[i] = attn_vector<column>(m.columns[i]);
  }
  // Columns one by one, or the elements in their order.
  template <int N = Columns, class = enable_if_t<N == 2>>
  ATTN_INLINE matrix(column a, column b) : columns{a, b} {}
  template <int N = Columns, class = enable_if_t<N == 3>>
  ATTN_INLINE matrix(column a, column b, column c) : columns{a, b, c} {}
  template <int N = Columns, class = enable_if_t<N == 4>>
  ATTN_INLINE matrix(column a, column b, column c, column d) : columns{a, b, c, d} {}
  template <class... A, class = enable_if_t<sizeof...(A) + 2 == Columns * Rows>>
  ATTN_INLINE matrix(T first, T second, A... rest) {
    const T all[] = {first, second, (T)rest...};
    for (int i = 0; i < Columns; i++)
      for (int k = 0; k < Rows; k++) columns[i][k] = all[i * Rows + k];
  }

  ATTN_INLINE column operator[](int i) const&& { return columns[i]; }
#define ATTN_COLUMN(space)                                                                   \
  ATTN_INLINE const space column& operator[](int i) const space& { return columns[i]; }
#define ATTN_WRITABLE(space)                                                                 \
  ATTN_INLINE space column& operator[](int i) space& { return columns[i]; }                  \
  ATTN_INLINE void operator=(const __constant matrix& m) space {                             \
    for (int i = 0; i < Columns; i++) columns[i] = m.columns[i];                             \
  }                                                                                          \
  ATTN_INLINE void operator+=(matrix m) space {                                              \
    for (int i = 0; i < Columns; i++) columns[i] += m.columns[i];                            \
  }                                                                                          \
  ATTN_INLINE void operator-=(matrix m) space {                                              \
    for (int i = 0; i < Columns; i++) columns[i] -= m.columns[i];                            \
  }                                                                                          \
  ATTN_INLINE void operator*=(T by) space {                                                  \
    for (int i = 0; i < Columns; i++) columns[i] *= by;                                      \
  }                                                                                          \
  ATTN_INLINE void operator*=(matrix<T, Columns, Columns> m) space {                         \
    const matrix product = (matrix)*this * m;                                                \
    for (int i = 0; i < Columns; i++) columns[i] = product.columns[i];                       \
  }
  ATTN_COLUMN(__private) ATTN_COLUMN(__global) ATTN_COLUMN(__local) ATTN_COLUMN(__constant)
  ATTN_WRITABLE(__private) ATTN_WRITABLE(__global) ATTN_WRITABLE(__local)
#undef ATTN_COLUMN
#undef ATTN_WRITABLE
};

template <class T, int C, int R>
ATTN_INLINE matrix<T, C, R> operator-(matrix<T, C, R> m) {
  for (int i = 0; i < C; i++) m.columns[i] = -m.columns[i];
  return m;
}
template <class T, int C, int R>
ATTN_INLINE matrix<T, C, R> operator+(matrix<T, C, R> a, matrix<T, C, R> b) {
  for (int i = 0; i < C; i++) a.columns[i] += b.columns[i];
  return a;
}
template <class T, int C, int R>
ATTN_INLINE matrix<T, C, R> operator-(matrix<T, C, R> a, matrix<T, C, R> b) {
  for (int i = 0; i < C; i++) a.columns[i] -= b.columns[i];
  return a;
}
template <class T, int C, int R>
ATTN_INLINE bool operator==(matrix<T, C, R> a, matrix<T, C, R> b) {
  bool same = true;
  for (int i = 0; i < C; i++)
    for (int k = 0; k < R; k++) same = same && a.columns[i][k] == b.columns[i][k];
  return same;
}
template <class T, int C, int R>
ATTN_INLINE bool operator!=(matrix<T, C, R> a, matrix<T, C, R> b) {
  return !(a == b);
}
template <class T, int C, int R, class S, class = enable_if_t<is_arithmetic<S>::value>>
ATTN_INLINE matrix<T, C, R> operator*(matrix<T, C, R> m, S by) {
  for (int i = 0; i < C; i++) m.columns[i] *= (T)by;
  return m;
}
template <class T, int C, int R, class S, class = enable_if_t<is_arithmetic<S>::value>>
ATTN_INLINE matrix<T, C, R> operator*(S by, matrix<T, C, R> m) {
  return m * by;
}
// A column vector at the right, a row vector at the left.
template <class T, int C, int R>
ATTN_INLINE vec<T, R> operator*(matrix<T, C, R> m, vec<T, C> v) {
  vec<T, R> sum = m.columns[0] * v[0];
  for (int i = 1; i < C; i++) sum += m.columns[i] * v[i];
  return sum;
}
template <class T, int C, int R>
ATTN_INLINE vec<T, C> operator*(vec<T, R> v, matrix<T, C, R> m) {
  vec<T, C> r;
  for (int i = 0; i < C; i++) r[i] = dot(v, m.columns[i]);
  return r;
}
template <class T, int C, int K, int R>
ATTN_INLINE matrix<T, C, R> operator*(matrix<T, K, R> a, matrix<T, C, K> b) {
  matrix<T, C, R> product;
  for (int i = 0; i < C; i++) product.columns[i] = a * b.columns[i];
  return product;
}

template <class T, int C, int R>
ATTN_INLINE matrix<T, R, C> transpose(matrix<T, C, R> m) {
  matrix<T, R, C> turned;
  for (int i = 0; i < R; i++)
    for (int k = 0; k < C; k++) turned.columns[i][k] = m.columns[k][i];
  return turned;
}
template <class T>
ATTN_INLINE T determinant(matrix<T, 2, 2> m) {
  return m[0][0] * m[1][1] - m[1][0] * m[0][1];
}
template <class T>
ATTN_INLINE T determinant(matrix<T, 3, 3> m) {
  return dot(m[0], cross(m[1], m[2]));
}
// By its first column, of the rest's minors.
template <class T>
ATTN_INLINE T determinant(matrix<T, 4, 4> m) {
  T sum = (T)0, sign = (T)1;
  for (int row = 0; row < 4; row++) {
    matrix<T, 3, 3> minor;
    for (int i = 0; i < 3; i++)
      for (int k = 0; k < 3; k++) minor.columns[i][k] = m.columns[i + 1][k < row ? k : k + 1];
    sum += sign * m.columns[0][row] * determinant(minor);
    sign = -sign;
  }
  return sum;
}

#define ATTN_MATRICES(T, C)             \
  typedef matrix<T, C, 2> T##C##x2;     \
  typedef matrix<T, C, 3> T##C##x3;     \
  typedef matrix<T, C, 4> T##C##x4;
ATTN_MATRICES(float, 2) ATTN_MATRICES(float, 3) ATTN_MATRICES(float, 4)
ATTN_MATRICES(half, 2) ATTN_MATRICES(half, 3) ATTN_MATRICES(half, 4)
#undef ATTN_MATRICES

}  // namespace metal

// As the vectors, they have their names outside the namespace too.
#define ATTN_MATRICES(C) \
  using metal::float##C##x2; using metal::float##C##x3; using metal::float##C##x4; \
  using metal::half##C##x2; using metal::half##C##x3; using metal::half##C##x4;
ATTN_MATRICES(2) ATTN_MATRICES(3) ATTN_MATRICES(4)
#undef ATTN_MATRICES
