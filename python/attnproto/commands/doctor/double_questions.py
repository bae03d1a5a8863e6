"""What the software double guesses about Metal, so that the first real Mac says yes or no.

Each rule of the double that no document states, and that can be asked without harm, is a
question here: a function from the device to what was seen. The one of W is asked by name
only, for it keeps the GPU busy for seconds.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from attnproto import _core
from attnproto.device.device import Device, Dispatch
from attnproto.device.library import Call, Input, Library
from attnproto.errors import AttnprotoError, GpuFault

from .metal_questions import CONSTANTS, HEADER, LOOP, SCORE, run_plain, specialised

LINKED = "[[visible]] float modify(float x);\n"
APPLY = (
    HEADER
    + LINKED
    + "kernel void apply(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) "
    "{ y[i] = modify(y[i]); }\n"
)


def _said(ask: Callable[[], object]) -> str:
    """What Metal says against it, or that it takes it."""
    try:
        ask()
    except AttnprotoError as error:
        return str(error)
    return "accepted"


def _y_of(device: Device, pipeline: object, *, n: int = 32, value: float = 1.0) -> np.ndarray:
    y = np.full(n, value, np.float32)
    device.run(pipeline, threadgroups=1, threads=n, buffers={0: y})
    return y


def compile_error_text(device: Device) -> str:
    """G1: how the compiler reports an error."""
    text = HEADER + "kernel void broken(device float* y [[buffer(0)]]) { y[0] = z; }"
    return _said(lambda: device.library(text))


def unused_constants(device: Device) -> str:
    """G2: a constant the text declares and this kernel does not reach may be given, or not."""
    library = device.library(CONSTANTS)
    given = _said(lambda: library.pipeline("plain", {"UNUSED": 0.5}))
    return f"given: {given}; left out: {_said(lambda: library.pipeline('plain'))}"


def memory_in_place(device: Device) -> str:
    """G3: a kernel writes page-aligned host memory in place."""
    pages = mmap.mmap(-1, mmap.PAGESIZE)
    y = np.frombuffer(pages, np.float32, count=mmap.PAGESIZE // 4)
    run = device.run(
        device.library(CONSTANTS).pipeline("plain"),
        threadgroups=y.size // 32,
        threads=32,
        buffers={0: y},
    )
    return f"{int((y == 1).sum())} of {y.size} written, {run.gpu_us:.1f} us"


def fresh_buffers(device: Device) -> str:
    """G4: a new buffer holds zeroes."""
    return "zero" if not device.buffer(1 << 16).numpy().any() else "not zero"


def memory_after_release(device: Device) -> str:
    """G5: the allocated size returns to what it was."""
    before = device.allocated_bytes()
    buffer = device.buffer(1 << 20)
    during = device.allocated_bytes()
    del buffer
    after = device.allocated_bytes()
    return f"{during - before} bytes more with a buffer of {1 << 20}, {after - before} after"


def clock(device: Device) -> str:
    """G6: GPU times of an empty kernel are positive and ordered."""
    times = [run_plain(device, np.zeros(32, np.float32)) for _ in range(20)]
    return f"{min(times):.2f} to {max(times):.2f} us"


def concurrent_dispatches(device: Device) -> str:
    """G7: what a concurrent encoder gains over a serial one."""
    # A plain function: whether a stitchable one may be called in its own text is F3.
    plain = SCORE.removeprefix("[[stitchable]] ").replace("score", "modify")
    pipeline = device.library(HEADER + plain + LOOP).pipeline("loop")
    arrays = [device.buffer(np.ones(1024, np.float32)) for _ in range(8)]
    dispatches = [Dispatch(pipeline, 32, 32, {0: y}) for y in arrays]
    times = {
        name: min(device.submit(dispatches, concurrent=concurrent).gpu_us for _ in range(3))
        for name, concurrent in (("serial", False), ("concurrent", True))
    }
    return ", ".join(f"{name} {us:.1f} us" for name, us in times.items())


def corrupt_archive(device: Device) -> str:
    """G8: an archive that is not one."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"not an archive" * 100)
        file.flush()
        library = device.library(CONSTANTS)._core
        return _said(lambda: library.pipeline(specialised(file.name)))


def linked_constants(device: Device) -> str:
    """G9: a linked function with a constant of its own is found by its name."""
    text = (
        HEADER
        + "constant float GAIN [[function_constant(5)]];\n"
        + LINKED.replace(";", " { return GAIN * x; }")
    )
    private = {"modify": device.library(text)}
    pipeline = device.library(APPLY).pipeline("apply", {"GAIN": 3.0}, private=private)
    return f"1 became {_y_of(device, pipeline)[0]:g}, expected 3"


def function_table(device: Device) -> str:
    """G10: visible functions are called through a table, each by its place."""
    text = (
        HEADER
        + "[[visible]] float once(float x) { return x + 1; }\n"
        + "[[visible]] float twice(float x) { return x + 2; }\n"
        + "kernel void chosen(device float* y [[buffer(0)]], "
        + "visible_function_table<float(float)> t [[buffer(1)]], "
        + "uint i [[thread_position_in_grid]]) { y[i] = t[i % 2](y[i]); }\n"
    )
    pipeline = device.library(text).pipeline("chosen", linked=["once", "twice"])
    y = np.zeros(4, np.float32)
    table = pipeline.function_table(["twice", "once"])
    device.run(pipeline, threadgroups=1, threads=4, buffers={0: y, 1: table})
    return f"{y.tolist()}, expected [2.0, 1.0, 2.0, 1.0]"


def threadgroup_limit(device: Device) -> str:
    """G11: a kernel may declare 32768 bytes of threadgroup memory and no more."""
    text = (
        HEADER
        + "kernel void tile(device float* y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) "
        + "{ threadgroup float t[%d]; t[i] = y[i]; threadgroup_barrier(mem_flags::mem_threadgroup);"
        + " y[i] = t[31 - i]; }\n"
    )
    seen = []
    for count in (8192, 8196):
        said = _said(partial(device.library(text % count).pipeline, "tile"))
        seen.append(f"{4 * count}: {said}")
    return "; ".join(seen)


def undefined_function(device: Device) -> str:
    """G12: what is said of a function that is declared and not linked."""
    return _said(lambda: device.library(APPLY).pipeline("apply"))


def optional_constant(device: Device) -> str:
    """G13: a constant that the text asks about may be left out."""
    text = (
        HEADER
        + "constant float BIAS [[function_constant(0)]];\n"
        + "constant float ADDED = is_function_constant_defined(BIAS) ? BIAS : 5.0f;\n"
        + "kernel void biased(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) "
        + "{ y[i] += ADDED; }\n"
    )
    pipeline = device.library(text).pipeline("biased")
    return f"1 became {_y_of(device, pipeline)[0]:g}, expected 6"


def read_beyond(device: Device) -> str:
    """G14: a read past the end of a buffer gives zero."""
    text = (
        HEADER
        + "kernel void beyond(device const float* x [[buffer(0)]], device float* y [[buffer(1)]], "
        + "uint i [[thread_position_in_grid]]) { y[i] = x[i + 64]; }\n"
    )
    pipeline = device.library(text).pipeline("beyond")
    y = np.full(32, np.nan, np.float32)
    buffers = {0: device.buffer(np.ones(32, np.float32)), 1: y}
    device.run(pipeline, threadgroups=1, threads=32, buffers=buffers)
    return "zero" if not y.any() else f"not zero: {y[:4].tolist()}"


def empty_archive(device: Device) -> str:
    """G15: what is said when an archive of nothing is saved."""
    with tempfile.TemporaryDirectory() as folder:
        return _said(lambda: device._core.new_archive().save(str(Path(folder) / "empty")))


def rewritten_archive(device: Device) -> str:
    """G16: an archive written anew under the same name is read anew, and a comment hits."""
    library = device.library(CONSTANTS)._core
    plain = _core.PipelineDescriptor("plain")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "archive")
        for wanted in (specialised(), plain):
            archive = device._core.new_archive()
            archive.add(library, wanted)
            archive.save(path)
            _said(lambda: library.pipeline(specialised(path)))
        stored = _core.PipelineDescriptor("plain", archive=path)
        stored.fail_on_archive_miss()
        commented = device.library(CONSTANTS + "// a comment\n")._core
        seen = [_said(partial(one.pipeline, stored)) for one in (library, commented)]
    return f"the second content: {seen[0]}; with a comment more: {seen[1]}"


def warnings(device: Device) -> str:
    """G17: a text with a warning is a library."""
    return _said(lambda: device.library(HEADER + '#warning "seen"\nkernel void w() {}\n'))


def read_only_pages(device: Device) -> str:
    """G18: pages that this process may not write are an input in place."""
    text = HEADER + (
        "kernel void copy(device const float* x [[buffer(0)]], device float* y [[buffer(1)]], "
        "uint i [[thread_position_in_grid]]) { y[i] = x[i]; }\n"
    )
    with tempfile.TemporaryFile() as file:
        file.write(np.ones(mmap.PAGESIZE // 4, np.float32).tobytes())
        file.flush()
        pages = mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ)
        x, y = np.frombuffer(pages, np.float32), np.zeros(32, np.float32)
        pipeline = device.library(text).pipeline("copy")
        device.run(pipeline, threadgroups=1, threads=32, buffers={0: x, 1: y})
    return f"{int((y == 1).sum())} of {y.size} read"


def math_modes(device: Device) -> str:
    """G19: how many of 1024 exponentials differ between safe and fast math."""
    text = HEADER + (
        "kernel void e(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) "
        "{ y[i] = exp(y[i]); }\n"
    )
    values = np.linspace(-20, 20, 1024, dtype=np.float32)
    results = []
    for fast in (False, True):
        y = values.copy()
        pipeline = device.library(text, fast_math=fast).pipeline("e")
        device.run(pipeline, threadgroups=32, threads=32, buffers={0: y})
        results.append(y)
    return f"{int((results[0] != results[1]).sum())} of {values.size}"


def stitched_names(device: Device) -> str:
    """G20: a stitched library lists its functions, and one without an inline hint links too."""
    stitched = device.library(HEADER + SCORE).stitch(
        {"modify": Call("score", Input(0))}, inline=False
    )
    private: Mapping[str, Library] = {"modify": stitched}
    pipeline = device.library(APPLY).pipeline("apply", private=private)
    return f"{stitched.functions()}, 1 became {_y_of(device, pipeline)[0]:g}, expected 1.5001"


def long_kernel(device: Device) -> str:
    """W1: what the watchdog says of a kernel of about ten seconds, and what works after it."""
    text = (
        HEADER
        + "kernel void slow(device float* y [[buffer(0)]], constant uint& n [[buffer(1)]]) "
        + "{ float x = y[0]; for (uint k = 0; k < n; ++k) x = x * 1.0000001f + 1e-7f; y[0] = x; }\n"
    )
    pipeline = device.library(text).pipeline("slow")
    rounds = np.uint32(3_500_000_000 if device.tier == "measured" else 1000)
    y = np.ones(1, np.float32)
    try:
        run = device.run(pipeline, threadgroups=1, threads=1, buffers={0: y, 1: rounds})
        seen = f"ended after {run.gpu_us * 1e-6:.1f} s"
    except GpuFault as fault:
        seen = f"{type(fault).__name__}, code {fault.code}: {fault}"
    return f"{seen}; afterwards {_said(lambda: run_plain(device, np.zeros(32, np.float32)))}"


GUESSES: dict[str, Callable[[Device], str]] = {
    "G1": compile_error_text,
    "G2": unused_constants,
    "G3": memory_in_place,
    "G4": fresh_buffers,
    "G5": memory_after_release,
    "G6": clock,
    "G7": concurrent_dispatches,
    "G8": corrupt_archive,
    "G9": linked_constants,
    "G10": function_table,
    "G11": threadgroup_limit,
    "G12": undefined_function,
    "G13": optional_constant,
    "G14": read_beyond,
    "G15": empty_archive,
    "G16": rewritten_archive,
    "G17": warnings,
    "G18": read_only_pages,
    "G19": math_modes,
    "G20": stitched_names,
}
BY_NAME: dict[str, Callable[[Device], str]] = {"W1": long_kernel}
