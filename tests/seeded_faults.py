"""Small kernels with one mistake each, and their corrected twins.

A body holds the mistake and its correction as ``@[wrong@|right@]``: the twin differs in
nothing else. All are run by 2 threadgroups of 64 threads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TG = "threadgroup_barrier(mem_flags::mem_threadgroup);"
SIMD = "simdgroup_barrier(mem_flags::mem_threadgroup);"
TILE = "threadgroup float tile[64]; "
FILL = TILE + "tile[t] = in[g]; "

HEAD = """#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
constant float table[8] = {1, 2, 4, 8, 16, 32, 64, 128};
"""
ARGUMENTS = """
    device float* out [[buffer(0)]], const device float* in [[buffer(1)]],
    constant uint& n [[buffer(2)]], device atomic_uint* count [[buffer(3)]],
    const device int* page [[buffer(4)]], const device half* narrow [[buffer(5)]],
    constant float* weights [[buffer(6)]], device float* tail [[buffer(7)]],
    threadgroup float* dynamic [[threadgroup(0)]],
    uint g [[thread_position_in_grid]], uint t [[thread_position_in_threadgroup]],
    uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]"""


@dataclass(frozen=True)
class Fault:
    """A mistake: its name, the kind of finding it is, and the kernel's body."""

    name: str
    kind: str
    body: str

    def kernel(self, wrong: bool) -> str:
        """The kernel's text, one statement a line."""
        body = re.sub(r"@\[(.*?)@\|(.*?)@\]", r"\1" if wrong else r"\2", self.body, flags=re.S)
        name = self.name + ("" if wrong else "_corrected")
        return f"kernel void {name}({ARGUMENTS}) {{\n{body}\n}}\n"


# Where the first thread to run reads what a later one is to write, nothing is there yet.
RACES = [
    Fault("no_barrier", "uninitialised", FILL + f"@[@|{TG}@] out[g] = tile[63 - t];"),
    Fault(
        "barrier_of_other_memory", "race",
        FILL + "threadgroup_barrier(mem_flags::@[mem_device@|mem_threadgroup@]);"
        "out[g] = tile[63 - t];",
    ),
    Fault(
        "barrier_of_no_memory", "race",
        FILL + "threadgroup_barrier(mem_flags::@[mem_none@|mem_threadgroup@]);"
        "out[g] = tile[63 - t];",
    ),
    Fault("simdgroup_barrier_only", "uninitialised", FILL + f"@[{SIMD}@|{TG}@] out[g] = tile[63 - t];"),
    Fault("barrier_too_early", "uninitialised", FILL.replace("tile[t] =", f"@[{TG}@|@] tile[t] =")
          + f"@[@|{TG}@] out[g] = tile[63 - t];"),
    Fault(
        "tile_overwritten_while_read", "race",
        TILE + f"for (int i = 0; i < 2; i++) {{ tile[t] = in[(g + i) % 128]; {TG}"
        f"out[g] = tile[63 - t]; @[@|{TG}@] }}",
    ),
    Fault(
        "reduction_tree", "race",
        FILL + TG + f"for (uint s = 32; s > 0; s /= 2) {{ if (t < s) tile[t] += tile[t + s];"
        f"@[@|{TG}@] }} if (t == 0) out[group] = tile[0];",
    ),
    Fault(
        "reduction_tail_in_lockstep", "race",
        FILL + TG + "if (t < 32) { for (uint s = 32; s > 0; s /= 2) { "
        f"if (lane < s) tile[t] += tile[t + s]; @[@|{SIMD}@] }} }} if (t == 0) out[group] = tile[0];",
    ),
    Fault("neighbour_lane", "race", FILL + f"{SIMD} tile[t ^ 1] += 1; @[@|{SIMD}@] out[g] = tile[t];"),
    Fault(
        "matrix_stored_and_loaded", "uninitialised",
        "threadgroup float block[128]; threadgroup float* mine = block + simdgroup * 64;"
        "simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8, 8>(2.0f);"
        f"simdgroup_store(m, mine); @[@|{SIMD}@] simdgroup_load(m, mine, 8, 0, true);"
        f"@[@|{SIMD}@] out[g] = m.thread_elements().x;",
    ),
    Fault("two_threads_one_element", "race", FILL + f"{TG} tile[t @[/ 2@|@]] = t; {TG}"
          "out[g] = tile[t];"),
    Fault(
        "shared_sum_without_atomics", "race",
        TILE + f"tile[0] = 0; {TG} @[tile[0] += in[g];@|if (t == 0) tile[0] += in[g];@] {TG}"
        "out[g] = tile[0];",
    ),
    Fault(
        "atomic_read_plainly", "race",
        f"threadgroup atomic_uint sum; if (t == 0) atomic_store_explicit(&sum, 0, "
        f"memory_order_relaxed); {TG} atomic_fetch_add_explicit(&sum, 1, memory_order_relaxed);"
        f"@[@|{TG}@] out[g] = *(threadgroup uint*)&sum;",
    ),
    Fault("one_thread_prepares", "race", TILE + "if (t == 0) tile[0] = in[group];"
          f"@[@|{TG}@] out[g] = tile[0];"),
    Fault("dynamic_memory", "uninitialised", f"dynamic[t] = in[g]; @[@|{TG}@] out[g] = dynamic[63 - t];"),
    Fault(
        "halves_that_overlap", "race",
        "threadgroup half pair[128]; pair[t * @[1@|2@]] = in[g]; pair[t * @[1@|2@] + 1] = g;"
        f"{TG} out[g] = pair[2 * t];",
    ),
    Fault(
        "bytes_that_overlap", "race",
        f"threadgroup uchar flag[64]; flag[t @[& 31@|@]] = g; {TG} out[g] = flag[t];",
    ),
    Fault(
        "double_buffer_not_swapped", "race",
        "threadgroup float two[2][64]; two[0][t] = in[g];"
        f"{TG} for (int i = 0; i < 2; i++) {{ two[@[0@|(i + 1) % 2@]][63 - t] = "
        f"two[@[0@|i % 2@]][t] + 1; {TG} }} out[g] = two[0][t];",
    ),
    Fault("every_group_writes_there", "race", "out[@[t@|g@]] = in[g];"),
    Fault("reads_another_group", "race", "out[g] = in[g]; tail[g % 100] = @[out[127 - g]@|in[g]@];"
          .replace("tail[g % 100]", "if (g < 100) tail[g]")),
    Fault(
        "device_barrier_of_other_memory", "race",
        "out[g] = in[g]; threadgroup_barrier(mem_flags::@[mem_threadgroup@|mem_device@]);"
        "float x = out[group * 64 + 63 - t]; threadgroup_barrier(mem_flags::mem_device);"
        "out[g] = x;",
    ),
    Fault(
        "device_counter", "race",
        "@[out[0] = out[0] + 1@|atomic_fetch_add_explicit(count, 1, memory_order_relaxed)@];",
    ),
    Fault("stencil_in_place", "race", "out[g] = @[out@|in@][g ^ 1] + 1;"),
    Fault(
        "last_group_reads_partials", "race",
        "if (t == 0) { @[out[group] = in[g]; uint before = atomic_fetch_add_explicit(count, 1, "
        "memory_order_relaxed); if (before == 1) out[2] = out[0] + out[1];@|"
        "out[group] = in[g];@] }",
    ),
    Fault("scatter_collides", "race", "out[(g * @[2@|3@]) % 128] = g;"),
]  # fmt: skip

BOUNDS = [
    Fault("one_past_the_end", "out-of-bounds", "out[g + @[1@|0@]] = in[g];"),
    Fault("one_before_the_beginning", "out-of-bounds", "out[g] = in[@[g - 1@|max(g, 1u) - 1@]];"
          .replace("g - 1@|", "int(g) - 1@|")),
    Fault("tail_forgotten", "out-of-bounds", "@[@|if (g < n)@] tail[g] = in[g];"),
    Fault("guard_off_by_one", "out-of-bounds", "if (g @[<=@|<@] n) tail[g] = in[g];"),
    Fault("vector_across_the_end", "out-of-bounds",
          "if (g < @[26@|25@]) out[g] = ((device float4*)tail)[g].w;"),
    Fault(
        "array_beside_another", "out-of-bounds",
        "threadgroup float first[64]; threadgroup float second[64]; second[t] = 0;"
        f"first[t @[+ 1@|@]] = in[g]; {TG} out[g] = first[63 - t @[+ 1@|@]] + second[t];",
    ),
    Fault("array_before_its_beginning", "out-of-bounds",
          FILL + f"{TG} out[g] = tile[@[int(t) - 1@|t@]];"),
    Fault("dynamic_memory_too_small", "out-of-bounds", "dynamic[t @[* 2@|@]] = in[g];"),
    Fault("constant_buffer", "out-of-bounds", "out[g] = weights[g % @[9@|8@]];"),
    Fault("constant_table", "out-of-bounds", "out[g] = table[page[g] @[@|% 8@]];"),
    Fault("page_unchecked", "out-of-bounds",
          "int p = page[g]; out[g] = @[in[p * 4]@|p < 32 ? in[p * 4] : 0@];"),
    Fault("wrong_stride", "out-of-bounds", "out[g] = in[(g / 8) * @[9@|8@] + g % 8];"),
    Fault("far_away", "out-of-bounds", "out[g] = in[g * @[1000000@|1@]];"),
    Fault("matrix_past_the_end", "out-of-bounds",
          "simdgroup_float8x8 m; simdgroup_load(m, in + @[72@|64@]); out[g] = m.thread_elements().x;"),
    Fault("elements_for_bytes", "out-of-bounds", "out[g] = ((device float*)narrow)[g @[@|/ 2@]];"),
]  # fmt: skip

UNINITIALISED = [
    Fault("half_a_tile", "uninitialised", TILE + f"if (t < @[32@|64@]) tile[t] = in[g]; {TG}"
          "out[g] = tile[63 - t];"),
    Fault("padding_not_zeroed", "uninitialised", TILE + f"if (g < n) tile[t] = in[g]; @[@|else tile[t] = 0;@]"
          f"{TG} out[g] = tile[63 - t];"),
    Fault("sum_from_nothing", "uninitialised", TILE + "@[@|tile[t] = 0;@] tile[t] += in[g]; out[g] = tile[t];"),
    Fault("atomic_from_nothing", "uninitialised",
          "threadgroup atomic_uint sum; @[@|if (t == 0) atomic_store_explicit(&sum, 0, memory_order_relaxed);@]"
          f"{TG} atomic_fetch_add_explicit(&sum, 1, memory_order_relaxed); {TG}"
          "out[g] = atomic_load_explicit(&sum, memory_order_relaxed);"),
    Fault("dynamic_memory_unwritten", "uninitialised", f"@[@|dynamic[t] = in[g];@] {TG} out[g] = dynamic[63 - t];"),
    Fault("matrix_of_half_a_tile", "uninitialised",
          FILL.replace("in[g];", "in[g]; ").replace("tile[t]", "@[if (lane < 30)@|@] tile[t]")
          + f"{TG} simdgroup_float8x8 m; simdgroup_load(m, tile); out[g] = m.thread_elements().x;"),
]  # fmt: skip

DIVERGENT = [
    Fault("barrier_in_a_branch", "divergent-barrier", f"@[if (t < 40)@|@] {TG} out[g] = in[g];"),
    Fault("return_before_a_barrier", "divergent-barrier", f"@[if (g >= n) return;@|@] {TG} out[g] = in[g];"),
    Fault("barriers_of_two_branches", "divergent-barrier",
          f"@[if (simdgroup == 0) {{ out[g] = 1; {TG} }} else {{ out[g] = 2; {TG} }}@|"
          f"out[g] = simdgroup ? 2 : 1; {TG}@]"),
    Fault("barrier_in_an_uneven_loop", "divergent-barrier",
          f"for (uint i = 0; i < @[1 + simdgroup@|2@]; i++) {{ {TG} }} out[g] = in[g];"),
    Fault("simdgroup_barrier_in_a_branch", "divergent-barrier", f"@[if (lane < 16)@|@] {SIMD} out[g] = in[g];"),
    Fault("product_in_a_branch", "divergent-collective",
          "simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);"
          "@[if (lane < 16)@|@] simdgroup_multiply_accumulate(m, m, m, m); out[g] = m.thread_elements().x;"),
    Fault("shuffle_from_a_sleeping_lane", "divergent-collective",
          "float x = in[g]; @[if (lane < 16)@|@] x += simd_shuffle_down(x, 16); out[g] = x;"),
    Fault("broadcast_from_a_sleeping_lane", "divergent-collective",
          "float x = in[g]; if (lane > 3) x = simd_broadcast(x, @[0@|4@]); out[g] = x;"),
    Fault("shuffle_after_a_return", "divergent-collective",
          "float x = in[g]; @[if (lane == 31) return;@|@] out[g] = x + simd_shuffle_xor(x, 1);"),
]  # fmt: skip

OTHERS = [
    Fault("vector_at_an_odd_element", "misaligned",
          "if (g < 16) out[g] = ((const device float4*)(in + @[1@|4@]))[g].x;"),
    Fault("input_written", "read-only", "@[((device float*)in)@|out@][g] = 1;"),
]  # fmt: skip

# Overlap comes with the binding: `tail` is `out` where a test binds it so.
ALIASES = [
    Fault("in_place_by_two_arguments", "alias", "if (g < n) tail[g] = out[g] + 1;"),
    Fault("written_through_both", "alias", "out[g] = 1; if (g < n) tail[g] = 2;"),
]

NANS = [
    Fault("masked_row", "nan", "float m = -INFINITY; out[g] = exp(m - @[m@|0.0f@]) + in[g];"
          .replace("float m = -INFINITY", "float m = in[g] < 1e9f ? -INFINITY : in[g]")),
    Fault("zero_over_zero", "nan", "float s = in[g] - in[g]; out[g] = s / @[s@|(s + 1)@];"),
    Fault("root_of_a_negative", "nan", "out[g] = sqrt(in[g] @[- 1000@|+ 1000@]);"),
    Fault("zero_times_infinity", "nan",
          "float z = in[g] - in[g]; out[g] = z * (in[g] < 1e9f ? @[INFINITY@|1.0f@] : 0.0f);"),
]  # fmt: skip

ALWAYS = [*RACES, *BOUNDS, *UNINITIALISED, *DIVERGENT, *OTHERS]
ALL = [*ALWAYS, *ALIASES, *NANS]
TEXT = HEAD + "".join(fault.kernel(wrong) for fault in ALL for wrong in (True, False))
