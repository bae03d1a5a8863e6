"""What may stand in a Markdown text: anything, once it is escaped.

Titles, reasons and names in results come from files that others may have written, and from
compilers' messages; a page of theirs must show them and obey none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnproto.results.tables import SideBySide

_MARKS = re.compile(r"[\\`*\[\]<>|~]")
# What begins a block where it stands first: headings, lists, rules, numbers of items.
_BLOCK = re.compile(r"^(\s*)([#+=_-])(?=[\s#=_-]|$)|^(\s*\d+)([.)])(?=\s|$)")
_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_LEFT = 78  # columns of the left one of two texts


class Markdown(str):
    """A text that is Markdown already."""


def escaped(value: Any) -> Any:
    """Text as a line of Markdown that shows it; other values, and Markdown, as they are."""
    if isinstance(value, Markdown) or not isinstance(value, str):
        return value
    if not value.strip():
        return value  # a separator of the template's
    line = _MARKS.sub(r"\\\g<0>", _BREAKS.sub(" ", value)).replace("&", "&amp;")
    return _BLOCK.sub(lambda m: f"{m[1] or m[3] or ''}\\{m[2] or m[4]}", line)


def code(value: str, *, cell: bool = False) -> Markdown:
    """Text as code within a line, or a table's cell; fenced by more backticks than it holds."""
    line = _BREAKS.sub(" ", value)
    if cell:
        line = line.replace("|", "\\|")  # ends a cell in code too
    fence = _fence(line, 1)
    space = " " if line[:1] == "`" or line[-1:] == "`" else ""
    return Markdown(f"{fence}{space}{line}{space}{fence}")


def block(texts: SideBySide) -> Markdown:
    """Two texts in columns as a block of code."""
    pairs = [texts.names, *((left[:_LEFT], right) for left, right in texts.lines)]
    lines = [_BREAKS.sub(" ", f"{left:<{_LEFT}} | {right}") for left, right in pairs]
    joined = "\n".join(lines)
    fence = _fence(joined, 3)
    return Markdown(f"{fence}\n{joined}\n{fence}")


def _fence(text: str, least: int) -> str:
    runs = [len(run) for run in re.findall("`+", text)]
    return "`" * max(least, max(runs, default=0) + 1)
