"""The Metal device from Python, on whatever there is: a Mac or the software double."""

import concurrent.futures
import gc
import os
import re
import threading
import time
from pathlib import Path

import attnproto
import numpy as np
import pytest
from attnproto import _core
from attnproto.errors import (
    DeviceLost,
    DeviceUnavailable,
    DispatchError,
    GpuFault,
    GpuOutOfMemory,
    GpuPageFault,
    GpuTimeout,
    KernelCompileError,
)
from support.msl import read_text

TEXT = read_text("metal_device.metal")


@pytest.fixture(scope="module")
def metal():
    try:
        return attnproto.open_device("metal")
    except DeviceUnavailable as error:
        if os.environ.get("ATTNPROTO_NEEDS_METAL"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def library(metal):
    return metal.library(TEXT)


def needs_the_double():
    if not hasattr(_core, "metal_double"):
        pytest.skip("only the software double can be told to fail")
    return _core.metal_double.behaviour()


@pytest.mark.parametrize("n", [1, 31, 32, 33, 1000])
@pytest.mark.parametrize("negate", [False, True])
def test_a_kernel_with_constants_runs_on_host_arrays(metal, library, n, negate):
    pipeline = library.pipeline("scale", {0: 2.0, "NEGATE": negate})
    x, y = np.arange(n, dtype=np.float32), np.ones(n + 8, np.float32)
    y[n:] = np.nan
    metal.run(pipeline, threadgroups=-(-n // 32), threads=32, buffers={0: x, 1: y, 2: np.uint32(n)})
    np.testing.assert_array_equal(y[:n], 1 + x * (-2 if negate else 2))
    assert np.isnan(y[n:]).all()


def test_threadgroup_memory_and_device_buffers(metal, library):
    x = metal.buffer(np.arange(128, dtype=np.float32))
    y = metal.buffer(4 * 4)
    metal.run(
        library.pipeline("sum"),
        threadgroups=4,
        threads=32,
        buffers={0: x, 1: y},
        threadgroup_bytes={0: 128},
    )
    # Sums of 32 consecutive numbers from 32 g: 32 * 32 g + 496.
    np.testing.assert_array_equal(y.numpy(np.float32), [496, 1520, 2544, 3568])


def test_a_submission_is_timed_on_the_device_clock(metal, library):
    pipeline = library.pipeline("scale", {0: 1.0, 1: False})
    x, y = np.ones(32, np.float32), np.zeros(32, np.float32)
    dispatch = attnproto.Dispatch(pipeline, 1, 32, {0: x, 1: y, 2: np.uint32(32)})
    timing = metal.submit([dispatch] * 10)
    assert (y == 10).all()
    assert timing.gpu_start_us > 0
    assert 0 <= timing.gpu_us < 1e7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 1056}, "1056 threads"),
        ({"threadgroups": 0}, "empty grid"),
        ({"threadgroup_bytes": {0: 24}}, "multiple of 16"),
        ({"threadgroup_bytes": {0: 32784}}, "32784 bytes"),
        ({"buffers": {31: np.ones(1, np.float32)}}, "below 31"),
    ],
)
def test_what_metal_drops_in_silence_is_refused(metal, library, change, words):
    usual = {"threadgroups": 1, "threads": 32, "buffers": {}}
    with pytest.raises(DispatchError, match=words):
        metal.run(library.pipeline("sum"), **{**usual, **change})


def test_the_compilers_text_reaches_python(metal):
    with pytest.raises(KernelCompileError, match=r"\[metal\.compile\]"):
        metal.library("kernel void broken( {")


@pytest.mark.parametrize(
    "constants", [{0: 1.0}, {0: 1.0, 1: 2}, {0: 1.0, 1: True, 7: 1}, {0: 1.0, "NOBODY": 1, 1: True}]
)
def test_constants_that_do_not_complete_the_kernel_are_refused(library, constants):
    with pytest.raises(KernelCompileError):
        library.pipeline("scale", constants)


def test_pipelines_are_cached(library):
    library.pipeline("scale", {0: 3.0, 1: False})
    assert library.pipeline("scale", {0: 3.0, 1: False}).cached
    assert not library.pipeline("scale", {0: 4.0, 1: False}).cached


def test_memory_is_given_back(metal, record_property):
    before = metal._core.allocated_bytes()
    buffer = metal.buffer(1 << 20)
    assert metal._core.allocated_bytes() >= before + (1 << 20)
    del buffer
    gc.collect()
    left = metal._core.allocated_bytes() - before
    # Metal may keep pages of its own: a Mac's answer is kept, a leak of the buffer is not excused.
    record_property("allocated_bytes_left", left)
    assert left == 0 if metal.tier == "emulated" else left < 1 << 20


@pytest.mark.skipif(
    bool(os.environ.get("MTL_SHADER_VALIDATION")), reason="Metal stores no validated pipelines"
)
def test_an_archive_serves_a_pipeline_and_fails_on_a_miss(metal, library, tmp_path):
    path = str(tmp_path / "pipelines")
    archive = metal._core.new_archive()
    archive.add(library._core, _core.PipelineDescriptor("sum"))
    archive.save(path)
    wanted = _core.PipelineDescriptor("sum", archive=path)
    wanted.fail_on_archive_miss()
    assert library._core.pipeline(wanted)
    missed = _core.PipelineDescriptor(
        "scale", [_core.Constant(0, 1.0), _core.Constant(1, True)], archive=path
    )
    missed.fail_on_archive_miss()
    with pytest.raises(KernelCompileError):
        library._core.pipeline(missed)


STITCHED = """
#include <metal_stdlib>
using namespace metal;
[[stitchable]] float twice(float x) { return 2 * x; }
[[stitchable]] float add(float x, float y) { return x + y; }
[[stitchable]] int whole(float x) { return int(x); }
"""
CALLER = """
#include <metal_stdlib>
using namespace metal;
[[visible]] float modify(float a, float b);
kernel void apply(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] = modify(y[i], 100.0f);
}
"""


def test_a_stitched_function_is_linked_and_called(metal):
    given, called = _core.From.INPUT, _core.From.CALL
    stitched = metal._core.library(STITCHED).stitch(
        [
            _core.StitchedFunction(
                "modify",
                [
                    _core.StitchedCall("twice", [(given, 0)]),
                    _core.StitchedCall("add", [(called, 0), (given, 1)]),
                ],
            )
        ]
    )
    descriptor = _core.PipelineDescriptor("apply")
    descriptor.link(stitched, "modify")
    pipeline = attnproto.Pipeline(metal._core.library(CALLER).pipeline(descriptor), "apply")
    y = np.arange(32, dtype=np.float32)
    metal.run(pipeline, threadgroups=1, threads=32, buffers={0: y})
    np.testing.assert_array_equal(y, 2 * np.arange(32) + 100)


def test_a_stitching_graph_of_the_wrong_types_is_refused(metal):
    calls = [
        _core.StitchedCall("whole", [(_core.From.INPUT, 0)]),
        _core.StitchedCall("twice", [(_core.From.CALL, 0)]),
    ]
    with pytest.raises(KernelCompileError, match="int as argument 0 of twice"):
        metal._core.library(STITCHED).stitch([_core.StitchedFunction("modify", calls)])


@pytest.mark.parametrize(
    ("code", "name", "error"),
    [
        (1, "internal error", GpuFault),
        (2, "timeout", GpuTimeout),
        (3, "page fault", GpuPageFault),
        (4, "access revoked", GpuFault),
        (7, "not permitted", GpuFault),
        (8, "out of memory", GpuOutOfMemory),
        (9, "invalid resource", GpuFault),
        (10, "memoryless", GpuFault),
        (12, "stack overflow", GpuFault),
    ],
)
def test_a_fault_names_kernel_and_code_and_the_next_dispatch_works(
    metal, library, code, name, error
):
    behaviour = needs_the_double()
    pipeline = library.pipeline("scale", {0: 1.0, 1: False})
    x, y = np.ones(32, np.float32), np.zeros(32, np.float32)
    run = {"threadgroups": 1, "threads": 32, "buffers": {0: x, 1: y, 2: np.uint32(32)}}
    behaviour.fail_next = code
    with pytest.raises(DispatchError, match=rf"{name} \(code {code}\) running scale") as raised:
        metal.run(pipeline, **run)
    assert type(raised.value) is error
    assert (raised.value.code, raised.value.kernels) == (code, "scale")
    assert (y == 0).all()
    metal.run(pipeline, **run)
    assert (y == 1).all()


def test_a_lost_device_has_an_error_of_its_own(metal, library):
    needs_the_double().fail_next = 11
    y = np.zeros(32, np.float32)
    launch = {"threadgroups": 1, "threads": 32, "threadgroup_bytes": {0: 128}}
    for _ in range(2):
        with pytest.raises(DeviceLost, match="device removed") as raised:
            metal.run(library.pipeline("sum"), buffers={0: y, 1: y.copy()}, **launch)
        assert isinstance(raised.value, DeviceUnavailable)
        assert raised.value.code == 11


def test_every_dispatch_has_a_time_of_its_own(metal, library):
    behaviour = needs_the_double()
    pipeline = library.pipeline("scale", {0: 1.0, 1: False})
    x, y = np.ones(32, np.float32), np.zeros(32, np.float32)
    dispatches = [attnproto.Dispatch(pipeline, 1, 32, {0: x, 1: y, 2: np.uint32(32)})] * 3
    timing = metal.submit(dispatches, time_each=True)
    assert len(timing.each) == 3
    assert all(start <= end for start, end in timing.each)
    assert metal.submit(dispatches).each == ()
    for samples in ("ZERO", "ERROR", "UNORDERED"):
        behaviour.samples = getattr(_core.metal_double.Samples, samples)
        timing = metal.submit(dispatches, time_each=True)
        assert timing.each == ()
        assert timing.gpu_us >= 0


def test_a_concurrent_submission_keeps_its_barriers(metal, library):
    pipeline = library.pipeline("scale", {0: 2.0, 1: False})
    a, b, c = np.ones(32, np.float32), np.zeros(32, np.float32), np.zeros(32, np.float32)
    n = np.uint32(32)
    chain = [
        attnproto.Dispatch(pipeline, 1, 32, {0: a, 1: b, 2: n}),
        attnproto.Dispatch(pipeline, 1, 32, {0: b, 1: c, 2: n}, barrier_before=True),
    ]
    for round_ in range(1, 9):
        metal.submit(chain, concurrent=True)
        # b grows by 2 a round, c by twice of it: 4 + 8 + ... = 2 r (r + 1).
        assert (b == 2 * round_).all()
        assert (c == 2 * round_ * (round_ + 1)).all()


def test_other_threads_run_while_one_waits_for_the_gpu(metal, library):
    needs_the_double()
    pipeline = library.pipeline("scale", {0: 1.0, 1: False})
    x, y = np.ones(32, np.float32), np.zeros(32, np.float32)
    run = {"threadgroups": 1, "threads": 32, "buffers": {0: x, 1: y, 2: np.uint32(32)}}
    _core.metal_double.hold(True)
    waiting = threading.Thread(target=metal.run, args=(pipeline,), kwargs=run)
    waiting.start()
    # Reached only while the other thread waits without the interpreter's lock: else the double
    # reports, after its patience, that nobody let the commands go.
    while not _core.metal_double.in_flight():
        time.sleep(0.001)
    assert (y == 0).all()
    _core.metal_double.hold(False)
    waiting.join()
    assert (y == 1).all()


def test_macros_and_fast_math_are_chosen_for_a_library(metal):
    text = "kernel void fill(device float* y [[buffer(0)]]) { y[0] = VALUE; }"
    for value in ("3.0f", "4.0f"):
        y = np.zeros(1, np.float32)
        pipeline = metal.library(text, macros={"VALUE": value}).pipeline("fill")
        metal.run(pipeline, threadgroups=1, threads=1, buffers={0: y})
        assert y[0] == float(value[:-1])
    if hasattr(_core, "metal_double"):
        for fast, math in ((False, "safe, precise"), (True, "fast, fast")):
            metal.library(f"// {fast}\n" + TEXT, fast_math=fast)
            assert _core.metal_double.last_math() == math


def test_the_device_and_the_cpu_agree_bit_for_bit_on_exact_sums(metal):
    cpu = attnproto.open_device("cpu")
    x = np.random.default_rng(1).integers(-50, 50, 128).astype(np.float32)
    results = []
    for device in (metal, cpu):
        y = np.full(4, np.nan, np.float32)
        device.run(
            device.library(TEXT).pipeline("sum"),
            threadgroups=4,
            threads=32,
            buffers={0: x, 1: y},
            threadgroup_bytes={0: 128},
        )
        results.append(y)
    np.testing.assert_array_equal(*results)


def test_no_kernel_declares_one_simdgroup_as_its_most_threads():
    # Apple's compiler gets rows of simdgroup matrices wrong then, in silence.
    declared = re.compile(r"max_total_threads_per_threadgroup\s*\(\s*(\d+)\s*\)")
    texts = [p.read_text() for p in (Path(__file__).parents[1] / "metal").rglob("*.[hm]*")]
    assert len(texts) > 20
    assert not {32} & {int(n) for text in texts for n in declared.findall(text)}


@pytest.mark.parametrize("causal", [False, True])
def test_flash_attention_through_the_double_is_bit_equal_to_the_cpu(metal, causal):
    if metal.tier != "emulated":
        pytest.skip("another machine rounds otherwise")
    from attnproto.kernels.flash import flash_attention

    random = np.random.default_rng(2)
    q, k, v = (random.standard_normal((1, 2, 65, 64)).astype(np.float16) for _ in range(3))
    results = [
        flash_attention(q, k, v, causal=causal, device=device)
        for device in (metal, attnproto.open_device("cpu"))
    ]
    np.testing.assert_array_equal(*(result.view(np.uint16) for result in results))


def test_compilers_run_in_several_threads_at_once(metal):
    def compile_one(i):
        text = TEXT.replace("total = 0", f"total = {i}")
        pipeline = metal.library(text).pipeline("sum")
        y = np.zeros(1, np.float32)
        launch = {"threadgroups": 1, "threads": 32, "threadgroup_bytes": {0: 128}}
        metal.run(pipeline, buffers={0: np.ones(32, np.float32), 1: y}, **launch)
        return float(y[0])

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(compile_one, range(8))) == [32.0 + i for i in range(8)]
