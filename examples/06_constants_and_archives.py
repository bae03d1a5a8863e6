"""One text, several kernels by function constants; compiled once and kept in an archive."""

import tempfile
from pathlib import Path

import attnproto
import numpy as np

TEXT = """
#include <metal_stdlib>
using namespace metal;

constant float slope [[function_constant(0)]];
constant bool squared [[function_constant(1)]];

kernel void activate(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  float y = x[i] < 0 ? slope * x[i] : x[i];
  x[i] = squared ? y * y : y;
}
"""
VARIANTS = [{"slope": 0.0, "squared": False}, {"slope": 0.1, "squared": True}]


def main() -> None:
    """Build an archive of two variants, and serve both from it without a compiler."""
    device = attnproto.open_device("auto")
    builder = attnproto.archive.build(device)
    for constants in VARIANTS:
        builder.add(device.library(TEXT), "activate", constants)
    with tempfile.TemporaryDirectory() as folder:
        kept = builder.save(Path(folder) / "activations")
        print(f"{len(kept.manifest['pipelines'])} pipelines, {kept.path.stat().st_size} bytes")
        attnproto.archive.use(attnproto.archive.load(kept.path, device), device)
        for constants in VARIANTS:
            pipeline = device.library(TEXT).pipeline("activate", constants)
            x = np.array([-2, -1, 0, 1], np.float32)
            device.run(pipeline, threadgroups=1, threads=4, buffers={0: x})
            print(constants, "gives", x)
    # Launchers that compile what they need are collected, not listed:
    with attnproto.archive.collecting(device) as collected:
        q = np.ones((1, 1, 8, 32), np.float32)
        attnproto.flash_attention(q, q, q, device=device)
    with tempfile.TemporaryDirectory() as folder:
        names = collected.save(Path(folder) / "flash").manifest["pipelines"]
        print("collected:", ", ".join(one["function"] for one in names))


if __name__ == "__main__":
    main()
