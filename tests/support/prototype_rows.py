"""Rows as a run stores them, for tests of what prototypes conclude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from types import ModuleType
from typing import Any

import pytest
from attnproto.device import device as devices
from attnproto.measure import peaks, protocol
from attnproto.prototypes.registry import Outcome
from attnproto.results.findings import Finding
from attnproto.results.metrics import METRICS
from attnproto.results.row import DeviceRecord, Task, make_row

M4 = DeviceRecord("metal", "Apple M4", "measured")
Row = dict[str, Any]


def row_of(
    proto: str, point: dict[str, Any], device: devices.Device | DeviceRecord, outcome: Outcome
) -> Row:
    """The row of an outcome."""
    record = DeviceRecord(device.kind, device.name, device.tier)
    check_declared(outcome.result)
    answer = (outcome.status, (outcome.reason, dict(outcome.result)))
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return make_row(Task(proto, point, 60), "quick", record, {}, answer, now, 0.1)


def check_declared(result: Mapping[str, Any]) -> None:
    """What the eight put into a result stands in results.metrics."""
    assert result.keys() - METRICS.keys() == set()


def rows_of(
    proto: str, module: ModuleType, points: Sequence[dict[str, Any]], device: devices.Device
) -> list[Row]:
    """The rows of a prototype's points, run here."""
    return [row_of(proto, p, device, module.run(p, device, "quick")) for p in points]


class Clocked(devices.Device):
    """The cpu device, its times taken for measured ones: the road that a GPU takes."""

    tier = "measured"


def clocked(device: devices.Device, monkeypatch: pytest.MonkeyPatch) -> Clocked:
    """The device as a Clocked one, with a protocol of three samples and peaks out of reach."""
    brief = protocol.Protocol("brief", 1, 0.0, 1.0, protocol.SampleCount(3), largest_cv=99.0)
    monkeypatch.setattr(protocol, "QUICK", brief)
    monkeypatch.setattr(peaks, "probe", lambda device: protocol.Peaks(1e18, 1e18, 1e-9))
    peaks._peaks.clear()
    return Clocked(device._core)


def check_honest(findings: Sequence[Finding], rows: Sequence[Row], least: int) -> None:
    """What every finding from the cpu device must be, and that there are at least so many."""
    assert len(findings) >= least
    assert len({f.topic for f in findings}) == len(findings)
    for finding in findings:
        assert finding.tier in ("emulated", "derived", "modelled")
        if finding.tier == "modelled":
            assert finding.title.endswith("modelled")
            assert finding.confidence <= 0.5
        else:
            assert finding.evidence.kind not in ("performance", "cost")
        assert "faster on" not in finding.title + finding.content
        assert "Apple M4" not in finding.title + finding.content
        assert finding.evidence.overturned_by
        assert set(finding.evidence.rows) <= {row["key"] for row in rows}


def check_spoilt(module: ModuleType, rows: Sequence[Row], kind: str) -> None:
    """One wrong row, of a point of ``kind``, takes away every finding that rests on it."""
    before = module.conclude(rows)
    spoilt = [dict(row) for row in rows]
    victim = next(row for row in spoilt if row["point"]["kind"] == kind)
    victim["status"] = "wrong"
    after = module.conclude(spoilt)
    assert len(after) < len(before)
    assert all(victim["key"] not in finding.evidence.rows for finding in after)
