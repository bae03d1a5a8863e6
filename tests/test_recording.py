"""Repeats that find their inputs in a cache, and repeats that do not."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from attnproto.device.device import Device
from attnproto.device.recording import Recording
from attnproto.measure.pairs import COLD, HOT, recorded

TEXT = """
kernel void add(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                uint i [[thread_position_in_grid]]) { y[i] += x[i]; }
"""


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


def launch_of(device, x, y):
    pipeline = device.library(TEXT).pipeline("add")
    return lambda on: on.run(pipeline, threadgroups=1, threads=32, buffers={0: x, 1: y})


def test_cold_repeats_go_through_copies_of_all_buffers(device, monkeypatch):
    x, y = np.arange(32, dtype=np.float32), np.zeros(32, np.float32)
    # 256 bytes a set.
    recording = Recording(device, launch_of(device, x, y), spread_bytes=700)
    assert recording.copies == 3
    seen = []
    monkeypatch.setattr(
        "attnproto.device.recording._timed",
        lambda device, dispatches, rounds: (
            seen.append((rounds, len({id(d.buffers[0]) for d in dispatches})))
            or device.submit_repeated(dispatches, rounds).gpu_us * 0 + 12.0
        ),
    )
    # 7 repeats are 3 rounds of 3 copies: 7 of 9 parts of their time.
    assert recording.run(7) == pytest.approx(12.0 * 7 / 9)
    assert recording.run(2) == 12.0
    assert seen == [(3, 3), (1, 2)]
    np.testing.assert_array_equal(recording.read(y), 4 * x)
    np.testing.assert_array_equal(y, 0)


def test_hot_repeats_keep_to_one_set(device):
    x, y = np.ones(32, np.float32), np.zeros(32, np.float32)
    recording = Recording(device, launch_of(device, x, y))
    recording.run(5)
    assert recording.copies == 1
    np.testing.assert_array_equal(recording.read(y), 5)


class Accelerator(Device):
    """A device on which dispatches are sent ahead of those that are timed."""

    kind = "metal"


def test_what_goes_on_from_its_own_output_is_judged_after_one_run(device):
    """Linear attention's state; the first linear points on a GPU were refused."""
    x, y = np.ones(32, np.float32), np.zeros(32, np.float32)
    accelerator = Accelerator(device._core)
    recording = recorded(accelerator, launch_of(device, x, y), y, np.ones_like(y))
    recording.run(8)
    np.testing.assert_array_equal(recording.read(y), 1 + 1 + 8)


@pytest.mark.parametrize(("memory", "copies"), [(HOT, 1), (COLD, 16)])
def test_cold_is_more_than_any_cache(device, memory, copies):
    x, y = np.ones(1 << 20, np.float32), np.zeros(1 << 20, np.float32)
    judged = y.copy()
    judged[:32] = 1
    assert recorded(device, launch_of(device, x, y), y, judged, memory).copies == copies
