#include <metal_stdlib>
using namespace metal;

kernel void votes(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                  uint lane [[thread_index_in_simdgroup]]) {
  bool even = lane % 2 == 0;
  simd_vote ballot = simd_ballot(even);
  ulong mask = static_cast<ulong>(static_cast<simd_vote::vote_t>(ballot));
  out[lane] = int(mask);
  out[32 + lane] = ballot.all() + 2 * ballot.any() + 4 * simd_all(even) + 8 * simd_any(even);
  out[64 + lane] = simd_all(lane < 32) + 2 * simd_any(lane > 40) + 4 * simd_is_first();
  out[96 + lane] = int((simd_vote::vote_t)simd_active_threads_mask());
  if (lane >= 5 && even) {
    out[128 + lane] = int((simd_vote::vote_t)simd_active_threads_mask());
    out[160 + lane] = simd_is_first() + 2 * simd_all(even) + 4 * simd_any(lane == 4);
    out[192 + lane] = simd_ballot(true).all() + 2 * simd_ballot(lane > 10).all();
  }
}
kernel void branches(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                     uint lane [[thread_index_in_simdgroup]]) {
  int found;
  if (lane < 7) found = simd_sum(1);
  else if (lane % 2) {
    found = 100 * simd_sum(1);
    if (lane > 20) found += simd_broadcast_first(int(lane));
  } else found = simd_max(int(lane));
  out[lane] = found + 10000 * simd_sum(1);
}
kernel void same_in_both(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                         uint lane [[thread_index_in_simdgroup]]) {
  int x = 1;
  if (lane % 4 == 0) out[lane] = simd_sum(x);
  else out[lane] = simd_sum(x);
  int y;
  if (lane < 20) y = simd_prefix_inclusive_sum(x); else y = simd_prefix_inclusive_sum(x);
  out[32 + lane] = y;
  out[64 + lane] = simd_sum(x);
}
kernel void early(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                  uint lane [[thread_index_in_simdgroup]]) {
  out[lane] = simd_sum(1);
  if (lane % 3 == 1) return;
  out[32 + lane] = simd_sum(1);
  if (lane > 20) return;
  out[64 + lane] = simd_sum(1);
}
kernel void trips(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                  uint lane [[thread_index_in_simdgroup]]) {
  int seen = 0;
  for (int k = 0; k < int(lane % 5) * n; k++) seen = seen * 3 + simd_sum(1);
  out[lane] = seen;
  out[32 + lane] = simd_sum(1);
}
kernel void branch_in_loop(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                           uint lane [[thread_index_in_simdgroup]]) {
  int seen = 0;
  for (int k = 0; k < n; k++) {
    seen += simd_sum(1);
    if ((lane + k) % 3 == 0) seen += 1000 * simd_sum(1);
  }
  out[lane] = seen;
}
kernel void skip_in_loop(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                         uint lane [[thread_index_in_simdgroup]]) {
  int seen = 0;
  for (int k = 0; k < n; k++) {
    if ((lane + k) % 4 == 0) continue;
    seen += simd_sum(1);
    if ((lane + k) % 4 == 1) continue;
    seen += 100 * simd_sum(1);
    if (lane == 9 && k == 2) break;
  }
  out[lane] = seen;
}
kernel void nested_loops(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                         uint lane [[thread_index_in_simdgroup]]) {
  int seen = 0;
  for (int i = 0; i < n; i++)
    for (int k = 0; k < int(lane + i) % 3; k++) {
      seen += simd_sum(1);
      if (lane & 1) seen += 1000 * simd_sum(1);
    }
  out[lane] = seen;
}
kernel void while_voting(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                         uint lane [[thread_index_in_simdgroup]]) {
  int turns = 0, mine = int(lane % 7) * n;
  while (simd_any(mine > 0)) {
    mine--;
    turns++;
  }
  out[lane] = turns;
  mine = int(lane % 7) * n, turns = 0;
  do {
    turns += simd_sum(1);
  } while (--mine > 0);
  out[32 + lane] = turns;
}
int sum_of_active(int x) { return simd_sum(x); }
kernel void switched(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                     uint lane [[thread_index_in_simdgroup]]) {
  int found = 0;
  switch (lane % 4) {
    case 0: found = sum_of_active(1); break;
    case 1: found = 10 * sum_of_active(int(lane)); break;
    case 2: found = 7;  // and on into the next
    default: found += 100 * sum_of_active(1);
  }
  out[lane] = found;
}
kernel void partial(device int* out [[buffer(0)]], uint i [[thread_position_in_grid]],
                    uint lane [[thread_index_in_simdgroup]],
                    uint simdgroup [[simdgroup_index_in_threadgroup]],
                    uint simdgroups [[simdgroups_per_threadgroup]],
                    uint width [[threads_per_simdgroup]]) {
  out[8 * i] = simd_sum(1);
  out[8 * i + 1] = int((simd_vote::vote_t)simd_ballot(true));
  out[8 * i + 2] = simd_all(true) + 2 * simd_ballot(true).all() + 4 * simd_is_first();
  out[8 * i + 3] = simd_prefix_exclusive_sum(2);
  out[8 * i + 4] = simd_max(-int(lane)) + simd_min(int(lane) + 1);
  out[8 * i + 5] = lane;
  out[8 * i + 6] = simdgroup * 100 + simdgroups;
  out[8 * i + 7] = width;
}
