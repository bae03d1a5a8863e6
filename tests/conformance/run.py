"""Print what this project makes of kernels that others published, and keep it as a page.

    make conformance                             a sample of the large projects' kernels
    make conformance ARGS="--share 1"            every kernel; hours
    make conformance ARGS="ggml candle"          these projects only; the rest as it was

What is known of each project lies in build/conformance and is written after each kernel, so that
a run can be ended and begun again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attnproto

from conformance import report
from conformance.compilation import CompiledText, compile_text
from conformance.projects import PROJECTS, SHARES

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "conformance"
PAGE = ROOT / "docs" / "conformance.md"


def main() -> int:
    """Run what the arguments ask for; the status is the number of kernels that are refused."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("projects", nargs="*", help=f"of {', '.join(PROJECTS)}; none: all")
    parser.add_argument("--share", type=int, help="try one kernel of so many; 1: every one")
    arguments = parser.parse_args()
    unknown = set(arguments.projects) - PROJECTS.keys()
    if unknown:
        parser.error(f"found {', '.join(unknown)}, needs some of {', '.join(PROJECTS)}")
    KEPT.mkdir(parents=True, exist_ok=True)
    device = attnproto.open_device("cpu")
    for project in arguments.projects or PROJECTS:
        share = arguments.share or SHARES.get(project, 1)
        _compile_project(project, device, share)
    texts = [one for project in PROJECTS for one in _kept(project)]
    tables = report.tables(texts, SHARES)
    print(tables)
    PAGE.write_text(tables, encoding="utf-8")
    return min(sum(report.refused(one) for one in texts), 100)


def _compile_project(project: str, device: attnproto.Device, share: int) -> None:
    outcomes = []
    for text in PROJECTS[project]():
        outcome = None
        for outcome in compile_text(text, device, share):
            last = outcome.compiled[-1] if outcome.compiled else None
            if outcome.error or (last and (last.cpu or last.ptx)):
                print(f"{project} {text.name}: {outcome.error or last}", flush=True)
        outcomes.append(outcome)
        file = KEPT / f"{_file_name(project)}.json"
        file.write_text(json.dumps([one.pack() for one in outcomes], indent=1))
        print(f"{project} {text.name}: {len(outcome.compiled)} of {outcome.kernels}", flush=True)


def _kept(project: str) -> Iterator[CompiledText]:
    file = KEPT / f"{_file_name(project)}.json"
    if file.exists():
        yield from map(CompiledText.unpack, json.loads(file.read_text()))


def _file_name(project: str) -> str:
    return project.replace(" ", "-").replace(",", "")


if __name__ == "__main__":
    sys.exit(main())
