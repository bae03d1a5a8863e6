import attnproto
import pytest
from attnproto.prototypes.linear import prototype
from attnproto.prototypes.registry import Outcome, load
from support.prototype_rows import M4, check_honest, check_spoilt, clocked, row_of, rows_of


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


def quick(*kinds):
    return [p for p in prototype.points("quick") if p["kind"] in kinds]


@pytest.fixture(scope="module")
def rows(device):
    points = [p for p in quick("chunk") if (p["D"], p["dtype"]) == (64, "f32")]
    points += [p for p in quick("decay") if not p["normalize"]] + quick("state")
    points += [p for p in quick("length") if p["N"] <= 1000]
    points += [p for p in quick("work") if p["D"] == 64]
    return rows_of("linear", prototype, points, device)


def test_the_points_hold_every_chunk_decay_and_length():
    chunks = {(p["D"], p["chunk"]) for p in quick("chunk")}
    assert chunks == {(d, c) for d in (64, 128) for c in (32, 64, 128, 256)}
    assert {p["decay"] for p in quick("decay")} == set(prototype.DECAYS)
    assert any(p["N"] % p["chunk"] for p in quick("chunk"))
    assert any(p["N"] == 65536 for p in prototype.points("full"))
    for point in prototype.points("quick") + prototype.points("full"):
        assert prototype.flops(point) > 0


def test_every_point_is_judged_with_its_final_state(rows):
    for row in rows:
        assert row["status"] == "ok", row["reason"]
        if row["point"]["kind"] != "work":
            assert row["result"]["state_ratio"] <= 1
            assert row["result"]["threadgroup_bytes"] == 0
            assert row["result"]["submissions"] == 1


def test_counted_work_is_what_the_derivation_says(rows):
    result = next(
        row["result"]
        for row in rows
        if row["point"]["kind"] == "work"
        and row["point"]["N"] == 1024
        and row["point"]["chunk"] == 64
    )
    # Twice D^2 + D^2 + D (C + 8) multiply-adds a token, C / 2 earlier tokens on average.
    assert result["linear_matrix_flop"] == pytest.approx(2 * (2 * 64**2 + 64 * (64 + 8)), rel=0.01)


def test_findings_reach_their_number_and_claim_no_speed(rows):
    findings = prototype.conclude(rows)
    check_honest(findings, rows, 5)
    crossover = next(f for f in findings if f.topic == "work-crossover-D64")
    assert "not of time" in crossover.content
    assert 64 < crossover.evidence.effect.value < 256


@pytest.mark.parametrize("kind", ["chunk", "decay", "state", "length", "work"])
def test_one_wrong_row_takes_its_findings_away(rows, kind):
    check_spoilt(prototype, rows, kind)


def test_a_wrong_state_is_a_wrong_row(device, monkeypatch):
    real = prototype.launch_linear

    def cheat(q, k, v, output, state, **options):
        timing = real(q, k, v, output, state, **options)
        state += 1.0
        return timing

    monkeypatch.setattr(prototype, "launch_linear", cheat)
    outcome = prototype.run(quick("state")[0], device, "quick")
    assert outcome.status == "wrong"
    assert "final state" in outcome.reason


def test_times_and_the_crossover_are_taken_where_times_count(device, monkeypatch):
    fast = clocked(device, monkeypatch)
    point = {**quick("time")[0], "N": 96}
    result = prototype.run(point, fast, "quick").result
    assert len(result["samples_us"]) == 3
    point = {**quick("crossover")[0], "N": 64, "longest": 128, "H": 1}
    assert "status" not in prototype.run(point, device, "quick").result
    result = prototype.run(point, fast, "quick").result
    assert result["probes"]
    n = int(result["crossover_high"])
    # Causal pairs of 64 dimensions; two states of D^2 and chunks of 64.
    assert result["softmax_flops"] == 4 * 64 * n * (n + 1) // 2
    assert result["linear_flops"] == n * (4 * 64**2 + 2 * 64 * (64 + 8))


def test_a_measured_crossover_is_said_with_its_interval():
    point = quick("crossover")[0]
    result = {"status": "bracketed", "crossover_low": 896, "crossover_high": 1024}
    result |= {"crossover_estimate": 950, "probe_cv": 0.02, "probe_blocks": 60}
    result |= {"probes": [{"N": 256}, {"N": 4096}], "kernel_hash": "h"}
    result |= {"linear_flops": 2e9, "softmax_flops": 3e9}
    (finding,) = prototype.conclude([row_of("linear", point, M4, Outcome(result=result))])
    assert "896" in finding.title
    assert "softmax attention does 3 GFLOP and linear attention 2." in finding.content
    undecided = Outcome(result={**result, "status": "undecided"})
    assert prototype.conclude([row_of("linear", point, M4, undecided)]) == []


def test_the_prototype_is_found_by_its_name():
    assert load("linear") is prototype.PROTOTYPE
    assert prototype.conclude([]) == []
