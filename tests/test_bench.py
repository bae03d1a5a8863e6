"""The benchmark scripts still run against the package; what they print is not judged here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from attnproto import _core
from attnproto.compiler.targets.engines import CPU_ENGINES
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Device

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
