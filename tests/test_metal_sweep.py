"""Faults of the Metal device inside a sweep: each costs its row, and the sweep goes on."""

import pytest
from attnproto import _core
from attnproto.results.row import Task
from attnproto.sweep.worker import run_tasks
from support import metal_prototype

pytestmark = pytest.mark.skipif(
    not hasattr(_core, "metal_double"), reason="only the software double can be told to fail"
)


def rows(*points, limit_s=60.0):
    tasks = [
        Task(metal_prototype.NAME, {"n": n, **point}, 2.0 if point.get("hangs") else limit_s)
        for n, point in enumerate(points)
    ]
    options = {"kind": "metal", "mode": "quick", "environment": {}}
    return list(run_tasks(tasks, opener=metal_prototype.OPENER, **options))


def test_a_device_lost_in_a_sweep_is_a_row_and_the_next_point_has_it_back():
    records = rows({}, {"fault": 11}, {})
    assert [row["status"] for row in records] == ["ok", "lost", "ok"]
    assert "device removed (code 11) running add_one" in records[1]["reason"]
    assert all(row["device"]["kind"] == "metal" for row in records)


def test_faults_are_rows_and_the_worker_lives_on():
    records = rows({"fault": 2}, {"fault": 3}, {"fault": 8}, {})
    assert [row["status"] for row in records] == ["error", "error", "error", "ok"]
    for row, words in zip(records, ("timeout", "page fault", "out of memory"), strict=False):
        assert f"{words} (code {row['point']['fault']}) running add_one" in row["reason"]


def test_a_submission_that_never_ends_costs_its_limit():
    records = rows({"hangs": True}, {})
    assert [row["status"] for row in records] == ["timeout", "ok"]
