// Arguments of a paged dispatch, laid out alike on host and device.
#pragma once
#include "../flash/params.h"

struct PagedParams {
  // Nkv is not used, every sequence having its own context length; first_tile counts pairs of a
  // tile and a partition.
  FlashParams flash;
  int Hkv;         // KV heads
  int capacity;    // entries of a sequence's block table; keys of a sequence when contiguous
  int partition;   // keys of a partition, a multiple of Bc
  int partitions;  // of the longest sequence
};

static_assert(sizeof(PagedParams) == 52, "the host packs 52 bytes");
