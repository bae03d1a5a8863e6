"""Count what a kernel does: the same on any device, because it follows from its code.

A kernel for the counting cpu device is instrumented (count_operations.py), run, and what its
segments hold is multiplied here with how often they were run. What Apple's compiler would
count differs by its own optimisations; the counts are `derived` evidence, never a time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any

from attnproto.device.device import Device, Dispatch
from attnproto.device.discovery import cpu_threads


@dataclass(frozen=True)
class Counts:
    """Operations of a submission, summed over its threads unless said otherwise.

    A matrix operation is executed once by a simdgroup and counted in each of its 32
    lanes; a vector load is one load of its bytes.

    Attributes:
        matrix_operations: 8 x 8 x 8 products with accumulation.
        shuffles: of one value between lanes, broadcasts among them.
        reductions: sums, extremes and scans over a simdgroup.
        votes: ballots.
        exponentials: exp and exp2.
        float_operations: additions, products, divisions and extremes, by element.
        conversions: between float types, by element.
        threadgroup_loads: instructions; ``_bytes`` are theirs, ``_vector`` how many move a
            vector. Likewise for stores, device and constant memory; an atomic addition is the
            load and the exchanges that clang makes of it.
        threadgroup_barriers: as a thread meets them.
        simdgroup_barriers: as a thread meets them.
        transcendentals: logarithms, roots, powers, trigonometric functions.
        integer_operations: arithmetic, logic and comparisons, addresses included, by element.
        instructions: of the optimised IR.
        branches: conditional ones.
        private_load_bytes: of a lane's own memory: arrays that registers cannot hold.
        private_store_bytes: likewise.
        threadgroups: that were run.
        simdgroups: that were run, partial ones included.
        threads: that were run.
        issued_instructions: once a simdgroup, however many of its lanes are active.
        divergent_branches: once a simdgroup, at which its lanes part.
        unique_load_bytes: of device memory, each counted once a submission.
        unique_store_bytes: likewise.
        issued: accesses once a simdgroup, by name as above.
        uniform: of these, those at one address for all active lanes.
        matrix_types: matrix operations by the types of the factors.
        fragments: simdgroup_load and simdgroup_store, by space, element size, transposed.
        issue_cycles: of an Apple GPU's schedulers, summed over simdgroups, by pipe
            (compiler.analysis.apple_pipes).
        path: what its simdgroups' critical paths take, each alone and in order, summed over
            simdgroups: ``cycles``, and ``least_cycles`` with each latency at the low end.
        threadgroup_bytes: of the largest threadgroup.
        live_registers: estimate of the 32-bit values alive at once in a lane
            (compiler.analysis.liveness); ``registers_by_front_end`` has it of the IR of ``clang``,
            for texts, and of ``Apple``, for compiled kernels, which differ.
        code_instructions: of the unrolled code.
    """

    matrix_operations: int = 0
    shuffles: int = 0
    reductions: int = 0
    votes: int = 0
    exponentials: int = 0
    float_operations: int = 0
    conversions: int = 0
    threadgroup_loads: int = 0
    threadgroup_stores: int = 0
    device_loads: int = 0
    device_load_bytes: int = 0
    device_store_bytes: int = 0
    threadgroup_barriers: int = 0
    simdgroup_barriers: int = 0
    transcendentals: int = 0
    integer_operations: int = 0
    instructions: int = 0
    branches: int = 0
    threadgroup_load_bytes: int = 0
    threadgroup_store_bytes: int = 0
    threadgroup_loads_vector: int = 0
    threadgroup_stores_vector: int = 0
    threadgroup_atomics: int = 0
    device_stores: int = 0
    device_loads_vector: int = 0
    device_stores_vector: int = 0
    device_atomics: int = 0
    constant_loads: int = 0
    constant_load_bytes: int = 0
    private_load_bytes: int = 0
    private_store_bytes: int = 0
    threadgroups: int = 0
    simdgroups: int = 0
    threads: int = 0
    issued_instructions: int = 0
    divergent_branches: int = 0
    unique_load_bytes: int = 0
    unique_store_bytes: int = 0
    issued: Mapping[str, int] = field(default_factory=dict)
    uniform: Mapping[str, int] = field(default_factory=dict)
    matrix_types: Mapping[str, int] = field(default_factory=dict)
    fragments: Mapping[str, int] = field(default_factory=dict)
    issue_cycles: Mapping[str, float] = field(default_factory=dict)
    path: Mapping[str, float] = field(default_factory=dict)
    threadgroup_bytes: int = 0
    live_registers: int = 0
    code_instructions: int = 0
    registers_by_front_end: Mapping[str, int] = field(default_factory=dict)

    def __sub__(self, other: Counts) -> Counts:
        """What is left of sums; of a kernel's own properties, those of the first."""
        left = {name: getattr(self, name) - getattr(other, name) for name in _SUMS}
        for name in _TABLES:
            mine, theirs = getattr(self, name), getattr(other, name)
            left[name] = {key: n - theirs.get(key, 0) for key, n in mine.items()}
        return Counts(
            **left, **{name: getattr(self, name) for name in (*_PROPERTIES, _BY_FRONT_END)}
        )

    @property
    def active_lanes(self) -> float:
        """Share of a simdgroup's lanes that are active, averaged over its instructions."""
        return self.instructions / (32 * self.issued_instructions or 1)

    def uniform_share(self, access: str) -> float:
        """Share of an access, ``device_loads`` for example, that goes to one address."""
        return self.uniform.get(access, 0) / (self.issued.get(access, 0) or 1)

    def per_thread(self, threads: int) -> dict[str, float]:
        """Each operation divided by a number of threads."""
        return {name: getattr(self, name) / threads for name in NAMES}

    def per_lane(self) -> dict[str, float]:
        """Each operation divided by the threads that ran."""
        return self.per_thread(self.threads or 1)

    def as_row(self) -> dict[str, Any]:
        """All of it, as plain values for a result row."""
        shares = {name: self.uniform_share(name) for name in self.issued}
        return {**asdict(self), "active_lanes": self.active_lanes, "uniform_share": shares}


_TABLES = ("issued", "uniform", "matrix_types", "fragments", "issue_cycles", "path")
_PROPERTIES = ("threadgroup_bytes", "live_registers", "code_instructions")
_BY_FRONT_END = "registers_by_front_end"
_SUMS = tuple(
    f.name for f in fields(Counts) if f.name not in (*_TABLES, *_PROPERTIES, _BY_FRONT_END)
)
# What threads do; the rest says how they were run.
NAMES = _SUMS[: _SUMS.index("threadgroups")]


def _counts(counted: Mapping[str, Any]) -> Counts:
    """What the engine found, by the description of each kernel, as one sum."""
    sums: Counter[str] = Counter()
    tables: dict[str, Counter[str]] = {name: Counter() for name in _TABLES}
    properties = dict.fromkeys(_PROPERTIES, 0)
    registers: dict[str, int] = {}
    for description, counts in counted.items():
        described = json.loads(description)
        for n, (amounts, branches) in enumerate(described["segments"]):
            for name, amount in amounts.items():
                kind, _, which = name.partition(" ")
                if which:
                    table = {"matrix": "matrix_types", "fragment": "fragments"}[kind]
                    tables[table][which] += amount * counts.lanes[n]
                else:
                    sums[name] += amount * counts.lanes[n]
            sums["issued_instructions"] += amounts.get("instructions", 0) * counts.issued[n]
            sums["divergent_branches"] += counts.divergent[n] if branches else 0
        for n, (issue, path, least_path) in enumerate(described["costs"]):
            for pipe, cycles in issue.items():
                tables["issue_cycles"][pipe] += cycles * counts.issued[n]
            tables["path"]["cycles"] += path * counts.issued[n]
            tables["path"]["least_cycles"] += least_path * counts.issued[n]
        for (segment, space, kind), uniform in zip(
            described["accesses"], counts.uniform, strict=True
        ):
            name = f"{space}_{kind}s"
            tables["issued"][name] += counts.issued[segment]
            tables["uniform"][name] += uniform
        for name in ("threadgroups", "simdgroups", "threads"):
            sums[name] += getattr(counts, name)
        sums["unique_load_bytes"] += counts.loaded_bytes
        sums["unique_store_bytes"] += counts.stored_bytes
        described["threadgroup_bytes"] = counts.threadgroup_bytes
        for name in _PROPERTIES:
            properties[name] = max(properties[name], described[name])
        front_end, live = described["front_end"], described["live_registers"]
        registers[front_end] = max(registers.get(front_end, 0), live)
    plain = {name: dict(sorted(table.items())) for name, table in tables.items()}
    properties[_BY_FRONT_END] = registers
    return Counts(**{name: sums[name] for name in _SUMS}, **plain, **properties)


def counting_device() -> Device:
    """A cpu device whose kernels count; its times mean nothing."""
    from attnproto import _core
    from attnproto.compiler.targets.host import NativeFrontEnd

    return Device(_core.open_cpu(NativeFrontEnd(counting=True), cpu_threads()))


def count(device: Device, dispatches: list[Dispatch]) -> Counts:
    """Run dispatches on a :func:`counting_device` and return what they did."""
    from attnproto import _core

    _core.take_counts(device._core)
    device.submit(dispatches)
    return _counts(_core.take_counts(device._core))


def count_launch(launch: Callable[[Device], object]) -> Counts:
    """Run kernels on a device that counts, and return what they did; also ``attnproto.count``.

    Args:
        launch: ``f(device)`` runs kernels on the device it is given: through
            ``flash_attention(..., device=device)`` and its like, or ``device.run``.

    Returns:
        Sums over all threads of all dispatches; evidence of tier ``derived``, never a time.

    Raises:
        AttnprotoError: as the kernels do on the cpu device.

    Examples:
        >>> counts = attnproto.count(lambda device: flash_attention(q, k, v, device=device))
        >>> counts.matrix_operations, counts.per_thread(q[..., 0].size)["exponentials"]
    """
    from attnproto import _core

    device = _shared_device()
    _core.take_counts(device._core)
    launch(device)
    return _counts(_core.take_counts(device._core))


@cache
def _shared_device() -> Device:
    return counting_device()
