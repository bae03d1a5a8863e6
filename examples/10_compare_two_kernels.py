"""Two ways to do one thing, timed against each other until the interval of their ratio decides."""

import attnproto
import numpy as np
from attnproto.measure.pairs import compare

TEXT = """
#include <metal_stdlib>
using namespace metal;

constant bool wide [[function_constant(0)]];

kernel void copy(device const float4* x [[buffer(0)]], device float4* y [[buffer(1)]],
                 constant uint& n [[buffer(2)]], uint i [[thread_position_in_grid]],
                 uint threads [[threads_per_grid]]) {
  if (wide) {
    for (uint k = i; k < n; k += threads) y[k] = x[k];
  } else {
    device const float* from = (device const float*)x;
    device float* to = (device float*)y;
    for (uint k = i; k < 4 * n; k += threads) to[k] = from[k];
  }
}
"""


class Copy:
    """One way to copy; ``run`` is what a comparison calls."""

    def __init__(self, device: attnproto.Device, wide: bool):
        x = np.random.default_rng(0).standard_normal(1 << 18, np.float32)
        self.y = device.buffer(x.nbytes)
        pipeline = device.library(TEXT).pipeline("copy", {"wide": wide})
        buffers = {0: device.buffer(x), 1: self.y, 2: np.uint32(x.size // 4)}
        self._device, self._dispatch = device, attnproto.Dispatch(pipeline, 16, 256, buffers)
        self.run()
        assert np.array_equal(self.y.numpy(np.float32), x)  # right first, timed then

    def run(self, repeats: int = 1) -> float:
        """Time of ``repeats`` dispatches in one submission, in microseconds."""
        return self._device.submit([self._dispatch] * repeats).gpu_us


def main() -> None:
    """Compare copies by vectors of four and by single floats."""
    device = attnproto.open_device("auto")
    decided = compare([Copy(device, wide=True), Copy(device, wide=False)])
    print(
        f"wide / narrow: {decided['ratio']:.3f} "
        f"[{decided['ratio_low']:.3f}, {decided['ratio_high']:.3f}], "
        f"{decided['verdict']} after {decided['blocks']} blocks"
    )
    print(f"on {device.name}, tier {device.tier}")


if __name__ == "__main__":
    main()
