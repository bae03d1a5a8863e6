from pathlib import Path

import attnproto
import numpy as np
import pytest
from attnproto.commands.selftest import SyntheticKernel
from attnproto.errors import AttnprotoError, UnsupportedProblem
from attnproto.measure import pairs, protocol
from attnproto.measure import peaks as probe
from attnproto.prototypes.flash import prototype
from attnproto.prototypes.flash import timing as flash_timing
from attnproto.prototypes.registry import load
from attnproto.results.confidence import confidence_word
from attnproto.results.row import DeviceRecord, Task, make_row
from attnproto.sweep.points import parse_sweep
from support.prototype_rows import check_declared, check_spoilt

SMALL = {"B": 1, "Hq": 2, "Hkv": 1, "causal": False, "input": "normal", "Br": 16, "Bc": 64}
POINT = {"kind": "tile", **SMALL, "D": 64, "dtype": "f16", "Nq": 9, "Nkv": 70}
BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


def stored(point, device, outcome, kind=None, name=None, tier=None):
    from datetime import datetime, timezone

    record = DeviceRecord(kind or device.kind, name or device.name, tier or device.tier)
    check_declared(outcome.result)
    answer = (outcome.status, (outcome.reason, dict(outcome.result)))
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return make_row(Task("flash", point, 60), "quick", record, {}, answer, now, 0.1)


def test_the_quick_points_hold_every_tile_in_both_types():
    tiles = {
        (p["Br"], p["Bc"], p["D"], p["dtype"])
        for p in prototype.points("quick")
        if p["kind"] == "tile"
    }
    assert len(tiles) == 54
    lengths = {p["Nkv"] for p in prototype.points("quick") if p["kind"] == "length"}
    assert {1, 63, 100, 1000, 1024} <= lengths


def test_the_full_points_time_every_tile():
    timed = [p for p in prototype.points("full") if p["kind"] == "time"]
    assert len(timed) == (27 + 2) * 2 * 4  # those that share their reads at D=64 and 128


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_a_point_is_judged_and_read_out(device, dtype):
    outcome = prototype.run({**POINT, "dtype": dtype}, device, "quick")
    assert outcome.status == "ok"
    result = outcome.result
    assert result["worst_ratio"] < 1
    size = 4 if dtype == "f32" else 2
    assert result["threadgroup_bytes"] == 16 * 64 * size
    assert "time_us" not in result
    assert "emulated_us" in result


def test_rows_that_see_nothing_are_looked_at(device):
    outcome = prototype.run({**POINT, "causal": True, "Nq": 20, "Nkv": 11}, device, "quick")
    assert outcome.result["blind_rows"] == 9
    assert outcome.result["blind_rows_are_zero"]


def test_a_count_reaches_the_minimum_of_matrix_operations(device):
    point = {"kind": "count", **SMALL, "Hq": 1, "D": 64, "dtype": "f16", "Nq": 16, "Nkv": 64 * 17}
    result = prototype.run(point, device, "quick").result
    # Two products of 8 x 64 x 64 in steps of 8 x 8 x 8: 2 x 8 x 8.
    assert result["matrix_operations"] == 128
    # K and V of 64 keys x 64 dimensions x 2 bytes over 32 lanes.
    assert result["device_load_bytes"] == 2 * 64 * 64 * 2 / 32


def test_a_wrong_kernel_is_a_wrong_row(device, monkeypatch):
    from attnproto.kernels import flash as launcher

    real = launcher.launch

    def cheat(q, k, v, output, **options):
        timing = real(q, k, v, output, **options)
        output[:1] = 9.0
        return timing

    monkeypatch.setattr(launcher, "launch", cheat)
    outcome = prototype.run(POINT, device, "quick")
    assert outcome.status == "wrong"
    assert "times what is allowed" in outcome.reason


def test_an_impossible_tile_raises_its_sentence(device):
    with pytest.raises(UnsupportedProblem, match="D=300"):
        prototype.run({**POINT, "D": 300}, device, "quick")


def quick_rows(device, *kinds):
    chosen = [p for p in prototype.points("quick") if p["kind"] in kinds]
    chosen = [p for p in chosen if p["D"] == 64 and p["Nkv"] <= 131 and p["Br"] <= 32]
    return [stored(p, device, prototype.run(p, device, "quick")) for p in chosen]


@pytest.fixture(scope="module")
def rows(device):
    return quick_rows(device, "tile", "length", "mask", "group")


def test_findings_from_the_cpu_device_claim_nothing_about_speed(rows):
    findings = prototype.conclude(rows)
    assert len(findings) >= 5
    for finding in findings:
        assert finding.tier in ("emulated", "derived")
        assert finding.evidence.kind not in ("performance", "cost")
        assert "TFLOP" not in finding.title + finding.content
        assert finding.evidence.overturned_by
        assert finding.device.name in finding.content
        assert set(finding.evidence.rows) <= {row["key"] for row in rows}


def test_emulated_results_are_at_most_high_and_derived_ones_verified(rows):
    words = {f.tier: confidence_word(f.confidence) for f in prototype.conclude(rows)}
    assert words == {"emulated": "high", "derived": "verified"}


@pytest.mark.parametrize("kind", ["tile", "length", "mask"])
def test_one_wrong_row_takes_its_findings_away(rows, kind):
    check_spoilt(prototype, rows, kind)


def test_a_few_replayed_tiles_make_no_claim_about_all(rows):
    few = [row for row in rows if row["point"]["kind"] == "tile"][:4]
    assert prototype.conclude(few) == []


def test_drawing_findings_twice_gives_the_same_ids(rows):
    assert [f.id for f in prototype.conclude(rows)] == [f.id for f in prototype.conclude(rows)]


def timed_row(device, bc, time_us, spread, name="Apple M4", kind="metal", n=4096):
    point = {**POINT, "kind": "time", "Hq": 1, "Nq": n, "Nkv": n, "Bc": bc, "Br": 32}
    result = {
        "flops": 4 * n * n * 64,
        "time_us": time_us,
        "time_low_us": time_us - spread,
        "time_high_us": time_us + spread,
        "cv": 0.01,
        "samples_us": [time_us] * 50,
        "kernel_hash": "h",
    }
    outcome = type("Outcome", (), {"status": "ok", "reason": "", "result": result})
    return stored(point, device, outcome, kind, name, "measured")


def test_measured_times_name_the_fastest_tile_and_those_undecided_against_it(device):
    # 4 x 4096^2 x 64 FLOP in 2000 us: 2.147 TFLOP/s.
    rows = [timed_row(device, bc, t, 20) for bc, t in ((64, 2000), (80, 2030), (128, 2500))]
    (finding,) = prototype.conclude(rows)
    assert "tile 32x64 reaches 2.15 TFLOP/s on Apple M4" in finding.title
    assert "Undecided against it: 32x80." in finding.content
    # 2.147 of 3.266 TFLOP/s published for f16 D=64 N=4096.
    assert "0.66 of the 3.27 TFLOP/s" in finding.content
    assert finding.confidence == 0.95
    # "Of 3 tiles" rests on all three.
    assert finding.evidence.rows == tuple(row["key"] for row in rows)
    assert finding.evidence.effect.low < 2.147 < finding.evidence.effect.high


def test_a_time_that_slipped_into_an_emulated_row_supports_no_finding(device):
    row = timed_row(device, 64, 2000, 20)
    row["device"] = {"kind": "cpu", "name": "host", "tier": "emulated"}
    assert prototype.conclude([row]) == []


def test_another_gpus_times_are_not_held_against_marks_of_m4(device):
    rows = [timed_row(device, 64, 200, 2, "NVIDIA H200", "cuda")]
    (finding,) = prototype.conclude(rows)
    assert "published" not in finding.content
    assert "NVIDIA H200" in finding.title


def expected_row(device, bc, d=64, n=4096, **result):
    point = {**POINT, "kind": "expected", "Hq": 1, "Nq": n, "Nkv": n, "Bc": bc, "Br": 32, "D": d}
    given = {"flops": 4 * n * n * d, "kernel_hash": "h", **result}
    outcome = type("Outcome", (), {"status": "ok", "reason": "", "result": given})
    return stored(point, device, outcome)


def modelled(us):
    return {
        "modelled_us": us, "modelled_low_us": 0.92 * us, "modelled_high_us": 1.1 * us,
        "modelled_limit": "matrix", "modelled_tier": "modelled", "modelled_chip": "M4",
    }  # fmt: skip


def test_what_is_expected_of_tiles_is_modelled_and_chosen_within_scope(device):
    refused = {"modelled_least_us": 900.0, "modelled_refused": ["registers: found 140 live"]}
    rows = [
        expected_row(device, 64, **modelled(1400.0)),
        expected_row(device, 80, **modelled(1320.0)),
        expected_row(device, 128, **refused),
    ]
    chosen, beside = prototype.conclude(rows)
    # 4 x 4096^2 x 64 FLOP in 1320 us: 3.254 TFLOP/s; of MFA's 3.266, 0.996.
    assert "tile 32x80 is expected to reach 3.25 TFLOP/s on an M4, modelled" in chosen.title
    assert "32x128 no number (registers)" in chosen.content
    assert "2.96 to 3.54 TFLOP/s in 90 %" in chosen.content
    assert beside.evidence.effect.value == pytest.approx(0.996, abs=1e-3)
    for finding in (chosen, beside):
        assert finding.tier == "modelled"
        assert finding.confidence <= 0.5


def test_nothing_is_expected_where_no_tile_is_in_scope(device):
    assert prototype.conclude([expected_row(device, 64, modelled_refused=["D: found 256"])]) == []


def test_out_of_scope_it_is_said_what_no_tile_can_exceed(device):
    refused = {"modelled_chip": "M4", "modelled_refused": ["D: found 256, needs at most 192"]}
    rows = [
        expected_row(device, 64, d=256, modelled_least_us=5000.0, **refused),
        expected_row(device, 80, d=256, modelled_least_us=4000.0, **refused),
    ]
    (finding,) = prototype.conclude(rows)
    # 4 x 4096^2 x 256 FLOP in 4 ms.
    assert "f16 D=256 N=4096: no tile tried can exceed 4.29 TFLOP/s on an M4" in finding.title
    assert "D: found 256, needs at most 192" in finding.content
    assert (finding.tier, finding.evidence.effect.low) == ("modelled", None)
    assert finding.evidence.rows[0] == rows[1]["key"]


def test_an_expected_point_is_modelled_on_any_device(device):
    point = {**POINT, "kind": "expected", "Hq": 1, "Nq": 4096, "Nkv": 4096, "Br": 32}
    result = prototype.run(point, device, "quick").result
    assert 1200 < result["modelled_us"] < 1450
    assert result["modelled_low_us"] < result["modelled_us"] < result["modelled_high_us"]
    check_declared(result)
    short = prototype.run({**point, "Nq": 256, "Nkv": 256}, device, "quick").result
    assert short["modelled_refused"] == ["N: found 256, needs at least 2048"]
    assert 0 < short["modelled_least_us"] < result["modelled_us"]


def test_a_measured_time_is_said_beside_what_was_expected(device):
    row = timed_row(device, 64, 2000, 20)
    row["result"] |= modelled(1320.0)
    (finding,) = prototype.conclude([row])
    assert "expected 1320 us (1214 to 1452) before the run; the time is a surprise, 1.52" in (
        finding.content
    )
    row["result"] |= modelled(1950.0)
    (finding,) = prototype.conclude([row])
    assert "the time is as expected, 1.03 of it" in finding.content
    row = timed_row(device, 64, 2000, 20)
    row["result"] |= {"modelled_chip": "M4", "modelled_least_us": 2100.0, "modelled_refused": ["D"]}
    (finding,) = prototype.conclude([row])
    assert "called 2100 us the least before the run; the time is a surprise" in finding.content


def test_the_prototype_is_found_by_its_name():
    assert load("flash") is prototype.PROTOTYPE


def test_the_sweeps_that_come_with_the_benchmarks_can_run(device):
    points = [
        p for sweep in parse_sweep((BENCH / "flash.toml").read_text()) for p in sweep.points()
    ]
    assert len(points) == 12 + 24 + 14
    for point in points:
        prototype.tile_of(point)


def test_probed_peaks_are_positive_and_probed_once(device, monkeypatch):
    peaks = probe.probe(device, copy_bytes=1 << 16, groups=2, rounds=4)
    assert min(peaks.flops_per_s, peaks.bytes_per_s, peaks.empty_us) > 0
    calls = []
    monkeypatch.setattr(probe, "probe", lambda device: calls.append(device) or peaks)
    probe.peaks_of(device)
    assert probe.peaks_of(device) is probe.peaks_of(device)
    assert len(calls) <= 1


def test_the_probes_do_their_work(device):
    from attnproto.kernels.text import flatten

    library = device.library(flatten("probe/probe.metal"))
    data = np.arange(1024, dtype=np.float32)
    out = np.zeros_like(data)
    copy = library.pipeline("probe_copy")
    device.run(copy, threadgroups=1, threads=256, buffers={0: data, 1: out})
    assert np.array_equal(out, data)
    sums = np.zeros((4, 8, 8), np.float32)
    matrix = library.pipeline("probe_matrix_half", {"rounds": 3})
    device.run(matrix, threadgroups=1, threads=128, buffers={0: sums})
    # Chain j starts at j and gains 8 x 0.125 x 1 a round: sum over j of (j + 3) = 28 + 24.
    assert np.all(sums == 52.0)


def test_a_timed_kernel_is_judged_before_and_after(device):
    problem = prototype.problem_of({**POINT, "Hq": 1})
    brief = protocol.Protocol("brief", 1, 0.0, 100.0, protocol.SampleCount(3), largest_cv=9.0)
    point = {**POINT, "Hq": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "QUICK", brief)
        patch.setattr(probe, "probe", lambda device: protocol.Peaks(1e15, 1e15, 1e-6))
        probe._peaks.clear()
        result = flash_timing.timed(problem, prototype.tile_of(point), device, "quick")
    assert len(result["samples_us"]) == 3
    assert result["time_us"] > 0


class Said:
    def __init__(self, passed):
        self.passed, self.reason = passed, "off by one"


SAID = {True: Said(True), False: Said(False)}
PAIR = {**POINT, "kind": "pair", "Hq": 1, "axis": "keys", "a": "lane", "b": "matrix"}


def test_both_sides_of_a_pair_are_judged_and_an_emulated_pair_has_no_ratio(device):
    outcome = prototype.run(PAIR, device, "quick")
    assert outcome.status == "ok"
    assert outcome.result["kernel_hash"] == prototype.kernel_hash(PAIR)
    assert "ratio" not in outcome.result


def test_a_pair_is_compared_in_blocks(device, monkeypatch):
    times = {"lane": 90.0, "matrix": 100.0}
    monkeypatch.setattr(
        flash_timing,
        "on_device",
        lambda problem, tile, device: SyntheticKernel(times[tile.keys], noise=0.01, seed=3),
    )
    verdicts = iter([True] * 4)
    monkeypatch.setattr(flash_timing, "judge", lambda *_: lambda: SAID[next(verdicts)])
    monkeypatch.setattr(probe, "peaks_of", lambda device: protocol.Peaks(1e15, 1e15, 1e-6))
    tiles = [prototype.tile_of({**PAIR, "keys": keys}) for keys in ("lane", "matrix")]
    result = flash_timing.paired(prototype.problem_of(PAIR), tiles, device, "quick")
    assert result["verdict"] == "faster"
    assert result["ratio"] == pytest.approx(0.9, rel=0.02)
    # 20 ms over 90 and 100 us, by the fastest dispatch of at most 4 % less.
    assert 222 <= result["repeats"][0] <= 232
    assert 200 <= result["repeats"][1] <= 209
    assert "A-B-B-A" in result["protocol"]
    assert "samples of at least 20 ms" in result["protocol"]


def test_a_full_run_compares_by_the_full_protocol():
    kernels = [SyntheticKernel(90.0), SyntheticKernel(100.0)]
    result = pairs.compare(kernels, mode="full")
    # 200 ms a sample, after 5 s of warm-up each.
    assert result["repeats"] == [2223, 2000]
    assert "5000 ms thrown away, samples of at least 200 ms" in result["protocol"]


@pytest.mark.parametrize(
    ("right", "empty_us", "error"),
    [
        ((True, False), 1e-6, "before timing"),
        ((True, True, True, False), 1e-6, "after timing"),
        ((True,) * 4, 95.0, "peaks"),
    ],
)
def test_no_ratio_is_reported_of_wrong_outputs_or_impossible_times(
    device, monkeypatch, right, empty_us, error
):
    kernels = iter([SyntheticKernel(80.0), SyntheticKernel(100.0)])
    verdicts = iter(right)
    monkeypatch.setattr(flash_timing, "on_device", lambda *_: next(kernels))
    monkeypatch.setattr(flash_timing, "judge", lambda *_: lambda: SAID[next(verdicts)])
    monkeypatch.setattr(probe, "peaks_of", lambda device: protocol.Peaks(1e15, 1e15, empty_us))
    tiles = [prototype.tile_of({**PAIR, "keys": keys}) for keys in ("lane", "matrix")]
    with pytest.raises(AttnprotoError, match=error):
        flash_timing.paired(prototype.problem_of(PAIR), tiles, device, "quick")


def test_both_kernels_of_a_pair_are_judged_on_the_device(device, monkeypatch):
    monkeypatch.setattr(flash_timing, "compare", lambda *_, **__: {"a_us": 1.0, "b_us": 1.0})
    monkeypatch.setattr(probe, "peaks_of", lambda device: protocol.Peaks(1e15, 1e15, 1e-6))
    tiles = [prototype.tile_of({**PAIR, "keys": keys}) for keys in ("lane", "matrix")]
    flash_timing.paired(prototype.problem_of(PAIR), tiles, device, "quick")


def pair_row(device, verdict, ratio, p_value, **changes):
    point = {**PAIR, "Nq": 4096, "Nkv": 4096, **changes}
    result = {"ratio": ratio, "ratio_low": ratio - 0.01, "ratio_high": ratio + 0.01, "cv": 0.02}
    result |= {"verdict": verdict, "blocks": 6, "p_value": p_value, "kernel_hash": "h"}
    outcome = type("Outcome", (), {"status": "ok", "reason": "", "result": result})
    return stored(point, device, outcome, "metal", "Apple M4", "measured")


def test_pairs_say_faster_or_equal_or_that_nothing_was_found(device):
    rows = [
        pair_row(device, "faster", 0.9, 1e-6),
        pair_row(device, "equal", 1.0, 0.5, b="staged16"),
        pair_row(device, "undecided", 0.98, 0.1, axis="rows", a=8, b=16),
    ]
    findings = prototype.conclude(rows)
    assert [finding.title for finding in findings] == [
        "f16 D=64 N=4096: keys lane is faster than keys matrix on Apple M4",
        "f16 D=64 N=4096: keys lane is as fast as keys staged16 within 2 % on Apple M4",
        "f16 D=64 N=4096: rows 8 is not told apart from rows 16 in time on Apple M4",
    ]
    # The interval is 0.97 to 0.99: the largest difference left is 1 / 0.97 - 1 = 3.1 %.
    assert "more than 3.1 % is excluded" in findings[2].content
    assert ["non-finding" in finding.tags for finding in findings] == [False, False, True]


def test_a_difference_that_many_comparisons_explain_is_no_finding(device):
    # 0.04 alone would stand at 5 %; beside nineteen others it needs 0.05 / 20.
    rows = [pair_row(device, "faster", 0.95, 0.04)]
    assert "faster" in prototype.conclude(rows)[0].title
    rows += [pair_row(device, "undecided", 1.0, 0.9, D=64 + 8 * i) for i in range(1, 20)]
    findings = prototype.conclude(rows)
    assert len(findings) == 20
    assert all("not told apart" in finding.title for finding in findings)
