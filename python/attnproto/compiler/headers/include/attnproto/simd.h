// Barriers and simdgroup functions. The attn_* functions are the engine's.
// Two calls in two branches meet different lanes: nomerge keeps them two.
#define ATTN_COLLECTIVE extern "C" __attribute__((convergent, const, nothrow, nomerge))
#define ATTN_BARRIER extern "C" __attribute__((convergent, nothrow, nomerge))
ATTN_COLLECTIVE uint attn_lane_index();
ATTN_COLLECTIVE uint attn_shuffle_u32(uint value, uint source);
ATTN_COLLECTIVE ulong attn_shuffle_u64(ulong value, uint source);
ATTN_COLLECTIVE uint attn_broadcast_first_u32(uint value);
ATTN_COLLECTIVE uint attn_ballot(uint vote);
ATTN_BARRIER void attn_simdgroup_barrier();
ATTN_BARRIER void attn_threadgroup_barrier();
#define ATTN_REDUCTION(suffix, T)                              \
  ATTN_COLLECTIVE T attn_reduce_##suffix(T value, uint op);    \
  ATTN_COLLECTIVE T attn_prefix_##suffix(T value, uint op, uint inclusive);
ATTN_REDUCTION(f32, float)
ATTN_REDUCTION(i32, int)
ATTN_REDUCTION(u32, uint)
ATTN_REDUCTION(i64, long)
ATTN_REDUCTION(u64, ulong)
#undef ATTN_REDUCTION

namespace metal {

enum class mem_flags {
  mem_none = 0,
  mem_device = 1,
  mem_threadgroup = 2,
  mem_texture = 4,
  mem_threadgroup_imageblock = 8,
  mem_object_data = 16
};
ATTN_INLINE constexpr mem_flags operator|(mem_flags a, mem_flags b) {
  return (mem_flags)((int)a | (int)b);
}
#ifdef ATTN_VALIDATE
// Says which memory the barrier that follows orders (compiler/passes/sanitize_accesses.py).
ATTN_BARRIER void attn_arrive_threadgroup(uint flags);
ATTN_BARRIER void attn_arrive_simdgroup(uint flags);
#else
ATTN_INLINE void attn_arrive_threadgroup(uint) {}
ATTN_INLINE void attn_arrive_simdgroup(uint) {}
#endif
ATTN_INLINE void threadgroup_barrier(mem_flags flags) {
  attn_arrive_threadgroup((uint)flags);
  attn_threadgroup_barrier();
}
// Without memory to order, a simdgroup whose lanes meet at every collective has
// nothing to wait for.
ATTN_INLINE void simdgroup_barrier(mem_flags flags) {
  if (flags == mem_flags::mem_none) return;
  attn_arrive_simdgroup((uint)flags);
  attn_simdgroup_barrier();
}


// The numbers are the engine's (cpp/cpu/runtime.cpp).
constexpr __constant uint attn_sum = 0, attn_product = 1, attn_minimum = 2, attn_maximum = 3,
                          attn_and = 4, attn_or = 5, attn_xor = 6;

template <class T>
ATTN_INLINE T attn_reduce(T x, uint op) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = attn_reduce(x[i], op);
    return x;
  } else if constexpr (attn_is_real<T>) {
    return (T)attn_reduce_f32((float)x, op);
  } else if constexpr (sizeof(T) == 8) {
    if constexpr (__is_signed(T)) return (T)attn_reduce_i64(x, op);
    else return (T)attn_reduce_u64(x, op);
  } else if constexpr (__is_signed(T)) {
    return (T)attn_reduce_i32(x, op);
  } else {
    return (T)attn_reduce_u32(x, op);
  }
}
template <class T>
ATTN_INLINE T attn_prefix(T x, uint op, uint inclusive) {
  if constexpr (attn_is_vector<T>) {
    for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = attn_prefix(x[i], op, inclusive);
    return x;
  } else if constexpr (attn_is_real<T>) {
    return (T)attn_prefix_f32((float)x, op, inclusive);
  } else if constexpr (sizeof(T) == 8) {
    if constexpr (__is_signed(T)) return (T)attn_prefix_i64(x, op, inclusive);
    else return (T)attn_prefix_u64(x, op, inclusive);
  } else if constexpr (__is_signed(T)) {
    return (T)attn_prefix_i32(x, op, inclusive);
  } else {
    return (T)attn_prefix_u32(x, op, inclusive);
  }
}
template <class T>
ATTN_INLINE T attn_shuffle(T x, uint source) {
#ifndef ATTN_LINT  // which says so of every function of the library
  static_assert(!__is_class(T), "lanes exchange numbers and vectors, of thread_elements() [0], [1]");
#endif
  if constexpr (attn_lanes<T>::count == 3) {
    for (int i = 0; i < 3; i++) x[i] = attn_shuffle(x[i], source);
    return x;
  } else if constexpr (sizeof(T) == 4) {
    return as_type<T>(attn_shuffle_u32(as_type<uint>(x), source));
  } else if constexpr (sizeof(T) == 2) {
    return as_type<T>((ushort)attn_shuffle_u32(as_type<ushort>(x), source));
  } else if constexpr (sizeof(T) == 1) {
    return (T)attn_shuffle_u32((uint)(int)x, source);
  } else if constexpr (sizeof(T) == 8) {
    return as_type<T>(attn_shuffle_u64(as_type<ulong>(x), source));
  } else {
    for (int i = 0; i < attn_lanes<T>::count; i++) x[i] = attn_shuffle(x[i], source);
    return x;
  }
}

// Past the end, MSL leaves the value of the lane itself. The engine is asked once, before the
// choice: a call in each arm would be a branch.
ATTN_INLINE uint attn_lane_after(uint delta) {
  uint lane = attn_lane_index();
  return lane + delta < 32 ? lane + delta : lane;
}
ATTN_INLINE uint attn_lane_before(uint delta) {
  uint lane = attn_lane_index();
  return lane >= delta ? lane - delta : lane;
}

#define ATTN_BOTH(T, name, types, parameters, expression)           \
  template <class T>                                                \
  ATTN_ONLY(types, T)                                               \
  ATTN_INLINE T name parameters { return expression; }
ATTN_BOTH(T, simd_sum, numbers_32, (T x), attn_reduce(x, attn_sum))
ATTN_BOTH(T, simd_product, numbers_32, (T x), attn_reduce(x, attn_product))
ATTN_BOTH(T, simd_min, numbers_32, (T x), attn_reduce(x, attn_minimum))
ATTN_BOTH(T, simd_max, numbers_32, (T x), attn_reduce(x, attn_maximum))
ATTN_BOTH(T, simd_and, integers_32, (T x), attn_reduce(x, attn_and))
ATTN_BOTH(T, simd_or, integers_32, (T x), attn_reduce(x, attn_or))
ATTN_BOTH(T, simd_xor, integers_32, (T x), attn_reduce(x, attn_xor))
ATTN_BOTH(T, simd_prefix_inclusive_sum, numbers_32, (T x), attn_prefix(x, attn_sum, 1))
ATTN_BOTH(T, simd_prefix_exclusive_sum, numbers_32, (T x), attn_prefix(x, attn_sum, 0))
ATTN_BOTH(T, simd_prefix_inclusive_product, numbers_32, (T x), attn_prefix(x, attn_product, 1))
ATTN_BOTH(T, simd_prefix_exclusive_product, numbers_32, (T x), attn_prefix(x, attn_product, 0))
ATTN_BOTH(T, simd_shuffle, numbers_32, (T x, ushort lane), attn_shuffle(x, lane))
ATTN_BOTH(T, simd_broadcast, numbers_32, (T x, ushort lane), attn_shuffle(x, lane))
ATTN_BOTH(T, simd_shuffle_xor, numbers_32, (T x, ushort mask), attn_shuffle(x, attn_lane_index() ^ mask))
ATTN_BOTH(T, simd_shuffle_down, numbers_32, (T x, ushort delta), attn_shuffle(x, attn_lane_after(delta)))
ATTN_BOTH(T, simd_shuffle_up, numbers_32, (T x, ushort delta), attn_shuffle(x, attn_lane_before(delta)))
ATTN_BOTH(T, simd_shuffle_rotate_down, numbers_32, (T x, ushort delta),
          attn_shuffle(x, (attn_lane_index() + delta) & 31))
ATTN_BOTH(T, simd_shuffle_rotate_up, numbers_32, (T x, ushort delta),
          attn_shuffle(x, (attn_lane_index() - delta) & 31))
#undef ATTN_BOTH

template <class T>
ATTN_ONLY(numbers_32, T)
ATTN_INLINE T simd_broadcast_first(T x) {
  return attn_shuffle(x, attn_broadcast_first_u32(attn_lane_index()));
}
template <class T>
ATTN_ONLY(numbers_32, T)
ATTN_INLINE T simd_shuffle_and_fill_down(T x, T fill, ushort delta, ushort modulo = 32) {
  uint lane = attn_lane_index(), from = lane % modulo + delta, base = lane - lane % modulo;
  T inside = attn_shuffle(x, base + from % modulo);
  T outside = attn_shuffle(fill, base + from % modulo);
  return from < modulo ? inside : outside;
}
template <class T>
ATTN_ONLY(numbers_32, T)
ATTN_INLINE T simd_shuffle_and_fill_up(T x, T fill, ushort delta, ushort modulo = 32) {
  uint lane = attn_lane_index(), from = lane % modulo + modulo - delta;
  uint base = lane - lane % modulo;
  T inside = attn_shuffle(x, base + from % modulo);
  T outside = attn_shuffle(fill, base + from % modulo);
  return lane % modulo >= delta ? inside : outside;
}

// Votes of a simdgroup or a quad, a bit a lane; of whose votes the type tells.
// A quad's are bits 0 to 3.
ATTN_INLINE uint attn_quad(uint votes) { return votes >> (attn_lane_index() & ~3u) & 15u; }
ATTN_INLINE ulong attn_votes(ulong, bool vote) { return attn_ballot(vote); }
ATTN_INLINE uint attn_votes(uint, bool vote) { return attn_quad(attn_ballot(vote)); }
template <class T>
struct attn_vote {
  typedef T vote_t;
  T votes, active;
  attn_vote(vote_t of, vote_t among) : votes(of), active(among) {}
  explicit attn_vote(vote_t of = 0) : votes(of), active(attn_votes(of, true)) {}
  // Both, because a temporary is in no address space of its own.
  explicit operator vote_t() const __private& { return votes; }
  explicit operator vote_t() const&& { return votes; }
  bool all() const __private& { return votes == active; }
  bool all() const&& { return votes == active; }
  bool any() const __private& { return votes != 0; }
  bool any() const&& { return votes != 0; }
};
typedef attn_vote<ulong> simd_vote;
ATTN_INLINE simd_vote simd_active_threads_mask() {
  ulong active = attn_ballot(1);
  return {active, active};
}
ATTN_INLINE simd_vote simd_ballot(bool vote) { return {attn_ballot(vote), attn_ballot(1)}; }
ATTN_INLINE bool simd_any(bool vote) { return attn_ballot(vote) != 0; }
ATTN_INLINE bool simd_all(bool vote) { return attn_ballot(!vote) == 0; }
ATTN_INLINE bool simd_is_first() {
  return attn_lane_index() == attn_broadcast_first_u32(attn_lane_index());
}

}  // namespace metal
