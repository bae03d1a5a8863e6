"""Findings into a knowledge base: a GPU Forge SQLite file, or its ``kb`` command."""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from attnproto.errors import AttnprotoError

from .confidence import confidence_word
from .findings import SKILLS, Finding, read_findings
from .kb_schema import create

_RECORD = "\nrecord: "
# By their record: the kb command leaves no word about the session.
_OURS, _PATTERN = "FROM findings WHERE evidence LIKE ?", f'%{_RECORD}{{"domain":%'


class KbError(AttnprotoError):
    """A finding cannot go into the knowledge base; nothing was written."""


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    added: int
    present: int


@dataclass(frozen=True)
class KbRow:
    """A finding in the shape of the table ``findings`` and of ``kb add``."""

    skill: str
    topic: str
    claim: str
    evidence: str
    source_url: str
    source_title: str
    source_type: str
    confidence: str
    tags: str
    session: str


def to_row(finding: Finding) -> KbRow:
    """Put a finding into the table's columns, the whole record kept in ``evidence``.

    Tags are joined by commas, the finding's id among them, since full-text search covers
    tags. A modelled claim is of type "other", which the base never lets be "verified".
    """
    source_type = {
        "measured": "benchmark",
        "emulated": "empirical_test",
        "derived": "empirical_test",
        "published": "benchmark",
        "modelled": "other",
    }[finding.tier]
    evidence = finding.evidence
    said = [f"{finding.tier} on {finding.device.name} ({finding.device.kind})"]
    if evidence.effect is not None:
        effect = evidence.effect
        said.append(f"{effect.name} {effect.value:g} {effect.unit}".rstrip())
    if evidence.n is not None:
        said.append(f"n = {evidence.n}")
    if evidence.cv is not None:
        said.append(f"CV {100 * evidence.cv:.1f} %")
    said.append(f"{len(evidence.rows)} result rows; replay: {finding.replay}")
    return KbRow(
        skill=finding.domain,
        topic=f"{finding.proto}/{finding.topic}",
        claim=f"{finding.title}. {finding.content}",
        evidence="; ".join(said) + _RECORD + finding.model_dump_json(),
        source_url="",
        source_title=finding.source,
        source_type=source_type,
        confidence=confidence_word(finding.confidence),
        tags=",".join((*finding.tags, finding.id)),
        session=f"attnproto {finding.proto}",
    )


def from_evidence(evidence: str) -> Finding:
    """Read a finding back out of its row's ``evidence``.

    Raises:
        KbError: The text holds no record.
    """
    _, separator, record = evidence.partition(_RECORD)
    if not separator:
        raise KbError(
            "[kb.export] found a row without its record, needs one written by this program; "
            "import it again"
        )
    return Finding.model_validate(json.loads(record))


def load(path: Path | str) -> list[Finding]:
    """Read and check a findings file as a whole, before anything is written.

    Raises:
        KbError: The file is missing, empty, torn, or a line is no finding.
    """
    path = Path(path)
    if not path.is_file():
        raise KbError(f"[kb.import] found no file {path}, needs a findings file; check the path")
    text = path.read_bytes()
    if not text.endswith(b"\n"):
        raise KbError(
            f"[kb.import] found {path} empty or cut off in its last line, needs a whole file; "
            "write the findings again"
        )
    findings = read_findings(path)
    return list({finding.id: finding for finding in findings}.values())


def import_into_database(findings: Sequence[Finding], database: Path | str) -> Imported:
    """Import findings into a GPU Forge SQLite file, all of them or none.

    Args:
        findings: Checked findings.
        database: The file; created with its tables and full-text search when absent.

    Returns:
        How many were added and how many were there already.

    Raises:
        KbError: Not such a database, a skill it lacks, or fewer rows written than findings.
    """
    database = Path(database)
    created = not database.exists()
    try:
        # isolation_level None: the transaction below is the only one, begun by hand.
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if created:
                    create(connection)
                result = _insert(connection, findings)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        _discard(database, created)
        raise KbError(
            f"[kb.import] found {database} refuses the import ({error}), needs a writable GPU "
            "Forge database; pass another --db"
        ) from error
    except BaseException:
        _discard(database, created)
        raise
    return result


def _discard(database: Path, created: bool) -> None:
    if created:
        database.unlink(missing_ok=True)


def _insert(connection: sqlite3.Connection, findings: Sequence[Finding]) -> Imported:
    skills = dict(connection.execute("SELECT name, id FROM skills"))
    columns = {row[1] for row in connection.execute("PRAGMA table_info(findings)")}
    present = set()
    for (evidence,) in connection.execute(f"SELECT evidence {_OURS}", (_PATTERN,)):
        present.add(json.loads(evidence.partition(_RECORD)[2])["id"])
    before = connection.execute("SELECT count(*) FROM findings").fetchone()[0]
    fresh = [finding for finding in findings if finding.id not in present]
    for finding in fresh:
        row = to_row(finding)
        if row.skill not in skills:
            raise KbError(
                f"[kb.import] found the domain {row.skill!r}, needs one of the database's skills "
                f"({', '.join(skills)}); correct the finding"
            )
        values = {
            "skill_id": skills[row.skill],
            "topic": row.topic,
            "claim": row.claim,
            "evidence": row.evidence,
            "source_url": row.source_url,
            "source_title": row.source_title,
            "source_type": row.source_type,
            "confidence": row.confidence,
            "date_found": date.today().isoformat(),
            "tags": row.tags,
            "investigation_session": row.session,
        }
        # A column of later versions of the database; only an M4's own times speak for M4.
        if "gpu_generation" in columns and finding.device.is_m4:
            values["gpu_generation"] = "m4"
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        connection.execute(
            f"INSERT INTO findings ({names}) VALUES ({marks})", tuple(values.values())
        )
    written = connection.execute("SELECT count(*) FROM findings").fetchone()[0] - before
    if written != len(fresh):
        raise KbError(
            f"[kb.import] found {written} rows written for {len(fresh)} findings, needs as many; "
            "check the database's triggers"
        )
    return Imported(len(fresh), len(findings) - len(fresh))


def export_from_database(database: Path | str) -> list[Finding]:
    """Read back the findings that this program imported.

    Raises:
        KbError: Not such a database.
    """
    if not Path(database).is_file():
        raise KbError(f"[kb.export] found no file {database}, needs a database; check the path")
    try:
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute(
                f"SELECT evidence {_OURS} ORDER BY id", (_PATTERN,)
            ).fetchall()
    except sqlite3.Error as error:
        raise KbError(
            f"[kb.export] found {database} unreadable ({error}), needs a GPU Forge database; "
            "check the path"
        ) from error
    return [from_evidence(evidence) for (evidence,) in rows]


def check_replaceable(out: Path | str) -> None:
    """See that an export destroys nothing: its place is free, or holds findings.

    Raises:
        KbError: Something else is there, such as the database itself.
    """
    out = Path(out)
    if not out.exists() or (out.is_file() and out.stat().st_size == 0):
        return
    try:
        load(out)
    except AttnprotoError as error:
        raise KbError(
            f"[kb.export] found {out}, which holds no findings, needs a new file or one of "
            "findings; name another"
        ) from error


def import_by_command(findings: Sequence[Finding], command: str) -> Imported:
    """Import findings through GPU Forge's shell command, one call each.

    The command prints success even when it writes nothing, so its total is read before and
    after; a finding already there is recognised by its id among the tags. Skills that its
    statistics do not list are refused before the first call.

    Args:
        findings: Checked findings.
        command: How to call it, such as ``"kb"``.

    Returns:
        How many were added and how many were there already.

    Raises:
        KbError: The base lacks a skill; or the command fails or writes fewer findings than
            asked: those added before that stay, since it has no way to take them back, and
            the message says how many.
    """
    call = shlex.split(command)
    # Among the tags only: the record of a later finding names the one it supersedes.
    fresh = [f for f in findings if not _run(call, "search", f"tags : {f.id}").strip()]
    stats = _run(call, "stats")
    listed = {skill for skill in SKILLS if skill in stats.split()}
    if listed and (lacking := sorted({finding.domain for finding in fresh} - listed)):
        raise KbError(
            f"[kb.import] found the domain {lacking[0]!r}, needs one of the base's skills "
            f"({', '.join(sorted(listed))}); correct the finding"
        )
    before = _total(stats)
    for number, finding in enumerate(fresh, start=1):
        row = to_row(finding)
        _run(
            call,
            "add",
            row.skill,
            row.topic,
            row.claim,
            row.evidence,
            row.source_url,
            row.source_title,
            row.source_type,
            row.confidence,
            row.tags,
        )
        written = _total(_run(call, "stats")) - before
        if written != number:
            raise KbError(
                f"[kb.import] found {written} of {len(fresh)} findings written after {number} "
                f"calls, needs one each; check that the base has the skill {row.skill!r}"
            )
    return Imported(len(fresh), len(findings) - len(fresh))


def _run(call: Sequence[str], *arguments: str) -> str:
    try:
        done = subprocess.run(
            [*call, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KbError(
            f"[kb.import] found {call[0]!r} cannot be run ({error}), needs GPU Forge's kb; "
            "pass --kb with its path"
        ) from error
    if done.returncode or "ERROR" in done.stderr:
        raise KbError(
            f"[kb.import] found kb {arguments[0]} fails ({done.stderr.strip() or 'no message'}), "
            "needs it to succeed; run it by hand"
        )
    return done.stdout


def _total(stats: str) -> int:
    for line in stats.splitlines():
        if line.startswith("Total findings:"):
            return int(line.split(":")[1])
    raise KbError(
        "[kb.import] found no 'Total findings' in what kb stats prints, needs it to count the "
        "rows; use --db"
    )
