"""The table of a validating module: what its engine needs to know of each place that asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from attnproto import _core
from attnproto.compiler.ir.debug_lines import SOURCE, Place
from attnproto.compiler.ir.structs import struct, table

READ, WRITE, LOCAL_SPACE = _core.SITE_READ, _core.SITE_WRITE, "0"
_SHOWN = 100  # characters of a line


@dataclass(frozen=True)
class Site:
    """A place that asks, and how it accesses memory, where it does.

    ``space`` is 3 of threadgroup memory, 4 where it may be any, 0 of local variables; others are
    device memory.
    """

    place: Place
    kind: int = 0
    nbytes: int = 0
    alignment: int = 1
    space: str = "3"


@dataclass
class SiteTable:
    """Sites in the order they were asked for, and the lines of the texts they are in."""

    texts: Sequence[Mapping[tuple[str, int], str]]
    sites: dict[Site, int] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)  # sizes of constant tables by symbol

    def reference(self, site: Site) -> str:
        """A pointer to a site's row, as an operand."""
        number = self.sites.setdefault(site, len(self.sites))
        return f"getelementptr (i8, ptr @attn.sites, i64 {number * _core.SITE_BYTES})"

    def text(self) -> str:
        """The table and the lines' texts, as globals of the module."""
        shifts = _granules(self.sites)
        out, rows, lines = [], [], {}
        for number, site in enumerate(self.sites):
            source = self._source(site.place)
            if source not in lines:
                lines[source] = f"@attn.line.{len(lines)}"
                raw = source.encode() + b"\0"
                shown = "".join(
                    chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in raw
                )
                out.append(f'{lines[source]} = private constant [{len(raw)} x i8] c"{shown}"')
            rows.append(struct(
                _core.SITE, source=lines[source], tables="@attn.tables", line=site.place.line,
                index=number, bytes=site.nbytes, alignment=site.alignment, kind=site.kind,
                shift=shifts[site.space],
            ))  # fmt: skip
        out.append(table("@attn.tables", [*map(_constant, self.constants.items()), _NOWHERE]))
        out.append(table("@attn.sites", rows, "internal"))
        return "\n".join(out)

    def _source(self, place: Place) -> str:
        if place.name:
            return place.name
        text = self.texts[place.text] if place.text < len(self.texts) else {}
        shown = text.get((place.file, place.line), "").strip()
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
        if place.file != SOURCE:
            shown = f"{place.file}: {shown}"
        return "\n".join([shown, *map(str, place.callers)])


_NOWHERE = struct(_core.CONSTANT_TABLE, begin="null", end="null")


def _constant(table_and_bytes: tuple[str, int]) -> tuple[str, str]:
    symbol, nbytes = table_and_bytes
    begin = f"addrspacecast (ptr addrspace(2) {symbol} to ptr)"
    end = f"getelementptr (i8, ptr {begin}, i64 {nbytes})"
    return struct(_core.CONSTANT_TABLE, begin=begin, end=end)


def _granules(sites: dict[Site, int]) -> dict[str, int]:
    """By space, log2 of the unit that memory's history is kept for.

    A generic pointer may be one to either memory, which then have one unit.
    """
    accesses = [site for site in sites if site.kind & (READ | WRITE)]
    spaces = ("3", "124", LOCAL_SPACE)
    if any(site.space == "4" for site in accesses):
        spaces = ("1234", LOCAL_SPACE)
    return {
        space: _granule([site for site in accesses if site.space in together])
        for together in spaces
        for space in together
    }


def _granule(accesses: list[Site]) -> int:
    """log2 of the largest unit, up to a word, that every access is a multiple of."""
    shift = 2
    for site in accesses:
        while shift and (not site.nbytes or (site.nbytes | site.alignment) & ((1 << shift) - 1)):
            shift -= 1
    return shift
