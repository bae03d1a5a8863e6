"""The correctness gate: what a kernel must show before anything is said about it.

Its output starts as NaN between canaries, so work left out and writes out of bounds show;
other inputs follow, so that a remembered answer shows; and the same inputs once more, so that
a race shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from attnproto.dtypes import BY_NAME
from attnproto.problem import AttentionProblem

from . import Judgement, Tolerance, judge, softmax_attention, tolerance

# Elements on each side of the output that no kernel may touch; every dtype holds the value.
CANARIES, CANARY = 256, 1024.0

Launch = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class Trial:
    """One launch judged: the verdict, the output ``[B, Hq, Nq, D]``, and what launch returned."""

    judgement: Judgement
    output: np.ndarray
    returned: Any


@dataclass(frozen=True)
class Truth:
    """Seeded inputs q, k and v, the FP64 output of them, and by how much a kernel may miss it."""

    inputs: tuple[np.ndarray, np.ndarray, np.ndarray]
    expected: np.ndarray
    allowed: Tolerance


# Both seeds of one problem: what is judged next is most often another kernel for the same.
@lru_cache(maxsize=2)
def truth(problem: AttentionProblem, seed: int = 0, input_class: str = "normal") -> Truth:
    """Return what a kernel is given and judged by; the newest two are kept.

    Args:
        problem: What it computes.
        seed: Of the inputs.
        input_class: Of the inputs.

    Returns:
        Read-only arrays and the tolerance.
    """
    q, k, v = problem.inputs(seed, input_class)
    expected = softmax_attention(q, k, v, causal=problem.causal)
    for array in (q, k, v, expected):
        array.flags.writeable = False
    return Truth((q, k, v), expected, tolerance(problem, q, k, v))


def trial(
    launch: Launch, problem: AttentionProblem, seed: int = 0, input_class: str = "normal"
) -> Trial:
    """Launch a kernel on seeded inputs and judge its output against FP64.

    Args:
        launch: ``f(q, k, v, output)``; ``output`` is flat, starts as NaN, and has canaries
            after the ``q.size`` elements that the kernel is to write.
        problem: What it computes.
        seed: Of the inputs.
        input_class: Of the inputs.

    Returns:
        The judgement, which also fails when a canary changed.
    """
    known = truth(problem, seed, input_class)
    return attempt(
        lambda output: launch(*known.inputs, output), known.expected, problem.dtype, known.allowed
    )


def attempt(
    launch: Callable[[np.ndarray], Any], expected: np.ndarray, dtype: str, allowed: Tolerance
) -> Trial:
    """Let a kernel write one output and judge it.

    Args:
        launch: ``f(output)``; ``output`` is flat, starts as NaN, and has canaries after the
            ``expected.size`` elements that the kernel is to write.
        expected: FP64 truth.
        dtype: Of the output.
        allowed: atol and rtol.

    Returns:
        The judgement, which also fails when a canary changed.
    """
    guarded = np.full(expected.size + 2 * CANARIES, CANARY, dtype=BY_NAME[dtype].dtype)
    guarded[CANARIES:-CANARIES] = np.nan
    returned = launch(guarded[CANARIES:])
    output = guarded[CANARIES:-CANARIES].reshape(expected.shape)
    judged = judge(output, expected, dtype, allowed)
    margins = np.concatenate([guarded[:CANARIES], guarded[-CANARIES:]]).astype(np.float32)
    if np.any(margins != np.float32(CANARY)):
        judged = replace(judged, passed=False, reason="it wrote outside its output")
    return Trial(judged, output, returned)


def full_gate(launch: Launch, problem: AttentionProblem, seeds: tuple[int, ...] = (0, 1)) -> Trial:
    """Try a kernel on several inputs, then on the first again, which must repeat bit by bit.

    Args:
        launch: As for ``trial``.
        problem: What it computes.
        seeds: Of the inputs.

    Returns:
        The first trial that fails; otherwise that of the first inputs.
    """
    trials = []
    for seed in seeds:
        trials.append(trial(launch, problem, seed))
        if not trials[-1].judgement.passed:
            return trials[-1]
    first, again = trials[0], trial(launch, problem, seeds[0])
    if first.output.tobytes() != again.output.tobytes():
        reason = "the same inputs gave another output; threads race"
        return replace(again, judgement=replace(again.judgement, passed=False, reason=reason))
    return first
