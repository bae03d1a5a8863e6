"""A kernel in MSL, compiled and run on whatever device is here.

Arrays are bound as they are: a read-only one is an input, a writable one receives what the kernel
wrote. A number is bound as the bytes of its type.
"""

import attnproto
import numpy as np

TEXT = """
#include <metal_stdlib>
using namespace metal;

kernel void scaled(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                   constant float& factor [[buffer(2)]], constant uint& n [[buffer(3)]],
                   uint i [[thread_position_in_grid]]) {
  if (i < n) y[i] = factor * x[i];
}
"""


def main() -> None:
    """Scale a vector whose length no threadgroup divides."""
    device = attnproto.open_device("auto")
    pipeline = device.library(TEXT).pipeline("scaled")
    x = np.arange(1000, dtype=np.float32)
    x.flags.writeable = False
    y = np.full_like(x, np.nan)  # an element that the kernel forgets stays NaN
    timing = device.run(
        pipeline,
        threadgroups=-(-len(x) // 256),
        threads=256,
        buffers={0: x, 1: y, 2: np.float32(0.5), 3: np.uint32(len(x))},
    )
    assert np.array_equal(y, 0.5 * x)
    print(f"{device.name} ({device.kind}): {y[:4]} ... {y[-1]}")
    print(f"{timing.gpu_us:.0f} us, {device.tier}: only a measured time is evidence about a GPU")


if __name__ == "__main__":
    main()
