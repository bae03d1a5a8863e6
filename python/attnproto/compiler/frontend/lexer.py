"""Tokens of a preprocessed MSL text, each knowing the line it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from . import literals

_TOKEN = re.compile(
    r"""
      (?P<line>^[ \t]*\#[ \t]*(?:line[ \t]+)?\d+[^\n]*$)
    | (?P<directive>^[ \t]*\#[^\n]*$)
    | (?P<newline>\n)
    | (?P<space>[ \t\r\f\v]+|\\\n)
    | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    | (?P<number>\.?\d(?:[eEpP][+-]|['\w.])*)
    | (?P<name>[^\W\d]\w*)
    | (?P<mark>::|->\*?|<<=|\.\.\.|&&|\|\||[-+*/%&|^=!<>]=|\+\+|--|<<|.)
    """,
    re.M | re.X,
)
_LINE = re.compile(r'#\s*(?:line\s+)?(\d+)(?:\s+"([^"]*)")?')
_BRACKET = re.compile(r"([()\[\]{}<]|(?<!-)>)")
_CLOSE = {"(": ")", "[": "]", "{": "}"}


@dataclass(slots=True, eq=False)
class Token:
    """One token; ``kind`` is directive, string, number, name or mark.

    Nothing changes one. It is not frozen because that doubles what making it takes.
    """

    kind: str
    text: str
    file: str
    line: int
    # True where no white space stood before it: `>>` and `>=` are lexed as single marks.
    glued: bool = False
    offset: int = 0  # in the preprocessed text; what the rewriter adds has its neighbour's

    def __eq__(self, other: object) -> bool:
        return self.text == (other.text if isinstance(other, Token) else other)

    def __hash__(self) -> int:
        return hash(self.text)


class RewriteError(Exception):
    """The text is not MSL that can be rewritten; carries the token where that shows."""

    def __init__(self, at: Token, message: str):
        super().__init__(message)
        self.at = at


def tokenize(text: str) -> list[Token]:
    """Split a preprocessed text, following its line markers."""
    file, line, glued = "", 1, False
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup, match.group()
        if kind == "line":
            marker = _LINE.match(word.strip())
            line = int(marker.group(1)) - 1
            file = marker.group(2) if marker.group(2) is not None else file
        elif kind == "newline":
            line, glued = line + 1, False
        elif kind == "space":
            line, glued = line + word.count("\n"), False
        else:
            spelled = literals.single(word) if kind == "number" else word.strip()
            tokens.append(Token(kind, spelled, file, line, glued, match.start()))
            glued = True
    return tokens


def inserted(text: str, near: Token) -> Token:
    """A token the rewriter adds, at the place of ``near``."""
    return Token("inserted", text, near.file, near.line, False, near.offset)


def with_own_brackets(tokens: list[Token]) -> list[Token]:
    """The tokens, with each bracket of what the rewriter has inserted a token of its own."""
    out: list[Token] = []
    for token in tokens:
        if len(token.text) == 1 or token.kind != "inserted" or not _BRACKET.search(token.text):
            out.append(token)
        else:
            out += [inserted(text, token) for text in _BRACKET.split(token.text) if text.strip()]
    return out


def continues_mark(tokens: list[Token], i: int) -> bool:
    """Whether the token at ``i`` and the one before it are one mark, such as ``>>``."""
    token = tokens[i]
    return token.glued and token.text in (">", ">=", "=") and i and tokens[i - 1].text in (">", "=")


def untokenize(tokens: list[Token]) -> str:
    """Back to text, with ``#line`` directives so that messages name the user's lines."""
    out: list[str] = []
    file, line = None, 0
    for i, token in enumerate(tokens):
        if token.kind == "directive":
            out.append(f'\n#line {token.line} "{token.file}"\n{token.text}\n')
            file, line = token.file, token.line + 1
            continue
        if token.file != file or not line <= token.line <= line + 8:
            out.append(f'\n#line {token.line} "{token.file}"\n')
        elif token.line > line:
            out.append("\n" * (token.line - line))
        elif not continues_mark(tokens, i):
            out.append(" ")
        file, line = token.file, token.line
        out.append(token.text)
    out.append("\n")
    return "".join(out)


def close_of(tokens: list[Token], i: int) -> int:
    """Index of the bracket that closes the one at ``i``."""
    opened: list[Token] = []
    for j in range(i, len(tokens)):
        text = tokens[j].text
        if text in _CLOSE:
            opened.append(tokens[j])
        elif text in (")", "]", "}"):
            if _CLOSE[opened[-1].text] != text:
                break
            opened.pop()
            if not opened:
                return j
    raise RewriteError(opened[-1], f"'{opened[-1].text}' is never closed")


def skipping_brackets(tokens: list[Token], i: int) -> Iterator[int]:
    """The places from ``i`` on, without those within brackets."""
    while i < len(tokens):
        yield i
        i = close_of(tokens, i) + 1 if tokens[i].text in _CLOSE else i + 1


def angle_close(tokens: list[Token], i: int, *, expression: bool = False) -> int | None:
    """Index of the ``>`` that closes the ``<`` at ``i``; None where it is a comparison.

    In an ``expression`` a logical operator between them says that it is.
    """
    depth, j = 0, i
    stops = (";", ")", "]", "}", "&&", "||") if expression else (";", ")", "]", "}")
    while j < len(tokens):
        text = tokens[j].text
        if text in _CLOSE:
            j = close_of(tokens, j)
        elif text == "<":
            depth += 1
        elif text == ">":
            depth -= 1
            if depth == 0:
                return j
        elif text in stops:
            return None
        j += 1
    return None


def angle_open(tokens: list[Token], close: int) -> int:
    """Index of the ``<`` that the ``>`` at ``close`` closes; after it where there is none."""
    k = close
    while k >= 0 and tokens[k].text not in (";", "{", "}"):
        if tokens[k] == "<" and angle_close(tokens, k) == close:
            return k
        k -= 1
    return close + 1


def scope_begin(tokens: list[Token], name: int) -> int:
    """Index where ``A<T>::B::name``, whose name is at ``name``, begins."""
    begin = name
    while begin > 1 and tokens[begin - 1] == "::":
        begin -= 2
        if tokens[begin] == ">":
            begin = angle_open(tokens, begin) - 1
    return begin


def is_attribute(tokens: list[Token], i: int) -> bool:
    """Whether ``[[`` begins at ``i``."""
    return tokens[i] == "[" and i + 1 < len(tokens) and tokens[i + 1] == "["


def split_commas(tokens: list[Token]) -> list[list[Token]]:
    """Split at the commas outside every bracket and template argument list."""
    parts: list[list[Token]] = [[]]
    i = 0
    while i < len(tokens):
        token = tokens[i]
        end = i
        if token.text in _CLOSE:
            end = close_of(tokens, i)
        elif token == "<" and i and tokens[i - 1].kind == "name":
            end = angle_close(tokens, i, expression=True) or i
        elif token == ",":
            parts.append([])
            i += 1
            continue
        parts[-1] += tokens[i : end + 1]
        i = end + 1
    return [part for part in parts if part]
