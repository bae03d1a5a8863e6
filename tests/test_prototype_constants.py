"""Prototype 4: variants that differ, caches that are really missed, archives that really serve."""

from __future__ import annotations

import re
from datetime import datetime, timezone

import attnproto
import numpy as np
import pytest
from attnproto.errors import KernelCompileError
from attnproto.prototypes.constants import cold_compile, prototype
from attnproto.prototypes.registry import load
from attnproto.results.row import DeviceRecord, Task, make_row
from support.prototype_rows import check_declared


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(scope="module")
def outcome(device):
    return prototype.run({"kind": "compile", "count": 2}, device, "quick")


def stored(outcome, tier="emulated", name="a processor", kind="cpu", point=None):
    check_declared(outcome.result)
    answer = (outcome.status, (outcome.reason, dict(outcome.result)))
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    task = Task("constants", point or {"kind": "compile", "count": 2}, 60)
    return make_row(task, "quick", DeviceRecord(kind, name, tier), {}, answer, now, 0.1)


def test_the_base_set_is_three_by_four_by_three_by_two_and_none_is_twice():
    base = cold_compile.variants(cold_compile.BASE_COUNT)
    assert len(base) == 72
    seen = {(v.tile.name, *sorted(v.constants.items())) for v in cold_compile.variants(500)}
    assert len(seen) == 500
    assert {(v.tile.d, v.tile.br, v.tile.bc) for v in base} == {
        (d, br, bc) for d in (64, 128, 256) for br in (8, 16, 32, 64) for bc in (32, 64, 128)
    }
    [_, few] = [p["count"] for p in prototype.points("quick") if p["kind"] == "compile"]
    assert {v.tile.d for v in cold_compile.variants(few)} == {64, 128, 256}
    with pytest.raises(ValueError, match="1 to 576"):
        cold_compile.variants(577)


def test_the_full_points_hold_the_counts_of_the_specification():
    counts = {p["count"] for p in prototype.points("full") if p["kind"] == "compile"}
    assert {1, 10, 50, 100, 500} <= counts
    assert load("constants") is prototype.PROTOTYPE


def test_a_nonce_changes_text_name_and_arithmetic():
    one = cold_compile.variants(1)[0]
    name, text = cold_compile.source(one, 7, 3)
    assert name.endswith("_n7_3")
    assert f'host_name("{name}")' in text
    assert "-3.0000021e38f" in text
    assert cold_compile.source(one, 8, 3)[1] != text
    nonces = [0, 1, 2, 3, 2**20 - 2, 2**20 - 1]
    starts = [
        np.float32(re.search(r"first_maximum = (\S+)f;", cold_compile.source(one, n, 0)[1])[1])
        for n in nonces
    ]
    assert np.isfinite(starts).all()
    assert len(set(starts)) == len(nonces)
    with pytest.raises(KernelCompileError, match="0 places for the nonce"):
        cold_compile.fresh(1)("no maximum here")


def test_cold_misses_every_cache_and_warm_hits_them(outcome):
    assert outcome.status == "ok"
    result = outcome.result
    assert result["cached_cold"] == 0
    assert result["cached_memory"] == result["cached_disk"] == result["cached_archive"] == 2
    assert result["served"] == result["distinct_objects"] == 2
    assert result["worst_ratio"] < 1
    for stage in prototype.STAGES:
        assert len(result[f"emulated_cold_{stage}_all_us"]) == 2
    # Compiling takes longer than finding what was compiled; 3 is far below what is seen.
    assert result["emulated_cold_pipeline_us"] > 3 * result["emulated_memory_pipeline_us"]
    assert result["emulated_cold_function_us"] > 0


def test_emulated_rows_conclude_counts_and_sizes_but_no_time(outcome):
    findings = {f.topic: f for f in prototype.PROTOTYPE.conclude([stored(outcome)])}
    assert set(findings) == {"compiled-once", "archive-serves", "variants-differ", "archive-bytes"}
    assert all(f.evidence.kind not in ("performance", "cost") for f in findings.values())
    assert findings["variants-differ"].tier == "derived"


def test_measured_rows_conclude_times_with_their_spread(outcome):
    fields = {key.removeprefix("emulated_"): value for key, value in outcome.result.items()}
    fields |= {"cold_wall_us": 21e6, "archive_wall_us": 0.4e6}
    fields |= {"archive_load_us": 0.9e6, "archive_create_us": 7e6}
    row = stored(prototype.Outcome("ok", "", fields), "measured", "Apple M4", "metal")
    findings = {f.topic: f for f in prototype.PROTOTYPE.conclude([row])}
    assert "Apple M4" in findings["cold-compile"].title
    assert findings["cold-compile"].evidence.cv is not None
    assert findings["archive-speedup"].evidence.n == 2
    assert findings["archive-speedup"].confidence <= 0.7  # two samples
    sentence = (
        "took 21 s cold, and 0.4 s here after 0.9 s to read the archive, which took 7 s to make"
    )
    assert sentence in findings["archive-speedup"].content
    assert "compiled-once" not in findings  # Metal does not say when its compiler ran


def test_more_threads_are_reported_only_with_several_samples():
    def row(threads, walls):
        result = {"wall_us": walls, "kernel_hash": "0", "compiler": "Metal"}
        point = {"kind": "threads", "count": 4, "threads": threads}
        done = prototype.Outcome("ok", "", result)
        return stored(done, "measured", "Apple M4", "metal", point)

    findings = prototype.PROTOTYPE.conclude([row(1, [8.0, 8.1, 8.2]), row(4, [2.0, 2.0, 2.1])])
    assert [f.evidence.effect.value for f in findings] == [pytest.approx(4.05)]
    assert not prototype.PROTOTYPE.conclude([row(1, [8.0]), row(4, [2.0])])
    # A large number is written in full.
    (finding,) = prototype.PROTOTYPE.conclude([row(1, [8e3, 8.1e3, 8.2e3]), row(4, [2.0] * 3)])
    assert finding.title == "4 compile threads are 4,050 times as fast as one"


def test_several_threads_compile_the_same_pipelines(device):
    timings = cold_compile.compile_variants(device, 2, 12345, threads=2)
    again = cold_compile.compile_variants(device, 2, 12345)
    assert len(timings["library_us"]) == 2
    assert again["cached"] == 2


def test_the_compiler_is_awake_before_anything_is_timed(device, monkeypatch):
    seen = []
    monkeypatch.setattr(cold_compile, "wake_compiler", lambda device: seen.append("wake"))
    monkeypatch.setattr(
        cold_compile, "compile_variants", lambda *_, **__: seen.append("time") or {}
    )
    cold_compile._answer(["cpu", 1, 7, "", False])
    assert seen == ["wake", "time"]
    # Where no compiler may run, none is woken.
    monkeypatch.setattr(cold_compile, "_forbid_compilers", lambda: None)
    cold_compile._answer(["cpu", 1, 7, "", True])
    assert seen == ["wake", "time", "time"]


def test_each_throw_away_text_is_new(device):
    texts = []
    twin = type(
        "Twin", (), {"library": lambda self, text: texts.append(text) or device.library(text)}
    )
    for _ in range(2):
        cold_compile.wake_compiler(twin())
    assert texts[0] != texts[1]


def test_a_process_in_which_compilers_are_forbidden_fails_on_what_is_new(device):
    with pytest.raises(KernelCompileError, match="found a compiler at work"):
        cold_compile.in_new_process(device, 1, 54321, forbid_compilers=True)


def test_an_archive_that_serves_what_it_does_not_hold_is_wrong(device, monkeypatch):
    monkeypatch.setattr(prototype, "_misses", lambda *_: False)
    done = prototype.run({"kind": "compile", "count": 1}, device, "quick")
    assert done.status == "wrong"
    assert "does not hold" in done.reason


def test_a_device_that_stores_nothing_keeps_its_other_times(device, monkeypatch):
    def refuse(*_):
        raise KernelCompileError("[test] found no archives, needs some; none")

    monkeypatch.setattr(prototype, "_store", refuse)
    done = prototype.run({"kind": "compile", "count": 1}, device, "quick")
    assert done.status == "ok"
    assert "found no archives" in done.result["archive_refused"]
    rows = [stored(done, point={"kind": "compile", "count": 1})]
    assert {f.topic for f in prototype.PROTOTYPE.conclude(rows)} == {"compiled-once"}
