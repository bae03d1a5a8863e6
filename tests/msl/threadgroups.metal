#include <metal_stdlib>
using namespace metal;

kernel void reverse(device const int* in [[buffer(0)]], device int* out [[buffer(1)]],
                    uint i [[thread_index_in_threadgroup]],
                    uint n [[threads_per_threadgroup]], uint group [[threadgroup_position_in_grid]],
                    threadgroup int* shared [[threadgroup(0)]]) {
  shared[i] = in[group * n + i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[group * n + i] = shared[n - 1 - i];
}

// A ring: each thread reads its neighbour's value and writes its own, in turns.
kernel void ring(device int* out [[buffer(0)]], constant int& turns [[buffer(1)]],
                 uint i [[thread_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
  threadgroup int value[1024];
  value[i] = int(i);
  for (int turn = 0; turn < turns; turn++) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int next = value[(i + 1) % n];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    value[i] = next + 1;
  }
  out[i] = value[i];
}

struct Cell { float2 pair; int tag; };
template <int N>
void fill(threadgroup float (&grid)[N][4], uint i) {
  for (int k = 0; k < 4; k++) grid[i][k] = float(N * i + k);
}
template <typename T, int N>
kernel void several(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]],
                    threadgroup T* first [[threadgroup(0)]],
                    threadgroup uchar* second [[threadgroup(3)]]) {
  threadgroup float grid[N][4], total;
  threadgroup Cell cells[N];
  threadgroup T one;
  first[i] = T(i);
  second[i] = uchar(2 * i);
  fill<N>(grid, i);
  cells[i].pair = float2(i, -float(i));
  cells[i].tag = int(i);
  if (i == 0) { total = 100; one = T(7); }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  uint j = N - 1 - i;
  float sum = float(first[j]) + second[j] + grid[j][3] + cells[j].pair.y + cells[j].tag;
  out[i] = sum + total + float(one);
}
template [[host_name("several_half")]] kernel decltype(several<half, 16>) several<half, 16>;
template [[host_name("several_float")]] kernel decltype(several<float, 48>) several<float, 48>;

kernel void unwritten(device float* out [[buffer(0)]], device half* halves [[buffer(1)]],
                      threadgroup float* dynamic [[threadgroup(0)]],
                      uint i [[thread_index_in_threadgroup]]) {
  threadgroup float fixed[32];
  threadgroup half small[32];
  out[i] = fixed[i];
  out[32 + i] = dynamic[i];
  halves[i] = small[i];
  fixed[i] = 1;
  dynamic[i] = 1;
  small[i] = 1;
}

kernel void atomics(device atomic_int* ints [[buffer(0)]], device atomic_uint* uints [[buffer(1)]],
                    device atomic_float* floats [[buffer(2)]], device int* old [[buffer(3)]],
                    uint i [[thread_position_in_grid]],
                    uint k [[thread_index_in_threadgroup]]) {
  threadgroup atomic_int local[4];
  threadgroup atomic_float local_float;
  if (k < 4) atomic_store_explicit(&local[k], 0, memory_order_relaxed);
  if (k == 0) atomic_store_explicit(&local_float, 0.0f, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  old[i] = atomic_fetch_add_explicit(&ints[0], 1, memory_order_relaxed);
  atomic_fetch_max_explicit(&ints[1], int(i) - 5, memory_order_relaxed);
  atomic_fetch_min_explicit(&ints[2], -int(i), memory_order_relaxed);
  atomic_fetch_sub_explicit(&ints[3], 2, memory_order_relaxed);
  atomic_fetch_or_explicit(&uints[0], 1u << (i % 32), memory_order_relaxed);
  atomic_fetch_and_explicit(&uints[1], ~(1u << (i % 7)), memory_order_relaxed);
  atomic_fetch_xor_explicit(&uints[2], i, memory_order_relaxed);
  atomic_fetch_max_explicit(&uints[3], 0xfffffff0u + (i % 3), memory_order_relaxed);
  atomic_fetch_add_explicit(&floats[0], 0.5f, memory_order_relaxed);
  atomic_fetch_add_explicit(&local[i % 4], int(i), memory_order_relaxed);
  atomic_fetch_add_explicit(&local_float, 0.25f, memory_order_relaxed);
  int expected = atomic_load_explicit(&ints[4], memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(&ints[4], &expected, expected + 3,
                                                memory_order_relaxed, memory_order_relaxed)) {
  }
  int wrong = -1000;
  if (!atomic_compare_exchange_weak_explicit(&ints[5], &wrong, 1, memory_order_relaxed,
                                             memory_order_relaxed) && wrong != 42)
    atomic_store_explicit(&ints[6], 1, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (k < 4)
    atomic_fetch_add_explicit(&ints[8 + k], atomic_load_explicit(&local[k], memory_order_relaxed),
                              memory_order_relaxed);
  if (k == 0) {
    float sum = atomic_exchange_explicit(&local_float, 0.0f, memory_order_relaxed);
    atomic_fetch_add_explicit(&floats[1], sum, memory_order_relaxed);
    atomic_exchange_explicit(&ints[7], 11, memory_order_relaxed);
  }
}

kernel void places(device uint* out [[buffer(0)]], uint3 at [[thread_position_in_grid]],
                   uint3 size [[threads_per_grid]],
                   uint3 in_group [[thread_position_in_threadgroup]],
                   uint3 group [[threadgroup_position_in_grid]],
                   uint3 groups [[threadgroups_per_grid]],
                   uint3 threads [[threads_per_threadgroup]],
                   uint3 dispatched [[dispatch_threads_per_threadgroup]],
                   uint index [[thread_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]],
                   uint simdgroups [[simdgroups_per_threadgroup]]) {
  device uint* o = out + 24 * ((at.z * size.y + at.y) * size.x + at.x);
  for (int i = 0; i < 3; i++) {
    o[i] = in_group[i], o[3 + i] = group[i], o[6 + i] = groups[i], o[9 + i] = threads[i];
    o[12 + i] = dispatched[i], o[15 + i] = at[i];
  }
  o[18] = index, o[19] = lane, o[20] = simdgroup, o[21] = simdgroups;
}
kernel void short_places(device ushort* out [[buffer(0)]], ushort2 at [[thread_position_in_grid]],
                         ushort2 size [[threads_per_grid]],
                         ushort in_group [[thread_position_in_threadgroup]],
                         ushort2 group [[threadgroup_position_in_grid]],
                         ushort threads [[threads_per_threadgroup]],
                         ushort lane [[thread_index_in_simdgroup]]) {
  device ushort* o = out + 6 * (at.y * size.x + at.x);
  o[0] = in_group, o[1] = group.x, o[2] = group.y, o[3] = threads, o[4] = lane, o[5] = size.y;
}

kernel void full(device float* out [[buffer(0)]], uint i [[thread_position_in_grid]],
                 uint k [[thread_index_in_threadgroup]],
                 uint simdgroup [[simdgroup_index_in_threadgroup]],
                 uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float sums[32];
  float x = float(i % 97) * 0.37f, sum = simd_sum(x);
  if (lane == 0) sums[simdgroup] = sum;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  sum = simd_sum(sums[lane]);
  out[i] = sum + x;
}

kernel void divided_lanes(device int* out [[buffer(0)]], constant int& odd [[buffer(1)]],
                          uint i [[thread_index_in_threadgroup]]) {
  threadgroup int shared[64];
  shared[i] = int(i);
  if (odd && i % 2) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = shared[i ^ 2] + 1;
  } else {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = shared[i ^ 2];
  }
}
kernel void divided_simdgroups(device int* out [[buffer(0)]], constant int& odd [[buffer(1)]],
                               uint i [[thread_index_in_threadgroup]],
                               uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup int shared[64];
  shared[i] = int(i);
  if (odd && simdgroup == 1) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = shared[i ^ 32] + 1;
  } else {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = shared[i ^ 32];
  }
}

kernel void large_frame(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                        uint i [[thread_position_in_grid]]) {
  int table[12000];
  for (int k = 0; k < n; k++) table[(k * 7919) % n] = k + int(i);
  out[i] = table[n / 2];
}
kernel void too_large_frame(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                            uint i [[thread_position_in_grid]]) {
  float4 table[4200];
  for (int k = 0; k < n; k++) table[(k * 7919) % n] = float4(k + int(i));
  out[i] = int(table[n / 2].x);
}
[[max_total_threads_per_threadgroup(64)]]
kernel void limited(device int* out [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  out[i] = int(i);
}
