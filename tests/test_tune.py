"""The fastest tile for a problem: searched in pairs, judged first, recorded, read and outdated."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import attnproto
import numpy as np
import pytest
from attnproto.cli import MISUSED, app, guarded
from attnproto.commands import tune as command
from attnproto.errors import UnsupportedProblem, WrongResult
from attnproto.kernels import tuned
from attnproto.kernels.exported import INDEX, export_flash
from attnproto.kernels.flash_tile import KEY_PATHS, FlashTile, default_tile
from attnproto.measure.halving import ROUNDS, find_fastest
from attnproto.measure.stats import LOOKS, compare_paired
from attnproto.problem import AttentionProblem
from attnproto.prototypes.flash import prototype, tuning
from attnproto.results.store import latest_rows
from attnproto.sweep.plan import UsageError, make_plan
from support import tuned_device

PROBLEM = AttentionProblem(1, 2, 1, 40, 40, 16, "f16")
FASTEST = FlashTile(16, 64, 16, "float16", keys="matrix", query="registers")
FEWER = {
    "Br": (16, 32), "Bc": (32, 64), "rows": (8, 16), "keys": ("lane", "matrix"),
    "query": ("threadgroup", "registers"), "rescale": ("always", "grown"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNPROTO_TUNED_DIR", str(tmp_path / "tuned"))


@pytest.fixture
def few(monkeypatch):
    """Two values an axis: a search takes 15 tiles, not 40."""
    axes = {axis: (name, FEWER[axis]) for axis, (name, _) in tuning._AXES.items()}
    monkeypatch.setattr(tuning, "_AXES", axes)


def search(folder, **options):
    return command.tune(PROBLEM, out=folder, opener=tuned_device.OPENER, **options)


class Timed:
    """Comparisons by times that are known, with noise of a share."""

    def __init__(self, times, noise):
        self.times, self.noise = times, noise
        self.asked = []
        self._stream = np.random.default_rng(7)

    def __call__(self, one, other, looks):
        self.asked.append((one, other, tuple(looks)))
        if self.times[one] is None:
            return None
        sides = (lambda: self._sample(one)), (lambda: self._sample(other))
        return compare_paired(*sides, looks=looks)

    def _sample(self, name):
        return self.times[name] * (1 + self.noise * self._stream.standard_normal())


@pytest.mark.parametrize("seed", range(5))
def test_the_fastest_of_many_is_found_by_fewer_comparisons_than_a_grid(seed):
    # 32 candidates, 4 % apart; noise of 2 % a sample.
    order = np.random.default_rng(seed).permutation(32)
    times = {int(name): 1.04**place for place, name in enumerate(order)}
    compare = Timed(times, 0.02)
    assert find_fastest(times, int(order[20]), compare) == order[0]
    blocks = sum(looks[-1] for *_, looks in compare.asked)
    assert blocks < 32 * LOOKS[-1] / 3


def test_each_round_has_half_the_candidates_and_twice_the_blocks():
    times = {name: 1.0 - 0.01 * name for name in range(17)}
    compare = Timed(times, 0.0)
    assert find_fastest(times, 0, compare) == 16
    rounds = [looks for *_, looks in compare.asked]
    assert [rounds.count((blocks,)) for blocks in ROUNDS] == [16, 8, 4, 2]
    assert rounds[-1] == LOOKS


def test_chance_alone_takes_no_incumbents_place():
    # All alike: one of 15 looks the fastest after 3 blocks, and its own comparison decides.
    times = dict.fromkeys(range(16), 1.0)
    assert find_fastest(times, 0, Timed(times, 0.03)) == 0


def test_what_is_slower_or_has_no_ratio_is_out_at_once():
    compare = Timed({"incumbent": 1.0, "slow": 2.0, "wrong": None, "fast": 0.5}, 0.001)
    assert find_fastest(compare.times, "incumbent", compare) == "fast"
    assert [one for one, *_ in compare.asked] == ["slow", "wrong", "fast", "fast"]


def test_a_search_that_is_stopped_answers_with_the_best_so_far():
    compare = Timed({name: 1.0 - 0.1 * name for name in range(8)}, 0.001)

    def stop():
        return len(compare.asked) >= 4

    # 1, 2, 3 and 4 were compared; 4 is the fastest of them.
    assert find_fastest(compare.times, 0, compare, stop=stop) == 4
    assert compare.asked[-1] == (4, 0, LOOKS)
    # In the second round nobody was compared: the first one's best, of 7.
    compare = Timed(compare.times, 0.001)
    assert find_fastest(compare.times, 0, compare, stop=lambda: len(compare.asked) >= 7) == 7
    assert compare.asked[-1] == (7, 0, LOOKS)
    # Nothing at all was compared.
    compare = Timed(compare.times, 0.001)
    assert find_fastest(compare.times, 0, compare, stop=lambda: True) == 0
    assert find_fastest((0, 1), 0, compare, stop=lambda: True) == 0
    assert compare.asked == []


def test_variations_are_every_tile_there_is_and_queries_move_where_they_do_not_fit():
    tile = FlashTile(32, 64, 512, "float16")
    assert tile.query == "threadgroup"
    varied = tuning.variations(tile, ("Br", "Bc", "rows"))
    # 4 x 4 blocks with 8 rows; with 16 rows not Br 8.
    assert len(varied) == len(set(varied)) == 4 * 4 + 3 * 4
    # 64 x 512 halves are 64 KiB.
    assert {one.query for one in varied if one.br == 64} == {"device"}
    assert {one.query for one in varied if one.br == 32} == {"threadgroup"}
    queries = tuning.variations(replace(tile, br=64, query="device"), ("query",))
    assert {one.query for one in queries} == {"registers", "device"}


def test_ways_of_reading_are_tried_with_every_block_of_rows():
    # What is staged is shared by Br / rows simdgroups: whether it pays depends on Br.
    tile = FlashTile(16, 64, 64, "float16", rows=16)
    searched = {
        (t.keys, t.br)
        for stage in tuning.STAGES if "keys" in stage for t in tuning.variations(tile, stage)
    }  # fmt: skip
    assert searched == set(itertools.product(KEY_PATHS, (16, 32, 64)))


def test_the_best_tile_is_found_recorded_and_taken(few, tmp_path, capsys, monkeypatch):
    result = search(tmp_path / "out")
    record = result.record
    assert record.tile == FASTEST
    default = default_tile(40, 16, "float16")
    expected = tuned_device.synthetic_us(FASTEST.name) / tuned_device.synthetic_us(default.name)
    assert record.ratio_low <= record.ratio <= record.ratio_high
    assert record.ratio == pytest.approx(expected, rel=0.01)
    assert record.complete
    assert tuned.read_tuned() == (record,)
    device = tuned_device.open_device("auto")
    q = np.random.default_rng(0).standard_normal((1, 2, 40, 16)).astype(np.float16)
    ran, submit = [], tuned_device.TunedDevice.submit

    def watched(on, dispatches):
        ran.extend(dispatch.pipeline.name for dispatch in dispatches)
        return submit(on, dispatches)

    monkeypatch.setattr(tuned_device.TunedDevice, "submit", watched)
    output = attnproto.flash_attention(q, q, q, tile="tuned", device=device)
    assert ran == [FASTEST.name]
    assert np.array_equal(output, attnproto.flash_attention(q, q, q, tile=FASTEST, device=device))
    # What was tried is in the report, with the finding, and the command lists the record.
    (title,) = (t for _, _, t in result.finished.findings if "tile 16x64" in t)
    assert title.startswith("f16 D=16 N=40 B=1 Hq=2 Hkv=1: tile 16x64, 8 rows, keys matrix")
    assert "is faster than the default tile 32x128" in title
    page = (tmp_path / "out" / "report.md").read_text()
    assert "Tiles tried for f16 D=16 N=40" in page
    assert "16x64, 8 rows, keys matrix, query registers, rescale grown" in page
    assert guarded(app, ["tune", "--list"]) == 0
    said = capsys.readouterr().out
    assert f"f16 D=16 Nq=40 Nkv=40 B=1 Hq=2 Hkv=1: {FASTEST.name}" in said
    assert "tiles beside" in said


def test_points_of_a_search_are_known_to_a_run_and_its_times_need_a_gpu(tmp_path):
    default = default_tile(40, 16, "float16")
    duels = [
        tuning.duel_point(kind, PROBLEM, FASTEST, default, LOOKS)
        for kind in (tuning.DUEL, tuning.CHOSEN)
    ]
    points = [tuning.judged_point(PROBLEM, FASTEST), *duels]
    options = {"mode": "quick", "device": "cpu", "only": ("flash",), "out": tmp_path / "out"}
    assert [one.point for one in make_plan(point=json.dumps(points), **options).tasks] == points
    device = attnproto.open_device("cpu")
    judged = prototype.run(points[0], device, "quick")
    assert (judged.status, judged.result["kernel_hash"]) == ("ok", FASTEST.source.digest)
    for duel in duels:
        assert prototype.tile_of(duel) == FASTEST
        assert prototype.tile_of(tuning.rival_of(duel)) == default
        with pytest.raises(UnsupportedProblem, match="needs a device whose times are measured"):
            prototype.run(duel, device, "quick")


def test_a_wrong_tile_and_one_that_is_refused_are_out_and_named(few, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ATTNPROTO_TEST_WRONG", "keys_matrix")
    monkeypatch.setenv("ATTNPROTO_TEST_REFUSED", "query_registers_rescale_grown")
    record = search(tmp_path / "out").record
    assert record.tile == replace(FASTEST, keys="lane", query="threadgroup")
    said = capsys.readouterr().out
    assert "wrong: flash {'kind': 'candidate'" in said
    assert "'keys': 'matrix'" in said
    assert "found query_registers_rescale_grown" in said
    rows = latest_rows(tmp_path / "out")
    # They were never timed.
    duels = [row["point"] for row in rows if row["point"]["kind"] == "duel"]
    assert {(point["keys"], point["query"]) for point in duels} == {("lane", "threadgroup")}


def test_a_default_tile_that_is_wrong_ends_the_search(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNPROTO_TEST_WRONG", "flash")
    with pytest.raises(command.TuneError, match="found the default tile flash_half_br32"):
        search(tmp_path / "out")
    assert tuned.read_tuned() == ()


def test_a_rival_that_turns_out_wrong_ends_the_search():
    tile, rival = FASTEST, default_tile(40, 16, "float16")
    row = {"status": "error", "reason": f"[measure] found a wrong output of {rival.name} after"}
    one = object.__new__(command._Search)
    one.problem, one._answer = PROBLEM, lambda point: row
    with pytest.raises(command.TuneError, match="wrong after it was judged right"):
        one._duel("duel", tile, rival, (3,))
    row["reason"] = f"[measure] found a wrong output of {tile.name} after"
    assert one._duel("duel", tile, rival, (3,)) is None


def test_a_search_that_is_killed_goes_on_where_it_was(few, tmp_path):
    script = (
        "from attnproto.prototypes.flash import tuning\n"
        f"tuning._AXES = {{a: (n, {FEWER!r}[a]) for a, (n, _) in tuning._AXES.items()}}\n"
        "from pathlib import Path\n"
        "from attnproto.commands.tune import tune\n"
        "from attnproto.problem import AttentionProblem\n"
        f"tune({PROBLEM!r}, out=Path({str(tmp_path / 'out')!r}), opener={tuned_device.OPENER!r})\n"
    )
    points = tmp_path / "out" / "points.jsonl"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if points.exists() and points.read_bytes().count(b"\n") >= 6:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = latest_rows(tmp_path / "out")
    assert len(kept) >= 6
    with pytest.raises(UsageError, match="pass --resume"):
        search(tmp_path / "out")
    result = search(tmp_path / "out", resume=True)
    assert result.record.tile == FASTEST
    rows = latest_rows(tmp_path / "out")
    assert len(rows) > len(kept)
    assert [row for row in rows if row in kept] == kept
    # Nothing was made twice.
    assert points.read_bytes().count(b"\n") == len(rows)


def test_what_was_measured_under_another_driver_is_measured_again(few, tmp_path, monkeypatch):
    search(tmp_path / "out")
    before = (tmp_path / "out" / "points.jsonl").read_bytes().count(b"\n")
    monkeypatch.setattr(tuned_device.TunedDevice, "driver", "synthetic 2")
    search(tmp_path / "out", resume=True)
    after = (tmp_path / "out" / "points.jsonl").read_bytes().count(b"\n")
    assert after == 2 * before


def test_a_budget_ends_the_search_and_that_is_said(few, tmp_path):
    result = search(tmp_path / "out", budget_s=1e-9)
    assert not result.record.complete
    assert result.record.tile == default_tile(40, 16, "float16")
    assert command.said(result.record).endswith("its budget ended the search")
    with pytest.raises(command.TuneError, match="--budget-s 0"):
        search(tmp_path / "other", budget_s=0.0)


def test_the_cpu_device_has_nothing_to_tune(tmp_path, capsys):
    words = ["tune", "--only", "flash", "--D", "64", "--dtype", "f16", "--N", "64"]
    out = ["--device", "cpu", "--out", str(tmp_path / "out")]
    assert guarded(app, [*words, *out]) == MISUSED
    assert "there is nothing to tune" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert guarded(app, ["tune", "--only", "paged"]) == MISUSED
    assert "needs flash" in capsys.readouterr().err
    q = np.ones((1, 1, 8, 16), np.float16)
    with pytest.raises(UnsupportedProblem, match="nothing to tune; pass tile=None"):
        attnproto.flash_attention(q, q, q, tile="tuned", device="cpu")


def record(problem=PROBLEM, tile=FASTEST, **changes):
    fields = {
        "kind": "metal", "device": "Apple M4", "driver": "Version 15.1", "problem": problem,
        "tile": tile, "ratio": 0.8, "ratio_low": 0.79, "ratio_high": 0.81, "tried": 9,
        "complete": True, "tuned_utc": "2026-01-01T00:00:00+00:00",
        "kernel_hash": tile.source.digest, **changes,
    }  # fmt: skip
    one = tuned.TunedTile(**fields)
    one.path.parent.mkdir(exist_ok=True)
    one.path.write_text(one.text())
    return one


class M4:
    kind, name, tier, driver = "metal", "Apple M4", "measured", "Version 15.1"


def ask(device=M4, nq=40, **changes):
    asked = {"nq": nq, "nkv": nq, "d": 16, "dtype": "f16", "causal": False, "heads": 2, **changes}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return tuned.tuned_tile(device, **asked)


def test_the_record_of_the_nearest_sizes_is_taken():
    longer = replace(FASTEST, br=32)
    record()
    record(replace(PROBLEM, Nq=4096, Nkv=4096), longer)
    assert [ask(nq=n) for n in (1, 40, 400, 410, 9999)] == [
        FASTEST, FASTEST, FASTEST, longer, longer,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "option"),
    [({"d": 24}, "--D 24"), ({"dtype": "f32"}, "--dtype f32"), ({"causal": True}, "--causal")],
)
def test_without_a_record_the_command_is_named(changes, option):
    record()
    with pytest.raises(
        tuned.TuningError, match=r"run attnproto tune --only flash --D .* metal$"
    ) as e:
        ask(**changes)
    assert option in str(e.value)
    words = str(e.value).split("run attnproto ")[1].split()
    app.parse_args(words, print_error=False, exit_on_error=False)


def test_another_devices_record_is_not_taken():
    record(device="Apple M2")
    with pytest.raises(tuned.TuningError, match="on Apple M4 but on Apple M2, needs one"):
        ask()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"driver": "Version 14.0"}, "the driver is Version 15.1, it was Version 14.0"),
        ({"kernel_hash": "0" * 16}, "the kernel's text has changed"),
    ],
)
def test_a_stale_record_is_used_and_said(changes, why):
    record(**changes)
    with pytest.raises(RuntimeWarning, match=why):
        ask()
    asked = {"nq": 40, "nkv": 40, "d": 16, "dtype": "f16", "causal": False}
    with pytest.warns(RuntimeWarning, match="--D 16 --dtype f16 --N 40"):
        tile = tuned.tuned_tile(M4, **asked)
    assert tile == FASTEST


def test_a_later_record_of_the_same_problem_takes_the_place_of_the_earlier():
    record()
    later = record(tile=replace(FASTEST, br=32))
    assert tuned.read_tuned() == (later,)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:40],
        lambda text: text.replace('"schema": 1', '"schema": 2'),
        lambda text: text.replace('"br": 16', '"br": 17'),
        lambda text: text.replace('"tried": 9', '"tried": "9"'),
        lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "driver"}),
    ],
)
def test_a_file_that_is_no_record_is_named(spoil):
    one = record()
    one.path.write_text(spoil(one.text()))
    with pytest.raises(tuned.TuningError, match=f"{one.path.name} to be no record"):
        ask()


def test_exported_kernels_are_of_the_tuned_tile(tmp_path, monkeypatch):
    problem = AttentionProblem(1, 1, 1, 1024, 1024, 16, "f32")
    tile = FlashTile(16, 32, 16, "float32", rows=16, keys="matrix")
    for causal in (False, True):
        record(replace(problem, causal=causal), tile)
    monkeypatch.setattr("attnproto.kernels.exported.open_device", lambda kind: M4)
    folder = export_flash(tmp_path, (16,), "metal", "tuned")
    kernels = [line.split("\t") for line in (folder / INDEX).read_text().splitlines()[1:]]
    assert [(k[1], k[2], k[3], k[5]) for k in kernels] == [
        ("0", "16", "32", tile.name), ("1", "16", "32", tile.name),
    ]  # fmt: skip
    assert tile.name in (folder / kernels[0][4]).read_text()
    with pytest.raises(UnsupportedProblem, match="needs 'tuned' or None"):
        export_flash(tmp_path, (16,), "cpu", "fastest")
    monkeypatch.undo()
    with pytest.raises(UnsupportedProblem, match="nothing to tune"):
        export_flash(tmp_path, (16,), "cpu", "tuned")


def test_a_side_that_is_wrong_is_named():
    from attnproto.measure.protocol import require

    verdict = type("Verdict", (), {"passed": False, "reason": "NaN"})
    with pytest.raises(WrongResult, match="wrong output of flash_half before timing"):
        require(verdict, "before", "flash_half")
