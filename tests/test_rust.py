"""The two Rust prototypes; what needs cargo is skipped where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attnproto
import pytest
from attnproto.errors import AttnprotoError, DeviceUnavailable, UnsupportedProblem
from attnproto.kernels.exported import export_flash
from attnproto.measure import pairs
from attnproto.problem import AttentionProblem
from attnproto.prototypes import rust_crates
from attnproto.prototypes.burn import prototype as burn
from attnproto.prototypes.cubecl import kernels as cubecl_kernels
from attnproto.prototypes.cubecl import prototype as cubecl
from attnproto.prototypes.cubecl import viability
from attnproto.prototypes.registry import Outcome, load
from attnproto.prototypes.rows import Case
from attnproto.report import report
from attnproto.results.row import DeviceRecord, Task, make_row
from attnproto.sweep.plan import make_plan
from support.prototype_rows import check_declared

DEVICE = DeviceRecord("cpu", "host", "emulated")


def row(
    name: str, point: dict[str, Any], outcome: Outcome, device: DeviceRecord = DEVICE
) -> dict[str, Any]:
    check_declared(outcome.result)
    answer = (outcome.status, (outcome.reason, dict(outcome.result)))
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return make_row(Task(name, point, 60), "quick", device, {}, answer, now, 0.1)


BROKEN = ("cubek", "flash")
MATRIX = ("cmma", "cubek", "flash", "hand8", "hand32", "hand-flash")


def result_of(point: dict[str, Any]) -> dict[str, Any]:
    """What a point might give: cmma loads 2 tiles a product, ours of 32 columns 1.25."""
    name = point.get("name", "")
    if name == "cmma-wgsl" or (name == "flash" and point["dtype"] == "f32"):
        return {"refused": "it cannot", "versions": "cubecl 0"}
    if point["kind"] == "pair":
        return {"a_flops": 1, "b_flops": 1}
    result = {
        "worst_ratio": 0.1,
        "text_lines": 40,
        "text_matrix_operations": int(name in MATRIX),
        "matrix_operations": 512.0 if name in MATRIX else 0.0,
        "device_load_bytes": 125 if name == "hand32" else 200,
        "device_store_bytes": 100,
        "threadgroup_bytes": 0,
        "threadgroup_loads": 4,
        "float_operations": 10,
        "barriers_a_thread": 3.0 if name == "flash" else 0.0,
        "ir_instructions": 50 if name.startswith("hand") else 52,
        "ir_matrix_operations": 64,
        "ir_frame_bytes": 0,
        "live_registers": 30,
        "rejected": ["line 3, goto: found goto"] if name == "unit-wgsl" else [],
        "device_max_threads": 1024,
        "not_counted": [],
        "text": f"kernel void {name}() {{\n  simdgroup_load(a, b);\n}}\n",
    }
    if name.startswith("hand"):
        return result
    mends = {"eight elements of two": 8} if name in BROKEN else {}
    said = "wrong: error 40 of what is allowed" if mends else "right"
    left = {"as_generated_ir_matrix_operations": 0} if mends else {}
    return result | {"versions": "cubecl 0", "mends": mends, "as_generated": said} | left


def generated(
    status: str = "ok", device: DeviceRecord = DEVICE, **changed: Any
) -> list[dict[str, Any]]:
    """Rows as the prototype stores them."""
    rows = []
    for point in cubecl.points("quick"):
        result = result_of(point)
        if "mends" in result:
            result |= changed
        rows.append(row("cubecl", point, Outcome(status, "", result), device))
    return rows


def test_without_cargo_both_are_skipped_with_their_reasons(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rust_crates.shutil, "which", lambda name: None)
    plan = make_plan(mode="quick", device="cpu", only=("cubecl", "burn"), out=tmp_path)
    assert not plan.tasks
    assert [(entry.name, "no cargo" in why) for entry, why in plan.skipped] == [
        ("cubecl", True),
        ("burn", True),
    ]


def test_without_cargo_a_point_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(rust_crates.shutil, "which", lambda name: None)
    with pytest.raises(DeviceUnavailable, match="found no cargo"):
        rust_crates.run("attnproto-cubecl")


@pytest.fixture
def cargo(tmp_path, monkeypatch):
    """Stands for cargo: keeps the commands it was given, and fails while it holds a failure."""
    cargo = SimpleNamespace(commands=[], failure="", programs=tmp_path)

    def checked(package, command, environment=None):
        cargo.commands.append(command)
        if cargo.failure:
            raise DeviceUnavailable(f"[rust] {cargo.failure}")
        for name in ("attnproto-burn", "attnproto-cubecl"):
            (tmp_path / name).touch()

    monkeypatch.setattr(rust_crates.shutil, "which", lambda name: "/usr/bin/cargo")
    monkeypatch.setattr(rust_crates, "program", lambda package: tmp_path / package)
    monkeypatch.setattr(rust_crates, "_checked", checked)
    monkeypatch.setattr(rust_crates, "_refused", "")
    return cargo


def test_crates_that_are_not_built_are_built_and_a_failure_is_said(cargo) -> None:
    said: list[str] = []
    # A mistyped option is answered before anything is built.
    for mistake in ({"point": "{"}, {"where": ("D =",)}, {"device": "tpu"}, {"axis": ("D",)}):
        options = {"mode": "quick", "device": "cpu", "only": ("cubecl",), **mistake}
        with pytest.raises(AttnprotoError):
            make_plan(**options, say=said.append)
    assert (cargo.commands, said) == ([], [])
    cargo.failure = "found cargo failing: no network; run it where there is one"
    make_plan(mode="quick", device="cpu", only=("cubecl",), say=said.append)
    assert cargo.commands == [["nice", "cargo", "build", "--quiet", "--locked", "--release"]]
    assert len(said) == 1
    assert rust_crates.missing().startswith("found cargo failing: no network")
    # What failed once is tried again, once for both.
    cargo.failure = ""
    plan = make_plan(mode="quick", device="cpu", only=("cubecl", "burn"), say=said.append)
    assert plan.preparation.missing("cubecl") == ""
    assert (len(said), len(cargo.commands), rust_crates.missing()) == (2, 2, "")


def test_programs_that_are_there_are_cargos_to_judge(cargo) -> None:
    said: list[str] = []
    (cargo.programs / "attnproto-cubecl").touch()
    assert rust_crates.missing().startswith("found the crates not built")
    (cargo.programs / "attnproto-burn").touch()
    assert rust_crates.missing() == ""
    plan = make_plan(mode="quick", device="cpu", only=("cubecl",), say=said.append)
    assert (len(cargo.commands), said, plan.preparation.missing("cubecl")) == (1, [], "")
    # An older program than its text is not run.
    cargo.failure = "found cargo failing: error[E0308]; mend it"
    plan = make_plan(mode="quick", device="cpu", only=("cubecl",), say=said.append)
    assert plan.preparation.missing("cubecl").startswith("found cargo failing: error[E0308]")


def test_without_cargo_run_all_says_so_in_a_line_and_goes_on(tmp_path) -> None:
    bench = Path(__file__).parents[1] / "bench" / "run_all.py"
    options = [
        "--quick",
        "--device",
        "cpu",
        "--only",
        "cubecl,burn",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [sys.executable, bench, *options],
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    skipped = [line for line in done.stdout.splitlines() if line.startswith("skipped ")]
    assert [line.split(":")[0] for line in skipped] == ["skipped cubecl", "skipped burn"]
    assert all("found no cargo, needs Rust" in line for line in skipped)


def test_texts_are_exported_for_a_host_with_a_compiler(tmp_path) -> None:
    export_flash(tmp_path, (64,), "metal")
    device, *lines = (tmp_path / "flash.tsv").read_text().splitlines()
    assert device == "metal"
    assert len(lines) == 2
    for line, causal in zip(lines, ("0", "1"), strict=True):
        d, chosen, _, _, file, function, constants = line.split("\t")
        assert (d, chosen) == ("64", causal)
        assert f'host_name("{function}")' in (tmp_path / file).read_text()
        assert f"causal={causal}" in constants.split(",")
    with pytest.raises(UnsupportedProblem, match="needs one of cpu, cuda, metal"):
        export_flash(tmp_path, (64,), "opencl")


def test_the_findings_on_generated_code_carry_their_figures() -> None:
    findings = {finding.topic: finding for finding in cubecl.conclude(generated())}
    # 52 / 50 instructions, 200 / 125 bytes; cubek in two types, flash in one.
    assert findings["gap-at-equal-tiles"].evidence.effect.value == pytest.approx(1.04)
    assert findings["tiling-is-the-authors"].evidence.effect.value == pytest.approx(1.6)
    assert findings["generated-undefined"].evidence.effect.value == 3
    assert findings["generated-undefined"].title.startswith("3 of 3 of cubek's cmma kernels are")
    lucky = {one.topic: one for one in cubecl.conclude(generated(as_generated="right"))}
    assert "rest on what MSL leaves undefined" in lucky["generated-undefined"].title
    assert findings["generator-refuses"].evidence.effect.value == 3
    assert findings["flash-beside-ours"].evidence.effect.value == 3
    assert len(findings) == 8
    # Nothing about speed: no pair was timed.
    assert {finding.evidence.kind for finding in findings.values()} <= {"correctness", "count"}


def verdict_of(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one.off_path, one.on_path) for one in viability.verdicts(Case(rows))]


def test_the_recommendation_follows_the_rows() -> None:
    # Written with cmma, cubek's own, over WGSL.
    usual = [("viable", "not known"), ("not viable", "not viable"), ("viable", "not viable")]
    assert verdict_of(generated()) == usual
    assert verdict_of(generated(ir_instructions=56))[0] == ("not viable", "not viable")
    # What is undefined comes out right on the cpu device: by chance, unless a Mac says so too.
    assert verdict_of(generated(as_generated="right"))[1] == ("not known", "not known")
    mac = DeviceRecord("metal", "Apple M4", "measured")
    assert verdict_of(generated(as_generated="right", device=mac))[1] == ("viable", "not known")
    assert verdict_of(generated(as_generated="right", mends={}))[1] == ("viable", "not known")
    text = {f.topic: f for f in cubecl.conclude(generated())}["recommendation"].content
    assert "cubecl 0" in text
    assert "1.04 times its instructions" in text


def test_a_generated_kernel_that_is_wrong_leaves_no_findings() -> None:
    assert cubecl.conclude(generated("wrong", matrix_operations=0.0)) == []


def test_the_report_shows_the_table_and_the_texts_side_by_side() -> None:
    rows = generated()
    html, markdown = report.render(rows, cubecl.conclude(rows))
    for page in (html, markdown):
        assert "What CubeCL refused to generate" in page
        assert "Recommendation on CubeCL" in page
        assert "cmma as generated, and hand8" in page
        assert "yes, 512" in page
        assert "line 3, goto: found goto" in page
    assert "kernel void cmma() {" in markdown
    beside = next(line for line in markdown.splitlines() if line.startswith("kernel void cmma"))
    assert beside.split("|")[1].strip() == "kernel void hand8() {"


needs_cargo = pytest.mark.skipif(
    bool(rust_crates.missing()), reason=rust_crates.missing() or "cargo is here"
)
needs_library = pytest.mark.skipif(bool(burn.missing()), reason=burn.missing() or "all is here")


def test_a_generated_text_is_known_whatever_order_its_arrays_are_placed_in() -> None:
    one = "a = &dynamic_shared_mem[0];\nb = &dynamic_shared_mem[512];\nx += y;"
    other = "b = &dynamic_shared_mem[0];\na = &dynamic_shared_mem[64];\nx += y;"
    assert cubecl_kernels.settled(one) == cubecl_kernels.settled(other)
    assert cubecl_kernels.settled(one) != cubecl_kernels.settled(one.replace("+=", "-="))


@needs_cargo
def test_another_run_of_the_generator_gives_the_same_hash() -> None:
    point = {"kind": "kernel", "name": "flash", "H": 2, "N": 128, "D": 64, "dtype": "f16"}
    first = cubecl.kernel_hash(point)
    cubecl_kernels._generated.cache_clear()
    assert cubecl.kernel_hash(point) == first


@needs_cargo
@pytest.mark.parametrize("point", cubecl.points("quick"), ids=str)
def test_every_kernel_of_the_comparison_is_right(point) -> None:
    outcome = cubecl.run(point, attnproto.open_device("cpu"), "quick")
    assert outcome.status == "ok", outcome.reason
    result, name = outcome.result, point.get("name")
    assert result["kernel_hash"] == load("cubecl").kernel_hash(point)
    if name is None or "refused" in result:
        return
    size = 2 if point["dtype"] == "f16" else 4
    n, d, heads = point["N"], point["D"], point["H"]
    scores = n * n * 4
    products = (n // 8) ** 2 * d // 8
    if name in ("flash", "hand-flash"):
        # S = Q K^T and P V, each head.
        assert result["matrix_operations"] == 2 * heads * products
        assert result["device_store_bytes"] == heads * n * d * size
        return
    assert result["matrix_operations"] == (products if name in MATRIX else 0)
    assert result["device_store_bytes"] == scores
    # A score reads 2 D elements, a product of tiles 2 tiles of 64, four of them 5.
    loads = {"scalar": n * n * 2 * d, "cmma": products * 2 * 64, "hand32": products * 5 / 4 * 64}
    loads |= {"scalar-wgsl": loads["scalar"], "hand8": loads["cmma"]}
    if name in loads:
        assert result["device_load_bytes"] == loads[name] * size


@needs_cargo
def test_a_pair_is_timed_where_times_are_measured(monkeypatch) -> None:
    timed = []

    def compare(kernels, mode):
        timed.extend(kernel.run(1) for kernel in kernels)
        return {"ratio": 2.0, "a_us": 4.0, "b_us": 2.0}

    monkeypatch.setattr(attnproto.Device, "tier", property(lambda self: "measured"))
    monkeypatch.setattr(pairs, "compare", compare)
    point = {"kind": "pair", "a": "flash", "b": "hand-flash", "H": 2, "N": 128, "D": 64}
    outcome = cubecl.run(point | {"dtype": "f16"}, attnproto.open_device("cpu"), "quick")
    assert outcome.status == "ok", outcome.reason
    assert len(timed) == 2
    # 4 H N^2 D operations in 4 and in 2 us.
    assert outcome.result["a_flops"] == outcome.result["b_flops"] == 4 * 2 * 128**2 * 64
    assert outcome.result["a_tflops"] == pytest.approx(8388608 / 4e6)
    assert outcome.result["b_tflops"] == pytest.approx(8388608 / 2e6)


@needs_cargo
def test_what_msl_does_not_define_is_mended_and_said() -> None:
    problem = AttentionProblem(1, 2, 2, 128, 128, 64, "f16", False)
    for name in ("cubek", "flash"):
        sound, places = cubecl_kernels.mended(cubecl_kernels.subject_of(name, problem))
        assert set(places) == {mend.name for mend in cubecl_kernels.MENDS}
        assert "e<8" not in sound.text
    assert cubecl_kernels.mended(cubecl_kernels.subject_of("cmma", problem))[1] == {}


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


@needs_library
def test_the_example_in_rust_runs() -> None:
    example = Path(__file__).parents[1] / "examples" / "16_from_rust.py"
    done = subprocess.run(
        [sys.executable, example], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("emulated: y[99] = 9801 after")
