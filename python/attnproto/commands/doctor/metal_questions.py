"""What only a Mac can answer: each question asked of the Metal device, one at a time.

The numbers Q1 to Q8 are those of the project's page on Metal's semantics; what the
software double guesses is in double_questions.py. A question is a function from the device to
what was seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from attnproto import _core
from attnproto.device.device import Device, Dispatch, Pipeline
from attnproto.errors import AttnprotoError

HEADER = """
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
"""

CONSTANTS = (
    HEADER
    + """
constant uint N [[function_constant(0)]];
constant bool ADD [[function_constant(1)]];
constant float UNUSED [[function_constant(2)]];
kernel void needs(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  if (i < N) y[i] = ADD ? y[i] + 1 : y[i];
}
kernel void plain(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) { y[i] += 1; }
"""
)

SCORE = "[[stitchable]] float score(float x) { return x * 1.0001f + 0.5f; }\n"
LOOP = """
kernel void loop(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  float x = y[i];
  for (int k = 0; k < 4096; ++k) x = modify(x);
  y[i] = x;
}
"""

LAYOUT = (
    HEADER
    + """
kernel void layout(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                   uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_float8x8 m;
  simdgroup_load(m, x, 8);
  y[2 * lane] = m.thread_elements()[0];
  y[2 * lane + 1] = m.thread_elements()[1];
}
"""
)

MATMUL = (
    HEADER
    + """
[[max_total_threads_per_threadgroup(%d)]]
kernel void matmul(device const float* a [[buffer(0)]], device const float* b [[buffer(1)]],
                   device float* c [[buffer(2)]]) {
  simdgroup_float8x8 x, y, z[4];
  for (int j = 0; j < 4; ++j) {
    z[j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    for (int k = 0; k < 4; ++k) {
      simdgroup_load(x, a + 8 * k, 32);
      simdgroup_load(y, b + 8 * k * 32 + 8 * j, 32);
      simdgroup_multiply_accumulate(z[j], x, y, z[j]);
    }
    simdgroup_store(z[j], c + 8 * j, 32);
  }
}
"""
)


def heavy_text(values: int = 256) -> str:
    """Write a kernel that keeps ``values`` floats alive in each thread."""
    loads = "".join(f"  float v{i} = y[i + {i}];\n" for i in range(values))
    mixes = "".join(f"  v{i} = fma(v{i}, v{(i * 7 + 1) % values}, v0);\n" for i in range(values))
    total = " + ".join(f"v{i}" for i in range(values))
    return (
        HEADER
        + "kernel void heavy(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
        + f"{loads}  for (int k = 0; k < 8; ++k) {{\n{mixes}  }}\n  y[i] = {total};\n}}\n"
    )


def run_plain(device: Device, y: np.ndarray) -> float:
    """Add one to every element; return the GPU time in microseconds."""
    pipeline = device.library(CONSTANTS).pipeline("plain")
    return device.run(pipeline, threadgroups=1, threads=y.size, buffers={0: y}).gpu_us


def missing_constant(device: Device) -> str:
    """Q1: the text and code for a required constant without a value."""
    try:
        device.library(CONSTANTS).pipeline("needs", {0: 1})
    except AttnprotoError as error:
        return str(error)
    return "Metal made the function without it"


def specialised(path: str = "") -> _core.PipelineDescriptor:
    """Describe the specialised kernel that the archive holds."""
    constants = [_core.Constant(0, 32), _core.Constant(1, True)]
    descriptor = _core.PipelineDescriptor("needs", constants, archive=path)
    if path:
        descriptor.fail_on_archive_miss()
    return descriptor


def archive_round_trip(device: Device) -> str:
    """Q2: a specialised kernel from an archive, failing on a miss, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "archive")
        library = device.library(CONSTANTS)._core
        archive = device._core.new_archive()
        archive.add(library, specialised())
        archive.save(path)
        size = f"{os.path.getsize(path)} bytes"
        if device.tier != "measured":
            library.pipeline(specialised(path))
            return f"found in the archive of {size}, same process"
        child = (
            "import sys, attnproto\n"
            "from attnproto.commands.doctor.metal_questions import CONSTANTS, specialised\n"
            "library = attnproto.open_device('metal').library(CONSTANTS)._core\n"
            "print(library.pipeline(specialised(sys.argv[1])).info.compile_us)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", child, path], capture_output=True, text=True, timeout=120
        )
        if ran.returncode:
            return f"missed in the archive of {size}: {ran.stderr.strip().splitlines()[-1]}"
        return f"found in the archive of {size} after {float(ran.stdout):.0f} us"


def stitched_pipeline(device: Device) -> Pipeline:
    """Link a stitched function into a loop that only declares it."""
    visible = device.library(HEADER + SCORE)._core
    call = _core.StitchedCall("score", [(_core.From.INPUT, 0)])
    stitched = visible.stitch([_core.StitchedFunction("modify", [call])])
    descriptor = _core.PipelineDescriptor("loop")
    descriptor.link(stitched, "modify")
    caller = device.library(HEADER + "[[visible]] float modify(float x);\n" + LOOP)._core
    return Pipeline(caller.pipeline(descriptor), "loop")


def stitched_in_a_loop(device: Device) -> str:
    """Q3: a stitched private function in an inner loop against concatenated source."""
    source = HEADER + SCORE.replace("[[stitchable]]", "inline").replace("score", "modify") + LOOP
    ways = {
        "stitched": stitched_pipeline(device),
        "source": device.library(source).pipeline("loop"),
    }
    results, times = {}, {}
    for name, pipeline in ways.items():
        y = np.ones(1024, np.float32)
        launch = {"threadgroups": 32, "threads": 32, "buffers": {0: y}}
        device.run(pipeline, **launch)
        results[name] = y.copy()
        times[name] = min(device.run(pipeline, **launch).gpu_us for _ in range(5))
    equal = np.array_equal(results["stitched"], results["source"])
    return f"stitched {times['stitched']:.1f} us, source {times['source']:.1f} us, equal: {equal}"


def graph_under_the_debug_layer(device: Device) -> str:
    """Q4: a graph whose nodes hold the output node, under the debug layer."""
    if device.tier != "measured":
        stitched_pipeline(device)
        return "accepted; no debug layer here"
    child = (
        "import attnproto\n"
        "from attnproto.commands.doctor.metal_questions import stitched_pipeline\n"
        "stitched_pipeline(attnproto.open_device('metal'))\n"
    )
    environment = {**os.environ, "MTL_DEBUG_LAYER": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, timeout=120, env=environment
    )
    text = ran.stderr.strip().splitlines()
    return f"exit {ran.returncode}" + (f": {text[-1]}" if ran.returncode and text else "")


def heavy_kernel_threads(device: Device) -> str:
    """Q5: the pipeline's thread limit for a kernel that keeps 256 values a thread."""
    return f"max_threads {device.library(heavy_text()).pipeline('heavy').max_threads}"


def one_simdgroup_attribute(device: Device) -> str:
    """Q6: whether declaring 32 threads at most miscompiles a simdgroup matmul."""
    random = np.random.default_rng(6)
    a, b = (random.integers(-4, 5, shape).astype(np.float32) for shape in ((8, 32), (32, 32)))
    seen = []
    for most in (32, 64):
        c = np.full((8, 32), np.nan, np.float32)
        pipeline = device.library(MATMUL % most).pipeline("matmul")
        device.run(pipeline, threadgroups=1, threads=32, buffers={0: a, 1: b, 2: c})
        wrong = np.flatnonzero(~np.all(c == a @ b, axis=1))
        seen.append(f"{most}: " + (f"rows {wrong.tolist()} wrong" if wrong.size else "exact"))
    return ", ".join(seen)


def counters(device: Device) -> str:
    """Q7: what stage-boundary counters resolve to on this macOS."""
    y = np.zeros(32, np.float32)
    pipeline = device.library(CONSTANTS).pipeline("plain")
    timing = device.submit([Dispatch(pipeline, 1, 32, {0: y})] * 4, time_each=True)
    spans = timing.each
    if not spans:
        return "no believable samples; command buffer times are used"
    each = ", ".join(f"{end - start:.2f}" for start, end in spans)
    return f"us per dispatch {each}; command buffer {timing.gpu_us:.2f}"


def fragment_layout(device: Device) -> str:
    """Q8: where thread_elements() puts the elements of an 8x8 matrix."""
    y = np.full(64, np.nan, np.float32)
    x = np.arange(64, dtype=np.float32)
    device.run(
        device.library(LAYOUT).pipeline("layout"), threadgroups=1, threads=32, buffers={0: x, 1: y}
    )
    lane = np.arange(32)
    row = ((lane // 4) & 4) + (lane // 2) % 4
    column = ((lane // 4) & 2) * 2 + (lane % 2) * 2
    expected = np.stack([row * 8 + column, row * 8 + column + 1], axis=1).reshape(-1)
    if np.array_equal(y, expected):
        return "as expected"
    return "differs: " + " ".join(f"{value:g}" for value in y)


QUESTIONS: dict[str, Callable[[Device], str]] = {
    "Q1": missing_constant,
    "Q2": archive_round_trip,
    "Q3": stitched_in_a_loop,
    "Q4": graph_under_the_debug_layer,
    "Q5": heavy_kernel_threads,
    "Q6": one_simdgroup_attribute,
    "Q7": counters,
    "Q8": fragment_layout,
}
