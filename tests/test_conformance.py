"""Other projects' kernels: the part of `make conformance` that every run of the tests can afford.

A few cases of each project agree with FP64 and pass validation, or are rightly reported by it; one
kernel of a few texts goes to PTX. docs/conformance.md has the whole.
"""

from __future__ import annotations

import attnproto
import pytest
from attnproto.compiler.frontend.program import library_head
from attnproto.compiler.target import host_target
from conformance import report
from conformance.case import Case, Finding
from conformance.compilation import Compiled, CompiledText, compile_kernel, open_text
from conformance.execution import AGREES, CLEAN, EXPECTED, NOT_RUN, Executed, run_case
from conformance.projects import PROJECTS
from conformance.texts import Text
from support import third_party

PACKAGES = {
    "ggml": third_party.GGML,
    "candle": third_party.CANDLE,
    "mistral.rs": third_party.MISTRAL,
    "tinygrad": third_party.TINYGRAD,
    "MLX": third_party.MLX,
    "carmen": third_party.CARMEN,
    "late-interaction": third_party.MAXSIM,
}
# What is quick to compile, for both devices.
SOME = {
    "ggml": ("kernel_mul_mv_q4_0_f32, 29 rows", "kernel_soft_max_f32", "kernel_rms_norm_mul_f32_4",
             "kernel_rope_neox_f16", "kernel_get_rows_q4_K",
             "kernel_flash_attn_ext_vec_f16_dk64_dv64, simdgroups: 1"),
    "candle": ("gelu_erf_bf16", "bsub_f32_strided", "where_u8_f32", "asort_desc_f16"),
    "mistral.rs": ("kv_scale_update_float", "copy_blocks_float"),
    "tinygrad": ("softmax", "matmul", "half matmul", "convolution", "bfloat"),
    "MLX": ("unary_v<ErfInv>", "binary_g_nd2<LogAddExp>", "contiguous_scan<False, True>"),
    "carmen": ("matmul_float", "masked_softmax_float"),
}  # fmt: skip
TEXTS = {
    "ggml": "unary.metal",
    "candle": "quantized.metal",
    "MLX": "scan.h",
    "late-interaction": "maxsim",
}


@pytest.fixture(scope="module")
def devices():
    return tuple(attnproto.open_device("cpu", validate=checks) for checks in (False, True))


@pytest.mark.parametrize(
    ("project", "name"),
    [(project, name) for project, names in SOME.items() for name in names],
    ids=lambda value: value.replace(" ", "-"),
)
def test_a_kernel_agrees_with_fp64_and_is_clean_under_validation(devices, project, name):
    PACKAGES[project].need()
    (case,) = (one for one in PROJECTS[project].cases() if one.name == name)
    executed = run_case(case, *devices)
    assert executed.passed, executed
    assert executed.validated == (EXPECTED if case.finding else CLEAN)


@pytest.mark.parametrize("project", TEXTS)
def test_a_kernel_of_a_text_compiles_for_both_targets_without_a_lint_error(project):
    PACKAGES[project].need()
    (text,) = (one for one in PROJECTS[project].texts() if one.name == TEXTS[project])
    # The first kernel only: more take their time.
    opened = open_text(text, share=2**32)
    assert opened.outcome.kernels > 3
    assert opened.outcome.lints == []
    (kernel,) = opened.kernels
    compiled = compile_kernel(text, kernel, opened.constants)
    assert (compiled.cpu, compiled.ptx) == ("", "")


# Texts whose kernels are overloaded, nested in classes or made by the longest macros.
HEADS = (
    "steel/gemm/kernels/steel_gemm_masked.h",
    "steel/attn/kernels/steel_attention.h",
    "indexing/scatter.h",
    "quantized.h",
)


@pytest.mark.parametrize("name", HEADS)
def test_a_text_of_mlx_is_taken(name):
    third_party.MLX.need()
    (text,) = (one for one in PROJECTS["MLX"].texts() if one.name == name)
    assert len(library_head(text.text, host_target()).instances) >= 3


def test_a_kernel_too_large_for_a_pipeline_has_compiled():
    large = "kernel void k(device float* o [[buffer(0)]], uint i [[thread_position_in_grid]]) {\n"
    large += "  threadgroup float t[13440]; t[i] = o[i]; o[i] = t[13439 - i];\n}\n"
    opened = open_text(Text("p", "t", large, always=("k",)), share=1)
    assert opened.kernels == ["k"]
    compiled = compile_kernel(Text("p", "t", large), "k", {})
    assert (compiled.cpu, compiled.ptx, compiled.engine) == ("", "", "lockstep")
    assert compiled.limit == "53,760 of 32,768 bytes of threadgroup memory"
    page = report.tables([CompiledText("p", "t", 1, compiled=[compiled])], [])
    assert "| p | 1 of 1 | 1 | 1 | 1 | 1 | 1 | 0 | 0 |" in page
    assert "| p | t | k | 53,760 of 32,768 bytes of threadgroup memory |" in page
    broken = compile_kernel(Text("p", "t", large.replace("13440", "13440 +")), "k", {})
    assert broken.cpu
    assert not broken.limit


def disagree(device):
    raise AssertionError("1 of 2 numbers")


def test_a_case_that_disagrees_does_not_pass(devices):
    executed = run_case(Case("p", "k", disagree), *devices)
    assert (executed.fp64, executed.validated) == ("1 of 2 numbers", "1 of 2 numbers")
    assert not executed.passed


def test_a_report_that_does_not_come_is_no_pass(devices):
    finding = Finding("race", "for two threads write one place", unsafe=True)
    executed = run_case(Case("p", "k", lambda device: None, finding), *devices)
    assert (executed.fp64, executed.validated) == (NOT_RUN, "clean, where race was expected")
    assert not executed.passed


def test_the_page_counts_and_names_what_is_wrong():
    texts = [
        CompiledText(
            "p", "t", 3, compiled=[Compiled("a", engine="lockstep"), Compiled("b", ptx="no | b")]
        ),
        CompiledText("p", "u", error="line 3"),
    ]
    executed = [
        Executed("p", "a", AGREES, CLEAN),
        Executed("p", "b", "wrong", CLEAN),
        Executed("p", "c", NOT_RUN, EXPECTED, "race: of two"),
    ]
    page = report.tables(texts, executed)
    assert "Every kernel is tried." in page
    sampled = report.tables([*texts, CompiledText("q", "t", 9, share=4)], executed)
    assert "at least one of each text: q 1 of 4." in sampled
    assert "| p | 1 of 2 | 3 | 2 | 2 | 1 | 1 | 0 | 0 |" in page
    assert "| p | u |  | line 3 |" in page
    assert r"| p | t | b | no \| b |" in page
    assert "| p | 3 | 1 | 2 | 1 |" in page
    assert "| p | b | wrong | clean |" in page
    assert "| p | c | race: of two |" in page
    assert [report.refused(one) for one in texts] == [1, 1]
