"""How far a kernel may be from the FP64 truth, and the judgement of one output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnproto.dtypes import BY_NAME
from attnproto.problem import AttentionProblem

from .ulp import UlpError, ulp_error


@dataclass(frozen=True)
class Tolerance:
    """An output passes when ``|actual - expected| <= atol + rtol * |expected|``."""

    atol: float
    rtol: float


@dataclass(frozen=True)
class Judgement:
    """What one output's comparison with the truth showed.

    ``worst_ratio`` is the largest error divided by what is allowed: 1 or less passes.
    """

    passed: bool
    reason: str
    max_abs_error: float
    worst_ratio: float
    ulp: UlpError

    @property
    def numbers(self) -> dict[str, float]:
        """The errors, as results hold them."""
        return {
            "max_abs_error": self.max_abs_error,
            "worst_ratio": self.worst_ratio,
            "max_ulp": self.ulp.max_ulp,
            "p99_ulp": self.ulp.p99_ulp,
            "median_ulp": self.ulp.median_ulp,
            "max_row_ulp": self.ulp.max_row_ulp,
        }


# Specification NFR-3 and NFR-4. It names none for bfloat16, whose weights and outputs are each
# off by up to 2^-9 of themselves: with values to about 4 that is 8e-3 before any sum.
_TOLERANCES = {
    "f16": Tolerance(5e-3, 1e-2),
    "bf16": Tolerance(2e-2, 2e-2),
    "f32": Tolerance(1e-5, 1e-4),
}


def tolerance(problem: AttentionProblem, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Tolerance:
    """Return the tolerance for a problem and its inputs.

    Scores are summed in FP32. A score of size ``s`` may be off by ``D * u * s`` there, and
    an error ``e`` in every score moves the output by at most ``2 (exp(2e) - 1) max|v|``.
    That is far below the fixed part for scores of deviation 1 and matters for scores of
    1e4; the fixed part is the specification's.

    Args:
        problem: Sizes and dtype.
        q: ``[B, Hq, Nq, D]``.
        k: ``[B, Hkv, Nkv, D]``.
        v: ``[B, Hkv, Nkv, D]``.

    Returns:
        atol and rtol.

    Source: specification NFR-3, NFR-4; Higham, Accuracy and Stability of Numerical
    Algorithms, 2nd ed., equation 3.5 for the inner product.
    """
    fixed = _TOLERANCES[problem.dtype]
    longest = [np.sqrt((x.astype(np.float64) ** 2).sum(axis=-1)).max() for x in (q, k)]
    largest_score = longest[0] * longest[1] * problem.scale
    if largest_score < 100:
        return fixed
    score_error = problem.D * BY_NAME["f32"].unit_roundoff * largest_score
    moved = 2.0 * np.expm1(2.0 * score_error) * float(np.abs(v.astype(np.float64)).max())
    return Tolerance(fixed.atol + float(moved), fixed.rtol)


def judge(actual: np.ndarray, expected: np.ndarray, dtype: str, allowed: Tolerance) -> Judgement:
    """Compare a kernel's output with the truth.

    Args:
        actual: Output, any shape.
        expected: FP64 truth of the same shape.
        dtype: Of the output, for the error in ULP.
        allowed: atol and rtol.

    Returns:
        The judgement; a NaN or infinity where the truth is finite never passes.
    """
    actual64 = np.asarray(actual).astype(np.float64)
    if actual64.shape != expected.shape:
        return Judgement(
            False,
            f"shape {actual64.shape} instead of {expected.shape}",
            float("inf"),
            float("inf"),
            UlpError(*4 * (float("inf"),)),
        )
    ulp = ulp_error(actual, expected, dtype)
    lost = int((~np.isfinite(actual64) & np.isfinite(expected)).sum())
    if lost:
        return Judgement(
            False,
            f"{lost} of {expected.size} elements are NaN or infinite",
            float("inf"),
            float("inf"),
            ulp,
        )
    error = np.abs(actual64 - expected)
    ratio = float((error / (allowed.atol + allowed.rtol * np.abs(expected))).max(initial=0.0))
    worst = float(error.max(initial=0.0))
    passed = ratio <= 1.0
    reason = "" if passed else f"worst error {worst:.3g} is {ratio:.3g} times what is allowed"
    return Judgement(passed, reason, worst, ratio, ulp)
