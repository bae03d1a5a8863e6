"""Running prototypes into a results folder: the part of the command line that works."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnproto.errors import DeviceUnavailable
from attnproto.prototypes.registry import text_changed
from attnproto.results.row import DeviceRecord, Task, task_key
from attnproto.results.store import POINTS, Store, latest_rows, read_records
from attnproto.sweep import environment
from attnproto.sweep.plan import Plan, check_unused, label
from attnproto.sweep.worker import run_tasks

from .conclude import Finished, conclude, conclusions


def run_plan(plan: Plan) -> Finished:
    """Run a plan, showing progress, then draw its findings and report.

    A KeyboardInterrupt leaves every finished point on disk and says how to go on.

    Points whose rows were made with another kernel text than today's run again.

    Raises:
        StoreError: The folder cannot be written, or another run writes to it.
        UsageError: Another run has written to it since the plan was made.
        DeviceUnavailable: The device does not open.
    """
    from attnproto.sweep.progress import Progress

    for line, why in plan.skipped:
        print(f"skipped {line.name}: {why}")
    with Store(plan.out / POINTS) as store:
        if not plan.resume:
            check_unused(plan.out)
        existing = _of_today(plan)
        done = {task_key(row["proto"], row["point"], row["mode"]) for row in existing}
        todo = {task_key(task.prototype, task.point, plan.mode) for task in plan.tasks}
        progress = Progress(len(todo), len(todo & done))

        concluding = _Concluding(plan, existing)

        def started(task: Task, device: DeviceRecord) -> None:
            progress.started(label(task.prototype, task.point), device)

        def ready(task: Task) -> bool:
            why = plan.preparation.missing(task.prototype)
            if why:
                progress.skipped(task.prototype, why)
            return not why

        with resumable(store), progress:
            for row in _rows(plan, existing, started, ready):
                store.append(row)
                progress.finished(row)
                progress.concluded(row["proto"], concluding.after(row))
    return conclude(plan.out)


def _of_today(plan: Plan) -> list[dict[str, Any]]:
    """The rows that need not be made again; says how many were made with older kernel texts."""
    rows = latest_rows(plan.out)
    old = {row["key"] for row in rows if text_changed(row)}
    asked = {task_key(task.prototype, task.point, plan.mode) for task in plan.tasks}
    again = {
        row["key"]
        for row in rows
        if row["key"] in old and task_key(row["proto"], row["point"], row["mode"]) in asked
    }
    if again:
        print(f"points run again, since their kernel texts changed: {len(again)}")
    if kept := len(old) - len(again):
        print(f"rows of older kernel texts that stay, their points not being asked for: {kept}")
    return [row for row in rows if row["key"] not in again]


class _Concluding:
    """What can be said of a prototype as soon as its last point has its row."""

    def __init__(self, plan: Plan, existing: list[dict[str, Any]]) -> None:
        self._rows = {task_key(r["proto"], r["point"], r["mode"]): r for r in existing}
        self._waiting: dict[str, set[str]] = {}
        for task in plan.tasks:
            key = task_key(task.prototype, task.point, plan.mode)
            if key not in self._rows:
                self._waiting.setdefault(task.prototype, set()).add(key)

    def after(self, row: dict[str, Any]) -> list[Any]:
        """Take a row; findings of its prototype if it was the last."""
        key = task_key(row["proto"], row["point"], row["mode"])
        self._rows[key] = row
        waiting = self._waiting.get(row["proto"], set())
        waiting.discard(key)
        if waiting:
            return []
        return conclusions(r for r in self._rows.values() if r["proto"] == row["proto"])


def _rows(
    plan: Plan,
    existing: list[dict[str, Any]],
    started: Callable[[Task, DeviceRecord], None],
    ready: Callable[[Task], bool],
) -> Iterator[dict[str, Any]]:
    if plan.fleet is not None:
        from attnproto.sweep.fleet import run_fleet

        return run_fleet(
            tuple(filter(ready, plan.tasks)),
            address=plan.fleet,
            kind=plan.device,
            mode=plan.mode,
            rows=existing,
            opener=plan.opener,
        )
    made_with = environment.describe()
    if plan.jobs > 1:
        made_with["jobs"] = plan.jobs
    return run_tasks(
        plan.tasks,
        kind=plan.device,
        mode=plan.mode,
        environment=made_with,
        done=[row["key"] for row in existing],
        opener=plan.opener,
        started=started,
        jobs=plan.jobs,
        ready=ready,
    )


@contextmanager
def resumable(store: Store) -> Iterator[None]:
    """Leave what was stored when a run ends early, and say how to go on with it."""
    try:
        yield
    except DeviceUnavailable:
        _discard_empty(store)
        raise
    except KeyboardInterrupt:
        kept = sum(1 for _ in read_records(store.path))
        command = resume_command(store.path.parent)
        print(f"\nstopped; {kept} points are kept. Continue with:\n  {command}", file=sys.stderr)
        raise


def _discard_empty(store: Store) -> None:
    """Remove what a run that never began left behind: an empty file and its new folder."""
    if store.path.stat().st_size == 0:
        store.path.unlink()
        store.close()
        if not any(store.path.parent.iterdir()):
            store.path.parent.rmdir()


def resume_command(out: Path) -> str:
    """Return the command that goes on with a run into a folder."""
    program = sys.argv[0]
    words = [w for w in sys.argv[1:] if w != "--resume"]
    if not any(word.split("=")[0] == "--out" for word in words):
        words += ["--out", str(out)]
    call = ["python", program] if program.endswith(".py") else [Path(program).name]
    return shlex.join([*call, *words, "--resume"])
