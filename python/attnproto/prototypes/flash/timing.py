"""Timing flash tiles on a device whose times are worth something: alone, and in pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from attnproto import reference
from attnproto.kernels.flash import Variant
from attnproto.measure import protocol
from attnproto.measure.pairs import compare
from attnproto.measure.stats import LOOKS
from attnproto.problem import AttentionProblem
from attnproto.reference.gate import truth


def dispatch_of(problem: AttentionProblem, tile: Any, device: Any) -> tuple[Any, Any]:
    """Return the pipeline and the plan of a problem on a tile."""
    from attnproto.kernels import flash

    keys = (problem.B, problem.Hkv, problem.Nkv, problem.D)
    shapes = ((problem.B, problem.Hq, problem.Nq, problem.D), keys, keys)
    q, k, v = (np.empty(shape, problem.element_type) for shape in shapes)
    variant = Variant(causal=problem.causal)
    todo = flash.plan(flash.problem_of(q, k, v, variant=variant), tile)
    return flash.pipeline(device, todo.source, todo.constants), todo


def on_device(problem: AttentionProblem, tile: Any, device: Any) -> Any:
    """Put a tile's buffers on a device, ready to be repeated."""
    from attnproto.device.recording import repeated

    q, k, v = problem.inputs(0)
    pipe, todo = dispatch_of(problem, tile, device)
    return repeated(
        device,
        pipe,
        inputs={0: q, 1: k, 2: v},
        output=(3, q.nbytes),
        constants={4: todo.params},
        threadgroups=todo.threadgroups,
        threads=todo.threads,
    )


def judge(problem: AttentionProblem, kernel: Any, seed: int) -> Callable[[], reference.Judgement]:
    """Return a check of what a kernel on the device makes of seeded inputs, from NaN on."""

    def judged() -> reference.Judgement:
        known = truth(problem, seed)
        q, k, v = known.inputs
        kernel.load({0: q, 1: k, 2: v}, fill=np.full(q.shape, np.nan, q.dtype))
        kernel.run(1)
        actual = kernel.read(q.dtype, q.shape)
        return reference.judge(actual, known.expected, problem.dtype, known.allowed)

    return judged


def timed(problem: AttentionProblem, tile: Any, device: Any, mode: str) -> dict[str, Any]:
    """Time one tile by protocol, against the device's probed peaks.

    Args:
        problem: What it computes.
        tile: How.
        device: An open device whose times are measured.
        mode: ``"quick"`` or ``"full"``.

    Returns:
        The measurement's fields and the peaks.

    Raises:
        AttnprotoError: As ``measure.measure``.
    """
    from attnproto.measure.peaks import peaks_of

    peaks = peaks_of(device)
    kernel = on_device(problem, tile, device)
    taken = protocol.measure(
        kernel.run,
        gate=judge(problem, kernel, 0),
        regate=judge(problem, kernel, 1),
        protocol=protocol.of_mode(mode),
        flops=problem.flops,
        device_bytes=problem.bytes,
        peaks=peaks,
    )
    peak_values = asdict(peaks)
    del peak_values["cache_bytes"]
    return {**taken.as_result(), "peaks": peak_values}


def paired(
    problem: AttentionProblem,
    tiles: Sequence[Any],
    device: Any,
    mode: str,
    looks: Sequence[int] = LOOKS,
) -> dict[str, Any]:
    """Compare two tiles in A-B-B-A blocks until the interval of their ratio decides.

    Args:
        problem: What both compute.
        tiles: Two tiles.
        device: An open device whose times are measured.
        mode: ``"quick"`` or ``"full"``.
        looks: As for ``pairs.compare``.

    Returns:
        As ``pairs.compare``.

    Raises:
        WrongResult: One of them is not right, before or after; no time is reported.
        ImpossibleTime: A time is below what the device's peaks allow.
    """
    from attnproto.measure.peaks import peaks_of

    kernels = [on_device(problem, tile, device) for tile in tiles]
    for kernel, tile in zip(kernels, tiles, strict=True):
        protocol.require(judge(problem, kernel, 0)(), "before", tile.name)
    compared = compare(kernels, mode=mode, looks=looks)
    for kernel, tile, side in zip(kernels, tiles, ("a_us", "b_us"), strict=True):
        protocol.require(judge(problem, kernel, 1)(), "after", tile.name)
        protocol.check_possible(compared[side], problem.flops, problem.bytes, peaks_of(device))
    return compared
