import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attnproto.errors import DeviceUnavailable
from attnproto.results.row import DeviceRecord, Task, replay_command, row_key
from attnproto.results.store import read_records
from attnproto.sweep.worker import Worker, run_tasks
from support import synthetic_prototype as synthetic


def tasks(*points, limit_s=20.0):
    return [Task(synthetic.NAME, {"n": i, **p}, limit_s) for i, p in enumerate(points)]


def rows(todo, **options):
    options = {"kind": "cpu", "mode": "quick", "environment": {"system": "test"}, **options}
    return list(run_tasks(todo, opener=synthetic.OPENER, **options))


def test_every_kind_of_failure_is_a_row_and_the_sweep_goes_on():
    records = rows(
        [
            *tasks({"does": "works"}, {"does": "raises"}, {"does": "breaks"}, {"does": "errs"}),
            Task(synthetic.NAME, {"n": 4, "does": "hangs"}, 1.0),
            *tasks({"does": "crashes"}, {"does": "works", "last": True}),
        ]
    )
    assert [row["status"] for row in records] == [
        "ok",
        "error",
        "error",
        "wrong",
        "timeout",
        "crashed",
        "ok",
    ]
    assert "even n" in records[1]["reason"]
    assert "ZeroDivisionError" in records[2]["reason"]
    assert records[3]["result"] == {"n": 3, "kernel_hash": "text-1"}
    assert {row["result"]["kernel_hash"] for row in records} == {"text-1"}
    assert "limit of 1 s" in records[4]["reason"]
    assert "SIGSEGV" in records[5]["reason"]


def test_a_hung_point_costs_its_limit_and_no_more():
    started = time.monotonic()
    rows([Task(synthetic.NAME, {"n": 0, "does": "hangs"}, 1.0)])
    assert time.monotonic() - started < 15


def test_a_row_says_everything_needed_to_judge_and_repeat_it():
    row = rows(tasks({"does": "works"}))[0]
    assert row["device"] == {"kind": "cpu", "name": "synthetic", "tier": "emulated"}
    assert row["environment"] == {"system": "test"}
    assert row["mode"] == "quick"
    assert row["elapsed_s"] >= 0
    assert row["started_utc"].endswith("+00:00")
    assert "--point" in row["replay"]


def test_done_points_are_not_run_again():
    first = rows(tasks({"does": "works"}, {"does": "works"}))
    again = rows(tasks({"does": "works"}, {"does": "works"}), done=[first[0]["key"]])
    assert [row["point"]["n"] for row in again] == [1]


def test_the_same_point_listed_twice_runs_once():
    assert len(rows(tasks({"does": "works"}) * 2)) == 1


def test_a_worker_whose_times_count_has_its_compiler_awake_before_the_first_point():
    compiled = {}
    for opener in ("open_measured", "open_device"):
        options = {"kind": "cpu", "mode": "quick", "environment": {}}
        todo = tasks({"does": "compiles"}, {"does": "compiles"})
        records = run_tasks(todo, opener=f"support.synthetic_prototype:{opener}", **options)
        compiled[opener] = [row["result"]["compiled"] for row in records]
    assert compiled == {"open_measured": [1, 1], "open_device": [0, 0]}


def test_two_jobs_run_points_side_by_side(tmp_path):
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    records = rows(
        tasks({"does": "meets", "own": one, "other": other},
              {"does": "meets", "own": other, "other": one}),
        jobs=2,
    )  # fmt: skip
    assert [row["result"]["met"] for row in records] == [True, True]


def test_one_job_at_a_time_has_the_device(tmp_path):
    log = tmp_path / "log"
    records = rows(tasks(*[{"does": "measures", "log": str(log)}] * 12), jobs=4)
    assert len(records) == 12
    assert log.read_text().split() == ["in", "out"] * 12


def test_a_job_that_dies_with_the_device_gives_it_back(tmp_path):
    log = str(tmp_path / "log")
    records = rows(tasks({"does": "dies alone"}, *[{"does": "measures", "log": log}] * 3), jobs=2)
    statuses = {row["point"]["n"]: row["status"] for row in records}
    assert statuses == {0: "crashed", 1: "ok", 2: "ok", 3: "ok"}
    assert "SIGKILL" in next(row["reason"] for row in records if row["status"] == "crashed")


def test_every_kind_of_failure_is_a_row_of_several_jobs_too():
    does = ["works", "raises", "errs", "crashes", "works", "works"]
    todo = [
        *tasks(*[{"does": d} for d in does]),
        Task(synthetic.NAME, {"n": 9, "does": "hangs"}, 1),
    ]
    records = {row["point"]["n"]: row for row in rows(todo, jobs=3)}
    statuses = [records[n]["status"] for n in (0, 1, 2, 3, 4, 5, 9)]
    assert statuses == ["ok", "error", "wrong", "crashed", "ok", "ok", "timeout"]
    assert "limit of 3 s" in records[9]["reason"]  # it may have to wait for two others


def test_jobs_share_out_the_processors(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    todo = tasks({"does": "counts"}, {"does": "counts"})
    assert rows(todo, jobs=1)[0]["result"]["threads"] == [None, None]
    assert [row["result"]["threads"] for row in rows(todo, jobs=3)] == [["4", "4"]] * 2
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert rows(todo, jobs=3)[0]["result"]["threads"] == ["7", None]


def test_a_device_that_does_not_open_for_several_jobs_gets_its_sentence():
    with pytest.raises(DeviceUnavailable, match="absent"):
        rows(tasks({"does": "works"}), kind="absent", jobs=3)


def test_a_device_that_does_not_open_gets_its_sentence():
    with pytest.raises(DeviceUnavailable, match="absent"):
        Worker("absent", "quick", synthetic.OPENER).opened()


def test_a_sweep_says_nothing_of_each_slow_kernel(capfd):
    worker = Worker("cpu", "quick", f"{synthetic.__name__}:open_with_warning").opened()
    worker.stop()
    assert "a slow kernel" not in capfd.readouterr().err


def test_keys_tell_points_modes_and_devices_apart():
    here = DeviceRecord("cpu", "host", "emulated")
    there = DeviceRecord("metal", "Apple M4", "measured")
    keys = {
        row_key("flash", {"D": 64}, "quick", here),
        row_key("flash", {"D": 128}, "quick", here),
        row_key("paged", {"D": 64}, "quick", here),
        row_key("flash", {"D": 64}, "full", here),
        row_key("flash", {"D": 64}, "quick", there),
    }
    assert len(keys) == 5


def test_a_replay_command_survives_the_shell():
    command = replay_command("flash", {"text": "it's"}, "full", "cpu")
    words = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert json.loads(words[-1]) == {"text": "it's"}
    assert words[:2] == ["attnproto", "run"]


RUN = """
import sys
sys.path.insert(0, {tests!r})
from support import synthetic_prototype as synthetic
from attnproto.commands.run import run_plan
from attnproto.sweep.plan import make_plan
from pathlib import Path

if __name__ == "__main__":
    synthetic_points = [
        {{"n": n, "does": "waits", "seconds": 600 if n == {stuck} else 0.05}} for n in range(40)
    ]
    plan = make_plan(mode="quick", device="cpu", only=(synthetic.NAME,), out=Path({out!r}),
                     resume={resume}, opener=synthetic.OPENER, jobs={jobs})
    from dataclasses import replace
    from attnproto.results.row import Task
    plan = replace(plan, tasks=tuple(Task(synthetic.NAME, p, 30) for p in synthetic_points))
    run_plan(plan)
"""


def launch(tmp_path, resume, stuck=None, jobs=1):
    script = tmp_path / f"run_{resume}.py"
    here = str(Path(__file__).parent)
    out = str(tmp_path / "out")
    script.write_text(RUN.format(tests=here, out=out, resume=resume, stuck=stuck, jobs=jobs))
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores interrupts and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def points_of(path):
    return [row["point"]["n"] for row in read_records(path)]


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]


def test_a_killed_run_resumes_with_nothing_lost_and_nothing_twice(tmp_path):
    path = tmp_path / "out" / "points.jsonl"
    process = launch(tmp_path, resume=False)
    wait_for(lambda: path.exists() and len(path.read_bytes().splitlines()) >= 5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = points_of(path)
    assert 5 <= len(before) < 40
    again = launch(tmp_path, resume=True)
    again.communicate()
    assert again.returncode == 0
    assert points_of(path) == list(range(40))
    assert points_of(path)[: len(before)] == before
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.skipif(not Path("/proc").exists(), reason="reads process states from /proc")
def test_a_worker_ends_with_its_parent_even_inside_a_hung_point(tmp_path, jobs):
    process = launch(tmp_path, resume=False, stuck=1, jobs=jobs)
    path = tmp_path / "out" / "points.jsonl"
    wait_for(lambda: path.exists() and path.read_bytes())
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert children
    wait_for(lambda: not any(is_alive(int(pid)) for pid in children))


def test_a_worker_whose_parent_went_without_its_answer_ends_in_peace(capfd):
    worker = Worker("cpu", "quick")
    assert worker.connection.poll(60)  # that it is ready, which nobody reads
    worker.connection.close()
    worker._process.join(20)
    assert worker._process.exitcode == 0
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_interrupt_keeps_every_point_and_says_how_to_go_on(tmp_path, jobs):
    path = tmp_path / "out" / "points.jsonl"
    process = launch(tmp_path, resume=False, jobs=jobs)
    wait_for(lambda: path.exists() and len(path.read_bytes().splitlines()) >= 3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "--resume" in said
    assert path.read_bytes().endswith(b"\n")
    assert len(points_of(path)) >= 3
