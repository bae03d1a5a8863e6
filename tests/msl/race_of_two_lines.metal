#include <metal_stdlib>
using namespace metal;
inline void put(threadgroup float* to, float x) {
  *to = x;
}
kernel void reverse(device float* out [[buffer(0)]],
                    uint t [[thread_position_in_threadgroup]],
                    uint group [[threadgroup_position_in_grid]]) {
  threadgroup float tile[64];
  put(tile + t, group);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (group == 1 && t == 40) put(tile + 3, 7);
  if (group == 1 && t == 41) out[t] = tile[3];
}
