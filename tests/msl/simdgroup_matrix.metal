#include <metal_stdlib>
using namespace metal;

typedef simdgroup_float8x8 M;

kernel void layout(device float* in [[buffer(0)]], device float* out [[buffer(1)]],
                   uint lane [[thread_index_in_simdgroup]]) {
  M m;
  simdgroup_load(m, in);
  out[2 * lane] = m.thread_elements()[0];
  out[2 * lane + 1] = m.thread_elements()[1];
}

kernel void constructors(device float* out [[buffer(0)]], device half* halves [[buffer(1)]]) {
  M diagonal(3.0f);
  simdgroup_store(diagonal, out);
  simdgroup_store(make_filled_simdgroup_matrix<float, 8, 8>(4.0f), out + 64);
  simdgroup_store(make_filled_simdgroup_matrix<float, 8>(5.0f), out + 128);
  M set;
  set = M(0.0f);
  simdgroup_store(set, out + 192);
  simdgroup_store(simdgroup_half8x8(2.0h), halves);
}

template <typename T>
kernel void memory(device const T* in [[buffer(0)]], device T* out [[buffer(1)]],
                   threadgroup T* shared [[threadgroup(0)]],
                   uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_matrix<T, 8, 8> m;
  simdgroup_load(m, in, 24, ulong2(3, 2));
  simdgroup_store(m, out);
  simdgroup_load(m, in, 24, ulong2(3, 2), true);
  simdgroup_store(m, out + 64);
  simdgroup_load(m, in, 24, 0, true);
  simdgroup_store(m, out + 128, 16, ulong2(8, 0));
  for (uint i = lane; i < 240; i += 32) shared[i] = in[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_load(m, shared + 1, 20, ulong2(2, 1));
  simdgroup_store(m, out + 256, 8, ulong2(0, 0), true);
  simdgroup_load(m, (const threadgroup T*)shared, 20, ulong2(2, 1), true);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_store(m, shared, 10, ulong2(1, 1), true);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = lane; i < 100; i += 32) out[320 + i] = shared[i];
}
template [[host_name("memory_float")]] kernel decltype(memory<float>) memory<float>;
template [[host_name("memory_half")]] kernel decltype(memory<half>) memory<half>;
template [[host_name("memory_bfloat")]] kernel decltype(memory<bfloat>) memory<bfloat>;

template <typename D, typename A, typename B, typename C>
kernel void mixed(device const A* a [[buffer(0)]], device const B* b [[buffer(1)]],
                  device const C* c [[buffer(2)]], device D* out [[buffer(3)]]) {
  simdgroup_matrix<A, 8, 8> ma;
  simdgroup_matrix<B, 8, 8> mb;
  simdgroup_matrix<C, 8, 8> mc;
  simdgroup_matrix<D, 8, 8> d;
  simdgroup_load(ma, a);
  simdgroup_load(mb, b);
  simdgroup_load(mc, c);
  simdgroup_multiply_accumulate(d, ma, mb, mc);
  simdgroup_store(d, out);
}
#define MIXED(D, A, B, C) \
  template [[host_name("mixed_" #D "_" #A "_" #B "_" #C)]] [[kernel]] \
  decltype(mixed<D, A, B, C>) mixed<D, A, B, C>;
MIXED(float, float, float, float)
MIXED(float, half, half, float)
MIXED(half, half, half, half)
MIXED(float, bfloat, bfloat, float)
MIXED(bfloat, bfloat, bfloat, bfloat)
MIXED(float, half, float, half)
MIXED(half, float, bfloat, float)

struct Pair {
  M left, right;
  M product() const { return left * right; }
};
struct Tile {
  Pair pairs[2];
  metal::vec<float, 2> scale;
};
void scale(thread M& m, float by) {
  m.thread_elements()[0] *= by;
  m.thread_elements()[1] *= by;
}
kernel void structures(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  Tile tile;
  tile.scale = float2(2.0f, -1.0f);
  for (int i = 0; i < 2; i++) {
    simdgroup_load(tile.pairs[i].left, in + 128 * i);
    simdgroup_load(tile.pairs[i].right, in + 128 * i + 64);
  }
  for (int i = 0; i < 2; i++) {
    M m = tile.pairs[i].product();
    scale(m, tile.scale[i]);
    simdgroup_store(m, out + 64 * i);
  }
}

// A row-wise softmax between two products, as attention does it.
kernel void attention(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M q, k, v, s, o;
  simdgroup_load(q, in);
  simdgroup_load(k, in + 64, 8, 0, true);
  simdgroup_load(v, in + 128);
  simdgroup_multiply(s, q, k);
  thread float2& e = reinterpret_cast<thread float2&>(s.thread_elements());
  float largest = max(e.x, e.y);
  largest = max(largest, simd_shuffle_xor(largest, 1));
  largest = max(largest, simd_shuffle_xor(largest, 8));
  e = exp(e - largest);
  float total = e.x + e.y;
  total += simd_shuffle_xor(total, 1);
  total += simd_shuffle_xor(total, 8);
  e /= total;
  simdgroup_multiply(o, s, v);
  simdgroup_store(o, out);
}
