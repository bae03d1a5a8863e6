"""Threadgroups on the cpu device: memory, barriers, atomics, positions, limits."""

from __future__ import annotations

import numpy as np
import pytest
from attnproto.device.device import Device
from attnproto.errors import AttnprotoError, DispatchError, KernelCompileError

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"
TEXT = (
    HEAD
    + """
kernel void reverse(device const int* in [[buffer(0)]], device int* out [[buffer(1)]],
                    uint i [[thread_index_in_threadgroup]],
                    uint n [[threads_per_threadgroup]], uint group [[threadgroup_position_in_grid]],
                    threadgroup int* shared [[threadgroup(0)]]) {
  shared[i] = in[group * n + i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[group * n + i] = shared[n - 1 - i];
}

// A ring: each thread reads its neighbour's value and writes its own, in turns.
kernel void ring(device int* out [[buffer(0)]], constant int& turns [[buffer(1)]],
                 uint i [[thread_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
  threadgroup int value[1024];
  value[i] = int(i);
  for (int turn = 0; turn < turns; turn++) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int next = value[(i + 1) % n];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    value[i] = next + 1;
  }
  out[i] = value[i];
}

struct Cell { float2 pair; int tag; };
template <int N>
void fill(threadgroup float (&grid)[N][4], uint i) {
  for (int k = 0; k < 4; k++) grid[i][k] = float(N * i + k);
}
template <typename T, int N>
kernel void several(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]],
                    threadgroup T* first [[threadgroup(0)]],
                    threadgroup uchar* second [[threadgroup(3)]]) {
  threadgroup float grid[N][4], total;
  threadgroup Cell cells[N];
  threadgroup T one;
  first[i] = T(i);
  second[i] = uchar(2 * i);
  fill<N>(grid, i);
  cells[i].pair = float2(i, -float(i));
  cells[i].tag = int(i);
  if (i == 0) { total = 100; one = T(7); }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  uint j = N - 1 - i;
  float sum = float(first[j]) + second[j] + grid[j][3] + cells[j].pair.y + cells[j].tag;
  out[i] = sum + total + float(one);
}
template [[host_name("several_half")]] kernel decltype(several<half, 16>) several<half, 16>;
template [[host_name("several_float")]] kernel decltype(several<float, 48>) several<float, 48>;

kernel void unwritten(device float* out [[buffer(0)]], device half* halves [[buffer(1)]],
                      threadgroup float* dynamic [[threadgroup(0)]],
                      uint i [[thread_index_in_threadgroup]]) {
  threadgroup float fixed[32];
  threadgroup half small[32];
  out[i] = fixed[i];
  out[32 + i] = dynamic[i];
  halves[i] = small[i];
  fixed[i] = 1;
  dynamic[i] = 1;
  small[i] = 1;
}

kernel void atomics(device atomic_int* ints [[buffer(0)]], device atomic_uint* uints [[buffer(1)]],
                    device atomic_float* floats [[buffer(2)]], device int* old [[buffer(3)]],
                    uint i [[thread_position_in_grid]],
                    uint k [[thread_index_in_threadgroup]]) {
  threadgroup atomic_int local[4];
  threadgroup atomic_float local_float;
  if (k < 4) atomic_store_explicit(&local[k], 0, memory_order_relaxed);
  if (k == 0) atomic_store_explicit(&local_float, 0.0f, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  old[i] = atomic_fetch_add_explicit(&ints[0], 1, memory_order_relaxed);
  atomic_fetch_max_explicit(&ints[1], int(i) - 5, memory_order_relaxed);
  atomic_fetch_min_explicit(&ints[2], -int(i), memory_order_relaxed);
  atomic_fetch_sub_explicit(&ints[3], 2, memory_order_relaxed);
  atomic_fetch_or_explicit(&uints[0], 1u << (i % 32), memory_order_relaxed);
  atomic_fetch_and_explicit(&uints[1], ~(1u << (i % 7)), memory_order_relaxed);
  atomic_fetch_xor_explicit(&uints[2], i, memory_order_relaxed);
  atomic_fetch_max_explicit(&uints[3], 0xfffffff0u + (i % 3), memory_order_relaxed);
  atomic_fetch_add_explicit(&floats[0], 0.5f, memory_order_relaxed);
  atomic_fetch_add_explicit(&local[i % 4], int(i), memory_order_relaxed);
  atomic_fetch_add_explicit(&local_float, 0.25f, memory_order_relaxed);
  int expected = atomic_load_explicit(&ints[4], memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(&ints[4], &expected, expected + 3,
                                                memory_order_relaxed, memory_order_relaxed)) {
  }
  int wrong = -1000;
  if (!atomic_compare_exchange_weak_explicit(&ints[5], &wrong, 1, memory_order_relaxed,
                                             memory_order_relaxed) && wrong != 42)
    atomic_store_explicit(&ints[6], 1, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (k < 4)
    atomic_fetch_add_explicit(&ints[8 + k], atomic_load_explicit(&local[k], memory_order_relaxed),
                              memory_order_relaxed);
  if (k == 0) {
    float sum = atomic_exchange_explicit(&local_float, 0.0f, memory_order_relaxed);
    atomic_fetch_add_explicit(&floats[1], sum, memory_order_relaxed);
    atomic_exchange_explicit(&ints[7], 11, memory_order_relaxed);
  }
}

kernel void places(device uint* out [[buffer(0)]], uint3 at [[thread_position_in_grid]],
                   uint3 size [[threads_per_grid]],
                   uint3 in_group [[thread_position_in_threadgroup]],
                   uint3 group [[threadgroup_position_in_grid]],
                   uint3 groups [[threadgroups_per_grid]],
                   uint3 threads [[threads_per_threadgroup]],
                   uint3 dispatched [[dispatch_threads_per_threadgroup]],
                   uint index [[thread_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]],
                   uint simdgroups [[simdgroups_per_threadgroup]]) {
  device uint* o = out + 24 * ((at.z * size.y + at.y) * size.x + at.x);
  for (int i = 0; i < 3; i++) {
    o[i] = in_group[i], o[3 + i] = group[i], o[6 + i] = groups[i], o[9 + i] = threads[i];
    o[12 + i] = dispatched[i], o[15 + i] = at[i];
  }
  o[18] = index, o[19] = lane, o[20] = simdgroup, o[21] = simdgroups;
}
kernel void short_places(device ushort* out [[buffer(0)]], ushort2 at [[thread_position_in_grid]],
                         ushort2 size [[threads_per_grid]],
                         ushort in_group [[thread_position_in_threadgroup]],
                         ushort2 group [[threadgroup_position_in_grid]],
                         ushort threads [[threads_per_threadgroup]],
                         ushort lane [[thread_index_in_simdgroup]]) {
  device ushort* o = out + 6 * (at.y * size.x + at.x);
  o[0] = in_group, o[1] = group.x, o[2] = group.y, o[3] = threads, o[4] = lane, o[5] = size.y;
}

kernel void full(device float* out [[buffer(0)]], uint i [[thread_position_in_grid]],
                 uint k [[thread_index_in_threadgroup]],
                 uint simdgroup [[simdgroup_index_in_threadgroup]],
                 uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float sums[32];
  float x = float(i % 97) * 0.37f, sum = simd_sum(x);
  if (lane == 0) sums[simdgroup] = sum;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  sum = simd_sum(sums[lane]);
  out[i] = sum + x;
}

kernel void divided_lanes(device int* out [[buffer(0)]], constant int& odd [[buffer(1)]],
                          uint i [[thread_index_in_threadgroup]]) {
  threadgroup int shared[64];
  shared[i] = int(i);
  if (odd && i % 2) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = shared[i ^ 2] + 1;
  } else {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = shared[i ^ 2];
  }
}
kernel void divided_simdgroups(device int* out [[buffer(0)]], constant int& odd [[buffer(1)]],
                               uint i [[thread_index_in_threadgroup]],
                               uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup int shared[64];
  shared[i] = int(i);
  if (odd && simdgroup == 1) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = shared[i ^ 32] + 1;
  } else {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[i] = shared[i ^ 32];
  }
}

kernel void large_frame(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                        uint i [[thread_position_in_grid]]) {
  int table[12000];
  for (int k = 0; k < n; k++) table[(k * 7919) % n] = k + int(i);
  out[i] = table[n / 2];
}
kernel void too_large_frame(device int* out [[buffer(0)]], constant int& n [[buffer(1)]],
                            uint i [[thread_position_in_grid]]) {
  float4 table[4200];
  for (int k = 0; k < n; k++) table[(k * 7919) % n] = float4(k + int(i));
  out[i] = int(table[n / 2].x);
}
[[max_total_threads_per_threadgroup(64)]]
kernel void limited(device int* out [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  out[i] = int(i);
}
"""
)


@pytest.fixture(scope="module", params=[1, 4], ids=lambda n: f"{n}-threads")
def device(request):
    from attnproto import _core
    from attnproto.compiler.targets.host import NativeFrontEnd

    return Device(_core.open_cpu(NativeFrontEnd(), request.param))


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def launch(device, library, name, buffers, threadgroups=1, threads=32, **options):
    device.run(
        library.pipeline(name),
        threadgroups=threadgroups,
        threads=threads,
        buffers=dict(enumerate(buffers)),
        **options,
    )


@pytest.mark.parametrize("threads", [1, 31, 32, 33, 100, 1024])
def test_a_barrier_shows_each_simdgroup_what_the_others_wrote(device, library, threads):
    given, out = np.arange(5 * threads, dtype=np.int32), np.zeros(5 * threads, np.int32)
    nbytes = (threads * 4 + 15) // 16 * 16
    launch(device, library, "reverse", [given, out], 5, threads, threadgroup_bytes={0: nbytes})
    np.testing.assert_array_equal(out.reshape(5, -1), given.reshape(5, -1)[:, ::-1])


@pytest.mark.parametrize("threads", [1, 40, 256])
def test_barriers_keep_the_turns_of_a_loop_apart(device, library, threads):
    out = np.zeros(threads, np.int32)
    launch(device, library, "ring", [out, np.int32(7)], threads=threads)
    np.testing.assert_array_equal(out, (np.arange(threads) + 7) % threads + 7)


@pytest.mark.parametrize(("name", "n"), [("several_half", 16), ("several_float", 48)])
def test_static_and_dynamic_threadgroup_memory_do_not_overlap(device, library, name, n):
    out = np.zeros(n, np.float32)
    launch(device, library, name, [out], threads=n, threadgroup_bytes={3: 48, 0: 4 * n})
    j = np.arange(n)[::-1]
    np.testing.assert_array_equal(out, j + 2 * j + (n * j + 3) - j + j + 107)


def test_unwritten_threadgroup_memory_reads_as_nan_in_every_threadgroup(device, library):
    out, halves = np.zeros(64, np.float32), np.zeros(32, np.float16)
    for _ in range(2):
        launch(device, library, "unwritten", [out, halves], 3, threadgroup_bytes={0: 128})
        assert np.isnan(out).all()
        assert np.isnan(halves).all()


def test_atomics_of_many_threads_lose_nothing(device, library):
    groups, threads = 8, 96
    n = groups * threads
    i = np.arange(n)
    ints = np.zeros(12, np.int32)
    ints[5] = 42
    uints = np.array([0, 0xFFFFFFFF, 0, 7], np.uint32)
    floats, old = np.zeros(2, np.float32), np.full(n, -1, np.int32)
    launch(device, library, "atomics", [ints, uints, floats, old], groups, threads)
    np.testing.assert_array_equal(np.sort(old), i)
    assert ints[:8].tolist() == [n, n - 6, 1 - n, -2 * n, 3 * n, 42, 0, 11]
    np.testing.assert_array_equal(ints[8:], [i[k::4].sum() for k in range(4)])
    xor = int(np.bitwise_xor.reduce(i))
    assert uints.tolist() == [0xFFFFFFFF, 0xFFFFFF80, xor, 0xFFFFFFF2]
    assert floats.tolist() == [n * 0.5, n * 0.25]


GRIDS = [
    ((7,), (3,), None),
    ((3, 2), (4, 5), None),
    ((2, 3, 2), (5, 2, 4), None),
    ((3,), (32,), (70,)),
    ((3, 2), (8, 4), (19, 5)),
    ((3, 2, 3), (4, 3, 2), (9, 4, 5)),
]


def padded(axes):
    return np.array([*axes, 1, 1][:3])


@pytest.mark.parametrize(("groups", "threads", "grid"), GRIDS)
def test_every_position_and_size_is_what_metal_says(device, library, groups, threads, grid):
    size = padded(grid) if grid else padded(groups) * padded(threads)
    whole = padded(threads)
    count = -(-size // whole)
    out = np.full((*size[::-1], 24), 12345, np.uint32)
    launch(device, library, "places", [out], groups, threads, grid=grid)
    z, y, x = np.meshgrid(*(np.arange(s) for s in size[::-1]), indexing="ij")
    at = np.stack([x, y, z], axis=-1)
    group, inside = at // whole, at % whole
    here = np.minimum(whole, size - group * whole)
    index = inside[..., 0] + here[..., 0] * (inside[..., 1] + here[..., 1] * inside[..., 2])

    def everywhere(axes):
        return np.broadcast_to(axes, at.shape)

    expected = [inside, group, everywhere(count), here, everywhere(whole), at]
    scalars = [index, index % 32, index // 32, (here.prod(axis=-1) + 31) // 32]
    expected = np.concatenate([*expected, np.stack(scalars, axis=-1)], axis=-1)
    np.testing.assert_array_equal(out[..., :22], expected)


def test_positions_may_be_short_and_have_fewer_components(device, library):
    out = np.zeros((6, 9, 6), np.uint16)
    launch(device, library, "short_places", [out], (3, 2), (3, 3))
    y, x = np.meshgrid(np.arange(6), np.arange(9), indexing="ij")
    lane = x % 3 + 3 * (y % 3)
    expected = [x % 3, x // 3, y // 3, np.full_like(x, 3), lane, np.full_like(x, 6)]
    np.testing.assert_array_equal(out, np.stack(expected, axis=-1))


def test_a_threadgroup_of_1024_threads_is_32_simdgroups(device, library):
    out = np.zeros(3 * 1024, np.float32)
    launch(device, library, "full", [out], 3, 1024)
    x = (np.arange(3 * 1024) % 97 * 0.37).reshape(3, 1024)
    np.testing.assert_allclose(out.reshape(3, 1024), x.sum(1, keepdims=True) + x, rtol=1e-5)


def test_the_number_of_host_threads_changes_no_bit():
    from attnproto import _core
    from attnproto.compiler.targets.host import NativeFrontEnd

    found = []
    for count in (1, 4):
        device = Device(_core.open_cpu(NativeFrontEnd(), count))
        out = np.zeros(37 * 96, np.float32)
        launch(device, device.library(TEXT), "full", [out], 37, 96)
        found.append(out.view(np.uint32))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", ["divided_lanes", "divided_simdgroups"])
def test_a_barrier_that_only_some_threads_reach_is_an_error_and_no_more(device, library, name):
    out = np.full(64, -1, np.int32)
    with pytest.raises(DispatchError, match="two different threadgroup_barrier calls"):
        launch(device, library, name, [out, np.int32(1)], threads=64)
    launch(device, library, name, [out, np.int32(0)], threads=64)
    np.testing.assert_array_equal(out, np.arange(64) ^ (2 if name == "divided_lanes" else 32))


def test_large_local_arrays_work_up_to_a_limit_that_is_named(device, library):
    out = np.zeros(40, np.int32)
    launch(device, library, "large_frame", [out, np.int32(11999)], threads=40)
    k = np.arange(11999)
    table = np.zeros(11999, int)
    table[k * 7919 % 11999] = k
    np.testing.assert_array_equal(out, table[11999 // 2] + np.arange(40))
    with pytest.raises(KernelCompileError, match=r"too_large_frame.*bytes a thread"):
        library.pipeline("too_large_frame")


def test_a_kernel_may_limit_its_threads(device, library):
    out = np.zeros(128, np.int32)
    assert library.pipeline("limited").max_threads == 64
    with pytest.raises(AttnprotoError, match="65 threads"):
        launch(device, library, "limited", [out], 1, 65)
    launch(device, library, "limited", [out], 2, 64)
    np.testing.assert_array_equal(out, np.arange(128))


# As a translator from another language writes it: qualified names, references, no indices.
TRANSLATED = """
#include <metal_stdlib>
#include <simd/simd.h>
using metal::uint;
struct tile { metal::float4 inner[8]; };
typedef metal::float4 rows[1];
kernel void turn(metal::uint3 at [[thread_position_in_threadgroup]]
, device rows const& from [[buffer(0)]]
, device rows& to [[buffer(1)]]
, threadgroup tile& first
, threadgroup tile& second
) {
  first.inner[at.x] = from[at.x];
  second.inner[at.x] = 2.0 * from[at.x];
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
  to[at.x] = first.inner[7u - at.x] + second.inner[at.x];
}
"""


def test_threadgroup_references_without_an_attribute_are_numbered_in_order(device) -> None:
    pipeline = device.library(TRANSLATED).pipeline("turn")
    x = np.arange(32, dtype=np.float32).reshape(8, 4)
    y = np.full_like(x, np.nan)
    sizes = {0: 128, 1: 128}
    device.run(pipeline, threadgroups=1, threads=8, buffers={0: x, 1: y}, threadgroup_bytes=sizes)
    assert np.array_equal(y, x[::-1] + 2 * x)
    with pytest.raises(DispatchError, match="128"):
        device.run(pipeline, threadgroups=1, threads=8, buffers={0: x, 1: y},
                   threadgroup_bytes={0: 128, 1: 64})  # fmt: skip
