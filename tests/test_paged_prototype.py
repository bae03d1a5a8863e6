import attnproto
import numpy as np
import pytest
from attnproto.kernels.paged import PAGE_SIZES
from attnproto.prototypes.paged import prototype
from attnproto.prototypes.paged.cache import context_lens, draw
from attnproto.prototypes.registry import Outcome, load
from support.prototype_rows import M4, check_honest, check_spoilt, clocked, row_of, rows_of


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


def quick(*kinds):
    return [p for p in prototype.points("quick") if p["kind"] in kinds]


@pytest.fixture(scope="module")
def rows(device):
    points = [p for p in quick("decode", "prefill") if (p["D"], p["dtype"]) == (64, "f32")]
    points += [p for p in quick("count") if p["dtype"] == "f32"]
    points += [p for p in quick("partition") if p["Nkv"] < 200]
    # One case that staging would not fit, read from a small run.
    points += [p for p in quick("decode") if (p["D"], p["dtype"], p["page"]) == (128, "f32", 64)]
    return rows_of("paged", prototype, points, device)


def test_the_points_hold_every_page_dimension_and_type():
    axes = {(p["page"], p["D"], p["dtype"]) for p in quick("decode")}
    assert axes == {(p, d, t) for p in PAGE_SIZES for d in (64, 128, 256) for t in ("f16", "f32")}
    for point in prototype.points("quick") + prototype.points("full"):
        prototype.tile_of(point)
        assert point["partition"] % point["Bc"] == 0


def test_pages_are_scattered_shared_and_poisoned():
    tokens = draw(next(p for p in quick("decode") if p["page"] == 16))
    lengths = tokens.paged.context_lens
    assert list(lengths) == [389, 259, 129, 0]
    used = tokens.paged.block_table[0, : -(-389 // 16)]
    assert np.any(np.diff(used) != 1)
    assert tokens.shared
    assert np.array_equal(tokens.paged.block_table[1, : tokens.shared], used[: tokens.shared])
    assert np.isnan(tokens.paged.k).any()
    assert np.all(tokens.paged.block_table[3] == -1)


def test_equal_contexts_are_all_full():
    assert list(context_lens({"Nkv": 9, "B": 3, "contexts": "equal"})) == [9, 9, 9]


def test_a_point_is_judged_and_compared_to_the_bit(rows):
    for row in rows:
        assert row["status"] == "ok", row["reason"]
    result = next(row["result"] for row in rows if row["point"]["kind"] == "decode")
    assert result["worst_ratio"] < 1
    assert result["equals_twin"]
    assert result["equals_flash"]
    assert result["empty_contexts"] == 1
    assert result["empty_are_zero"]
    assert result["threadgroup_bytes"] == 8 * 64 * 4


def test_counts_are_those_of_the_table_reads(rows):
    counted = {
        row["point"]["page"]: row["result"] for row in rows if row["point"]["kind"] == "count"
    }
    for page, result in counted.items():
        extra = result["paged_device_loads"] - result["contiguous_device_loads"]
        assert extra == max(1, 64 // page)


def test_findings_reach_their_number_and_claim_no_speed(rows):
    findings = prototype.conclude(rows)
    check_honest(findings, rows, 5)
    expected = [f.evidence.effect for f in findings if f.tier == "modelled"]
    assert expected
    # A table or a switch costs a few per cent of the kernel's time at most, as far as counts say.
    assert all(1 <= one.value < 1.05 and one.low < one.value < one.high for one in expected)
    budget = next(f for f in findings if f.topic == "budget")
    # Br x D elements of 4 bytes.
    assert "2048 for D 64 f32 Br 8" in budget.content
    assert "8192 for D 64 f32 Br 32" in budget.content
    assert [f.id for f in findings] == [f.id for f in prototype.conclude(rows)]


@pytest.mark.parametrize("kind", ["decode", "count", "partition"])
def test_one_wrong_row_takes_its_findings_away(rows, kind):
    check_spoilt(prototype, rows, kind)


def test_a_wrong_kernel_is_a_wrong_row(device, monkeypatch):
    real = prototype.launch_paged

    def cheat(q, cache, output, **options):
        timing = real(q, cache, output, **options)
        output[:1] = 9.0
        return timing

    monkeypatch.setattr(prototype, "launch_paged", cheat)
    outcome = prototype.run(quick("decode")[0], device, "quick")
    assert outcome.status == "wrong"


@pytest.mark.parametrize("against", ["twin", "flash"])
def test_pairs_are_timed_where_times_count(device, monkeypatch, against):
    point = next(p for p in quick("pair") if p["against"] == against and p["page"] == 16)
    point = {**point, "Nkv": 128, "Nq": min(point["Nq"], 64)}
    assert "ratio" not in prototype.run(point, device, "quick").result
    outcome = prototype.run(point, clocked(device, monkeypatch), "quick")
    assert outcome.status == "ok"
    assert outcome.result["ratio"] > 0
    assert outcome.result["memory"] == "hot"
    memories = [p.get("memory", "hot") for p in quick("pair") if p["against"] == "twin"]
    assert memories.count("hot") == memories.count("cold") == len(PAGE_SIZES)


def test_a_measured_overhead_is_said_with_its_page_size():
    point = next(p for p in quick("pair") if p["page"] == 32)
    result = {"ratio": 1.1, "ratio_low": 1.09, "ratio_high": 1.11, "cv": 0.02, "blocks": 6}
    result |= {"verdict": "slower", "p_value": 1e-6, "kernel_hash": "h", "a_us": 1, "b_us": 1}
    (finding,) = prototype.conclude([row_of("paged", point, M4, Outcome(result=result))])
    cold = row_of("paged", {**point, "memory": "cold"}, M4, Outcome(result=result))
    (other,) = prototype.conclude([cold])
    assert "inputs not in a cache" in other.title
    assert other.topic == finding.topic + "-cold"
    assert "pages of 32 is slower than the contiguous twin on Apple M4" in finding.title
    assert "+10.0 %" in finding.content


def test_the_prototype_is_found_by_its_name():
    assert load("paged") is prototype.PROTOTYPE
    assert prototype.conclude([]) == []
