"""The report of a results folder: one self-contained HTML file and its Markdown twin."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from attnproto.model.beside import beats_bound
from attnproto.prototypes.registry import UnknownPrototype, load
from attnproto.results import published
from attnproto.results.confidence import confidence_word
from attnproto.results.findings import Finding, current_findings
from attnproto.results.metrics import CLOCK, COLUMNS
from attnproto.results.store import write_atomically
from attnproto.results.tables import Table

HTML, MARKDOWN = "report.html", "report.md"
# The page lists this many rows, or as many as findings and charts link to.
_MOST_ROWS = 1000
_MOST_FAILURES = 500
# A card names this many of a finding's rows, and more of them when opened.
_EVIDENCE_SHOWN, _EVIDENCE_LINKED = 6, 200

TIERS: dict[str, str] = {
    "measured": "a clock of the device named",
    "emulated": "kernels run by the cpu device: exact results, times worth nothing",
    "derived": "follows from the code or a count, the same on any device",
    "modelled": "computed from assumptions",
    "published": "someone else's measurement, source given",
}
_FIELDS = tuple((metric.name, metric.heading) for metric in COLUMNS)


def write_report(
    folder: Path, rows: Sequence[Mapping[str, Any]], findings: Sequence[Finding]
) -> Path:
    """Write report.html and report.md into a folder.

    Args:
        folder: The results folder.
        rows: Its rows, each key once.
        findings: Its findings.

    Returns:
        The path of the HTML file.
    """
    html, markdown = render(rows, findings)
    write_atomically(folder / MARKDOWN, markdown)
    write_atomically(folder / HTML, html)
    return folder / HTML


def render(rows: Sequence[Mapping[str, Any]], findings: Sequence[Finding]) -> tuple[str, str]:
    """Draw the report.

    Args:
        rows: Result rows.
        findings: Findings on them.

    Returns:
        HTML, with everything it needs inside, and Markdown.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from . import markdown
    from .charts import draw_charts

    loader = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=lambda name: bool(name and "html" in name),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader.filters["figures"] = figures
    charts = draw_charts(rows)
    drawn = {key for chart in charts for key in re.findall(r'href="#r-([^"]+)"', chart["svg"])}
    view = build_view(rows, findings, drawn)
    html = loader.get_template("report.html.j2").render(view, charts=charts)
    # What is put into Markdown is escaped unless it says it is Markdown.
    text = loader.overlay(finalize=markdown.escaped)
    text.filters |= {"code": markdown.code, "block": markdown.block}
    return html, text.get_template("report.md.j2").render(view)


def figures(value: Any, digits: int = 4) -> str:
    """Write a number in a few significant digits, anything else as it is."""
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return str(value)


def build_view(
    rows: Sequence[Mapping[str, Any]], findings: Sequence[Finding], drawn: Set[str] = frozenset()
) -> dict[str, Any]:
    """Collect what the templates show.

    Args:
        rows: Result rows.
        findings: Findings on them.
        drawn: Keys of the rows that charts link to.

    Returns:
        Plain values by name.
    """
    from .summary import summarise

    current = current_findings(findings)
    met = {reached.mark: reached for reached in published.reached(rows)}
    linked_to = {*drawn, *(reached.row for reached in met.values())}
    shown = select_rows(rows, current, linked_to)
    linked = {row["key"] for row in shown}
    devices = {(r["device"]["name"], r["device"]["kind"], r["device"]["tier"]) for r in rows}
    environments = {tuple(sorted(row["environment"].items())) for row in rows}
    return {
        "devices": [{"name": n, "kind": k, "tier": t} for n, k, t in sorted(devices)],
        "answers_for_m4": any(k == "metal" and published.is_m4(n) for n, k, _ in devices),
        "statuses": dict(sorted(Counter(row["status"] for row in rows).items())),
        "prototypes": sorted({row["proto"] for row in rows}),
        "modes": sorted({row["mode"] for row in rows}),
        "started": _when([row["started_utc"] for row in rows]),
        "tiers": TIERS,
        "findings": [finding_view(finding, linked) for finding in current],
        "summary": summarise(rows, current),
        "anchors": {f"r-{key}" for key in linked} | {finding.id for finding in current},
        "superseded": len(findings) - len(current),
        "exhibits": exhibits_of(rows),
        "fields": _FIELDS,
        "rows": [row_view(row) for row in shown],
        "row_count": len(rows),
        "environments": [dict(items) for items in sorted(environments)],
        "marks": [(mark, met.get(mark)) for mark in published.published_marks()],
        "met": bool(met),
        "tier_counts": Counter(finding.tier for finding in current),
    }


def _when(starts: Sequence[str]) -> str:
    """When the first point began, and the day of the last one where it is another."""
    if not starts:
        return ""
    first, last = (time[:16].replace("T", " ") for time in (min(starts), max(starts)))
    return f"{first} UTC" + (f" to {last[:10]}" if last[:10] != first[:10] else "")


def exhibits_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Collect the tables and texts that the rows' prototypes show, device by device."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["proto"], row["device"]["name"]), []).append(row)
    shown = []
    for (proto, device), members in sorted(groups.items()):
        try:
            sections = load(proto).sections
        except UnknownPrototype:
            # A prototype of one's own, that the row names by its module.
            continue
        for exhibit in sections(members) if sections else ():
            if not (exhibit.rows if isinstance(exhibit, Table) else exhibit.lines):
                continue  # a heading over nothing
            shown.append({"device": device, "tier": members[0]["device"]["tier"], "it": exhibit})
    return shown


def select_rows(
    rows: Sequence[Mapping[str, Any]], findings: Iterable[Finding], drawn: Set[str] = frozenset()
) -> list[Mapping[str, Any]]:
    """Choose the rows the page lists: all that it links to, failures, then an even selection."""
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    cited = {key for f in findings for key in f.evidence.rows[:_EVIDENCE_LINKED]}
    failed = [row["key"] for row in rows if row["status"] != "ok"][:_MOST_FAILURES]
    wanted = cited | drawn | set(failed)
    others = [row["key"] for row in rows if row["key"] not in wanted]
    room = max(0, _MOST_ROWS - len(rows) + len(others))
    wanted |= {others[i * len(others) // room] for i in range(room)}
    return [row for row in rows if row["key"] in wanted]


def finding_view(finding: Finding, linked: set[str]) -> dict[str, Any]:
    """Prepare one finding: its words, and links to the rows that are on the page."""
    rows = finding.evidence.rows
    shown = [key for key in rows if key in linked][:_EVIDENCE_LINKED]
    evidence, effect = finding.evidence, finding.evidence.effect
    # The text ends in the conditions, which the page sets apart.
    said, _, _ = finding.content.partition(" Compared: ")
    return {
        "id": finding.id,
        "title": finding.title,
        "content": said,
        "conditions": (
            ("Compared", evidence.compared),
            ("Regime", evidence.regime),
            ("Device", f"{finding.device.name} ({finding.device.kind}), tier {finding.tier}"),
            ("Overturned by", evidence.overturned_by),
            ("Replay", finding.replay),
        ),
        "tier": finding.tier,
        "confidence": finding.confidence,
        "word": confidence_word(finding.confidence),
        "proto": finding.proto,
        "domain": finding.domain,
        "tags": finding.tags,
        "effect": None if effect is None else effect.model_dump(),
        "n": evidence.n,
        "cv": evidence.cv,
        "rows": shown[:_EVIDENCE_SHOWN],
        "others": shown[_EVIDENCE_SHOWN:],
        "more": len(rows) - len(shown),
    }


def row_view(row: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare one row: its point in words and the figures the table has columns for.

    An emulated time is left out: standing in a column of times it would be taken for one.
    """
    result = row["result"]
    emulated = row["device"]["tier"] == "emulated"
    cells = [
        None if emulated and metric.noise == CLOCK else result.get(metric.name)
        for metric in COLUMNS
    ]
    point = " ".join(f"{k}={v}" for k, v in row["point"].items() if v not in (None, False))
    return {
        "key": row["key"],
        "proto": row["proto"],
        "point": point,
        "status": row["status"],
        "reason": row["reason"],
        "notes": (*(() if emulated else timing_notes(result)), *model_notes(row)),
        "device": row["device"]["name"],
        "tier": row["device"]["tier"],
        "cells": cells,
        "replay": row["replay"],
    }


def model_notes(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Say why the model gives a row no number, and what it says in place: wrong or not."""
    result = row["result"]
    refused = result.get("modelled_refused")
    if not refused:
        return ()
    least, chip = result.get("modelled_least_us"), result["modelled_chip"]
    said = f"at least {figures(least)} us" if least else "nothing"
    wrong = (
        ", a surprise: the time is below it" if beats_bound(row["device"]["name"], result) else ""
    )
    return (f"expected of an {chip}: {said}{wrong}; no number: {'; '.join(refused)}",)


def timing_notes(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what speaks against a row's times: outliers, kept in, a device that slowed down,
    or one with two states.
    """
    notes = []
    if result.get("outliers") and result.get("samples_us"):
        notes.append(f"{result['outliers']} outliers of {len(result['samples_us'])}, kept")
    if result.get("throttled"):
        notes.append("slowed down while it was timed; let it cool and run again")
    if result.get("bimodal"):
        notes.append("times in two states; the median is one of them, fix the clock and run again")
    return tuple(notes)
