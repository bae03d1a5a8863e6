"""``attnproto compile``: what it shows of a kernel, and its sentences."""

from __future__ import annotations

import llvmlite.binding as llvm
import pytest
from attnproto import cli
from attnproto.commands import compile as command
from attnproto.commands.compile import EMITS
from attnproto.errors import DeviceUnavailable
from attnproto.measure import static_counts

TEXT = """#include <metal_stdlib>
#include "part.h"
using namespace metal;
constant int count [[function_constant(0)]];
constant bool twice [[function_constant(1)]];
kernel void scale(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  x[i] = part(exp2(x[i])) * count * (twice ? 2 : 1) + simd_sum(x[i]);
}
"""
OTHER = "kernel void other(device float* x [[buffer(0)]]) { x[0] = 1; }\n"
APART = """kernel void apart(device int* x [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i & 1) metal::threadgroup_barrier(metal::mem_flags::mem_none);
  x[i] = int(i);
}
"""
GIVEN = ("--constant", "0=77", "--constant", "twice=true")


@pytest.fixture
def kernel(tmp_path):
    (tmp_path / "part.h").write_text("#pragma once\ninline float part(float x) { return x + 5; }\n")
    file = tmp_path / "scale.metal"
    file.write_text(TEXT)
    return file


def shown(capsys, *words):
    assert cli.guarded(cli.app, ["compile", *map(str, words)]) == 0
    return capsys.readouterr().out


def refused(capsys, *words):
    assert cli.guarded(cli.app, ["compile", *map(str, words)]) == cli.MISUSED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_ir_is_that_of_one_lane_with_its_constants(capsys, kernel):
    text = shown(capsys, kernel, *GIVEN)
    llvm.parse_assembly(text).verify()
    assert " void @attn_entry_0(ptr " in text
    assert "@llvm.exp2.f32(" in text
    assert "@attn_reduce_f32(" in text
    assert "7.700000e+01" in text


def test_vector_ir_is_that_of_a_simdgroup(capsys, kernel):
    text = shown(capsys, kernel, *GIVEN, "--emit", "vector-ir")
    llvm.parse_assembly(text).verify()
    assert "define void @attn_entry_0_simdgroup(" in text
    assert "<32 x float>" in text


def test_asm_is_for_the_processor_that_is_named(capsys, kernel):
    target = "aarch64-unknown-linux-gnu:apple-m1"
    text = shown(capsys, kernel, *GIVEN, "--emit", "asm", "--target", target)
    assert "attn_entry_0_simdgroup:" in text
    assert "fmla" in text


def test_ptx_is_for_the_gpu_that_is_named(capsys, kernel):
    assert ".target sm_90" in shown(capsys, kernel, *GIVEN, "--emit", "ptx")
    text = shown(capsys, kernel, *GIVEN, "--emit", "ptx", "--target", "sm_80")
    assert ".target sm_80" in text
    assert ".entry attn_launch_0" in text


def test_registers_and_instructions_are_counted_where_the_tools_are(capsys, kernel):
    try:
        static_counts.nvidia_tool("ptxas"), static_counts.nvidia_tool("nvdisasm")
    except DeviceUnavailable:
        pytest.skip("needs ptxas and nvdisasm")
    lines = shown(capsys, kernel, *GIVEN, "--emit", "sass-registers").splitlines()
    counts = dict(line.split(" ", 1) for line in lines)
    assert int(counts["ptx_registers"]) > 0
    assert int(counts["sass_instructions"]) > 0


def test_without_the_tools_a_sentence_says_how_to_get_them(capsys, kernel, monkeypatch):
    monkeypatch.setattr(static_counts.shutil, "which", lambda *_: None)
    monkeypatch.setattr(static_counts.importlib.util, "find_spec", lambda *_: None)
    static_counts.nvidia_tool.cache_clear()
    said = refused(capsys, kernel, *GIVEN, "--emit", "sass-registers")
    assert "found no ptxas" in said
    assert "attnproto[sass]" in said
    static_counts.nvidia_tool.cache_clear()


def test_passes_are_shown_before_what_is_emitted(capsys, kernel):
    text = shown(
        capsys, kernel, *GIVEN, "--emit", "asm",
        "--print-after", "optimize", "--print-after", "expand_exp2",
    )  # fmt: skip
    first, second = text.index("; scale after optimize"), text.index("; scale after expand_exp2")
    assert first < second < text.index("attn_entry_0_simdgroup:")
    assert "@attn_exp2(" in text[second:]
    assert "@attn_exp2(" not in text[first:second]


def test_a_later_pass_may_be_shown_beside_ir(capsys, kernel):
    text = shown(capsys, kernel, *GIVEN, "--print-after", "expand_exp2")
    after = text.index("; ModuleID", text.index("@attn_exp2(") + 1)
    assert "@attn_exp2(" not in text[after:]


@pytest.mark.parametrize(("emit", "name"), [("asm", "specialize"), ("ptx", "select_products")])
def test_the_outcome_of_the_last_pass_is_shown_in_place_of_the_rest(capsys, kernel, emit, name):
    text = shown(capsys, kernel, *GIVEN, "--emit", emit, "--stop-after", name)
    assert text.startswith("; ModuleID")
    assert "define " in text


def test_a_kernel_on_fibers_says_so(capsys, tmp_path):
    file = tmp_path / "apart.metal"
    file.write_text("#include <metal_stdlib>\n" + APART)
    assert shown(capsys, file, "--emit", "asm").startswith("# on fibers: a threadgroup_barrier")
    said = refused(capsys, file, "--emit", "vector-ir")
    assert "found a threadgroup_barrier that only some lanes may reach in apart" in said
    assert "attn_simdgroup_barrier" in shown(capsys, file, "--stop-after", "number_rendezvous")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--kernel", "none"], "found no kernel 'none' in the text; it has scale"),
        (["--emit", "sass"], f"found --emit sass, needs one of {', '.join(EMITS)}"),
        (["--print-after", "dce"], "found no pass 'dce' for this target, needs one of specialize,"),
        (["--stop-after", "dce"], "found no pass 'dce' for this target, needs one of specialize,"),
        (["--stop-after", "widen_loads"], "found no pass 'widen_loads' for this target"),
        (["--emit", "ptx", "--print-after", "vectorize"], "found no pass 'vectorize'"),
        (["--print-after", "count_operations"], "not going through pass 'count_operations'"),
        (["--constant", "9=1"], "found function constant 9, which the text does not declare"),
        (["--constant", "none=1"], "found function constant 'none', which the text does not"),
        (["--constant", "0"], "found --constant 0, needs INDEX=VALUE"),
        (["--constant", "0=many"], "found --constant 0=many, needs INDEX=VALUE"),
        (["--constant", "0=1,"], "found --constant 0=1,, needs INDEX=VALUE"),
        (["--constant", "0=1"], "found two values for constant 0"),
        (["--constant", "count=1"], "found two values for function constant 'count'"),
        (["--target", "riscv"], "found --target riscv, needs host"),
        (["--target", "sm_90", "--emit", "asm"], "found --emit asm with --target sm_90"),
        (["--target", "host", "--emit", "ptx"], "found --emit ptx with --target host"),
        (["--target", "sm_80", "--emit", "sass-registers"], "needs sm_90 for sass-registers"),
    ],
)
def test_a_mistake_gets_one_sentence(capsys, kernel, words, sentence):
    assert sentence in refused(capsys, kernel, *GIVEN, *words)


def test_a_vector_is_given_by_its_elements(capsys, tmp_path):
    file = tmp_path / "put.metal"
    file.write_text(
        "constant float2 place [[function_constant(0)]];\n"
        "kernel void put(device float* x [[buffer(0)]]) { x[0] = place.x; x[1] = place.y; }\n"
    )
    code = shown(capsys, file, "--constant", "place=0.5, -3", "--stop-after", "specialize")
    assert "@place = internal addrspace(2) constant <2 x float> <float 0x3FE0" in code
    assert "[1.0, 2.0, 3.0], needs 2 elements" in refused(capsys, file, "--constant", "0=1.,2.,3.")


def test_a_file_that_cannot_be_read_gets_one_sentence(capsys, tmp_path):
    assert "needs a text file" in refused(capsys, tmp_path / "none.metal")
    (tmp_path / "binary.metal").write_bytes(b"\xff\xfe\x80")
    assert "needs a text file" in refused(capsys, tmp_path / "binary.metal")
    (tmp_path / "lost.metal").write_text('#include "lost.h"\n' + OTHER)
    assert "found no file" in refused(capsys, tmp_path / "lost.metal")


def test_of_several_kernels_one_must_be_named(capsys, kernel):
    kernel.write_text(TEXT + OTHER)
    said = refused(capsys, kernel, *GIVEN)
    assert "found 2 kernels in the file, needs one; pass --kernel, one of scale, other" in said
    assert "1.000000e+00" in shown(capsys, kernel, *GIVEN, "--kernel", "other")


def test_everything_that_can_be_emitted_is_in_the_help(capsys):
    cli.guarded(cli.app, ["compile", "--help"])
    said = capsys.readouterr().out
    assert all(emit in said for emit in EMITS)
    assert command.EMITS is EMITS
