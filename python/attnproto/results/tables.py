"""What a prototype shows in a report beyond its findings: tables, and two texts side by side."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Two lines that do one of these with different names stand side by side.
_ACTS = re.compile(
    r"\b(kernel|for|if|make_filled_simdgroup_matrix|simdgroup_load|simdgroup_store|"
    r"simdgroup_multiply_accumulate|simdgroup_barrier|threadgroup_barrier|return)\b"
)
# A pair of longer texts is folded away.
LONG_LINES = 120


@dataclass(frozen=True)
class Table:
    """A table: what it shows, its columns, and rows of as many cells."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class SideBySide:
    """Two texts in two columns: lines that do the same stand beside each other."""

    title: str
    names: tuple[str, str]
    lines: tuple[tuple[str, str], ...]

    @property
    def is_long(self) -> bool:
        """Whether it is more than one looks at without being asked to."""
        return len(self.lines) > LONG_LINES


def side_by_side(title: str, names: tuple[str, str], texts: tuple[str, str]) -> SideBySide:
    """Align two texts by what their lines do.

    Args:
        title: Of the pair.
        names: Of the two.
        texts: Source texts; blank lines and comments are left out.
    """
    left, right = (_lines(text) for text in texts)
    matcher = difflib.SequenceMatcher(
        None, [_act(line) for line in left], [_act(line) for line in right], autojunk=False
    )
    lines: list[tuple[str, str]] = []
    for _, i1, i2, j1, j2 in matcher.get_opcodes():
        a, b = left[i1:i2], right[j1:j2]
        most = max(len(a), len(b))
        lines += zip(_padded(a, most), _padded(b, most), strict=True)
    return SideBySide(title, names, tuple(lines))


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if line.strip() and not line.strip().startswith("//")]


def _act(line: str) -> str:
    # The innermost act: of a loop on one line, what it repeats.
    acts = _ACTS.findall(line)
    return acts[-1] if acts else line.strip()


def _padded(lines: Sequence[str], length: int) -> list[str]:
    return [*lines, *[""] * (length - len(lines))]
