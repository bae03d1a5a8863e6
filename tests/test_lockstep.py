"""The lockstep engine against the fibers, bit for bit, and what it leaves to them."""

from __future__ import annotations

import platform
import re

import attnproto
import numpy as np
import pytest
from attnproto import _core
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir.types import offset_of, size_of
from attnproto.compiler.pass_manager import PassManager
from attnproto.compiler.target import processor_target
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Device
from attnproto.device.library import describe
from attnproto.errors import DeviceUnavailable
from attnproto.kernels import flash
from support.msl import HEAD, read_text
from support.project_kernels import PROJECT_KERNELS, normal
from support.random_kernels import kernel

SEEDS = range(16)
COMPARISONS = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, ">": np.greater, "<=": np.less_equal,
    ">=": np.greater_equal,
}  # fmt: skip


@pytest.fixture(scope="module")
def engines():
    return [attnproto.open_device("cpu", engine=engine) for engine in ("fibers", "lockstep")]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_kernels_give_the_same_bits_on_both_engines(engines, seed):
    inputs = np.random.default_rng(seed).standard_normal(64).astype(np.float32)
    inputs.flags.writeable = False
    by_threads = {}
    for device in engines:
        pipeline = device.library(HEAD + kernel(seed)).pipeline(f"random_{seed}")
        # Whole simdgroups; and some with lanes missing, which run on fibers.
        for threads in (64, 40):
            out, total = np.full((3 * threads, 14), np.nan, np.float32), np.zeros(16, np.int32)
            buffers = {0: inputs, 1: out, 2: total, 3: np.int32(3)}
            device.run(pipeline, threadgroups=3, threads=threads, buffers=buffers)
            by_threads.setdefault(threads, []).append((out.view(np.uint32), total))
    assert (pipeline.engine, pipeline.engine_reason) == ("lockstep", "")
    for (out, total), (other_out, other_total) in by_threads.values():
        np.testing.assert_array_equal(out, other_out)
        np.testing.assert_array_equal(total, other_total)
        assert np.any(out[0] != np.float32(np.nan).view(np.uint32))


@pytest.mark.parametrize("power", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("compared", COMPARISONS)
def test_a_lanes_number_is_compared_with_a_power_of_two(engines, compared, power):
    # Of what is shuffled and then used under the condition, LLVM freezes the lane's number.
    text = (
        HEAD
        + f"""
    kernel void k(device float* o [[buffer(0)]], uint l [[thread_index_in_simdgroup]]) {{
      short4 s = simd_shuffle_xor(short4(l), 1);
      if (l {compared} {power}) o[l] = s.w;
    }}"""
    )
    lanes = np.arange(32)
    holds = COMPARISONS[compared](lanes, power)
    for device in engines:
        out = np.full(32, -1, np.float32)
        pipeline = device.library(text).pipeline("k")
        device.run(pipeline, threadgroups=1, threads=32, buffers={0: out})
        np.testing.assert_array_equal(out, np.where(holds, lanes ^ 1, -1))


@pytest.mark.parametrize("name", PROJECT_KERNELS)
def test_the_kernels_of_the_project_give_the_same_bits_on_both_engines(engines, name):
    fibers, lockstep = (PROJECT_KERNELS[name](device) for device in engines)
    values = fibers.astype(np.float32)
    # A masked score is -inf; nothing else is.
    assert (np.isfinite(values) | ((name == "scores") & (values == -np.inf))).all()
    np.testing.assert_array_equal(fibers.view(np.uint8), lockstep.view(np.uint8))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 alone has AVX2")
@pytest.mark.parametrize("name", ["flash-f32", "flash-f16-causal", "flash-bf16", "linear"])
def test_code_for_avx2_gives_the_same_bits(engines, name):
    target = processor_target("x86_64", "unknown-linux-gnu", "x86-64-v3")
    front_end = NativeFrontEnd(target=target)
    here, there = engines[1], Device(_core.open_cpu(front_end, 2))
    np.testing.assert_array_equal(
        PROJECT_KERNELS[name](here).view(np.uint8), PROJECT_KERNELS[name](there).view(np.uint8)
    )
    assert {built.engine for built, _ in front_end._loaded.values()} == {"lockstep"}


def test_the_flash_kernel_runs_in_lockstep(engines):
    x = normal(1, 1, 64, 64)
    plan = flash.plan(flash.problem_of(x, x, x), flash.FlashTile(32, 64, 64, "float32"))
    pipeline = engines[1].library(plan.source.text).pipeline(plan.source.name, plan.constants)
    assert (pipeline.engine, pipeline.engine_reason) == ("lockstep", "")


MEMORY = ("structs", "packed", "matrices", "arrays", "pointing", "returned", "restricted")


@pytest.mark.parametrize("name", MEMORY)
def test_what_is_in_a_lanes_own_memory_gives_the_same_bits_on_both_engines(engines, name):
    x = np.random.default_rng(3).standard_normal(70).astype(np.float32)
    outputs = []
    for device in engines:
        out = np.full(64, np.nan, np.float32)
        pipeline = device.library(read_text("memory.metal")).pipeline(name)
        device.run(pipeline, threadgroups=1, threads=64, buffers={0: x, 1: out})
        outputs.append(out.view(np.uint32))
    assert (pipeline.engine, pipeline.engine_reason) == ("lockstep", "")
    np.testing.assert_array_equal(*outputs)
    assert len(np.unique(outputs[0])) > 32
    lane = np.arange(64)
    expected = {
        "packed": x[lane + lane % 3] + (lane + 1) % 3,
        "arrays": (x[lane] + (lane & 3).astype(np.float32))
        + np.where(lane & 1, (lane // 2 & 3) + 1, lane),
        "pointing": x[lane + 3 * (lane & 1)] + (lane & 1) + 1,
    }
    if name in expected:
        np.testing.assert_array_equal(out, expected[name].astype(np.float32))


def test_the_layout_of_types_is_llvms():
    kinds = {
        "{ i8, i32, half }": 12, "<{ i8, float }>": 5, "{ i8, [3 x { i16, i8 }] }": 14,
        "{ <3 x float>, i8 }": 32, "[2 x <{ i8, i64 }>]": 18, "{ ptr, <4 x i8> }": 16, "{}": 0,
        "{ <4 x i64>, i1 }": 64, "{ { float, [2 x i32] }, float }": 16,
    }  # fmt: skip
    for kind, size in kinds.items():
        assert size_of(kind) == llvm.frame_bytes(f"  %x = alloca {kind}, align 1") == size, kind
    assert [offset_of("{ i8, <3 x float>, { i8, i64 }, i8 }", n) for n in range(4)] == [
        0,
        16,
        32,
        48,
    ]


def test_a_kernel_that_lockstep_does_not_take_says_why(engines):
    text = HEAD + (
        "kernel void part(device int* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {"
        "  if (i & 1) threadgroup_barrier(mem_flags::mem_none);  out[i] = int(i); }"
    )
    fibers, lockstep = (device.library(text).pipeline("part") for device in engines)
    assert (fibers.engine, fibers.engine_reason) == ("fibers", "")
    assert lockstep.engine == "fibers"
    assert "threadgroup_barrier that only some lanes may reach" in lockstep.engine_reason


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(DeviceUnavailable, match="needs one of lockstep, fibers"):
        attnproto.open_device("cpu", engine="vectors")


UNROLLED = """
kernel void unrolled(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                     uint i [[thread_position_in_grid]]) {
  float4 sums[8];
  threadgroup float4 shared[32];
  _Pragma("clang loop unroll(full)")
  for (int k = 0; k < 8; k++) sums[k] = float4(x[i], x[k], 1, k);
  for (int k = 0; k < 8; k++) {
    shared[i] = sums[k];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    _Pragma("clang loop unroll(full)")
    for (int n = 0; n < 8; n++) {
      if (x[(i + n) % 32] > 0) sums[n] += sums[k] * x[n] + exp2(shared[(i + n) % 32].x - n);
      sums[n] = clamp(sums[n] + shared[k].yxwz / 3, -4.0f, 4.0f);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  _Pragma("clang loop unroll(full)")
  for (int k = 0; k < 8; k++)
    y[32 * k + i] = dot(sums[k], float4(1, 2, 3, 4)) + simd_sum(sums[k].w);
}
"""


def test_loops_stay_loops_with_the_bits_of_unrolled_ones(engines, monkeypatch):
    inputs = np.random.default_rng(5).standard_normal(32).astype(np.float32)
    optimise, outputs = llvm.optimise, []
    for unroll in (False, True):
        if unroll:
            monkeypatch.setattr(llvm, "optimise", lambda *given, **_: optimise(*given))
        text = f"{HEAD}{UNROLLED}// {unroll}"  # nothing is cached
        for device in engines:
            pipeline = device.library(text).pipeline("unrolled")
            out = np.full((8, 32), np.nan, np.float32)
            device.run(pipeline, threadgroups=1, threads=32, buffers={0: inputs, 1: out})
            outputs.append(out.view(np.uint32))
    assert pipeline.engine == "lockstep"
    assert len(np.unique(outputs[0])) > 100
    for other in outputs[1:]:
        np.testing.assert_array_equal(outputs[0], other)


def test_what_is_counted_are_unrolled_loops():
    described, text = describe("unrolled"), f"{HEAD}{UNROLLED}"
    unrolled = NativeFrontEnd().optimised_ir(text, described).count("\n")
    rolled, counted = (
        front_end.lower(
            front_end.request(text, described), PassManager(stop_after="optimize")
        ).text.count("\n")
        for front_end in (NativeFrontEnd(), NativeFrontEnd(counting=True))
    )
    assert rolled * 2 < unrolled
    assert counted >= unrolled


PRODUCTS = """
kernel void products(device const float* x [[buffer(0)]], device float* y [[buffer(1)]]) {
  simdgroup_float8x8 a[4], b[2], sums[2];
  for (int k = 0; k < 4; k++) simdgroup_load(a[k], x, 8);
  for (int n = 0; n < 2; n++) {
    simdgroup_load(b[n], x + n, 8);
    sums[n] = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);
  }
  for (int n = 0; n < 2; n++) {
    _Pragma("clang loop unroll(full)")
    for (int k = 0; k < 4; k++)
      simdgroup_multiply_accumulate(sums[n], a[k], b[n], sums[n]);
  }
  for (int n = 0; n < 2; n++) simdgroup_store(sums[n], y + 64 * n, 8);
}
"""


def batches(front_end, text, name):
    """How many products each of a kernel's batches has."""
    request = front_end.request(text, describe(name))
    kernel = front_end.lower(request, PassManager(stop_after="batch_matrix_products"))
    return sorted(map(int, re.findall(r"^@attn\.batch\.\d+ = .*?\{ i32 (\d+),", kernel.text, re.M)))


def test_products_of_an_innermost_loop_are_one_batch_and_of_all_loops_on_fibers():
    text = f"{HEAD}{PRODUCTS}"
    assert set(batches(NativeFrontEnd(), text, "products")) == {4}
    assert batches(NativeFrontEnd(engine="fibers"), text, "products") == [8]


def test_what_may_be_fused_anywhere_is_unrolled_for_both_engines():
    fast = f"{HEAD}#pragma METAL fp contract(fast)\n{UNROLLED}"
    for text, same in ((f"{HEAD}{UNROLLED}", False), (fast, True)):
        lines = [
            front_end.lower(
                front_end.request(text, describe("unrolled")), PassManager(stop_after="optimize")
            ).text.count("\n")
            for front_end in (NativeFrontEnd(), NativeFrontEnd(engine="fibers"))
        ]
        assert (lines[0] == lines[1]) == same
