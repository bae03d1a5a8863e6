"""What validation costs: the same kernels on the plain cpu device and on a validating one.

Mark: at most 30 times slower than the engine it runs on, fibers, both on one thread of one
machine in one run. The default engine stands beside them. Emulation: nothing here speaks
about a GPU.
Run: python bench/validation.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import attnproto
from attnproto import _core
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Device
from attnproto.kernels import flash
from support import mlx

N, D, REPEATS = 512, 64, 5
MARK = 30


def steel(device: Device, dtype: str) -> list[float]:
    """Times of MLX's steel_attention, in microseconds."""
    kernel = mlx.SteelAttention({"float32": "float", "float16": "half"}[dtype], D)
    dispatch = kernel.dispatch(device, tensors(dtype))
    return [device.submit([dispatch]).gpu_us for _ in range(REPEATS)]


def in_place(device: Device, dtype: str, keys: str = "lane") -> list[float]:
    """Times of the flash kernel reading keys where they are, in microseconds."""
    q, k, v, out = tensors(dtype)
    tile = flash.FlashTile(32, 64, D, dtype, keys=keys)
    return [flash.launch(q, k, v, out, device=device, tile=tile).gpu_us for _ in range(REPEATS)]


def staged(device: Device, dtype: str) -> list[float]:
    """Times of the flash kernel with keys staged in threadgroup memory, in microseconds."""
    return in_place(device, dtype, "staged16")


def tensors(dtype: str) -> list[np.ndarray]:
    """q, k, v and room for the output."""
    random = np.random.default_rng(0)
    qkv = [random.standard_normal((1, 1, N, D)).astype(dtype) for _ in range(3)]
    return [*qkv, np.empty((1, 1, N, D), dtype)]


def main() -> None:
    """Print milliseconds on both devices, and their ratio."""
    fibers, lockstep = (
        Device(_core.open_cpu(NativeFrontEnd(engine=engine), 1))
        for engine in ("fibers", "lockstep")
    )
    watching = attnproto.open_device("cpu", validate=True)
    print(f"attnproto {attnproto.__version__}, cpu device (emulated), N={N}, D={D}, one thread")
    print(f"{'kernel':30}{'lockstep':>10}{'fibers':>9}{'validated':>11}{'/ fibers':>10}  <= {MARK}")
    kernels = ("flash", in_place), ("flash, staged keys", staged), ("MLX steel_attention", steel)
    for label, kernel in kernels:
        for dtype in ("float32", "float16"):
            # The least of a few: what else the machine does only adds.
            fast, plain, watched = (
                min(kernel(d, dtype)) / 1e3 for d in (lockstep, fibers, watching)
            )
            print(
                f"{label + ' ' + dtype:30}{fast:10.2f}{plain:9.2f}{watched:11.2f}"
                f"{watched / plain:10.1f}"
            )


if __name__ == "__main__":
    main()
