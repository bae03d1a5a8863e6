"""What only a real GPU shows of the cuda device: faults, archives, tables, alignment."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import attnproto
import numpy as np
import pytest
from attnproto import _core
from attnproto.device import archive
from attnproto.device.device import Device
from attnproto.errors import DeviceUnavailable, GpuOutOfMemory, KernelCompileError
from attnproto.prototypes.registry import Outcome, Prototype
from attnproto.results.row import Task
from attnproto.sweep.worker import run_tasks

TEXT = """#include <metal_stdlib>
using namespace metal;
constant int factor [[function_constant(0)]];
kernel void scale(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  x[i] = x[i] * float(factor);
}
kernel void wild(device float* x [[buffer(0)]], constant ulong& far [[buffer(1)]]) {
  x[far] = 1.0f;
}
kernel void forever(device atomic_int* x [[buffer(0)]]) {
  while (atomic_load_explicit(x, memory_order_relaxed) == 0) {
  }
}
kernel void product(device const half* in [[buffer(0)]], device float* out [[buffer(1)]]) {
  simdgroup_half8x8 a, b;
  simdgroup_float8x8 c(0.0f);
  simdgroup_load(a, in);
  simdgroup_load(b, in);
  simdgroup_multiply_accumulate(c, a, b, c);
  simdgroup_store(c, out);
}
kernel void through(device float* x [[buffer(0)]], constant uint& which [[buffer(1)]],
                    visible_function_table<float(float)> table [[buffer(2)]],
                    uint i [[thread_position_in_grid]]) {
  x[i] = table[which](x[i]);
}
[[visible]] float twice(float x) { return 2.0f * x; }
[[visible]] float square(float x) { return x * x; }
"""


@pytest.fixture(scope="module")
def device():
    try:
        return attnproto.open_device("cuda")
    except DeviceUnavailable:
        pytest.skip("needs an NVIDIA GPU")


def scaled(device: Device, factor: int = 3, **options) -> np.ndarray:
    x = np.arange(64, dtype=np.float32)
    pipeline = device.library(TEXT).pipeline("scale", {0: factor}, **options)
    device.run(pipeline, threadgroups=(2, 1, 1), threads=(32, 1, 1), buffers={0: x})
    return x


def run(point, device, mode):
    """A prototype whose points write where they should, or far away."""
    if point["far"]:
        pipeline = device.library(TEXT).pipeline("wild")
        buffers = {0: np.zeros(64, np.float32), 1: np.uint64(point["far"])}
        device.run(pipeline, threadgroups=1, threads=32, buffers=buffers)
        return Outcome("wrong", "nothing was said of a wild write", {})
    right = (scaled(device) == 3 * np.arange(64, dtype=np.float32)).all()
    return Outcome("ok" if right else "wrong", "", {})


PROTOTYPE = Prototype("test_cuda:PROTOTYPE", lambda mode: [], run, lambda rows: [])


def test_a_wild_write_names_its_kernel_and_the_sweep_goes_on(device):
    tasks = [Task("test_cuda:PROTOTYPE", {"n": n, "far": far}, 60.0)
             for n, far in enumerate((0, 1 << 40, 0))]  # fmt: skip
    rows = list(run_tasks(tasks, kind="cuda", mode="quick", environment={}))
    # Lost where the driver lets this process open no other context: another worker then does.
    assert [row["status"] for row in rows] in (["ok", "lost", "ok"], ["ok", "error", "ok"])
    assert re.search(r"dispatch wild.*ILLEGAL_ADDRESS \(700\)", rows[1]["reason"])


def test_a_kernel_that_never_ends_can_be_killed_and_the_next_process_runs(device):
    child = (
        "import attnproto, numpy as np, test_cuda\n"
        "device = attnproto.open_device('cuda')\n"
        "pipeline = device.library(test_cuda.TEXT).pipeline('forever')\n"
        "x = np.zeros(1, np.int32)\n"
        "device.run(pipeline, threadgroups=1, threads=1, buffers={0: x})\n"
    )
    folder = os.path.dirname(__file__)
    paths = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-c", child], timeout=8, env={**os.environ, "PYTHONPATH": paths}
        )
    np.testing.assert_array_equal(scaled(device), 3 * np.arange(64, dtype=np.float32))


def test_out_of_memory_is_an_error_and_the_device_goes_on(device):
    torch = pytest.importorskip("torch")
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(free - (1 << 30), dtype=torch.uint8, device="cuda")
    pipeline = device.library(TEXT).pipeline("scale", {0: 2})
    large = device.buffer(3 << 30)
    with pytest.raises(GpuOutOfMemory, match=r"OUT_OF_MEMORY.*smaller problem"):
        device.run(pipeline, threadgroups=1, threads=32, buffers={0: large})
    del hog
    torch.cuda.empty_cache()
    np.testing.assert_array_equal(scaled(device), 3 * np.arange(64, dtype=np.float32))


def test_an_archive_holds_machine_code_that_needs_no_compiler(device, tmp_path):
    builder = archive.build(device)
    builder.add(device.library(TEXT), "scale", {0: 5})
    made = builder.save(tmp_path / "one.attnproto")
    assert b"\x7fELF" in made.payload.read_bytes()
    found = archive.load(tmp_path / "one.attnproto", device)
    out = scaled(device, 5, archive=found, fail_on_miss=True)
    np.testing.assert_array_equal(out, 5 * np.arange(64, dtype=np.float32))
    with pytest.raises(KernelCompileError, match="found no scale with these constants"):
        scaled(device, 6, archive=found, fail_on_miss=True)


@pytest.mark.parametrize(("which", "expected"), [(0, np.square), (1, lambda x: 2 * x)])
def test_a_table_calls_what_it_was_given(device, which, expected):
    x = np.arange(64, dtype=np.float32)
    names = ["twice", "square"]
    pipeline = device.library(TEXT).pipeline("through", linked=names)
    table = pipeline.function_table(["square", "twice"])
    buffers = {0: x, 1: np.uint32(which), 2: table}
    device.run(pipeline, threadgroups=2, threads=32, buffers=buffers)
    np.testing.assert_array_equal(x, expected(np.arange(64, dtype=np.float32)))


@pytest.mark.parametrize("offset", [0, 2, 8, 16])
def test_a_buffer_bound_anywhere_is_read_right(device, offset):
    matrix = np.random.default_rng(0).integers(-4, 5, (8, 8)).astype(np.float16)
    memory = np.zeros(offset + 128, np.uint8)
    memory[offset:] = matrix.reshape(-1).view(np.uint8)
    source, out = device.buffer(memory), device.buffer(256)
    pipeline = device.library(TEXT).pipeline("product")
    dispatch = _core.Dispatch(pipeline._core, (1, 1, 1), (32, 1, 1), None)
    dispatch.bind_buffer(0, source._core, offset)
    dispatch.bind_buffer(1, out._core, 0)
    device._core.submit([dispatch])
    wanted = matrix.astype(np.float32) @ matrix.astype(np.float32)
    np.testing.assert_array_equal(out.numpy(np.float32, (8, 8)), wanted)


def test_memory_does_not_grow_over_dispatches(device):
    pipeline = device.library(TEXT).pipeline("scale", {0: 1})
    x = np.ones(64, np.float32)
    before = device._core.allocated_bytes()
    for _ in range(1000):
        device.run(pipeline, threadgroups=2, threads=32, buffers={0: x})
    assert device._core.allocated_bytes() == before
