"""Which line of the kernel's text an instruction comes from, by the module's line tables."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

SOURCE = "kernel"  # what the user's text is called in line markers
HEADERS = Path(__file__).parents[1] / "headers"  # of the library
_OWN_FILES = ("entry", "<stdin>")

_NODE = re.compile(r"^(!\d+) = (?:distinct )?!(DI\w+)\((.*)\)$", re.M)
_UNITS = re.compile(r"^!llvm\.dbg\.cu = !\{(.*)\}$", re.M)
_DIRECTIVE = re.compile(r'[ \t]*#[ \t]*line[ \t]+(\d+)(?:[ \t]+"([^"]*)")?')
_LOOP = re.compile(r", !llvm\.loop (!\d+)")
_TABLES = re.compile(r"^(?:!llvm\.dbg\.cu = .*|!\d+ = (?:distinct )?!DI\w+\(.*)\n", re.M)
_OF = re.compile(r", !dbg (!\d+)")
_FIELD = re.compile(r"(\w+): (!\d+|\d+|\"[^\"]*\")")


def is_users(file: str) -> bool:
    """Whether a file is no part of the library or of the entry points."""
    return bool(file) and file not in _OWN_FILES and not file.startswith(str(HEADERS))


def source_lines(text: str) -> dict[tuple[str, int], str]:
    """A user's text by file and line, as its ``#line`` directives count."""
    lines, number, file = {}, 0, SOURCE
    for line in text.split("\n"):
        directive = _DIRECTIVE.match(line)
        if directive:
            number, file = int(directive[1]) - 1, directive[2] or file
            continue
        number += 1
        lines[file, number] = line
    return lines


@dataclass(frozen=True)
class Place:
    """A line of one of the texts a module was linked from; line 0 where it is not known.

    Of a kernel without text, ``name`` says what is accessed there.
    """

    line: int = 0
    text: int = 0
    callers: tuple[int, ...] = ()  # lines of the calls it was inlined through, innermost first
    file: str = SOURCE  # or what it includes, where nothing of the text itself led here
    # Whether it is only how the engine calls the kernel, which no user wrote.
    entry: bool = False
    name: str = ""


class LineTable:
    """Reads the debug information of a module's text."""

    def __init__(self, module_text: str):
        self._nodes = {
            name: (kind, dict(_FIELD.findall(fields)))
            for name, kind, fields in _NODE.findall(module_text)
        }
        units = _UNITS.search(module_text)
        self._texts = {u: i for i, u in enumerate(units.group(1).split(", "))} if units else {}

    def place(self, instruction: str) -> Place:
        """Where an instruction comes from: the innermost place in a user's text."""
        match = _OF.search(instruction)
        return self._resolve(match.group(1)) if match else Place()

    @functools.cache  # noqa: B019 - tables live as long as one compilation
    def _resolve(self, location: str | None) -> Place:
        inside, places = False, []
        while location:
            fields = self._nodes[location][1]
            file, unit = self._scope(fields["scope"])
            if is_users(file):
                inside = True
                if fields["line"] != "0":
                    places.append(Place(int(fields["line"]), self._texts.get(unit, 0), (), file))
            location = fields.get("inlinedAt")
        places = [one for one in places if one.file == SOURCE] or places
        if places:
            return replace(places[0], callers=tuple(one.line for one in places[1:]))
        return Place(entry=not inside)

    def _scope(self, scope: str) -> tuple[str, str | None]:
        """File of a scope, and the unit it was compiled in."""
        fields = self._nodes[scope][1]
        file = self._file(fields["file"]) if "file" in fields else ""
        while self._nodes[scope][0] != "DISubprogram":
            scope = self._nodes[scope][1]["scope"]
        return file, self._nodes[scope][1].get("unit")

    def _file(self, node: str) -> str:
        """A file's name; of the library's headers, whole, however clang shortened it."""
        name, folder = (
            self._nodes[node][1].get(k, "").strip('"') for k in ("filename", "directory")
        )
        whole = os.path.join(folder, name)
        return whole if whole.startswith(str(HEADERS)) else name


def without_lines(module_text: str) -> str:
    """Return the module's text without its line tables, and the loops' names that need them."""
    loops = "|".join(set(_LOOP.findall(module_text))) or "none"
    module_text = re.sub(rf"^(?:{loops}) = .*\n", "", module_text, flags=re.M)
    module_text = _LOOP.sub("", re.sub(r",? !dbg !\d+", "", module_text))
    return _TABLES.sub("", module_text)
