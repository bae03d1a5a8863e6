"""How fast the cpu device runs kernels: ours and a third party's, per core.

Marks, with 4 N^2 D flops a head, N=1024, D=64, float32, on the flash kernel and on MLX's
steel_attention: lockstep >= 15 GFLOP/s a core and >= 5 times PoCL on the same algorithm in
OpenCL C; half at least 0.8 of float. A rate is flops by processor seconds of all threads, so
that others on the machine do not count. Emulation: nothing here speaks about a GPU.
Run: python bench/engine.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import attnproto
import opencl_attention
from attnproto import _core
from attnproto.device import CPU_ENGINES, Device
from attnproto.kernels import flash
from attnproto.msl.front_end import NativeFrontEnd
from third_party import mlx

N, REPEATS = 1024, 7
CASES = ((64, "float32"), (64, "float16"), (128, "float16"))


def steel(device: Device, d: int, dtype: str) -> Callable[[], object]:
    """One run of MLX's steel_attention."""
    kernel = mlx.SteelAttention({"float32": "float", "float16": "half"}[dtype], d)
    dispatch = kernel.dispatch(device, tensors(d, dtype))
    return lambda: device.submit([dispatch])


def ours(device: Device, d: int, dtype: str) -> Callable[[], object]:
    """One run of the flash kernel's default tile."""
    q, k, v, out = tensors(d, dtype)
    return lambda: flash.launch(q, k, v, out, device=device)


def tensors(d: int, dtype: str) -> list[np.ndarray]:
    """q, k, v and room for the output."""
    random = np.random.default_rng(0)
    made = [random.standard_normal((1, 1, N, d)).astype(dtype) for _ in range(3)]
    return [*made, np.empty((1, 1, N, d), dtype)]


def rate(run: Callable[[], object], d: int) -> float:
    """GFLOP/s by processor time, of the fastest run."""
    times = []
    for _ in range(REPEATS + 1):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return 4 * N * N * d / min(times[1:]) / 1e9


def main() -> None:
    """Print GFLOP/s a core of both engines and of PoCL, and their ratios."""
    print(f"attnproto {attnproto.__version__}, cpu device (emulated), N={N}, one head")
    try:
        q, k, v = (x[0, 0] for x in tensors(64, "float32")[:3])
        pocl = 4 * N * N * 64 / opencl_attention.seconds(q, k, v, REPEATS) / 1e9
        print(f"PoCL, one row a work-item, float32 D64: {pocl:.2f} GFLOP/s a core")
    except opencl_attention.Missing as missing:
        pocl = None
        print(f"no comparison with PoCL: {missing}")
    print(
        f"{'GFLOP/s a core':30}{'fibers':>9}{'lockstep':>9}{'ratio':>7}"
        f"{'by PoCL':>9}{'by float':>9}"
    )
    for label, kernel in (("flash", ours), ("MLX steel_attention", steel)):
        floats = 0.0
        for d, dtype in CASES:
            rates = {}
            for engine in CPU_ENGINES:
                device = Device(_core.open_cpu(NativeFrontEnd(engine=engine), 1))
                rates[engine] = rate(kernel(device, d, dtype), d)
            fibers, lockstep = rates["fibers"], rates["lockstep"]
            floats = floats or lockstep
            by_pocl = f"{lockstep / pocl:9.1f}" if pocl and (d, dtype) == CASES[0] else f"{'':9}"
            print(
                f"{label + f' {dtype} D{d}':30}{fibers:9.2f}{lockstep:9.2f}"
                f"{lockstep / fibers:7.1f}{by_pocl}{lockstep / floats:9.2f}"
            )


if __name__ == "__main__":
    main()
