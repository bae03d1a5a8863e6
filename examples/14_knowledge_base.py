"""Findings into a knowledge base and back: what was found, how surely, and on which device."""

import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

FINDINGS = Path(__file__).parents[1] / "results" / "h200" / "findings.jsonl"


def attnproto(*words: object) -> None:
    """Run the command line."""
    subprocess.run([sys.executable, "-m", "attnproto", *map(str, words)], check=True)


def main() -> None:
    """Import the findings of an H200, ask the database, and export them again."""
    with tempfile.TemporaryDirectory() as folder:
        base, back = Path(folder) / "knowledge.db", Path(folder) / "back.jsonl"
        attnproto("kb", "import", FINDINGS, "--db", base)
        attnproto("kb", "import", FINDINGS, "--db", base)  # adds nothing
        with sqlite3.connect(base) as database:
            rows = database.execute(
                "select confidence, claim from findings where claim like '%linear%' limit 4"
            )
            for confidence, claim in rows:
                print(f"  {confidence:10} {claim.splitlines()[0][:88]}")
        attnproto("kb", "export", base, back)
        assert back.read_text().count("\n") == FINDINGS.read_text().count("\n")


if __name__ == "__main__":
    main()
