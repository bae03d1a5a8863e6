"""What compiling costs on the cpu device: first, and from the cache.

Marks: a kernel's first compile <= 1.5 s, a cached one <= 20 ms, `import attnproto` <= 0.3 s; what
a text of 500 kernels holds <= 3 s.
Run: python bench/compiler.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

KERNELS = (
    (32, 64, 64, "float16"),
    (32, 64, 64, "float32"),
    (64, 128, 256, "float16"),
    (16, 80, 128, "float32"),
)

KERNEL = """
kernel void k{0}(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                 constant uint& n [[buffer(2)]], uint i [[thread_position_in_grid]]) {{
  if (i < n) {{
    float4 v = float4(x[i], {0}.0f, 1, 2);
    y[i] = exp(v.x) * {0}.5f + simd_sum(v.y);
  }}
}}
"""
HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"

CHILD = """
import sys, time
begin = time.perf_counter()
import attnproto
imported = time.perf_counter() - begin
device = attnproto.open_device("cpu")
begin = time.perf_counter()
device.library("kernel void nothing() {}").pipeline("nothing")
ready = time.perf_counter() - begin
import numpy as np
from attnproto.kernels import flash
print(f"{imported * 1e3:.1f} {ready * 1e3:.1f}", end=" ")
for br, bc, d, dtype in KERNELS:
    x = np.zeros((1, 1, 8, d), dtype)
    tile = flash.FlashTile(br=br, bc=bc, d=d, dtype=dtype)
    plan = flash.plan(flash.problem_of(x, x, x), tile)
    begin = time.perf_counter()
    device.library(plan.source.text).pipeline(plan.source.name, plan.constants)
    print(f"{(time.perf_counter() - begin) * 1e3:.1f}", end=" ")
many = HEAD + "".join(map(KERNEL.format, range(500)))
begin = time.perf_counter()
device.library(many).functions()
print(f"{(time.perf_counter() - begin) * 1e3:.1f}", end=" ")
"""


def run(cache: str, kernels: tuple = KERNELS) -> list[float]:
    """One process: import, first kernel of all, each flash kernel, 500 kernels; in milliseconds."""
    code = f"KERNELS, HEAD, KERNEL = {kernels!r}, {HEAD!r}, {KERNEL!r}\n{CHILD}"
    environment = {**os.environ, "ATTNPROTO_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    """Print each mark beside what was found."""
    with tempfile.TemporaryDirectory() as cache:
        first = run(cache)
        cached = [run(cache) for _ in range(5)]
    middle = [statistics.median(column) for column in zip(*cached, strict=True)]
    print(f"{'':34}{'first':>10}{'cached':>10}   milliseconds")
    print(f"{'import attnproto (mark 300)':34}{first[0]:10.1f}{middle[0]:10.1f}")
    print(f"{'a process and its first kernel':34}{first[1]:10.1f}{middle[1]:10.1f}")
    for name, a, b in zip(KERNELS, first[2:-1], middle[2:-1], strict=True):
        label = "flash {3} Br{0} Bc{1} D{2}".format(*name)
        print(f"{label + ' (1500, 20)':34}{a:10.1f}{b:10.1f}")
    print(f"{'the head of 500 kernels (3000)':34}{first[-1]:10.1f}{middle[-1]:10.1f}")


if __name__ == "__main__":
    main()
