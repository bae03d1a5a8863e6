"""Errors counted in units in the last place of the output's element type."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnproto.dtypes import BY_NAME
from attnproto.errors import UnsupportedProblem


@dataclass(frozen=True)
class UlpError:
    """Distribution of the error over all elements, in units in the last place.

    ``max_row_ulp`` counts in units of the largest element of the same row, which does not
    grow without bound where an element happens to lie near zero.
    """

    max_ulp: float
    p99_ulp: float
    median_ulp: float
    max_row_ulp: float


def ulp_size(expected: np.ndarray, dtype: str) -> np.ndarray:
    """Return the gap between neighbours of ``dtype`` at each value.

    ``ulp(x) = 2**(max(floor(log2 |x|), emin) - fraction_bits)``; in the subnormal range
    and at zero it is the smallest subnormal.

    Args:
        expected: Values, any shape, FP64.
        dtype: ``"f16"``, ``"bf16"`` or ``"f32"``.

    Returns:
        FP64 array of the same shape.

    Raises:
        UnsupportedProblem: An unknown dtype.

    Source: Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed., section 2.3.2
    (Goldberg's definition).

    Examples:
        >>> float(ulp_size(np.array([1.0]), "f16")[0])
        0.0009765625
    """
    if dtype not in BY_NAME:
        raise UnsupportedProblem(
            f"[ulp] found dtype={dtype!r}, needs one of {', '.join(BY_NAME)}; choose one of these"
        )
    element = BY_NAME[dtype]
    _, exponent = np.frexp(np.abs(np.asarray(expected, dtype=np.float64)))
    # frexp's fraction lies in [0.5, 1), so floor(log2 |x|) is one less than its exponent.
    exponent = np.where(np.asarray(expected) == 0.0, element.smallest_exponent, exponent - 1)
    return np.ldexp(1.0, np.maximum(exponent, element.smallest_exponent) - element.fraction_bits)


def ulp_error(actual: np.ndarray, expected: np.ndarray, dtype: str) -> UlpError:
    """Measure ``|actual - expected| / ulp(expected)``.

    An element that is NaN or infinite where the truth is finite counts as infinitely wrong.

    Args:
        actual: Output of a kernel, any float dtype.
        expected: FP64 truth of the same shape, not rounded to ``dtype``; rows are its last axis.
        dtype: The output's element type.

    Returns:
        Maximum, 99th percentile, median and row-scaled maximum, in ULP. Correct rounding gives at
        most 0.5 in each.
    """
    expected = np.asarray(expected, dtype=np.float64)
    if expected.size == 0:
        return UlpError(0.0, 0.0, 0.0, 0.0)
    difference = np.abs(np.asarray(actual).astype(np.float64) - expected)
    difference = np.where(np.isnan(difference), np.inf, difference)
    error = difference / ulp_size(expected, dtype)
    row = ulp_size(np.abs(expected).max(axis=-1, keepdims=True), dtype)
    # "higher" never interpolates, so that one infinite element cannot turn into a NaN.
    p99, median = np.quantile(error, [0.99, 0.5], method="higher")
    return UlpError(float(error.max()), float(p99), float(median), float((difference / row).max()))
