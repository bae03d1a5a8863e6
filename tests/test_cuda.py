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
from attnproto.errors import DeviceUnavailable, GpuOutOfMemory, KernelCompileError
from attnproto.results.row import Task
from attnproto.sweep.worker import run_tasks
from support import cuda_prototype
from support.cuda_prototype import TEXT, multiply_indices


@pytest.fixture(scope="module")
def device():
    try:
        return attnproto.open_device("cuda")
    except DeviceUnavailable:
        pytest.skip("needs an NVIDIA GPU")


def test_a_wild_write_names_its_kernel_and_the_sweep_goes_on(device):
    tasks = [Task(cuda_prototype.NAME, {"n": n, "far": far}, 60.0)
             for n, far in enumerate((0, 1 << 40, 0))]  # fmt: skip
    rows = list(run_tasks(tasks, kind="cuda", mode="quick", environment={}))
    # Lost where the driver lets this process open no other context: another worker then does.
    assert [row["status"] for row in rows] in (["ok", "lost", "ok"], ["ok", "error", "ok"])
    assert re.search(r"dispatch wild.*ILLEGAL_ADDRESS \(700\)", rows[1]["reason"])


def test_a_kernel_that_never_ends_can_be_killed_and_the_next_process_runs(device):
    child = (
        "import attnproto, numpy as np\n"
        "from support.cuda_prototype import TEXT\n"
        "device = attnproto.open_device('cuda')\n"
        "pipeline = device.library(TEXT).pipeline('forever')\n"
        "x = np.zeros(1, np.int32)\n"
        "device.run(pipeline, threadgroups=1, threads=1, buffers={0: x})\n"
    )
    folder = os.path.dirname(__file__)
    paths = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-c", child], timeout=8, env={**os.environ, "PYTHONPATH": paths}
        )
    np.testing.assert_array_equal(multiply_indices(device), 3 * np.arange(64, dtype=np.float32))


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
    np.testing.assert_array_equal(multiply_indices(device), 3 * np.arange(64, dtype=np.float32))


def test_an_archive_holds_machine_code_that_needs_no_compiler(device, tmp_path):
    builder = archive.build(device)
    builder.add(device.library(TEXT), "scale", {0: 5})
    saved = builder.save(tmp_path / "one.attnproto")
    assert b"\x7fELF" in saved.payload.read_bytes()
    loaded = archive.load(tmp_path / "one.attnproto", device)
    out = multiply_indices(device, 5, archive=loaded, fail_on_miss=True)
    np.testing.assert_array_equal(out, 5 * np.arange(64, dtype=np.float32))
    with pytest.raises(KernelCompileError, match="found no scale with these constants"):
        multiply_indices(device, 6, archive=loaded, fail_on_miss=True)


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
