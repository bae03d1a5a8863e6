"""Mistakes that kernel authors make, planted in this project's kernels one at a time."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Bug:
    """A mistake as a change of text.

    Attributes:
        mistake: what its author got wrong, in a sentence.
        family: whose checks judge it (families.py).
        file: file below ``metal/``.
        old: text that stands there once.
        new: what the mistake makes of it.
    """

    mistake: str
    family: str
    file: str
    old: str
    new: str


def corpus() -> list[Bug]:
    """Every planted bug, by the folder of ``metal/`` it is planted in."""
    files = sorted((Path(__file__).parent / "corpus").glob("*.toml"))
    return [Bug(**bug) for file in files for bug in tomllib.loads(file.read_text())["bug"]]
