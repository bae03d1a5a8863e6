import json
from pathlib import Path

import pytest
from attnproto.commands.compare import compare_rows, render
from attnproto.kernels.score_dispatch import WAYS
from attnproto.measure.dynamic_counts import NAMES
from attnproto.prototypes.registry import REGISTRY, metrics_of
from attnproto.results import metrics
from attnproto.results.metrics import EXACT, HIGHER, LOWER, METRICS, ROUNDING, TRUTH, Metric
from attnproto.results.row_diff import changes_of
from attnproto.results.row_schema import mistake
from support import synthetic_prototype as synthetic
from support.rows import flash_tile_row

COMMITTED = Path(__file__).parent.parent / "results" / "h200" / "points.jsonl"


def committed():
    """Name and value of every result that was committed."""
    for line in COMMITTED.read_text().splitlines():
        yield from json.loads(line)["result"].items()


def test_every_result_that_was_committed_is_declared():
    names = {name for name, _ in committed()}
    assert len(names) > 200
    assert names - METRICS.keys() == set()


def test_a_truth_is_declared_as_one_and_nothing_else_is():
    for name, value in committed():
        assert isinstance(value, bool) is (METRICS[name].unit == TRUTH), name


def test_the_counters_operations_are_declared_and_no_others():
    assert {metric.name for metric in metrics._OPERATIONS} == set(NAMES)


def test_each_way_to_modify_scores_has_its_metrics():
    of_ways = {name.removeprefix("row_ulp_") for name in METRICS if name.startswith("row_ulp_")}
    assert of_ways == set(WAYS)


def test_declarations_use_the_words_that_comparisons_read():
    assert {metric.noise for metric in METRICS.values()} == {EXACT, ROUNDING, metrics.CLOCK}
    assert {metric.better for metric in METRICS.values()} == {LOWER, HIGHER, metrics.NEITHER}


def test_the_eight_share_one_declaration():
    assert all(metrics_of(entry.name) is METRICS for entry in REGISTRY)


@pytest.mark.parametrize(
    ("proto", "result", "said"),
    [
        ("flash", {"time_us": "soon"}, "result.time_us: 'soon' is no number"),
        ("flash", {"flops": [1.0]}, "result.flops: '[1.0]' is no number"),
        ("flash", {"time_us": True}, "result.time_us: 'True' is no number"),
        ("flash", {"samples_us": [1.0, "2"]}, "result.samples_us: holds what is no number"),
        ("flash", {"samples_us": 3.0}, "result.samples_us: holds what is no number"),
        ("flash", {"peaks": {"flops_per_s": "fast"}}, "result.peaks: holds what is no number"),
        ("mine:IT", {"time_us": "soon"}, "result.time_us: 'soon' is no number"),
        ("mine:IT", {"threads": ["4", None]}, ""),  # of its own meaning
        ("flash", {"threads": ["4", None]}, "result.threads: "),
        ("flash", {"time_us": "nan", "cv": None, "samples_us": [1, 2.5], "refused": {}}, ""),
    ],
)
def test_a_number_that_is_none_keeps_a_record_from_being_a_row(proto, result, said):
    wrong = mistake({**flash_tile_row(0, "emulated"), "proto": proto, "result": result})
    assert wrong.startswith(said)
    assert bool(wrong) is bool(said)


def test_what_a_prototype_of_ones_own_calls_by_a_known_name_is_compared_as_it_is():
    def own(threads):
        return {**flash_tile_row(0, "emulated", threads=threads), "proto": synthetic.NAME}

    metrics = {"threads": Metric("threads", "threads", better=LOWER)}
    (change,) = changes_of("p", own([1]), own([2]), 0.02, metrics=metrics)
    assert (change.detail, change.regression) == ("threads [1] became [2]", False)


def own(n, rate):
    return {**flash_tile_row(0, "emulated", n=n, rate=rate), "proto": synthetic.NAME}


def test_a_result_that_nobody_declares_is_named_and_not_compared():
    comparison = compare_rows([own(1, 4.0)], [own(1, 1.0)])
    assert comparison.regressions == []
    assert "undeclared rate: not compared; name them in their prototype's metrics" in render(
        comparison
    )


@pytest.mark.parametrize(("better", "regressed"), [(HIGHER, True), (LOWER, False)])
@pytest.mark.parametrize("noise", [EXACT, ROUNDING])
def test_a_prototype_of_ones_own_declares_what_is_worse(monkeypatch, better, noise, regressed):
    declared = Metric("rate", "tokens", noise, better)
    prototype = synthetic.Prototype(
        synthetic.NAME, synthetic.points, synthetic.run, synthetic.conclude, metrics=(declared,)
    )
    monkeypatch.setattr(synthetic, "PROTOTYPE", prototype)
    comparison = compare_rows([own(1, 4.0)], [own(1, 1.0)])
    assert bool(comparison.regressions) is regressed
    said = "rate 4.0 became 1.0" if noise == EXACT else "rate 4 became 1"
    assert comparison.changes[0].detail == said
    assert "undeclared" not in render(comparison)


def test_a_prototype_that_is_not_here_is_compared_by_what_all_share():
    sides = [
        {**flash_tile_row(0, threadgroup_bytes=n), "proto": "nowhere_at_all:IT"} for n in (1, 2)
    ]
    assert compare_rows(sides[:1], sides[1:]).regressions
