// Where the 8 R query rows of a simdgroup stay while it walks over the keys. All three places hand
// out left operands of Q K^T in the order of row_access.h.
#pragma once
#include "../common/row_access.h"
#include "../rope/rotation.h"

// The lane's query rows, one for each block of 8; rows past the last are the last again.
template <typename T, int D, int R>
struct QueryRows {
  const device T* row[R];  // [D] each
  int position[R];
  Rotation<T, D> rotation;
  LanePlace place;

  METAL_FUNC void read_group(thread FragmentGroup<T>& out, int a, int g) const {
    const int d = g * 32 + place.column * 4;
    query_group(out, read4(row[a] + d, d, position[a], rotation),
                read4(row[a] + d + 4, d + 4, position[a], rotation));
  }

  METAL_FUNC void read_single(thread Fragment<T>& out, int a, int first) const {
    const int d = first + place.column;
    lane_pair(out) = rope ? vec<T, 2>(rotation.one(row[a] + d, d, position[a]),
                                      rotation.one(row[a] + d + 1, d + 1, position[a]))
                          : read2(row[a] + d);
  }
};

// Rows from `first` on of one head's queries, [Nq, D], standing on positions from `offset` on.
template <typename T, int D, int R>
METAL_FUNC QueryRows<T, D, R> query_rows(const device T* head, int first, int Nq, int offset,
                                         LanePlace place) {
  QueryRows<T, D, R> rows;
  rows.place = place;
  ATTN_UNROLL for (short a = 0; a < R; a++) {
    int row = first + a * 8 + place.row;
    if (!aligned_queries) row = min(row, Nq - 1);
    rows.row[a] = head + long(row) * D;
    rows.position[a] = row + offset;
  }
  return rows;
}

enum QueryPlace { query_in_threadgroup = 0, query_in_registers = 1, query_in_device = 2 };

template <typename T, int D, int R, bool WIDE, int PLACE>
struct Queries;

// Read again from device memory whenever needed.
template <typename T, int D, int R, bool WIDE>
struct Queries<T, D, R, WIDE, query_in_device> {
  typedef DimensionCut<D, WIDE> Cut;
  static constant constexpr int unrolled_groups = 2;
  QueryRows<T, D, R> rows;

  METAL_FUNC void start(thread const QueryRows<T, D, R>& from, threadgroup T*, uint) {
    rows = from;
  }
  METAL_FUNC void group(thread FragmentGroup<T>& out, int a, int g) const {
    rows.read_group(out, a, g);
  }
  METAL_FUNC void single(thread Fragment<T>& out, int a, int s) const {
    rows.read_single(out, a, Cut::first_single + s * 8);
  }
};

template <typename T, int D, int R, bool WIDE>
struct Queries<T, D, R, WIDE, query_in_registers> {
  typedef DimensionCut<D, WIDE> Cut;
  static constant constexpr int unrolled_groups = D / 32 + 1;
  Fragment<T> held[R][D / 8];

  METAL_FUNC void start(thread const QueryRows<T, D, R>& from, threadgroup T*, uint) {
    ATTN_UNROLL for (short a = 0; a < R; a++) {
      ATTN_UNROLL for (short g = 0; g < Cut::groups; g++) {
        FragmentGroup<T> group;
        from.read_group(group, a, g);
        ATTN_UNROLL for (short j = 0; j < 4; j++)
          held[a][g * 4 + j] = group.part[j];
      }
      ATTN_UNROLL for (short s = 0; s < Cut::singles; s++) {
        from.read_single(held[a][Cut::groups * 4 + s], a, Cut::first_single + s * 8);
      }
    }
  }
  METAL_FUNC void group(thread FragmentGroup<T>& out, int a, int g) const {
    ATTN_UNROLL for (short j = 0; j < 4; j++)
      out.part[j] = held[a][g * 4 + j];
  }
  METAL_FUNC void single(thread Fragment<T>& out, int a, int s) const {
    out = held[a][Cut::groups * 4 + s];
  }
};

// Fragment after fragment, a lane reading back only what it wrote: no padding and no barrier.
template <typename T, int D, int R, bool WIDE>
struct Queries<T, D, R, WIDE, query_in_threadgroup> {
  typedef DimensionCut<D, WIDE> Cut;
  static constant constexpr int unrolled_groups = 2;
  threadgroup vec<T, 2>* held;  // lane's place in [R, D / 8, 32]

  METAL_FUNC threadgroup vec<T, 2>& slot(int a, int f) const {
    return held[(a * (D / 8) + f) * 32];
  }

  METAL_FUNC void start(thread const QueryRows<T, D, R>& from, threadgroup T* tile, uint lane) {
    held = reinterpret_cast<threadgroup vec<T, 2>*>(tile) + lane;
    ATTN_UNROLL for (short a = 0; a < R; a++) {
      for (short g = 0; g < Cut::groups; g++) {
        FragmentGroup<T> group;
        from.read_group(group, a, g);
        ATTN_UNROLL for (short j = 0; j < 4; j++)
          slot(a, g * 4 + j) = lane_pair(group.part[j]);
      }
      ATTN_UNROLL for (short s = 0; s < Cut::singles; s++) {
        Fragment<T> single;
        from.read_single(single, a, Cut::first_single + s * 8);
        slot(a, Cut::groups * 4 + s) = lane_pair(single);
      }
    }
  }
  METAL_FUNC void group(thread FragmentGroup<T>& out, int a, int g) const {
    ATTN_UNROLL for (short j = 0; j < 4; j++)
      lane_pair(out.part[j]) = slot(a, g * 4 + j);
  }
  METAL_FUNC void single(thread Fragment<T>& out, int a, int s) const {
    lane_pair(out) = slot(a, Cut::groups * 4 + s);
  }
};
