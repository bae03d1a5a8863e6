"""Programs that a prototype needs are built while other prototypes run."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time

import pytest
from attnproto.commands.run import run_plan
from attnproto.device import discovery
from attnproto.errors import AttnprotoError
from attnproto.prototypes import registry
from attnproto.results.store import POINTS, read_records
from attnproto.sweep import plan as plans
from attnproto.sweep import preparation
from attnproto.sweep.plan import make_plan
from support import synthetic_prototype as synthetic

BURN, REST = "burn", "variants"


class Crates:
    """What a prototype lacks until a build that a test ends."""

    def __init__(self, succeeds: bool = True):
        self.go_on = threading.Event()
        self._succeeds, self._built = succeeds, False

    def missing(self) -> str:
        return "" if self._built else "found no crates, needs them"

    def prepare(self, say) -> None:
        say("building")
        assert self.go_on.wait(30)
        self._built = self._succeeds


@pytest.fixture
def crates(monkeypatch, request):
    """Two prototypes of the registry, one of which lacks what a build gives."""
    crates = Crates(getattr(request, "param", True))
    plain = synthetic.PROTOTYPE
    late = dataclasses.replace(plain, missing=crates.missing, prepare=crates.prepare)
    known = {BURN: late, REST: plain}
    for module in (plans, preparation, registry):
        monkeypatch.setattr(module, "load", lambda name: known.get(name, plain))
    return crates


def plan_of(tmp_path, **options):
    return make_plan(
        mode="quick",
        device="cpu",
        only=(BURN, REST),
        out=tmp_path / "out",
        opener=synthetic.OPENER,
        say=lambda text: None,
        **options,
    )


def test_the_points_of_a_prototype_that_is_being_prepared_come_last(tmp_path, crates):
    plan = plan_of(tmp_path)
    crates.go_on.set()
    assert [task.prototype for task in plan.tasks] == [REST] * 6 + [BURN] * 6
    assert not any(line.name == BURN for line, _ in plan.skipped)


def test_what_is_over_soonest_runs_first_so_that_findings_come_soon(tmp_path):
    only = ("flash", "stitch", "linear", "constants")
    plan = make_plan(mode="quick", device="cpu", only=only, out=tmp_path / "out")
    names = list(dict.fromkeys(task.prototype for task in plan.tasks))
    # The few points of constants compile all that they need anew.
    assert names == ["stitch", "linear", "constants", "flash"]


@pytest.mark.parametrize(
    "options",
    [
        {"sweep_text": f'[[sweep]]\nprototype = "{REST}"\naxes = {{n = [1]}}'},
        {"where": ("n == 77",)},
        {"where": ("m == 1",)},
    ],
)
def test_nothing_is_built_for_points_that_do_not_run_or_a_mistake(tmp_path, crates, options):
    said = []
    with contextlib.suppress(AttnprotoError):
        make_plan(
            mode="quick",
            device="cpu",
            only=(BURN, REST),
            out=tmp_path / "out",
            opener=synthetic.OPENER,
            say=said.append,
            **options,
        )
    crates.go_on.set()
    assert said == []


def test_a_task_waits_until_its_prototype_is_prepared(tmp_path, crates):
    plan = plan_of(tmp_path)
    threading.Timer(0.5, crates.go_on.set).start()
    assert plan.preparation.missing(REST) == ""
    assert not crates.go_on.is_set()
    assert plan.preparation.missing(BURN) == ""
    assert crates.go_on.is_set()


@pytest.mark.parametrize("crates", [False], indirect=True)
def test_what_could_not_be_prepared_is_left_out_and_said_once(
    tmp_path, crates, capsys, monkeypatch
):
    plan = plan_of(tmp_path)
    crates.go_on.set()
    monkeypatch.setattr("attnproto.commands.run.conclusions", lambda rows: [])
    monkeypatch.setattr("attnproto.commands.run.conclude", lambda out: out)
    own = {task.prototype: task for task in plan.tasks}
    # The worker process knows prototypes by their modules.
    tasks = tuple(
        dataclasses.replace(task, prototype=synthetic.NAME) if task.prototype == REST else task
        for task in plan.tasks
    )
    assert set(own) == {REST, BURN}
    run_plan(dataclasses.replace(plan, tasks=tasks))
    said = capsys.readouterr().out
    assert said.count("skipped burn: found no crates, needs them") == 1
    rows = list(read_records(tmp_path / "out" / POINTS))
    assert [row["proto"] for row in rows] == [synthetic.NAME] * 6


def test_findings_are_said_as_soon_as_a_prototype_has_its_last_row(tmp_path, capsys):
    run_plan(
        make_plan(
            mode="quick",
            device="cpu",
            only=(synthetic.NAME,),
            out=tmp_path / "out",
            opener=synthetic.OPENER,
        )
    )
    said = [line for line in capsys.readouterr().out.splitlines() if "1 finding; " in line]
    assert said == [f"{synthetic.NAME}: 1 finding; emulated: The numbers add up to 15"]


@pytest.mark.parametrize(("kind", "jobs"), [("cpu", 3), ("metal", 1), ("cuda", 1)])
def test_without_jobs_as_many_processes_as_cores_run_where_times_are_emulated(
    tmp_path, monkeypatch, kind, jobs
):
    monkeypatch.setenv("ATTNPROTO_CPU_THREADS", "3")
    plan = make_plan(mode="quick", device=kind, only=("flash",), out=tmp_path / "out")
    assert plan.jobs == jobs


def test_auto_stands_for_what_the_environment_names(monkeypatch):
    monkeypatch.setenv("ATTNPROTO_DEVICE", "cuda")
    assert discovery.kind_of("auto") == "cuda"
    assert discovery.kind_of("cpu") == "cpu"


@pytest.mark.skipif(os.name != "posix", reason="programs are ended by signals")
def test_a_build_ends_with_the_process_that_began_it(tmp_path):
    cargo, log = tmp_path / "cargo", tmp_path / "log"
    # As cargo does: the work is done by a process that it started.
    cargo.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {log}\nwait\n")
    cargo.chmod(0o755)
    script = """
import pathlib, sys, threading, time
from attnproto.prototypes import rust_crates
threading.Thread(target=rust_crates.prepare, args=[print], daemon=True).start()
while not pathlib.Path(sys.argv[1]).exists() or not pathlib.Path(sys.argv[1]).read_text():
    time.sleep(0.01)
"""
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CARGO_TARGET_DIR": str(tmp_path / "target"),
    }
    subprocess.run([sys.executable, "-c", script, log], check=True, env=environment, timeout=120)
    worker = int(log.read_text())
    deadline = time.monotonic() + 30
    while running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(worker)


def running(process: int) -> bool:
    """Whether a process of that number is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
