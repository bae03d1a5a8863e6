"""A chip's own record: what its probes and flash tiles take, in place of published times."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnproto.device.discovery import open_device
from attnproto.errors import AttnprotoError
from attnproto.kernels.flash_tile import FlashTile
from attnproto.measure.peaks import peaks_of
from attnproto.measure.protocol import Peaks
from attnproto.model.chip import CHIPS, Chip
from attnproto.model.launches import flash_attention_of, flash_work
from attnproto.model.published import TimedLaunch
from attnproto.model.scope import refusals
from attnproto.model.validation import calibrate
from attnproto.problem import AttentionProblem
from attnproto.prototypes.flash.timing import timed

# 24 tiles and problems, enough for an interval.
_TILES = tuple(itertools.product((64, 96, 128), ("f16", "f32"), (64, 128), (2048, 4096)))


class CalibrationError(AttnprotoError, ValueError):
    """This device cannot be calibrated."""


def calibrate_device(kind: str, out: Path, cores: int | None, say: Callable[[str], None]) -> Chip:
    """Time probes and flash tiles on a device and write the chip's record.

    Args:
        kind: The device; its times must be measured, on an Apple GPU.
        out: The record to write.
        cores: Of the GPU; None: as the chip's name says.
        say: Takes a line for each time.

    Raises:
        CalibrationError: The device is no Apple GPU, or nothing is known of its chip.
    """
    device = open_device(kind)
    if device.tier != "measured" or device.kind != "metal":
        raise CalibrationError(
            f"[calibrate] found {device.name} ({device.kind}, {device.tier}), needs an Apple GPU "
            "whose times are measured; run it on a Mac"
        )
    chip = probed(named_chip(device.name, cores), peaks_of(device), device.name)
    times = []
    for d, dtype, bc, n in _TILES:
        problem = AttentionProblem(1, 1, 1, n, n, d, dtype)
        tile = FlashTile(32, bc, d, problem.element_type.name)
        attention, work = flash_attention_of(problem, tile), flash_work(problem, tile)
        if refusals(work, attention):
            continue
        took: dict[str, Any] = timed(problem, tile, device, "quick")
        times.append(TimedLaunch(work, attention, float(took["time_us"])))
        say(f"{tile.name} N={n}: {took['time_us']:.4g} us")
    record = calibrate(chip, times)
    record.save(out)
    return record


def named_chip(name: str, cores: int | None) -> Chip:
    """Return what is known of a chip before it is calibrated.

    Raises:
        CalibrationError: Nothing is.
    """
    known = CHIPS.get(name.removeprefix("Apple ").strip())
    if known is None:
        raise CalibrationError(
            f"[calibrate] found {name}, needs one of {', '.join(CHIPS)}, whose cores are known"
        )
    if cores is None:
        return known
    if cores < 1:
        raise CalibrationError(f"[calibrate] found --cores {cores}, needs at least 1")
    return known.with_values("given on the command line", cores=cores)


def probed(chip: Chip, peaks: Peaks, name: str) -> Chip:
    """Return a chip with what probes say: products, bandwidth and an empty dispatch.

    The clock is not known apart from the cycles of a product, so it keeps its value.
    """
    value = {key: one.value for key, one in chip.constants.items()}
    products = peaks.flops_per_s / 1024  # a second
    cycles = value["cores"] * value["schedulers"] * value["clock_ghz"] * 1e9
    source = f"measured on {name}, attnproto calibrate"
    probed_chip = chip.with_values(
        source,
        matrix_cycles=cycles / products,
        dram_gb_s=peaks.bytes_per_s / 1e9,
        launch_us=peaks.empty_us,
    )
    return replace(probed_chip, name=name.removeprefix("Apple ").strip())
