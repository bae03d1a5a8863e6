"""Counts of small kernels, worked out by hand, and of the flash kernel, in closed form."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import attnproto
import numpy as np
import pytest
from attnproto.compiler.analysis.apple_pipes import cost_of, pipe_of
from attnproto.compiler.analysis.liveness import live_registers
from attnproto.compiler.ir import llvm
from attnproto.compiler.ir.function import Function
from attnproto.compiler.passes import count_operations
from attnproto.compiler.passes.specialize import specialised
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.device.device import Dispatch
from attnproto.device.library import describe
from attnproto.errors import UnsupportedProblem
from attnproto.kernels import flash, flash_cost_model
from attnproto.kernels.flash import FlashTile, Variant
from attnproto.measure import dynamic_counts
from support.divergent_program import Divergent

HEAD = "#include <metal_stdlib>\n#include <metal_simdgroup_matrix>\nusing namespace metal;\n"
ARGUMENTS = (
    "device const float* in [[buffer(0)]], device float* out [[buffer(1)]], "
    "constant int& n [[buffer(2)]], uint lane [[thread_index_in_simdgroup]], "
    "uint i [[thread_position_in_grid]]"
)


@pytest.fixture(scope="module")
def device():
    return dynamic_counts.counting_device()


def count(device, body, n=1, *, threads=32, threadgroups=1, before=""):
    text = f"{HEAD}{before}\nkernel void k({ARGUMENTS}) {{ {body} }}"
    pipeline = device.library(text).pipeline("k")
    given, out = np.arange(4096, dtype=np.float32), np.zeros(4096, np.float32)
    buffers = {0: given, 1: out, 2: np.int32(n)}
    return dynamic_counts.count(device, [Dispatch(pipeline, threadgroups, threads, buffers)])


def test_a_vector_is_one_access_of_its_bytes(device):
    body = "((device float4*)out)[i] = ((device const float4*)in)[i]; out[2048 + i] = in[2048 + i];"
    counts = count(device, body)
    assert (counts.device_loads, counts.device_loads_vector, counts.device_load_bytes) == (
        64, 32, 32 * (16 + 4),
    )  # fmt: skip
    assert (counts.device_stores, counts.device_stores_vector) == (64, 32)
    assert counts.device_store_bytes == 32 * (16 + 4)


def test_what_the_engine_reads_for_itself_is_not_counted(device):
    counts = count(device, "out[i] = float(i);")
    assert (counts.device_loads, counts.constant_loads, counts.threadgroup_loads) == (0, 0, 0)
    assert counts.device_store_bytes == 128


def test_an_access_is_uniform_where_all_lanes_share_the_address(device):
    # in[n] and n itself have one address, in[i] has 32, in[i / 32] one a simdgroup.
    counts = count(device, "out[i] = in[n] + in[64 + i] + in[128 + i / 32];", 5, threads=64)
    assert (counts.issued["device_loads"], counts.uniform["device_loads"]) == (6, 4)
    assert counts.uniform_share("constant_loads") == 1.0
    assert counts.uniform_share("device_stores") == 0.0
    assert counts.uniform_share("threadgroup_loads") == 0.0


def test_bytes_that_lanes_share_are_unique_once(device):
    # Two lanes read each float; the lanes' shorts overlap by half.
    counts = count(device, "out[i] = in[i / 2] + as_type<float>(*(device const int*)(in + 512));")
    assert counts.device_load_bytes == 32 * 8
    assert counts.unique_load_bytes == 16 * 4 + 4
    assert counts.unique_store_bytes == 128
    again = count(device, "out[i % 3] = in[i] + in[i + 1];", threadgroups=4)
    assert again.unique_load_bytes == 129 * 4
    assert again.unique_store_bytes == 12


def test_lanes_that_take_turns_are_active_by_halves(device):
    body = "for (int k = 0; k < n; k++) if ((lane + k) % 2 == 0) out[32 * k + lane] = in[lane];"
    counts = count(device, body, 10)
    assert counts.device_stores == 160
    assert counts.issued["device_stores"] == 10
    # Each turn's if parts them; the loop's own branch never does.
    assert counts.divergent_branches == 10


def test_continue_does_not_let_a_lane_run_a_turn_ahead(device):
    body = (
        "for (int k = 0; k < n; k++) { if ((lane + k) % 4 == 0) continue; out[32 * k + lane] = 1;"
        "if (lane < 8) continue; out[2048 + 32 * k + lane] = 2; }"
    )
    counts = count(device, body, 8)
    # A turn stores for 24 lanes, then for 18 of the 24 lanes from 8 on.
    assert (counts.device_stores, counts.issued["device_stores"]) == (8 * (24 + 18), 16)


def test_lanes_leave_a_loop_one_by_one(device):
    counts = count(
        device, "for (uint k = 0; k <= lane % 4; k++) out[32 * k + lane] = in[lane + k];"
    )
    assert counts.device_stores == 8 * (1 + 2 + 3 + 4)
    assert counts.issued["device_stores"] == 4
    assert counts.divergent_branches == 3  # after the last turn the last lanes leave together


def test_turns_of_an_inner_loop_belong_to_a_turn_of_the_outer(device):
    body = (
        "for (int a = 0; a < n; a++) for (uint b = 0; b < (lane + a) % 3; b++) "
        "out[(a * 3 + b) * 32 + lane] = in[lane];"
    )
    counts = count(device, body, 6)
    assert counts.device_stores == sum((lane + a) % 3 for a in range(6) for lane in range(32))
    assert counts.issued["device_stores"] == 6 * 2


def test_lanes_wait_at_the_end_of_a_turn_that_has_several():
    text = """define void @f(i1 %c, i1 %d) {
  br label %head

head:                                             ; preds = %last, %head, %0
  br i1 %c, label %last, label %head

last:                                             ; preds = %head
  br i1 %d, label %head, label %end

end:                                              ; preds = %last
  ret void
}
"""
    lines = count_operations.instrument(text, "clang").split("\n")
    passed = [line.split("i32 ")[1][:-1] for line in lines if "call void" in line]
    # The turn's own segment was made first: it is passed before either way back.
    assert passed == ["1", "2", "0", "3", "0", "4"]
    table = next(line for line in lines if line.startswith("@attn.segments"))
    orders = [int(n) for n in re.findall(r"\{ i32 (\d+)", table)]
    assert orders[0] > orders[3] > orders[2] > orders[1]
    assert orders[4] > orders[0]


def test_a_partial_simdgroup_counts_its_missing_lanes_as_idle(device):
    counts = count(device, "out[i] = in[i];", threads=40, threadgroups=3)
    assert (counts.threadgroups, counts.simdgroups, counts.threads) == (3, 6, 120)
    assert counts.active_lanes == 40 / 64
    assert counts.per_lane()["device_loads"] == 1
    assert counts.device_loads == 6 * 20


def test_each_kind_of_operation_is_counted(device):
    body = (
        "threadgroup float2 t[32]; t[lane] = float2(in[i], 1); "
        "threadgroup_barrier(mem_flags::mem_threadgroup);"
        "simdgroup_barrier(mem_flags::mem_threadgroup);"
        "float2 v = t[lane ^ 1]; float x = v.x * v.y + 2; x = exp2(x) + sin(x);"
        "x = simd_sum(x) + simd_shuffle_xor(x, 1) + simd_any(x > 3);"
        "half h = half(x); out[i] = float(h + h); out[64 + i] = float((lane * 5 + n) / 3 % 7);"
    )
    counts = count(device, body)
    per = counts.per_lane()
    expected = {
        "threadgroup_stores": 1, "threadgroup_stores_vector": 1, "threadgroup_loads_vector": 1,
        "threadgroup_store_bytes": 8, "threadgroup_load_bytes": 8, "threadgroup_barriers": 1,
        "simdgroup_barriers": 1, "exponentials": 1, "transcendentals": 1, "reductions": 1,
        "shuffles": 1, "votes": 1, "conversions": 2, "constant_loads": 1,
    }  # fmt: skip
    assert {name: per[name] for name in expected} == expected
    assert per["integer_operations"] >= 4
    assert counts.threadgroup_bytes == 256


@pytest.mark.parametrize("name", ["simd_shuffle", "quad_shuffle"])
def test_a_shuffle_past_the_end_is_a_choice_and_no_branch(device, name):
    counts = count(device, f"out[i] = {name}_down(in[i], 3) + {name}_up(in[i], 2);")
    per = counts.per_lane()
    assert (per["shuffles"], per["branches"]) == (2, 0)


def test_a_store_to_threadgroup_memory_repeats_no_load_of_a_buffer_but_another_buffers_may(device):
    shared = "threadgroup float t[64]; t[i] = in[i] + 1; t[32 + i] = in[i] + in[64 + i];"
    end = "threadgroup_barrier(mem_flags::mem_threadgroup); out[i] = t[i ^ 1] + t[63 - i];"
    assert count(device, shared + end).per_lane()["device_loads"] == 2
    # in and out may be one buffer, and so in[i] is loaded again.
    overlap = "out[i + n] = in[i] + 1; out[64 + i] = in[i];"
    assert count(device, overlap).per_lane()["device_loads"] == 2


@pytest.mark.parametrize(
    ("asked", "branches"),
    [
        ("\n#pragma unroll\n", 0), ("\n#pragma unroll(4)\n", 50),
        ("\n#pragma clang loop unroll(full)\n", 0), ('_Pragma("clang loop unroll(full)") ', 0),
        ("\n#pragma clang loop unroll(disable)\n", 200),
    ],
)  # fmt: skip
def test_a_loop_is_unrolled_as_the_text_asks(device, asked, branches):
    loop = f"float t = 0; {asked}for (int k = 0; k < 200; k++) t = t * in[k] + in[k + i];"
    counts = count(device, f"{loop} out[i] = t;")
    assert counts.per_lane()["branches"] == branches


def test_atomics_are_neither_loads_nor_stores(device):
    body = "atomic_exchange_explicit((device atomic_int*)out, 1, memory_order_relaxed);"
    counts = count(device, body)
    assert (counts.device_atomics, counts.device_loads, counts.device_stores) == (32, 0, 0)


def test_matrix_operations_and_fragments_are_told_apart(device):
    body = (
        "threadgroup half s[64]; simdgroup_half8x8 a; simdgroup_float8x8 b, c;"
        "simdgroup_load(b, in); simdgroup_load(b, in + 64, 8, 0, true); simdgroup_store(b, out);"
        "a = make_filled_simdgroup_matrix<half, 8, 8>(1.0h); simdgroup_store(a, s, 8, 0, true);"
        "simdgroup_barrier(mem_flags::mem_threadgroup); simdgroup_load(a, s);"
        "simdgroup_multiply(c, b, b); simdgroup_multiply_accumulate(c, a, a, c);"
        "simdgroup_multiply_accumulate(c, a, b, c); simdgroup_store(c, out);"
    )
    counts = count(device, body)
    assert counts.matrix_types == {"float x float": 32, "half x float": 32, "half x half": 32}
    assert counts.matrix_operations == 96
    assert counts.fragments == {
        "load device 4 bytes": 32, "load device 4 bytes transposed": 32,
        "load threadgroup 2 bytes": 32, "store device 4 bytes": 64,
        "store threadgroup 2 bytes transposed": 32,
    }  # fmt: skip


@pytest.mark.parametrize("keys", ["lane", "matrix", "staged16"])
def test_marks_of_fragments_change_no_other_instruction(keys):
    x = np.zeros((1, 1, 64, 64), np.float16)
    tile = FlashTile(32, 64, 64, "float16", keys=keys)
    plan = flash.plan(flash.problem_of(x, x, x), tile)
    described = describe(plan.source.name, plan.constants)

    request = NativeFrontEnd(counting=True).request(plan.source.text, described)

    def code(marked):
        ir = llvm.optimise(specialised(request, marked=marked), request.target)
        lines = ir.split("\n")
        kept = [line for line in lines if line.startswith("  ") and "@attn_fragment" not in line]
        return [line.split(" = ")[-1].split()[0] for line in kept]

    assert sorted(code(marked=True)) == sorted(code(marked=False))


@pytest.mark.parametrize("seed", range(8))
def test_collectives_of_a_random_program_are_counted_for_the_lanes_that_reach_them(device, seed):
    program = Divergent(seed)
    pipeline = device.library(HEAD + program.text()).pipeline(program.name)
    out = np.zeros(64, np.uint32)
    counts = dynamic_counts.count(device, [Dispatch(pipeline, 1, 32, {0: out, 1: np.int32(2)})])
    np.testing.assert_array_equal(out[:32], program.run(2))
    assert counts.reductions == program.executed["sum"] + 32  # one more sum at the end
    assert 0 < counts.active_lanes <= 1


WORK = {
    "whole tiles": ((64, 256, 64, "float16"), dict(br=32, bc=64)),
    "ragged and causal": ((77, 131, 64, "float32", True), dict(br=32, bc=64)),
    "grouped heads": ((77, 131, 64, "float16", True, 2, 4, 2), dict(br=32, bc=80)),
    "one row": ((1, 63, 64, "float16"), dict(br=16, bc=64)),
    "more queries than keys": ((100, 40, 128, "float32", True), dict(br=64, bc=128)),
    "sixteen rows": ((40, 200, 128, "float16"), dict(br=32, bc=64, rows=16)),
    "a head of 72": (
        (33, 96, 72, "float32"), dict(br=16, bc=64, query="registers", rescale="always"),
    ),
    "fragments": ((64, 128, 64, "float16"), dict(br=32, bc=64, keys="matrix")),
    "a head of 256": ((64, 128, 256, "float16", True), dict(br=64, bc=128)),
}  # fmt: skip


def counted(shape, tile):
    nq, nkv, d, dtype, causal, b, hq, hkv = (*shape, *(False, 1, 1, 1)[len(shape) - 4 :])
    rng = np.random.default_rng(0)
    q = rng.standard_normal((b, hq, nq, d)).astype(dtype)
    k, v = (rng.standard_normal((b, hkv, nkv, d)).astype(dtype) for _ in range(2))
    chosen, variant = FlashTile(d=d, dtype=dtype, **tile), Variant(causal=causal)
    output = np.empty_like(q)

    def launch(device):
        flash.launch(q, k, v, output, device=device, tile=chosen, variant=variant)

    counts = dynamic_counts.count_launch(launch)
    return counts, flash_cost_model.work(flash.problem_of(q, k, v, variant=variant), chosen)


@pytest.mark.parametrize("name", WORK)
def test_the_flash_kernel_does_what_its_closed_form_says(name):
    shape, tile = WORK[name]
    counts, work = counted(shape, tile)
    closed = asdict(work)
    least = closed.pop("exponentials")
    assert {field: getattr(counts, field) for field in closed} == closed
    if tile.get("rescale") == "always":
        assert counts.exponentials == least
    else:  # one more for each row block of a step whose maximum grew
        lanes = 32 * (tile.get("rows", 8) // 8)
        assert 0 < counts.exponentials - least <= work.votes
        assert (counts.exponentials - least) % 32 == 0 or lanes > 32
    assert counts.active_lanes > 0.9
    assert counts.uniform_share("device_loads") == 0
    assert counts.uniform_share("constant_loads") == 1


def test_a_closed_form_is_refused_where_there_is_none():
    x = np.zeros((1, 1, 64, 64), np.float16)
    problem = flash.problem_of(x, x, x)
    for tile in (
        FlashTile(32, 64, 64, "float16", keys="staged16"),
        FlashTile(32, 64, 64, "float16", query="device"),
    ):
        with pytest.raises(UnsupportedProblem, match="count it instead"):
            flash_cost_model.work(problem, tile)
    windowed = flash.problem_of(x, x, x, variant=Variant(causal=True, window=5))
    with pytest.raises(UnsupportedProblem, match="count it instead"):
        flash_cost_model.work(windowed, FlashTile(32, 64, 64, "float16"))


def test_counts_subtract_and_become_a_row(device):
    body = "for (int k = 0; k < n; k++) out[32 * k + lane] = in[32 * k + lane];"
    more = count(device, body, 9) - count(device, body, 4)
    assert (more.device_loads, more.issued["device_loads"]) == (5 * 32, 5)
    row = json.loads(json.dumps(more.as_row()))
    assert row["uniform_share"] == {
        "device_loads": 0.0,
        "device_stores": 0.0,
        "constant_loads": 0.0,
    }
    assert row["code_instructions"] > 5
    assert row["registers_by_front_end"] == {"clang": row["live_registers"]}


def test_a_lanes_own_array_is_private_memory(device):
    body = (
        "float own[8]; for (int k = 0; k < 8; k++) own[k] = in[k * n + i]; "
        "out[i] = own[n & 7] + own[(n + 3) & 7];"
    )
    counts = count(device, body, 5)
    # Eight floats stored and two loaded by each of 32 lanes.
    assert (counts.private_store_bytes, counts.private_load_bytes) == (32 * 8 * 4, 32 * 2 * 4)
    assert count(device, "out[i] = in[i];").private_load_bytes == 0


def test_issue_cycles_are_a_simdgroups_by_pipe(device):
    # Two simdgroups; an exponential takes 4 cycles, a sum over the simdgroup 15.
    counts = count(device, "out[i] = simd_sum(exp2(in[i])) + in[i] * 3;", threads=64)
    assert counts.issue_cycles["exponential"] == 2 * 4
    assert counts.issue_cycles["reduction"] == 2 * 15
    assert counts.issue_cycles["device"] == 2 * 2  # a load and a store of each
    assert counts.issue_cycles["float"] in (2 * 1, 2 * 2)  # fused or not
    assert "matrix" not in counts.issue_cycles


def test_a_loops_segments_count_as_often_as_they_are_issued(device):
    body = "float s = in[i]; for (int k = 0; k < n; k++) s = exp2(s); out[i] = s;"
    few, many = (count(device, body, n) for n in (10, 30))
    assert (many - few).issue_cycles["exponential"] == 20 * 4
    # Each exponential waits for the one before it; a turn adds a sum, a comparison and a branch.
    assert 20 * 4.3 <= (many - few).path["cycles"] <= 20 * (4.3 + 3 * 2.2)


def test_a_launch_is_counted_by_the_packages_own_name():
    x = np.zeros((1, 1, 8, 8), np.float32)
    counts = attnproto.count(lambda device: attnproto.flash_attention(x, x, x, device=device))
    # One 8 x 8 block of scores, and one of the output: a product each of 32 lanes.
    assert counts.matrix_operations == 2 * 32
    assert counts.issue_cycles["matrix"] == 2 * 18
    assert counts.path["cycles"] > counts.path["least_cycles"] > 2 * 34


PATH = """define void @f(ptr addrspace(1) %p) {
  %a = load float, ptr addrspace(1) %p, align 4
  %q = getelementptr float, ptr addrspace(1) %p, i64 1
  %b = load float, ptr addrspace(1) %q, align 4
  %c = fadd float %a, %b
  %d = fpext float %c to double
  store float %c, ptr addrspace(1) %p, align 4
  ret void
}"""


def test_a_critical_path_is_in_order_and_waits_for_operands():
    function = Function(PATH.split("\n"))
    cost = cost_of([(one, *pipe_of(one)) for one in function.instructions])
    assert cost.issue == {"device": 3.0, "float": 1.0}
    # Loads are issued at 0 and 1 and arrive at 22 and 23; the sum is there at 25.2, stored by 47.2.
    assert cost.path == pytest.approx(23 + 2.2 + 22)
    # With the least latencies at 15 and 16.54.
    assert cost.least_path == pytest.approx(15 + 0.7 * 2.2 + 14)


def test_live_registers_are_those_alive_at_once():
    text = """
define void @f(ptr addrspace(1) %p, i32 %n) {
  %a = load float, ptr addrspace(1) %p, align 4
  %b = load <4 x float>, ptr addrspace(1) %p, align 16
  %c = icmp eq i32 %n, 3
  br i1 %c, label %then, label %end

then:                                             ; preds = %0
  %d = fadd float %a, %a
  %q = getelementptr float, ptr addrspace(1) %p, i32 %n
  %r = getelementptr inbounds float, ptr addrspace(1) %q, i64 1
  store float %d, ptr addrspace(1) %r, align 4
  br label %end

end:                                              ; preds = %then, %0
  %m = phi float [ %a, %0 ], [ 0.0, %then ]
  store <4 x float> %b, ptr addrspace(1) %p, align 16
  store float %m, ptr addrspace(1) %p, align 4
  ret void
}
"""
    # In `then`: b is 4, d is 1, q is 2, and r is q; before it: a and b, 5.
    assert live_registers(text) == 7


def test_a_flash_tile_keeps_about_as_much_alive_as_the_study_of_its_design_found():
    # That study read 69 for half and 77 for float at D=64, Bc=64, addresses included.
    for dtype, read in (("float16", 69), ("float32", 77)):
        counts, _ = counted((32, 256, 64, dtype), dict(br=32, bc=64))
        assert abs(counts.live_registers - read) <= 5
