// Way 5 of ways.h: the modifications as functions that a table may hold.
#pragma once
#include "modifications.h"

[[visible]] float2 scale_visible(float2 score, int key, int at, float4 numbers) {
  return scale_score(score, key, at, numbers);
}
[[visible]] float2 alibi_visible(float2 score, int key, int at, float4 numbers) {
  return alibi_score(score, key, at, numbers);
}
[[visible]] float2 softcap_visible(float2 score, int key, int at, float4 numbers) {
  return softcap_score(score, key, at, numbers);
}
[[visible]] float2 window_visible(float2 score, int key, int at, float4 numbers) {
  return window_score(score, key, at, numbers);
}
[[visible]] float2 custom_visible(float2 score, int key, int at, float4 numbers) {
  return custom_score(score, key, at, numbers);
}
