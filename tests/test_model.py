"""The model of an M4 against published times, and its arithmetic against sums by hand."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from attnproto.cli import MISUSED, app, guarded
from attnproto.kernels import flash
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Variant
from attnproto.measure.dynamic_counts import count_launch
from attnproto.model import CHIPS, M4, Constant, Work, launches, predict_published, predict_work
from attnproto.model import validation as v
from attnproto.model.chip import ChipError, read_chip
from attnproto.model.launches import (
    flash_ratio,
    flash_result,
    flash_work,
    predict,
    work_of_counts,
)
from attnproto.model.published import gpu_forge_times, mfa_times, work_of_row
from attnproto.model.scope import (
    DIRECT,
    LARGE_D,
    SHORT,
    SMALL_D,
    STAGED,
    Attention,
    refusals,
)
from attnproto.model.time_model import BYTES, MATRIX, PATH, least_time, predict_time
from attnproto.problem import AttentionProblem
from attnproto.prototypes.flash import expected_findings
from attnproto.prototypes.registry import Outcome, load

ROOT = Path(__file__).resolve().parents[1]
# 13 of 128 threadgroups on the fullest core; nothing but what a test says.
IDLE = Work(
    threadgroups=128, simdgroups=2, matrix_products=0, other_issue_cycles=0, float_operations=0,
    exponentials=0, cache_bytes=0, barriers=0, path_cycles=0, path_low_cycles=0, live_registers=64,
    code_instructions=900, threadgroup_bytes=4096, fragment_loads=0,
)  # fmt: skip
FLASH = replace(
    IDLE, matrix_products=8192, other_issue_cycles=30000, cache_bytes=2 << 20, barriers=900,
    path_cycles=3e5, path_low_cycles=2e5, float_operations=5000, exponentials=1000,
    fragment_loads=8192,
)  # fmt: skip
PROBLEM = Attention(4096, 64, DIRECT)
SETTLED = [one for one in mfa_times() if one.usable]


def row(name):
    return next(dict(one.row) for one in mfa_times() if one.name == name)


def test_a_core_issues_products_on_four_schedulers():
    # 13 threadgroups x 2 simdgroups x 1000 products x 18 cycles / 4 / 1500 cycles a us + 5 us.
    times = predict_time(replace(IDLE, matrix_products=1000), M4)
    assert times.total_us == pytest.approx(13 * 2 * 1000 * 18 / 4 / 1500 + 5)
    assert times.limit == MATRIX


def test_products_instructions_and_bytes_overlap_by_a_cubic_norm():
    # 4500, 3000 and 6000 cycles: their cubes add to 3.341e11, the cube of 6939.1.
    work = replace(IDLE, matrix_products=1000, other_issue_cycles=12000, cache_bytes=384000)
    expected = (4500**3 + 3000**3 + 6000**3) ** (1 / 3)
    assert expected == pytest.approx(6939.1, abs=0.01)
    times = predict_time(work, M4)
    assert times.total_us == pytest.approx(26 * expected / 1500 + 5)
    assert times.limit == BYTES


def test_barriers_add_and_a_copy_is_read_once_and_written_once():
    # 100 barriers x 5 cycles; 64 KiB of the threadgroup are 64 KiB moved by each of 2 simdgroups.
    barriers = predict_time(replace(IDLE, barriers=100), M4)
    assert barriers.total_us == pytest.approx(26 * 500 / 1500 + 5)
    copies = predict_time(replace(IDLE, copy_bytes=65536), M4)
    assert copies.total_us == pytest.approx(26 * 65536 / 64 / 1500 + 5)


def test_registers_decide_how_often_the_path_is_walked():
    # 64 registers x 4 bytes x 64 threads + 4096 = 20480 bytes: 22.5 of 450 KiB, all 13 at once.
    few = predict_time(replace(IDLE, path_cycles=3e5), M4)
    assert (few.resident, few.total_us, few.limit) == (22.5, pytest.approx(205), PATH)
    assert few.registers_us == 0
    # 192 registers: 53248 bytes, 8.65 at once, 13 / 8.65 walks.
    many = predict_time(replace(IDLE, path_cycles=3e5, live_registers=192), M4)
    assert many.resident == pytest.approx(8.654, abs=1e-3)
    assert many.total_us == pytest.approx(200 * 13 / 8.654 + 5, abs=0.1)
    assert many.registers_us == pytest.approx(many.total_us - few.total_us)


def test_what_streams_takes_its_unique_bytes_at_drams_rate():
    # 120 MB at 120 GB/s are 1000 us; the bytes pass a core's cache in less.
    times = predict_time(replace(IDLE, cache_bytes=1000, unique_bytes=120e6), M4)
    assert times.total_us == pytest.approx(1005)
    assert times.limit == "memory"


def test_the_bound_takes_the_fast_end_of_every_range():
    # 26 x 1000 products x 17 cycles / 4 at 1578 cycles a us.
    assert least_time(replace(IDLE, matrix_products=1000), M4) == pytest.approx(
        26 * 17 * 1000 / 4 / 1578
    )
    assert least_time(replace(IDLE, cache_bytes=1e6), M4) == pytest.approx(26e6 / 128 / 1578)
    assert least_time(replace(IDLE, exponentials=1000), M4) == pytest.approx(26 * 1000 / 1578)
    assert least_time(replace(IDLE, path_low_cycles=1578e3), M4) == pytest.approx(1000)
    # 120 MB are more than caches hold; 60 MB a repeated launch may find there.
    assert least_time(replace(IDLE, unique_bytes=120e6), M4) == pytest.approx(1000)
    assert least_time(replace(IDLE, unique_bytes=60e6), M4) == 0
    # A compiler may do without integer work, so the bound does.
    assert least_time(replace(IDLE, other_issue_cycles=1e9), M4) == 0


@pytest.mark.parametrize(
    ("work", "problem", "line"),
    [
        (FLASH, Attention(4096, 24, DIRECT), "D: found 24"),
        (FLASH, Attention(4096, 256, DIRECT), "D: found 256"),
        (FLASH, Attention(4096, 100, DIRECT), "D: found 100"),
        (FLASH, Attention(1024, 64, DIRECT), "N: found 1024"),
        (FLASH, Attention(4096, 64, "by table"), "kernel: found keys read by table"),
        (FLASH, None, "kernel: found no attention"),
        (replace(FLASH, live_registers=128), PROBLEM, "registers: found 128 live, needs"),
        (
            replace(FLASH, live_registers=160, registers_by_front_end={"clang": 120, "Apple": 160}),
            PROBLEM,
            "registers: found 160 live in Apple's IR and 120 live in clang's IR, needs",
        ),
        (replace(FLASH, code_instructions=6001), PROBLEM, "code: found 6001"),
        (replace(FLASH, fragment_loads=4096), PROBLEM, "fragments: found 0.5"),
        (replace(FLASH, other_issue_cycles=9.1 * 8192), PROBLEM, "instructions: found 9.1"),
        (replace(FLASH, fragment_loads=69632), PROBLEM, "fragments: found 8.5"),
    ],
)
def test_out_of_scope_there_is_a_bound_and_the_line_that_refused(work, problem, line):
    said = predict_work(work, problem)
    assert (said.median_us, said.high_us) == (None, None)
    assert said.low_us == least_time(work, M4) > 0
    assert [one for one in said.refused if one.startswith(line)]
    assert "modelled_us" not in said.as_result()


def test_keys_staged_ahead_are_none_that_anyone_has_timed():
    problem = AttentionProblem(1, 1, 1, 4096, 4096, 64, "f16")
    ways = {
        keys: launches.flash_attention_of(problem, FlashTile(32, 64, 64, "float16", keys=keys)).kind
        for keys in ("lane", "matrix", "staged16", "ahead16")
    }
    assert ways == {"lane": DIRECT, "matrix": DIRECT, "staged16": STAGED, "ahead16": None}


def test_in_scope_there_is_a_number_within_its_interval_and_both_baselines():
    assert refusals(FLASH, PROBLEM) == ()
    said = predict_work(FLASH, PROBLEM)
    low, high = M4.intervals[DIRECT]
    assert said.median_us == predict_time(FLASH, M4).total_us
    assert (said.low_us, said.high_us) == (said.median_us * low, said.median_us * high)
    assert said.tier == "modelled"
    # Published direct kernels reach 2.3 to 3.4 TFLOP/s.
    for baseline in (said.constant_rate_us, said.nearest_us):
        assert 2.2 < FLASH.flops / baseline / 1e6 < 3.5
    assert said.nearest in {one.name for one in SETTLED}


def test_a_chip_without_times_of_a_class_gives_no_number():
    calibrated = replace(M4, intervals={DIRECT: (0.9, 1.1)})
    said = predict_work(FLASH, Attention(4096, 64, STAGED), calibrated)
    assert said.median_us is None
    assert said.refused == ("interval: found no times of kernels staged, needs at least 20",)


def test_a_row_is_asked_by_its_counts_and_not_its_time():
    given = row("s15-G431")
    said = predict_published(given)
    assert said == predict_published({**given, "time_us": "1"})
    as_numbers = {}
    for name, value in given.items():
        try:
            as_numbers[name] = float(value)
        except ValueError:
            as_numbers[name] = value
    assert predict_published(as_numbers) == said
    assert said[1] < said[0] < said[2]


def test_a_row_of_counts_that_are_not_the_kernels_gets_nothing():
    given = row("s15-G431")
    assert predict_published({**given, "old_edge": "1"}) is None
    assert predict_published({**uncounted(given), "mma": ""}) is None


def uncounted(given):
    """A row as it stands where D is no multiple of 8, of which nobody counted an equivalent."""
    return {name: "" if name.startswith(("pc_", "ir_")) else given[name] for name in given}


def test_a_row_whose_instructions_nobody_counted_is_bounded_by_its_closed_forms():
    # s12-Z565 of the published tables: D=33, whose products are of 5 eighths.
    given = {
        "mode": "direct", "N": "4096", "D": "33", "old_edge": "0", "threadgroups": "256",
        "threads_per_tg": "64", "mma": "5120", "dev_frag": "4096", "dev_bytes": "1048576",
        "tg_frag_ld": "1339", "tg_bytes_ld": "342784", "tg_bytes_st": "40960", "dev_st_bytes": "0",
        "async_kb_tg": "227.938", "barriers": "1078", "exp2": "1056", "scalar_fp": "4352",
        "tg_alloc_bytes": "4096", "live_regs": "68", "pc_float_operations": "", "ir_path_mid": "",
    }  # fmt: skip
    median, low, high = predict_published(given)
    assert (median, high) == (None, None)
    # 26 of 256 threadgroups on the fullest core, products of 17 cycles on four schedulers.
    assert low == pytest.approx(26 * 2 * 5120 * 17 / 4 / 1578)
    assert low < 1995.28  # published
    work, problem = work_of_row(given)
    assert [line.split(":")[0] for line in refusals(work, problem)] == ["D", "counts"]


def test_closed_forms_bound_every_time_that_was_published():
    for one in mfa_times():
        median, low, _ = predict_published(uncounted(one.row))
        assert median is None
        assert 0 < low < one.time_us


def test_counts_of_a_row_are_read_in_the_models_units():
    # 10 240 products of 17.5 cycles stand in ir_main; the rest and ir_complex issue beside them.
    work, problem = work_of_row(row("s13-L199"))
    assert problem == Attention(4096, 80, DIRECT)
    assert work.other_issue_cycles == 188254 - 17.5 * 10240 + 4604
    assert (work.simdgroups, work.threadgroups, work.live_registers) == (2, 256, 83)
    assert work.copy_bytes == 475 * 1024
    assert work.loads_per_product == (10240 + 630) / 10240


def test_all_published_rows_that_can_be_counted_are_carried():
    assert (len(mfa_times()), len(SETTLED), len(gpu_forge_times())) == (437, 408, 19)
    assert len({one.name for one in mfa_times()}) == 437


def test_no_published_time_is_below_its_bound():
    times = [*mfa_times(), *gpu_forge_times()]
    assert [one.name for one in times if least_time(one.work, M4) >= one.time_us] == []


def test_errors_of_kernels_whose_tables_were_left_out():
    errors = v.spread([error for _, error in v.left_out_residuals(DIRECT)])
    assert errors.rows == 193
    assert errors.median <= 0.04
    assert errors.p90 <= 0.12


@pytest.mark.parametrize(
    ("known", "asked", "median", "p90"),
    [
        (("in_bytes", "4"), ("in_bytes", "2"), 0.04, 0.13),
        (("cache", "none"), ("cache", "out all"), 0.06, 0.17),
        (("mode", "direct"), ("mode", "staged load-only"), 0.13, 0.28),
    ],
)
def test_what_is_fitted_to_some_kernels_holds_for_others(known, asked, median, p90):
    def among(which):
        name, values = which
        ways = ("direct",) if name != "mode" else ("direct", "staged")
        return lambda one: one.attention.way in ways and one.row[name] in values.split()

    errors = v.transfer(among(known), among(asked))
    assert errors.rows >= 20
    assert errors.median <= median
    assert errors.p90 <= p90


@pytest.mark.parametrize("kind", [DIRECT, STAGED, SMALL_D, LARGE_D])
def test_intervals_of_the_other_tables_cover_nine_times_in_ten(kind):
    assert 0.86 <= v.coverage(kind) <= 0.97


def test_the_chips_intervals_are_those_of_leaving_tables_out():
    for kind, interval in v.class_intervals((DIRECT, STAGED)).items():
        assert M4.intervals[kind] == pytest.approx(interval, abs=5e-4)


def test_a_class_of_few_rows_has_no_interval():
    assert v.class_intervals((SHORT,)) == {}


@pytest.mark.parametrize("way", [None, DIRECT])
def test_the_tile_that_is_chosen_costs_little(way):
    chosen = v.choices(way)
    assert len(chosen) >= 15
    assert sum(one.regret for one in chosen) / len(chosen) <= 0.04
    assert all(one.regret >= 0 for one in chosen)


def test_findings_say_the_regret_and_rows_that_the_model_was_tested_on():
    regrets = [one.regret for one in v.choices(DIRECT)]
    assert round(sum(regrets) / len(regrets), 2) == expected_findings._REGRET
    assert len(v.left_out_residuals(DIRECT)) == expected_findings._PUBLISHED_ROWS


def test_the_model_beats_both_baselines_in_scope():
    for kind in (DIRECT, STAGED):
        model = v.spread([error for _, error in v.left_out_residuals(kind)])
        for residuals in v.baseline_residuals(kind).values():
            assert model.median < v.spread(residuals).median
            assert model.p90 < v.spread(residuals).p90


@pytest.mark.parametrize("one", gpu_forge_times(), ids=lambda one: one.name)
def test_scalar_kernels_are_bounded_from_below(one):
    median, low, high = predict_published(one.row)
    assert (median, high) == (None, None)
    if one.name.split()[0] in ("flash", "stitch", "paged"):
        assert one.time_us / 3 <= low < one.time_us


def test_a_left_out_table_takes_no_part_in_its_own_fit():
    seen = {one.table for one in SETTLED}
    assert len(seen) == 44
    without = [one for one in v.in_scope(SETTLED) if one.table != SETTLED[0].table]
    assert (
        v.fit(without).cache_bytes_per_cycle == v._folds()[SETTLED[0].table].cache_bytes_per_cycle
    )


def test_a_fit_finds_the_rate_that_made_the_times():
    # Times as a chip with 72 bytes a cycle would have.
    other = M4.with_values("assumed", cache_bytes_per_cycle=72)
    rows = [
        replace(one, time_us=predict_time(one.work, other).total_us)
        for one in v.in_scope(SETTLED)[:40]
    ]
    assert v.fit(rows).cache_bytes_per_cycle.value == 72


def test_every_constant_says_its_source_and_lies_in_its_range():
    for chip in CHIPS.values():
        for name, constant in chip.constants.items():
            assert constant.source, name
            assert constant.low <= constant.value <= constant.high
    with pytest.raises(ChipError, match="outside 1 to 2"):
        Constant(3, "us", "assumed", 1, 2)


def test_a_larger_chip_is_marked_as_scaled_and_is_faster():
    large = CHIPS["M4 Max"]
    assert "scaled" in large.name
    assert (large.cores.value, large.dram_gb_s.value) == (40, 546)
    assert M4.interval_meaning == "90 % of times within the interval"
    assert large.interval_meaning.startswith("intervals are of M4's times, and no time of this")
    # 128 threadgroups: 13 on a core of ten, 4 on one of forty.
    ratio = predict_time(FLASH, M4).parts[MATRIX] / predict_time(FLASH, large).parts[MATRIX]
    assert ratio == pytest.approx(13 / 4 * 1.578 / 1.5)


def test_a_record_is_read_as_it_was_written(tmp_path):
    chip = M4.with_values("measured here", clock_ghz=1.47, launch_us=40)
    assert chip.launch_us == Constant(40.0, "us", "measured here", 1, 40.0)
    chip.save(tmp_path / "chip.json")
    assert read_chip(tmp_path / "chip.json") == chip
    record = json.loads((tmp_path / "chip.json").read_text())
    del record["clock_ghz"]
    (tmp_path / "chip.json").write_text(json.dumps(record))
    with pytest.raises(ChipError, match="no chip's record"):
        read_chip(tmp_path / "chip.json")


def test_the_script_that_prints_the_tables_finds_every_mark_met(capsys):
    spec = importlib.util.spec_from_file_location("bench_model", ROOT / "bench" / "model.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main() == 0
    said = capsys.readouterr().out
    assert "| direct | 193 |" in said
    assert "0 marks not met" in said


LANES = """#include <metal_stdlib>
using namespace metal;
kernel void scale(device const float* a [[buffer(0)]], device float* b [[buffer(1)]],
                  constant int& n [[buffer(2)]], uint i [[thread_position_in_grid]]) {
    if (int(i) < n) b[i] = exp2(a[i]) * 2.0f;
}"""
SAID = ["64x128", "--buffer", "0=f32:8192", "--buffer", "1=f32:8192", "--buffer", "2=i32=8192"]


def tile(bc, d=64, dtype="f16", **options):
    problem = AttentionProblem(1, 1, 1, 4096, 4096, d, dtype)
    return problem, FlashTile(32, bc, d, problem.element_type.name, **options)


def test_a_flash_launch_is_counted_from_two_short_ones():
    problem, geometry = tile(64)
    work = flash_work(problem, geometry)
    # 512 eights of keys x 8 eights of D, for K and for V.
    assert work.matrix_products == 2 * 512 * 8
    assert (work.threadgroups, work.simdgroups) == (128, 4)
    # K and V once; Q loaded, put into threadgroup memory and taken from there; O stored.
    assert work.cache_bytes == 2 * 4096 * 64 * 2 + 4 * 8 * 64 * 2
    assert work.loads_per_product == pytest.approx((8192 + 2 * 8) / 8192)
    assert work.unique_bytes == problem.bytes
    assert work.barriers == 0


def test_a_short_flash_launch_is_counted_as_it_is():
    problem = AttentionProblem(1, 1, 1, 32, 512, 64, "f16")
    geometry = FlashTile(32, 64, 64, "float16")
    work = flash_work(problem, geometry)
    direct = launches._counted(problem, geometry)
    assert work.matrix_products == direct.matrix_products
    assert work.cache_bytes == direct.cache_bytes
    assert work.path_cycles == pytest.approx(direct.path_cycles, rel=0.01)


def test_tiles_whose_registers_are_out_of_scope_get_no_number():
    problem, geometry = tile(64, 128, rows=16)
    said = flash_result(problem, geometry)
    assert [line.split(":")[0] for line in said["modelled_refused"]] == ["registers", "fragments"]
    assert said["modelled_least_us"] > 0
    assert said["modelled_tier"] == "modelled"


def test_addresses_that_a_gpu_may_not_compute_so_are_out_of_scope():
    # simdgroup_load becomes shifts and sums here, more of them than any published kernel had.
    problem, geometry = tile(32, keys="matrix")
    (line,) = flash_result(problem, geometry)["modelled_refused"]
    assert line.startswith("instructions: found")


def test_a_mask_leaves_a_bound_and_its_reason():
    problem, geometry = tile(64)
    masked = replace(problem, causal=True)
    said = flash_result(masked, geometry)
    assert [line.split(":")[0] for line in said["modelled_refused"]] == ["mask"]
    # Rows 32 i to 32 i + 31 see i / 2 blocks of keys in full, 31.5 on average, and a last one in
    # part; 128 threadgroups on 10 cores, 4 simdgroups, products of 17 cycles on 4 schedulers.
    products = 2 * 8 * 8 * 31.5
    assert said["modelled_least_us"] == pytest.approx(12.8 * products * 17 / 1578, rel=0.02)
    assert "modelled_us" not in said
    assert flash_ratio(masked, [geometry, geometry])["modelled_refused"] == said["modelled_refused"]


@pytest.mark.parametrize(("nq", "nkv"), [(384, 384), (96, 500), (600, 500)])
def test_a_masked_launch_is_counted_a_little_short_of_what_it_does(nq, nkv):
    problem = AttentionProblem(1, 1, 1, nq, nkv, 64, "f16", causal=True)
    geometry = FlashTile(32, 64, 64, "float16")
    q, k, v = problem.inputs(0)
    asked = {"device": None, "tile": geometry, "variant": Variant(causal=True)}
    done = work_of_counts(
        count_launch(lambda on: flash.launch(q, k, v, np.empty_like(q), **{**asked, "device": on}))
    )
    work = flash_work(problem, geometry)
    assert (work.threadgroups, work.even) == (done.threadgroups, False)
    for name in ("matrix_products", "cache_bytes", "float_operations", "exponentials"):
        assert 0.7 * getattr(done, name) < getattr(work, name) <= getattr(done, name), name


def test_a_launch_shorter_than_those_counted_does_no_less_than_nothing():
    work = flash_work(AttentionProblem(1, 1, 1, 16, 16, 64, "f16", causal=True), tile(128)[1])
    assert min(work.matrix_products, work.cache_bytes, work.float_operations, work.barriers) >= 0


def test_threadgroups_that_may_differ_are_not_rounded_up_to_whole_ones():
    # 11 threadgroups of which one does nothing take 10 cores as long as 10 do.
    ten = least_time(replace(FLASH, threadgroups=10, path_low_cycles=0), M4)
    eleven = replace(FLASH, threadgroups=11, path_low_cycles=0)
    assert least_time(eleven, M4) == pytest.approx(2 * ten)
    assert least_time(replace(eleven, even=False), M4) == pytest.approx(1.1 * ten)


def test_a_ratio_has_the_interval_of_pairs():
    problem, geometry = tile(64)
    said = flash_ratio(problem, [geometry, geometry])
    low, high = M4.pair_interval
    assert (said["modelled_ratio"], said["modelled_ratio_low"]) == (1.0, low)
    assert said["modelled_ratio_high"] == high
    short = replace(problem, Nq=1024, Nkv=1024)
    assert flash_ratio(short, [geometry, geometry])["modelled_refused"] == [
        "N: found 1024, needs at least 2048"
    ]


def test_the_chips_pair_interval_is_that_of_published_pairs():
    residuals = v.pair_residuals()
    assert len(residuals) > 100
    assert M4.pair_interval == pytest.approx(v.interval(residuals), abs=1e-3)


def test_how_far_bounds_are_off_is_known_from_kernels_of_other_authors():
    gpu_forge = [one for one in gpu_forge_times() if not one.by_wall_clock]
    others = [one for one in v.unlike_times() if one not in gpu_forge]
    assert (len(gpu_forge), len(others)) == (16, 115)
    low, high = np.log(v.interval(v.bound_residuals(others, v.direct_times())))
    asked = v.bound_residuals(gpu_forge, v.direct_times())
    assert len(asked) == len(gpu_forge) * len(v.direct_times())
    assert 0.86 <= np.mean((low <= asked) & (asked <= high)) <= 0.97
    low, middle, high = v.bound_ratio_interval()
    assert (low, middle, high) == pytest.approx((0.749, 1.272, 3.139), abs=0.001)


def test_a_kernel_that_is_no_attention_has_a_bound():
    x, y = np.zeros(8192, np.float32), np.zeros(8192, np.float32)

    def launch(device):
        device.run(
            device.library(LANES).pipeline("scale"),
            threadgroups=64, threads=128, buffers={0: x, 1: y, 2: np.int32(8192)},
        )  # fmt: skip

    said = predict(launch)
    assert said.median_us is None
    assert said.refused[0].startswith("kernel: found no attention")
    # 6.4 threadgroups x 4 simdgroups x 256 bytes at 128 a cycle, 1578 cycles a us; the 64 KiB may
    # lie in a cache, and the path is shorter.
    assert said.low_us == pytest.approx(6.4 * 4 * 2 / 1578)


def test_the_command_predicts_tiles(capsys):
    words = [
        "predict",
        "--only",
        "flash",
        "--axis",
        "D=64,256",
        "--axis",
        "dtype=f16",
        "--axis",
        "Bc=64",
    ]
    assert guarded(app, words) == 0
    said = capsys.readouterr().out.splitlines()
    assert "modelled and not measured" in said[0]
    assert "TFLOP/s, limited by matrix" in said[1]
    assert "no number: D: found 256" in said[2]


def test_the_command_predicts_a_kernel_of_ones_own(tmp_path, capsys):
    file = tmp_path / "scale.metal"
    file.write_text(LANES)
    assert guarded(app, ["predict", str(file), "--launch", *SAID]) == 0
    said = capsys.readouterr().out
    assert "not faster than" in said
    assert "no number: kernel: found no attention" in said
    assert "with half the registers" in said


def test_an_interval_that_no_time_has_tested_says_so(capsys):
    words = ["--only", "flash", "--axis", "D=64", "--axis", "dtype=f16", "--axis", "Bc=64"]
    assert guarded(app, ["predict", *words, "--chip", "M4 Pro"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith("intervals are of M4's times, and no time of this chip has tested them")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "neither or both of a file and --only"),
        (["--only", "paged"], "needs flash"),
        (["--only", "flash", "--chip", "M9"], "found no chip 'M9'"),
        (["--only", "flash", "--where", "D == 7"], "no point that meets"),
        (["{file}", "--launch", "64y128"], "needs THREADGROUPSxTHREADS"),
        (["{file}", "--launch", "64x32", "--buffer", "0=f8:3"], "with a type of f16"),
        (["{file}", "--launch", "64x32", "--buffer", "0=f32:0"], "needs 1 to"),
        (["{file}", "--launch", "64x32", "--buffer", "2=i32=x"], "needs a value of i32"),
        (["{file}", "--launch", "64x32", "--threadgroup", "0:64"], "needs INDEX=BYTES"),
        (["{file}", "--launch", "64x32", "--attention", "64"], "needs N,D"),
        (
            ["{file}", "--launch", "64x32"],
            "found nothing bound to buffer 0 (a); pass it in buffers "
            "(here: by --buffer, such as --buffer 0=f32:4096",
        ),
        (["{file}", "--launch", "64x32", "--axis", "D=64"], "found --axis with a file"),
        (["--only", "flash", "--launch", "64x32"], "found --launch with --only"),
        (["--only", "flash", "--attention", "64,4"], "found --attention with --only"),
    ],
)
def test_a_mistaken_command_gets_one_sentence(words, message, tmp_path, capsys):
    file = tmp_path / "scale.metal"
    file.write_text(LANES)
    given = [word.replace("{file}", str(file)) for word in words]
    assert guarded(app, ["predict", *given]) == MISUSED
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_kernel_of_bytes_and_structs_is_predicted(tmp_path, capsys):
    file = tmp_path / "widen.metal"
    file.write_text(
        "#include <metal_stdlib>\nusing namespace metal;\nstruct Size { uint n; float by; };\n"
        "kernel void widen(device const uchar* x [[buffer(0)]], device ulong* y [[buffer(1)]],\n"
        "  constant Size& size [[buffer(2)]], uint i [[thread_position_in_grid]]) {\n"
        "  if (i < size.n) y[i] = x[i]; }\n"
    )
    bound = ["--buffer", "0=u8:128", "--buffer", "1=u64:128", "--buffer", "2=u32:2"]
    assert guarded(app, ["predict", str(file), "--launch", "4x32", *bound]) == 0
    assert "not faster than" in capsys.readouterr().out


def test_a_kernel_with_threadgroup_arguments_is_predicted(tmp_path, capsys):
    file = tmp_path / "turned.metal"
    file.write_text(
        "#include <metal_stdlib>\nusing namespace metal;\n"
        "kernel void turned(device float* x [[buffer(0)]],\n"
        "  threadgroup float* t [[threadgroup(1)]], uint i [[thread_position_in_threadgroup]]) {\n"
        "  t[i] = x[i]; threadgroup_barrier(mem_flags::mem_threadgroup); x[i] = t[31 - i]; }\n"
    )
    words = ["predict", str(file), "--launch", "1x32", "--buffer", "0=f32:32"]
    assert guarded(app, words) == MISUSED
    assert "by --threadgroup, such as --threadgroup 0=1024" in capsys.readouterr().err
    assert guarded(app, [*words, "--threadgroup", "1=128"]) == 0
    assert "not faster than" in capsys.readouterr().out


def test_points_that_are_timed_and_not_modelled_say_why():
    for name in ("paged", "variants", "stitch", "cubecl", "constants", "burn"):
        prototype = load(name)
        kinds = {point["kind"] for point in prototype.points("full")}
        assert set() < prototype.unmodelled.keys() <= kinds
    prototype = replace(
        load("paged"), run=lambda point, device, mode: Outcome(point["status"], "", {"calls": 1})
    )
    said = prototype.answer({"kind": "pair", "status": "ok"}, None, "quick").result
    assert said["calls"] == 1
    assert said["modelled_refused"][0].startswith("mask: found causal")
    assert said["modelled_tier"] == "modelled"
    for kind, status in (("pair", "wrong"), ("count", "ok")):
        answer = prototype.answer({"kind": kind, "status": status}, None, "quick")
        assert answer.result == {"calls": 1}
