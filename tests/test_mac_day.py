"""The page of the first day on a Mac: its commands exist, and its answers are the doctor's."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from attnproto import _core
from attnproto.cli import app
from attnproto.commands.doctor.checks import doctor
from attnproto.commands.doctor.day_questions import DAY, EXPECTED
from attnproto.commands.run import run_plan
from attnproto.sweep.plan import make_plan
from support import metal_prototype
from support.questions import OPEN

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/mac-day.md").read_text()
COMMANDS = re.findall(r"^\| \d+ \| `([^`]+)`", PAGE, re.MULTILINE)


def test_the_page_has_its_steps_in_their_order():
    assert [command.split()[0] for command in COMMANDS] == [
        "pip", "attnproto", "make", "python", "python", "python",
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_there_is(command):
    program, *words = shlex.split(command)
    if program == "attnproto":
        app.parse_args(words, print_error=False, exit_on_error=False)
    elif program == "python":
        # The benchmark is the command run, with these words.
        assert (ROOT / words[0]).is_file()
        app.parse_args(["run", *words[1:]], print_error=False, exit_on_error=False)
    elif program == "make":
        listed = subprocess.run(
            ["make", "-n", "-C", ROOT, *words], capture_output=True, text=True, check=True
        )
        assert "pytest" in listed.stdout
    else:
        assert (program, words) == ("pip", ["install", "."])
        assert (ROOT / "pyproject.toml").is_file()


def test_the_page_says_what_the_doctor_says():
    assert list(EXPECTED) == list(DAY)
    for name, (expected, otherwise) in EXPECTED.items():
        question = str(DAY[name].__doc__).strip().rstrip(".")
        assert f"| {question} | {expected} | {otherwise} |" in PAGE


def first_of_each(plan):
    """The plan with one point of each prototype."""
    first = {task.prototype: task for task in reversed(plan.tasks)}
    return replace(plan, tasks=tuple(first.values()))


@pytest.mark.skipif(not hasattr(_core, "metal_double"), reason="needs the software double")
def test_the_day_goes_through_the_double(tmp_path):
    report = tmp_path / "doctor.txt"
    assert doctor(report=report) == 0
    answers = re.findall(r"^(\w+) +([A-Z]\d+): ", report.read_text(), re.MULTILINE)
    assert [name for _, name in answers] == [*OPEN, *DAY]
    assert {status for status, _ in answers} == {"seen"}
    out = tmp_path / "quick-day"
    options = {"mode": "quick", "device": "metal", "out": out, "opener": metal_prototype.OPENER}
    # Those left out start processes of their own, in which the double has nothing to compile with.
    only = ("flash", "stitch", "paged", "linear", "variants")
    plan = first_of_each(make_plan(only=only, **options))
    done = run_plan(plan)
    assert (done.rows, done.not_ok) == (len(plan.tasks), 0)
    assert {task.prototype for task in plan.tasks} == set(only)
    rows = (out / "points.jsonl").read_bytes()
    # As on the next day: nothing is lost and nothing is run twice.
    run_plan(replace(plan, resume=True))
    assert (out / "points.jsonl").read_bytes() == rows
    assert (out / "report.html").stat().st_size > 10_000


def test_the_workflow_runs_the_steps_of_the_page():
    workflow = (ROOT / ".github/workflows/metal.yml").read_text()
    assert "--report doctor.txt" in workflow
    for mode in ("--quick", "--full"):
        assert f"bench/run_all.py {mode}" in workflow
