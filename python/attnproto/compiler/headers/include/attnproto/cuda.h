// The engine's functions on an NVIDIA GPU: a simdgroup is a warp.
//
// Lanes are renamed so that Apple's 8x8 fragment is the tensor core's accumulator
// fragment: the warp's lane (h4 h3 h2 h1 h0) is MSL's lane (h4 h1 h3 h2 h0).

ATTN_INLINE uint attn_warp_lane() { return __nvvm_read_ptx_sreg_tid_x() & 31u; }
ATTN_INLINE uint attn_from_warp(uint h) { return (h & 17u) | ((h & 2u) << 2) | ((h >> 1) & 6u); }
ATTN_INLINE uint attn_to_warp(uint m) { return (m & 17u) | ((m & 8u) >> 2) | ((m & 6u) << 1); }

#define ATTN_ENGINE extern "C" inline __attribute__((always_inline, convergent))
ATTN_ENGINE uint attn_lane_index() { return attn_from_warp(attn_warp_lane()); }
// The lanes that take part in a collective are those that run it together.
ATTN_INLINE uint attn_warp_active() {
  uint mask;
  __asm__ volatile("activemask.b32 %0;" : "=r"(mask));
  return mask;
}
ATTN_INLINE uint attn_warp_shuffle(uint value, uint warp_lane) {
  return (uint)__nvvm_shfl_sync_idx_i32(attn_warp_active(), (int)value, (int)warp_lane, 31);
}
ATTN_ENGINE uint attn_shuffle_u32(uint value, uint source) {
  return attn_warp_shuffle(value, attn_to_warp(source & 31u));
}
ATTN_ENGINE ulong attn_shuffle_u64(ulong value, uint source) {
  uint from = attn_to_warp(source & 31u);
  ulong low = attn_warp_shuffle((uint)value, from);
  return low | (ulong)attn_warp_shuffle((uint)(value >> 32), from) << 32;
}
ATTN_ENGINE uint attn_ballot(uint vote) {
  uint hardware = (uint)__nvvm_vote_ballot_sync(attn_warp_active(), vote != 0);
  uint votes = 0;  // bits change places as the lanes do
  for (uint m = 0; m < 32; m++) votes |= ((hardware >> attn_to_warp(m)) & 1u) << m;
  return votes;
}
ATTN_ENGINE uint attn_broadcast_first_u32(uint value) {
  return attn_shuffle_u32(value, (uint)__builtin_ctz(attn_ballot(1)));
}
ATTN_ENGINE void attn_simdgroup_barrier() { __nvvm_bar_warp_sync(attn_warp_active()); }
ATTN_ENGINE void attn_threadgroup_barrier() { __syncthreads(); }

template <class T>
ATTN_INLINE T attn_combine(T a, T b, uint op) {
  switch (op) {
    case 0:
      return a + b;
    case 1:
      return a * b;
    case 2:
      return b < a || a != a ? b : a;
    case 3:
      return a < b || a != a ? b : a;
    default:
      if constexpr (__is_integral(T)) return op == 4 ? a & b : op == 5 ? a | b : a ^ b;
      return a;
  }
}
template <class T>
ATTN_INLINE T attn_exchange(T value, uint from) {
  if constexpr (sizeof(T) == 8)
    return __builtin_bit_cast(T, attn_shuffle_u64(__builtin_bit_cast(ulong, value), from));
  else
    return __builtin_bit_cast(T, attn_shuffle_u32(__builtin_bit_cast(uint, value), from));
}
template <class T>
ATTN_INLINE T attn_reduce_lanes(T value, uint op) {
  uint active = attn_ballot(1);
  if (active == 0xffffffffu) {
    uint lane = attn_lane_index();
    for (uint k = 16; k; k >>= 1) value = attn_combine(value, attn_exchange(value, lane ^ k), op);
    return value;
  }
  T total = attn_exchange(value, (uint)__builtin_ctz(active));
  for (uint rest = active & (active - 1); rest; rest &= rest - 1)
    total = attn_combine(total, attn_exchange(value, (uint)__builtin_ctz(rest)), op);
  return total;
}
template <class T>
ATTN_INLINE T attn_prefix_lanes(T value, uint op, uint inclusive) {
  uint lane = attn_lane_index();
  T total = op == 1 ? (T)1 : (T)0;
  for (uint rest = attn_ballot(1); rest; rest &= rest - 1) {
    uint from = (uint)__builtin_ctz(rest);
    T other = attn_exchange(value, from);
    if (from < lane + inclusive) total = attn_combine(total, other, op);
  }
  return total;
}
#define ATTN_REDUCTION(suffix, T)                                                \
  ATTN_ENGINE T attn_reduce_##suffix(T value, uint op) {                         \
    return attn_reduce_lanes(value, op);                                         \
  }                                                                              \
  ATTN_ENGINE T attn_prefix_##suffix(T value, uint op, uint inclusive) {         \
    return attn_prefix_lanes(value, op, inclusive);                              \
  }
ATTN_REDUCTION(f32, float)
ATTN_REDUCTION(i32, int)
ATTN_REDUCTION(u32, uint)
ATTN_REDUCTION(i64, long)
ATTN_REDUCTION(u64, ulong)
#undef ATTN_REDUCTION

// 8x8 products stay calls until the kernel is optimised (compiler/tensor_core/select_products.py).

// ---- the launch: one kernel parameter holds what the host knows (cpp/cuda).
struct attn_launch {
  ulong buffers[ATTN_MAX_BUFFERS];
  uint threadgroup_offsets[ATTN_MAX_BUFFERS];
  uint threads[3];
  uint grid_threads[3];
};
// False for lanes that a smaller threadgroup at the grid's edge does not have.
ATTN_INLINE bool attn_place(const __private attn_launch& launch, __private attn_group& group,
                            __private attn_lane& lane) {
  // Unrolled at once, so that addresses are parameters and not memory to the passes after.
#pragma unroll
  for (int i = 0; i < ATTN_MAX_BUFFERS; i++) {
    group.buffers[i] = (__global void*)launch.buffers[i];
    group.threadgroup_offsets[i] = launch.threadgroup_offsets[i];
  }
  group.threadgroup_position[0] = __nvvm_read_ptx_sreg_ctaid_x();
  group.threadgroup_position[1] = __nvvm_read_ptx_sreg_ctaid_y();
  group.threadgroup_position[2] = __nvvm_read_ptx_sreg_ctaid_z();
  group.threadgroups[0] = __nvvm_read_ptx_sreg_nctaid_x();
  group.threadgroups[1] = __nvvm_read_ptx_sreg_nctaid_y();
  group.threadgroups[2] = __nvvm_read_ptx_sreg_nctaid_z();
  for (int i = 0; i < 3; i++) {
    uint size = launch.threads[i];
    uint left = launch.grid_threads[i] - group.threadgroup_position[i] * size;
    group.dispatch_threads[i] = size;
    group.grid_threads[i] = launch.grid_threads[i];
    group.threads[i] = left < size ? left : size;
  }
  uint count = group.threads[0] * group.threads[1] * group.threads[2];
  group.simdgroups = (count + 31) / 32;
  uint tid = __nvvm_read_ptx_sreg_tid_x();
  lane.group = &group;
  lane.lane = attn_from_warp(tid & 31u);
  lane.index = (tid & ~31u) | lane.lane;
  lane.simdgroup = tid / 32;
  lane.position[0] = lane.index % group.threads[0];
  lane.position[1] = lane.index / group.threads[0] % group.threads[1];
  lane.position[2] = lane.index / (group.threads[0] * group.threads[1]);
  return lane.index < count;
}
