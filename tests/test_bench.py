"""The benchmark scripts still run against the package; times that they print are not judged."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from attnproto import _core
from attnproto.compiler.targets.engines import CPU_ENGINES
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Device
from attnproto.errors import KernelCompileError
from support.msl import HEAD

FOLDER = Path(__file__).parent.parent / "bench"
# As Python does for a script, so that one may import another.
sys.path.insert(0, str(FOLDER))


def script(name):
    """A script of bench/ as a module."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_compiler_benchmark_times_an_import_a_process_kernels_and_a_head(tmp_path):
    compiler = script("compiler")
    times = compiler.run(str(tmp_path), compiler.KERNELS[:1])
    assert len(times) == 4
    assert min(times) > 0


def test_the_engine_benchmark_times_the_flash_kernel_on_each_engine(monkeypatch):
    engine = script("engine")
    monkeypatch.setattr(engine, "N", 64)
    monkeypatch.setattr(engine, "ROUNDS", 1)
    runs = {
        (name,): engine.ours(Device(_core.open_cpu(NativeFrontEnd(engine=name), 1)), 64, "float32")
        for name in CPU_ENGINES
    }
    assert all(seconds > 0 for seconds in engine.fastest(runs).values())


def test_the_cost_of_guards_is_of_the_same_kernel_without_them():
    engine = script("engine")
    text = f"""{HEAD}kernel void k(device int* x [[buffer(0)]]) {{
      int a[3] = {{1, 2, 3}}; a[x[0] & 1] = x[1] / x[2]; x[0] = a[x[3] & 1]; }}"""

    def kernel(device):
        pipeline, x = device.library(text).pipeline("k"), np.array([0, 6, 3, 0], np.int32)
        return lambda: device.run(pipeline, threadgroups=1, threads=1, buffers={0: x})

    for validate in (False, True):
        guarded, plain = (
            engine.instructions(kernel, validate, guards=guards) for guards in (True, False)
        )
        assert guarded > plain > 5


def test_a_sample_of_kernels_has_every_family_in_proportion_and_grows_in_place():
    metallib = script("metallib")
    names = [f"gemv_{kind}{n}" for kind in ("float", "half") for n in range(45)]
    names += ["rms_looped", *(f"v_Exp{n}" for n in range(9))]
    assert metallib.family("gemv_t_bfloat16_bm1") == "gemv_t"
    chosen = metallib.sample(names, 20)
    families = Counter(map(metallib.family, chosen))
    assert (families["gemv"], families["v"], families["rms_looped"]) == (17, 2, 1)
    assert chosen == metallib.sample(names[::-1], 20)
    assert set(chosen) < set(metallib.sample(names, 30))
    assert metallib.sample(names, 100) == sorted(
        names, key=lambda name: hashlib.sha256(name.encode()).digest()
    )


def test_work_that_is_refused_ends_badly_or_takes_too_long_is_told_from_what_is_done():
    metallib = script("metallib")

    def refuse() -> None:
        raise KernelCompileError("[air] found one")

    def spin() -> None:
        while True:
            pass

    assert metallib.guarded(lambda: None, 5)["error"] == ""
    assert metallib.guarded(refuse, 5)["error"] == "[air] found one"
    assert "ended with SIGABRT" in metallib.guarded(os.abort, 5)["error"]
    assert "ended with SIGXCPU, may take 1 s" in metallib.guarded(spin, 1)["error"]
