"""Print what this project makes of kernels that others published, and keep it as a page.

    make conformance                             a sample of the large projects' kernels
    make conformance ARGS="--share 1"            every kernel; hours
    make conformance ARGS="ggml candle"          these projects only; the rest as it was

What is known of each project lies in build/conformance and is written after each text. A run that
is ended can be begun again: kernels that were compiled are in the cache.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from signal import SIG_IGN, SIGINT

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attnproto

from conformance import report
from conformance.case import Case
from conformance.compilation import CompiledText, compile_texts
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
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; none: a core")
    arguments = parser.parse_args()
    unknown = set(arguments.projects) - PROJECTS.keys()
    if unknown:
        parser.error(f"found {', '.join(unknown)}, needs some of {', '.join(PROJECTS)}")
    for name in ("share", "jobs"):
        if (getattr(arguments, name) or 1) < 1:
            parser.error(f"found --{name} {getattr(arguments, name)}, needs at least 1")
    KEPT.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(arguments.jobs, context, signal.signal, (SIGINT, SIG_IGN))
    try:
        for project in arguments.projects or PROJECTS:
            if arguments.only != "run":
                _compile_project(project, arguments.share or SHARES.get(project, 1), pool)
            if arguments.only != "compile":
                _run_project(project, pool)
    except KeyboardInterrupt:
        sys.exit("[conformance] interrupted; what was compiled is in the cache: run it again")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in multiprocessing.active_children():
            worker.terminate()
    texts = [CompiledText.unpack(one) for project in PROJECTS for one in _kept(project, "texts")]
    executed = [Executed(**one) for project in PROJECTS for one in _kept(project, "cases")]
    tables = report.tables(texts, executed)
    print(tables)
    PAGE.write_text(tables, encoding="utf-8")
    failed = sum(map(report.refused, texts)) + sum(not one.passed for one in executed)
    return min(failed, 100)


def _compile_project(project: str, share: int, pool: Executor) -> None:
    outcomes = []
    for outcome, kernels in compile_texts([*PROJECTS[project].texts()], share, pool):
        for kernel in kernels:
            outcome.compiled.append(kernel.result())
            if outcome.compiled[-1].cpu or outcome.compiled[-1].ptx:
                print(f"{project} {outcome.name}: {outcome.compiled[-1]}", flush=True)
        outcomes.append(outcome)
        _keep(project, "texts", [one.pack() for one in outcomes])
        tried = outcome.error or f"{len(outcome.compiled)} of {outcome.kernels}"
        print(f"{project} {outcome.name}: {tried}", flush=True)


def _run_project(project: str, pool: Executor) -> None:
    outcomes = []
    names = [case.name for case in PROJECTS[project].cases()]
    for executed in pool.map(_run_case, [project] * len(names), names):
        outcomes.append(executed.pack())
        _keep(project, "cases", outcomes)
        print(f"{project} {executed.name}: {executed.fp64}, {executed.validated}", flush=True)


@functools.cache
def _devices() -> tuple[attnproto.Device, attnproto.Device]:
    """One that runs kernels, and one that validates them."""
    return tuple(attnproto.open_device("cpu", validate=checks) for checks in (False, True))


@functools.cache
def _cases(project: str) -> dict[str, Case]:
    return {case.name: case for case in PROJECTS[project].cases()}


def _run_case(project: str, name: str) -> Executed:
    return run_case(_cases(project)[name], *_devices())


def _file(project: str, part: str) -> Path:
    return KEPT / f"{project.replace(' ', '-').replace(',', '')}.{part}.json"


def _keep(project: str, part: str, content: list[dict]) -> None:
    _file(project, part).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _kept(project: str, part: str) -> Iterator[dict]:
    if _file(project, part).exists():
        yield from json.loads(_file(project, part).read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
