"""Cases by seed, each tried in a child process: a case may end the process, not the search.

A case is a function of its seed and nothing else, so that a seed is all there is to repeat. One
child takes many cases; a death or a hang is that of the case it was at.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from attnproto.errors import AttnprotoError, InternalError

TESTS = Path(__file__).parents[1]
START_S = 120.0  # for a child to import everything, on a busy machine


@dataclass(frozen=True)
class Find:
    """What a case did that nothing may do."""

    seed: int
    what: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.what}"


def seeds(few: int) -> Iterator[int]:
    """The cases of this run.

    As many as ``ATTNPROTO_FUZZ_EXAMPLES`` says from ``ATTNPROTO_FUZZ_SEED`` on, or from the clock's
    second; without either the first ``few``, the same in every run.
    """
    count = os.environ.get("ATTNPROTO_FUZZ_EXAMPLES")
    first = os.environ.get("ATTNPROTO_FUZZ_SEED")
    if count is None and first is None:
        yield from range(few)
        return
    begin = int(first) if first is not None else int(time.time()) * 1000
    print(f"seeds from {begin}: ATTNPROTO_FUZZ_SEED={begin} repeats them", flush=True)
    yield from range(begin, begin + int(count or 1))


def assert_no_finds(case: str, limit_s: float, few: int) -> None:
    """Try a case's seeds; fails with all that were found, each with its seed.

    Args:
        case: ``module:function`` of ``support``; the function takes a seed.
        limit_s: seconds a case may take.
        few: how many seeds where the environment says nothing.
    """
    child = Child(case, limit_s)
    finds = []
    try:
        for number, seed in enumerate(seeds(few), start=1):
            if number % 100 == 0:
                print(f"{number} tried, {len(finds)} found", flush=True)
            what = child.attempt(seed)
            if what:
                finds.append(Find(seed, what))
                print(finds[-1], flush=True)
    finally:
        child.end()
    assert not finds, "\n\n".join(map(str, finds))


class Child:
    """A process that tries cases, begun again after one that ended it."""

    def __init__(self, case: str, limit_s: float):
        self._case, self._limit_s = case, limit_s
        self._process: subprocess.Popen[bytes] | None = None

    def attempt(self, seed: int) -> str:
        """Try one case; what was found, or nothing."""
        process = self._begun()
        assert process.stdin
        process.stdin.write(b"%d\n" % seed)
        process.stdin.flush()
        answer = self._line(self._limit_s)
        if answer is None:
            self.end()
            return f"not ended after {self._limit_s:g} s"
        if not answer:
            code = process.wait()
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            said = self._said()
            self.end()
            return f"died of {how}: {said}"
        return str(json.loads(answer))

    def end(self) -> None:
        """End the process and what it started, if there is one."""
        if self._process:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None
            os.close(self._answers)
            self._errors.close()

    def _begun(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._answers, theirs = os.pipe()
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
            self._process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-c", _SERVE, self._case, str(theirs)],
                cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors,
                pass_fds=(theirs,), start_new_session=True,
            )  # fmt: skip
            os.close(theirs)
            assert self._line(START_S), self._said()
        return self._process

    def _line(self, limit_s: float) -> bytes | None:
        """The next answer, empty where there will be none, None where the time is up."""
        line, until = b"", time.monotonic() + limit_s
        with selectors.DefaultSelector() as ready:
            ready.register(self._answers, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not ready.select(until - time.monotonic()):
                    return None
                part = os.read(self._answers, 1 << 16)
                if not part:
                    return b""
                line += part
        return line

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-3000:].decode(errors="replace")


_SERVE = "import sys; from support.fuzzing import serve; serve(sys.argv[1], int(sys.argv[2]))"


def serve(case: str, answers: int) -> None:
    """Be the child: read seeds, try them, answer."""
    module, function = case.split(":")
    attempt = getattr(import_module(f"support.{module}"), function)
    with os.fdopen(answers, "w") as out:
        print("ready", file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(tried(attempt, int(line))), file=out, flush=True)


def tried(attempt: Callable[[int], object], seed: int) -> str:
    """What is wrong with how a case ended, or nothing."""
    try:
        with refusing():
            attempt(seed)
    except Exception:
        return traceback.format_exc()
    return ""


@contextmanager
def refusing() -> Iterator[None]:
    """What is inside may be refused: by an error of ours that says where, and is no bug's."""
    try:
        yield
    except InternalError:
        raise
    except AttnprotoError as error:
        if not str(error).startswith("["):
            raise ValueError(f"an error that does not say where: {error}") from error
