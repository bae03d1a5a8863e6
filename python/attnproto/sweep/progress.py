"""Progress of a run on the terminal: a bar with time left, or plain lines in a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column

from attnproto.results.row import DeviceRecord

# A log gets a line this often; a terminal gets a bar.
_LINE_EVERY_S = 10.0


class Progress:
    """Shows what runs, how far it is, and every row that is not ok.

    Args:
        total: Points of the plan.
        done: Points of the plan that have their rows already.
    """

    def __init__(self, total: int, done: int) -> None:
        self._console = Console()
        self._bar = Bar(
            # What runs gives way first where the line is short, not the count or the time left.
            TextColumn("{task.description}", table_column=Column(no_wrap=True, ratio=1)),
            BarColumn(bar_width=16),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=9)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            console=self._console,
            expand=True,
            disable=not self._console.is_terminal,
        )
        self._total = total
        self._task = self._bar.add_task("starting", total=total, completed=done)
        self._device: DeviceRecord | None = None
        self._spoken = time.monotonic()
        self._done = done
        self._skipped: set[str] = set()
        self._errors: Counter[tuple[str, str, str]] = Counter()

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        for (status, prototype, reason), count in self._errors.items():
            if count > 1:
                self._say(f"{count} points of {prototype} {status}: {reason}")

    def started(self, label: str, device: DeviceRecord) -> None:
        """Say what runs now; the first time also on which device."""
        if self._device != device:
            self._device = device
            worth = {"emulated": "its times are emulation, not evidence about a GPU"}
            note = worth.get(device.tier, f"times are {device.tier} on this device")
            self._console.print(
                f"device: {device.name} ({device.kind}); {note}", highlight=False, soft_wrap=True
            )
        self._bar.update(self._task, description=label)

    def finished(self, row: Mapping[str, Any]) -> None:
        """Count a row; say why when it is not ok, the first time that it is for this reason."""
        self._done += 1
        self._bar.advance(self._task)
        if self._device is None:
            # A fleet says what has run, not what begins.
            where = row["environment"].get("host", row["device"]["name"])
            self._bar.update(self._task, description=f"{row['proto']} on {where}")
        if row["status"] != "ok":
            error = (row["status"], row["proto"], row["reason"])
            self._errors[error] += 1
            if self._errors[error] == 1:
                self._say(f"{row['status']}: {row['proto']} {dict(row['point'])}: {row['reason']}")
        now = time.monotonic()
        if not self._console.is_terminal and now - self._spoken >= _LINE_EVERY_S:
            self._spoken = now
            self._console.print(f"{self._done} of {self._total} points", highlight=False)

    def expected(self, more: int) -> None:
        """Count points that a search has come to, which no plan lists."""
        self._total += more
        self._bar.update(self._task, total=self._total)

    def said(self, line: str) -> None:
        """Say where a search is."""
        self._say(line)

    def skipped(self, prototype: str, why: str) -> None:
        """Leave a point out whose prototype could not be prepared; the first one says why."""
        self._total -= 1
        self._bar.update(self._task, total=self._total)
        if prototype not in self._skipped:
            self._skipped.add(prototype)
            self._say(f"skipped {prototype}: {why}")

    def concluded(self, prototype: str, findings: Sequence[Any]) -> None:
        """Say what a prototype's points allow to conclude, by the first of its findings."""
        if not findings:
            return
        count = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
        self._say(f"{prototype}: {count}; {findings[0].tier}: {findings[0].title}")

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
