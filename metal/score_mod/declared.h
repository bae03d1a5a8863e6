// Way 4 of ways.h: what a stitching graph makes, and a pipeline links privately.
#pragma once
#include <metal_stdlib>
using namespace metal;

[[visible]] float2 modify_score(float2 score, int key, int at, float4 numbers);
