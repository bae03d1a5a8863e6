import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic_prototype as synthetic
from attnproto.errors import DeviceUnavailable
from attnproto.fleet import run_fleet
from attnproto.run import make_plan, run_plan
from attnproto.runner import Task
from attnproto.store import read_records

HERE = str(Path(__file__).parent)


def test_without_dask_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DeviceUnavailable, match=r"attnproto\[fleet\]"):
        next(run_fleet([], address="tcp://127.0.0.1:1", kind="cpu", mode="quick"))


@pytest.fixture
def cluster(tmp_path):
    pytest.importorskip("distributed")
    from distributed import LocalCluster

    # The scheduler alone; its workers are processes that a test can kill.
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=":0"
    ) as scheduler:
        paths = [HERE, *sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
        command = [sys.executable, "-m", "distributed.cli.dask_worker"]
        command += [scheduler.scheduler_address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
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
                worker.kill()
                worker.wait()


def test_points_come_back_once_each_though_a_worker_is_killed(cluster, tmp_path):
    address, workers = cluster
    todo = [Task(synthetic.NAME, {"n": n, "does": "waits", "seconds": 0.3}, 30) for n in range(16)]
    rows = []
    for row in run_fleet(todo, address=address, kind="cpu", mode="quick", opener=synthetic.OPENER):
        rows.append(row)
        if len(rows) == 4:
            workers[0].send_signal(signal.SIGKILL)
    assert sorted(row["point"]["n"] for row in rows) == list(range(16))
    assert {row["status"] for row in rows} == {"ok"}
    assert all(row["device"]["name"] == "synthetic" for row in rows)
    assert all(row["environment"]["system"] for row in rows)


def test_a_run_over_a_fleet_is_stored_and_resumed_like_any_other(cluster, tmp_path):
    address, _ = cluster
    options = {"mode": "quick", "device": "cpu", "only": (synthetic.NAME,)}
    options |= {"out": tmp_path / "out", "opener": synthetic.OPENER, "fleet": address}
    assert run_plan(make_plan(**options)).rows == 6
    before = (tmp_path / "out" / "points.jsonl").read_bytes()
    run_plan(make_plan(resume=True, **options))
    assert (tmp_path / "out" / "points.jsonl").read_bytes() == before
    assert len(list(read_records(tmp_path / "out" / "findings.jsonl"))) == 1
