"""How wrong the model is on published times, and the intervals that follow from it.

One constant has no source but these rows, ``cache_bytes_per_cycle``. It is fitted anew each time a
table is left out, so that no row is asked of a model that has seen its table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from .chip import M4, Chip
from .prediction import distance
from .published import PublishedTime, TimedLaunch, gpu_forge_times, mfa_times
from .scope import DIRECT, STAGED, refusals
from .time_model import least_time, predict_time

LEAST_ROWS = 20
_SHARE, _WIDENED = 0.05, 1.03
_RATES = np.arange(56.0, 80.25, 0.25)  # bytes a cycle, among which one is chosen


@dataclass(frozen=True)
class Spread:
    """Errors of a set of predictions, as fractions: |log(time / predicted)|."""

    rows: int
    median: float
    p90: float
    bias: float


def spread(residuals: Sequence[float]) -> Spread:
    """Summarise log residuals; ``bias`` is their median, positive where times are longer."""
    values = np.asarray(residuals)
    return Spread(
        len(values), *(float(np.quantile(abs(values), q)) for q in (0.5, 0.9)),
        float(np.median(values)),
    )  # fmt: skip


def usable_times() -> list[PublishedTime]:
    """Published times of metal-flash-attention that may be compared with."""
    return [one for one in mfa_times() if one.usable]


def in_scope(times: Iterable[PublishedTime]) -> list[PublishedTime]:
    """Those for which the model gives a number."""
    return [one for one in times if not refusals(one.work, one.attention)]


def residual(one: TimedLaunch, chip: Chip) -> float:
    """log(published / predicted)."""
    return math.log(one.time_us / predict_time(one.work, chip).total_us)


def fit(times: Sequence[TimedLaunch], chip: Chip = M4) -> Chip:
    """Fit the one constant that only published times can tell, by least absolute log residuals.

    Args:
        times: Rows in scope.
        chip: The others' values.
    """
    misfits = sum(_misfits(one, chip) for one in times)
    rate = float(_RATES[int(np.argmin(misfits))])
    return chip.with_values(f"fitted to {len(times)} times", cache_bytes_per_cycle=rate)


@cache
def _misfits(one: TimedLaunch, chip: Chip) -> np.ndarray:
    """|residual| of a time at each rate that is tried; the same row stands in many folds."""
    return np.array([abs(residual(one, tried)) for tried in _tried(chip)])


@cache
def _tried(chip: Chip) -> tuple[Chip, ...]:
    return tuple(chip.with_values("tried", cache_bytes_per_cycle=rate) for rate in _RATES)


@cache
def _folds() -> Mapping[tuple[str, ...], Chip]:
    """By table that is left out, the chip fitted to the others."""
    times = in_scope(usable_times())
    return {
        table: fit([one for one in times if one.table != table])
        for table in dict.fromkeys(one.table for one in usable_times())
    }


def left_out_residuals(kind: str | None = None) -> list[tuple[PublishedTime, float]]:
    """Each usable time with its residual by the model fitted to the other tables.

    Args:
        kind: Of one class: all of its rows. Of ``direct``, those in scope. None: all in scope.
    """
    times = usable_times()
    if kind in (None, DIRECT, STAGED):
        times = in_scope(times)
    return [
        (one, residual(one, _folds()[one.table]))
        for one in times
        if kind is None or one.attention.kind == kind
    ]


def interval(residuals: Sequence[float]) -> tuple[float, float]:
    """5 and 95 % of log residuals as factors on a prediction, widened by 3 %."""
    low, high = np.exp(np.quantile(residuals, (_SHARE, 1 - _SHARE)))
    return float(low) / _WIDENED, float(high) * _WIDENED


def class_intervals(kinds: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Intervals of the classes that have rows enough."""
    intervals = {}
    for kind in kinds:
        residuals = [error for _, error in left_out_residuals(kind)]
        if len(residuals) >= LEAST_ROWS:
            intervals[kind] = interval(residuals)
    return intervals


def pair_residuals() -> list[float]:
    """How far predicted ratios are off, of any two kernels in scope that ran one problem.

    Of those that read their keys alike, and of each pair both ways.
    """
    problems: dict[tuple, list[tuple[PublishedTime, float]]] = {}
    for one, error in left_out_residuals():
        problems.setdefault((*_problem(one), one.attention.way), []).append((one, error))
    return [
        error_a - error_b
        for rows in problems.values()
        for a, error_a in rows
        for b, error_b in rows
        if _tile(a) != _tile(b)
    ]


def unlike_times() -> list[PublishedTime]:
    """Published times of a GPU, of kernels for which the model gives no number."""
    times = [one for one in usable_times() if refusals(one.work, one.attention)]
    return times + [one for one in gpu_forge_times() if not one.by_wall_clock]


def direct_times() -> list[PublishedTime]:
    """Usable times of kernels that read their keys directly, in scope or not."""
    return [one for one in usable_times() if one.attention.way == DIRECT]


def bound_residuals(unlike: Sequence[PublishedTime], direct: Sequence[PublishedTime]) -> np.ndarray:
    """How far the ratio of two bounds is off that of the times, as logarithms, for each pair.

    Nothing of a bound is fitted to times, so no table has to be left out.

    Args:
        unlike: Kernels of which a bound is all that the model says.
        direct: Those beside which each of them stands.
    """
    above = [
        np.log([one.time_us / least_time(one.work, M4) for one in times])
        for times in (unlike, direct)
    ]
    return np.subtract.outer(*above).ravel()


@cache
def bound_ratio_interval() -> tuple[float, float, float]:
    """By which factors times of a kernel of another kind differ from what bounds alone say.

    Its time over a direct kernel's, divided by its bound over the direct kernel's: the low end of
    90 % of published pairs, their median, and the high end.
    """
    residuals = bound_residuals(unlike_times(), direct_times())
    low, high = interval(residuals)
    return low, float(np.exp(np.median(residuals))), high


def _problem(one: PublishedTime) -> tuple[int, int, tuple[str, ...]]:
    precision = tuple(one.row[name] for name in ("in_bytes", "s_bytes", "p_bytes", "o_mem_bytes"))
    return one.attention.n, one.attention.d, precision


def _tile(one: PublishedTime) -> tuple[str, ...]:
    return tuple(one.row[name] for name in ("mode", "R", "C", "H", "cache"))


def calibrate(chip: Chip, times: Sequence[TimedLaunch]) -> Chip:
    """Fit a chip to times measured on it, with intervals of its own.

    Args:
        chip: What is known of it before.
        times: Of launches in scope; a class needs 20 for an interval.

    Returns:
        The chip, whose intervals are of leaving each time out.
    """
    errors = [
        residual(one, fit([other for other in times if other is not one], chip)) for one in times
    ]
    kinds = dict.fromkeys(one.attention.kind for one in times)
    by_kind = {
        kind: [error for one, error in zip(times, errors, strict=True)
               if one.attention.kind == kind]
        for kind in kinds
    }  # fmt: skip
    return replace(
        fit(times, chip),
        intervals={k: interval(ones) for k, ones in by_kind.items() if len(ones) >= LEAST_ROWS},
        pair_interval=interval([a - b for a in errors for b in errors]),
        intervals_of=chip.name,
    )


def coverage(kind: str) -> float:
    """Share of a class's times inside the interval that the other tables' residuals give.

    For each table, constants and interval come from the others alone.
    """
    rows = [one for one, _ in left_out_residuals(kind)]
    inside = 0
    for table in dict.fromkeys(one.table for one in rows):
        chip = _folds()[table]
        low, high = interval([residual(one, chip) for one in rows if one.table != table])
        inside += sum(
            math.log(low) <= residual(one, chip) <= math.log(high)
            for one in rows
            if one.table == table
        )
    return inside / len(rows)


def transfer(
    known: Callable[[PublishedTime], bool], asked: Callable[[PublishedTime], bool]
) -> Spread:
    """Errors on some rows in scope by the model fitted to others."""
    times = in_scope(usable_times())
    chip = fit([one for one in times if known(one)])
    return spread([residual(one, chip) for one in times if asked(one)])


@dataclass(frozen=True)
class Choice:
    """A tile chosen for one problem among those that were timed; ``regret`` is a fraction."""

    problem: tuple[int, int, tuple[str, ...]]
    tiles: int
    chosen: str
    best: str
    regret: float


def choices(way: str | None = None) -> list[Choice]:
    """Choose a tile for each problem with several, by models that have not seen their tables.

    A problem is N, D and the precisions; tiles are compared by their median times, those out of
    scope too, which are never chosen.

    Args:
        way: Only among tiles that read keys so, ``direct`` for example.
    """
    problems: dict[tuple, dict[tuple, list[PublishedTime]]] = {}
    for one in usable_times():
        if way not in (None, one.attention.way):
            continue
        problems.setdefault(_problem(one), {}).setdefault(_tile(one), []).append(one)
    chosen_tiles = []
    for problem, tiles in problems.items():
        expected = {}
        for tile, rows in tiles.items():
            if in_scope(rows):
                expected[tile] = np.median(
                    [predict_time(one.work, _folds()[one.table]).total_us for one in rows]
                )
        if len(tiles) < 2 or not expected:
            continue
        times = {tile: float(np.median([r.time_us for r in rows])) for tile, rows in tiles.items()}
        chosen, best = min(expected, key=expected.get), min(times, key=times.get)
        chosen_tiles.append(
            Choice(
                problem, len(tiles), "-".join(chosen), "-".join(best),
                times[chosen] / times[best] - 1,
            )
        )  # fmt: skip
    return chosen_tiles


def baseline_residuals(kind: str) -> dict[str, list[float]]:
    """Log residuals of what a rate alone says, of the other tables.

    Returns:
        By baseline: ``constant rate``, the class's median; ``nearest row``, that of the published
        kernel most like it.
    """
    rows = [one for one, _ in left_out_residuals(kind)]
    residuals: dict[str, list[float]] = {"constant rate": [], "nearest row": []}
    for one in rows:
        others = [other for other in rows if other.table != one.table]
        rate = float(np.median([other.work.flops / other.time_us for other in others]))
        near = min(others, key=lambda other, one=one: distance(one.work, other.work))
        for name, by in (
            ("constant rate", rate),
            ("nearest row", near.work.flops / near.time_us),
        ):
            residuals[name].append(math.log(one.time_us / (one.work.flops / by)))
    return residuals
