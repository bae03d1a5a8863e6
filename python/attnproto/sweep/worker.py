"""Running points: a worker process owns the device, its parent keeps the clock.

A point that hangs or crashes costs one row and one worker; the sweep goes on.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from multiprocessing.connection import Connection, wait
from typing import Any

from attnproto.device.lock import alone
from attnproto.errors import AttnprotoError, DeviceUnavailable
from attnproto.results.row import DeviceRecord, Task, make_row, row_key
from attnproto.results.store import plain

OPENER = "attnproto:open_device"
DEVICE_KINDS = ("auto", "cpu", "metal", "cuda")
# What macOS calls a device that is not hot, and how a worker says that it waits for one.
NOMINAL, COOLING = "nominal", "cooling"
_COOLING_LIMIT_S, _COOLING_STEP_S = 600.0, 5.0
_LOG = logging.getLogger("attnproto.sweep")
# After these a worker is of no more use.
SPENT = ("timeout", "crashed", "lost")
# Starting a device may compile its run-time support once; nothing needs longer than this.
_START_LIMIT_S = 120.0
# How many threads NumPy takes is fixed when it is loaded, by one of these.
_NUMPY_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def open_by(opener: str, kind: str) -> Any:
    """Open a device by ``"module:function"``, which is given its kind."""
    module, function = opener.split(":")
    return getattr(importlib.import_module(module), function)(kind)


class Worker:
    """A child process that opens a device and runs points, one at a time.

    Args:
        kind: Device to open.
        mode: ``"quick"`` or ``"full"``.
        opener: ``"module:function"`` that opens it, given the kind. What it returns has ``kind``,
            ``name`` and ``tier``; ``conditions()`` where it tells of heat, as ``Device`` does; and
            what the prototypes take that run on it.
        shared: A file whose sharers use the device one at a time; None where there are none.
    """

    def __init__(
        self, kind: str, mode: str, opener: str = OPENER, shared: str | None = None
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, kind, mode, opener, os.getpid(), shared), daemon=True
        )
        self._process.start()
        theirs.close()
        self._expect(_START_LIMIT_S)

    def opened(self) -> Worker:
        """Wait until the device is open.

        Raises:
            DeviceUnavailable: It does not open.
        """
        status, value = self.answer()
        if status != "ready":
            self.stop()
            message = value if status == "unavailable" else f"{status}: {value}"
            raise DeviceUnavailable(str(message))
        self.device = DeviceRecord(**value)
        return self

    def _expect(self, limit_s: float) -> None:
        self._limit_s, self.deadline = limit_s, time.monotonic() + limit_s

    def answer(self) -> tuple[str, Any]:
        """Wait for what was begun; a worker whose answer is one of ``SPENT`` is of no more use."""
        if not self.connection.poll(max(0.0, self.deadline - time.monotonic())):
            return "timeout", f"took longer than its limit of {self._limit_s:g} s"
        try:
            status, value = self.connection.recv()
            if status == COOLING:
                _LOG.warning("the device is hot: the sweep waits up to %g s for it to cool", value)
                self._expect(self._limit_s + value)
                return self.answer()
            return status, value
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            by = signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"
            return "crashed", f"the worker process ended with {by}"

    def begin(self, task: Task) -> None:
        """Begin a task; ``deadline`` says when its time is up."""
        self._expect(task.limit_s)
        try:
            self.connection.send((task.prototype, dict(task.point)))
        except OSError:
            self._expect(0.0)  # its answer is that it has crashed

    def run(self, task: Task) -> tuple[str, Any]:
        """Run a task and return its ``answer``."""
        self.begin(task)
        return self.answer()

    def stop(self) -> None:
        """End the process, at once if need be."""
        self.connection.close()
        self._process.join(0.2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)


def _work(
    connection: Connection, kind: str, mode: str, opener: str, parent: int, shared: str | None
) -> None:
    # The parent decides what an interrupt means; the worker ends when told or orphaned.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if shared:
        alone.share(shared)
    # A sweep counts its points and keeps their limits: it needs no word about each slow kernel.
    logging.getLogger("attnproto.compiler").setLevel(logging.ERROR)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from attnproto.prototypes.constants.cold_compile import wake_compiler
    from attnproto.prototypes.registry import load

    try:
        device = open_by(opener, kind)
        if device.tier == "measured":
            wake_compiler(device)  # else the first point's compile time has the compiler's start
        connection.send(("ready", {"kind": device.kind, "name": device.name, "tier": device.tier}))
    except Exception as error:
        connection.send(("unavailable", str(error) or repr(error)))
        return
    while True:
        try:
            name, point = connection.recv()
        except (EOFError, ConnectionResetError):
            # The latter where the parent went without having read an answer.
            return
        try:
            cooled_s = cool_down(device, lambda: connection.send((COOLING, _COOLING_LIMIT_S)))
            outcome = load(name).answer(point, device, mode)
            made_under = _conditions(device, cooled_s)
            answer = (outcome.status, (outcome.reason, plain({**outcome.result, **made_under})))
        except DeviceUnavailable as error:
            # This process holds a device that is gone; another process may get it back.
            answer = ("lost", str(error))
        except AttnprotoError as error:
            answer = ("error", str(error))
        except Exception as error:
            answer = ("error", f"{type(error).__name__}: {error}")
        try:
            connection.send(answer)
        except OSError:
            # The parent was interrupted meanwhile and waits for no answer.
            return


def cool_down(device: Any, say: Callable[[], None]) -> float:
    """Wait until a device is no longer hot, and return for how many seconds.

    Args:
        device: An open device; only Metal's tells of heat.
        say: Called once, before waiting.
    """
    began = time.monotonic()
    said = False
    while _is_hot(_heat(device)):
        if not said:
            say()
            said = True
        if time.monotonic() - began > _COOLING_LIMIT_S:
            break
        time.sleep(_COOLING_STEP_S)
    return time.monotonic() - began if said else 0.0


def _conditions(device: Any, cooled_s: float) -> dict[str, Any]:
    """What a row says of heat and power; ``hot`` marks samples that may be slow for it."""
    heat = _heat(device)
    if not heat:
        return {}
    return {**heat, "hot": _is_hot(heat), "cooled_s": round(cooled_s, 1)}


def _heat(device: Any) -> dict[str, str]:
    """A device's conditions; none of a device of one's own that has no such method."""
    conditions = getattr(device, "conditions", None)
    return conditions() if conditions else {}


def _is_hot(heat: Mapping[str, str]) -> bool:
    return heat.get("thermal", NOMINAL) != NOMINAL


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def run_tasks(
    tasks: Sequence[Task],
    *,
    kind: str,
    mode: str,
    environment: Mapping[str, Any],
    done: Iterable[str] = (),
    opener: str = OPENER,
    started: Callable[[Task, DeviceRecord], None] | None = None,
    jobs: int = 1,
    ready: Callable[[Task], bool] = lambda task: True,
) -> Iterator[dict[str, Any]]:
    """Run tasks in order and yield a row for each that is not done already, as it ends.

    With several jobs kernels are compiled and truths computed side by side, while one process at
    a time has the device: for a submission, or for a whole measurement. What a task may take is
    then that many times its limit, since it waits for others.

    Args:
        tasks: What to run.
        kind: Device to open.
        mode: ``"quick"`` or ``"full"``.
        environment: Goes into each row.
        done: Keys of rows that exist.
        opener: ``"module:function"`` that opens the device.
        started: Called before each task that is run.
        jobs: How many processes take tasks.
        ready: Called before a task begins, and may wait; one that it refuses gives no row.

    Yields:
        Rows with status ok, wrong, error, timeout, crashed or lost (the device went away).

    Raises:
        DeviceUnavailable: The device does not open.
    """
    seen = set(done)
    with _Crew(kind, mode, opener, jobs) as crew:
        first = crew.hire().opened()
        todo = []
        for task in tasks:
            key = row_key(task.prototype, task.point, mode, first.device)
            if key not in seen:
                seen.add(key)
                todo.append(task)
        waiting = iter(todo)
        busy: dict[Connection, _Begun] = {}

        def begin(worker: Worker | None) -> None:
            task = next(filter(ready, waiting), None)
            if task is None:
                return
            worker = worker or crew.hire().opened()
            if started is not None:
                started(task, worker.device)
            begun = _Begun(worker, task, datetime.now(timezone.utc), time.monotonic())
            busy[worker.connection] = begun
            worker.begin(replace(task, limit_s=task.limit_s * jobs))

        begin(first)
        for worker in [crew.hire() for _ in range(min(jobs, len(todo)) - 1)]:
            begin(worker.opened())
        while busy:
            for connection in _ended(busy):
                one = busy.pop(connection)
                answer, elapsed_s = one.worker.answer(), time.monotonic() - one.clock
                spent = answer[0] in SPENT
                if spent:
                    crew.dismiss(one.worker)
                answer = naming_its_text(one.task, answer)
                yield make_row(one.task, mode, first.device, environment, answer, one.at, elapsed_s)
                begin(None if spent else one.worker)


def naming_its_text(task: Task, answer: tuple[str, Any]) -> tuple[str, Any]:
    """An answer whose result says which kernel text it is about, as one of success does itself.

    A resumed run then knows a failure of an older text from one of today's.
    """
    from attnproto.prototypes.registry import known_text_hash

    status, value = answer
    reason, result = value if isinstance(value, tuple) else (value, {})
    if isinstance(result, Mapping) and "kernel_hash" not in result:
        today = known_text_hash(task.prototype, task.point)
        if today is not None:
            result = {**result, "kernel_hash": today}
    return status, (reason, result)


@dataclass(frozen=True)
class _Begun:
    """A task that a worker has begun, and when."""

    worker: Worker
    task: Task
    at: datetime
    clock: float


def _ended(busy: Mapping[Connection, _Begun]) -> list[Connection]:
    """Wait for a worker that has an answer, or no time left."""
    soonest = min(begun.worker.deadline for begun in busy.values())
    ready = wait(list(busy), max(0.0, soonest - time.monotonic()))
    now = time.monotonic()
    return ready or [c for c, begun in busy.items() if begun.worker.deadline <= now]


class _Crew:
    """The workers of one run, which end with it.

    Args:
        kind: Device to open.
        mode: ``"quick"`` or ``"full"``.
        opener: ``"module:function"`` that opens it.
        jobs: How many share the device; processors are shared out among them.
    """

    def __init__(self, kind: str, mode: str, opener: str, jobs: int) -> None:
        self._owned = kind, mode, opener
        self._jobs = jobs
        self._files = ExitStack()
        self._shared: str | None = None
        self._workers: list[Worker] = []

    def hire(self) -> Worker:
        """Start a worker; its device is yet to open."""
        count = (os.cpu_count() or 1) // self._jobs
        with _numpy_threads(count) if self._jobs > 1 else nullcontext():
            self._workers.append(Worker(*self._owned, self._shared))
        return self._workers[-1]

    def dismiss(self, worker: Worker) -> None:
        """End a worker."""
        self._workers.remove(worker)
        worker.stop()

    def __enter__(self) -> _Crew:
        if self._jobs > 1:
            file = self._files.enter_context(tempfile.NamedTemporaryFile(prefix="attnproto-"))
            self._shared = file.name
        return self

    def __exit__(self, *_: object) -> None:
        while self._workers:
            self.dismiss(self._workers[-1])
        self._files.close()


@contextmanager
def _numpy_threads(count: int) -> Iterator[None]:
    """Let NumPy take so many threads in processes that are started here, unless it is told."""
    unset = [name for name in _NUMPY_THREADS if name not in os.environ]
    if len(unset) == len(_NUMPY_THREADS):
        os.environ |= dict.fromkeys(unset, str(max(1, count)))
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)
