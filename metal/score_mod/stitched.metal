// The modifications as functions for a stitching graph (SPEC 5.1.5): a library of their own, from
// which the host composes the function that a kernel only declares (ways.h, way 4).
//
// Custom is not among them: the graph composes it of softcap_part and distance_part.
#include <metal_stdlib>

#include "modifications.h"
using namespace metal;

[[stitchable]] float2 scale_part(float2 score, int key, int at, float4 numbers) {
  return scale_score(score, key, at, numbers);
}
[[stitchable]] float2 alibi_part(float2 score, int key, int at, float4 numbers) {
  return alibi_score(score, key, at, numbers);
}
[[stitchable]] float2 softcap_part(float2 score, int key, int at, float4 numbers) {
  return softcap_score(score, key, at, numbers);
}
[[stitchable]] float2 window_part(float2 score, int key, int at, float4 numbers) {
  return window_score(score, key, at, numbers);
}
[[stitchable]] float2 distance_part(float2 score, int key, int at, float4 numbers) {
  return distance_score(score, key, at, numbers);
}
