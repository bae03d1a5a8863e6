// Arguments of a flash dispatch, laid out alike on host and device.
//
// The host packs the fields in this order, little-endian; kernels/flash.py asserts the size.
#pragma once

struct FlashParams {
  int Hq;               // query heads
  int group;            // query heads that share one KV head, Hq / Hkv
  int Nq;               // queries
  int Nkv;              // keys
  float scale_log2e;    // log2(e) * scale: the softmax runs on exp2
  float inverse_scale;  // 1 / scale
  float softcap;        // cap / scale
  int window;           // keys a query may look back on, itself included
  int first_tile;       // query tiles that other dispatches of the same problem cover
};

static_assert(sizeof(FlashParams) == 36, "the host packs 36 bytes");
