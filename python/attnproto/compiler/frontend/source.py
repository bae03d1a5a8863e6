"""A text as it was given: where in it a token of the preprocessed text stands."""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from attnproto.compiler.ir.debug_lines import SOURCE
from attnproto.errors import KernelCompileError

from . import clang
from .lexer import Token, tokenize

_MARKER = re.compile(r'[ \t]*#[ \t]*line[ \t]+(\d+)(?:[ \t]+"([^"\n]*)")?')
_SCANNED = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)


class Place(NamedTuple):
    """A place in a text: file is empty for the text itself; column, from 1, counts characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"{f'in {self.file}, ' if self.file else ''}line {self.line}{column}"


@dataclass(frozen=True)
class Source:
    """An MSL text, and the folder that its own includes are in, if it may have any."""

    text: str
    folder: Path | None = None

    @functools.cached_property
    def preprocessed(self) -> str:
        """The text with macros and includes expanded; line markers stay.

        Raises:
            KernelCompileError: a directive is wrong, or includes what is not to be seen.
        """
        try:
            return clang.preprocess(self.text, self.folder)
        except clang.Refused as error:
            raise KernelCompileError(clang.explained(error.stderr, self._place_of_bytes)) from None

    def place(self, token: Token) -> Place:
        """Where a token stands; what a macro makes stands where the macro is named."""
        file = "" if token.file == SOURCE else token.file
        return Place(file, token.line, self._column(token))

    def _place_of_bytes(self, file: str, line: int, column: int) -> Place | None:
        """The place that clang gives in the text itself, whose columns count bytes."""
        if not clang.is_users(file):
            return None
        written, _ = self._line(file, line) or ("", "")
        before = written.encode()[: column - 1]
        return Place("" if file == SOURCE else file, line, len(before.decode(errors="replace")) + 1)

    def _column(self, token: Token) -> int:
        """By the tokens of the line as it was written; 0 where there is no such line."""
        key = token.file, token.line
        if key not in self._columns:
            line = self._line(*key)
            self._columns[key] = None if line is None else _columns(line[1], self._tokens[key])
        columns = self._columns[key]
        return 0 if columns is None else columns.get(token.offset, 1)

    @functools.cached_property
    def _columns(self) -> dict[tuple[str, int], dict[int, int] | None]:
        """What was asked of ``_column``, by file and line."""
        return {}

    @functools.cached_property
    def _tokens(self) -> dict[tuple[str, int], list[Token]]:
        """The preprocessed text's tokens by file and line."""
        lines = defaultdict(list)
        for token in tokenize(self.preprocessed):
            lines[token.file, token.line].append(token)
        return lines

    def _line(self, file: str, line: int) -> tuple[str, str] | None:
        """A line as it was written, and with white space for comments."""
        if (file, 1) not in self._lines and self.folder is not None and Path(file).is_file():
            _add_lines(self._lines, Path(file).read_text(errors="replace"), file)
        return self._lines.get((file, line))

    @functools.cached_property
    def _lines(self) -> dict[tuple[str, int], tuple[str, str]]:
        lines: dict[tuple[str, int], tuple[str, str]] = {}
        _add_lines(lines, self.text.removeprefix("\ufeff"), SOURCE)
        return lines


def _columns(code: str, left: list[Token]) -> dict[int, int]:
    """Columns of a line's preprocessed tokens, by their offsets; a macro's are where it is named.

    Args:
        code: the line as it was written, without comments.
        left: its tokens after preprocessing.
    """
    written = tokenize(code)
    columns: dict[int, int] = {}
    macro = 0  # the last token that is not left: what is there instead stands for it
    for kind, begin, end, left_begin, left_end in _differences(written, left):
        macro = begin if kind in ("replace", "delete") else macro
        same = end - begin == left_end - left_begin
        for at in range(left_begin, left_end):
            place = begin + at - left_begin if same else macro
            columns[left[at].offset] = written[place].offset + 1 if written else 1
    return columns


def _differences(
    written: list[Token], left: list[Token]
) -> Iterator[tuple[str, int, int, int, int]]:
    """difflib's opcodes; its time grows with the square of a line, so it gets what differs only."""
    begin = _alike(written, left)
    alike = _alike(reversed(written[begin:]), reversed(left[begin:]))
    end, left_end = len(written) - alike, len(left) - alike
    yield "equal", 0, begin, 0, begin
    matcher = difflib.SequenceMatcher(
        None, written[begin:end], left[begin:left_end], autojunk=False
    )
    for kind, *places in matcher.get_opcodes():
        yield kind, *(begin + place for place in places)
    yield "equal", end, len(written), left_end, len(left)


def _alike(one: Iterable[Token], other: Iterable[Token]) -> int:
    """How many tokens are the same until the first that is not."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _add_lines(lines: dict[tuple[str, int], tuple[str, str]], text: str, file: str) -> None:
    number = 1
    codes = _SCANNED.sub(_blank, text).split("\n")
    for line, code in zip(text.split("\n"), codes, strict=True):
        marker = _MARKER.match(code)
        if marker:
            number, file = int(marker[1]), marker[2] or file
        else:
            lines[file, number] = line, code
            number += 1


def _blank(match: re.Match[str]) -> str:
    """A comment as white space; a text in quotes as it is."""
    return match[0] if match[0][0] == '"' else re.sub(r"[^\n]", " ", match[0])


@contextlib.contextmanager
def levels_limited() -> Iterator[None]:
    """Refuse what stands in more levels than Python's stack has.

    Raises:
        KernelCompileError: it does.
    """
    try:
        yield
    except RecursionError:
        raise KernelCompileError(
            "[msl] found a text whose namespaces, types or expressions stand too deep in one "
            "another to be read, needs fewer levels; write it flatter"
        ) from None
