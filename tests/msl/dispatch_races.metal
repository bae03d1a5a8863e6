#include <metal_stdlib>
using namespace metal;
#define AT uint i [[thread_position_in_grid]]
kernel void put(device float* x [[buffer(0)]], constant float& value [[buffer(1)]], AT) {
  x[i] = value;
}
kernel void copy(device float* x [[buffer(0)]], const device float* y [[buffer(1)]], AT) {
  x[i] = y[i];
}
kernel void halves(device half* x [[buffer(0)]], AT) {
  x[i] = 1;
}
kernel void count(device atomic_uint* x [[buffer(0)]], AT) {
  atomic_fetch_add_explicit(x, 1, memory_order_relaxed);
}
kernel void look(device float* y [[buffer(0)]], const device uint* x [[buffer(1)]], AT) {
  y[i] = x[0];
}
kernel void bump(device float* x [[buffer(0)]], AT) {
  x[i] += 1;
}
