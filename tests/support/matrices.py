"""8x8 matrices, and how near products of them must be."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def random_matrices(count: int, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    """Normal [count, 8, 8]."""
    return np.random.default_rng(seed).standard_normal((count, 8, 8)).astype(dtype)


def nan_matrices(count: int, dtype: type = np.float32) -> np.ndarray:
    """NaN [count, 8, 8], to be written."""
    return np.full((count, 8, 8), np.nan, dtype)


def assert_matrices_close(actual: ArrayLike, expected: ArrayLike, tolerance: float = 1e-5) -> None:
    """Within ``tolerance`` of themselves, and ten times that near zero."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * 10)
