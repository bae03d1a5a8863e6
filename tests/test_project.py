"""What a project says of itself is said alike wherever it is said."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import attnproto
from attnproto.cli import app
from metal_double.left_out import COMPILER_ALONE, NEVER_METAL, left_to_cpu

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[1]


def first(pattern: str, name: str) -> str:
    match = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.M)
    assert match, f"{name} lacks {pattern}"
    return match[1]


def test_the_newest_version_is_the_same_everywhere():
    newest = first(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", "CHANGELOG.md")
    assert first(r'^fallback_version = "(.*)"$', "pyproject.toml") == newest
    assert first(r"^version: (.*)$", "CITATION.cff") == newest
    assert first(r'^version = "(.*)"$', "rust/Cargo.toml") == newest
    day = first(r"^## \[\d.*\] - (\d{4}-\d{2}-\d{2})$", "CHANGELOG.md")
    assert first(r'^date-released: "(.*)"$', "CITATION.cff") == day


def test_the_command_says_the_version_that_was_installed(capsys):
    app("--version")
    assert capsys.readouterr().out.strip() == attnproto.__version__
    assert re.match(r"\d", attnproto.__version__)


def test_a_folder_that_was_not_installed_has_a_version_too(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert attnproto.__version__ == "0+unknown"


def test_every_issue_form_asks_for_the_doctors_output():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    asked = {path.stem: "output of `attnproto doctor" in path.read_text() for path in forms}
    assert asked == {"bug": True, "config": False, "kernel-refused": True, "mac-results": True}


def test_the_double_runs_every_test_file_that_is_not_named():
    tests = ROOT / "tests"
    assert {name for name in COMPILER_ALONE | NEVER_METAL if not (tests / name).exists()} == set()
    assert not COMPILER_ALONE & NEVER_METAL
    assert not left_to_cpu(tests / "test_flash.py")
    assert not left_to_cpu(tests / "test_of_tomorrow.py")
    assert left_to_cpu(tests / "compiler" / "test_goldens.py")
    assert left_to_cpu(tests / "test_lint.py")


def test_a_file_that_the_double_does_not_run_cannot_ask_for_metal(pytester, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests")
    monkeypatch.delitem(sys.modules, "test_lint", raising=False)  # the one that has run
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text())
    asking = "import attnproto\n\ndef test_one():\n    attnproto.devices()\n"
    pytester.makepyfile(test_lint=asking, test_of_tomorrow=asking)
    outcome = pytester.runpytest_inprocess()
    outcome.assert_outcomes(passed=1, failed=1)
    outcome.stdout.fnmatch_lines("*test_lint.py asks for Metal: take it out of NEVER_METAL*")
