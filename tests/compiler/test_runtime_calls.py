"""The table of the engine's functions against the engine and against the headers."""

from __future__ import annotations

import re

import pytest
from attnproto import _core
from attnproto.compiler.ir.runtime_calls import CALLS, calls, runtime_call
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.library import describe

# What passes put in themselves, each for one purpose: counts, checks, the engine of simdgroups.
OF_PASSES = re.compile(
    r"attn_(?:count_|lockstep_|access_|check_|judge_|made_|about_|arrive$|trapped$|threadgroup_array$)"
)
TEXT = """#include <metal_stdlib>
using namespace metal;
kernel void every(device float* x [[buffer(0)]], device ulong* wide [[buffer(1)]],
                threadgroup float* shared [[threadgroup(0)]],
                uint i [[thread_index_in_simdgroup]]) {
  float s = simd_sum(x[i]) + simd_prefix_inclusive_sum(x[i]) + simd_shuffle_xor(x[i], 1);
  shared[i] = s + simd_broadcast_first(x[i]) + float(ulong(simd_ballot(x[i] > 0)));
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_barrier(mem_flags::mem_threadgroup);
  x[i] = shared[31 - i];
}
"""


def test_every_function_of_the_engine_that_kernels_call_is_in_the_table():
    called = [name for name, _ in _core.runtime_symbols() if not OF_PASSES.match(name)]
    assert [name for name in called if runtime_call(f"@{name}") is None] == []
    assert {runtime_call(f"@{name}").name for name in called} == CALLS.keys()


def test_a_name_that_only_begins_like_one_is_not_in_the_table():
    for name in (
        "@attn_reduce",
        "@attn_ballot_u32",
        "@attn_reduce_f32x",
        "@attn_lane",
        "@reduce_f32",
    ):
        assert runtime_call(name) is None


def test_the_table_says_what_the_headers_tell_clang():
    ir = NativeFrontEnd().optimised_ir(TEXT, describe("every"))
    groups = dict(re.findall(r"^attributes (#\d+) = \{ (.*) \}$", ir, re.M))
    declared = re.findall(r"^declare .*(@attn_\w+)\(.*\).* (#\d+)$", ir, re.M)
    assert {runtime_call(name).name for name, _ in declared} == CALLS.keys() - {
        "matrix_batch", "matrix_slots"  # put in by a pass
    }  # fmt: skip
    for name, group in declared:
        known, attributes = runtime_call(name), groups[group]
        # In this language a function is convergent unless it says otherwise.
        assert "convergent" in attributes or not known.convergent, name
        assert known.pure == ("memory(none)" in attributes), name


@pytest.mark.parametrize("name", ["attn_reduce_f32", "attn_prefix_u64", "attn_threadgroup_barrier"])
def test_the_expression_of_some_calls_takes_their_symbols_whole(name):
    some = re.compile(calls(lambda c: c.convergent))
    assert some.fullmatch(name)
    assert not some.fullmatch(f"{name}_more")
    assert not some.fullmatch("attn_lane_index")
