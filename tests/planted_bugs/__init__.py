"""Mistakes that kernel authors make, planted in this project's kernels one at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """A mistake as a change of text.

    Attributes:
        family: whose checks judge it (families.py).
        file: file below ``metal/``.
        old: text that stands there once.
        new: what the mistake makes of it.
        mistake: what its author got wrong, in a sentence.
    """

    family: str
    file: str
    old: str
    new: str
    mistake: str
