"""Plant every bug of the corpus, one at a time, and say which checks catch it.

    make planted-bugs                      all of them
    make planted-bugs ARGS="flash paged"   those whose family's name begins so

Each bug is judged in processes of its own, since what it breaks may end them. It is
caught when a check of the tests misses its tolerance or a validating device reports it.
Beside that stands the usual check of one friendly input. The exit status is the number
of bugs that nothing caught, at most 100.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attnproto
from attnproto.errors import KernelCompileError, ValidationError
from attnproto.kernels import registry
from planted_bugs import Bug
from planted_bugs.corpus import BUGS
from planted_bugs.families import FAMILIES, Case

SECONDS = 120  # for the checks of one bug; a kernel that takes longer never ends
CAUGHT, PASSED, ENDED = "caught", "passed", "ended the process"


@dataclass(frozen=True)
class Verdict:
    """What became of a bug: whether the usual check caught it, and who else did, and how."""

    usual: str
    by: str
    how: str


def planted(bug: Bug, folder: Path) -> None:
    """Make this process read kernels with the bug in them, from a copy in ``folder``."""
    root = folder / "metal"
    shutil.copytree(registry.metal_root(), root)
    text = (root / bug.file).read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        raise LookupError(f"{bug.file} holds {text.count(bug.old)} times: {bug.old}")
    (root / bug.file).write_text(text.replace(bug.old, bug.new), encoding="utf-8")
    registry.metal_root = lambda: root


def _outcome(cases: list[Case], device: attnproto.Device) -> tuple[str, str]:
    for number, case in enumerate(cases):
        try:
            case(device)
        except KernelCompileError as error:
            return "does not compile", str(error)
        except ValidationError as error:
            return CAUGHT, str(error)
        except (AssertionError, attnproto.AttnprotoError, FloatingPointError) as error:
            words = str(error).strip().split("\n")
            return CAUGHT, f"case {number + 1}: {' '.join(words)[:200]}"
    return PASSED, ""


def _child(bug: Bug, cases: list[Case], validate: bool, to: Connection) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    with tempfile.TemporaryDirectory() as folder:
        planted(bug, Path(folder))
        to.send(_outcome(cases, attnproto.open_device("cpu", validate=validate)))


def outcome(bug: Bug, cases: list[Case], *, validate: bool) -> tuple[str, str]:
    """Run checks in a process of their own."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(bug, cases, validate, theirs))
    process.start()
    theirs.close()
    try:
        if not mine.poll(SECONDS):
            process.kill()
            return CAUGHT, f"not done after {SECONDS} s"
        return mine.recv()
    except EOFError:
        return ENDED, f"exit code {process.exitcode}"
    finally:
        process.join()


def judge(bug: Bug) -> Verdict:
    """Judge one bug by its family's checks."""
    family = FAMILIES[bug.family]
    usual, words = outcome(bug, [family.friendly], validate=False)
    if usual == "does not compile":
        return Verdict(usual, "", words)
    found, how = outcome(bug, family.cases, validate=False)
    if found == CAUGHT:
        return Verdict(usual, "tests", how)
    found, how = outcome(bug, [*family.cases, family.friendly], validate=True)
    return Verdict(usual, "validation" if found == CAUGHT else "", how)


def main(prefixes: list[str]) -> int:
    """Print a line a bug and the sums."""
    bugs = [b for b in BUGS if not prefixes or b.family.startswith(tuple(prefixes))]
    begin = time.perf_counter()
    os.environ["ATTNPROTO_CPU_THREADS"] = "1"
    os.environ.pop("ATTNPROTO_VALIDATE", None)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    verdicts = []
    with tempfile.TemporaryDirectory() as cache, ThreadPoolExecutor(workers) as pool:
        os.environ["ATTNPROTO_CACHE_DIR"] = cache
        for bug, verdict in zip(bugs, pool.map(judge, bugs), strict=True):
            verdicts.append(verdict)
            usual = "caught" if verdict.usual != PASSED else "missed"
            print(f"{verdict.by or 'MISSED':<10} one input: {usual}  {bug.family:<18} "
                  f"{bug.file}: {bug.mistake}", flush=True)  # fmt: skip
            if not verdict.by or "-v" in sys.argv:
                print(f"           {verdict.usual} / {verdict.how}", flush=True)
    caught = [v for v in verdicts if v.by]
    by = {name: sum(v.by == name for v in caught) for name in ("tests", "validation")}
    print(
        f"\ncaught {len(caught)}/{len(bugs)} (by the tests {by['tests']}, by validation alone "
        f"{by['validation']}); the check of one input {sum(v.usual != PASSED for v in verdicts)}"
        f"/{len(bugs)}; {time.perf_counter() - begin:.0f} s"
    )
    return min(len(bugs) - len(caught), 100)


if __name__ == "__main__":
    sys.exit(main([word for word in sys.argv[1:] if not word.startswith("-")]))
