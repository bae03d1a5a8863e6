import attnproto
import numpy as np
import pytest
from attnproto.measure.dynamic_counts import count_launch
from attnproto.model import M4 as MODELLED_M4
from attnproto.model.launches import work_of_counts
from attnproto.model.time_model import least_time
from attnproto.model.validation import bound_ratio_interval
from attnproto.prototypes.linear import expected, launches, prototype
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
    real = launches.launch_linear

    def cheat(q, k, v, output, state, **options):
        timing = real(q, k, v, output, state, **options)
        state += 1.0
        return timing

    monkeypatch.setattr(launches, "launch_linear", cheat)
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


def test_linear_attention_is_counted_from_few_chunks():
    point = {**quick("time")[0], "N": 640, "H": 3}
    short = expected.linear_works(point)
    # chunk_h walks the chunks of a head; chunk_o has a threadgroup for each of them or more.
    drawn = launches.draw(point)
    launch = launches.linear(point, drawn, np.empty_like(drawn["q"]))
    done = work_of_counts(count_launch(launch))
    assert sum(work.threadgroups for work in short) == done.threadgroups
    for name in ("matrix_products", "cache_bytes", "float_operations", "exponentials"):
        summed = sum(getattr(w, name) * w.simdgroups * w.threadgroups for w in short)
        per_simdgroup = sum(w.simdgroups * w.threadgroups for w in short)
        assert summed / per_simdgroup == pytest.approx(getattr(done, name), rel=1e-3), name
    assert sum(work.unique_bytes for work in short) == done.unique_bytes


def test_a_time_of_linear_attention_is_bounded_and_says_why_no_more(device):
    point = {**quick("time")[0], "N": 128}
    result = prototype.run(point, device, "quick").result
    works = expected.linear_works(point)
    assert result["modelled_least_us"] == sum(least_time(work, MODELLED_M4) for work in works) > 0
    assert result["modelled_refused"][0].startswith("kernel: found linear attention")


@pytest.mark.parametrize(("least", "first"), [(1, 64), (65, 128), (641, 704), (4096, 4096)])
def test_the_first_length_is_a_multiple_of_64(least, first):
    assert expected._first(lambda n: n >= least) == first


def test_the_crossover_is_expected_where_bounds_meet_within_what_bounds_are_off(device):
    point = {**quick("crossover")[0], "N": 64}
    result = prototype.run(point, device, "quick").result
    ends = (result[f"modelled_crossover{end}"] for end in ("_low", "", "_high"))
    for n, factor in zip(ends, bound_ratio_interval(), strict=True):
        at, before = (
            factor * expected._least_linear(sized, MODELLED_M4)
            / expected._least_softmax(sized, MODELLED_M4)
            for sized in ({**point, "N": n}, {**point, "N": n - 64})
        )  # fmt: skip
        assert at <= 1 < before
    row = row_of("linear", point, device, Outcome(result=result))
    (finding,) = prototype.conclude([row])
    assert (finding.tier, finding.evidence.effect.value) == (
        "modelled",
        result["modelled_crossover"],
    )
    assert finding.confidence <= 0.5
    assert "expected to be faster than softmax from an N of" in finding.title


@pytest.mark.parametrize(
    ("name", "high", "said"),
    [
        ("Apple M4", 300, "an N of 192 to 704 before the run: as expected."),
        ("Apple M4", 150, "an N of 192 to 704 before the run: a surprise."),
        ("NVIDIA H200", 300, ""),
    ],
)
def test_a_measured_crossover_stands_beside_the_expected_one(name, high, said):
    result = {"status": "bracketed", "crossover_low": 100, "crossover_high": high}
    result |= {"crossover_estimate": 120, "probe_cv": 0.02, "probe_blocks": 60, "probes": []}
    result |= {"kernel_hash": "h", "linear_flops": 2e9, "softmax_flops": 3e9}
    result |= {"modelled_crossover": 320, "modelled_crossover_low": 192, "modelled_chip": "M4"}
    result |= {"modelled_crossover_high": 704}
    row = row_of("linear", quick("crossover")[0], M4, Outcome(result=result))
    row = {**row, "device": {**row["device"], "name": name}}
    measured = next(f for f in prototype.conclude([row]) if f.tier == "measured")
    assert measured.content.partition(" A model expected ")[2].startswith(said)
    assert ("A model expected" in measured.content) == bool(said)


def test_the_prototype_is_found_by_its_name():
    assert load("linear") is prototype.PROTOTYPE
    assert prototype.conclude([]) == []
