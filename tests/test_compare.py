import subprocess

import numpy as np
import pytest
from attnproto.compare import CompareError, _extract, compare_rows, render
from test_report import row

RNG = np.random.default_rng(4)


def samples(mean, noise=0.01, n=40):
    return [float(x) for x in mean * (1 + noise * RNG.standard_normal(n))]


def pair(before, after, tier="measured", **options):
    return compare_rows([row(0, tier, **before)], [row(0, tier, **after)], **options)


@pytest.mark.parametrize(
    ("before", "after", "verdict", "regressed"),
    [
        (100.0, 100.0, "equal", False),
        (100.0, 120.0, "slower", True),
        (100.0, 80.0, "faster", False),
    ],
)
def test_times_get_a_verdict_on_the_second_side(before, after, verdict, regressed):
    found = pair({"samples_us": samples(before)}, {"samples_us": samples(after)})
    assert found.changes[0].verdict == verdict
    assert bool(found.regressions) is regressed


def test_noise_leaves_a_time_undecided():
    found = pair({"samples_us": samples(100.0, 0.3, 8)}, {"samples_us": samples(104.0, 0.3, 8)})
    assert found.changes[0].verdict == "undecided"
    assert found.regressions == []


def test_many_equal_points_yield_few_false_alarms():
    # Without the correction about 2.5 % of 300 would be called slower.
    old = [row(i, "measured", samples_us=samples(100.0, 0.05, 12)) for i in range(300)]
    new = [row(i, "measured", samples_us=samples(100.0, 0.05, 12)) for i in range(300)]
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
        ({"emulated_us": 1.0}, {"emulated_us": 9.0}, "equal", False),
    ],
)
def test_exact_numbers_and_errors_are_compared_without_times(before, after, verdict, regressed):
    found = pair(before, after, tier="emulated")
    assert found.changes[0].verdict == verdict
    assert bool(found.regressions) is regressed


def test_a_point_that_got_wrong_is_a_regression_and_one_that_got_right_is_not():
    right, wrong = row(0), row(0, status="wrong")
    assert compare_rows([right], [wrong]).regressions
    assert not compare_rows([wrong], [right]).regressions


def test_points_of_one_side_or_of_another_device_are_only_counted():
    found = compare_rows([row(0), row(1)], [row(1), row(2, "measured")])
    assert (len(found.changes), found.unmatched) == (1, 2)


def test_the_text_names_regressions_and_totals():
    found = pair({"threadgroup_bytes": 4096}, {"threadgroup_bytes": 8192})
    text = render(found)
    assert text.startswith("REGRESSED")
    assert "threadgroup_bytes 4096 became 8192" in text
    assert "1 points compared: 0 equal within 2 %, 1 regressed; 0 on one side only" in text


def test_an_unknown_revision_gets_a_sentence(tmp_path):
    with pytest.raises(CompareError, match="no-such-revision"):
        _extract("no-such-revision", tmp_path)


@pytest.mark.skipif(
    subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=False).returncode != 0,
    reason="not a git checkout",
)
def test_the_kernels_of_a_revision_are_put_aside(tmp_path):
    _extract("HEAD", tmp_path)
    assert (tmp_path / "metal" / "flash" / "flash.metal").is_file()
