// K and V read in place from pages that lie anywhere: a source for flash.h (see ../flash/keys.h).
//
// Eight neighbouring keys that start on a multiple of 8 share a page, since pages hold multiples
// of 8; so do `unit` keys, the greatest common divisor of a step and a page (a power of 2). Each
// step looks up one table entry a unit, once, for K and V alike. Nothing else differs from
// LaneKeys.
#pragma once
#include "../flash/keys.h"

template <typename T, int D, int PAGE, int BC>
struct PageKeys {
  static constant constexpr bool wide = true;
  static constant constexpr bool collective = false;
  static constant constexpr int unit = (BC & -BC) < PAGE ? (BC & -BC) : PAGE;
  const device T* keys;  // lane's place in the head's part of page 0, [PAGE, D]
  const device T* values;
  const device int* table;  // [capacity] pages of this sequence
  int page_rows;            // rows from one page to the next, Hkv PAGE
  LanePlace place;
  int first;           // first key of the step
  int row[BC / unit];  // where each unit of the step starts, in rows from page 0

  template <int KEYS>
  static constexpr int chunk() {
    return KEYS;
  }

  METAL_FUNC void begin(int) const {}

  template <int KEYS>
  METAL_FUNC void fetch_keys(int, int) {
    constexpr int units = KEYS < unit ? 1 : KEYS / unit;
    ATTN_UNROLL for (short u = 0; u < units; u++) {
      const int key = first + u * unit;
      row[u] = table[key / PAGE] * page_rows + key % PAGE;
    }
  }
  template <int KEYS>
  METAL_FUNC void fetch_values(int, int) const {}

  METAL_FUNC void advance(int count) { first += count; }

  // Elements from the lane's place in page 0 to key `at` + `step` of this step.
  METAL_FUNC long offset(int at, int step) const {
    return long(row[at / unit] + at % unit + step) * D;
  }

  // Keys past the last are read, inside their page, and their scores replaced by the mask.
  template <bool CLAMP>
  METAL_FUNC void key_fragments(thread FragmentGroup<T>& out, int at, int g, int) const {
    const device T* from = keys + offset(at, 0) + g * 32;
    key_group(out, read4(from), read4(from + D));
  }

  template <bool CLAMP>
  METAL_FUNC void key_fragment(thread Fragment<T>& out, int at, int d, int) const {
    const device T* plain = keys + offset(at, 0) + d - 3 * place.row;
    lane_pair(out) = vec<T, 2>(plain[0], plain[D]);
  }

  // Values past the last would meet weight 0, and NaN times 0 is NaN: repeat the last instead.
  template <bool CLAMP>
  METAL_FUNC void value_fragments(thread FragmentGroup<T>& out, int at, int g, int last) const {
    const int key = CLAMP ? min(int(place.row), last - at) - place.row : 0;
    const device T* from = values + offset(at, key) + g * 32;
    value_group(out, read4(from), read4(from + 4));
  }

  template <bool CLAMP>
  METAL_FUNC void value_fragment(thread Fragment<T>& out, int at, int d, int last) const {
    const int key = CLAMP ? min(int(place.row), last - at) - place.row : 0;
    lane_pair(out) = read2(values + offset(at, key) + d - 3 * place.column);
  }

  // Through the table, as `row` may only be indexed by what the compiler knows.
  METAL_FUNC const device T* value_row(int at) const {
    const int key = first + at;
    const long found = table[key / PAGE] * page_rows + key % PAGE;
    return values + (found - place.row) * D - place.column * 4;
  }
};
