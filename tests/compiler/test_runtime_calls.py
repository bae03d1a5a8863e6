"""The table of the engine's functions against the engine and against the headers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attnproto.compiler
import llvmlite.binding as llvm
import pytest
from attnproto import _core
from attnproto.compiler.analysis import divergence
from attnproto.compiler.ir import cfg
from attnproto.compiler.ir.effects import may_change_memory
from attnproto.compiler.ir.function import Function
from attnproto.compiler.ir.intrinsics import intrinsic
from attnproto.compiler.ir.module import cut, split
from attnproto.compiler.ir.runtime_calls import (
    CALLS,
    OF_KERNELS,
    RuntimeCall,
    declarations,
    runtime_call,
)
from attnproto.compiler.ir.types import Unsupported
from attnproto.compiler.passes import count_operations, number_rendezvous, sanitize_accesses
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.compiler.vectorize import collectives, vectorize
from attnproto.device.library import describe

# Functions and variables that the pass which calls them puts into the module.
OF_ONE_PASS = {
    "@attn_exp2", "@attn_read_16_bytes", "@attn_dynamic", "@attn_shared_", "@attn_table",
    "@attn_defined_",
}  # fmt: skip

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


def test_the_table_and_the_engine_have_the_same_functions():
    engine = [f"@{name}" for name, _ in _core.runtime_symbols()]
    assert sorted(engine) == sorted(symbol for call in CALLS.values() for symbol in call.symbols)
    assert all(symbol in runtime_call(symbol).symbols for symbol in engine)


def test_every_symbol_in_the_compilers_sources_is_in_the_table():
    root = Path(attnproto.compiler.__file__).parent
    used = {
        (name, path.name)
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for name in re.findall(r"@attn_\w+", node.value)
        if name not in OF_ONE_PASS
    }
    known = [symbol for call in CALLS.values() for symbol in call.symbols]
    # Of a symbol that is put together, what is written is its beginning.
    symbols = {name for name, _ in used if runtime_call(name)}
    begun = {name for name, _ in used if name.endswith("_")} - symbols
    assert {name for name, _ in used} - symbols - begun == set()
    assert [name for name in begun if not any(s.startswith(name) for s in known)] == []
    assert len(symbols) > 8


def test_what_one_pass_defines_for_itself_is_not_the_engines():
    assert [name for name in OF_ONE_PASS if runtime_call(name)] == []


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
    assert {runtime_call(name) for name, _ in declared} == set(OF_KERNELS)
    for name, group in declared:
        known, attributes = runtime_call(name), groups[group]
        # In this language a function is convergent unless it says otherwise.
        assert "convergent" in attributes or not known.convergent, name
        assert known.pure == ("memory(none)" in attributes), name


def test_lockstep_writes_every_call_that_a_kernel_may_have():
    of_batches = {"matrix_batch", "matrix_slots"}
    assert {call.name for call in OF_KERNELS} | of_batches == collectives.WRITERS.keys()
    together = [call.lockstep for call in CALLS.values() if call.lockstep]
    assert [name for name in together if name not in CALLS] == []


def test_what_passes_declare_is_valid_and_has_the_tables_attributes():
    put_in = [name for name, call in CALLS.items() if call.declared[0] and call.symbols]
    text = "\n".join(declarations(*put_in))
    module = llvm.parse_assembly(text)
    module.verify()
    assert len(list(module.functions)) == text.count("declare ") == 38
    for line in text.splitlines():
        call = runtime_call(re.search(r"@\w+", line)[0])
        assert not call.convergent or "convergent" in line
        assert "memory(none)" not in line or call.pure


@pytest.fixture
def fictitious(monkeypatch):
    """A call that the engine has not got: lanes meet there and get one result."""
    call = RuntimeCall(
        "gather_votes", "uniform", ("f32",), convergent=True, counted="votes", is_address=True,
        in_kernel=True, judged="source",
    )  # fmt: skip
    monkeypatch.setitem(CALLS, call.name, call)
    runtime_call.cache_clear()
    yield call.symbols[0]
    runtime_call.cache_clear()


FICTITIOUS = """declare float @attn_gather_votes_f32(float)

define void @attn_entry_0(ptr %lane) {
  %i = call i32 @attn_lane_index()
  %x = uitofp i32 %i to float
  %v = call float @attn_gather_votes_f32(float %x)
  ret void
}
"""


def test_a_new_row_of_the_table_is_all_that_passes_need(fictitious):
    lines = FICTITIOUS.split("\n")[2:-1]
    function = Function(lines)
    call = function.instructions[2]
    assert call.callee == fictitious
    assert not may_change_memory(call)
    varying = divergence.analyse(cfg.analyse(function.blocks), "%lane", set()).values
    assert "%x" in varying
    assert "%v" not in varying
    assert f"{fictitious}(i32 0, float %x)" in number_rendezvous.number_rendezvous(FICTITIOUS)
    assert "\\22votes\\22: 1" in count_operations.instrument(FICTITIOUS, "")
    judged, _ = sanitize_accesses.instrument(FICTITIOUS, [""], nan=False)
    arrives = r"call void @attn_arrive\(i32 0, .*\)\n"
    assert re.search(rf"{arrives}  %v = call float {fictitious}", judged)
    with pytest.raises(Unsupported, match="a call of attn_gather_votes_f32"):
        vectorize.vectorise(FICTITIOUS, "attn_entry_0")
    # What reaches it is inlined, whatever its author asked for.
    helper = FICTITIOUS.replace("attn_entry_0(ptr %lane)", "helper() noinline #0")
    caller = "define void @caller() #0 {\n  call void @helper()\n  ret void\n}\n"
    assert " alwaysinline #0" in cut(split(helper + caller), "@caller").functions["@helper"]


def test_without_its_row_passes_take_nothing_for_granted_of_a_call():
    function = Function(FICTITIOUS.split("\n")[2:-1])
    assert may_change_memory(function.instructions[2])
    varying = divergence.analyse(cfg.analyse(function.blocks), "%lane", set()).values
    assert "%v" in varying


@pytest.mark.parametrize(
    ("callee", "name"),
    [
        ("@llvm.fma.v4f32", "fma"),
        ("@expf", "exp"),
        ("@llvm.nvvm.read.ptx.sreg.tid.x", "nvvm.read.ptx.sreg.tid.x"),
        ("@llvm.nvvm.read.ptx.sreg.laneid", "nvvm.read"),
        ("@llvm.uadd.sat.i32", "uadd.sat"),
        ("@llvm.exponent.f32", None),
        ("@exponentf", None),
        ("@exp", None),
        ("@_Z5boundf", None),
    ],
)
def test_a_function_of_llvm_or_libm_is_found_by_its_whole_name(callee, name):
    known = intrinsic(callee)
    assert (known.name if known else None) == name
