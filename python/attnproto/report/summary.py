"""What a report says first: what holds, what is undecided, what awaits which device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnproto.measure.stats import UNDECIDED
from attnproto.prototypes.registry import REGISTRY
from attnproto.results import published
from attnproto.results.confidence import HIGH
from attnproto.results.findings import Finding

from .charts import pair_name

_MOST_NAMED = 4


@dataclass(frozen=True)
class Line:
    """One line: what it is about, what is said, and the place on the page behind it."""

    about: str
    said: str
    anchor: str = ""


@dataclass(frozen=True)
class Summary:
    """The lines of each of the three questions."""

    holds: tuple[Line, ...]
    undecided: tuple[Line, ...]
    awaits: tuple[Line, ...]

    @property
    def questions(self) -> tuple[tuple[str, tuple[Line, ...], str], ...]:
        """Each question's heading, its lines, and what is said where there are none."""
        return (
            ("What holds", self.holds, "No claim yet."),
            ("What is undecided", self.undecided, "Nothing that was asked."),
            ("What awaits which device", self.awaits, "Nothing."),
        )


def summarise(rows: Sequence[Mapping[str, Any]], findings: Sequence[Finding]) -> Summary:
    """Answer the three questions.

    Args:
        rows: Result rows.
        findings: Current ones, none superseded.
    """
    return Summary(tuple(_holds(findings)), tuple(_undecided(rows, findings)), tuple(_awaits(rows)))


def _holds(findings: Sequence[Finding]) -> list[Line]:
    by_prototype: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.confidence >= HIGH and finding.tier != "modelled":
            by_prototype.setdefault(finding.proto, []).append(finding)
    lines = []
    for proto, members in by_prototype.items():
        more = f" (and {len(members) - 1} more)" if len(members) > 1 else ""
        lines.append(Line(proto, members[0].title + more, members[0].id))
    return lines


def _undecided(rows: Sequence[Mapping[str, Any]], findings: Sequence[Finding]) -> list[Line]:
    lines = []
    open_ = [row for row in rows if row["result"].get("verdict") == UNDECIDED]
    for row in open_[:_MOST_NAMED]:
        lines.append(
            Line(row["proto"], f"{pair_name(row)}: not told apart in time", f"r-{row['key']}")
        )
    if len(open_) > _MOST_NAMED:
        lines.append(Line("pairs", f"{len(open_) - _MOST_NAMED} more are not told apart in time"))
    weak = Counter(one.proto for one in findings if one.confidence < HIGH)
    weak -= Counter(one.proto for one in findings if one.tier == "modelled")
    for proto, count in weak.items():
        lines.append(Line(proto, f"{_findings(count)} of a confidence below {HIGH:g}"))
    failed = Counter((row["proto"], row["status"]) for row in rows if row["status"] != "ok")
    for (proto, status), count in sorted(failed.items()):
        lines.append(Line(proto, f"{count:,} {'point' if count == 1 else 'points'} {status}"))
    return lines


def _awaits(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    lines = []
    on_m4 = {
        row["proto"]
        for row in rows
        if row["device"]["kind"] == "metal" and published.is_m4(row["device"]["name"])
    }
    here = {row["proto"] for row in rows}
    names = [line.name for line in REGISTRY]
    times = [name for name in names if name in here - on_m4]
    if times:
        lines.append(Line("Apple M4", f"every time of {', '.join(times)}"))
        lines += _expected_lines(rows)
    marks = published.published_marks()
    unmet = len(marks) - len({reached.mark for reached in published.reached(rows)})
    if unmet:
        lines.append(Line("Apple M4", f"{unmet} of {len(marks)} published marks"))
    missing = [name for name in names if name not in here]
    if missing:
        lines.append(Line("any device", f"{', '.join(missing)}: no row here"))
    return lines


def _expected_lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """How many times the model expects, and which lines of its scope keep it from others."""
    lines = []
    expected = sum(row["result"].get("modelled_us") is not None for row in rows)
    if expected:
        times = "time" if expected == 1 else "times"
        lines.append(Line("Apple M4", f"{expected:,} expected {times}, beside an M4's own"))
    refused = [
        row["result"]["modelled_refused"] for row in rows if "modelled_refused" in row["result"]
    ]
    if refused:
        reasons = Counter(reason.partition(":")[0] for reasons in refused for reason in reasons)
        said = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
        missed = f"{len(refused):,} points of which no number is expected, by the lines"
        missed += f" of the model's scope that they miss: {said}; each row has its reasons"
        lines.append(Line("Apple M4", missed))
    return lines


def _findings(count: int) -> str:
    return "1 finding is" if count == 1 else f"{count:,} findings are"
