"""Functions put together: linked, stitched, called through a table, or left a call."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from attnproto import Call, DispatchError, Input, KernelCompileError
from attnproto.compiler.targets.host import NativeFrontEnd

PARTS = """
#include <metal_stdlib>
using namespace metal;
constant float kShift [[function_constant(3)]];
[[stitchable]] float twice(float x) { return 2 * x; }
[[stitchable]] float add(float x, float y) { return x + y; }
[[stitchable]] int whole(float x) { return int(x); }
[[stitchable]] float2 pair(float x, float y) { return float2(x, y); }
[[visible]] float shift(float x) { return x + kShift; }
"""
CALLER = """
#include <metal_stdlib>
using namespace metal;
constant bool kOnce [[function_constant(0)]];
[[visible]] float modify(float a, float b);
kernel void apply(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] = modify(y[i], 100.0f);
  if (!kOnce) y[i] = modify(y[i], 1000.0f);
}
"""
TABLE = """
#include <metal_stdlib>
using namespace metal;
using modification = float2(float2, int);
[[visible]] float2 twice(float2 x, int k) { return 2 * x + k; }
[[visible]] float2 swap(float2 x, int) { return x.yx; }
[[visible]] float2 total(float2 x, int) { return simd_sum(x); }
[[visible]] float2 unused(float2 x, int) { return x; }
kernel void apply(device float2* y [[buffer(0)]], constant uint& which [[buffer(1)]],
                  visible_function_table<modification> functions [[buffer(2)]],
                  uint i [[thread_position_in_grid]]) {
  y[i] = functions[which % functions.size()](y[i], 3);
}
"""
SUM_THEN_DOUBLE = Call("add", Call("twice", Input(0)), Input(1))


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def parts(device):
    return device.library(PARTS)


def run(device, pipeline, n=32, **buffers):
    y = np.arange(n, dtype=np.float32)
    bound = {0: y, **{int(k[1:]): v for k, v in buffers.items()}}
    device.run(pipeline, threadgroups=1, threads=32, buffers=bound)
    return y


def test_a_kernel_calls_a_stitched_function_that_its_text_only_declares(device, parts):
    stitched = parts.stitch({"modify": SUM_THEN_DOUBLE})
    assert stitched.functions() == ["modify"]
    pipeline = device.library(CALLER).pipeline("apply", {0: True}, private={"modify": stitched})
    np.testing.assert_array_equal(run(device, pipeline), 2 * np.arange(32) + 100)


def test_function_constants_specialise_the_caller_of_a_linked_function(device, parts):
    stitched = parts.stitch({"modify": SUM_THEN_DOUBLE})
    pipeline = device.library(CALLER).pipeline("apply", {0: False}, private={"modify": stitched})
    np.testing.assert_array_equal(run(device, pipeline), 4 * np.arange(32) + 1200)


def test_a_call_used_twice_in_a_graph_is_made_once(device, parts):
    once = Call("twice", Input(0))
    graph = Call("add", Call("add", once, once), Input(1))
    pipeline = device.library(CALLER).pipeline(
        "apply", {0: True}, private={"modify": parts.stitch({"modify": graph})}
    )
    np.testing.assert_array_equal(run(device, pipeline), 4 * np.arange(32) + 100)


def test_a_linked_function_reads_the_function_constants_of_its_pipeline(device):
    text = "[[visible]] float shift(float x);\n" + CALLER.replace(
        "[[visible]] float modify(float a, float b);", ""
    ).replace("modify(y[i], 100.0f)", "shift(y[i])").replace("modify(y[i], 1000.0f)", "y[i]")
    # Index 3 is a constant of the linked text alone; the kernel's text does not know it.
    text = text.replace(
        "kernel void", "constant float kShift [[function_constant(3)]];\nkernel void"
    )
    pipeline = device.library(text).pipeline(
        "apply", {0: True, 3: 7.0}, private={"shift": device.library(PARTS)}
    )
    np.testing.assert_array_equal(run(device, pipeline), np.arange(32) + 7)


@pytest.mark.parametrize("inline", [True, False])
def test_a_stitched_function_is_inlined_only_where_asked(device, parts, inline):
    stitched = parts.stitch({"modify": SUM_THEN_DOUBLE}, inline=inline)
    library = device.library(CALLER)
    pipeline = library.pipeline("apply", {0: True}, private={"modify": stitched})
    np.testing.assert_array_equal(run(device, pipeline), 2 * np.arange(32) + 100)
    described = attnproto.device.library.describe("apply", {0: True}, private={"modify": stitched})
    code = NativeFrontEnd().optimised_ir(CALLER, described)
    assert ("call" in code and "modifyff(" in code) is not inline


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (Call("twice", Call("whole", Input(0))), "int as argument 0 of twice"),
        (Call("twice", Call("pair", Input(0), Input(1))), "float2 as argument 0 of twice"),
        (Call("add", Input(0)), "1 arguments for add"),
        (Call("nobody", Input(0)), "no visible function nobody"),
        (Call("twice", Input(1)), "no use of input 0"),
    ],
)
def test_a_graph_that_metal_leaves_undefined_is_refused(parts, graph, words):
    with pytest.raises(KernelCompileError, match=words):
        parts.stitch({"modify": graph})


def test_a_missing_linked_function_is_named(device):
    with pytest.raises(KernelCompileError, match="no function 'modify', which apply declares"):
        device.library(CALLER).pipeline("apply", {0: True})


def test_a_linked_function_of_other_types_is_refused(device, parts):
    stitched = parts.stitch({"modify": Call("twice", Input(0))})
    with pytest.raises(KernelCompileError, match="'modify' linked to apply with other types"):
        device.library(CALLER).pipeline("apply", {0: True}, private={"modify": stitched})


def test_a_function_that_the_linked_library_lacks_is_refused(device, parts):
    with pytest.raises(KernelCompileError, match="no visible function 'modify' in the linked"):
        device.library(CALLER).pipeline("apply", {0: True}, private={"modify": parts})


def test_threadgroup_variables_of_a_linked_function_are_refused(device):
    text = CALLER.replace("[[visible]] float modify(float a, float b);", "").replace(
        "kernel void",
        "[[visible]] float modify(float a, float b) { threadgroup float t[4]; t[0] = a; "
        "return t[0] + b; }\nkernel void",
    )
    with pytest.raises(KernelCompileError, match="threadgroup variables in 'modify'"):
        device.library(CALLER).pipeline(
            "apply", {0: True}, private={"modify": device.library(text)}
        )


def test_a_visible_function_is_no_kernel(parts):
    with pytest.raises(KernelCompileError, match="'twice', which is no kernel"):
        parts.pipeline("twice")


def test_functions_are_called_through_a_table_in_the_order_of_their_places(device):
    pipeline = device.library(TABLE).pipeline("apply", linked=["twice", "swap", "total"])
    table = pipeline.function_table(["swap", "twice", "total"])
    x = np.arange(64, dtype=np.float32)
    got = [run(device, pipeline, 64, b1=np.uint32(w), b2=table) for w in range(4)]
    np.testing.assert_array_equal(got[0], x.reshape(-1, 2)[:, ::-1].ravel())
    np.testing.assert_array_equal(got[1], 2 * x + 3)
    # Sums of the even and of the odd numbers below 64: 32 * 31 and 32 * 32.
    np.testing.assert_array_equal(got[2], np.tile([992, 1024], 32))
    np.testing.assert_array_equal(got[3], got[0])  # 3 % size() is 0


def test_lanes_may_call_different_functions_of_a_table(device):
    text = TABLE.replace("functions[which % functions.size()]", "functions[i % 2]")
    pipeline = device.library(text).pipeline("apply", linked=["twice", "swap"])
    table = pipeline.function_table(["swap", "twice"])
    got = run(device, pipeline, 64, b1=np.uint32(0), b2=table).reshape(-1, 2)
    x = np.arange(64, dtype=np.float32).reshape(-1, 2)
    np.testing.assert_array_equal(got[::2], x[::2, ::-1])
    np.testing.assert_array_equal(got[1::2], 2 * x[1::2] + 3)


def test_a_table_takes_only_linked_functions_of_its_own_pipeline(device):
    library = device.library(TABLE)
    pipeline = library.pipeline("apply", linked=["twice"])
    with pytest.raises(KernelCompileError, match="found swap which is not linked"):
        pipeline.function_table(["swap"])
    with pytest.raises(KernelCompileError, match="table of 0 functions"):
        pipeline.function_table([])
    with pytest.raises(KernelCompileError, match="no visible function 'nobody'"):
        library.pipeline("apply", linked=["nobody"])
    other = library.pipeline("apply", linked=["twice", "swap"])
    with pytest.raises(DispatchError, match="table of another pipeline bound to buffer 2"):
        run(device, pipeline, 64, b1=np.uint32(0), b2=other.function_table(["twice"]))
    with pytest.raises(DispatchError, match=r"no function table bound to buffer 2 \(functions\)"):
        run(device, pipeline, 64, b1=np.uint32(0))


@pytest.mark.parametrize("mark", ["[[clang::noinline]]", "__attribute__((noinline))"])
def test_a_noinline_function_stays_a_call_and_may_meet_other_lanes(device, mark):
    text = f"""
    #include <metal_stdlib>
    using namespace metal;
    {mark} float away(float x, int k) {{ return simd_sum(x) + k; }}
    kernel void apply(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {{
      y[i] = away(y[i], int(i));
    }}
    """
    pipeline = device.library(text).pipeline("apply")
    np.testing.assert_array_equal(run(device, pipeline), 496 + np.arange(32))
    described = attnproto.device.library.describe("apply")
    code = NativeFrontEnd().optimised_ir(text, described)
    assert "@_Z4awayfi(" in code


def test_a_noinline_function_with_threadgroup_variables_is_inlined_and_right(device):
    text = """
    #include <metal_stdlib>
    using namespace metal;
    __attribute__((noinline)) float away(float x, uint i) {
      threadgroup float shared[32];
      shared[i] = x;
      threadgroup_barrier(mem_flags::mem_threadgroup);
      return shared[31 - i];
    }
    kernel void apply(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
      y[i] = away(y[i], i);
    }
    """
    pipeline = device.library(text).pipeline("apply")
    np.testing.assert_array_equal(run(device, pipeline), 31 - np.arange(32))
    described = attnproto.device.library.describe("apply")
    code = NativeFrontEnd().optimised_ir(text, described)
    assert "@_Z4away" not in code


def test_two_visible_functions_of_one_name_are_refused(device):
    text = "[[visible]] float f(float x) { return x; }\n[[visible]] float f(int x) { return x; }"
    with pytest.raises(KernelCompileError, match="2 functions named 'f'"):
        device.library(text)


@pytest.mark.parametrize(
    "pragma", ["#pragma METAL fp contract(off)", "#pragma STDC FP_CONTRACT OFF"]
)
def test_a_pragma_keeps_multiplication_and_addition_apart(device, pragma):
    text = """
    kernel void apply(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
      y[i] = y[i] * y[i] - 1.0f;
    }
    """
    x = 1 + np.arange(1, 33, dtype=np.float32) * np.float32(2**-13)
    for head, expected in (("", np.float64(x) * x - 1), (pragma, x * x - np.float32(1))):
        y = x.copy()
        pipeline = device.library(f"{head}\n{text}").pipeline("apply")
        device.run(pipeline, threadgroups=1, threads=32, buffers={0: y})
        np.testing.assert_array_equal(y, expected.astype(np.float32))
    # The square needs 26 bits, so the two are not the same.
    assert (np.float32(np.float64(x) * x - 1) != x * x - np.float32(1)).any()
