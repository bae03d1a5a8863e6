"""How fast the cpu device runs kernels: ours and a third party's, per core.

Mark: >= 3 GFLOP/s a core with 4 Nq Nkv D flops a head, N=1024, D=64, float32, on the
flash kernel and on MLX's steel_attention. Emulation: nothing here speaks about a GPU.
Run: python bench/engine.py
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import attnproto
from attnproto import _core
from attnproto.device import Device, cpu_threads
from attnproto.kernels import flash
from attnproto.msl.front_end import NativeFrontEnd
from third_party import mlx

N, REPEATS = 1024, 7


def steel(device: Device, d: int, dtype: str) -> list[float]:
    """Times of MLX's steel_attention, in microseconds."""
    kernel = mlx.SteelAttention({"float32": "float", "float16": "half"}[dtype], d)
    dispatch = kernel.dispatch(device, tensors(d, dtype))
    return [device.submit([dispatch]).gpu_us for _ in range(REPEATS)]


def ours(device: Device, d: int, dtype: str) -> list[float]:
    """Times of the flash kernel's default tile, in microseconds."""
    q, k, v, out = tensors(d, dtype)
    return [flash.launch(q, k, v, out, device=device).gpu_us for _ in range(REPEATS)]


def tensors(d: int, dtype: str) -> list[np.ndarray]:
    """q, k, v and room for the output."""
    random = np.random.default_rng(0)
    made = [random.standard_normal((1, 1, N, d)).astype(dtype) for _ in range(3)]
    return [*made, np.empty((1, 1, N, d), dtype)]


def main() -> None:
    """Print GFLOP/s for one thread and for all, and their ratio."""
    cores = cpu_threads()
    print(f"attnproto {attnproto.__version__}, cpu device (emulated), N={N}, one head")
    print(f"{'kernel':34}{'1 thread':>12}{f'{cores} threads':>12}{'ratio':>8}   GFLOP/s")
    for label, kernel in (("flash", ours), ("MLX steel_attention", steel)):
        for d, dtype in ((64, "float32"), (64, "float16"), (128, "float16")):
            rates = []
            for threads in (1, cores):
                device = Device(_core.open_cpu(NativeFrontEnd(), threads))
                times = kernel(device, d, dtype)
                rates.append(4 * N * N * d / statistics.median(times[1:]) / 1e3)
            ratio = rates[1] / rates[0]
            print(f"{label + f' {dtype} D{d}':34}{rates[0]:12.2f}{rates[1]:12.2f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
