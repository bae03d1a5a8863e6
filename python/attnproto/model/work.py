"""What a launch does, as the model takes it: numbers of one simdgroup, and how many there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Work:
    """A kernel's launch in numbers, by simdgroup where nothing else is said.

    Attributes:
        threadgroups: That are launched.
        simdgroups: Of a threadgroup.
        matrix_products: 8 x 8 x 8.
        other_issue_cycles: Of all other instructions, each at the rate of its pipe.
        float_operations: Of a lane, conversions and exponentials not among them.
        exponentials: Of a lane.
        cache_bytes: Loaded and stored by its 32 lanes in device, threadgroup and private memory.
        copy_bytes: Moved by asynchronous copies, of the whole threadgroup.
        barriers: Of the threadgroup.
        path_cycles: Its critical path alone on a core.
        path_low_cycles: The same with each latency at the low end of its range.
        live_registers: 32-bit, of a lane, as clang's IR has them or, of a compiled kernel, Apple's.
        code_instructions: Of the unrolled code.
        threadgroup_bytes: Allocated by a threadgroup.
        fragment_loads: Of 8 x 8 factors, or bytes that make as many.
        unique_bytes: Of device memory, that the launch touches at all.
        registers_by_front_end: The live registers of the IR of each that is known.
        even: Whether all threadgroups are known to do the same; else a simdgroup's are means.
    """

    threadgroups: int
    simdgroups: int
    matrix_products: float
    other_issue_cycles: float
    float_operations: float
    exponentials: float
    cache_bytes: float
    barriers: float
    path_cycles: float
    path_low_cycles: float
    live_registers: int
    code_instructions: int
    threadgroup_bytes: int
    fragment_loads: float
    copy_bytes: float = 0.0
    unique_bytes: float = 0.0
    registers_by_front_end: Mapping[str, int] = field(default_factory=dict)
    even: bool = True

    @property
    def threads(self) -> int:
        """Of a threadgroup."""
        return 32 * self.simdgroups

    def threadgroups_a_core(self, cores: float) -> float:
        """What the core with the most of them takes; of uneven ones, no less than that in work."""
        shared = self.threadgroups / cores
        return math.ceil(shared) if self.even else shared

    @property
    def loads_per_product(self) -> float:
        """Fragments loaded for each matrix product; 0 where there is none."""
        return self.fragment_loads / self.matrix_products if self.matrix_products else 0.0

    @property
    def flops(self) -> float:
        """Of all matrix products of the launch."""
        return 1024 * self.matrix_products * self.simdgroups * self.threadgroups
