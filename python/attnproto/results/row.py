"""A row: what one point of one prototype gave on one device."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .store import content_key, plain


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


def replay_command(
    prototype: str, point: Mapping[str, Any] | Sequence[Mapping[str, Any]], mode: str, kind: str
) -> str:
    """Return the shell command that runs one point again, or several that are listed."""
    text = json.dumps(plain(point), ensure_ascii=False)
    return f"attnproto run --only {prototype} --device {kind} --{mode} --point {shlex.quote(text)}"


def make_row(
    task: Task,
    mode: str,
    device: DeviceRecord,
    environment: Mapping[str, Any],
    answer: tuple[str, Any],
    started: datetime,
    elapsed_s: float,
) -> dict[str, Any]:
    """Put together the record of one point; one that no file can hold becomes an error's."""
    from .row_schema import mistake

    status, value = answer
    reason, result = value if isinstance(value, tuple) else (value, {})
    row = {
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
    wrong = mistake(plain(row))
    if wrong:
        reason = (
            f"[row] found a result that no row can hold ({wrong}), needs names with values that "
            "JSON has; correct what the prototype's run returns"
        )
        row |= {"status": "error", "reason": reason, "result": {}}
    return row
