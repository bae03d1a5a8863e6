#include <metal_stdlib>
using namespace metal;

typedef simdgroup_float8x8 M;

kernel void aliased(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M a, b, c;
  simdgroup_load(a, in);
  simdgroup_load(b, in + 64);
  simdgroup_load(c, in + 128);
  simdgroup_multiply_accumulate(c, a, b, c);
  simdgroup_store(c, out);
  simdgroup_multiply_accumulate(a, a, b, c);  // d is a
  simdgroup_store(a, out + 64);
  simdgroup_multiply(b, a, b);  // d is b
  simdgroup_store(b, out + 128);
  simdgroup_multiply_accumulate(a, a, a, a);
  simdgroup_store(a, out + 192);
  const M constant_operand = b;
  M d;
  simdgroup_multiply_accumulate(d, constant_operand, M(2.0f), M(1.0f));
  simdgroup_store(d, out + 256);
  simdgroup_store(c * d, out + 320);
}

kernel void chain(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                  device float* out [[buffer(2)]], constant int& turns [[buffer(3)]]) {
  M sum(0.0f), left, right;
  for (int i = 0; i < turns; i++) {
    simdgroup_load(left, a + 64 * i);
    simdgroup_load(right, b + 64 * i);
    simdgroup_multiply_accumulate(sum, left, right, sum);
  }
  simdgroup_store(sum, out);
}

// 8 row blocks, 8 column blocks, 4 steps: 256 products in a block, 64 accumulators.
kernel void tile(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                 device float* out [[buffer(2)]]) {
  M sums[8][8], left[8][4], right[4][8];
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < 4; k++) {
      simdgroup_load(left[i][k], a, 32, ulong2(8 * k, 8 * i));
      simdgroup_load(right[k][i], b, 64, ulong2(8 * i, 8 * k));
    }
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (int k = 0; k < 4; k++)
    for (int i = 0; i < 8; i++)
      for (int j = 0; j < 8; j++)
        simdgroup_multiply_accumulate(sums[i][j], left[i][k], right[k][j], sums[i][j]);
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) simdgroup_store(sums[i][j], out, 64, ulong2(8 * j, 8 * i));
}

// 144 accumulators, all continued after all were begun: more than there are slots.
kernel void wide(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M left[12], right[12], sums[12][12];
#pragma clang loop unroll(full)
  for (int i = 0; i < 12; i++) {
    simdgroup_load(left[i], in + 64 * i);
    simdgroup_load(right[i], in + 64 * (12 + i));
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 12; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; j++) sums[i][j] = left[i] * right[j];
#pragma clang loop unroll(full)
  for (int i = 0; i < 12; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; j++)
      simdgroup_multiply_accumulate(sums[i][j], left[j], right[i], sums[i][j]);
#pragma clang loop unroll(full)
  for (int i = 0; i < 12; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; j++) simdgroup_store(sums[i][j], out + 64 * (12 * i + j));
}

// One accumulator, read after each of 150 products and then continued.
kernel void read_each(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M left, right, sum(0.0f);
  simdgroup_load(left, in);
#pragma clang loop unroll(full)
  for (int i = 0; i < 150; i++) {
    simdgroup_load(right, in + 64 + 8 * (i % 9));
    simdgroup_multiply_accumulate(sum, left, right, sum);
    simdgroup_store(sum, out + 64 * i);
  }
}

// Two products continue the same accumulator, and a third begins from it twice removed.
kernel void forked(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M a, b, c, first, second, third;
  simdgroup_load(a, in);
  simdgroup_load(b, in + 64);
  simdgroup_load(c, in + 128);
  simdgroup_multiply_accumulate(first, a, b, c);
  simdgroup_multiply_accumulate(second, b, a, first);
  simdgroup_multiply_accumulate(third, c, a, first);
  simdgroup_multiply_accumulate(first, a, a, first);
  simdgroup_store(first, out);
  simdgroup_store(second, out + 64);
  simdgroup_store(third, out + 128);
  simdgroup_multiply_accumulate(a, b, b, c);
  simdgroup_store(a, out + 192);
}

kernel void branch(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                   constant int& which [[buffer(2)]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  M a, b, sum(1.0f);
  simdgroup_load(a, in);
  simdgroup_load(b, in + 64);
  if (simdgroup == uint(which)) {
    simdgroup_multiply_accumulate(sum, a, b, sum);
    if (which > 0) simdgroup_multiply_accumulate(sum, b, a, sum);
  } else {
    simdgroup_multiply(sum, b, b);
  }
  simdgroup_multiply(sum, sum, a);
  simdgroup_store(sum, out + 64 * simdgroup);
}
