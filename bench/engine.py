"""How fast the cpu device runs kernels: ours and a third party's, per core.

Marks, with 4 N^2 D flops a head, N=1024, D=64, float32, on the flash kernel and on MLX's
steel_attention: lockstep >= 15 GFLOP/s a core and >= 5 times PoCL on the same algorithm in
OpenCL C; half at least 0.8 of float. A rate is flops by processor seconds of all threads, so
that others on the machine do not count. Emulation: nothing here speaks about a GPU.
Guards of divisions, loops, calls and time: at most 2 % of the flash kernel, and with those of local
arrays at most 10 % of validation, by pairs of one build.
Run: python bench/engine.py, or python bench/engine.py validation for that part alone
"""

from __future__ import annotations

import contextlib
import functools
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
from attnproto.compiler.passes import define_arithmetic, sanitize_accesses
from attnproto.compiler.target import processor_target
from attnproto.compiler.targets.engines import CPU_ENGINES
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Device
from attnproto.kernels import flash, linear, paged
from attnproto.measure import stats
from support import mlx

N, ROUNDS, PAIRS = 1024, 12, 60
GUARDS = ("-fno-finite-loops", "-fno-delete-null-pointer-checks")
Kernel = Callable[[Device], Callable[[], object]]  # prepares runs of one kernel on a device
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
    print("guards of divisions, loops, calls and time, by none, mark 1.02")
    print(COSTS)
    for d, dtype in CASES:
        print_cost_of_guards(f"flash {dtype} D{d}", functools.partial(ours, d=d, dtype=dtype))
    validation()


def validation() -> None:
    """Print what the guards cost under validation, of our kernels at small sizes."""
    print("the same under validation, and of local arrays, mark 1.10")
    print(COSTS)
    for label, kernel in VALIDATED.items():
        print_cost_of_guards(label, kernel, validate=True)


def print_cost_of_guards(label: str, kernel: Kernel, *, validate: bool = False) -> None:
    """Print the cost of the guards in a kernel."""
    median, low, high = cost_of_guards(kernel, validate)
    guarded, plain = (instructions(kernel, validate, guards=guards) for guards in (True, False))
    added = f"{guarded - plain} of {guarded}, {guarded / plain - 1:+.2%}"
    print(f"{label:30}{median:10.3f} [{low:.3f}, {high:.3f}]  {added}")


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
    """Kernels are compiled as if divisions, loops, recursion and local arrays had no guards."""
    without = [
        (clang, "_LANGUAGE", [one for one in clang._LANGUAGE if one not in GUARDS]),
        (define_arithmetic, "define_divisions", lambda text, **_: text),
        (define_arithmetic, "watch_depths", lambda text: text),
        (sanitize_accesses._Instrumenter, "_local", lambda *_: iter(())),
    ]
    guards = [(where, name, getattr(where, name)) for where, name, _ in without]
    for where, name, nothing in without:
        setattr(where, name, nothing)
    try:
        with empty_cache():
            yield
    finally:
        for where, name, guard in guards:
            setattr(where, name, guard)


def opened(validate: bool, time_limit_s: float = 0.0) -> Device:
    """A cpu device of one thread."""
    front_end = NativeFrontEnd(validate="memory" if validate else "")
    return Device(_core.open_cpu(front_end, 1, validate=validate), time_limit_s)


def instructions(kernel: Kernel, validate: bool, *, guards: bool) -> int:
    """Instructions of a run's kernels as LLVM's code generator gets them."""
    handed: list[int] = []
    compile_object = native_code.compile_object

    def counted(module: object, *rest: object) -> bytes:
        lines = str(module).splitlines()
        handed.append(sum(line.startswith("  ") and ";" not in line[:4] for line in lines))
        return compile_object(module, *rest)

    native_code.compile_object = counted
    try:
        with empty_cache() if guards else unguarded():
            kernel(opened(validate))()
    finally:
        native_code.compile_object = compile_object
    return sum(handed)


def cost_of_guards(kernel: Kernel, validate: bool) -> tuple[float, float, float]:
    """Processor time of a kernel by that of one without guards: median, 95 % interval.

    Both are compiled in this run, and take turns: PAIRS pairs, each one's order by turns.
    """
    runs = [kernel(opened(validate, 60.0))]
    with unguarded():
        runs.append(kernel(opened(validate)))
        runs[1]()
    with empty_cache():
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


def small(*tokens: int, d: int = 64) -> list[np.ndarray]:
    """Normal half numbers of two heads, of some tokens each."""
    random = np.random.default_rng(0)
    return [random.standard_normal((1, 2, n, d)).astype("float16") for n in tokens]


def flash_small(device: Device) -> Callable[[], object]:
    """One run of the flash kernel."""
    qkv = small(128, 128, 128)
    return lambda: flash.flash_attention(*qkv, causal=True, device=device)


def paged_small(device: Device) -> Callable[[], object]:
    """One run of the paged kernels, of keys in pages of 16."""
    q, k, v = small(64, 128, 128)
    pages = [x.reshape(2, 8, 16, 64).swapaxes(0, 1) for x in (k, v)]
    table = np.arange(8, dtype=np.int32)[None]
    rest = *pages, table, np.array([128], np.int32)
    return lambda: paged.paged_attention(q, *rest, device=device)


def linear_small(device: Device) -> Callable[[], object]:
    """One run of the linear kernels, with a decay for each token."""
    qkv = small(128, 128, 128)
    decay = np.full((1, 2, 128), -0.1, np.float32)
    return lambda: linear.linear_attention(*qkv, decay=decay, device=device)


KERNELS = {"flash": ours, "MLX steel_attention": steel}
VALIDATED = {"flash f16 D64 N128": flash_small, "paged": paged_small, "linear": linear_small}
COSTS = "processor time, median [95 %]; of the instructions that LLVM is handed, how many are added"
POCL = ("PoCL",)

if __name__ == "__main__":
    validation() if sys.argv[1:] == ["validation"] else main()
