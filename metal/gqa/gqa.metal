// KV heads repeated for every query head of their group:  y[b, h] = x[b, h / group]
//
// Source: Ainslie et al., "GQA", 2023 (arXiv 2305.13245), section 2.2. Flash never does this: it
// indexes the shared head. The copy exists to measure what that saves.
//
// Threads  one for 16 bytes
// Grid     (ceil(N D bytes / 16), Hq, B) threads
// Limits   N D elements a whole number of 16 bytes, which D a multiple of 8 gives
#include <metal_stdlib>
using namespace metal;

struct GqaParams {
  uint quads;  // N D elements, in 16 bytes
  uint Hq;
  uint group;  // Hq / Hkv
};

static_assert(sizeof(GqaParams) == 12, "the host packs 12 bytes");

[[kernel]] void expand_heads(const device uint4* x [[buffer(0)]],  // [B, Hkv, N, D]
                             device uint4* y [[buffer(1)]],        // [B, Hq, N, D]
                             constant GqaParams& params [[buffer(2)]],
                             uint3 at [[thread_position_in_grid]]) {
  if (at.x >= params.quads) return;
  const ulong head = ulong(at.z) * params.Hq + at.y;
  y[head * params.quads + at.x] = x[head / params.group * params.quads + at.x];
}
