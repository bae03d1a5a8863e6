import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from attnproto.commands.run import run_plan
from attnproto.errors import DeviceUnavailable
from attnproto.results.row import Task
from attnproto.results.store import read_records
from attnproto.sweep.fleet import run_fleet
from attnproto.sweep.plan import make_plan
from support import synthetic_prototype as synthetic

HERE = str(Path(__file__).parent)


def test_without_dask_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DeviceUnavailable, match=r"attnproto\[fleet\]"):
        next(run_fleet([], address="tcp://127.0.0.1:1", kind="cpu", mode="quick"))


@contextmanager
def started(tmp_path, *options):
    from distributed import LocalCluster

    # The scheduler alone; its workers are processes that a test can kill.
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=":0"
    ) as scheduler:
        paths = [HERE, *sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
        command = [sys.executable, "-m", "distributed.cli.dask_worker"]
        command += [scheduler.scheduler_address, "--no-dashboard", *options]
        workers = [
            subprocess.Popen(
                [*command, "--local-directory", str(tmp_path / f"w{i}")],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for i in range(2)
        ]
        try:
            yield scheduler.scheduler_address, workers
        finally:
            for worker in workers:
                # A nanny ends its child when asked, not when killed.
                worker.send_signal(signal.SIGTERM if "--nanny" in options else signal.SIGKILL)
                worker.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with started(tmp_path_factory.mktemp("fleet"), "--no-nanny", "--nthreads", "2") as running:
        yield running


def waits(count, seconds):
    points = ({"n": n, "does": "waits", "seconds": seconds} for n in range(count))
    return [Task(synthetic.NAME, point, 30) for point in points]


def test_a_run_over_a_fleet_is_stored_and_resumed_like_any_other(cluster, tmp_path):
    address, _ = cluster
    options = {"mode": "quick", "device": "cpu", "only": (synthetic.NAME,)}
    options |= {"out": tmp_path / "out", "opener": synthetic.OPENER, "fleet": address}
    assert run_plan(make_plan(**options)).rows == 6
    before = (tmp_path / "out" / "points.jsonl").read_bytes()
    run_plan(make_plan(resume=True, **options))
    assert (tmp_path / "out" / "points.jsonl").read_bytes() == before
    assert len(list(read_records(tmp_path / "out" / "findings.jsonl"))) == 1


def test_a_machine_without_the_device_ends_the_run_and_leaves_its_points_open(cluster):
    address, _ = cluster
    with pytest.raises(DeviceUnavailable, match=r"no absent device.*\(on "):
        list(run_fleet(waits(2, 0), address=address, kind="absent", mode="quick",
                       opener=synthetic.OPENER))  # fmt: skip


def test_a_point_that_hangs_costs_the_fleet_one_row(cluster):
    address, _ = cluster
    todo = [Task(synthetic.NAME, {"n": 0, "does": "hangs"}, 1.0), *waits(3, 0.01)]
    options = {"kind": "cpu", "mode": "quick", "opener": synthetic.OPENER}
    rows = {
        row["point"]["does"]: row["status"] for row in run_fleet(todo, address=address, **options)
    }
    assert rows == {"hangs": "timeout", "waits": "ok"}


# Last on the shared cluster: it loses a worker.
def test_points_come_back_once_each_though_a_worker_is_killed(cluster):
    address, workers = cluster
    rows = []
    options = {"kind": "cpu", "mode": "quick", "opener": synthetic.OPENER}
    for row in run_fleet(waits(16, 0.3), address=address, **options):
        rows.append(row)
        if len(rows) == 4:
            workers[0].send_signal(signal.SIGKILL)
    assert sorted(row["point"]["n"] for row in rows) == list(range(16))
    assert {row["status"] for row in rows} == {"ok"}
    # A worker with two threads that took two points at once would mix up their answers.
    assert all(row["result"]["n"] == row["point"]["n"] for row in rows)
    assert all(row["device"]["name"] == "synthetic" for row in rows)
    assert all(row["environment"]["system"] and row["environment"]["host"] for row in rows)


def test_a_worker_under_a_nanny_is_told_how_to_start(tmp_path):
    options = {"kind": "cpu", "mode": "quick", "opener": synthetic.OPENER}
    with (
        started(tmp_path, "--nanny", "--nthreads", "1") as (address, _),
        pytest.raises(DeviceUnavailable, match="--no-nanny"),
    ):
        list(run_fleet(waits(1, 0), address=address, **options))
