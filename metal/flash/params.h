// Arguments of a flash dispatch, laid out alike on host and device.
//
// The host packs it as "<4i2f2i2f8x"-style little-endian fields; kernels/flash.py asserts the size.
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
};

static_assert(sizeof(FlashParams) == 32, "the host packs 32 bytes");
