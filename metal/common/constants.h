// Every function constant of the attention kernels, numbered in one place.
//
// They choose variants and let the compiler drop what a variant does not need. They never size an
// array: tile geometry is a template argument. All of them must be given when a pipeline is made.
#pragma once
#include <metal_stdlib>
using namespace metal;

// A query sees keys up to its own position, i + (Nkv - Nq).
constant bool causal [[function_constant(0)]];
// Nq is a multiple of Br: no row of a tile is missing.
constant bool aligned_queries [[function_constant(1)]];
// Nkv is a multiple of Bc: no ragged tail.
constant bool aligned_keys [[function_constant(2)]];
// A query sees only the last `window` keys up to its own position; needs causal.
constant bool sliding_window [[function_constant(3)]];
// Scores pass through cap * tanh(score / cap).
constant bool softcap [[function_constant(4)]];
// Scores get the bias slope(head) * (key - position).
constant bool alibi [[function_constant(5)]];
// Q and K are rotated by their positions as they are read.
constant bool rope [[function_constant(6)]];
// Rotated pairs are neighbours; otherwise half a head apart.
constant bool rope_interleaved [[function_constant(7)]];
// Keys are divided over threadgroups, whose partial results another kernel joins.
constant bool split_keys [[function_constant(8)]];
// Linear attention: the state decays by a factor a token, or by one a token and key dimension.
constant bool token_gates [[function_constant(9)]];
constant bool key_gates [[function_constant(10)]];
// Linear attention: outputs are divided by the sum of their weights.
constant bool normalized [[function_constant(11)]];
