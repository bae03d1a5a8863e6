"""Running points: a worker process owns the device, its parent keeps the clock.

A point that hangs or crashes costs one row and one worker; the sweep goes on.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from typing import Any

from .errors import AttnprotoError, DeviceUnavailable
from .store import content_key, plain

OPENER = "attnproto:open_device"
DEVICE_KINDS = ("auto", "cpu", "metal", "cuda")
# After these a worker is of no more use.
SPENT = ("timeout", "crashed", "lost")
# Starting a device may compile its run-time support once; nothing needs longer than this.
_START_LIMIT_S = 120.0


@dataclass(frozen=True)
class DeviceRecord:
    """What a row says about its device; ``tier`` is what a time measured on it is worth."""

    kind: str
    name: str
    tier: str

    def as_dict(self) -> dict[str, str]:
        """Plain values."""
        return {"kind": self.kind, "name": self.name, "tier": self.tier}


@dataclass(frozen=True)
class Task:
    """One point of one prototype, and the seconds it may take."""

    prototype: str
    point: Mapping[str, Any]
    limit_s: float


def row_key(prototype: str, point: Mapping[str, Any], mode: str, device: DeviceRecord) -> str:
    """Name a row by what it is the answer to, so that a resumed run knows it."""
    return content_key([prototype, point, mode, device.kind, device.name])


def task_key(prototype: str, point: Mapping[str, Any], mode: str) -> str:
    """Name a task whatever device takes it: a fleet's devices need not be alike."""
    return content_key([prototype, point, mode])


def replay_command(prototype: str, point: Mapping[str, Any], mode: str, kind: str) -> str:
    """Return the shell command that runs one point again."""
    text = json.dumps(plain(point), ensure_ascii=False)
    return f"attnproto run --only {prototype} --device {kind} --{mode} --point {shlex.quote(text)}"


class Worker:
    """A child process that opens a device and runs points, one at a time.

    Args:
        kind: Device to open.
        mode: ``"quick"`` or ``"full"``.
        opener: ``"module:function"`` that opens it.

    Raises:
        DeviceUnavailable: The device does not open.
    """

    def __init__(self, kind: str, mode: str, opener: str = OPENER) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, kind, mode, opener, os.getpid()), daemon=True
        )
        self._process.start()
        theirs.close()
        status, value = self._receive(_START_LIMIT_S)
        if status != "ready":
            self.stop()
            message = value if status == "unavailable" else f"{status}: {value}"
            raise DeviceUnavailable(str(message))
        self.device = DeviceRecord(**value)

    def _receive(self, limit_s: float) -> tuple[str, Any]:
        if not self._connection.poll(limit_s):
            return "timeout", f"took longer than its limit of {limit_s:g} s"
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            by = signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"
            return "crashed", f"the worker process ended with {by}"

    def run(self, task: Task) -> tuple[str, Any]:
        """Run a task; a worker whose answer is one of ``SPENT`` is of no more use."""
        try:
            self._connection.send((task.prototype, dict(task.point)))
        except OSError:
            return self._receive(0)
        return self._receive(task.limit_s)

    def stop(self) -> None:
        """End the process, at once if need be."""
        self._connection.close()
        self._process.join(0.2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)


def _work(connection: Connection, kind: str, mode: str, opener: str, parent: int) -> None:
    # The parent decides what an interrupt means; the worker ends when told or orphaned.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from .prototypes import load

    try:
        module, function = opener.split(":")
        device = getattr(importlib.import_module(module), function)(kind)
        connection.send(("ready", {"kind": device.kind, "name": device.name, "tier": device.tier}))
    except Exception as error:
        connection.send(("unavailable", str(error) or repr(error)))
        return
    while True:
        try:
            name, point = connection.recv()
        except EOFError:
            return
        try:
            outcome = load(name).run(point, device, mode)
            answer = (outcome.status, (outcome.reason, plain(outcome.result)))
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


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def make_row(
    task: Task,
    mode: str,
    device: DeviceRecord,
    environment: Mapping[str, Any],
    answer: tuple[str, Any],
    started: datetime,
    elapsed_s: float,
) -> dict[str, Any]:
    """Put together the record of one point."""
    status, value = answer
    reason, result = value if isinstance(value, tuple) else (value, {})
    return {
        "key": row_key(task.prototype, task.point, mode, device),
        "proto": task.prototype,
        "point": dict(task.point),
        "mode": mode,
        "status": status,
        "reason": reason,
        "device": device.as_dict(),
        "result": result,
        "environment": dict(environment),
        "replay": replay_command(task.prototype, task.point, mode, device.kind),
        "started_utc": started.isoformat(timespec="seconds"),
        "elapsed_s": round(elapsed_s, 4),
    }


def run_tasks(
    tasks: Sequence[Task],
    *,
    kind: str,
    mode: str,
    environment: Mapping[str, Any],
    done: Iterable[str] = (),
    opener: str = OPENER,
    started: Callable[[Task, DeviceRecord], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Run tasks in order and yield a row for each that is not done already.

    Args:
        tasks: What to run.
        kind: Device to open.
        mode: ``"quick"`` or ``"full"``.
        environment: Goes into each row.
        done: Keys of rows that exist.
        opener: ``"module:function"`` that opens the device.
        started: Called before each task that is run.

    Yields:
        Rows with status ok, wrong, error, timeout, crashed or lost (the device went away).

    Raises:
        DeviceUnavailable: The device does not open.
    """
    seen = set(done)
    worker = Worker(kind, mode, opener)
    try:
        for task in tasks:
            key = row_key(task.prototype, task.point, mode, worker.device)
            if key in seen:
                continue
            seen.add(key)
            if started is not None:
                started(task, worker.device)
            at, clock = datetime.now(timezone.utc), time.monotonic()
            answer = worker.run(task)
            elapsed_s = time.monotonic() - clock
            yield make_row(task, mode, worker.device, environment, answer, at, elapsed_s)
            if answer[0] in SPENT:
                worker.stop()
                worker = Worker(kind, mode, opener)
    finally:
        worker.stop()
