// metal_quadgroup: what four neighbouring lanes compute together.
namespace metal {

template <class T>
ATTN_INLINE T attn_quad_lane(T x, uint lane) {
  return attn_shuffle(x, (attn_lane_index() & ~3u) + (lane & 3));
}

#define ATTN_QUAD(name, parameters, expression) \
  template <class T>                            \
  ATTN_ONLY(numbers_32, T)                      \
  ATTN_INLINE T quad_##name parameters { return expression; }
ATTN_QUAD(broadcast, (T x, ushort lane), attn_quad_lane(x, lane))
ATTN_QUAD(broadcast_first, (T x), attn_quad_lane(x, __builtin_ctz(attn_quad(attn_ballot(1)))))
ATTN_QUAD(shuffle, (T x, ushort lane), attn_quad_lane(x, lane))
ATTN_QUAD(shuffle_xor, (T x, ushort mask), attn_shuffle(x, attn_lane_index() ^ (mask & 3)))
ATTN_QUAD(shuffle_rotate_up, (T x, ushort delta), attn_quad_lane(x, attn_lane_index() - delta))
ATTN_QUAD(shuffle_rotate_down, (T x, ushort delta), attn_quad_lane(x, attn_lane_index() + delta))
// Past the quad's edge the value is undefined; it is the lane's own here.
ATTN_QUAD(shuffle_up, (T x, ushort delta),
          attn_shuffle(x, attn_lane_index() - ((attn_lane_index() & 3) >= delta ? delta : 0)))
ATTN_QUAD(shuffle_down, (T x, ushort delta),
          attn_shuffle(x, attn_lane_index() + ((attn_lane_index() & 3) + delta < 4 ? delta : 0)))
ATTN_QUAD(shuffle_and_fill_up, (T x, T fill, ushort delta, ushort modulo = 4),
          simd_shuffle_and_fill_up(x, fill, delta, modulo))
ATTN_QUAD(shuffle_and_fill_down, (T x, T fill, ushort delta, ushort modulo = 4),
          simd_shuffle_and_fill_down(x, fill, delta, modulo))
#undef ATTN_QUAD

// In the order of the lanes that take part; `first` begins.
#define ATTN_QUAD(name, types, combined)                             \
  template <class T>                                                 \
  ATTN_ONLY(types, T)                                                \
  ATTN_INLINE T quad_##name(T value) {                               \
    uint active = attn_quad(attn_ballot(1));                         \
    uint first = (uint)__builtin_ctz(active);                        \
    T x = attn_quad_lane(value, first);                              \
    for (uint lane = 1; lane < 4; lane++) {                          \
      T y = attn_quad_lane(value, lane);                             \
      if (lane > first && (active >> lane & 1)) x = (T)(combined);   \
    }                                                                \
    return x;                                                        \
  }
ATTN_QUAD(sum, numbers_32, x + y)
ATTN_QUAD(product, numbers_32, x * y)
ATTN_QUAD(max, numbers_32, max(x, y))
ATTN_QUAD(min, numbers_32, min(x, y))
ATTN_QUAD(and, integers_32, x & y)
ATTN_QUAD(or, integers_32, x | y)
ATTN_QUAD(xor, integers_32, x ^ y)
#undef ATTN_QUAD
#define ATTN_QUAD(name, identity, before, combined)                            \
  template <class T>                                                           \
  ATTN_ONLY(numbers_32, T)                                                     \
  ATTN_INLINE T quad_prefix_##name(T value) {                                  \
    uint active = attn_quad(attn_ballot(1)), own = attn_lane_index() & 3;      \
    T x = (T)identity;                                                         \
    for (uint lane = 0; lane < 4; lane++) {                                    \
      T y = attn_quad_lane(value, lane);                                       \
      if (lane before own && (active >> lane & 1)) x = (T)(combined);          \
    }                                                                          \
    return x;                                                                  \
  }
ATTN_QUAD(inclusive_sum, 0, <=, x + y)
ATTN_QUAD(exclusive_sum, 0, <, x + y)
ATTN_QUAD(inclusive_product, 1, <=, x * y)
ATTN_QUAD(exclusive_product, 1, <, x * y)
#undef ATTN_QUAD

typedef attn_vote<uint> quad_vote;
ATTN_INLINE quad_vote quad_active_threads_mask() {
  uint active = attn_quad(attn_ballot(1));
  return {active, active};
}
ATTN_INLINE quad_vote quad_ballot(bool vote) {
  return {attn_quad(attn_ballot(vote)), attn_quad(attn_ballot(1))};
}
ATTN_INLINE bool quad_any(bool vote) { return attn_quad(attn_ballot(vote)) != 0; }
ATTN_INLINE bool quad_all(bool vote) { return attn_quad(attn_ballot(!vote)) == 0; }
ATTN_INLINE bool quad_is_first() {
  return (attn_lane_index() & 3) == (uint)__builtin_ctz(attn_quad(attn_ballot(1)));
}

}  // namespace metal
