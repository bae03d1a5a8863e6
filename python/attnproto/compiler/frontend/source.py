"""A text as it was given: where in it a token of the preprocessed text stands."""

from __future__ import annotations

import difflib
import functools
import re
from collections import defaultdict
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
        line = self._line(token.file, token.line)
        if line is None:
            return 0
        written = tokenize(line[1])
        left = self._tokens[token.file, token.line]
        at = next((i for i, one in enumerate(left) if one.offset == token.offset), None)
        if at is None or not written:
            return 1
        macro = 0  # the last token that is not left: what is there instead stands for it
        matcher = difflib.SequenceMatcher(None, written, left, autojunk=False)
        for kind, begin, end, left_begin, left_end in matcher.get_opcodes():
            macro = begin if kind in ("replace", "delete") else macro
            if left_begin <= at < left_end:
                same = end - begin == left_end - left_begin
                begin = begin + at - left_begin if same else macro
                return written[begin].offset + 1
        return 1

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
