"""Running the evidence of findings again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attnproto.errors import AttnprotoError, DeviceUnavailable
from attnproto.prototypes.registry import text_hash
from attnproto.results.findings import Finding, current_findings, read_findings
from attnproto.results.row import Task
from attnproto.results.store import FINDINGS, latest_rows, write_atomically
from attnproto.sweep import environment
from attnproto.sweep.worker import OPENER, run_tasks

from .conclude import draw_findings

CONFIRMED, CONTRADICTED, STALE, UNTESTED = "confirmed", "contradicted", "stale", "untested"
MARKS = "reverify.jsonl"
_LIMIT_S = 900.0
# Results and counts repeat exactly; a time or rate may move this much between runs before its
# claim counts as contradicted, unless the intervals overlap anyway. Budgets repeat but for an
# archive's few bytes of file names.
_ALLOWED_MOVE = {"performance": 0.10, "cost": 0.10, "accuracy": 0.01, "budget": 0.0001}


@dataclass(frozen=True)
class Mark:
    """What became of one finding."""

    id: str
    title: str
    state: str
    reason: str


def reverify(folder: Path, opener: str = OPENER) -> list[Mark]:
    """Run the evidence of a folder's findings again and mark each.

    A finding is stale when a kernel text behind it changed; confirmed when the evidence,
    run again, yields the same claim or an effect within its bounds; contradicted otherwise;
    untested when its device is not here.

    Args:
        folder: Holds points.jsonl and findings.jsonl; receives reverify.jsonl.
        opener: ``"module:function"`` that opens a device.

    Returns:
        Marks in the findings' order.
    """
    rows = {row["key"]: row for row in latest_rows(folder)}
    marks = []
    again: dict[str, dict[str, Any]] = {}
    for finding in current_findings(read_findings(folder / FINDINGS)):
        evidence = [rows[key] for key in finding.evidence.rows if key in rows]
        marks.append(_mark(finding, evidence, again, opener))
    text = "".join(json.dumps(asdict(mark), ensure_ascii=False) + "\n" for mark in marks)
    write_atomically(folder / MARKS, text)
    return marks


def _mark(
    finding: Finding,
    evidence: Sequence[Mapping[str, Any]],
    again: dict[str, dict[str, Any]],
    opener: str,
) -> Mark:
    def mark(state: str, reason: str = "") -> Mark:
        return Mark(finding.id, finding.title, state, reason)

    missing = len(finding.evidence.rows) - len(evidence)
    if missing:
        return mark(UNTESTED, f"{missing} of its rows are not in the folder")
    try:
        changed = sum(_changed(row) for row in evidence)
        if changed:
            return mark(STALE, f"the kernel text behind {changed} rows changed")
        _run_again(evidence, again, opener)
    except DeviceUnavailable as error:
        return mark(UNTESTED, str(error))
    except AttnprotoError as error:
        return mark(STALE, str(error))
    fresh = [again[row["key"]] for row in evidence if row["key"] in again]
    other = {row["device"]["name"] for row in fresh} - {finding.device.name}
    if other:
        return mark(UNTESTED, f"the device here is {', '.join(sorted(other))}")
    for redrawn in draw_findings(fresh):
        if redrawn.topic == finding.topic:
            return mark(*_compare(finding, redrawn))
    return mark(CONTRADICTED, "the evidence, run again, no longer supports a claim")


def _changed(row: Mapping[str, Any]) -> bool:
    then, today = row["result"].get("kernel_hash"), text_hash(row["proto"], row["point"])
    return then is not None and today is not None and today != then


def _run_again(
    evidence: Sequence[Mapping[str, Any]], again: dict[str, dict[str, Any]], opener: str
) -> None:
    todo = [row for row in evidence if row["key"] not in again]
    if not todo:
        return
    by_point = {json.dumps(row["point"], sort_keys=True): row["key"] for row in todo}
    fresh = run_tasks(
        [Task(row["proto"], row["point"], _LIMIT_S) for row in todo],
        kind=todo[0]["device"]["kind"],
        mode=todo[0]["mode"],
        environment=environment.describe(),
        opener=opener,
    )
    for row in fresh:
        again[by_point[json.dumps(row["point"], sort_keys=True)]] = row


def _compare(old: Finding, new: Finding) -> tuple[str, str]:
    before, after = old.evidence.effect, new.evidence.effect
    if before is None and after is None:
        # Without an effect the title is the claim.
        same = old.title == new.title
        return (CONFIRMED, "") if same else (CONTRADICTED, f"it now says: {new.title}")
    if before is None or after is None:
        return CONTRADICTED, "the effect is gone"
    if before.value == after.value:
        return CONFIRMED, ""
    said = f"{before.value:g} became {after.value:g} {after.unit}".rstrip()
    spans = (before.low, before.high, after.low, after.high)
    if None not in spans and before.low <= after.high and after.low <= before.high:
        return CONFIRMED, said
    move = _ALLOWED_MOVE.get(old.evidence.kind, 0.0)
    near = abs(after.value - before.value) <= move * abs(before.value)
    return (CONFIRMED, said) if near else (CONTRADICTED, said)
