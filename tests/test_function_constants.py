"""Function constants of vector types: from the host to the kernel, archives and messages."""

from __future__ import annotations

import re

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto import KernelCompileError
from attnproto.compiler.targets.nvptx import PtxFrontEnd
from attnproto.device import archive
from attnproto.device.library import describe
from attnproto.device.pipelines import KernelSource, pipeline
from attnproto.measure.static_counts import clang_counts, with_constants
from support import metallibs
from support.metallibs import Entry
from support.msl import HEAD, launch_threadgroup, read_text

TEXT = read_text("function_constants.metal")
REALS = {
    0: [1.5, -2, 0.1, float("inf")],
    "h": np.array([0.1, 7], np.float16),
    2: np.array([1.01171875, 2, 3, 4], ml_dtypes.bfloat16),
    3: (0.25, 1, -8),
    5: [False, False, False, False],
}
WHOLES = {
    "u": (1, 2, 2**32 - 1),
    5: [True, False, False, True],
    6: np.array([-1, -2, -3]),
    "l": [1, 2, 3, -(2**63)],
    8: 2**64 - 1,
    9: np.array([0, 255], np.uint8),
    10: np.array([False, True]),
    11: np.True_,
    12: 2**32 - 1,
}


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def launch(device, library, kernel, constants, width, dtype, threads):
    out = np.zeros((threads, width), dtype)
    launch_threadgroup(device, library, kernel, out, threads=threads, constants=constants)
    return out


@pytest.mark.parametrize("threads", [1, 35])
def test_vectors_of_reals_reach_the_kernel(device, library, threads):
    out = launch(device, library, "reals", REALS, 14, np.float32, threads)
    f = np.array(REALS[0], np.float32)
    for i, row in enumerate(out):
        small = [np.float16(0.1), 7, 1.015625, [1.015625, 2, 3, 4][i & 3]]
        expected = [*f, f[i & 3], *small, 0.5, -16, 1.5, -4, 1]
        np.testing.assert_array_equal(row, np.array(expected, np.float32))


def test_what_is_derived_from_an_optional_vector_knows_whether_it_is_given(device, library):
    without = {key: value for key, value in REALS.items() if key != 3}
    out = launch(device, library, "reals", without, 14, np.float32, 1)
    assert out[0, 9:].tolist() == [-1, -1, 1.5, -4, 0]


@pytest.mark.parametrize("threads", [1, 35])
def test_vectors_of_whole_numbers_and_truths_reach_the_kernel(device, library, threads):
    out = launch(device, library, "wholes", WHOLES, 16, np.int64, threads)
    for i, row in enumerate(out.tolist()):
        u = WHOLES["u"]
        assert row == [
            1, 2**32 - 1, u[i % 3], 1, 0, 0, 1, -2, -(2**63), -1, 255, 0, 1, 1, 2**32 - 1, 1
        ]  # fmt: skip


def test_other_elements_are_other_code(device, library):
    again = launch(device, library, "wholes", WHOLES | {6: [4, 5, 6]}, 16, np.int64, 1)
    assert again[0, 7] == 5
    source = KernelSource("wholes", TEXT)
    named = {library_name: WHOLES[key] for key, library_name in NAMES.items()}
    first = pipeline(device, source, named)
    assert pipeline(device, source, named | {"s": [-1, -2, -3]}) is first
    assert pipeline(device, source, named | {"s": [-1, -2, 3]}) is not first


NAMES = {
    "u": "u",
    5: "truths",
    6: "s",
    "l": "l",
    8: "ul",
    9: "bytes",
    10: "two",
    11: "one",
    12: "n",
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u": 1}, "'u' (uint3) found 1, needs 3 elements; pass a list of as many numbers"),
        ({"u": [1, 2]}, "'u' (uint3) found [1, 2], needs 3 elements"),
        ({"u": [1, 2, 3, 4]}, "'u' (uint3) found [1, 2, 3, 4], needs 3 elements"),
        ({"u": [1, 2, -1]}, "'u' (uint3) found -1, needs a whole number from 0 to 4294967295"),
        ({6: [0.5, 1, 2]}, "'s' (short3) found 0.5, needs a whole number from -32768 to 32767"),
        ({5: [0, 1, 2, 0]}, "'truths' (bool4) found 2, needs True or False"),
        ({10: [0, 2]}, "'two' (flags) found 2, needs True or False"),
        ({11: 2}, "'one' (flag) found 2, needs True or False"),
        ({11: [True]}, "'one' (flag) found [True], needs one value; pass a number"),
        ({12: -1}, "'n' (natural) found -1, needs a whole number from 0 to 4294967295"),
        ({8: -1}, "'ul' (ulong) found -1, needs a whole number from 0 to 18446744073709551615"),
        ({8: 2**64}, "found 18446744073709551616 for function constant 8, needs a number of 64"),
        ({"u": []}, "found [] for function constant 'u', needs a bool or a number, or a list"),
        ({"u": "abc"}, "found 'abc' for function constant 'u', needs a bool or a number, or"),
        ({"u": np.zeros((3, 1))}, "found [[0.0], [0.0], [0.0]] for function constant 'u', needs"),
        ({"u": None}, "found None for function constant 'u', needs a bool or a number, or a list"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(library, change, message):
    with pytest.raises(KernelCompileError, match=re.escape(message)):
        library.pipeline("wholes", WHOLES | change)


@pytest.mark.parametrize("declared", ["packed_float3 c", "P c", "float2x2 c", "int c[3]"])
def test_a_constant_that_no_host_can_set_is_refused(device, declared):
    text = f"""#include <metal_stdlib>
    using namespace metal;
    struct P {{ float x; }};
    constant {declared} [[function_constant(0)]];
    kernel void k(device float* o [[buffer(0)]]) {{ o[0] = *(constant float*)&c; }}"""
    with pytest.raises(KernelCompileError, match="needs a scalar or a vector; use"):
        device.library(text).pipeline("k", {0: [1, 2, 3]})


def test_code_for_nvidia_has_the_elements():
    code = PtxFrontEnd("sm_90").compile(TEXT, describe("reals", REALS)).code.decode()
    stored = {int(word) for word in re.findall(r"st\.global\.b32\s+\[[^]]*\], (-?\d+);", code)}
    assert set(np.float32([1.5, -2, 7, 0.5, -16, -4, 1]).view(np.int32).tolist()) <= stored


def test_constants_written_into_a_text_give_the_code_of_constants_given():
    written = with_constants(TEXT, {0: [1.5, -2, 0.1, 4]})
    assert "constant float4 f = float4(1.5, -2, 0.1, 4);" in written
    counted = clang_counts(written, "reals", {k: v for k, v in REALS.items() if k != 0})
    assert counted == clang_counts(TEXT, "reals", REALS | {0: [1.5, -2, 0.1, 4]})


def test_an_archive_holds_a_pipeline_by_its_elements(device, library, tmp_path):
    builder = archive.build(device)
    builder.add(library, "wholes", WHOLES)
    saved = builder.save(tmp_path / "kernels.attnproto")
    known = saved.manifest["pipelines"][0]["constants"]
    assert known["s"] == [-1, -2, -3]
    assert known["two"] == [False, True]
    assert known["ul"] == 2**64 - 1
    kept = library.pipeline("wholes", WHOLES, archive=saved, fail_on_miss=True)
    out = np.zeros((1, 16), np.int64)
    device.run(kept, threadgroups=1, threads=1, buffers={0: out})
    assert out[0, 7:9].tolist() == [-2, -(2**63)]
    changed = WHOLES | {6: [-1, -2, 3]}
    with pytest.raises(KernelCompileError, match="archive"):
        library.pipeline("wholes", changed, archive=saved, fail_on_miss=True)


def test_a_kernel_that_apple_compiled_takes_vectors_too(device):
    code = metallibs.bitcode(metallibs.kernel("tint"))
    library = device.metallib(metallibs.metallib({"tint": Entry(code, {"colour": (2, 5)})}))
    out = np.zeros(3, np.float32)
    launch_threadgroup(device, library, "tint", out, threads=3, constants={"colour": [1, 2.5, -3]})
    assert out.tolist() == [2, 5, -6]
    with pytest.raises(KernelCompileError, match=r"'colour' \(float3\) found 1, needs 3 elements"):
        library.pipeline("tint", {2: 1})


# Declarations of c from n = 2, b = true and v, and an expression of it that is 3.
DERIVED = {
    "a value": ("constant int c = n + 1;", "c"),
    "braces": ("constant int c{n + 1};", "c"),
    "parentheses": ("constant int c(n + 1);", "c"),
    "several at once": ("constant int c = n + 1, d{n}, e(n);", "c + d - e"),
    "an array": ("constant int c[2] = {n, n + 1};", "c[1]"),
    "a vector": ("constant float3 c = v.xyz * 2;", "c.x"),
    "a vector of several": ("constant float3 c(1, 2, n + 1);", "c.z"),
    "a class": ("struct P { int x; }; constant P c = {n + 1};", "c.x"),
    "a function's": ("int f(int x) { return x + 1; } constant int c = f(n);", "c"),
    "of a namespace": ("namespace q { constant int c = n + 1; }", "q::c"),
    "of one another": ("constant int d = n; constant int e = d + 1; constant bool c = e > 2;",
                       "c ? e : 0"),
    "of one in a namespace that is asked for": (
        "namespace q { constant int m [[function_constant(5)]]; }"
        "constant bool has = is_function_constant_defined(q::m);"
        "constant int c = has ? q::m : n + 1;", "c"),
    "beside a parameter of its name": ("constant int c = n; int f(int c) { return c; }", "f(3)"),
    "beside a variable of its name": (
        "constant int c = n; int f() { int c = 3; return c; }", "f() + c - n"),
    "beside a member of its name": (
        "constant int c = n; struct S { int c; int f() { return c; } };", "S{3}.f() * (c - 1)"),
    "beside a pointer of its name": (
        "constant int c = n; int f(thread int* c) { return *c; } int g() { int x = 3; "
        "thread int* c = &x; return f(c); }", "g() * c / n"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DERIVED)
def test_a_constant_is_computed_from_another(device, kind):
    declared, three = DERIVED[kind]
    text = f"""#include <metal_stdlib>
    using namespace metal;
    constant int n [[function_constant(0)]], unused [[function_constant(1)]];
    constant float4 v [[function_constant(2)]];
    {declared}
    kernel void k(device float* o [[buffer(0)]]) {{ o[0] = {three}; }}"""
    out = np.zeros(1, np.float32)
    constants = {0: 2, 2: [1.5, 2, 3, 4]}
    launch_threadgroup(device, device.library(text), "k", out, constants=constants)
    assert out[0] == 3
    assert not attnproto.lint(text)


@pytest.mark.parametrize(
    ("second", "column"),
    [
        ("constant float b [[function_constant(3)]];", 16),
        ("constant int b [[function_constant(0x3)]], c [[function_constant(4)]];", 14),
        ("enum { three = 3 }; constant int b [[function_constant(three)]];", 34),
        ("namespace n { constant int b [[function_constant(sizeof(int) - 1)]]; }", 28),
    ],
)
def test_two_function_constants_of_one_index_are_refused(second, column):
    first = "constant int a [[function_constant(3)]];"
    text = f"{HEAD}{first}\n{second}\nkernel void k(device float* o) {{ o[0] = a; }}"
    message = rf"line 4, column {column}: found function constant 'b' numbered as 'a' is; renumber"
    with pytest.raises(KernelCompileError, match=message):
        attnproto.open_device("cpu").library(text).functions()
    assert [one.rule for one in attnproto.lint(text)] == ["compile"]


def test_function_constants_whose_indices_clang_works_out_are_told_apart():
    text = (
        f"{HEAD}enum {{ three = 3 }}; constant int a [[function_constant(three)]];"
        "constant int b [[function_constant(three + 1)]]; constant int c [[function_constant(5)]];"
        "kernel void k(device int* o [[buffer(0)]]) { o[0] = 100 * a + 10 * b + c; }"
    )
    device, out = attnproto.open_device("cpu"), np.zeros(1, np.int32)
    pipeline = device.library(text).pipeline("k", {3: 1, 4: 2, 5: 3})
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: out})
    assert out[0] == 123
