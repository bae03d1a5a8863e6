"""simdgroup_matrix on the cpu device: Apple's layout, memory, element types, structures."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from attnproto.errors import KernelCompileError
from support.conformance import conformance_device
from support.matrices import assert_matrices_close, nan_matrices, random_matrices
from support.msl import HEAD, launch_threadgroup, read_text

LANE = np.arange(32)
QUAD = LANE // 4
ROW = (QUAD & 4) + (LANE // 2) % 4
COLUMN = (QUAD & 2) * 2 + (LANE % 2) * 2


@pytest.fixture(scope="module")
def device():
    return conformance_device()


TEXT = read_text("simdgroup_matrix.metal")


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
    grid, stored = flat.reshape(24, 24), out.astype(np.float32)
    np.testing.assert_array_equal(stored[:64].reshape(8, 8), grid[2:10, 3:11])
    np.testing.assert_array_equal(stored[64:128].reshape(8, 8), grid[2:10, 3:11].T)
    wide = stored[128:256].reshape(8, 16)
    np.testing.assert_array_equal(wide[:, 8:], grid[:8, :8].T)
    assert (wide[:, :8] == -1).all()
    shared = flat[:240].reshape(12, 20)
    np.testing.assert_array_equal(stored[256:320].reshape(8, 8), shared[1:9, 3:11].T)
    square = flat[:240].copy()[:100].reshape(10, 10)
    square[1:9, 1:9] = shared[1:9, 2:10]
    np.testing.assert_array_equal(stored[320:].reshape(10, 10), square)


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


@pytest.mark.parametrize(
    "use",
    [
        "m.thread_elements().x",
        "(m.thread_elements() * 2.0f)[0]",
        "simd_shuffle_xor(m.thread_elements(), 1)[0]",
        "simd_broadcast(m.thread_elements(), 0)[0]",
    ],
)
def test_elements_are_taken_one_at_a_time_as_metal_wants_them(device, use):
    text = HEAD + "kernel void f(device float* out) {{ simdgroup_float8x8 m(1); out[0] = {}; }}"
    device.library(text.format("m.thread_elements()[0]")).pipeline("f")
    with pytest.raises(KernelCompileError):
        device.library(text.format(use)).pipeline("f")
