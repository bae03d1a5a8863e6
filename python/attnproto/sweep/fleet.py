"""A sweep spread over several machines by dask.distributed: the extra ``attnproto[fleet]``.

Each dask worker owns one GPU and takes one point at a time. Start one on each machine with
``dask worker ADDRESS --no-nanny --nthreads 1``: a nanny's children may have no children, and
a point runs in a child, so that a hang can be ended.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import platform
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from attnproto.errors import DeviceUnavailable
from attnproto.results.row import DeviceRecord, Task, make_row, task_key

from . import environment
from .worker import OPENER, SPENT, Worker, naming_its_text

# How often a point may lose its machine before it is given up as a row of its own.
_LOSSES = 3

_workers: dict[tuple[str, str, str], Worker] = {}
# One point at a time, however many threads the dask worker was given.
_turn = threading.Lock()


def run_fleet(
    tasks: Sequence[Task],
    *,
    address: str,
    kind: str,
    mode: str,
    rows: Iterable[Mapping[str, Any]] = (),
    opener: str = OPENER,
) -> Iterator[dict[str, Any]]:
    """Run tasks on a dask cluster and yield a row for each as it comes back.

    A point whose worker is lost runs again on another; after three losses it becomes a row
    with status "crashed".

    Args:
        tasks: What to run.
        address: Of the dask scheduler.
        kind: Device that each worker opens.
        mode: ``"quick"`` or ``"full"``.
        rows: Rows that exist; their points are not run again.
        opener: ``"module:function"`` that opens the device.

    Yields:
        Rows with the device and environment of the worker that ran them.

    Raises:
        DeviceUnavailable: dask.distributed is not installed, no scheduler answers, or a
            machine of the fleet has no such device.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise DeviceUnavailable(
            "[fleet] found no dask.distributed, needs it for --fleet; "
            "run pip install 'attnproto[fleet]'"
        ) from error
    done = {task_key(row["proto"], row["point"], row["mode"]) for row in rows}
    todo = {task_key(t.prototype, t.point, mode): t for t in tasks}
    todo = {key: task for key, task in todo.items() if key not in done}
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise DeviceUnavailable(
            f"[fleet] found no scheduler at {address} ({error}), needs one; run dask scheduler"
        ) from error
    with client:
        futures = [
            client.submit(
                run_here,
                task.prototype,
                json.dumps(dict(task.point)),
                task.limit_s,
                kind,
                mode,
                opener,
                key=f"attnproto-{key}",
                pure=False,
                retries=_LOSSES,
            )
            for key, task in todo.items()
        ]
        keys = dict(zip((future.key for future in futures), todo, strict=True))
        for future in as_completed(futures, loop=client.loop):
            yield _row_of(future, todo[keys[future.key]], kind, mode)


def _row_of(future: Any, task: Task, kind: str, mode: str) -> dict[str, Any]:
    if future.status == "finished":
        return future.result()
    error = future.exception()
    if isinstance(error, DeviceUnavailable):
        raise error
    reason = f"no worker finished it: {error}"
    nowhere = DeviceRecord(kind, "fleet", "unknown")
    now = datetime.now(timezone.utc)
    return make_row(task, mode, nowhere, environment.describe(), ("crashed", reason), now, 0.0)


def run_here(
    prototype: str, point: str, limit_s: float, kind: str, mode: str, opener: str
) -> dict[str, Any]:
    """Run one point on this machine; called by a dask worker.

    Args:
        prototype: Its name.
        point: As JSON.
        limit_s: Seconds it may take.
        kind: Device to open.
        mode: ``"quick"`` or ``"full"``.
        opener: ``"module:function"`` that opens it.

    Returns:
        Its row.
    """
    if multiprocessing.current_process().daemon:
        raise DeviceUnavailable(
            f"[fleet] found the dask worker of {platform.node()} under a nanny, whose children may "
            "have none, needs it alone; start it with dask worker ADDRESS --no-nanny --nthreads 1"
        )
    task = Task(prototype, json.loads(point), limit_s)
    owner = (kind, mode, opener)
    with _turn:
        if owner not in _workers:
            _workers[owner] = _open(kind, mode, opener)
            atexit.register(_workers[owner].stop)
        worker = _workers[owner]
        at = datetime.now(timezone.utc)
        answer = naming_its_text(task, worker.run(task))
        elapsed_s = (datetime.now(timezone.utc) - at).total_seconds()
        if answer[0] in SPENT:
            _workers.pop(owner).stop()
    made_with = {**environment.describe(), "host": platform.node()}
    return make_row(task, mode, worker.device, made_with, answer, at, elapsed_s)


def _open(kind: str, mode: str, opener: str) -> Worker:
    try:
        return Worker(kind, mode, opener).opened()
    except DeviceUnavailable as error:
        raise DeviceUnavailable(f"{error} (on {platform.node()})") from error
