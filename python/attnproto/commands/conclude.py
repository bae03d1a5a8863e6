"""Findings and the report of a results folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnproto.prototypes.registry import load
from attnproto.results.store import FINDINGS, latest_rows


@dataclass(frozen=True)
class Finished:
    """What a run did."""

    rows: int
    not_ok: int
    findings: tuple[tuple[str, str, str], ...]  # prototype, tier, title
    report: Path


def conclude(out: Path) -> Finished:
    """Draw findings and the report from a folder's rows, and write them."""
    from attnproto.report.report import write_report
    from attnproto.results.findings import merge_findings, read_findings, write_findings

    rows = latest_rows(out)
    fresh = draw_findings(rows)
    findings = merge_findings(read_findings(out / FINDINGS), fresh)
    write_findings(out / FINDINGS, findings)
    report = write_report(out, rows, findings)
    not_ok = sum(row["status"] != "ok" for row in rows)
    titles = tuple((f.proto, f.tier, f.title) for f in findings)
    return Finished(len(rows), not_ok, titles, report)


def draw_findings(rows: Iterable[dict[str, Any]]) -> list[Any]:
    """Let each prototype conclude from its rows, device by device."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        group = (row["proto"], row["device"]["kind"], row["device"]["name"])
        groups.setdefault(group, []).append(row)
    drawn = []
    for (name, _, _), members in groups.items():
        drawn += load(name).conclude(members)
    return drawn
