// Six ways to choose a modification inside the same kernel; the host defines which one.
//
//   1 inline    ATTN_SCORE_MODIFICATION names it in the text
//   2 argument  a run-time number, tested at every call
//   3 constant  a function constant, tested when the pipeline is made
//   4 stitched  declared here; a stitching graph makes it, and it is linked privately
//   5 table     a visible function table: an indirect call
//   6 noinline  named in the text as in 1, but called
//
// What 3, 4 and 5 declare stands in a file for each, which the host puts before the kernel's text:
// constant.h, declared.h, visible.h. A text so has only the constants and functions it uses.
#pragma once
#include "modifications.h"

#define ATTN_SCORE_INLINE 1
#define ATTN_SCORE_ARGUMENT 2
#define ATTN_SCORE_CONSTANT 3
#define ATTN_SCORE_STITCHED 4
#define ATTN_SCORE_TABLE 5
#define ATTN_SCORE_NOINLINE 6

#ifdef ATTN_SCORE_WAY

// Shared with the host: kernels/score_dispatch.py.
struct ScoreNumbers {
  float cap;  // in raw units
  float window;
  float rate;
  uint choice;
};
static_assert(sizeof(ScoreNumbers) == 16, "kernels/score_dispatch.py packs 16 bytes");

#if ATTN_SCORE_WAY == ATTN_SCORE_NOINLINE
__attribute__((noinline)) float2 called_score(float2 score, int key, int at, float4 numbers) {
  return ATTN_SCORE_MODIFICATION(score, key, at, numbers);
}
#endif

struct ScoreWay {
  float4 numbers;
  uint choice;
#if ATTN_SCORE_WAY == ATTN_SCORE_TABLE
  visible_function_table<float2(float2, int, int, float4)> functions;
#endif

  METAL_FUNC float2 modified(float2 score, int key, int at) const {
#if ATTN_SCORE_WAY == ATTN_SCORE_INLINE
    return ATTN_SCORE_MODIFICATION(score, key, at, numbers);
#elif ATTN_SCORE_WAY == ATTN_SCORE_ARGUMENT
    return chosen_score(choice, score, key, at, numbers);
#elif ATTN_SCORE_WAY == ATTN_SCORE_CONSTANT
    return chosen_score(score_choice, score, key, at, numbers);
#elif ATTN_SCORE_WAY == ATTN_SCORE_STITCHED
    return modify_score(score, key, at, numbers);
#elif ATTN_SCORE_WAY == ATTN_SCORE_TABLE
    return functions[choice](score, key, at, numbers);
#else
    return called_score(score, key, at, numbers);
#endif
  }
};

#endif
