// Arguments of a paged dispatch, laid out alike on host and device.
#pragma once
#include "../flash/params.h"

struct PagedParams {
  FlashParams flash;  // Nkv is not used: every sequence has its own context length
  int Hkv;            // KV heads
  int capacity;       // entries of a sequence's block table; keys of a sequence when contiguous
  int partition;      // keys of a partition, a multiple of Bc
  int partitions;     // of the longest sequence
};

static_assert(sizeof(PagedParams) == 52, "the host packs 52 bytes");
