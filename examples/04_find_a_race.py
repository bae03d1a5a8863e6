"""A barrier is missing; the result may be right today. Validation finds the race all the same."""

import attnproto
import numpy as np

TEXT = """
#include <metal_stdlib>
using namespace metal;

kernel void smoothed(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                     uint i [[thread_position_in_threadgroup]],
                     uint n [[threads_per_threadgroup]]) {
  threadgroup float kept[64];
  kept[i] = x[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float left = kept[(i + n - 1) % n];
  kept[i] = 0.5f * (kept[i] + left);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = kept[i];
}
"""
BARRIER = "  threadgroup_barrier(mem_flags::mem_threadgroup);\n"


def smooth(device: attnproto.Device, text: str) -> np.ndarray:
    """Average 64 numbers with their neighbours by a kernel's text."""
    x = np.arange(64, dtype=np.float32)
    y = np.full_like(x, np.nan)
    pipeline = device.library(text).pipeline("smoothed")
    device.run(pipeline, threadgroups=1, threads=64, buffers={0: x, 1: y})
    return y


def main() -> None:
    """Run the kernel under validation without its barrier, and with it."""
    device = attnproto.open_device("cpu", validate=True)
    try:
        smooth(device, TEXT)
    except attnproto.ValidationError as error:
        print(error)
        for party in error.parties:
            print(f"  thread {party.thread} {party.action} in line {party.line}: {party.source}")
        kind = error.kind
    else:
        kind = "none"
    assert kind == "race"
    at = TEXT.index("  kept[i] = 0.5f")
    mended = smooth(device, TEXT[:at] + BARRIER + TEXT[at:])
    assert np.array_equal(mended[1:], np.arange(1, 64) - 0.5)
    print("with a barrier between the reads and the writes: nothing to report")


if __name__ == "__main__":
    main()
