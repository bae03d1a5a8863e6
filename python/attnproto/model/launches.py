"""Predictions for launches of kernels that are here: counted on the cpu device, then modelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np

from attnproto.device.device import Device, Dispatch
from attnproto.device.recording import watch
from attnproto.dtypes import ELEMENT_TYPES
from attnproto.kernels import flash
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Variant
from attnproto.measure.dynamic_counts import Counts, count, count_launch, counting_device
from attnproto.problem import AttentionProblem

from .chip import Chip, expected_chip
from .prediction import TIER, Prediction, predict_work
from .scope import DIRECT, STAGED, Attention, problem_refusals, refusals
from .time_model import predict_time
from .work import Work

_FRAGMENT_ELEMENTS = 64
_ELEMENT_BYTES = {one.msl: one.nbytes for one in ELEMENT_TYPES}
# Issue of these is the movement of their bytes, or counted by itself.
_APART = ("matrix", "device", "threadgroup", "private", "constant", "barrier")
# A tile's ways of reading that were published.
_WAYS = {"lane": DIRECT, "matrix": DIRECT, "staged": STAGED}
_FULL = 4096  # queries that fill an M4 by far
# What does not grow with the keys.
_PROPERTIES = (
    "threadgroups", "simdgroups", "live_registers", "code_instructions", "threadgroup_bytes",
    "unique_bytes", "registers_by_front_end", "even",
)  # fmt: skip
_PATHS = ("path_cycles", "path_low_cycles")


def work_of_counts(counts: Counts, even: bool = False) -> Work:
    """Return what one dispatch does, by simdgroup.

    Args:
        counts: Of one dispatch, or what is left of two of them.
        even: Whether all threadgroups are known to do the same, which counts do not tell.
    """
    simdgroups = counts.simdgroups or 1
    products = counts.matrix_operations / 32 / simdgroups
    loaded = counts.device_load_bytes + counts.threadgroup_load_bytes
    moved = (
        loaded + counts.device_store_bytes + counts.threadgroup_store_bytes
        + counts.private_load_bytes + counts.private_store_bytes
    )  # fmt: skip
    other = sum(cycles for pipe, cycles in counts.issue_cycles.items() if pipe not in _APART)
    fragment = _FRAGMENT_ELEMENTS * _factor_bytes(counts.matrix_types)
    return Work(
        threadgroups=counts.threadgroups,
        simdgroups=-(-simdgroups // (counts.threadgroups or 1)),
        matrix_products=products,
        other_issue_cycles=other / simdgroups,
        float_operations=counts.float_operations / 32 / simdgroups,
        exponentials=counts.exponentials / 32 / simdgroups,
        cache_bytes=moved / simdgroups,
        barriers=counts.threadgroup_barriers / 32 / simdgroups,
        path_cycles=counts.path["cycles"] / simdgroups,
        path_low_cycles=counts.path["least_cycles"] / simdgroups,
        live_registers=counts.live_registers,
        code_instructions=counts.code_instructions,
        threadgroup_bytes=counts.threadgroup_bytes,
        fragment_loads=loaded / simdgroups / fragment,
        registers_by_front_end=counts.registers_by_front_end,
        unique_bytes=counts.unique_load_bytes + counts.unique_store_bytes,
        even=even,
    )


def _factor_bytes(types: Mapping[str, int]) -> float:
    """Bytes of an element of the products' factors, averaged."""
    weights = {kind: types[kind] for kind in types if types[kind] > 0}
    sizes = {kind: sum(_ELEMENT_BYTES[one] for one in kind.split(" x ")) / 2 for kind in weights}
    total = sum(weights.values())
    return sum(sizes[kind] * weights[kind] for kind in weights) / total if total else 4


def predict(
    launch: Callable[[Device], object], attention: Attention | None = None, chip: Chip | None = None
) -> Prediction:
    """Predict what one dispatch takes on a chip.

    Args:
        launch: ``f(device)`` dispatches one kernel once; it is run on a device that counts.
        attention: The problem, where it is attention, all of whose threadgroups do the same but
            for a mask; without one there is only a bound.
        chip: Where; None: as ``expected_chip``.

    Returns:
        A time with its interval, or a bound with the reasons.

    Examples:
        >>> from attnproto.kernels.flash import flash_attention
        >>> x = np.zeros((1, 1, 64, 64), np.float16)
        >>> said = predict(lambda device: flash_attention(x, x, x, device=device))
        >>> said.median_us is None and said.low_us > 0
        True
    """
    work = work_of_counts(count_launch(launch), even=attention is not None)
    return predict_work(work, attention, chip or expected_chip())


def dispatch_works(launch: Callable[[Device], object]) -> tuple[Work, ...]:
    """Count what each dispatch of a launch does, in their order.

    Args:
        launch: ``f(device)`` runs kernels on the device it is given.
    """
    device = counting_device()
    watched = watch(device)
    launch(watched)
    return tuple(work_of_counts(count(device, [one])) for one in watched.dispatches)


def flash_attention_of(problem: AttentionProblem, tile: FlashTile) -> Attention:
    """Return what the scope asks about a problem on a tile."""
    way = _WAYS.get(tile.way, tile.way)
    return Attention(min(problem.Nq, problem.Nkv), problem.D, way, problem.causal)


def flash_work(problem: AttentionProblem, tile: FlashTile) -> Work:
    """Count what the flash kernel does on a problem, from one threadgroup over few keys.

    A threadgroup's work is linear in the blocks of keys that it walks, so two short runs tell that
    of any length. Without a mask all walk the same; with one, each is taken to walk the blocks
    that its last row sees in full, which is a little less than it does.

    Args:
        problem: Dimensions and mask.
        tile: Geometry.
    """
    left = 0 if problem.causal else problem.Nkv % tile.bc
    few, more = (left + blocks * tile.bc for blocks in (2, 4))
    one = replace(problem, B=1, Hq=1, Hkv=1, Nq=min(problem.Nq, tile.br))
    short, long = (_counted(replace(one, Nkv=keys), tile) for keys in (few, more))
    walked = _walked_keys(problem, tile)

    def at(keys: float) -> dict[str, float]:
        return _sums(extrapolated(short, long, (keys - few) / (more - few)))

    paths = {name: value for name, value in at(walked.max()).items() if name in _PATHS}
    return replace(
        long,
        **at(walked.mean()) | paths,
        threadgroups=len(walked) * problem.Hq * problem.B,
        unique_bytes=problem.bytes,
        even=not problem.causal,
    )


def _walked_keys(problem: AttentionProblem, tile: FlashTile) -> np.ndarray:
    """The keys that each threadgroup of a head walks, in the order of its rows."""
    ends = np.arange(tile.br, problem.Nq + tile.br, tile.br)
    if not problem.causal:
        return np.full(len(ends), problem.Nkv)
    seen = np.minimum(ends, problem.Nq) + problem.Nkv - problem.Nq
    return np.clip(seen, 0, problem.Nkv) // tile.bc * tile.bc


def extrapolated(short: Work, long: Work, steps: float) -> Work:
    """Return the work of a launch some steps from ``short``, one of them being to ``long``.

    Nothing falls below 0, where a launch does less than one that was counted.
    """
    grown = _sums(long)
    return replace(
        long, **{n: max(0.0, at + steps * (grown[n] - at)) for n, at in _sums(short).items()}
    )


@cache
def _counted(problem: AttentionProblem, tile: FlashTile) -> Work:
    """The work of a problem of one head, counted as it is."""
    q, k, v = problem.inputs(0)
    variant = Variant(causal=problem.causal)
    plan = flash.plan(flash.problem_of(q, k, v, variant=variant), tile)

    def launch(device: Device) -> Any:
        pipeline = flash.pipeline(device, plan.source, plan.constants)
        buffers = plan.buffers(q, k, v, np.empty_like(q))
        return device.submit([Dispatch(pipeline, plan.threadgroups, plan.threads, buffers)])

    return work_of_counts(count_launch(launch))


def predict_flash(
    problem: AttentionProblem, tile: FlashTile, chip: Chip | None = None
) -> Prediction:
    """Predict what the flash kernel takes on a problem; see :func:`flash_work`."""
    attention = flash_attention_of(problem, tile)
    return predict_work(flash_work(problem, tile), attention, chip or expected_chip())


def flash_result(
    problem: AttentionProblem, tile: FlashTile, chip: Chip | None = None
) -> dict[str, Any]:
    """Return what is expected of the flash kernel on a problem, as a row of results holds it."""
    return predict_flash(problem, tile, chip).as_result()


def flash_ratio(
    problem: AttentionProblem, tiles: Sequence[FlashTile], chip: Chip | None = None
) -> dict[str, Any]:
    """Return how much longer one tile is expected to take than another, as a row holds it."""
    problems = [flash_attention_of(problem, tile) for tile in tiles]
    refused = [line for one in problems for line in problem_refusals(one)]
    if refused:
        return refused_result(refused, chip)
    return ratio_result([flash_work(problem, tile) for tile in tiles], problems, chip)


def ratio_result(
    works: Sequence[Work], problems: Sequence[Attention], chip: Chip | None = None
) -> dict[str, Any]:
    """Return how much longer one launch is expected to take than another, as a row holds it.

    Args:
        works: What the two do.
        problems: What each computes.
        chip: Where; None: as ``expected_chip``.
    """
    refused = [line for pair in zip(works, problems, strict=True) for line in refusals(*pair)]
    if refused:
        return refused_result(refused, chip)
    chip = chip or expected_chip()
    a, b = (predict_time(work, chip).total_us for work in works)
    low, high = chip.pair_interval
    return {
        "modelled_tier": TIER,
        "modelled_chip": chip.name,
        "modelled_ratio": a / b,
        "modelled_ratio_low": a / b * low,
        "modelled_ratio_high": a / b * high,
    }


def refused_result(lines: Iterable[str], chip: Chip | None = None) -> dict[str, Any]:
    """Return why nothing is said, as a row of results holds it."""
    return {
        "modelled_tier": TIER,
        "modelled_chip": (chip or expected_chip()).name,
        "modelled_refused": list(dict.fromkeys(lines)),
    }


def block_ratio(
    a: Counts, b: Counts, d: int, keys: int, chip: Chip | None = None
) -> dict[str, Any]:
    """Return how much longer one kernel is expected to take than another, as a row holds it.

    For as many queries as keys, enough to fill the chip, each simdgroup of 8 rows alone.

    Args:
        a: Of one simdgroup of the one, what is left of two runs that differ by some keys.
        b: Likewise of the other.
        d: Dimensions of a head.
        keys: By how many keys they differ.
        chip: Where; None: as ``expected_chip``.
    """
    attention = Attention(_FULL, d, DIRECT)
    works = [_repeated(work_of_counts(counts), _FULL // keys) for counts in (a, b)]
    return ratio_result(works, [attention, attention], chip)


def _sums(work: Work) -> dict[str, float]:
    """What of a launch's work grows with the keys."""
    return {f.name: getattr(work, f.name) for f in fields(Work) if f.name not in _PROPERTIES}


def _repeated(work: Work, times: int) -> Work:
    """The work of a launch for ``_FULL`` queries whose walk over the keys is so much longer."""
    grown = {name: times * amount for name, amount in _sums(work).items()}
    return replace(work, **grown, threadgroups=_FULL // 8, simdgroups=1, unique_bytes=0, even=True)
