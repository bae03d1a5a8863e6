// simdgroup_matrix: 8x8 over 32 lanes, two neighbouring elements of a row a lane.
// The two elements of one lane. The engines find these calls in the IR (compiler/passes/batch_matrix_products.py).
struct attn_pair {
  float x, y;
};
// Operands keep their types: the hardware takes half and bfloat without a conversion.
#define ATTN_PRODUCT(A, B)                                                   \
  extern "C" __attribute__((convergent, const, nothrow)) attn_pair           \
      attn_matrix_multiply_accumulate_##A##_##B(A a0, A a1, B b0, B b1, float c0, float c1); \
  ATTN_INLINE attn_pair attn_matrix_product(A a0, A a1, B b0, B b1, float c0, float c1) {    \
    return attn_matrix_multiply_accumulate_##A##_##B(a0, a1, b0, b1, c0, c1);                \
  }
ATTN_PRODUCT(float, float)
ATTN_PRODUCT(float, half)
ATTN_PRODUCT(float, bfloat)
ATTN_PRODUCT(half, float)
ATTN_PRODUCT(half, half)
ATTN_PRODUCT(half, bfloat)
ATTN_PRODUCT(bfloat, float)
ATTN_PRODUCT(bfloat, half)
ATTN_PRODUCT(bfloat, bfloat)
#undef ATTN_PRODUCT

// Says to those who count (compiler/passes/count_operations.py) that a fragment is moved; nothing to others.
extern "C" __attribute__((nothrow)) void attn_fragment(uint space_store_transposed_bytes);
#define ATTN_FRAGMENT_device 100
#define ATTN_FRAGMENT_threadgroup 200

namespace metal {

ATTN_INLINE void attn_fragment_moved(uint space, bool store, bool transposed, uint bytes) {
  uint kind = space + 10 * store;
  transposed ? attn_fragment(1000 * bytes + kind + 1) : attn_fragment(1000 * bytes + kind);
}
ATTN_INLINE uint attn_matrix_row() {
  uint lane = attn_lane_index();
  return ((lane / 4) & 4) + (lane / 2) % 4;
}
ATTN_INLINE uint attn_matrix_column() {
  uint lane = attn_lane_index();
  return ((lane / 4) & 2) * 2 + (lane % 2) * 2;
}

// Metal's type has 64 elements, those of the simdgroup, of which a lane has two: a text takes [0]
// and [1], or reinterprets the two as a pair, and nothing else that Metal would read otherwise.
template <class T>
struct attn_elements {
  vec<T, 2> pair;
  ATTN_INLINE __private T& operator[](int i) __private { return ((__private T*)&pair)[i]; }
  ATTN_INLINE T operator[](int i) const __private { return pair[i]; }
};

template <class T, int Rows, int Columns>
struct simdgroup_matrix {
  static_assert(Rows == 8 && Columns == 8, "a simdgroup_matrix is 8x8");
  static_assert(is_floating_point_v<T>, "a simdgroup_matrix is of half, bfloat or float");
  typedef attn_elements<T> storage_type;
  storage_type elements;
  simdgroup_matrix() = default;
  // The value fills the diagonal (MSL 2.3, table 2.4), nothing else.
  ATTN_INLINE explicit simdgroup_matrix(T diagonal) {
    uint row = attn_matrix_row(), column = attn_matrix_column();
    elements.pair.x = row == column ? diagonal : (T)0;
    elements.pair.y = row == column + 1 ? diagonal : (T)0;
  }
  ATTN_INLINE __private storage_type& thread_elements() __private { return elements; }
  ATTN_INLINE const __private storage_type& thread_elements() const __private { return elements; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <class T, int Rows, int Columns = Rows>
ATTN_INLINE simdgroup_matrix<T, Rows, Columns> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, Rows, Columns> m;
  m.elements.pair = (vec<T, 2>)(value);
  return m;
}
template <class T, int Rows, int Columns = Rows>
ATTN_INLINE simdgroup_matrix<T, Rows, Columns> make_diagonal_simdgroup_matrix(T value) {
  return simdgroup_matrix<T, Rows, Columns>(value);
}

#define ATTN_MATRIX_MEMORY(space, name)                                                           \
  template <class T>                                                                              \
  ATTN_INLINE void simdgroup_load(__private simdgroup_matrix<T, 8, 8>& m, const space T* from,    \
                                  ulong elements_per_row = 8, ulong2 origin = (ulong2)(0, 0),     \
                                  bool transpose = false) {                                       \
    attn_fragment_moved(ATTN_FRAGMENT_##name, false, transpose, sizeof(T));                       \
    uint row = attn_matrix_row(), column = attn_matrix_column();                                  \
    from += origin.y * elements_per_row + origin.x;                                               \
    if (transpose) {                                                                              \
      m.elements.pair.x = from[column * elements_per_row + row];                                       \
      m.elements.pair.y = from[(column + 1) * elements_per_row + row];                                 \
    } else {                                                                                      \
      m.elements.pair.x = from[row * elements_per_row + column];                                       \
      m.elements.pair.y = from[row * elements_per_row + column + 1];                                   \
    }                                                                                             \
  }                                                                                               \
  template <class T>                                                                              \
  ATTN_INLINE void simdgroup_store(simdgroup_matrix<T, 8, 8> m, space T* to,                      \
                                   ulong elements_per_row = 8, ulong2 origin = (ulong2)(0, 0),    \
                                   bool transpose = false) {                                      \
    attn_fragment_moved(ATTN_FRAGMENT_##name, true, transpose, sizeof(T));                        \
    uint row = attn_matrix_row(), column = attn_matrix_column();                                  \
    to += origin.y * elements_per_row + origin.x;                                                 \
    if (transpose) {                                                                              \
      to[column * elements_per_row + row] = m.elements.pair.x;                                         \
      to[(column + 1) * elements_per_row + row] = m.elements.pair.y;                                   \
    } else {                                                                                      \
      to[row * elements_per_row + column] = m.elements.pair.x;                                         \
      to[row * elements_per_row + column + 1] = m.elements.pair.y;                                     \
    }                                                                                             \
  }
ATTN_MATRIX_MEMORY(__global, device)
ATTN_MATRIX_MEMORY(__local, threadgroup)
#undef ATTN_MATRIX_MEMORY

// d = a b + c
template <class TD, class TA, class TB, class TC>
ATTN_INLINE void simdgroup_multiply_accumulate(__private simdgroup_matrix<TD, 8, 8>& d,
                                               simdgroup_matrix<TA, 8, 8> a,
                                               simdgroup_matrix<TB, 8, 8> b,
                                               simdgroup_matrix<TC, 8, 8> c) {
  attn_pair r = attn_matrix_product(a.elements.pair.x, a.elements.pair.y, b.elements.pair.x, b.elements.pair.y,
                                    (float)c.elements.pair.x, (float)c.elements.pair.y);
  d.elements.pair.x = (TD)r.x;
  d.elements.pair.y = (TD)r.y;
}
template <class TD, class TA, class TB>
ATTN_INLINE void simdgroup_multiply(__private simdgroup_matrix<TD, 8, 8>& d,
                                    simdgroup_matrix<TA, 8, 8> a,
                                    simdgroup_matrix<TB, 8, 8> b) {
  auto zero = make_filled_simdgroup_matrix<TD, 8, 8>((TD)0);
  simdgroup_multiply_accumulate(d, a, b, zero);
}
template <class T>
ATTN_INLINE simdgroup_matrix<T, 8, 8> operator*(simdgroup_matrix<T, 8, 8> a,
                                                simdgroup_matrix<T, 8, 8> b) {
  simdgroup_matrix<T, 8, 8> d;
  simdgroup_multiply(d, a, b);
  return d;
}

}  // namespace metal
