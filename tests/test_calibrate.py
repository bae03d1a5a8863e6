"""A chip's own record, from times of launches that were made with known constants."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import attnproto
import numpy as np
import pytest
from attnproto.cli import MISUSED, app, guarded
from attnproto.commands import calibrate as command
from attnproto.kernels.flash_tile import FlashTile
from attnproto.measure.protocol import Peaks
from attnproto.model import M4, validation
from attnproto.model.chip import ChipError, read_chip
from attnproto.model.launches import flash_result
from attnproto.model.published import TimedLaunch
from attnproto.model.scope import DIRECT
from attnproto.model.time_model import predict_time
from attnproto.model.validation import calibrate, in_scope, usable_times
from attnproto.problem import AttentionProblem

# As a chip with 70 bytes a cycle would have them, 2 % of noise on each.
TRUE = M4.with_values("assumed", cache_bytes_per_cycle=70)
NOISE = np.random.default_rng(1).normal(0, 0.02, 30)


def launches(count):
    direct = [one for one in in_scope(usable_times()) if one.attention.kind == DIRECT]
    return [
        TimedLaunch(one.work, one.attention, predict_time(one.work, TRUE).total_us * np.exp(noise))
        for one, noise in zip(direct[:: len(direct) // count], NOISE[:count], strict=False)
    ]


def test_a_fit_to_its_own_times_finds_the_chips_rate_and_noise():
    chip = calibrate(M4, launches(30))
    assert chip.cache_bytes_per_cycle.value == pytest.approx(70, abs=2)
    assert "30 times" in chip.cache_bytes_per_cycle.source
    low, high = chip.intervals[DIRECT]
    # What is left is the noise that was added, but for its own mean, and 3 % are added.
    low_noise, high_noise = np.exp(np.quantile(NOISE, (0.05, 0.95)))
    assert low == pytest.approx(low_noise / 1.03, abs=0.01)
    assert high == pytest.approx(high_noise * 1.03, abs=0.01)
    assert chip.pair_interval[0] < low
    assert chip.pair_interval[1] > high


def test_each_time_is_asked_of_a_fit_to_the_others(monkeypatch):
    given, asked = launches(20), []

    def watched(times, chip):
        asked.append(list(times))
        return M4

    monkeypatch.setattr(validation, "fit", watched)
    calibrate(M4, given)
    assert asked == [[x for x in given if x is not one] for one in given] + [given]


def test_few_times_give_no_interval():
    assert calibrate(M4, launches(10)).intervals == {}


def test_probes_give_the_rate_of_products_bandwidth_and_launch():
    # 10 cores x 4 schedulers x 1.5 GHz / 20 cycles = 3e9 products of 1024 FLOP.
    chip = command.probed(M4, Peaks(3e9 * 1024, 101e9, 7.0), "Apple M4")
    assert chip.matrix_cycles.value == pytest.approx(20)
    assert (chip.dram_gb_s.value, chip.launch_us.value) == (101, 7)
    assert chip.matrix_cycles.source == "measured on Apple M4, attnproto calibrate"


def test_cores_can_be_given():
    assert command.named_chip("Apple M4", 8).cores.value == 8
    assert command.named_chip("Apple M4 Max", None).cores.value == 40


@pytest.mark.parametrize(("name", "cores"), [("Apple M9", None), ("Apple M4", 0)])
def test_a_chip_that_is_not_known_is_refused(name, cores):
    with pytest.raises(command.CalibrationError):
        command.named_chip(name, cores)


def test_emulated_times_calibrate_nothing(tmp_path, capsys):
    out = tmp_path / "chip.json"
    assert guarded(app, ["calibrate", "--device", "cpu", "--out", str(out)]) == MISUSED
    assert "needs an Apple GPU whose times are measured" in capsys.readouterr().err
    assert not out.exists()


def test_the_record_is_of_the_tiles_that_were_timed(tmp_path, monkeypatch):
    device = SimpleNamespace(kind="metal", tier="measured", name="Apple M4")
    monkeypatch.setattr(command, "open_device", lambda kind: device)
    monkeypatch.setattr(command, "peaks_of", lambda on: Peaks(3.413e12, 110e9, 4.0))
    works = iter(launches(24))
    monkeypatch.setattr(command, "flash_work", lambda problem, tile: next(works).work)
    monkeypatch.setattr(command, "timed", lambda *of: {"time_us": 4.0 * of[0].flops / 3e6 / 4})
    said = []
    chip = command.calibrate_device("metal", tmp_path / "chip.json", None, said.append)
    assert len(said) == 24
    assert read_chip(tmp_path / "chip.json") == chip
    assert chip.intervals_of == chip.name
    assert chip.intervals[DIRECT][0] < 1 < chip.intervals[DIRECT][1]
    assert attnproto.model.CHIPS["M4"] is M4


def test_rows_expect_times_of_the_chip_whose_record_is_named(tmp_path, monkeypatch):
    problem, tile = (
        AttentionProblem(1, 1, 1, 4096, 4096, 64, "f16"),
        FlashTile(32, 64, 64, "float16"),
    )
    published = flash_result(problem, tile)
    slower = replace(M4.with_values("assumed", matrix_cycles=35), name="M4 at home")
    slower.save(tmp_path / "chip.json")
    monkeypatch.setenv("ATTNPROTO_CHIP", str(tmp_path / "chip.json"))
    expected = flash_result(problem, tile, slower)
    assert flash_result(problem, tile) == expected
    assert expected["modelled_us"] > 1.5 * published["modelled_us"]
    assert expected["modelled_chip"] == "M4 at home"
    monkeypatch.setenv("ATTNPROTO_CHIP", str(tmp_path / "none.json"))
    with pytest.raises(ChipError, match="needs what attnproto calibrate writes"):
        flash_result(problem, tile)
