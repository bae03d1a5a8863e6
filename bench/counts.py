"""What the flash kernel does for 8 query rows x 64 keys, beside MLX's steel_attention.

Both are counted the same way (attnproto.measure.dynamic_counts): two key lengths are run on the
counting cpu device, and the difference is divided by the blocks and lanes between them.
Counts are derived evidence, the same on every device; they are not a speed.
Run: python bench/counts.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from attnproto import Dispatch
from attnproto.device.device import Device
from attnproto.kernels import flash
from attnproto.measure import dynamic_counts
from support import mlx

ROWS, KEYS = 32, (256, 512)
CASES = ((64, "float16"), (128, "float16"), (256, "float16"), (64, "float32"), (128, "float32"))
SHOWN = (
    "matrix_operations", "shuffles", "votes", "exponentials", "float_operations", "conversions",
    "threadgroup_loads", "device_load_bytes", "threadgroup_barriers", "integer_operations",
    "live_registers", "code_instructions",
)  # fmt: skip


def tensors(keys: int, d: int, dtype: str) -> list[np.ndarray]:
    """q, k, v and room for the output."""
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((1, 1, n, d)).astype(dtype) for n in (ROWS, keys, keys))
    return [q, k, v, np.empty_like(q)]


def ours(device: Device, keys: int, d: int, dtype: str) -> dynamic_counts.Counts:
    """One dispatch of the flash kernel with Br32 Bc64."""
    q, k, v, out = tensors(keys, d, dtype)
    plan = flash.plan(flash.problem_of(q, k, v), flash.FlashTile(br=32, bc=64, d=d, dtype=dtype))
    pipeline = device.library(plan.source.text).pipeline(plan.source.name, plan.constants)
    buffers = {0: q, 1: k, 2: v, 3: out, 4: plan.params}
    return dynamic_counts.count(
        device, [Dispatch(pipeline, plan.threadgroups, plan.threads, buffers)]
    )


def steel(device: Device, keys: int, d: int, dtype: str) -> dynamic_counts.Counts:
    """One dispatch of steel_attention with MLX's own block sizes."""
    kernel = mlx.SteelAttention({"float32": "float", "float16": "half"}[dtype], d)
    return dynamic_counts.count(device, [kernel.dispatch(device, tensors(keys, d, dtype))])


def per_block(kernel, device: Device, d: int, dtype: str) -> dict[str, float]:
    """Counts of one lane for 8 rows x 64 keys, and two of the kernel as a whole."""
    short, long = (kernel(device, keys, d, dtype) for keys in KEYS)
    lanes = 32 * (ROWS // 8)
    block = (long - short).per_thread(lanes * (KEYS[1] - KEYS[0]) // 64)
    static_fields = ("live_registers", "code_instructions")
    return block | {name: getattr(long, name) for name in static_fields}


def main() -> None:
    """Print both kernels' counts, ours / theirs."""
    device = dynamic_counts.counting_device()
    blocks = {
        case: [per_block(kernel, device, *case) for kernel in (ours, steel)] for case in CASES
    }
    heads = "".join(f"{dtype[0] + dtype[-2:] + f' D{d}':>14}" for d, dtype in CASES)
    print(f"{'per lane, flash / steel':24}{heads}")
    for name in SHOWN:
        cells = "".join(f"{f'{a[name]:g}/{b[name]:g}':>14}" for a, b in blocks.values())
        print(f"{name:24}{cells}")


if __name__ == "__main__":
    main()
