import subprocess

import numpy as np
import pytest
from attnproto.commands.compare import (
    CompareError,
    _extract,
    _run_in_turns,
    compare_rows,
    compare_with_revision,
    render,
)
from attnproto.commands.run import run_plan
from attnproto.sweep.plan import make_plan
from support import synthetic_prototype as synthetic
from support.rows import flash_tile_row, published_problem_row

in_a_checkout = pytest.mark.skipif(
    subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=False).returncode != 0,
    reason="not a git checkout",
)
RNG = np.random.default_rng(4)


def samples(mean, noise=0.01, n=40):
    return [float(x) for x in mean * (1 + noise * RNG.standard_normal(n))]


def pair(before, after, tier="measured", **options):
    return compare_rows(
        [flash_tile_row(0, tier, **before)], [flash_tile_row(0, tier, **after)], **options
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict", "regressed"),
    [
        (100.0, 100.0, "equal", False),
        (100.0, 120.0, "slower", True),
        (100.0, 80.0, "faster", False),
    ],
)
def test_times_get_a_verdict_on_the_second_side(before, after, verdict, regressed):
    comparison = pair({"samples_us": samples(before)}, {"samples_us": samples(after)})
    assert comparison.changes[0].verdict == verdict
    assert bool(comparison.regressions) is regressed


def test_noise_leaves_a_time_undecided():
    comparison = pair(
        {"samples_us": samples(100.0, 0.3, 8)}, {"samples_us": samples(104.0, 0.3, 8)}
    )
    assert comparison.changes[0].verdict == "undecided"
    assert comparison.regressions == []


def test_many_equal_points_yield_few_false_alarms():
    # Without the correction about 2.5 % of 300 would be called slower.
    old = [flash_tile_row(i, "measured", samples_us=samples(100.0, 0.05, 12)) for i in range(300)]
    new = [flash_tile_row(i, "measured", samples_us=samples(100.0, 0.05, 12)) for i in range(300)]
    assert len(compare_rows(old, new, margin=0.0).regressions) <= 1


@pytest.mark.parametrize(
    ("before", "after", "verdict", "regressed"),
    [
        ({"threadgroup_bytes": 4096}, {"threadgroup_bytes": 8192}, "counted", True),
        ({"threadgroup_bytes": 8192}, {"threadgroup_bytes": 4096}, "counted", False),
        ({"shuffles": 2.0}, {"shuffles": 3.0}, "counted", True),
        ({"p99_ulp": 10.0}, {"p99_ulp": 12.0}, "accuracy", True),
        ({"p99_ulp": 10.0}, {"p99_ulp": 10.5}, "equal", False),
        ({"p99_ulp": 10.0}, {"p99_ulp": 5.0}, "accuracy", False),
        ({"emulated_us": 1.0}, {"emulated_us": 9.0}, "nothing", False),
        ({"paged_matrix_operations": 8.0}, {"paged_matrix_operations": 9.0}, "counted", True),
        ({"linear_flop": 8.0}, {"linear_flop": 8.0}, "equal", False),
        ({"instructions_inline": 8}, {"instructions_inline": 9}, "counted", True),
        ({"equals_twin": True}, {"equals_twin": False}, "counted", True),
        ({"equals_twin": False}, {"equals_twin": True}, "counted", False),
        ({"worst_ratio": 0.5}, {"worst_ratio": "inf"}, "accuracy", True),
        ({"worst_ratio_table": 0.5}, {"worst_ratio_table": 0.9}, "accuracy", True),
    ],
)
def test_exact_numbers_and_errors_are_compared_without_times(before, after, verdict, regressed):
    comparison = pair(before, after, tier="emulated")
    assert comparison.changes[0].verdict == verdict
    assert bool(comparison.regressions) is regressed


def test_a_point_that_got_wrong_is_a_regression_and_one_that_got_right_is_not():
    right, wrong = flash_tile_row(0), flash_tile_row(0, status="wrong")
    assert compare_rows([right], [wrong]).regressions
    assert not compare_rows([wrong], [right]).regressions


def test_what_fails_on_both_sides_is_not_called_equal():
    comparison = compare_rows(
        [flash_tile_row(0, status="error")], [flash_tile_row(0, status="error")]
    )
    assert (comparison.changes[0].verdict, comparison.regressions) == ("status", [])
    assert "error on both sides" in comparison.changes[0].detail


def test_a_count_that_changed_does_not_hide_a_time_that_did():
    before = {"threadgroup_bytes": 8192, "p99_ulp": 10.0, "samples_us": samples(100.0)}
    after = {"threadgroup_bytes": 4096, "p99_ulp": 5.0, "samples_us": samples(130.0)}
    comparison = pair(before, after)
    assert [change.verdict for change in comparison.changes] == ["counted", "accuracy", "slower"]
    assert [change.regression for change in comparison.changes] == [False, False, True]
    assert "1 points compared: 0 equal within 2 %, 1 regressed" in render(comparison)


@pytest.mark.parametrize(("after", "verdict"), [(1.3, "moved"), (0.82, "equal")])
def test_intervals_that_rows_hold_are_compared(after, verdict):
    def held(ratio):
        return {"ratio": ratio, "ratio_low": ratio - 0.03, "ratio_high": ratio + 0.03}

    (change,) = pair(held(0.8), held(after)).changes
    assert (change.verdict, change.regression) == (verdict, False)
    assert f"0.8 (0.77 to 0.83) became {after}" in change.detail


def test_sides_without_a_point_in_common_are_refused():
    with pytest.raises(CompareError, match="host and Apple M4"):
        compare_rows([flash_tile_row(0)], [flash_tile_row(0, "measured")])
    with pytest.raises(CompareError, match="no row"):
        compare_rows([], [flash_tile_row(0)])


def timed_folder(tmp_path):
    plan = make_plan(
        mode="quick", device="metal", only=(synthetic.NAME,), out=tmp_path / "out",
        point='{"n": 1, "does": "takes"}', opener="support.synthetic_prototype:open_measured",
    )  # fmt: skip
    run_plan(plan)
    return tmp_path / "out"


@in_a_checkout
@pytest.mark.parametrize(("revision", "verdict"), [("slower", "slower"), ("measured", "equal")])
def test_a_revision_is_run_in_turns_with_the_kernels_here(tmp_path, revision, verdict):
    openers = tuple(f"support.synthetic_prototype:open_{name}" for name in ("measured", revision))
    comparison = compare_with_revision(timed_folder(tmp_path), "HEAD", openers=openers)
    (change,) = comparison.changes
    assert change.verdict == verdict
    assert "A-B-B-A blocks" in change.detail
    assert bool(comparison.regressions) is (revision == "slower")


@in_a_checkout
def test_a_folder_of_other_kernels_is_compared_by_its_stored_samples(tmp_path, monkeypatch):
    folder = timed_folder(tmp_path)
    monkeypatch.setenv("SYNTHETIC_HASH", "text-2")
    openers = (
        "support.synthetic_prototype:open_measured",
        "support.synthetic_prototype:open_slower",
    )
    (change,) = compare_with_revision(folder, "HEAD", openers=openers).changes
    assert change.verdict == "slower"
    assert "two runs" in change.detail


def test_an_m4s_rates_stand_beside_the_published_ones():
    m4 = published_problem_row(time_us=1e6)
    text = render(compare_rows([{**m4, "reason": ""}], [{**m4, "reason": ""}]))
    assert "2 TFLOP/s here, 0.61 of 3.27" in text
    assert "the marks to reach" in render(compare_rows([flash_tile_row(0)], [flash_tile_row(0)]))


def test_points_of_one_side_or_of_another_device_are_only_counted():
    comparison = compare_rows(
        [flash_tile_row(0), flash_tile_row(1)], [flash_tile_row(1), flash_tile_row(2, "measured")]
    )
    assert (len(comparison.changes), comparison.unmatched) == (1, 2)


def test_the_text_names_regressions_and_totals():
    comparison = pair({"threadgroup_bytes": 4096}, {"threadgroup_bytes": 8192})
    text = render(comparison)
    assert text.startswith("REGRESSED")
    assert "threadgroup_bytes 4096 became 8192" in text
    assert "1 points compared: 0 equal within 2 %, 1 regressed; 0 on one side only" in text


def test_an_unknown_revision_gets_a_sentence(tmp_path):
    with pytest.raises(CompareError, match="no-such-revision"):
        _extract("no-such-revision", tmp_path)


@in_a_checkout
def test_the_kernels_of_a_revision_are_put_aside(tmp_path):
    _extract("HEAD", tmp_path)
    assert (tmp_path / "metal" / "flash" / "flash.metal").is_file()


def test_turns_whose_clock_stands_still_leave_the_stored_samples(monkeypatch):
    class Still:
        def __init__(self, *_):
            pass

        def opened(self):
            return self

        def run(self, _task):
            return "ok", ("", {"time_us": 0.0})

        def stop(self):
            pass

    monkeypatch.setattr("attnproto.commands.compare.Worker", Still)
    assert _run_in_turns(flash_tile_row(0), "cpu", "quick", 0.02, ("a:b", "c:d")) is None
