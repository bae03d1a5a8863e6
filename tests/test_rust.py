"""The two Rust prototypes; what needs cargo is skipped where there is none."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import attnproto
import pytest
from attnproto import run, rust
from attnproto.errors import DeviceUnavailable
from attnproto.prototypes import Outcome, burn, cubecl, load
from attnproto.runner import DeviceRecord, Task, make_row

DEVICE = DeviceRecord("cpu", "host", "emulated")


def row(name: str, point: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    answer = (outcome.status, (outcome.reason, dict(outcome.result)))
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return make_row(Task(name, point, 60), "quick", DEVICE, {}, answer, now, 0.1)


def generated(status: str = "ok") -> list[dict[str, Any]]:
    """Rows as the prototype stores them; cmma loads 2 tiles a product, ours of 32 columns 1.25."""
    rows = []
    for point in cubecl.points("quick"):
        matrix = 0 if point["way"] == "scalar" else 512
        result = {
            "worst_ratio": 0.1,
            "text_matrix_operations": min(matrix, 1),
            "matrix_operations": matrix,
            "device_load_bytes": 125 if point["columns"] == 32 else 200,
            "device_store_bytes": 100,
            "ir_instructions": 60 if point["side"] == "cubecl" else 50,
            "versions": "cubecl 0",
        }
        rows.append(row("cubecl", point, Outcome(status, "", result)))
    return rows


def test_without_cargo_both_are_skipped_with_their_reasons(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rust.shutil, "which", lambda name: None)
    plan = run.make_plan(mode="quick", device="cpu", only=("cubecl", "burn"), out=tmp_path)
    assert not plan.tasks
    assert [(entry.name, "no cargo" in why) for entry, why in plan.skipped] == [
        ("cubecl", True),
        ("burn", True),
    ]


def test_without_cargo_a_point_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(rust.shutil, "which", lambda name: None)
    with pytest.raises(DeviceUnavailable, match="found no cargo"):
        rust.run("attnproto-cubecl")


def test_the_findings_on_generated_code_carry_their_figures() -> None:
    findings = {finding.topic: finding for finding in cubecl.conclude(generated())}
    # 60 / 50 instructions, 200 / 125 bytes.
    assert findings["gap-at-equal-tiles"].evidence.effect.value == pytest.approx(1.2)
    assert findings["tiling-is-the-authors"].evidence.effect.value == pytest.approx(1.6)
    assert len(findings) == 4
    assert {finding.evidence.kind for finding in findings.values()} <= {"correctness", "count"}


def test_a_generated_kernel_that_is_wrong_leaves_no_findings() -> None:
    assert cubecl.conclude(generated("wrong")) == []


needs_cargo = pytest.mark.skipif(bool(rust.missing()), reason=rust.missing() or "cargo is here")
needs_library = pytest.mark.skipif(bool(burn.missing()), reason=burn.missing() or "all is here")


@needs_cargo
@pytest.mark.parametrize("point", cubecl.points("quick"), ids=str)
def test_every_kernel_of_the_comparison_is_right(point) -> None:
    outcome = cubecl.run(point, attnproto.open_device("cpu"), "quick")
    assert outcome.status == "ok", outcome.reason
    # 8 x 8 tiles of S, 8 steps of 8 dimensions each.
    expected = 0 if point["way"] == "scalar" else 8 * 8 * 8
    assert outcome.result["matrix_operations"] == expected
    assert outcome.result["device_store_bytes"] == 64 * 64 * 4
    # A score reads 2 D elements, a product of tiles 2 tiles of 64, four of them 5.
    per_product = 2 * 64 if point["columns"] == 8 else 5 / 4 * 64
    elements = 64 * 64 * 2 * 64 if point["way"] == "scalar" else expected * per_product
    size = 2 if point["dtype"] == "f16" else 4
    assert outcome.result["device_load_bytes"] == elements * size
    assert outcome.result["kernel_hash"] == load("cubecl").kernel_hash(point)


@needs_library
def test_burns_roads_are_right_and_its_costs_are_findings() -> None:
    device = attnproto.open_device("cpu")
    points = [p for p in burn.points("quick") if p["kind"] != "road" or p["Nq"] == 63]
    rows = [row("burn", point, burn.run(point, device, "quick")) for point in points]
    assert {one["status"] for one in rows} == {"ok"}
    findings = burn.conclude(rows)
    assert {finding.topic for finding in findings} >= {"trait-viable", "newtype-cost"}
    costs = [finding for finding in findings if finding.evidence.kind == "cost"]
    assert len(costs) == 2
    assert all(finding.confidence <= 0.6 for finding in costs)
