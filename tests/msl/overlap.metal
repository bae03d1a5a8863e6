// What a kernel reads again after it wrote through another argument, or waited for other lanes.
#include <metal_stdlib>
using namespace metal;

// z gets x[0] as it is before and after y[0] is written.
kernel void read_twice(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                       device float* z [[buffer(2)]]) {
  float before = x[0];
  y[0] = before + 7;
  z[0] = before;
  z[1] = x[0];
}

// The same with a constant reference, and through functions that know nothing of the buffers.
static float first(constant float& x) { return x; }
static void add(device float* y, float what) { *y += what; }
kernel void read_reference_twice(constant float& x [[buffer(0)]], device float* y [[buffer(1)]],
                                 device float* z [[buffer(2)]]) {
  add(y, first(x));
  add(y, first(x));
  z[0] = first(x);
}

// The pointer lies in memory.
struct Place {
  device float* y;
};
kernel void read_pointed(device const Place& place [[buffer(0)]], device float* y [[buffer(1)]],
                         device float* z [[buffer(2)]]) {
  float before = place.y[0];
  y[0] = before + 7;
  z[0] = before;
  z[1] = place.y[0];
}

// Each lane reads its own number, writes its neighbour's, and reads its own again. No lane writes
// what it reads: only a barrier says that another one may have.
template <typename Wait>
static void pass_on(device float* x, device float* out, uint i, Wait wait) {
  float before = x[i];
  wait();
  x[i + 1] = before + 100;
  wait();
  out[i] = x[i];
}

kernel void pass_on_in_threadgroup(device float* x [[buffer(0)]], device float* out [[buffer(1)]],
                                   uint i [[thread_position_in_threadgroup]]) {
  pass_on(x, out, i, [] { threadgroup_barrier(mem_flags::mem_device); });
}

kernel void pass_on_in_simdgroup(device float* x [[buffer(0)]], device float* out [[buffer(1)]],
                                 uint i [[thread_position_in_threadgroup]]) {
  pass_on(x, out, i, [] { simdgroup_barrier(mem_flags::mem_device); });
}

// The last of all threadgroups to arrive adds what all have written.
kernel void last_adds(device float* parts [[buffer(0)]], device atomic_uint* arrived [[buffer(1)]],
                      device float* out [[buffer(2)]], uint group [[threadgroup_position_in_grid]],
                      uint groups [[threadgroups_per_grid]]) {
  float seen = parts[0];
  parts[group] = group + 1;
  atomic_thread_fence(mem_flags::mem_device, memory_order_seq_cst, thread_scope_device);
  if (atomic_fetch_add_explicit(arrived, 1, memory_order_relaxed) + 1 < groups) return;
  atomic_thread_fence(mem_flags::mem_device, memory_order_seq_cst, thread_scope_device);
  float sum = 0;
  for (uint k = 0; k < groups; k++) sum += parts[k];
  out[0] = sum;
  out[1] = parts[0] - seen * 0;
}

kernel void sum(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                device float* out [[buffer(2)]]) {
  out[0] = a[0] + b[0];
}
