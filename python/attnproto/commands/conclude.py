"""Findings and the report of a results folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnproto.errors import AttnprotoError
from attnproto.prototypes.registry import load
from attnproto.results.store import FINDINGS, latest_rows
from attnproto.sweep.replay import replay_of

if TYPE_CHECKING:
    from attnproto.results.findings import Finding


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
    with _said("rows that no report can show"):
        report = write_report(out, rows, findings)
    not_ok = sum(row["status"] != "ok" for row in rows)
    titles = tuple((f.proto, f.tier, f.title) for f in findings)
    return Finished(len(rows), not_ok, titles, report)


def draw_findings(rows: Iterable[dict[str, Any]]) -> list[Finding]:
    """Draw findings, each of which says how the rows behind it, and no others, are made again.

    Raises:
        AttnprotoError: As ``conclusions``.
    """
    rows = list(rows)
    by_key = {row["key"]: row for row in rows}
    drawn = []
    for finding in conclusions(rows):
        with _readable(finding.proto):
            replay = replay_of([by_key[key] for key in finding.evidence.rows])
        drawn.append(finding.model_copy(update={"replay": replay}))
    return drawn


def conclusions(rows: Iterable[dict[str, Any]]) -> list[Finding]:
    """Let each prototype conclude from its rows, device by device.

    Raises:
        AttnprotoError: A prototype can't make anything of its rows.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        group = (row["proto"], row["device"]["kind"], row["device"]["name"])
        groups.setdefault(group, []).append(row)
    drawn = []
    for (name, _, _), members in groups.items():
        with _readable(name):
            drawn += load(name).conclude(members)
    return drawn


def _readable(prototype: str) -> AbstractContextManager[None]:
    return _said(f"rows of {prototype} that its rules can't read")


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Turn what rows of unforeseen content lead to into a sentence."""
    try:
        yield
    except (AttnprotoError, MemoryError):
        raise
    except Exception as error:
        raise AttnprotoError(
            f"[conclude] found {what} ({type(error).__name__}: {error}), needs rows as its points "
            "give them; remove those that were changed by hand and make them again with "
            "attnproto run --resume"
        ) from error
