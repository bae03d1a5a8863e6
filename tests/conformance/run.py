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
from conformance.execution import Executed, run_case
from conformance.projects import PROJECTS, SHARES

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "conformance"
PAGE = ROOT / "docs" / "conformance.md"


def main() -> int:
    """Run what the arguments ask for; the status is how much is refused, wrong or reported."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("projects", nargs="*", help=f"of {', '.join(PROJECTS)}; none: all")
    parser.add_argument("--share", type=int, help="try one kernel of so many; 1: every one")
    parser.add_argument("--only", choices=("compile", "run"), help="one part; none: both")
    arguments = parser.parse_args()
    unknown = set(arguments.projects) - PROJECTS.keys()
    if unknown:
        parser.error(f"found {', '.join(unknown)}, needs some of {', '.join(PROJECTS)}")
    KEPT.mkdir(parents=True, exist_ok=True)
    for project in arguments.projects or PROJECTS:
        if arguments.only != "run":
            _compile_project(project, arguments.share or SHARES.get(project, 1))
        if arguments.only != "compile":
            _run_project(project)
    texts = [CompiledText.unpack(one) for project in PROJECTS for one in _kept(project, "texts")]
    executed = [Executed(**one) for project in PROJECTS for one in _kept(project, "cases")]
    tables = report.tables(texts, executed, SHARES)
    print(tables)
    PAGE.write_text(tables, encoding="utf-8")
    failed = sum(map(report.refused, texts)) + sum(not one.passed for one in executed)
    return min(failed, 100)


def _compile_project(project: str, share: int) -> None:
    device, outcomes = attnproto.open_device("cpu"), []
    for text in PROJECTS[project].texts():
        outcome = CompiledText(project, text.name)
        for outcome in compile_text(text, device, share):
            last = outcome.compiled[-1] if outcome.compiled else None
            if outcome.error or (last and (last.cpu or last.ptx)):
                print(f"{project} {text.name}: {outcome.error or last}", flush=True)
        outcomes.append(outcome)
        _keep(project, "texts", [one.pack() for one in outcomes])
        print(f"{project} {text.name}: {len(outcome.compiled)} of {outcome.kernels}", flush=True)


def _run_project(project: str) -> None:
    device = attnproto.open_device("cpu", validate=False)
    validating = attnproto.open_device("cpu", validate=True)
    outcomes = []
    for case in PROJECTS[project].cases():
        outcomes.append(run_case(case, device, validating))
        _keep(project, "cases", [one.pack() for one in outcomes])
        print(f"{project} {case.name}: {outcomes[-1].fp64}, {outcomes[-1].validated}", flush=True)


def _file(project: str, part: str) -> Path:
    return KEPT / f"{project.replace(' ', '-').replace(',', '')}.{part}.json"


def _keep(project: str, part: str, content: list[dict]) -> None:
    _file(project, part).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _kept(project: str, part: str) -> Iterator[dict]:
    if _file(project, part).exists():
        yield from json.loads(_file(project, part).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
