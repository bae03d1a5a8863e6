// Arguments of the linear attention kernels, laid out alike on host and device.
#pragma once

struct LinearParams {
  int H;        // heads
  int N;        // tokens of a sequence
  int chunk;    // tokens of a chunk, a multiple of 32
  int first;    // first token of this dispatch, a multiple of chunk
  int count;    // tokens of this dispatch
  float scale;  // of the outputs, when they are not normalized
};

static_assert(sizeof(LinearParams) == 24, "the host packs 24 bytes");
