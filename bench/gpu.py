"""Throughput of the flash kernel and of MLX's steel_attention on a GPU, in one run.

Half precision and float, N=4096, H=16. Where torch is present its backends (math, efficient,
flash; the last has no float) stand beside, on the same inputs. Each result is judged against FP64
on a few rows before its time is printed.
Run: python bench/gpu.py [--device cuda] [--dtype float16]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import attnproto
from attnproto import Buffer, Dispatch
from attnproto.device.device import Device
from attnproto.errors import UnsupportedProblem
from attnproto.kernels import flash
from support import mlx

N, H = 4096, 16
DTYPES = {"float16": "half", "float32": "float"}
TILES = [
    {"br": br, "bc": bc, "rows": rows}
    for br in (16, 32, 64) for bc in (32, 64, 80, 128) for rows in (8, 16)
] + [
    {"br": 64, "bc": bc, "rows": 16, "keys": keys, "query": query}
    for bc in (32, 64, 128)
    for keys in ("staged32", "ahead16", "ahead32", "ahead64")
    for query in ("threadgroup", "registers")
]  # fmt: skip
WARM, SAMPLES, INSIDE = 3, 20, 4
JUDGED_ROWS = (0, 1, 2047, 4095)


def inputs(d: int, dtype: str) -> list[np.ndarray]:
    """q, k, v [1, H, N, d], and room for the output."""
    random = np.random.default_rng(0)
    qkv = [random.standard_normal((1, H, N, d)).astype(dtype) for _ in range(3)]
    return [*qkv, np.full((1, H, N, d), np.nan, dtype)]


def truth(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """FP64 attention for the judged rows of the first head, [rows, d]."""
    rows = q[0, 0, list(JUDGED_ROWS)].astype(np.float64)
    scores = rows @ k[0, 0].astype(np.float64).T * q.shape[-1] ** -0.5
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v[0, 0].astype(np.float64)


def error(out: np.ndarray, wanted: np.ndarray) -> float:
    """Largest absolute error over the judged rows."""
    return float(np.abs(out[0, 0, list(JUDGED_ROWS)].astype(np.float64) - wanted).max())


def repeated(device: Device, dispatch: Dispatch, out: np.ndarray):
    """A function that runs the dispatch a few times in one submission, and one that reads it."""

    def run() -> float:
        return device.submit([dispatch] * INSIDE).gpu_us / INSIDE

    def read() -> np.ndarray:
        return dispatch.buffers[3].numpy(out.dtype, out.shape)

    return run, read


def on_device(device: Device, tensors: list[np.ndarray]) -> dict[int, Buffer]:
    """Buffers 0 to 3."""
    return {index: device.buffer(tensor) for index, tensor in enumerate(tensors)}


def tiles(d: int, dtype: str) -> dict[str, flash.FlashTile]:
    """Those of ``TILES`` that there are, by what tells them apart."""
    known = {}
    for axes in TILES:
        with contextlib.suppress(UnsupportedProblem):
            tile = flash.FlashTile(d=d, dtype=dtype, **axes)
            known["flash " + " ".join(f"{axis} {value}" for axis, value in axes.items())] = tile
    return known


def ours(device: Device, tile: flash.FlashTile):
    """The flash kernel on one tile."""
    tensors = inputs(tile.d, tile.dtype)
    plan = flash.plan(flash.problem_of(*tensors[:3]), tile)
    pipeline = device.library(plan.source.text).pipeline(plan.source.name, plan.constants)
    buffers = {**on_device(device, tensors), 4: plan.params}
    return repeated(
        device, Dispatch(pipeline, plan.threadgroups, plan.threads, buffers), tensors[3]
    )


def steel(device: Device, d: int, dtype: str):
    """MLX's steel_attention with MLX's block sizes."""
    tensors = inputs(d, dtype)
    kernel = mlx.SteelAttention(DTYPES[dtype], d)
    dispatch = kernel.dispatch(device, tensors, buffers=on_device(device, tensors))
    return repeated(device, dispatch, tensors[3])


def torch_backends(
    d: int, dtype: str
) -> dict[str, tuple[Callable[[], float], Callable[[], np.ndarray]]]:
    """torch's attention backends on the same inputs; empty without torch or its GPU."""
    try:
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    q, k, v = (torch.from_numpy(x).cuda() for x in inputs(d, dtype)[:3])
    attend = torch.nn.functional.scaled_dot_product_attention
    backends = {}
    names = ["MATH", "EFFICIENT_ATTENTION"] + ["FLASH_ATTENTION"] * (dtype == "float16")
    for name in names:
        backend = getattr(SDPBackend, name)

        def run(backend=backend) -> float:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            with sdpa_kernel(backend):
                start.record()
                for _ in range(INSIDE):
                    attend(q, k, v)
                end.record()
            end.synchronize()
            return start.elapsed_time(end) * 1e3 / INSIDE

        def read(backend=backend) -> np.ndarray:
            with sdpa_kernel(backend):
                return attend(q, k, v).cpu().numpy()

        backends["torch " + name.split("_")[0].lower()] = (run, read)
    return backends


def main() -> None:
    """Print a row a kernel; write them as JSON lines where --json says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = attnproto.open_device(options.device)
    print(f"{device.name} ({device.kind}, {device.tier}), N={N}, H={H}")
    print(f"{'kernel':68}{'us':>10}{'CV %':>7}{'TFLOP/s':>9}{'error':>10}")
    rows = []
    for dtype, d in itertools.product(options.dtype, (64, 128)):
        kernels = {name: ours(device, tile) for name, tile in tiles(d, dtype).items()}
        kernels["MLX steel_attention"] = steel(device, d, dtype)
        kernels |= torch_backends(d, dtype)
        wanted = truth(*inputs(d, dtype)[:3])
        for name, (run, read) in kernels.items():
            for _ in range(WARM):
                run()
            times = [run() for _ in range(SAMPLES)]
            middle = statistics.median(times)
            row = {
                "kernel": name, "dtype": dtype, "D": d, "us": middle, "n": SAMPLES,
                "cv": statistics.stdev(times) / statistics.mean(times),
                "tflops": 4 * N * N * d * H / middle / 1e6, "error": error(read(), wanted),
                "device": device.name, "tier": device.tier,
            }  # fmt: skip
            rows.append(row)
            label = f"{name} {dtype} D{d}"
            print(
                f"{label:68}{middle:10.1f}{100 * row['cv']:7.2f}{row['tflops']:9.2f}"
                f"{row['error']:10.2e}"
            )
    if options.json:
        options.json.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
