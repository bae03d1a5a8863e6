"""The rows of one prototype on one device, as rules for findings read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from attnproto.results.findings import Device, Evidence, Finding, make_finding

Row = Mapping[str, Any]
_POWER_OF_TEN = re.compile(r"\b\d(?:\.\d+)?e\+\d+\b")


class Case:
    """The rows of one device, and the parts that all findings on them share.

    Args:
        rows: Rows of one prototype on one device, at least one.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.proto = rows[0]["proto"]
        device = rows[0]["device"]
        self.device = Device(kind=device["kind"], name=device["name"])
        self.tier = device["tier"]
        self.mode = rows[0]["mode"]
        self._by_kind: dict[str | None, list[tuple[int, Row]]] = {}
        for place, row in enumerate(rows):
            self._by_kind.setdefault(row["point"].get("kind"), []).append((place, row))

    def of(self, *kinds: str, **values: Any) -> list[Row]:
        """Return the rows whose points are of these kinds and hold these values."""
        of_kinds = [
            placed for kind in dict.fromkeys(kinds) for placed in self._by_kind.get(kind, ())
        ]
        # In the run's order, whatever the order of the kinds.
        return [
            row
            for _, row in sorted(of_kinds, key=itemgetter(0))
            if all(row["point"].get(name) == value for name, value in values.items())
        ]

    def finding(
        self,
        *,
        title: str,
        content: str,
        evidence: Evidence,
        tags: Sequence[str],
        tier: str | None = None,
        **parts: Any,
    ) -> Finding:
        """Make a finding on this prototype and device; see ``make_finding``.

        Where its times are of rows in two states, it says so. Its title and content are written
        with large numbers in full: 1,370 instead of 1.37e+03.
        """
        switching = sum(
            row["key"] in evidence.rows and bool(row["result"].get("bimodal")) for row in self.rows
        )
        if switching and evidence.kind in ("performance", "cost"):
            content = f"{content} Times of {switching} of its rows are in two states (bimodal)."
            tags = [*tags, "bimodal"]
        return make_finding(
            title=_in_full(title),
            content=_in_full(content),
            evidence=evidence,
            tags=tags,
            tier=tier or self.tier,
            device=self.device,
            proto=self.proto,
            **parts,
        )

    def expectation(self, **parts: Any) -> Finding:
        """Make a finding of what a model expects of a chip, which is not the rows' device.

        Args:
            parts: As ``finding`` takes them.
        """
        return self.finding(
            tier="modelled", about_measured_device=False, domain="gpu-perf", **parts
        )


def _in_full(text: str) -> str:
    return _POWER_OF_TEN.sub(lambda match: f"{float(match[0]):,.0f}", text)


def tile_name(point: Mapping[str, Any]) -> str:
    """A tile's blocks, and its rows and way of reading where a point names them."""
    more = "".join(f" {axis} {point[axis]}" for axis in ("rows", "keys") if axis in point)
    return f"{point['Br']}x{point['Bc']}{more}"


def right(rows: Sequence[Row]) -> bool:
    """Say whether there are rows and all of them are right."""
    return bool(rows) and all(row["status"] == "ok" for row in rows)


def keys(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the rows' keys, as evidence lists them."""
    return tuple(row["key"] for row in rows)


def worst(rows: Sequence[Row], name: str) -> float:
    """Return the largest of one result."""
    return max(float(row["result"][name]) for row in rows)


def several(rows: Sequence[Row], name: str) -> str:
    """Return the values that one key of the points takes, in words."""
    values = sorted({row["point"][name] for row in rows})
    return ", ".join(str(value) for value in values)


def regime(rows: Sequence[Row]) -> str:
    """Return the sizes and dtypes of the rows' points, in words."""
    return (
        f"D {several(rows, 'D')}, Nq {several(rows, 'Nq')}, Nkv {several(rows, 'Nkv')}, "
        f"{several(rows, 'dtype')}"
    )


def concluding(
    *rules: Callable[[Case], list[Finding]],
) -> Callable[[Sequence[Row]], list[Finding]]:
    """Make a prototype's ``conclude`` of its rules.

    A rule whose rows are missing, or hold a result that is not right, says nothing.

    Args:
        rules: Each draws findings, none about speed unless the device's times are measured.

    Returns:
        What draws findings from a prototype's rows on one device.
    """

    def conclude(rows: Sequence[Row]) -> list[Finding]:
        if not rows:
            return []
        case = Case(rows)
        return [finding for rule in rules for finding in rule(case)]

    return conclude
