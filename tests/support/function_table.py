"""MSL's functions of floating-point numbers: what each is in FP64, and the error it may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ROUNDED = 0.5  # correctly rounded: half a unit in the last place


@dataclass(frozen=True)
class Function:
    """One function.

    Attributes:
        exact: of float64 arrays.
        ulp: error allowed in units in the last place, of float (MSL 4, table 8.1).
        narrow_ulp: of half and bfloat (table 8.3; bfloat's table has operators only).
        signed_zero: whether the sign of a result of 0 is defined.
        defined: where it is, of the arguments; everywhere, unless given.
        in_accuracies: whether fast:: and precise:: have the same.
    """

    exact: Callable
    ulp: float
    narrow_ulp: float = 1
    signed_zero: bool = True
    defined: Callable | None = None
    in_accuracies: bool = True


def _turned(function: Callable, x):
    """sin or cos of pi x, of the rest after whole quarters of a turn, which is exact."""
    turn = np.fmod(x, 2)
    quarters = np.rint(2 * turn)
    rest = np.pi * (turn - quarters / 2)
    at = np.nan_to_num(quarters).astype(int) + (function is np.cos)
    values = np.where(at & 1, np.cos(rest), np.sin(rest)) * np.where(at & 2, -1, 1)
    return np.where(np.isfinite(x), values, np.nan)


def sinpi(x):
    """At whole numbers the zero has the sign of x."""
    sines = _turned(np.sin, x)
    return np.where(sines == 0, np.copysign(0, x), sines)


def cospi(x):
    """Its zeros are positive."""
    return _turned(np.cos, x) + 0.0


def tanpi(x):
    """Of the two quotients."""
    return sinpi(x) / cospi(x)


def _sign(x):
    return np.where(np.isnan(x), 0, np.where(x == 0, x, np.sign(x)))


def _fdim(x, y):
    differences = np.where(x > y, x - y, 0.0)
    return np.where(np.isnan(x) | np.isnan(y), np.nan, differences)


UNARY = {
    "exp": Function(np.exp, 4), "exp2": Function(np.exp2, 4),
    "exp10": Function(lambda x: np.power(10.0, x), 4),
    "log": Function(np.log, 4), "log2": Function(np.log2, 4), "log10": Function(np.log10, 4),
    "sqrt": Function(np.sqrt, ROUNDED, ROUNDED),
    # The one that is not the same in fast:: (table 8.2) and precise::.
    "rsqrt": Function(lambda x: 1 / np.sqrt(x), 2, ROUNDED, in_accuracies=False),
    "fast::rsqrt": Function(lambda x: 1 / np.sqrt(x), 2, ROUNDED, in_accuracies=False),
    "precise::rsqrt": Function(lambda x: 1 / np.sqrt(x), ROUNDED, ROUNDED, in_accuracies=False),
    "sin": Function(np.sin, 4), "cos": Function(np.cos, 4), "tan": Function(np.tan, 6),
    "asin": Function(np.arcsin, 4), "acos": Function(np.arccos, 4), "atan": Function(np.arctan, 5),
    "sinh": Function(np.sinh, 4), "cosh": Function(np.cosh, 4), "tanh": Function(np.tanh, 5),
    "asinh": Function(np.arcsinh, 4), "acosh": Function(np.arccosh, 4),
    "atanh": Function(np.arctanh, 5),
    "sinpi": Function(sinpi, 4), "cospi": Function(cospi, 4), "tanpi": Function(tanpi, 6),
    "floor": Function(np.floor, 0, 0), "ceil": Function(np.ceil, 0, 0),
    "trunc": Function(np.trunc, 0, 0), "rint": Function(np.rint, 0, 0),
    "round": Function(lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x), 0, 0),
    "fabs": Function(np.abs, 0, 0), "abs": Function(np.abs, 0, 0), "sign": Function(_sign, 0, 0),
    # Rounded, and below 1, where rounding alone would reach it.
    # Below 1 in every type; what fast:: and precise:: give, a float, a half may round to 1.
    "fract": Function(lambda x: x - np.floor(x), ROUNDED, ROUNDED, in_accuracies=False),
    "saturate": Function(lambda x: np.fmin(np.fmax(x, 0), 1), 0, 0, signed_zero=False),
}  # fmt: skip


def _powr_defined(x, y):
    corner = ((x == 0) | np.isinf(x)) & (y == 0) | (x == 1) & np.isinf(y)
    return (x >= 0) & ~corner & ~np.isnan(y) & ~np.signbit(x)


BINARY = {
    "pow": Function(np.power, 16), "powr": Function(np.power, 16, defined=_powr_defined),
    "fmod": Function(np.fmod, 0, 0), "atan2": Function(np.arctan2, 6),
    "fmin": Function(np.fmin, 0, 0, False), "fmax": Function(np.fmax, 0, 0, False),
    "min": Function(np.fmin, 0, 0, False), "max": Function(np.fmax, 0, 0, False),
    "copysign": Function(np.copysign, 0, 0),
    "fdim": Function(_fdim, ROUNDED, ROUNDED, False),
    "divide": Function(np.divide, ROUNDED, ROUNDED),
    "step": Function(lambda edge, x: np.where(x < edge, 0.0, 1.0), 0, 0),
}  # fmt: skip


def special_values(dtype) -> np.ndarray:
    """Zeros, denormal numbers, halfway points, every quadrant, large and infinite ones, NaN."""
    import ml_dtypes

    info = ml_dtypes.finfo(dtype)
    tiny, least, most, step = (
        float(n) for n in (info.smallest_normal, info.smallest_subnormal, info.max, info.eps)
    )
    near_one = [1 - step / 2, 1 + step, 1 - step, 1 + 2 * step, 1e-8, 1e-4]
    halves = [0.5, 1.5, 2.5, 3.5, 0.25, 0.75, 1 / step + 0.5, 0.5 / step + 0.5, 0.49999997]
    quadrants = [k * np.pi / 4 for k in range(1, 10)]
    large = [1e2, 1e3, 1e4, 1e6, 1e6 + 0.5, 1e10, 1e30, 89.0, 104.0, 127.0, 128.0, 10.5]
    small = [least, 2 * least, tiny - least, tiny, tiny * 1.5, tiny * 4]
    plain = [1.0, 2.0, 3.0, 1 / 3, 0.1, 7.0]
    magnitudes = [*near_one, *halves, *quadrants, *large, *small, *plain, most, most / 2]
    both = [x for m in magnitudes for x in (m, -m)]
    with np.errstate(over="ignore"):
        return np.array([0.0, -0.0, *both, np.inf, -np.inf, np.nan], np.float64).astype(dtype)


def ulps(actual: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance in units in the last place of found's type at the exact value; infinite where one
    is a NaN or infinite and the other is not.
    """
    import ml_dtypes

    info = ml_dtypes.finfo(actual.dtype)
    value, size = actual.astype(np.float64), np.abs(exact)
    known = np.where(np.isfinite(size) & (size > 0), size, float(info.tiny))
    exponents = np.maximum(np.frexp(known)[1], info.minexp + 1)
    unit = np.ldexp(1.0, exponents - 1 - info.nmant)
    # Past the largest number the next one would be this; it stands for infinity.
    after = 2.0**info.maxexp
    value, exact = (np.clip(v, -after, after) for v in (value, exact))
    error = np.abs(value - exact) / unit
    both = np.isnan(value) & np.isnan(exact)
    return np.where(both, 0, np.where(np.isnan(error), np.inf, error))
