"""What a project says of itself is said alike wherever it is said."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import attnproto
from attnproto.cli import app

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
