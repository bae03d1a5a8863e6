"""A GPU as the model knows it: a record of constants, each with where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attnproto.errors import AttnprotoError
from attnproto.results.store import write_atomically
from attnproto.settings import value_of

_BENCHMARKS = "philipturner/metal-benchmarks, measured on M1"
_STUDY = "assumed; chosen once on the published rows of an M4"


class ChipError(AttnprotoError, ValueError):
    """A chip's record cannot be used."""


@dataclass(frozen=True)
class Constant:
    """One number of the model.

    Attributes:
        value: What is calculated with.
        unit: Of it.
        source: Measured by whom on which chip, or ``assumed`` and why.
        low: The least that it may be.
        high: The most.
    """

    value: float
    unit: str
    source: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.value <= self.high:
            raise ChipError(
                f"[model.chip] found {self.value:g} {self.unit} outside {self.low:g} to "
                f"{self.high:g}, needs a positive value within its range; correct the record"
            )

    def scaled(self, factor: float, source: str) -> Constant:
        """The same times a factor, of another source."""
        value, low, high = (factor * one for one in (self.value, self.low, self.high))
        return Constant(value, self.unit, source, low, high)


@dataclass(frozen=True)
class Chip:
    """A GPU.

    Attributes:
        name: As Metal names it, without "Apple".
        cores: Each runs its share of the threadgroups.
        clock_ghz: Of the cores under load.
        dram_gb_s: Bandwidth of memory.
        schedulers: Of a core; each issues for one simdgroup at a time.
        matrix_cycles: Issue of one 8 x 8 x 8 product by a scheduler.
        cache_bytes_per_cycle: What a core loads and stores, wherever it lies; ``high`` bounds it.
        barrier_cycles: Of a core, for each simdgroup that meets a threadgroup barrier.
        on_chip_kib: A core's memory for live registers and threadgroup memory.
        launch_us: Of one dispatch.
        issue_exponent: Norm by which matrix products, other instructions and bytes overlap.
        path_exponent: Norm by which throughput and the critical path overlap.
        intervals: By class, how far below and above the prediction 90 % of times lie, as factors.
        pair_interval: Likewise of the ratio of two kernels for one problem.
        intervals_of: The name of the chip whose times the intervals are of.
    """

    name: str
    cores: Constant
    clock_ghz: Constant
    dram_gb_s: Constant
    schedulers: Constant
    matrix_cycles: Constant
    cache_bytes_per_cycle: Constant
    barrier_cycles: Constant
    on_chip_kib: Constant
    launch_us: Constant
    issue_exponent: Constant
    path_exponent: Constant
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    pair_interval: tuple[float, float] = (0.5, 2.0)
    intervals_of: str = ""

    @property
    def interval_meaning(self) -> str:
        """What an interval on this chip holds."""
        if self.intervals_of == self.name:
            return "90 % of times within the interval"
        others = f"intervals are of {self.intervals_of}'s times"
        return f"{others}, and no time of this chip has tested them"

    @property
    def constants(self) -> dict[str, Constant]:
        """All of them by name."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Constant)}

    def with_values(self, source: str, **values: float) -> Chip:
        """The same chip with other values of some constants; ranges widen to hold them."""
        new = {}
        for name, value in values.items():
            old = getattr(self, name)
            low, high = min(old.low, value), max(old.high, value)
            new[name] = Constant(float(value), old.unit, source, low, high)
        return replace(self, **new)

    def save(self, path: Path) -> None:
        """Write the record as JSON."""
        record = {**asdict(replace(self, intervals={})), "intervals": dict(self.intervals)}
        write_atomically(path, json.dumps(record, indent=1) + "\n")


def read_chip(path: Path) -> Chip:
    """Read a record that :meth:`Chip.save` wrote.

    Raises:
        ChipError: The file is none.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        intervals = {name: (float(a), float(b)) for name, (a, b) in record["intervals"].items()}
        constants = {
            one.name: Constant(**record[one.name])
            for one in fields(Chip)
            if one.name not in ("name", "intervals", "pair_interval", "intervals_of")
        }
        low, high = map(float, record["pair_interval"])
        return Chip(
            str(record["name"]), **constants, intervals=intervals, pair_interval=(low, high),
            intervals_of=str(record["intervals_of"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ChipError):
            raise
        raise ChipError(
            f"[model.chip] found {path} to be no chip's record ({error}), needs what attnproto "
            "calibrate writes; run it again"
        ) from error


M4 = Chip(
    name="M4",
    cores=Constant(10, "cores", "Apple, M4 with 10 GPU cores; the small bin has 8", 8, 10),
    clock_ghz=Constant(
        1.5, "GHz", "nihui/vkpeak pull request 21, M4: 3841 GFLOPS / (10 cores x 256); high: "
        "powermetrics on M4 Pro (eclecticlight, 2025-01)", 1.398, 1.578,
    ),
    dram_gb_s=Constant(
        120, "GB/s", "Apple, M4; low: STREAM on M4, arXiv 2502.05317v2", 100, 120,
    ),
    schedulers=Constant(4, "schedulers", _BENCHMARKS, 4, 4),
    matrix_cycles=Constant(
        18, "cycles", f"{_BENCHMARKS}: FP32 18, FP16 17; not published for M4", 17, 20
    ),
    cache_bytes_per_cycle=Constant(
        64, "bytes", f"{_STUDY}: fits them within 1 %", 60, 128
    ),
    barrier_cycles=Constant(5, "cycles", _STUDY, 1, 10),
    on_chip_kib=Constant(
        450, "KiB", f"{_STUDY}, which leave it open; at least the 208 KiB of registers of M1 "
        "(metal-benchmarks)", 208, 2000,
    ),
    launch_us=Constant(
        5, "us", "antonellof/ferrox issue 149: 5.16 us for one more dispatch of an encoder, "
        "chip not named", 1, 26,
    ),
    issue_exponent=Constant(3, "", f"{_STUDY}: 2.5 and 4 fit worse", 2.5, 4),
    path_exponent=Constant(4, "", f"{_STUDY}, which leave it open", 2, 8),
    # By leaving tables out (validation.py); tests calculate them again.
    intervals={"direct": (0.918, 1.103), "staged": (0.917, 1.103)},
    pair_interval=(0.888, 1.127),
    intervals_of="M4",
)  # fmt: skip


def _scaled(name: str, cores: int, bandwidth: float) -> Chip:
    source = f"Apple, M4 {name}"
    return replace(
        M4,
        name=f"M4 {name} (scaled from M4)",
        cores=Constant(cores, "cores", source, cores, cores),
        dram_gb_s=M4.dram_gb_s.scaled(bandwidth / M4.dram_gb_s.value, source),
        clock_ghz=M4.clock_ghz.scaled(
            1.578 / M4.clock_ghz.value, "powermetrics on M4 Pro (eclecticlight, 2025-01)"
        ),
    )


CHIPS: Mapping[str, Chip] = MappingProxyType(
    {"M4": M4, "M4 Pro": _scaled("Pro", 20, 273), "M4 Max": _scaled("Max", 40, 546)}
)


def expected_chip() -> Chip:
    """Return the chip that rows expect times of: ATTNPROTO_CHIP's record, else the published M4.

    Raises:
        ChipError: The file is no record.
    """
    path = value_of("ATTNPROTO_CHIP")
    return read_chip(Path(path)) if path else M4
