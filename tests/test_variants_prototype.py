import attnproto
import pytest
from attnproto.prototypes.registry import Outcome, load
from attnproto.prototypes.variants import prototype
from support.prototype_rows import M4, check_honest, check_spoilt, clocked, row_of, rows_of


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


def quick(*kinds):
    return [p for p in prototype.points("quick") if p["kind"] in kinds]


@pytest.fixture(scope="module")
def rows(device):
    points = [p for p in quick("fused") if p["dtype"] == "f32" and p["Nq"] == 77]
    points += quick("alone", "count", "traffic")
    return rows_of("variants", prototype, points, device)


def test_the_points_hold_every_variant_fused_and_alone():
    assert {p["variant"] for p in quick("fused")} == set(prototype.VARIANTS)
    assert {p["variant"] for p in quick("alone")} == set(prototype.STANDALONE)
    for point in prototype.points("quick") + prototype.points("full"):
        prototype.tile_of(point)
        prototype.problem_of(point)
        prototype.variant_of(point)


def test_every_variant_is_right_and_of_one_text(rows):
    for row in rows:
        assert row["status"] == "ok", row["reason"]
    fused = [row["result"] for row in rows if row["point"]["kind"] == "fused"]
    assert len({result["source"] for result in fused}) == 1
    assert {result["threadgroup_bytes"] for result in fused} == {32 * 64 * 4}


def test_rotation_and_expansion_apart_give_the_bits_of_the_fused_kernel(rows):
    alone = {
        row["point"]["variant"]: row["result"] for row in rows if row["point"]["kind"] == "alone"
    }
    for name in ("rope-interleaved", "rope-half-split", "gqa"):
        assert alone[name]["alone_equals_fused"]
        assert alone[name]["alone_dispatches"] == 3


def test_findings_reach_their_number_and_claim_no_speed(rows):
    findings = prototype.conclude(rows)
    check_honest(findings, rows, 4)
    expected = [f.evidence.effect for f in findings if f.tier == "modelled"]
    assert expected
    # A table or a switch costs a few per cent of the kernel's time at most, as far as counts say.
    assert all(1 <= one.value < 1.05 and one.low < one.value < one.high for one in expected)
    again = next(f for f in findings if f.topic == "rope-again")
    # (128 / 8 + 1) / 2
    assert again.evidence.effect.value == pytest.approx(8.5, rel=0.02)
    expansion = next(f for f in findings if f.topic == "gqa-expansion")
    assert expansion.evidence.effect.value == pytest.approx(4)


@pytest.mark.parametrize("kind", ["fused", "alone", "count", "traffic"])
def test_one_wrong_row_takes_its_findings_away(rows, kind):
    check_spoilt(prototype, rows, kind)


def test_a_wrong_kernel_is_a_wrong_row(device, monkeypatch):
    real = prototype.flash.launch

    def cheat(q, k, v, output, **options):
        timing = real(q, k, v, output, **options)
        output.reshape(-1)[:1] = 9.0
        return timing

    monkeypatch.setattr(prototype.flash, "launch", cheat)
    assert prototype.run(quick("fused")[0], device, "quick").status == "wrong"


def test_every_variant_is_compared_with_the_base_kernel_fused_and_alone():
    pairs = {(p["variant"], p["first"]) for p in quick("pair") if p["against"] == "base"}
    fused = {"rope-interleaved", "rope-half-split", "alibi", "softcap"}
    fused |= {"gqa", "mqa", "rope-alibi-gqa"}
    assert {name for name, first in pairs if first == "fused"} == fused
    assert {name for name, first in pairs if first == "alone"} == {
        "rope-interleaved", "alibi", "softcap", "gqa"
    }  # fmt: skip


@pytest.mark.parametrize("point", quick("pair"), ids=lambda p: f"{p['variant']}-{p['first']}")
def test_pairs_are_timed_where_times_count(device, monkeypatch, point):
    point = {**point, "Nq": 64, "Nkv": 64}
    assert "ratio" not in prototype.run(point, device, "quick").result
    outcome = prototype.run(point, clocked(device, monkeypatch), "quick")
    assert outcome.status == "ok", outcome.reason
    assert outcome.result["ratio"] > 0


def test_the_base_of_grouped_heads_has_a_kv_head_for_each(device, monkeypatch):
    point = next(p for p in quick("pair") if (p["variant"], p["against"]) == ("mqa", "base"))
    point = {**point, "Hq": 4, "Nq": 64, "Nkv": 64}
    heads = []
    real = prototype.flash.launch

    def watched(q, k, v, output, **options):
        heads.append(k.shape[1])
        return real(q, k, v, output, **options)

    monkeypatch.setattr(prototype.flash, "launch", watched)
    prototype.run(point, clocked(device, monkeypatch), "quick")
    # Judged, then each side run and recorded.
    assert heads == [1, 1, 1, 4, 4]


def test_a_measured_overhead_is_said_per_token():
    point = next(p for p in quick("pair") if p["variant"] == "alibi" and p["first"] == "fused")
    result = {"ratio": 1.05, "ratio_low": 1.04, "ratio_high": 1.06, "cv": 0.02, "blocks": 6}
    result |= {"verdict": "slower", "p_value": 1e-6, "kernel_hash": "h"}
    result |= {"a_us": 1050.0, "b_us": 1000.0}
    (finding,) = prototype.conclude([row_of("variants", point, M4, Outcome(result=result))])
    assert "alibi fused is slower than the base kernel on Apple M4" in finding.title
    # 50 us over 512 tokens.
    assert "+0.0977 us a query token" in finding.content


def test_the_prototype_is_found_by_its_name():
    assert load("variants") is prototype.PROTOTYPE
    assert prototype.conclude([]) == []
