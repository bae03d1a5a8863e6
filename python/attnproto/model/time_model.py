"""The physics: from a launch's work and a chip's constants to a time, and to a least time.

A core takes M = ceil(threadgroups / cores) threadgroups. Of each simdgroup it issues matrix
products, issues everything else, and moves bytes; the three overlap, since they are different
pipes, and a p-norm of them says how well. Beside throughput stands the critical path of one
simdgroup, walked M / W times where W threadgroups fit a core at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .chip import Chip
from .work import Work

# Cycles of a scheduler for 32 lanes; of a floating operation, and of an exponential.
_FLOAT_CYCLES, _EXPONENTIAL_CYCLES = 1, 4
# Less than this a repeated launch may find on chip; generous, since nobody published the size.
_CACHE_BYTES = 64 << 20
MATRIX, OTHER, BYTES, BARRIERS, PATH, MEMORY, LAUNCH = (
    "matrix", "instructions", "bytes", "barriers", "path", "memory", "launch",
)  # fmt: skip


@dataclass(frozen=True)
class Times:
    """A predicted time and its parts, in microseconds.

    Attributes:
        total_us: Of the launch.
        parts: What each limit alone would take, by name.
        resident: Threadgroups that fit a core at once, W.
        registers_us: What the critical path costs because no more of them fit.
    """

    total_us: float
    parts: dict[str, float]
    resident: float
    registers_us: float

    @property
    def limit(self) -> str:
        """The largest part, by name."""
        return max(self.parts, key=self.parts.__getitem__)


def predict_time(work: Work, chip: Chip) -> Times:
    """Predict how long a launch takes.

    T = ((M sg core)^q + (max(1, M / W) path)^q)^(1/q) / clock + launch, with core the p-norm of
    matrix, other issue and bytes, plus barriers; never less than unique bytes at DRAM's rate.

    Args:
        work: What it does.
        chip: Where.

    Returns:
        The time and its parts.
    """
    value = {name: one.value for name, one in chip.constants.items()}
    moved = work.cache_bytes + 2 * work.copy_bytes / work.simdgroups  # read here, written there
    shares = {
        MATRIX: value["matrix_cycles"] * work.matrix_products / value["schedulers"],
        OTHER: work.other_issue_cycles / value["schedulers"],
        BYTES: moved / value["cache_bytes_per_cycle"],
    }
    barriers = value["barrier_cycles"] * work.barriers
    of_core = work.threadgroups_a_core(value["cores"])
    throughput = of_core * work.simdgroups * (_norm(shares.values(), value["issue_exponent"])
                                              + barriers)  # fmt: skip
    taken = 4 * work.live_registers * work.threads + work.threadgroup_bytes
    resident = max(1.0, 1024 * value["on_chip_kib"] / taken) if taken else math.inf
    path = max(1.0, of_core / resident) * work.path_cycles
    per_us = 1e3 * value["clock_ghz"]
    on_chip = _norm((throughput, path), value["path_exponent"]) / per_us
    memory = work.unique_bytes / value["dram_gb_s"] / 1e3
    scale = of_core * work.simdgroups / per_us
    parts = {name: share * scale for name, share in shares.items()}
    parts |= {
        BARRIERS: barriers * scale,
        PATH: path / per_us,
        MEMORY: memory,
        LAUNCH: value["launch_us"],
    }
    return Times(
        total_us=max(on_chip, memory) + value["launch_us"],
        parts=parts,
        resident=resident,
        registers_us=(path - work.path_cycles) / per_us,
    )


def least_time(work: Work, chip: Chip) -> float:
    """Return the microseconds that a launch cannot be faster than.

    The largest of: matrix products, floating operations and exponentials at their pipes' rates,
    bytes at the most a core moves, the critical path with the least latencies, and unique bytes at
    DRAM's rate where caches cannot hold them; with each constant at the end of its range that is
    fastest. Integer work is left out, since a compiler may do without much of it.

    Args:
        work: What it does.
        chip: Where.
    """
    issue = max(
        chip.matrix_cycles.low * work.matrix_products,
        _FLOAT_CYCLES * work.float_operations,
        _EXPONENTIAL_CYCLES * work.exponentials,
    ) / chip.schedulers.value  # fmt: skip
    bytes_ = work.cache_bytes / chip.cache_bytes_per_cycle.high
    of_core = work.threadgroups_a_core(chip.cores.high)
    cycles = max(of_core * work.simdgroups * max(issue, bytes_), work.path_low_cycles)
    streamed = work.unique_bytes if work.unique_bytes > _CACHE_BYTES else 0.0
    return max(cycles / chip.clock_ghz.high, streamed / chip.dram_gb_s.high) / 1e3


def _norm(values, exponent: float) -> float:
    largest = max(values := tuple(values))
    if not largest:
        return 0.0
    return largest * sum((one / largest) ** exponent for one in values) ** (1 / exponent)
