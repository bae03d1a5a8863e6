"""Texts that include others, made into one: Metal's run-time compiler has no search path."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attnproto.compiler.frontend.clang import HEADERS, LONGEST_TEXT
from attnproto.compiler.ir.debug_lines import SOURCE
from attnproto.errors import KernelCompileError, check_text

# A directive, or what may hold the look of one: comments and texts in quotes.
_SCANNED = re.compile(
    r'^[ \t]*\#[ \t]*include[ \t]*(?:"(?P<quoted>[^"\n]+)"|<(?P<angled>[^>\n]+)>)[^\n]*$'
    r'|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"',
    re.MULTILINE | re.DOTALL,
)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once\b[^\n]*$", re.MULTILINE)
_MACRO = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NAME = re.compile(r'[^"<>\\\n\r]+')


def put_in_place(text: str, include: Mapping[str, str]) -> str:
    """Return a text with what it includes in place of its ``#include`` lines.

    ``#line`` keeps the numbers of lines, and names the included text in messages. ``#pragma once``
    is heeded; ``#include`` of other names stays.

    Args:
        text: MSL.
        include: texts by name; they may include one another.

    Raises:
        KernelCompileError: a name or a text is none, a name is one of Metal's own headers, or a
            text includes itself; or together they are longer than any text may be.
    """
    if not isinstance(include, Mapping):
        raise KernelCompileError(
            f"[library] found include={include!r}, needs texts by name; pass {{'scale.h': text}}"
        )
    own = {path.relative_to(HEADERS / "preprocess").as_posix() for path in _headers()}
    for name, content in include.items():
        check_text(name, "a name to include", "library")
        check_text(content, f"the text of {name!r}", "library")
        if name in own or not _NAME.fullmatch(name):
            raise KernelCompileError(
                f"[library] found include of the name {name!r}, needs one that is none of Metal's "
                "headers and without quotes or line ends; choose another"
            )
    return _placed(text, SOURCE, include, (), {})


def checked_macros(macros: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return macros by name, none where there are none.

    Raises:
        KernelCompileError: a name is no identifier, or a value no text of one line.
    """
    if macros is None:
        return {}
    if not isinstance(macros, Mapping):
        raise KernelCompileError(
            f"[library] found macros={macros!r}, needs values by name; pass {{'TILE': '32'}}"
        )
    for name, value in macros.items():
        if not isinstance(name, str) or not _MACRO.fullmatch(name):
            raise KernelCompileError(
                f"[library] found a macro of the name {name!r}, needs letters, digits and _"
            )
        check_text(value, f"the value of macro {name}", "library")
        if "\n" in value or "\r" in value or value.endswith("\\"):
            raise KernelCompileError(
                f"[library] found {value!r} for macro {name}, needs one line; write it into the "
                "text"
            )
    return macros


def define(text: str, macros: Mapping[str, str]) -> str:
    """Return a text with macros defined before it; its lines keep their numbers."""
    if not macros:
        return text
    defined = "".join(f"#define {name} {value}\n" for name, value in macros.items())
    return f'{defined}#line 1 "{SOURCE}"\n{text}'


def _headers() -> list:
    return [path for path in (HEADERS / "preprocess").rglob("*") if path.is_file()]


def _placed(
    text: str,
    called: str,
    include: Mapping[str, str],
    within: tuple[str, ...],
    known: dict[str, str],
) -> str:
    """A text in which others are in place; ``known`` has those that were asked for before."""
    length = len(text)

    def place(match: re.Match[str]) -> str:
        nonlocal length
        name = match["quoted"] or match["angled"]
        if name not in include:
            return match[0]
        if name in within:
            raise KernelCompileError(
                f"[library] found {' that includes '.join((*within, name))}, needs texts that do "
                "not include themselves; part them"
            )
        if name not in known:
            known[name] = _placed(include[name], name, include, (*within, name), known)
        inner = known[name]
        length += len(inner)
        if length > LONGEST_TEXT:
            raise KernelCompileError(
                f"[library] found includes that make more than {LONGEST_TEXT} characters of "
                f"{called}, needs fewer; let each text be included once"
            )
        after = text.count("\n", 0, match.end()) + 2
        return f'#line 1 "{name}"\n{inner}\n#line {after} "{called}"'

    placed = _SCANNED.sub(place, text)
    once = _ONCE.search(placed) if called in include else None
    if once is None:
        return placed
    guard = "attn_once_" + "".join(
        c if c.isalnum() and c.isascii() else f"_{ord(c):x}_" for c in called
    )
    body = placed[: once.start()] + placed[once.end() :]
    return f'#ifndef {guard}\n#define {guard}\n#line 1 "{called}"\n{body}\n#endif'
