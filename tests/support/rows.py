"""Rows of a store made by hand, for tests of what is done with them afterwards."""

from __future__ import annotations

from typing import Any


def flash_tile_row(
    i: int, tier: str = "emulated", status: str = "ok", **result: Any
) -> dict[str, Any]:
    """The row ``key<i>`` of a flash tile over 64 (i + 1) keys, measured on an M4 or emulated."""
    kind, name = {"emulated": ("cpu", "host"), "measured": ("metal", "Apple M4")}[tier]
    return {
        "key": f"key{i:06d}",
        "proto": "flash",
        "point": {"kind": "tile", "Br": 32, "Bc": 64, "D": 64, "dtype": "f16", "Nkv": 64 * (i + 1)},
        "mode": "quick",
        "status": status,
        "reason": "" if status == "ok" else "a <reason>",
        "device": {"kind": kind, "name": name, "tier": tier},
        "result": result,
        "environment": {"system": "Linux"},
        "replay": "attnproto run",
        "started_utc": "2026-01-01T00:00:00+00:00",
        "elapsed_s": 0.1,
    }


def published_problem_row(
    name: str = "Apple M4",
    kind: str = "metal",
    tier: str = "measured",
    status: str = "ok",
    time_us: float = 1e6,
    **point: Any,
) -> dict[str, Any]:
    """A flash row of the problem that others published; its key is its time."""
    problem = {"B": 1, "Hq": 1, "causal": False, "Nq": 4096, "Nkv": 4096, "D": 64, "dtype": "f16"}
    return {
        "key": f"{time_us:g}",
        "proto": "flash",
        "status": status,
        "point": {**problem, **point},
        "device": {"kind": kind, "name": name, "tier": tier},
        "result": {"flops": 2e12, "time_us": time_us},
    }
