// Quad functions, each quad of 16 with other lanes taking part: its number's bits say which.
#include <metal_stdlib>
using namespace metal;
template <typename T>
kernel void quads(device const T* in [[buffer(0)]], device T* out [[buffer(1)]],
                  device uint* votes [[buffer(2)]], uint i [[thread_index_in_threadgroup]]) {
  T x = in[i], fill = in[i ^ 1] * T(2);
  ushort lane = i % 4;
  device T* o = out + 24 * i;
  device uint* v = votes + 8 * i;
  if ((i / 4) >> lane & 1) {
    o[0] = quad_sum(x);
    o[1] = quad_product(x);
    o[2] = quad_min(x);
    o[3] = quad_max(x);
    o[4] = quad_prefix_inclusive_sum(x);
    o[5] = quad_prefix_exclusive_sum(x);
    o[6] = quad_prefix_inclusive_product(x);
    o[7] = quad_prefix_exclusive_product(x);
    o[8] = quad_broadcast_first(x);
    v[0] = quad_all(lane > 0);
    v[1] = quad_any(lane == 2);
    v[2] = (quad_vote::vote_t)quad_ballot(lane % 2 == 1);
    v[3] = (quad_vote::vote_t)quad_active_threads_mask();
    v[4] = quad_is_first();
    v[5] = quad_ballot(lane != 3).all() + 2 * quad_ballot(lane == 3).any();
  }
  o[9] = quad_broadcast(x, ushort(2));
  o[10] = quad_shuffle(x, ushort(3 - lane));
  o[11] = quad_shuffle_xor(x, ushort(2));
  o[12] = quad_shuffle_rotate_up(x, ushort(1));
  o[13] = quad_shuffle_rotate_down(x, ushort(1));
  T above = quad_shuffle_up(x, ushort(1)), below = quad_shuffle_down(x, ushort(1));
  o[14] = lane < 1 ? x : above;
  o[15] = lane > 2 ? x : below;
  o[16] = quad_shuffle_and_fill_up(x, fill, ushort(1));
  o[17] = quad_shuffle_and_fill_down(x, fill, ushort(1));
  o[18] = quad_shuffle_and_fill_up(x, fill, ushort(1), ushort(2));
  o[19] = quad_shuffle_and_fill_down(x, fill, ushort(1), ushort(2));
}
#define INSTANCE(T) template [[host_name("quads_" #T)]] kernel decltype(quads<T>) quads<T>;
INSTANCE(float) INSTANCE(half) INSTANCE(bfloat) INSTANCE(int) INSTANCE(uint) INSTANCE(short)
INSTANCE(ushort) INSTANCE(float2) INSTANCE(float3) INSTANCE(half4) INSTANCE(int3)

kernel void bits(device const uint* in [[buffer(0)]], device uint* out [[buffer(1)]],
                 uint i [[thread_index_in_threadgroup]]) {
  if ((i / 4) >> (i % 4) & 1) {
    out[3 * i] = quad_and(in[i]);
    out[3 * i + 1] = quad_or(in[i]);
    out[3 * i + 2] = quad_xor(in[i]);
  }
}

kernel void exclusive(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                      uint i [[thread_index_in_threadgroup]]) {
  out[2 * i] = quad_prefix_exclusive_sum(in[i]);
  out[2 * i + 1] = simd_prefix_exclusive_sum(in[i]);
}
