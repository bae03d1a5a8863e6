// Kernels with one wrong access each, marked HERE on its line: copies, fills, loops, branches that
// the compiler joins. All run with n = 0.
#include <metal_stdlib>
using namespace metal;
#define ARGUMENTS                                                                   \
  device float *a [[buffer(0)]], device const int &n [[buffer(1)]],                 \
      device float *b [[buffer(2)]], uint t [[thread_position_in_threadgroup]]

struct Row {
  float x[8];
};
constant Row rows[2] = {{{1, 2, 3, 4, 5, 6, 7, 8}}, {{8, 7, 6, 5, 4, 3, 2, 1}}};
constant float table[4] = {1, 2, 3, 4};

kernel void copies_past_a_local_array(ARGUMENTS) {
  float l[8];
  for (int j = 0; j < n + 9; j++)
    l[j] = b[j];  // HERE
  a[t] = l[n];
}

kernel void fills_past_a_local_array(ARGUMENTS) {
  float l[8];
  for (int j = 0; j < n + 12; j++)
    l[j] = 0;  // HERE
  a[t] = l[n];
}

kernel void walks_past_a_local_array(ARGUMENTS) {
  float l[8];
  float sum = 0;
  for (int j = 0; j < 8; j++) l[j] = b[j];
  for (thread float *p = l; p != l + n + 12; p++)
    sum += *p;  // HERE
  a[t] = sum;
}

kernel void walks_below_a_local_array(ARGUMENTS) {
  float l[8];
  float sum = 0;
  for (int j = 0; j < 8; j++) l[j] = b[j];
  for (thread float *p = l + 7; p != l + n - 3; p--)
    sum += *p;  // HERE
  a[t] = sum;
}

kernel void copies_from_below_a_local_array(ARGUMENTS, device Row *r [[buffer(3)]]) {
  Row l[2];
  for (int j = 0; j < 16; j++) l[j / 8].x[j % 8] = b[j];
  r[t] = l[n - 1];  // HERE
}

kernel void copies_from_past_a_table(ARGUMENTS, device Row *r [[buffer(3)]]) {
  r[t] = rows[n + 2];  // HERE
}

kernel void copies_from_below_a_table(ARGUMENTS) {
  if (t == 0)
    for (int j = 0; j < n + 6; j++)
      a[j] = table[j - 1];  // HERE
}

kernel void reads_in_both_branches(ARGUMENTS) {
  if (b[t] > 0) {
    a[t] = a[(t + 1) & 63] * 2;
  } else {
    a[t] = a[(t + 1) & 63] + 1;
  }
}

kernel void writes_in_both_branches(ARGUMENTS) {
  float x = a[(t + 1) & 63];
  if (b[t] > x) {
    a[t] = x * 2;
  } else {
    a[t] = x + 1;
  }
}

struct Padded {
  uchar small;
  float x;
};
struct Vectors {
  float3 a;
  float b;
};

kernel void copies_structs_with_gaps(ARGUMENTS, device Padded *p [[buffer(3)]],
                                     device Vectors *v [[buffer(4)]]) {
  threadgroup Padded small[64];
  threadgroup Vectors large[64];
  small[t].small = 1;
  small[t].x = t;
  large[t].a = float3(t);
  large[t].b = 2;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  p[t] = small[63 - t];
  v[t] = large[63 - t];
}

kernel void copies_a_struct_of_nothing(ARGUMENTS, device Padded *p [[buffer(3)]]) {
  threadgroup Padded small[64];
  p[t] = small[t];  // HERE
}

kernel void sets_numbers_of_one_vector(device float4 *x [[buffer(0)]],
                                       uint t [[thread_position_in_threadgroup]]) {
  x[t / 4][t & 3] = t;
}
