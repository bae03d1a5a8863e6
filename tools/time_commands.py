"""Time `make bench` and `make test` as a newcomer meets them: a fresh clone, nothing compiled.

Each command runs in a clone of its own, with an empty cache of kernels; what pip and cargo have
downloaded before stays, so it is the machine's time and not the network's. Prints a table in
Markdown, the README's. Times on a shared machine say little: run it on an idle one.

Seconds differ between machines, so a second revision can run beside the first, and the table has
the ratio: the marks were set where 803ed11 took 493, 373 and 685 s.

Run: python tools/time_commands.py [REVISION] [--only NAME] [--beside REVISION]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FINDING = re.compile(r"^\w+: \d+ findings?; ")


@dataclass(frozen=True)
class Command:
    """A command as it is typed, and the longest it may take."""

    name: str
    words: tuple[str, ...]
    mark_s: int
    cargo: bool = True


COMMANDS = (
    Command("make bench, with cargo", ("make", "bench"), 210),
    Command("make bench, without cargo", ("make", "bench"), 150, cargo=False),
    Command("make test", ("make", "test"), 270),
)
FIRST_FINDING_S = 60


def environment(command: Command, folder: Path) -> dict[str, str]:
    """What the command sees: no cache of kernels, and cargo only where it is asked for."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("ATTNPROTO_")}
    variables["ATTNPROTO_CACHE_DIR"] = str(folder / "cache")
    if not command.cargo:
        places = variables["PATH"].split(os.pathsep)
        variables["PATH"] = os.pathsep.join(p for p in places if not Path(p, "cargo").exists())
    return variables


@dataclass(frozen=True)
class Run:
    """What a command did.

    Attributes:
        seconds: in all.
        first_finding: seconds to it, where there was one.
        lines: what it printed.
        code: that it ended with.
    """

    seconds: float
    first_finding: float | None
    lines: list[str]
    code: int


def timed(command: Command, revision: str) -> Run:
    """Run a command in a clone of a revision."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "attnproto"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        subprocess.run(["git", "-C", clone, "checkout", "-q", revision], check=True)
        begin, first, lines = time.monotonic(), None, [""]
        running = subprocess.Popen(
            command.words, cwd=clone, env=environment(command, Path(folder)), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        for line in running.stdout:
            lines.append(line.rstrip())
            if first is None and _FINDING.match(line):
                first = time.monotonic() - begin
        code = running.wait()
        return Run(time.monotonic() - begin, first, lines, code)


def row(command: Command, revision: str, beside: str | None) -> str:
    """A row of the table.

    Raises:
        SystemExit: the command failed; at the revision beside, that stands in the row.
    """
    run = timed(command, revision)
    if run.code:
        sys.exit("\n".join([f"[time] found '{command.name}' fail, needs it whole:", *run.lines]))
    compared = first = ""
    if beside:
        other = timed(command, beside)
        failed = f", which ended with {other.code}" if other.code else ""
        compared = f"{run.seconds / other.seconds:.2f} of {other.seconds:.0f} s at {beside}{failed}"
    if run.first_finding is not None:
        first = f"{run.first_finding:.0f} s (mark {FIRST_FINDING_S})"
    last = next((line for line in reversed(run.lines) if line), "")
    taken, mark = f"{run.seconds:.0f} s", f"{command.mark_s} s"
    return f"| {command.name} | {taken} | {mark} | {compared} | {first} | {last} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("revision", nargs="?", default="HEAD")
    parser.add_argument("--only", default="", help="commands whose name holds this")
    parser.add_argument("--beside", metavar="REVISION", help="time this one after each, too")
    asked = parser.parse_args()
    chosen = [c for c in COMMANDS if asked.only in c.name]
    if not chosen:
        names = ", ".join(c.name for c in COMMANDS)
        sys.exit(f"[time] found no command with '{asked.only}', needs one of: {names}")
    if shutil.which("cargo") is None:
        chosen = [c for c in chosen if c.name != "make bench, with cargo"]
    print("| command | took | mark | beside | first finding | last line |")
    print("|---|---|---|---|---|---|")
    for command in chosen:
        print(row(command, asked.revision, asked.beside), flush=True)


if __name__ == "__main__":
    main()
