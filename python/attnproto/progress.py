"""Progress of a run on the terminal: a bar with time left, or plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from .runner import DeviceRecord

# A log gets a line this often; a terminal gets a bar.
_LINE_EVERY_S = 10.0


class Progress:
    """Shows what runs, how far it is, and every row that is not ok.

    Args:
        total: Points of the plan.
        done: Rows already on disk.
    """

    def __init__(self, total: int, done: int) -> None:
        self._console = Console()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._total = total
        self._task = self._bar.add_task("starting", total=total)
        self._device: DeviceRecord | None = None
        self._spoken = time.monotonic()
        self._fresh = 0
        self.written = done

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, label: str, device: DeviceRecord) -> None:
        """Say what runs now; the first time also on which device."""
        if self._device != device:
            self._device = device
            worth = {"emulated": "its times are emulation, not evidence about a GPU"}
            note = worth.get(device.tier, f"times are {device.tier} on this device")
            self._console.print(
                f"device: {device.name} ({device.kind}); {note}", highlight=False, soft_wrap=True
            )
            self._bar.update(self._task, completed=self.written)
        self._bar.update(self._task, description=label[:60])

    def finished(self, row: Mapping[str, Any]) -> None:
        """Count a row; say why when it is not ok."""
        self.written += 1
        self._fresh += 1
        self._bar.advance(self._task)
        if row["status"] != "ok":
            self._console.print(
                f"{row['status']}: {row['proto']} {dict(row['point'])}: {row['reason']}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        now = time.monotonic()
        if not self._console.is_terminal and now - self._spoken >= _LINE_EVERY_S:
            self._spoken = now
            self._console.print(f"{self.written} of {self._total} points", highlight=False)
