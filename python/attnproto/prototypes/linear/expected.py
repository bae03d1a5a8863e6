"""What counts of linear attention let expect of an M4: ``modelled`` bounds, and its crossover.

No published kernel is like it, so its time has no number. But published kernels of other kinds tell
how far the ratio of two bounds is off that of the times, and so within which lengths linear
attention begins to take less time than causal softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from attnproto.dtypes import BY_NAME
from attnproto.kernels.flash_tile import default_tile
from attnproto.model import Chip, Work
from attnproto.model.beside import is_modelled_chip
from attnproto.model.chip import expected_chip
from attnproto.model.launches import dispatch_works, extrapolated, flash_work, refused_result
from attnproto.model.prediction import TIER
from attnproto.model.time_model import least_time
from attnproto.model.validation import bound_ratio_interval, unlike_times
from attnproto.problem import AttentionProblem
from attnproto.prototypes.rows import Case, Row
from attnproto.results.findings import Effect, Evidence, Finding

from .launches import draw, linear

_UNLIKE = "kernel: found linear attention, published times are of softmax attention"
_STEP = 64


def least_result(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bound of a point's time and why there is no number, as a row holds them."""
    chip = expected_chip()
    return refused_result([_UNLIKE], chip) | {"modelled_least_us": _least_linear(point, chip)}


def crossover_result(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return from which length on linear attention is expected to be faster, as a row holds it.

    In 90 % of published pairs the ratio of times is the ratio of bounds times a factor of an
    interval; so its ends and its median say where the times meet.
    """
    chip = expected_chip()

    def ratio(n: int) -> float:
        sized = {**point, "N": n}
        return _least_linear(sized, chip) / _least_softmax(sized, chip)

    low, middle, high = (_first(lambda n, f=f: f * ratio(n) <= 1) for f in bound_ratio_interval())
    return {
        "modelled_tier": TIER,
        "modelled_chip": chip.name,
        "modelled_crossover": middle,
        "modelled_crossover_low": low,
        "modelled_crossover_high": high,
    }


def expected_crossovers(case: Case) -> list[Finding]:
    """Conclude from which lengths on linear attention is expected to be faster."""
    return [
        _crossover_finding(case, row)
        for row in case.of("crossover")
        if row["status"] == "ok" and "modelled_crossover" in row["result"]
    ]


def _crossover_finding(case: Case, row: Row) -> Finding:
    point, result = row["point"], row["result"]
    middle, low, high = (int(result[f"modelled_crossover{end}"]) for end in ("", "_low", "_high"))
    chip, where = result["modelled_chip"], f"{point['dtype']} D={point['D']}, {point['H']} heads"
    factors, others = bound_ratio_interval(), len(unlike_times())
    return case.expectation(
        topic=f"expected-crossover-{point['dtype']}-D{point['D']}",
        title=f"{where}: linear attention is expected to be faster than softmax from an N of {low} "
        f"to {high} up on an {chip}, modelled",
        content=(
            "Of both kernels only the time that they cannot be faster than is known, from counts. "
            f"Of {others} published kernels for which that is so, beside those that read keys "
            f"directly, the ratio of times was {factors[0]:.2f} to {factors[2]:.2f} times that of "
            f"the bounds in 90 % of pairs, {factors[1]:.2f} in the median, by which the times meet "
            f"at N = {middle}. No published time is of linear attention. Nothing was measured."
        ),
        tags=["linear-attention", "chunkwise", "softmax", "crossover", "prediction"],
        evidence=Evidence(
            kind="performance",
            compared="bounds from counts of linear attention and of causal flash attention",
            regime=f"{where}, chunk {point['chunk']}, no decay, the default flash tile, on an "
            f"{chip}",
            overturned_by="a search on an M4 whose interval does not meet this one",
            rows=(row["key"],),
            effect=Effect(name="expected crossover", value=middle, unit="tokens", low=low,
                          high=high),
            n=others,
            kernel_hash=result["kernel_hash"],
        ),
    )  # fmt: skip


def searched_beside_expected(case: Case, result: Mapping[str, Any]) -> str:
    """Say whether a crossover searched on the model's chip is as expected; nothing elsewhere."""
    if "modelled_crossover" not in result or not is_modelled_chip(case.device.name, result):
        return ""
    low, high = (result[f"modelled_crossover_{end}"] for end in ("low", "high"))
    meets = result["crossover_low"] <= high and low <= result["crossover_high"]
    verdict = "as expected" if meets else "a surprise"
    return f" A model expected an N of {low} to {high} before the run: {verdict}."


def _first(faster: Callable[[int], bool]) -> int:
    """The first multiple of ``_STEP`` where something holds that is taken to hold from there on."""
    held = _STEP
    while not faster(held):  # comes to an end, since softmax's work grows with the square of N
        held *= 2
    failed = held // 2
    while held - failed > _STEP:
        middle = (held + failed) // 2 // _STEP * _STEP
        held, failed = (middle, failed) if faster(middle) else (held, middle)
    return held


def _least_linear(point: Mapping[str, Any], chip: Chip) -> float:
    """Each dispatch waits for the one before it."""
    return sum(least_time(work, chip) for work in linear_works(point))


def _least_softmax(point: Mapping[str, Any], chip: Chip) -> float:
    b, h, n, d, dtype = (point[name] for name in ("B", "H", "N", "D", "dtype"))
    tile = default_tile(n, d, BY_NAME[dtype].numpy)
    return least_time(flash_work(AttentionProblem(b, h, h, n, n, d, dtype, True), tile), chip)


def linear_works(point: Mapping[str, Any]) -> tuple[Work, ...]:
    """Count what each dispatch of linear attention does, from few chunks of one head.

    All heads do the same, and their work is linear in the chunks.

    Args:
        point: A point of the prototype.
    """
    heads = point["B"] * point["H"]
    few, more = (chunks * point["chunk"] for chunks in (2, 4))
    short, long = (_counted(**{**_one_head(point), "N": n}) for n in (few, more))
    steps = (point["N"] - few) / (more - few)
    return tuple(
        replace(
            extrapolated(a, b, steps),
            threadgroups=heads * round(a.threadgroups + steps * (b.threadgroups - a.threadgroups)),
            unique_bytes=heads * (a.unique_bytes + steps * (b.unique_bytes - a.unique_bytes)),
            even=point["N"] % point["chunk"] == 0,
        )
        for a, b in zip(short, long, strict=True)
    )


def _one_head(point: Mapping[str, Any]) -> dict[str, Any]:
    names = ("D", "dtype", "chunk", "decay", "normalize", "state")
    return {"B": 1, "H": 1} | {name: point[name] for name in names}


@cache
def _counted(**point: Any) -> tuple[Work, ...]:
    drawn = draw(point)
    return dispatch_works(linear(point, drawn, np.empty_like(drawn["q"])))
