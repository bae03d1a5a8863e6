"""The tables of a GPU Forge knowledge base, for a file that is not there yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from .findings import SKILLS

_LAYERS = (0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4)
_TITLES = (
    "Apple GPU Microarchitecture",
    "Unified Memory Architecture",
    "Metal Compute Pipeline",
    "Metal Shading Language for Compute",
    "GPU Storage & I/O Patterns",
    "GPU Performance Engineering",
    "SIMD & Threadgroup Programming",
    "MLX Framework for GPU Computing",
    "Metal 4 Next-Generation API",
    "Distributed GPU Computing",
    "GPU-Centric Application Design",
)

# Table and column names, checks and triggers are GPU Forge's, so that its kb reads the file.
_SOURCE_TYPES = (
    "academic_paper",
    "apple_docs",
    "wwdc_session",
    "github_repo",
    "blog_post",
    "reverse_engineering",
    "benchmark",
    "empirical_test",
    "patent",
    "forum_post",
    "book",
    "other",
)
_WORDS = ("verified", "high", "medium", "low", "unverified")
_INFORMAL = "NEW.source_type IN ('blog_post', 'forum_post', 'other')"
_INDEXED = "claim, evidence, tags, notes"


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _row(which: str) -> str:
    return ", ".join(f"{which}.{name}" for name in ("id", *_INDEXED.split(", ")))


_TO_INDEX = f"INSERT INTO findings_fts (rowid, {_INDEXED}) VALUES ({_row('new')});"
_FROM_INDEX = (
    f"INSERT INTO findings_fts (findings_fts, rowid, {_INDEXED}) VALUES ('delete', {_row('old')});"
)
_SCHEMA = (
    """CREATE TABLE skills (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL,
    layer INTEGER NOT NULL, title TEXT NOT NULL, github_issue INTEGER, description TEXT)""",
    f"""CREATE TABLE findings (id INTEGER PRIMARY KEY AUTOINCREMENT,
    skill_id INTEGER NOT NULL REFERENCES skills (id), topic TEXT NOT NULL, claim TEXT NOT NULL,
    evidence TEXT, source_url TEXT, source_title TEXT,
    source_type TEXT DEFAULT 'other' CHECK (source_type IN ({_quoted(_SOURCE_TYPES)})),
    confidence TEXT DEFAULT 'unverified' CHECK (confidence IN ({_quoted(_WORDS)})),
    date_found TEXT DEFAULT (date('now')), date_published TEXT, tags TEXT, notes TEXT,
    investigation_session TEXT)""",
    """CREATE TABLE citations (id INTEGER PRIMARY KEY AUTOINCREMENT,
    finding_id INTEGER REFERENCES findings (id) ON DELETE CASCADE, authors TEXT,
    title TEXT NOT NULL, venue TEXT, year INTEGER, doi TEXT, url TEXT, bibtex TEXT,
    author_source TEXT DEFAULT 'unverified')""",
    """CREATE TABLE investigations (id INTEGER PRIMARY KEY AUTOINCREMENT,
    skill_id INTEGER REFERENCES skills (id), topic TEXT NOT NULL, github_issue INTEGER,
    started_at TEXT DEFAULT (datetime('now')), completed_at TEXT,
    queries_run INTEGER DEFAULT 0, findings_added INTEGER DEFAULT 0, status TEXT,
    summary TEXT)""",
    f"""CREATE VIRTUAL TABLE findings_fts USING fts5 ({_INDEXED},
    content=findings, content_rowid=id)""",
    f"CREATE TRIGGER findings_ai AFTER INSERT ON findings BEGIN {_TO_INDEX} END",
    f"CREATE TRIGGER findings_ad AFTER DELETE ON findings BEGIN {_FROM_INDEX} END",
    f"CREATE TRIGGER findings_au AFTER UPDATE ON findings BEGIN {_FROM_INDEX} {_TO_INDEX} END",
    "CREATE INDEX idx_findings_skill ON findings (skill_id)",
    "CREATE INDEX idx_findings_topic ON findings (topic)",
    f"""CREATE TRIGGER findings_confidence_check_insert BEFORE INSERT ON findings
    WHEN NEW.confidence = 'verified' AND {_INFORMAL}
    BEGIN SELECT RAISE(ABORT, 'an informal source cannot be verified'); END""",
    f"""CREATE TRIGGER findings_confidence_check_update BEFORE UPDATE ON findings
    WHEN NEW.confidence = 'verified' AND {_INFORMAL}
    BEGIN SELECT RAISE(ABORT, 'an informal source cannot be verified'); END""",
)


def create(connection: sqlite3.Connection) -> None:
    """Create the tables, full-text search and skills in an empty database."""
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO skills (id, name, layer, title) VALUES (?, ?, ?, ?)",
        [
            (number, name, layer, title)
            for number, (name, layer, title) in enumerate(
                zip(SKILLS, _LAYERS, _TITLES, strict=True), start=1
            )
        ],
    )
