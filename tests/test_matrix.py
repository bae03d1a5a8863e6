"""simdgroup_matrix on the cpu device: Apple's layout, memory, element types, structures."""

from __future__ import annotations

import attnproto
import ml_dtypes
import numpy as np
import pytest
from support.matrices import assert_matrices_close, nan_matrices, random_matrices
from support.msl import HEAD, launch_threadgroup

LANE = np.arange(32)
QUAD = LANE // 4
ROW = (QUAD & 4) + (LANE // 2) % 4
COLUMN = (QUAD & 2) * 2 + (LANE % 2) * 2


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


TEXT = (
    HEAD
    + """
typedef simdgroup_float8x8 M;

kernel void layout(device float* in [[buffer(0)]], device float* out [[buffer(1)]],
                   uint lane [[thread_index_in_simdgroup]]) {
  M m;
  simdgroup_load(m, in);
  out[2 * lane] = m.thread_elements()[0];
  out[2 * lane + 1] = m.thread_elements().y;
}

kernel void constructors(device float* out [[buffer(0)]], device half* halves [[buffer(1)]]) {
  M diagonal(3.0f);
  simdgroup_store(diagonal, out);
  simdgroup_store(make_filled_simdgroup_matrix<float, 8, 8>(4.0f), out + 64);
  simdgroup_store(make_filled_simdgroup_matrix<float, 8>(5.0f), out + 128);
  M set;
  set = M(0.0f);
  simdgroup_store(set, out + 192);
  simdgroup_store(simdgroup_half8x8(2.0h), halves);
}

template <typename T>
kernel void memory(device const T* in [[buffer(0)]], device T* out [[buffer(1)]],
                   threadgroup T* shared [[threadgroup(0)]],
                   uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_matrix<T, 8, 8> m;
  simdgroup_load(m, in, 24, ulong2(3, 2));
  simdgroup_store(m, out);
  simdgroup_load(m, in, 24, ulong2(3, 2), true);
  simdgroup_store(m, out + 64);
  simdgroup_load(m, in, 24, 0, true);
  simdgroup_store(m, out + 128, 16, ulong2(8, 0));
  for (uint i = lane; i < 240; i += 32) shared[i] = in[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_load(m, shared + 1, 20, ulong2(2, 1));
  simdgroup_store(m, out + 256, 8, ulong2(0, 0), true);
  simdgroup_load(m, (const threadgroup T*)shared, 20, ulong2(2, 1), true);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_store(m, shared, 10, ulong2(1, 1), true);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = lane; i < 100; i += 32) out[320 + i] = shared[i];
}
template [[host_name("memory_float")]] kernel decltype(memory<float>) memory<float>;
template [[host_name("memory_half")]] kernel decltype(memory<half>) memory<half>;
template [[host_name("memory_bfloat")]] kernel decltype(memory<bfloat>) memory<bfloat>;

template <typename D, typename A, typename B, typename C>
kernel void mixed(device const A* a [[buffer(0)]], device const B* b [[buffer(1)]],
                  device const C* c [[buffer(2)]], device D* out [[buffer(3)]]) {
  simdgroup_matrix<A, 8, 8> ma;
  simdgroup_matrix<B, 8, 8> mb;
  simdgroup_matrix<C, 8, 8> mc;
  simdgroup_matrix<D, 8, 8> d;
  simdgroup_load(ma, a);
  simdgroup_load(mb, b);
  simdgroup_load(mc, c);
  simdgroup_multiply_accumulate(d, ma, mb, mc);
  simdgroup_store(d, out);
}
#define MIXED(D, A, B, C) \\
  template [[host_name("mixed_" #D "_" #A "_" #B "_" #C)]] [[kernel]] \\
  decltype(mixed<D, A, B, C>) mixed<D, A, B, C>;
MIXED(float, float, float, float)
MIXED(float, half, half, float)
MIXED(half, half, half, half)
MIXED(float, bfloat, bfloat, float)
MIXED(bfloat, bfloat, bfloat, bfloat)
MIXED(float, half, float, half)
MIXED(half, float, bfloat, float)

struct Pair {
  M left, right;
  M product() const { return left * right; }
};
struct Tile {
  Pair pairs[2];
  metal::vec<float, 2> scale;
};
void scale(thread M& m, float by) { m.thread_elements() *= by; }
kernel void structures(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  Tile tile;
  tile.scale = float2(2.0f, -1.0f);
  for (int i = 0; i < 2; i++) {
    simdgroup_load(tile.pairs[i].left, in + 128 * i);
    simdgroup_load(tile.pairs[i].right, in + 128 * i + 64);
  }
  for (int i = 0; i < 2; i++) {
    M m = tile.pairs[i].product();
    scale(m, tile.scale[i]);
    simdgroup_store(m, out + 64 * i);
  }
}

// A row-wise softmax between two products, as attention does it.
kernel void attention(device const float* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  M q, k, v, s, o;
  simdgroup_load(q, in);
  simdgroup_load(k, in + 64, 8, 0, true);
  simdgroup_load(v, in + 128);
  simdgroup_multiply(s, q, k);
  thread float2& e = reinterpret_cast<thread float2&>(s.thread_elements());
  float largest = max(e.x, e.y);
  largest = max(largest, simd_shuffle_xor(largest, 1));
  largest = max(largest, simd_shuffle_xor(largest, 8));
  e = exp(e - largest);
  float total = e.x + e.y;
  total += simd_shuffle_xor(total, 1);
  total += simd_shuffle_xor(total, 8);
  e /= total;
  simdgroup_multiply(o, s, v);
  simdgroup_store(o, out);
}
"""
)


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def test_a_lane_holds_two_neighbours_of_a_row_where_apple_puts_them(device, library):
    m, out = random_matrices(1)[0], np.zeros((32, 2), np.float32)
    launch_threadgroup(device, library, "layout", m, out, threads=32)
    np.testing.assert_array_equal(out[:, 0], m[ROW, COLUMN])
    np.testing.assert_array_equal(out[:, 1], m[ROW, COLUMN + 1])


def test_a_value_fills_the_diagonal_and_make_filled_fills_all(device, library):
    out, halves = nan_matrices(4), nan_matrices(1, np.float16)
    launch_threadgroup(device, library, "constructors", out, halves, threads=32)
    np.testing.assert_array_equal(out[0], 3 * np.eye(8))
    np.testing.assert_array_equal(out[1], np.full((8, 8), 4))
    np.testing.assert_array_equal(out[2], np.full((8, 8), 5))
    np.testing.assert_array_equal(out[3], np.zeros((8, 8)))
    np.testing.assert_array_equal(halves[0], 2 * np.eye(8))


TYPES = {"float": np.float32, "half": np.float16, "bfloat": ml_dtypes.bfloat16}


@pytest.mark.parametrize("name", TYPES)
def test_loads_and_stores_follow_stride_origin_and_transposition(device, library, name):
    dtype = TYPES[name]
    flat = np.arange(24 * 24).astype(np.float32) % 251  # exact in 8 bits of mantissa
    data, out = flat.astype(dtype), np.full(420, -1, dtype)
    launch_threadgroup(
        device, library, f"memory_{name}", data, out, threadgroup_bytes={0: 1024}, threads=32
    )
    grid, found = flat.reshape(24, 24), out.astype(np.float32)
    np.testing.assert_array_equal(found[:64].reshape(8, 8), grid[2:10, 3:11])
    np.testing.assert_array_equal(found[64:128].reshape(8, 8), grid[2:10, 3:11].T)
    wide = found[128:256].reshape(8, 16)
    np.testing.assert_array_equal(wide[:, 8:], grid[:8, :8].T)
    assert (wide[:, :8] == -1).all()
    shared = flat[:240].reshape(12, 20)
    np.testing.assert_array_equal(found[256:320].reshape(8, 8), shared[1:9, 3:11].T)
    square = flat[:240].copy()[:100].reshape(10, 10)
    square[1:9, 1:9] = shared[1:9, 2:10]
    np.testing.assert_array_equal(found[320:].reshape(10, 10), square)


COMBINATIONS = [
    ("float", "float", "float", "float"),
    ("float", "half", "half", "float"),
    ("half", "half", "half", "half"),
    ("float", "bfloat", "bfloat", "float"),
    ("bfloat", "bfloat", "bfloat", "bfloat"),
    ("float", "half", "float", "half"),
    ("half", "float", "bfloat", "float"),
]


@pytest.mark.parametrize("types", COMBINATIONS, ids="-".join)
def test_multiply_accumulate_takes_four_independent_types(device, library, types):
    d, a, b, c = (TYPES[t] for t in types)
    left, right, addend = (random_matrices(1, i, t) for i, t in enumerate((a, b, c)))
    out = np.zeros((1, 8, 8), d)
    launch_threadgroup(
        device, library, "mixed_" + "_".join(types), left, right, addend, out, threads=32
    )
    wide = [x.astype(np.float64) for x in (left, right, addend)]
    exact = wide[0] @ wide[1] + wide[2]
    # Half a unit in the last place of the result, and the sum's own rounding.
    step = {"float": 1e-6, "half": 2**-11, "bfloat": 2**-8}[types[0]]
    size = np.abs(wide[0]) @ np.abs(wide[1]) + np.abs(wide[2])
    assert (np.abs(out.astype(np.float64) - exact) <= step * np.abs(exact) + 1e-6 * size).all()


def test_matrices_live_in_arrays_and_structures(device, library):
    given, out = random_matrices(4), nan_matrices(2)
    launch_threadgroup(device, library, "structures", given, out, threads=32)
    wide = given.astype(np.float64)
    assert_matrices_close(out, [2 * wide[0] @ wide[1], -(wide[2] @ wide[3])])


def test_a_softmax_between_two_products_is_attention(device, library):
    given, out = random_matrices(3), nan_matrices(1)
    launch_threadgroup(device, library, "attention", given, out, threads=32)
    q, k, v = given.astype(np.float64)
    weights = np.exp(q @ k.T)
    assert_matrices_close(out[0], weights / weights.sum(1, keepdims=True) @ v)
