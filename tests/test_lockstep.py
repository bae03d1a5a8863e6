"""The lockstep engine against the fibers, bit for bit, and what it leaves to them."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from attnproto.errors import DeviceUnavailable

from random_kernels import HEAD, kernel

SEEDS = range(16)


@pytest.fixture(scope="module")
def engines():
    return [attnproto.open_device("cpu", engine=engine) for engine in ("fibers", "lockstep")]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_kernels_give_the_same_bits_on_both_engines(engines, seed):
    inputs = np.random.default_rng(seed).standard_normal(64).astype(np.float32)
    inputs.flags.writeable = False
    found = {}
    for device in engines:
        pipeline = device.library(HEAD + kernel(seed)).pipeline(f"random_{seed}")
        # Whole simdgroups; and some with lanes missing, which run on fibers.
        for threads in (64, 40):
            out, total = np.full((3 * threads, 14), np.nan, np.float32), np.zeros(16, np.int32)
            buffers = {0: inputs, 1: out, 2: total, 3: np.int32(3)}
            device.run(pipeline, threadgroups=3, threads=threads, buffers=buffers)
            found.setdefault(threads, []).append((out.view(np.uint32), total))
    assert (pipeline.engine, pipeline.engine_reason) == ("lockstep", "")
    for (out, total), (other_out, other_total) in found.values():
        np.testing.assert_array_equal(out, other_out)
        np.testing.assert_array_equal(total, other_total)
        assert np.any(out[0] != np.float32(np.nan).view(np.uint32))


def test_a_kernel_that_lockstep_does_not_take_says_why(engines):
    text = HEAD + (
        "kernel void part(device int* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {"
        "  if (i & 1) threadgroup_barrier(mem_flags::mem_none);  out[i] = int(i); }"
    )
    fibers, lockstep = (device.library(text).pipeline("part") for device in engines)
    assert (fibers.engine, fibers.engine_reason) == ("fibers", "")
    assert lockstep.engine == "fibers"
    assert "threadgroup_barrier that only some lanes may reach" in lockstep.engine_reason


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(DeviceUnavailable, match="needs one of lockstep, fibers"):
        attnproto.open_device("cpu", engine="vectors")
