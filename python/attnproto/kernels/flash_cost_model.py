"""What a launch of the flash kernel does, in closed form.

The walk over the keys (metal/flash/flash.h) takes steps of Bc keys as long as they are whole
and 8 keys over the rest; causal masks end it at the last key that a simdgroup's rows see. Each
8 keys of a step are one matrix operation with K for each 8 dimensions and 8 rows, and one with V
where some row sees one of them. Counting the kernel as it runs
(attnproto.measure.dynamic_counts) gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnproto.errors import UnsupportedProblem

from .flash import FlashProblem
from .flash_tile import FlashTile

_LANES = 32


@dataclass(frozen=True)
class FlashWork:
    """Sums over all threads, by the names of :class:`attnproto.measure.dynamic_counts.Counts`.

    Attributes:
        matrix_operations: one for each lane that takes part.
        shuffles: for the maximum of each step, and for the sum at the end.
        votes: whether any lane's maximum grew, once a step; whether one met a value that is not
            finite, once a masked step.
        exponentials: of the scores; those of growing maxima depend on the data and come on top.
        device_load_bytes: K and V once a simdgroup, V on the diagonal twice, and Q; not what
            threads share.
        device_store_bytes: O.
        threadgroup_stores: of Q.
        threadgroup_barriers: none.
        unique_load_bytes: Q, K and V once.
        unique_store_bytes: O once.
        threadgroups: that are launched.
        simdgroups: that are launched.
        threads: that are launched.
    """

    matrix_operations: int
    shuffles: int
    votes: int
    exponentials: int
    device_load_bytes: int
    device_store_bytes: int
    threadgroup_stores: int
    threadgroup_barriers: int
    unique_load_bytes: int
    unique_store_bytes: int
    threadgroups: int
    simdgroups: int
    threads: int


def steps(problem: FlashProblem, tile: FlashTile, first_row: int) -> tuple[int, int]:
    """Return how many steps of Bc and of 8 keys the simdgroup at a query row takes.

    Args:
        problem: dimensions and mask.
        tile: geometry.
        first_row: the simdgroup's first query row.
    """
    stop, full = problem.nkv, problem.nkv // tile.bc * tile.bc
    if problem.variant.causal:
        seen = first_row + tile.rows + problem.nkv - problem.nq
        stop = min(stop, seen)
        full = min(full, max(0, -(-stop // tile.bc) * tile.bc))
    rest = 0 if problem.nkv % tile.bc == 0 else max(0, -(-(stop - full) // 8))
    return full // tile.bc, rest


def values_read(problem: FlashProblem, first_row: int, rows: int) -> int:
    """Return how many eights of V the simdgroup of ``rows`` rows at a query row multiplies."""
    seen = problem.nkv
    if problem.variant.causal:
        seen = min(seen, max(0, first_row + rows + problem.nkv - problem.nq))
    return -(-seen // 8)


def guarded_steps(problem: FlashProblem, tile: FlashTile, first_row: int) -> list[range]:
    """Return the keys of each step in which a simdgroup compares keys with a causal mask."""
    if not problem.variant.causal:
        return []
    wide, narrow = steps(problem, tile, first_row)
    interior = max(0, first_row + problem.nkv - problem.nq + 1) // tile.bc
    starts = [(step * tile.bc, tile.bc) for step in range(min(wide, interior), wide)]
    starts += [(wide * tile.bc + step * 8, 8) for step in range(narrow)]
    return [range(start, start + keys) for start, keys in starts]


def values_checked(problem: FlashProblem, tile: FlashTile, first_row: int) -> int:
    """Return how many eights of V a simdgroup reads once more, to see whether all are finite.

    Those that some of its rows see and others do not, and the last one of all keys.
    """
    low = first_row + problem.nkv - problem.nq
    begin, stop = min(low + 1, problem.nkv - 7), min(low + tile.rows, problem.nkv)
    checked = 0
    for keys in guarded_steps(problem, tile, first_row):
        first = keys.start + max(begin - keys.start, 0) // 8 * 8
        checked += max(0, -(-(min(stop, keys.stop) - first) // 8))
    return checked


def work(problem: FlashProblem, tile: FlashTile) -> FlashWork:
    """Return what a launch does.

    Raises:
        UnsupportedProblem: the tile shares what it reads, reads Q again and again, or the
            variant is not only a causal mask.
    """
    plain = type(problem.variant)(causal=problem.variant.causal)
    if tile.keys not in ("lane", "matrix") or tile.query == "device" or problem.variant != plain:
        raise UnsupportedProblem(
            f"[flash.work] found {tile.name} with {problem.variant}, needs keys='lane' or "
            "'matrix', Q in threadgroup memory or registers, at most a causal mask; "
            "count it instead"
        )
    heads, blocks, size = problem.b * problem.hq, tile.rows // 8, tile.element_bytes
    fragments = problem.d // 8  # of 8 rows or 8 keys
    taken = [steps(problem, tile, row) for row in range(0, problem.nq, tile.rows)]
    calls = sum(wide + narrow for wide, narrow in taken) * heads
    keys = sum(wide * tile.bc // 8 + narrow for wide, narrow in taken) * heads  # in eights
    values = sum(values_read(problem, row, tile.rows) for row in range(0, problem.nq, tile.rows))
    values *= heads  # likewise
    guards = sum(len(guarded_steps(problem, tile, row)) for row in range(0, problem.nq, tile.rows))
    checked = sum(values_checked(problem, tile, row) for row in range(0, problem.nq, tile.rows))
    simdgroups = len(taken) * heads  # that have rows
    fragment_bytes = 2 * size  # of a lane
    tiles = -(-problem.nq // tile.br) * heads
    return FlashWork(
        matrix_operations=_LANES * (keys + values) * fragments * blocks,
        shuffles=_LANES * 2 * blocks * (calls + simdgroups),
        votes=_LANES * (blocks * calls * (tile.rescale != "always") + guards * heads),
        exponentials=_LANES * blocks * (2 * keys + calls * (tile.rescale == "always")),
        device_load_bytes=_LANES * fragments * fragment_bytes
        * (keys + values + checked * heads + blocks * simdgroups),
        device_store_bytes=heads * problem.nq * problem.d * size,
        threadgroup_stores=_LANES * fragments * blocks * simdgroups * (tile.query == "threadgroup"),
        threadgroup_barriers=0,
        unique_load_bytes=size * problem.d * problem.b
        * (problem.hq * problem.nq + 2 * problem.hkv * problem.nkv),
        unique_store_bytes=heads * problem.nq * problem.d * size,
        threadgroups=tiles,
        simdgroups=tiles * tile.br // tile.rows,
        threads=tiles * tile.br // tile.rows * _LANES,
    )  # fmt: skip
