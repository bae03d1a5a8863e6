// Where fragments of K and V come from. A source is a small struct with one shape:
//
//   wide                     whether groups of 32 dimensions may be permuted (row_access.h)
//   chunk<KEYS>()            keys that one fetch makes readable, of a step of KEYS keys
//   begin(last)              before the first fetch of a walk
//   fetch_keys<KEYS>(...)    makes the chunk of keys from `at` on readable, of a step of KEYS; nothing
//                            to do when read in place. A step fetches every chunk of K, then of V
//   key_fragments<CLAMP>     K fragments of the 8 keys from `at` on, dimensions 32 g ..
//   key_fragment<CLAMP>      one K fragment, dimensions d .. d + 7
//   value_*                  likewise for V
//   value_row(at)            where the values of key `at` lie in device memory, [D]
//
// Keys are counted from the start of the current step, which advance() moves; `last` is the last
// key that exists, counted alike. With CLAMP a lane repeats that key instead of reading past it.
// Where K is rotated, `first` is the position of the step's first key.
// A paged cache is another source, and nothing else in the kernel changes.
#pragma once
#include "../common/row_access.h"
#include "../rope/rotation.h"

// Every lane reads its own elements from device memory: two line segments a fragment.
template <typename T, int D>
struct LaneKeys {
  static constant constexpr bool wide = true;
  static constant constexpr bool collective = false;
  const device T* keys;    // lane's place in K, [*, D]
  const device T* values;  // lane's place in V, [*, D]
  LanePlace place;
  Rotation<T, D> rotation;
  int first;

  template <int KEYS>
  static constexpr int chunk() {
    return KEYS;
  }
  METAL_FUNC void begin(int) const {}
  template <int KEYS>
  METAL_FUNC void fetch_keys(int, int) const {}
  template <int KEYS>
  METAL_FUNC void fetch_values(int, int) const {}

  METAL_FUNC void advance(int count) {
    keys += long(count) * D;
    values += long(count) * D;
    first += count;
  }

  // Of the key that the lane pointer reaches by `key` rows.
  METAL_FUNC int position(int key) const { return first + place.column + key; }

  template <bool CLAMP>
  METAL_FUNC void key_fragments(thread FragmentGroup<T>& out, int at, int g, int last) const {
    const int left = CLAMP ? min(at + place.column, last) - place.column : at;
    const int right = CLAMP ? min(at + place.column + 1, last) - place.column : at + 1;
    const int d = g * 32 + place.row * 4;
    key_group(out, read4(keys + left * D + g * 32, d, position(left), rotation),
              read4(keys + right * D + g * 32, d, position(right), rotation));
  }

  // The lane pointer stands on dimension 4 row; plain order wants dimension `row`.
  template <bool CLAMP>
  METAL_FUNC void key_fragment(thread Fragment<T>& out, int at, int d, int last) const {
    const device T* plain = keys + d - 3 * place.row;
    const int left = CLAMP ? min(at + place.column, last) - place.column : at;
    const int right = CLAMP ? min(at + place.column + 1, last) - place.column : at + 1;
    lane_pair(out) = vec<T, 2>(read1(plain + left * D, d + place.row, position(left), rotation),
                               read1(plain + right * D, d + place.row, position(right), rotation));
  }

  template <bool CLAMP>
  METAL_FUNC void value_fragments(thread FragmentGroup<T>& out, int at, int g, int last) const {
    const int key = CLAMP ? min(at + place.row, last) - place.row : at;
    const device T* from = values + key * D + g * 32;
    value_group(out, read4(from), read4(from + 4));
  }

  template <bool CLAMP>
  METAL_FUNC void value_fragment(thread Fragment<T>& out, int at, int d, int last) const {
    const int key = CLAMP ? min(at + place.row, last) - place.row : at;
    lane_pair(out) = read2(values + key * D + d - 3 * place.column);
  }

  METAL_FUNC const device T* value_row(int at) const {
    return values + (at - place.row) * D - place.column * 4;
  }
};

template <typename T, int D>
METAL_FUNC LaneKeys<T, D> lane_keys(const device T* k, const device T* v, LanePlace place,
                                    Rotation<T, D> rotation) {
  LaneKeys<T, D> source;
  source.keys = k + place.column * D + place.row * 4;
  source.values = v + place.row * D + place.column * 4;
  source.place = place;
  source.rotation = rotation;
  source.first = 0;
  return source;
}

// simdgroup_load straight from device memory, in plain order: eight line segments a fragment.
// Rotated keys cannot come that way: then, as past the last key, lanes read for themselves.
template <typename T, int D>
struct MatrixKeys {
  static constant constexpr bool wide = false;
  static constant constexpr bool collective = false;
  const device T* keys;    // [*, D]
  const device T* values;  // [*, D]
  LanePlace place;
  Rotation<T, D> rotation;
  int first;

  template <int KEYS>
  static constexpr int chunk() {
    return KEYS;
  }
  METAL_FUNC void begin(int) const {}
  template <int KEYS>
  METAL_FUNC void fetch_keys(int, int) const {}
  template <int KEYS>
  METAL_FUNC void fetch_values(int, int) const {}
  template <bool CLAMP>
  METAL_FUNC void key_fragments(thread FragmentGroup<T>&, int, int, int) const {}
  template <bool CLAMP>
  METAL_FUNC void value_fragments(thread FragmentGroup<T>&, int, int, int) const {}

  METAL_FUNC void advance(int count) {
    keys += long(count) * D;
    values += long(count) * D;
    first += count;
  }

  template <bool CLAMP>
  METAL_FUNC void key_fragment(thread Fragment<T>& out, int at, int d, int last) const {
    if (CLAMP || rope) {
      const device T* column = keys + d + place.row;
      const int left = CLAMP ? min(at + place.column, last) : at + place.column;
      const int right = CLAMP ? min(at + place.column + 1, last) : at + place.column + 1;
      lane_pair(out) = vec<T, 2>(read1(column + left * D, d + place.row, first + left, rotation),
                                 read1(column + right * D, d + place.row, first + right, rotation));
    } else {
      simdgroup_load(out, keys + at * D + d, D, ulong2(0, 0), true);
    }
  }

  template <bool CLAMP>
  METAL_FUNC void value_fragment(thread Fragment<T>& out, int at, int d, int last) const {
    if (CLAMP) {
      lane_pair(out) = read2(values + min(at + place.row, last) * D + d + place.column);
    } else {
      simdgroup_load(out, values + at * D + d, D);
    }
  }

  METAL_FUNC const device T* value_row(int at) const { return values + at * D; }
};

// Rows copied by the whole threadgroup, ROWS keys at a time, so that its simdgroups share one
// read from device memory at the price of two barriers a chunk. Rows are padded by 16 bytes.
//
// AHEAD: in plain order, and while the simdgroups multiply one chunk their threads hold the next in
// registers, so that nobody waits for its way from device memory.
template <typename T, int D, int ROWS, int THREADS, bool AHEAD>
struct StagedKeys {
  static constant constexpr bool wide = !AHEAD;
  static constant constexpr bool collective = true;
  static constant constexpr int stride = D + 16 / int(sizeof(T));
  static constant constexpr int vectors = ROWS * (D / 4);
  static constant constexpr int held = AHEAD ? (vectors + THREADS - 1) / THREADS : 1;
  const device T* keys;    // [*, D]
  const device T* values;  // [*, D]
  threadgroup T* tile;     // [ROWS, stride]
  LanePlace place;
  Rotation<T, D> rotation;
  int first;
  int thread_index;
  vec<T, 4> next[held];  // AHEAD: the thread's share of the chunk that will be fetched next

  template <int KEYS>
  static constexpr int chunk() {
    return KEYS < ROWS ? KEYS : ROWS;
  }

  METAL_FUNC void advance(int count) {
    keys += long(count) * D;
    values += long(count) * D;
    first += count;
  }

  // Four elements of the chunk from `at` on. Clamped always: a chunk may run past the keys that its
  // step will use.
  template <bool ROTATE>
  METAL_FUNC vec<T, 4> read(const device T* from, int at, int i, int last) const {
    const int key = min(at + i / (D / 4), last), d = i % (D / 4) * 4;
    const device T* source = from + key * D + d;
    return ROTATE ? read4(source, d, first + key, rotation) : read4(source);
  }

  METAL_FUNC void write(int i, vec<T, 4> four) const {
    const int row = i / (D / 4), d = i % (D / 4) * 4;
    *reinterpret_cast<threadgroup vec<T, 4>*>(tile + row * stride + d) = four;
  }

  template <int KEYS, bool ROTATE>
  METAL_FUNC void copy(const device T* from, int at, int last) const {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = thread_index; i < KEYS * (D / 4); i += THREADS)
      write(i, read<ROTATE>(from, at, i, last));
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }

  template <bool ROTATE>
  METAL_FUNC void look_ahead(const device T* from, int at, int last) {
    ATTN_UNROLL for (short i = 0; i < held; i++)
      next[i] = read<ROTATE>(from, at, thread_index + i * THREADS, last);
  }

  METAL_FUNC void copy_next() const {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    ATTN_UNROLL for (short i = 0; i < held; i++) {
      const int at = thread_index + i * THREADS;
      if (vectors % THREADS == 0 || at < vectors) write(at, next[i]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }

  METAL_FUNC void begin(int last) {
    if (AHEAD) look_ahead<true>(keys, 0, last);
  }

  template <int KEYS>
  METAL_FUNC void fetch_keys(int at, int last) {
    if (!AHEAD) return copy<chunk<KEYS>(), true>(keys, at, last);
    copy_next();
    if (at + ROWS < KEYS) {
      look_ahead<true>(keys, at + ROWS, last);
    } else {
      look_ahead<false>(values, 0, last);
    }
  }
  template <int KEYS>
  METAL_FUNC void fetch_values(int at, int last) {
    if (!AHEAD) return copy<chunk<KEYS>(), false>(values, at, last);
    copy_next();
    if (at + ROWS < KEYS) {
      look_ahead<false>(values, at + ROWS, last);
    } else {
      look_ahead<true>(keys, KEYS, last);
    }
  }

  template <bool CLAMP>
  METAL_FUNC void key_fragments(thread FragmentGroup<T>& out, int at, int g, int) const {
    const threadgroup T* from = tile + (at % ROWS + place.column) * stride + g * 32 + place.row * 4;
    key_group(out, read4(from), read4(from + stride));
  }

  template <bool CLAMP>
  METAL_FUNC void key_fragment(thread Fragment<T>& out, int at, int d, int) const {
    const threadgroup T* from = tile + (at % ROWS + place.column) * stride + d + place.row;
    lane_pair(out) = vec<T, 2>(from[0], from[stride]);
  }

  template <bool CLAMP>
  METAL_FUNC void value_fragments(thread FragmentGroup<T>& out, int at, int g, int) const {
    const threadgroup T* from = tile + (at % ROWS + place.row) * stride + g * 32 + place.column * 4;
    value_group(out, read4(from), read4(from + 4));
  }

  template <bool CLAMP>
  METAL_FUNC void value_fragment(thread Fragment<T>& out, int at, int d, int) const {
    lane_pair(out) = read2(tile + (at % ROWS + place.row) * stride + d + place.column);
  }

  METAL_FUNC const device T* value_row(int at) const { return values + at * D; }
};
