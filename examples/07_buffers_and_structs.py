"""Memory that stays on the device, a struct of parameters, and two dispatches in one submission."""

import struct

import attnproto
import numpy as np

TEXT = """
#include <metal_stdlib>
using namespace metal;

struct Step {
  float2 drift;  // at byte 0
  float scale;   // at 8
  uint count;    // at 12; the struct's alignment is float2's, its size 16
};

kernel void step(device float2* points [[buffer(0)]], constant Step& by [[buffer(1)]],
                 uint i [[thread_position_in_grid]]) {
  if (i < by.count) points[i] = by.scale * points[i] + by.drift;
}
"""


def packed(drift: tuple[float, float], scale: float, count: int) -> bytes:
    """The bytes of a Step as MSL lays it out."""
    return struct.pack("<2ffI", *drift, scale, count)


def main() -> None:
    """Move points twice without copying them back in between."""
    device = attnproto.open_device("auto")
    pipeline = device.library(TEXT).pipeline("step")
    start = np.random.default_rng(0).standard_normal((100, 2), np.float32)
    points = device.buffer(start)  # a copy; an int makes that many bytes of zeros
    steps = [packed((1, 0), 0.5, 100), packed((0, -1), 2.0, 50)]
    dispatches = [
        attnproto.Dispatch(pipeline, threadgroups=4, threads=32, buffers={0: points, 1: step})
        for step in steps
    ]
    timing = device.submit(dispatches)  # in order: the second sees what the first wrote
    moved = points.numpy(np.float32, (100, 2))
    expected = 0.5 * start + [1, 0]
    expected[:50] = 2 * expected[:50] + [0, -1]
    assert np.allclose(moved, expected, atol=1e-6)
    print(f"{points.nbytes} bytes stayed on the device; {len(steps)} dispatches in one submission")
    print(f"{start[0]} went to {moved[0]}, {timing.gpu_us:.0f} us ({device.tier})")


if __name__ == "__main__":
    main()
