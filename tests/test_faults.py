"""What a kernel does wrong is an error that names it; the process and the device go on.

Each case runs in a process of its own, which the fault used to end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import attnproto
import numpy as np
import pytest
from attnproto.errors import KernelCompileError
from support.msl import HEAD

DEEP = """
int f(device int* x, int n) {
  int a[8];
  for (int j = 0; j < 8; j++) a[j] = x[j] + n;
  x[40] = a[n & 7];
  return n == 0 ? 0 : f(x, n - 1) + a[n & 7];
}
"""


def kernel(body: str, before: str = "") -> str:
    return (
        f"{HEAD}{before}kernel void k(device int* x [[buffer(0)]],\n"
        f"                uint i [[thread_position_in_grid]]) {{\n  {body}\n}}\n"
    )


# Body, functions before it, the error in plain mode, the kind under validation.
FAULTS = {
    "a null pointer": ("device int* p = nullptr;\n  p[i] = 1;", "", "GpuPageFault", "null-pointer"),
    "a wild pointer": ("x[1000000000000l + i] = 1;", "", "GpuPageFault", "out-of-bounds"),
    "far past a local array": (
        "int a[4] = {x[i], 1, 2, 3};\n  x[i] = a[long(x[i] + 1) * -900000000000l];",
        "", "GpuPageFault", "local-array",
    ),
    "a trap": ("if (x[0] == 0) __builtin_trap();\n  x[i] = 1;", "", "GpuFault", "trap"),
    "a call of no function": (
        "int (*f)(int) = nullptr;\n  x[i] = f(3);", "", "GpuPageFault", "",
    ),
    "a trap for a debugger": (
        "if (x[0] == 0) __builtin_debugtrap();\n  x[i] = 1;", "", "GpuFault", "trap",
    ),
    "an address made of a number": (
        "*(device int*)ulong(0x10000 + x[0]) = 1;", "", "GpuPageFault", "foreign-pointer",
    ),
    "an address of the thread's made of a number": (
        "*(thread int*)ulong(0x10000 + x[0]) = 1;", "", "GpuPageFault", "foreign-pointer",
    ),
    "deep recursion": ("x[i] = f(x, x[4] + 100000000);", DEEP, "GpuFault", "recursion"),
    "a loop without end": ("while (true) { x[i] += 1; }", "", "GpuTimeout", ""),
    "a spin on a flag that nobody sets": (
        "while (atomic_load_explicit((device atomic_int*)x, memory_order_relaxed) == 0) {}",
        "", "GpuTimeout", "",
    ),
    "barriers without end": (
        "while (x[0] == 0) threadgroup_barrier(mem_flags::mem_none);", "", "GpuTimeout", "",
    ),
}  # fmt: skip

RUN = """
    import attnproto, numpy as np, sys
    from attnproto.errors import AttnprotoError
    text, good, mode = sys.argv[1:]
    options = {"validate": True} if mode == "validate" else {"engine": mode, "validate": False}
    device = attnproto.open_device("cpu", time_limit_s=0.3, **options)
    pipeline = device.library(text).pipeline("k")
    for _ in range(2):
        try:
            device.run(pipeline, threadgroups=4, threads=32, buffers={0: np.zeros(128, np.int32)})
        except AttnprotoError as error:
            line = error.parties[0].line if hasattr(error, "parties") else 0
            print(type(error).__name__, getattr(error, "kind", "-"), line, "[" in str(error)
                  and " k]" in str(error) and "found" in str(error))
    x = np.zeros(128, np.int32)
    device.run(device.library(good).pipeline("k"), threadgroups=4, threads=32, buffers={0: x})
    print((x == np.arange(128)).all())
"""


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["lockstep", "fibers", "validate"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_an_error_that_names_the_kernel_and_the_device_works_on(name, mode):
    body, before, plain, kind = FAULTS[name]
    text = kernel(body, before)
    done = python(RUN, text, kernel("x[i] = int(i);"), mode)
    assert done.returncode == 0, done.stderr[-500:]
    error, error_again, works = done.stdout.splitlines()
    assert error == error_again
    error_type, finding_kind, line, named = error.split()
    assert named == "True"
    assert works == "True"
    if mode != "validate" or not kind:
        assert error_type == plain
        return
    assert (error_type, finding_kind) == ("ValidationError", kind)
    assert 0 < int(line) <= text.count("\n")


INTEGERS = {
    "char": np.int8, "uchar": np.uint8, "short": np.int16, "ushort": np.uint16,
    "int": np.int32, "uint": np.uint32, "long": np.int64, "ulong": np.uint64,
}  # fmt: skip


def quotient(x: int, y: int, info: np.iinfo) -> tuple[int, int]:
    """C's, and what is said for a zero divisor and a quotient that does not fit."""
    if y == 0:
        return 0, x
    if info.min and (x, y) == (info.min, -1):
        return info.min, 0
    truncated = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    return truncated, x - truncated * y


@pytest.mark.parametrize("engine", ["lockstep", "fibers"])
@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("name", INTEGERS)
def test_integer_division_has_a_value_for_every_divisor(name, lanes, engine):
    dtype = INTEGERS[name]
    info = np.iinfo(dtype)
    values = [info.min, info.max, 0, 1, 2, 7, *((-1, -3) if info.min else (3, 5))]
    # Every value by every other, as many as fill whole simdgroups: 64 of 1 lane, 16 of 4.
    a, b = (np.array(v, dtype) for v in zip(*((x, y) for x in values for y in values), strict=True))
    v = f"{name}{lanes if lanes > 1 else ''}"
    device = attnproto.open_device("cpu", engine=engine, validate=False)
    text = (
        f"{HEAD}kernel void k(const device {v}* a [[buffer(0)]], const device {v}* b [[buffer(1)]],"
        f" device {v}* q [[buffer(2)]], device {v}* r [[buffer(3)]],"
        " uint i [[thread_position_in_grid]]) { q[i] = a[i] / b[i]; r[i] = a[i] % b[i]; }"
    )
    buffers = {0: device.buffer(np.tile(a, 8)), 1: device.buffer(np.tile(b, 8))}
    buffers |= {n: device.buffer(np.zeros(512, dtype)) for n in (2, 3)}
    device.run(
        device.library(text).pipeline("k"), threadgroups=512 // lanes // 32, threads=32,
        buffers=buffers,
    )  # fmt: skip
    wanted = [quotient(int(x), int(y), info) for x, y in zip(a, b, strict=True)] * 8
    results = zip(*(buffers[n].numpy(dtype).tolist() for n in (2, 3)), strict=True)
    assert list(results) == wanted


@pytest.mark.parametrize("values", [(1, 0), (-(2**31), -1)], ids=["by zero", "past its type"])
def test_a_division_without_a_value_is_found_under_validation(values):
    device = attnproto.open_device("cpu", validate=True)
    x = np.array([*values, 0], np.int32)
    pipeline = device.library(kernel("x[2] = x[0] / x[1];")).pipeline("k")
    with pytest.raises(attnproto.errors.ValidationError) as raised:
        device.run(pipeline, threadgroups=1, threads=1, buffers={0: x})
    assert (raised.value.kind, raised.value.parties[0].line) == ("division", 5)
    x[1] = 3
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: x})
    assert x[2] == int(values[0] / 3)


def test_a_buffer_ends_where_a_page_does_that_is_not_there():
    device = attnproto.open_device("cpu", engine="fibers", validate=False)
    pipeline = device.library(kernel("x[i + 64 * 1] = 1;")).pipeline("k")
    buffer = device.buffer(64 * 4)
    with pytest.raises(attnproto.errors.GpuPageFault) as raised:
        device.run(pipeline, threadgroups=1, threads=1, buffers={0: buffer})
    assert (raised.value.code, raised.value.kernels) == (3, "k")
    assert not buffer.numpy().any()


@pytest.mark.parametrize("again", ["", "device.submit([])"], ids=["at once", "after a dispatch"])
def test_a_fault_that_is_not_a_kernels_ends_as_ever(again):
    code = """
        import ctypes, faulthandler, attnproto, numpy as np
        attnproto.open_device("cpu").buffer(4)
        device = attnproto.open_device("cpu", validate=False)
        text = "kernel void k(device int* x [[buffer(0)]]) { x[0] = 1; }"
        device.run(device.library(text).pipeline("k"), threadgroups=1, threads=1,
                   buffers={0: np.zeros(1, np.int32)})
        faulthandler.enable()
        {again}
        ctypes.string_at(0)
    """.replace("{again}", again)
    done = python(code)
    assert done.returncode == -11
    assert done.stderr.count("Segmentation fault") == 1


def test_a_handler_that_is_installed_later_does_not_meet_a_kernels_fault():
    code = """
        import faulthandler, signal, attnproto, numpy as np
        device = attnproto.open_device("cpu", validate=False)
        text = "kernel void k(device int* x [[buffer(0)]]) { x[1L << 45] = 1; }"
        pipeline = device.library(text).pipeline("k")
        device.run(device.library(text.replace("1L << 45", "0")).pipeline("k"), threadgroups=1,
                   threads=1, buffers={0: np.zeros(1, np.int32)})
        faulthandler.enable()
        came = []
        signal.signal(signal.SIGURG, lambda *_: came.append(1))
        for _ in range(2):
            try:
                device.run(pipeline, threadgroups=1, threads=1, buffers={0: np.zeros(1, np.int32)})
            except attnproto.GpuPageFault:
                print("page fault")
        signal.raise_signal(signal.SIGURG)
        print(came)
    """
    done = python(code)
    assert (done.returncode, done.stdout.split("\n")) == (0, ["page fault"] * 2 + ["[1]", ""])
    assert "Segmentation fault" not in done.stderr


UNDEFINED = {
    "a function": ("o[0] = f(o[0]);", "float f(float x);\n", "'f'"),
    "a function of the host": ("o[0] = getpid();", 'extern "C" int getpid();\n', "'getpid'"),
    "one that ends the process": ("exit(1);", 'extern "C" { void exit(int); }\n', "'exit'"),
    "a method": ("S s; o[0] = s.g();", "struct S { int g() const; };\n", "'g'"),
    "a template": ("o[0] = g(1.0f);", "template <class T> T g(T);\n", "'g'"),
    "a constant": ("o[0] = c;", "extern constant float c;\n", "'c'"),
    "a long double": ("o[0] = int((long double)int(o[0]) / 3);", "", "use float instead of double"),
    "assembly in a function": ('asm("nop");', "", "line 3, column 48: found asm"),
    "assembly in the file": ("o[0] = 1;", 'asm("nonsense");\n', "line 3, column 1: found asm"),
    "an instruction of the processor": (
        "__builtin_ia32_wrfsbase64(0);", "", "line 3, column 48: found __builtin_ia32_wrfsbase64",
    ),
    "a step out of the frame": ("__builtin_unwind_init();", "", "found __builtin_unwind_init"),
    "a clock of the processor": ("o[0] = __builtin_readcyclecounter() != 0;", "", "column 55"),
    "a wide integer": ("unsigned _BitInt(9999) n = 3; n /= o[0];", "", "found _BitInt"),
    "a function without a frame": (
        "f();", "__attribute__((noinline, naked)) void f() {}\n", "line 3, column 26: found naked",
    ),
    "the same by a pragma": (
        "f();", "#pragma clang attribute push(__attribute__((naked)), apply_to = function)\n"
        "void f() {}\n#pragma clang attribute pop\n", "line 3.*: found naked",
    ),
}  # fmt: skip


def test_a_name_that_an_attribute_has_too_is_an_ordinary_one():
    text = (
        f"{HEAD}kernel void k(device int* o [[buffer(0)]], uint naked [[thread_position_in_grid]])"
    )
    out = np.zeros(1, np.int32)
    device = attnproto.open_device("cpu")
    pipeline = device.library(text + "{ o[naked] = int(naked) + 7; }").pipeline("k")
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: out})
    assert out[0] == 7


@pytest.mark.parametrize("engine", ["lockstep", "fibers"])
@pytest.mark.parametrize(("body", "before", "named"), UNDEFINED.values(), ids=UNDEFINED)
def test_a_name_that_nobody_offers_is_refused(body, before, named, engine):
    text = f"{HEAD}{before}kernel void k(device float* o [[buffer(0)]]) {{ {body} }}\n"
    with pytest.raises(KernelCompileError, match=named):
        attnproto.open_device("cpu", engine=engine).library(text).pipeline("k")
    if "extern constant" not in before:
        assert [one for one in attnproto.lint(text) if one.severity == "error"]


def test_a_function_of_the_compilers_library_is_refused_by_its_name():
    from attnproto._core import PipelineDescriptor
    from attnproto.compiler.target import processor_target
    from attnproto.compiler.targets import shared_object

    old = processor_target("x86_64", "unknown-linux-gnu", "x86-64-v3")
    text = f"{HEAD}kernel void k(device half* o [[buffer(0)]], device long* n [[buffer(1)]]) "
    text += "{ double x = n[0]; o[0] = half(x / n[1]); }"
    with pytest.raises(KernelCompileError, match="__truncdfhf2"):
        shared_object.shared_object(text, PipelineDescriptor("k"), old)


def test_a_vector_with_one_number_set_by_a_variable_does_not_end_the_compiler():
    # LLVM's own pass that combines vectors aborts on it.
    body = "device int4* y = (device int4*)x;\n  int4 v = y[i];\n"
    body += "  threadgroup_barrier(mem_flags::mem_device);\n  v[x[0] & 3] = 2;\n  y[i] = v;"
    code = """
        import attnproto, sys
        from attnproto.compiler.targets.nvptx import PtxFrontEnd
        from attnproto.device.library import describe
        for mode in ({"engine": "lockstep"}, {"engine": "fibers"}, {"validate": True}):
            device = attnproto.open_device("cpu", **mode)
            print(device.library(sys.argv[1]).pipeline("k"))
        print(PtxFrontEnd("sm_90").compile(sys.argv[1], describe("k", {}, (), {})).code.decode())
    """
    done = python(code, kernel(body))
    assert (done.returncode, done.stdout.count("Pipeline('k'")) == (0, 3), done.stderr[-500:]
    assert ".entry" in done.stdout


@pytest.mark.parametrize(
    "declared",
    [
        "constant int c[1 << 29] = {1};\n",
        "struct S { int a[2]; int b[1 << 28]; };\nconstant S c_ = {{1}, {2}};\n#define c c_.b\n",
        "constant int c_[4][1 << 27] = {{1}};\n#define c c_[x[1] & 3]\n",
    ],
    ids=["an array", "a struct", "two dimensions"],
)
def test_constants_of_no_reasonable_size_are_refused(declared):
    text = kernel("x[i] = c[x[i]];", declared)
    device = attnproto.open_device("cpu", engine="fibers")
    with pytest.raises(KernelCompileError, match=r"found constants of \d{10} bytes"):
        device.library(text).pipeline("k")


@pytest.mark.parametrize("mode", [{"engine": "fibers", "validate": False}, {"validate": True}])
def test_local_variables_that_fit_no_stack_are_refused(mode):
    # Under validation they are filled with NaNs, which clang would write out one by one.
    text = kernel("int a[1 << 28]; a[x[i]] = 1; x[i] = a[3];")
    with pytest.raises(KernelCompileError, match="found local variables of 1073741824 bytes"):
        attnproto.open_device("cpu", **mode).library(text).pipeline("k")


@pytest.mark.parametrize("size", ["n[0]", "4 * n[0] + 4"])
@pytest.mark.parametrize("validate", [False, True])
def test_a_local_array_of_a_size_that_nobody_knows_is_refused(validate, size):
    # Taken, it would lie in the stacks of other lanes.
    text = f"""{HEAD}kernel void k(device float* x [[buffer(0)]], device int* n [[buffer(1)]]) {{
      float* q = (float*)__builtin_alloca({size}); q[n[1]] = 2; x[0] = q[n[2]]; }}"""
    device = attnproto.open_device("cpu", validate=validate)
    with pytest.raises(KernelCompileError, match="a local array whose size is known when it runs"):
        device.library(text).pipeline("k")
