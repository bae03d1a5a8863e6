"""Threadgroups on the cpu device: memory, barriers, atomics, positions, limits."""

from __future__ import annotations

import numpy as np
import pytest
from attnproto.device.device import Device
from attnproto.errors import AttnprotoError, DispatchError, KernelCompileError
from support.msl import read_text

TEXT = read_text("threadgroups.metal")


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
    group_size = padded(threads)
    count = -(-size // group_size)
    out = np.full((*size[::-1], 24), 12345, np.uint32)
    launch(device, library, "places", [out], groups, threads, grid=grid)
    z, y, x = np.meshgrid(*(np.arange(s) for s in size[::-1]), indexing="ij")
    at = np.stack([x, y, z], axis=-1)
    group, inside = at // group_size, at % group_size
    here = np.minimum(group_size, size - group * group_size)
    index = inside[..., 0] + here[..., 0] * (inside[..., 1] + here[..., 1] * inside[..., 2])

    def everywhere(axes):
        return np.broadcast_to(axes, at.shape)

    expected = [inside, group, everywhere(count), here, everywhere(group_size), at]
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

    outputs = []
    for count in (1, 4):
        device = Device(_core.open_cpu(NativeFrontEnd(), count))
        out = np.zeros(37 * 96, np.float32)
        launch(device, device.library(TEXT), "full", [out], 37, 96)
        outputs.append(out.view(np.uint32))
    np.testing.assert_array_equal(*outputs)


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
TRANSLATED = read_text("translated.metal")


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
