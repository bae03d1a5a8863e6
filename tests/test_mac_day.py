"""The page of the first day on a Mac: its commands exist, and its answers are the doctor's."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from attnproto.cli import app
from attnproto.commands.doctor.day_questions import DAY, EXPECTED

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


def test_the_workflow_runs_the_steps_of_the_page():
    workflow = (ROOT / ".github/workflows/metal.yml").read_text()
    assert "--report doctor.txt" in workflow
    for mode in ("--quick", "--full"):
        assert f"bench/run_all.py {mode}" in workflow
