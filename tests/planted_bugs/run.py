"""Plant every bug of the corpus, one at a time, and say which checks catch it.

    make planted-bugs                      all of them
    make planted-bugs ARGS="flash paged"   those whose family's name begins so, -v: how

Each bug is judged in processes of its own, since what it breaks may end them. It is
caught when a check of the tests misses its tolerance or a validating device reports it.
Beside that stands the usual check of one friendly input. The exit status is the number
of bugs that nothing caught, at most 100.
"""

from __future__ import annotations

import argparse
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
from attnproto.kernels import text as registry

from planted_bugs import Bug, corpus
from planted_bugs.families import FAMILIES

SECONDS = 120  # for the checks of one bug; a kernel that takes longer never ends
CAUGHT, PASSED, ENDED = "caught", "passed", "ended the process"


@dataclass(frozen=True)
class Verdict:
    """What became of a bug: whether the usual check caught it, and who else did, and how."""

    usual: str
    by: str
    how: str


def text_of(bug: Bug) -> str:
    """The kernel file that a bug changes.

    Raises:
        LookupError: the text it replaces does not stand there once.
    """
    text = (registry.metal_root() / bug.file).read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        raise LookupError(f"{bug.file} holds {text.count(bug.old)} times: {bug.old}")
    return text


def planted(bug: Bug, folder: Path) -> None:
    """Make this process read kernels with the bug in them, from a copy in ``folder``."""
    changed = text_of(bug).replace(bug.old, bug.new)
    root = folder / "metal"
    shutil.copytree(registry.metal_root(), root)
    (root / bug.file).write_text(changed, encoding="utf-8")
    registry.metal_root = lambda: root


def _outcome(bug: Bug, checks: str, device: attnproto.Device) -> tuple[str, str]:
    family = FAMILIES[bug.family]
    friendly = [family.friendly] if "usual" in checks else []
    for number, case in enumerate([*friendly, *(family.cases if "tests" in checks else [])]):
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


def _child(bug: Bug, checks: str, validate: bool, cache: str, to: Connection) -> None:
    # What a broken heap makes the C library say.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.environ |= {"ATTNPROTO_CACHE_DIR": cache, "ATTNPROTO_CPU_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        planted(bug, Path(folder))
        # Fibers compile fastest; the engines give the same bits (tests/test_lockstep.py).
        device = attnproto.open_device("cpu", validate=validate, engine="fibers")
        to.send(_outcome(bug, checks, device))


def outcome(bug: Bug, checks: str, *, validate: bool = False) -> tuple[str, str]:
    """Run "usual", "tests" or both in a process of their own."""
    # From a process that has compiled nothing, so that no kernel is remembered.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["planted_bugs.families", "attnproto.compiler.targets.host"])
    mine, theirs = context.Pipe(duplex=False)
    cache = os.environ.get("ATTNPROTO_CACHE_DIR", "")
    process = context.Process(target=_child, args=(bug, checks, validate, cache, theirs))
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
    text_of(bug)
    usual, words = outcome(bug, "usual")
    if usual == "does not compile":
        return Verdict(usual, "", words)
    status, how = outcome(bug, "tests")
    if status == CAUGHT:
        return Verdict(usual, "tests", how)
    status, how = outcome(bug, "usual and tests", validate=True)
    return Verdict(usual, "validation" if status == CAUGHT else "", how)


def main() -> int:
    """Print a line a bug and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("prefixes", nargs="*", metavar="FAMILY", help="names begin so; all if none")
    parser.add_argument("-v", "--verbose", action="store_true", help="say how each was caught")
    asked = parser.parse_args()
    prefixes = asked.prefixes
    bugs = [b for b in corpus() if not prefixes or b.family.startswith(tuple(prefixes))]
    if not bugs:
        families = ", ".join(sorted({b.family for b in corpus()}))
        sys.exit(f"[planted-bugs] found no family that begins {prefixes}, needs one of {families}")
    begin = time.perf_counter()
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    verdicts = []
    with tempfile.TemporaryDirectory() as cache, ThreadPoolExecutor(workers) as pool:
        os.environ["ATTNPROTO_CACHE_DIR"] = cache
        for bug, verdict in zip(bugs, pool.map(judge, bugs), strict=True):
            verdicts.append(verdict)
            usual = "caught" if verdict.usual != PASSED else "missed"
            print(f"{verdict.by or 'MISSED':<10} one input: {usual}  {bug.family:<18} "
                  f"{bug.file}: {bug.mistake}", flush=True)  # fmt: skip
            if not verdict.by or asked.verbose:
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
    sys.exit(main())
