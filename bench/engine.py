"""How fast the cpu device runs kernels: ours and a third party's, per core.

Marks, with 4 N^2 D flops a head, N=1024, D=64, float32, on the flash kernel and on MLX's
steel_attention: lockstep >= 15 GFLOP/s a core and >= 5 times PoCL on the same algorithm in
OpenCL C; half at least 0.8 of float. A rate is flops by processor seconds of all threads, so
that others on the machine do not count. Emulation: nothing here speaks about a GPU.
Run: python bench/engine.py
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import attnproto
import opencl_attention
from attnproto import _core
from attnproto.compiler.codegen import native_code
from attnproto.compiler.frontend import clang, program
from attnproto.compiler.passes import define_arithmetic
from attnproto.compiler.target import processor_target
from attnproto.compiler.targets.engines import CPU_ENGINES
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Device
from attnproto.kernels import flash
from attnproto.measure import stats
from support import mlx

N, ROUNDS, PAIRS = 1024, 12, 60
GUARDS = ("-fno-finite-loops", "-fno-delete-null-pointer-checks")
CASES = ((64, "float32"), (64, "float16"), (128, "float32"), (128, "float16"))


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
    qkv = [random.standard_normal((1, 1, N, d)).astype(dtype) for _ in range(3)]
    return [*qkv, np.empty((1, 1, N, d), dtype)]


def fastest(runs: dict[tuple, Callable[[], object]]) -> dict[tuple, float]:
    """Processor seconds of each, the least of several rounds; all take turns in a round."""
    seconds = dict.fromkeys(runs, float("inf"))
    for round_ in range(ROUNDS + 1):
        for key, run in runs.items():
            begin = time.process_time()
            run()
            spent = time.process_time() - begin
            if round_:
                seconds[key] = min(seconds[key], spent)
    return seconds


def front_ends() -> dict[str, NativeFrontEnd]:
    """Both engines, and lockstep for a processor that has AVX2 at most."""
    by_name = {engine: NativeFrontEnd(engine=engine) for engine in CPU_ENGINES}
    if platform.machine() in ("x86_64", "AMD64"):
        by_name["avx2"] = NativeFrontEnd(
            target=processor_target("x86_64", "unknown-linux-gnu", "x86-64-v3")
        )
    return by_name


def main() -> None:
    """Print GFLOP/s a core of both engines and of PoCL, and their ratios."""
    print(f"attnproto {attnproto.__version__}, cpu device (emulated), N={N}, one head")
    runs: dict[tuple, Callable[[], object]] = {}
    devices = {
        name: Device(_core.open_cpu(front_end, 1)) for name, front_end in front_ends().items()
    }
    for label, kernel in KERNELS.items():
        for d, dtype in CASES:
            for engine, device in devices.items():
                runs[label, d, dtype, engine] = kernel(device, d, dtype)
    try:
        runs[POCL] = opencl_attention.prepare(*(x[0, 0] for x in tensors(64, "float32")[:3]))
    except opencl_attention.Missing as missing:
        print(f"no comparison with PoCL: {missing}")
    seconds = fastest(runs)
    if POCL in seconds:
        gflops = rate(seconds[POCL], 64)
        print(f"PoCL, one row a work-item, float32 D64: {gflops:.2f} GFLOP/s a core")
    heads = ("fibers", "lockstep", "ratio", "avx2", "by float", "by PoCL")
    print(f"{'GFLOP/s a core':30}" + "".join(f"{head:>10}" for head in heads))
    for label in KERNELS:
        for d, dtype in CASES:
            lockstep, fibers = (rate(seconds[label, d, dtype, e], d) for e in CPU_ENGINES)
            by_float = lockstep / rate(seconds[label, d, "float32", "lockstep"], d)
            row = f"{label + f' {dtype} D{d}':30}{fibers:10.2f}{lockstep:10.2f}"
            narrow = seconds.get((label, d, dtype, "avx2"))
            row += f"{lockstep / fibers:10.1f}{rate(narrow, d) if narrow else math.nan:10.2f}"
            row += f"{by_float:10.2f}"
            if POCL in seconds and (d, dtype) == CASES[0]:
                row += f"{lockstep / rate(seconds[POCL], d):10.1f}"
            print(row)
    print("guards of divisions, loops and time, by none, mark 1.02: processor time, median [95 %];")
    print("and of the instructions that LLVM is handed, how many the guards add")
    for d, dtype in CASES:
        median, low, high = cost_of_guards(d, dtype)
        guarded, plain = (instructions(d, dtype, guards=guards) for guards in (True, False))
        added = f"{guarded - plain} of {guarded}, {guarded / plain - 1:+.2%}"
        print(f"{f'flash {dtype} D{d}':30}{median:10.3f} [{low:.3f}, {high:.3f}]  {added}")


@contextlib.contextmanager
def empty_cache() -> Iterator[None]:
    """Kernels are compiled, whatever was before."""
    folder = os.environ.get("ATTNPROTO_CACHE_DIR")
    with tempfile.TemporaryDirectory() as empty:
        os.environ["ATTNPROTO_CACHE_DIR"] = empty
        program.library_text.cache_clear()
        try:
            yield
        finally:
            program.library_text.cache_clear()
            os.environ.pop("ATTNPROTO_CACHE_DIR")
            if folder is not None:
                os.environ["ATTNPROTO_CACHE_DIR"] = folder


@contextlib.contextmanager
def unguarded() -> Iterator[None]:
    """Kernels are compiled as if divisions, loops and recursion had no guards."""
    language, divisions, depths = (
        clang._LANGUAGE,
        define_arithmetic.define_divisions,
        define_arithmetic.watch_depths,
    )
    clang._LANGUAGE = [one for one in language if one not in GUARDS]
    define_arithmetic.define_divisions = lambda text, **_: text
    define_arithmetic.watch_depths = lambda text: text
    try:
        with empty_cache():
            yield
    finally:
        clang._LANGUAGE = language
        define_arithmetic.define_divisions, define_arithmetic.watch_depths = divisions, depths


def instructions(d: int, dtype: str, *, guards: bool) -> int:
    """Instructions of the flash kernel as LLVM's code generator gets it."""
    handed: list[int] = []
    compile_object = native_code.compile_object

    def counted(module: object, *rest: object) -> bytes:
        lines = str(module).splitlines()
        handed.append(sum(line.startswith("  ") and ";" not in line[:4] for line in lines))
        return compile_object(module, *rest)

    native_code.compile_object = counted
    try:
        with empty_cache() if guards else unguarded():
            ours(Device(_core.open_cpu(NativeFrontEnd(), 1)), d, dtype)()
    finally:
        native_code.compile_object = compile_object
    return handed[0]


def cost_of_guards(d: int, dtype: str) -> tuple[float, float, float]:
    """Processor time of the flash kernel by that of one without guards: median, 95 % interval.

    Both are compiled in this run, and take turns: PAIRS pairs, each one's order by turns.
    """
    runs = [ours(Device(_core.open_cpu(NativeFrontEnd(), 1), 60.0), d, dtype)]
    with unguarded():
        runs.append(ours(Device(_core.open_cpu(NativeFrontEnd(), 1)), d, dtype))
        runs[1]()
    runs[0]()
    ratios = []
    for pair in range(PAIRS):
        spent = [0.0, 0.0]
        for which in (0, 1) if pair % 2 else (1, 0):
            begin = time.process_time()
            runs[which]()
            spent[which] = time.process_time() - begin
        ratios.append(spent[0] / spent[1])
    low, high, _ = stats.median_interval(ratios)
    return float(np.median(ratios)), low, high


def rate(seconds: float, d: int) -> float:
    """GFLOP/s of one attention."""
    return 4 * N * N * d / seconds / 1e9


KERNELS = {"flash": ours, "MLX steel_attention": steel}
POCL = ("PoCL",)

if __name__ == "__main__":
    main()
