#include <metal_stdlib>
using namespace metal;

kernel void doubles(device float* x [[buffer(0)]], constant uint& n [[buffer(1)]],
                    uint i [[thread_position_in_grid]]) {
  if (i < n) x[i] *= 2;
}
kernel void nothing(device half* x [[buffer(0)]], constant int4& y [[buffer(3)]],
                    device atomic_int* z [[buffer(30)]], threadgroup float* t [[threadgroup(0)]],
                    uint3 i [[thread_position_in_grid]]) {
  if (i.x == 0xfffffff0) x[0] = y.x + t[0];
  simdgroup_barrier(mem_flags::mem_threadgroup);
}
struct S { float x; int y[3]; };
kernel void structs(device S* s [[buffer(0)]], const device uchar* b [[buffer(1)]],
                    threadgroup int* t [[threadgroup(3)]], uint3 size [[threads_per_grid]]) {
  threadgroup_barrier(mem_flags::mem_threadgroup);
}
