"""Quad functions on the cpu device, on both engines, whichever lanes take part."""

from __future__ import annotations

from functools import reduce

import ml_dtypes
import numpy as np
import pytest
from attnproto import _core
from attnproto.compiler.targets.engines import CPU_ENGINES
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Device
from support.msl import read_text

TEXT = read_text("quads.metal")
TYPES = {
    "float": np.float32, "half": np.float16, "bfloat": ml_dtypes.bfloat16, "int": np.int32,
    "uint": np.uint32, "short": np.int16, "ushort": np.uint16, "float2": np.float32,
    "float3": np.float32, "half4": np.float16, "int3": np.int32,
}  # fmt: skip
LANES = 64  # 16 quads, so that every set of lanes takes part in one


@pytest.fixture(scope="module", params=CPU_ENGINES)
def device(request):
    return Device(_core.open_cpu(NativeFrontEnd(engine=request.param), 1))


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def run(device, library, kernel, *arrays):
    device.run(
        library.pipeline(kernel), threadgroups=1, threads=LANES, buffers=dict(enumerate(arrays))
    )


def quads():
    """Number and lanes of each quad, and those of them that take part."""
    for quad in range(LANES // 4):
        lanes = range(4 * quad, 4 * quad + 4)
        yield quad, lanes, [i for i in lanes if quad >> i % 4 & 1]


@pytest.mark.parametrize("name", TYPES)
def test_a_quad_s_lanes_that_take_part_are_those_that_count(device, library, name):
    dtype, width = TYPES[name], int(name[-1]) if name[-1].isdigit() else 1
    stride = 4 if width == 3 else width
    rng = np.random.default_rng(1)
    x = rng.integers(1, 6, (LANES, stride)).astype(dtype)
    out = np.zeros((LANES, 24, stride), dtype)
    votes = np.full((LANES, 8), 9, np.uint32)
    run(device, library, f"quads_{name}", x, out, votes)
    out, x = out[..., :width], x[:, :width]
    expected, ballots = np.zeros_like(out), np.full_like(votes, 9)
    for _, lanes, active in quads():
        for i in active:
            up_to, before = [j for j in active if j <= i], [j for j in active if j < i]
            values = (x[active].sum(0), x[active].prod(0), x[active].min(0), x[active].max(0),
                      x[up_to].sum(0), x[before].sum(0), x[up_to].prod(0), x[before].prod(0),
                      x[active[0]])  # fmt: skip
            for k, value in enumerate(values):
                expected[i, k] = value
            at = [j % 4 for j in active]
            ballots[i, :6] = [
                all(at), 2 in at, sum(1 << j for j in at if j % 2), sum(1 << j for j in at),
                i == active[0], (3 not in at) + 2 * (3 in at),
            ]  # fmt: skip
        base = lanes[0]
        for i in lanes:
            k, fill = i % 4, lambda j: x[j ^ 1] * dtype(2)
            moved = (
                x[base + 2], x[base + 3 - k], x[i ^ 2], x[base + (k - 1) % 4],
                x[base + (k + 1) % 4], x[max(i - 1, base)], x[min(i + 1, base + 3)],
                x[i - 1] if k else fill(base + 3), x[i + 1] if k < 3 else fill(base),
                x[i - 1] if k % 2 else fill(i + 1), x[i + 1] if k % 2 == 0 else fill(i - 1),
            )  # fmt: skip
            expected[i, 9:20] = np.array(moved, dtype)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(votes, ballots)


def test_bits_are_combined_over_the_lanes_that_take_part(device, library):
    x = np.random.default_rng(2).integers(0, 2**32, LANES, np.uint32)
    out, expected = np.zeros((2, LANES, 3), np.uint32)
    run(device, library, "bits", x, out)
    for _, _, active in quads():
        for i in active:
            expected[i] = [
                reduce(f, (int(x[j]) for j in active))
                for f in (int.__and__, int.__or__, int.__xor__)
            ]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("last", [1e8, np.inf, np.nan])
def test_a_sum_of_those_before_knows_nothing_of_the_lane_itself(device, library, last):
    """The inclusive sum less its own loses the 1 to 1e8, and is NaN beside infinity."""
    x = np.ones(LANES, np.float32)
    x[3::4] = last
    out = np.full((LANES, 2), np.nan, np.float32)
    run(device, library, "exclusive", x, out)
    np.testing.assert_array_equal(out[:, 0], np.tile([0, 1, 2, 3], LANES // 4).astype(np.float32))
    assert out[3, 1] == 3
