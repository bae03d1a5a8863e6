"""Prototype 2: its points, its rule, and what it may and may not conclude."""

from __future__ import annotations

from datetime import datetime, timezone

import attnproto
import pytest
from attnproto.errors import KernelCompileError
from attnproto.kernels import score_dispatch
from attnproto.prototypes.registry import load
from attnproto.prototypes.stitch import findings, prototype
from attnproto.results.row import DeviceRecord, Task, make_row
from support.prototype_rows import check_declared, clocked

SMALL = {"Nq": 11, "Nkv": 38, "D": 24, "Br": 8, "Bc": 32}
EQUAL = {"kind": "equal", "modification": "alibi", "contract": False, **SMALL}


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


def stored(point, outcome, tier="emulated", name="a processor", kind="cpu"):
    check_declared(outcome.result)
    answer = (outcome.status, (outcome.reason, dict(outcome.result)))
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    record = DeviceRecord(kind, name, tier)
    return make_row(Task("stitch", point, 60), "quick", record, {}, answer, now, 0.1)


def measured(way, ratio, width, compile_ms):
    """A row as a GPU would give it."""
    point = {"kind": "cost", "modification": "custom", "way": way, **SMALL}
    result = {
        "ratio": ratio, "ratio_low": ratio - width, "ratio_high": ratio + width,
        "verdict": "undecided", "blocks": 12, "cv": 0.01, "calls": 1000,
        "ns_per_call": 1.0, "ns_per_call_low": 0.5, "ns_per_call_high": 1.5,
        "break_even_dispatches": 10.0, "compile_way_us": 1e3 * compile_ms, "kernel_hash": "0",
    }  # fmt: skip
    outcome = prototype.Outcome("ok", "", result)
    return stored(point, outcome, tier="measured", name="Apple M4", kind="metal")


def test_the_points_judge_every_modification_and_time_every_other_way():
    quick = prototype.points("quick")
    judged = {p["modification"] for p in quick if p["kind"] == "equal" and not p["contract"]}
    assert judged == set(score_dispatch.MODIFICATIONS)
    full = [p for p in prototype.points("full") if p["kind"] == "cost"]
    assert len(full) == 5 * 5
    assert load("stitch") is prototype.PROTOTYPE


def test_all_ways_are_judged_and_agree_in_bits(device):
    outcome = prototype.run(EQUAL, device, "quick")
    assert outcome.status == "ok"
    assert outcome.result["ways"] == list(score_dispatch.WAYS)
    assert all(outcome.result[f"different_{way}"] == 0 for way in score_dispatch.WAYS)
    assert outcome.result["worst_ratio_table"] < 1


def test_a_way_that_is_wrong_is_named(device, monkeypatch):
    usual = score_dispatch.graph
    monkeypatch.setattr(
        score_dispatch, "graph", lambda m: usual(score_dispatch.Modification("softcap", cap=m.cap))
    )
    outcome = prototype.run(EQUAL, device, "quick")
    assert outcome.status == "wrong"
    assert "stitched misses FP64" in outcome.reason
    assert not prototype.PROTOTYPE.conclude([stored(EQUAL, outcome)])


def test_a_way_that_the_device_cannot_take_is_said_so_and_the_others_go_on(device, monkeypatch):
    usual = score_dispatch.prepare

    def prepare(device, problem, tile, way, modification, **options):
        if way == "table":
            raise KernelCompileError("[test] found no tables, needs some; none")
        return usual(device, problem, tile, way, modification, **options)

    monkeypatch.setattr(score_dispatch, "prepare", prepare)
    outcome = prototype.run(EQUAL, device, "quick")
    assert outcome.status == "ok"
    assert "found no tables" in outcome.result["refused"]["table"]
    finding = prototype.PROTOTYPE.conclude([stored(EQUAL, outcome)])[0]
    assert finding.title.startswith("5 ways")


def test_the_code_of_each_way_is_looked_at(device):
    point = {"kind": "code", "modification": "custom", **SMALL}
    outcome = prototype.run(point, device, "quick")
    result = outcome.result
    assert result["same_constant"]
    assert result["same_stitched"]
    assert not result["same_argument"]
    assert result["calls_noinline"] > 0
    assert result["indirect_table"] > 0
    assert result["calls_stitched"] == result["indirect_stitched"] == 0
    by_topic = {f.topic: f for f in prototype.PROTOTYPE.conclude([stored(point, outcome)])}
    assert set(by_topic) == {"same-code", "calls-left", "recommendation"}
    assert by_topic["recommendation"].tier == "derived"
    assert "recommends stitching on a processor (cpu)" in by_topic["recommendation"].title
    different = prototype.Outcome("ok", "", {**result, "same_stitched": False})
    topics = {f.topic for f in prototype.PROTOTYPE.conclude([stored(point, different)])}
    assert "recommendation" not in topics


def test_emulated_costs_bear_their_name_and_conclude_nothing(device):
    point = {"kind": "cost", "modification": "scale", "way": "noinline", **SMALL}
    outcome = prototype.run(point, device, "quick")
    assert outcome.status == "ok"
    assert outcome.result["calls"] == 2 * 11 * 38 // 2
    assert outcome.result["emulated_compile_way_us"] > 1000  # a compiler ran
    timed = {k for k in outcome.result if k.endswith(("_us", "_dispatches")) or "_call" in k}
    timed |= {k for k in outcome.result if "ratio" in k and "worst" not in k}
    assert all(key.startswith("emulated_") for key in timed)
    low, ns, high = (outcome.result[f"emulated_ns_per_call{end}"] for end in ("_low", "", "_high"))
    assert low <= ns <= high
    # (ratio - 1) of the time of inline, over 2 heads of 11 x 38 scores, two a call, in ns.
    expected = (outcome.result["emulated_ratio"] - 1) * outcome.result["emulated_b_us"] / 418 * 1e3
    assert ns == pytest.approx(expected)
    assert prototype.PROTOTYPE.conclude([stored(point, outcome)]) == []


def test_where_times_count_every_way_gets_its_cost_and_the_rule_its_numbers(device, monkeypatch):
    fast = clocked(device, monkeypatch)
    rows = []
    for way in ("constant", "stitched", "table"):
        point = {"kind": "cost", "modification": "custom", "way": way, **SMALL}
        outcome = prototype.run(point, fast, "quick")
        assert outcome.status == "ok", outcome.reason
        rows.append(stored(point, outcome, tier="measured", name="a GPU", kind="cuda"))
    by_topic = {f.topic: f for f in prototype.PROTOTYPE.conclude(rows)}
    assert {f"cost-{way}-custom" for way in ("constant", "stitched", "table")} <= set(by_topic)
    overhead = rows[1]["result"]["ratio_high"] - 1
    chosen = findings.recommend(overhead, rows[0]["result"]["compile_way_us"] / 1e3)
    assert (
        by_topic["recommendation"].title == f"The dispatch rule recommends {chosen} on a GPU (cuda)"
    )


@pytest.mark.parametrize(
    ("overhead", "compile_ms", "chosen"),
    [
        (0.0, 500.0, "stitching"),
        (0.0099, 1.0, "stitching"),
        (0.01, 49.9, "function constants"),
        (0.2, 50.0, "pre-compiled variants"),
    ],
)
def test_the_rule_of_the_specification(overhead, compile_ms, chosen):
    assert findings.recommend(overhead, compile_ms) == chosen


@pytest.mark.parametrize(
    ("ratio", "compile_ms", "chosen"),
    # Half an interval is 0.2 %: the second ratio is below 1 %, its interval's end is not.
    [
        (1.005, 10.0, "stitching"),
        (1.009, 10.0, "function constants"),
        (1.009, 60.0, "pre-compiled"),
    ],
)
def test_measured_rows_recommend_by_the_upper_end_of_the_interval(ratio, compile_ms, chosen):
    rows = [measured("stitched", ratio, 0.002, 5.0), measured("constant", 1.0, 0.002, compile_ms)]
    by_topic = {f.topic: f for f in prototype.PROTOTYPE.conclude(rows)}
    assert f"recommends {chosen}" in by_topic["recommendation"].title
    assert "on Apple M4 (metal)" in by_topic["recommendation"].title
    assert by_topic["cost-stitched-custom"].evidence.effect.high == pytest.approx(ratio + 0.002)


@pytest.mark.parametrize(
    ("compile_us", "again_us", "run_us", "way_us", "after"),
    [
        (1000, 0, 10, 12, 500),  # 1000 us more to compile, 2 us saved each time
        (1000, 0, 10, 10, None),
        (1000, 0, 10, 9, None),
        (1000, 1000, 10, 12, 0),
        (500, 1000, 10, 9, None),
    ],
)
def test_break_even_in_dispatches(compile_us, again_us, run_us, way_us, after):
    assert prototype.break_even(compile_us, again_us, run_us, way_us) == after
