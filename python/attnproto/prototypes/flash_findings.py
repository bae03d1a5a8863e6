"""What rows of the flash prototype allow to conclude, by rules written out here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..findings import Device, Effect, Evidence, Finding, make_finding
from ..published import mark_to_reach

Row = Mapping[str, Any]
_LIMIT_BYTES = 32768
_COUNTED = ("matrix_ops", "shuffles", "exp2", "float_ops", "conversions", "threadgroup_loads")


def conclude(rows: Sequence[Row]) -> list[Finding]:
    """Draw findings from the rows of one device.

    A rule whose rows are missing, or hold a result that is not right, says nothing.

    Args:
        rows: Rows of this prototype on one device.

    Returns:
        Findings; none about speed unless the device's times are measured.
    """
    if not rows:
        return []
    rules: tuple[Callable[[_Case], list[Finding]], ...] = (
        _tiles_are_right,
        _lengths_are_right,
        _masks_are_right,
        _large_scores,
        _errors,
        _budget,
        _budget_law,
        _counts,
        _rates,
    )
    case = _Case(rows)
    return [finding for rule in rules for finding in rule(case)]


class _Case:
    """The rows of one device, and the parts that all findings on them share."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        device = rows[0]["device"]
        self.device = Device(kind=device["kind"], name=device["name"])
        self.tier = device["tier"]
        self.mode = rows[0]["mode"]

    def of(self, *kinds: str, **values: Any) -> list[Row]:
        return [
            row
            for row in self.rows
            if row["point"].get("kind") in kinds
            and all(row["point"].get(name) == value for name, value in values.items())
        ]

    def finding(self, *, kinds: Sequence[str], tier: str | None = None, **parts: Any) -> Finding:
        conditions = " or ".join(f"kind == '{kind}'" for kind in kinds)
        replay = (
            f"attnproto run --only flash --device {self.device.kind} --{self.mode} "
            f"--where {shlex.quote(conditions)}"
        )
        return make_finding(
            tier=tier or self.tier,
            device=self.device,
            proto="flash",
            replay=replay,
            **parts,
        )


def _right(rows: Sequence[Row]) -> bool:
    return bool(rows) and all(row["status"] == "ok" for row in rows)


def _keys(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row["key"] for row in rows)


def _worst(rows: Sequence[Row], name: str) -> float:
    return max(float(row["result"][name]) for row in rows)


def _several(rows: Sequence[Row], name: str) -> str:
    values = sorted({row["point"][name] for row in rows})
    return ", ".join(str(value) for value in values)


def _tiles_are_right(case: _Case) -> list[Finding]:
    rows = case.of("tile")
    if not _right(rows):
        return []
    dtypes = _several(rows, "dtype")
    worst = _worst(rows, "worst_ratio")
    return [
        case.finding(
            kinds=["tile"],
            domain="msl-kernels",
            topic="tiles-right",
            title=f"All {len(rows)} flash tile configurations agree with FP64",
            content=(
                f"One kernel template, instantiated for Br {_several(rows, 'Br')}, Bc "
                f"{_several(rows, 'Bc')}, D {_several(rows, 'D')} in {dtypes}, gives outputs "
                f"within the specified tolerances in all {len(rows)} configurations; the worst "
                f"error is {worst:.2g} of what is allowed, and nothing past the output is written."
            ),
            tags=["flash-attention", "simdgroup-matrix", "tile-size", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="the kernel's output with FP64 softmax attention of the same inputs",
                regime=f"{_regime(rows)}, two query heads on one key head, seeded normal inputs",
                overturned_by=(
                    "a configuration or seed whose error exceeds atol + rtol |expected|, or an "
                    "Apple GPU whose simdgroup_matrix or exp2 rounds differently enough to"
                ),
                rows=_keys(rows),
                effect=Effect(name="worst error over allowed error", value=worst, unit=""),
                n=len(rows),
                kernel_hash=None,
            ),
        )
    ]


def _regime(rows: Sequence[Row]) -> str:
    return (
        f"D {_several(rows, 'D')}, Nq {_several(rows, 'Nq')}, Nkv {_several(rows, 'Nkv')}, "
        f"{_several(rows, 'dtype')}"
    )


def _lengths_are_right(case: _Case) -> list[Finding]:
    rows = case.of("length", "dimension", "group")
    if not _right(rows):
        return []
    worst = _worst(rows, "worst_ratio")
    return [
        case.finding(
            kinds=["length", "dimension", "group"],
            domain="msl-kernels",
            topic="ragged-right",
            title="Ragged lengths, head dimensions off the powers of two and GQA need no padding",
            content=(
                "The tail variant of the flash kernel, with clamped rows and 8-key steps, is "
                "right for lengths that no tile divides, for head dimensions that are any "
                "multiple of 8, and for four query heads on a key head read by index; the worst "
                f"error is {worst:.2g} of what is allowed."
            ),
            tags=["flash-attention", "ragged", "gqa", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="the kernel's output with FP64 softmax attention of the same inputs",
                regime=_regime(rows),
                overturned_by="a length, dimension or head grouping whose error exceeds tolerance",
                rows=_keys(rows),
                effect=Effect(name="worst error over allowed error", value=worst, unit=""),
                n=len(rows),
            ),
        )
    ]


def _masks_are_right(case: _Case) -> list[Finding]:
    rows = case.of("mask")
    blind = [row for row in rows if row["result"].get("blind_rows")]
    zero = all(row["result"]["blind_rows_are_zero"] for row in blind)
    if not _right(rows) or not blind or not zero:
        return []
    hidden = sum(int(row["result"]["blind_rows"]) for row in blind)
    return [
        case.finding(
            kinds=["mask"],
            domain="msl-kernels",
            topic="masked-rows",
            title="Rows that a causal mask hides entirely come out as zero, not NaN",
            content=(
                f"With more queries than keys the first Nq - Nkv rows see nothing. All {hidden} "
                "such rows are exactly 0: the running maximum starts at the finite -1e30 and "
                "masked scores are -1e38, so no infinity is ever subtracted from another. Other "
                "causal shapes are within tolerance."
            ),
            tags=["flash-attention", "causal", "numerics", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="rows without a visible key with exact zero, other rows with FP64",
                regime=_regime(rows),
                overturned_by="a fully masked row that holds anything but 0",
                rows=_keys(rows),
                effect=Effect(name="masked rows found zero", value=hidden, unit="rows"),
                n=len(rows),
            ),
        )
    ]


def _large_scores(case: _Case) -> list[Finding]:
    rows = case.of("scores")
    if not _right(rows):
        return []
    worst = _worst(rows, "max_abs_error")
    return [
        case.finding(
            kinds=["scores"],
            domain="msl-kernels",
            topic="large-scores",
            title="Scores near 1e4 stay finite and within the error of FP32 score sums",
            content=(
                "With query and key deviations of 45 the scores reach about 1e4, where softmax "
                "is close to a choice of one key. Every output is finite and within the bound "
                f"that FP32 score sums imply; the largest absolute error is {worst:.2g}."
            ),
            tags=["flash-attention", "numerics", "overflow", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="the kernel's output with FP64, allowing the a priori FP32 score error",
                regime=f"{_regime(rows)}, scores to about 1e4",
                overturned_by="a non-finite output, or an error above that bound",
                rows=_keys(rows),
                effect=Effect(name="largest absolute error", value=worst, unit=""),
                n=len(rows),
            ),
        )
    ]


def _errors(case: _Case) -> list[Finding]:
    found = []
    for dtype in ("f16", "bf16", "f32"):
        rows = [
            row
            for row in case.of("length", dtype=dtype)
            if row["status"] == "ok" and row["point"]["Nkv"] >= 63
        ]
        if not rows or not _right(case.of("length", dtype=dtype)):
            continue
        p99, worst = _worst(rows, "p99_ulp"), _worst(rows, "max_ulp")
        median, scaled = _worst(rows, "median_ulp"), _worst(rows, "max_row_ulp")
        found.append(
            case.finding(
                kinds=["length"],
                domain="simd-wave",
                topic=f"ulp-{dtype}",
                title=f"Flash attention in {dtype} is within {scaled:.3g} ULP of its row of FP64",
                content=(
                    f"In {dtype}, with FP32 scores, softmax and sums, no output is further from "
                    f"the FP64 truth than {scaled:.3g} ULP of the largest element of its row. In "
                    f"its own ULP, half of the elements are within {median:.2g}, 99 % within "
                    f"{p99:.3g} and all within {worst:.3g}: those far off are near zero, where a "
                    "ULP is small. Correct rounding gives 0.5."
                ),
                tags=["flash-attention", "ulp", "accuracy", dtype],
                evidence=Evidence(
                    kind="accuracy",
                    compared="each output element with the unrounded FP64 result",
                    regime=f"{_regime(rows)}, seeded normal inputs",
                    overturned_by=(
                        "a GPU whose fast exp2 or matrix unit rounds worse than the emulation, "
                        "or inputs with larger scores"
                    ),
                    rows=_keys(rows),
                    effect=Effect(
                        name="largest error in ULP of its row's largest element",
                        value=scaled,
                        unit="ULP",
                    ),
                    n=len(rows),
                ),
            )
        )
    return found


def _budget(case: _Case) -> list[Finding]:
    rows = case.of("tile")
    if not _right(rows):
        return []
    largest = int(_worst(rows, "threadgroup_bytes"))
    if largest > _LIMIT_BYTES:
        return []
    full = [row for row in rows if row["result"]["threadgroup_bytes"] == _LIMIT_BYTES]
    moved = sorted(
        {
            f"{row['point']['dtype']} Br {row['point']['Br']} D {row['point']['D']}"
            for row in rows
            if row["result"]["query_place"] == "device"
        }
    )
    exception = f" Q is read from device memory for {', '.join(moved)}." if moved else ""
    return [
        case.finding(
            kinds=["tile"],
            tier="derived",
            domain="gpu-perf",
            topic="threadgroup-budget",
            title=f"All {len(rows)} flash tiles fit 32 KB of threadgroup memory",
            content=(
                f"Read from the compiled pipelines, the largest of {len(rows)} configurations "
                f"uses {largest} of {_LIMIT_BYTES} bytes; {len(full)} use exactly all of it and "
                f"leave nothing for anything else.{exception}"
            ),
            tags=["flash-attention", "threadgroup-memory", "tile-size", "budget"],
            evidence=Evidence(
                kind="budget",
                compared="static threadgroup bytes of each pipeline with the limit of 32768",
                regime=f"Br {_several(rows, 'Br')}, Bc {_several(rows, 'Bc')}, {_regime(rows)}",
                overturned_by="a pipeline of these geometries that reports other bytes on Metal",
                rows=_keys(rows),
                effect=Effect(name="largest threadgroup memory", value=largest, unit="bytes"),
                n=len(rows),
            ),
        )
    ]


def _budget_law(case: _Case) -> list[Finding]:
    rows = [row for row in case.of("tile") if row["result"].get("query_place") == "threadgroup"]
    size = {"f16": 2, "f32": 4}
    follows = all(
        row["result"]["threadgroup_bytes"]
        == row["point"]["Br"] * row["point"]["D"] * size[row["point"]["dtype"]]
        for row in rows
        if row["status"] == "ok"
    )
    if not _right(rows) or not follows or len({row["point"]["Bc"] for row in rows}) < 2:
        return []
    return [
        case.finding(
            kinds=["tile"],
            tier="derived",
            domain="gpu-perf",
            topic="budget-law",
            title="Threadgroup memory of the flash kernel is Br x D elements, whatever Bc is",
            content=(
                "Only Q lies in threadgroup memory; K, V, S and O do not. So the bytes are Br x D "
                "x the element size: doubling the key block costs registers, not threadgroup "
                "memory, and Br and D alone decide whether a tile fits."
            ),
            tags=["flash-attention", "threadgroup-memory", "tile-size", "budget"],
            evidence=Evidence(
                kind="budget",
                compared="static threadgroup bytes with Br x D x element size",
                regime=f"Br {_several(rows, 'Br')}, Bc {_several(rows, 'Bc')}, {_regime(rows)}, "
                "Q in threadgroup memory",
                overturned_by="a pipeline whose bytes differ from the product",
                rows=_keys(rows),
                effect=Effect(name="difference from Br x D x size", value=0.0, unit="bytes"),
                n=len(rows),
            ),
        )
    ]


def _counts(case: _Case) -> list[Finding]:
    found = []
    for row in case.of("count"):
        result, point = row["result"], row["point"]
        if row["status"] != "ok" or "matrix_ops" not in result:
            continue
        d, dtype = point["D"], point["dtype"]
        least = 2 * 8 * (d // 8)
        said = ", ".join(
            f"{result[name]:g} {name.replace('_', ' ')}" for name in _COUNTED if name in result
        )
        found.append(
            case.finding(
                kinds=["count"],
                tier="derived",
                domain="simd-wave",
                topic=f"counts-{dtype}-D{d}",
                title=(
                    f"Per 8 rows x 64 keys, {dtype} D={d} flash attention takes "
                    f"{result['matrix_ops']:g} matrix operations"
                ),
                content=(
                    f"Counted exactly, per lane: {said}. The two products need at least {least} "
                    "8x8x8 matrix operations. A count is what the kernel asks of the GPU, not how "
                    "fast the GPU does it."
                ),
                tags=["flash-attention", "operation-count", "simdgroup-matrix", dtype],
                evidence=Evidence(
                    kind="count",
                    compared=f"operations counted with the minimum of {least} matrix operations",
                    regime=f"one simdgroup, 8 query rows, 64 keys, D={d}, {dtype}, no mask",
                    overturned_by="another count of the same kernel text",
                    rows=(row["key"],),
                    effect=Effect(
                        name="matrix operations", value=float(result["matrix_ops"]), unit="per lane"
                    ),
                    n=1,
                    kernel_hash=result.get("kernel_hash"),
                ),
            )
        )
    return found


def _rates(case: _Case) -> list[Finding]:
    """Name the fastest tile of each dtype and D at the longest length, where times count."""
    if case.tier != "measured":
        return []
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in case.of("time"):
        if row["status"] == "ok" and "time_us" in row["result"]:
            groups.setdefault((row["point"]["dtype"], row["point"]["D"]), []).append(row)
    found = []
    for (dtype, d), rows in sorted(groups.items()):
        longest = max(row["point"]["Nkv"] for row in rows)
        rows = [row for row in rows if row["point"]["Nkv"] == longest]
        found.append(_fastest(case, dtype, d, longest, rows))
    return found


def _rate(row: Row, name: str = "time_us") -> float:
    return float(row["result"]["flops"]) / float(row["result"][name]) / 1e6


def _fastest(case: _Case, dtype: str, d: int, n: int, rows: list[Row]) -> Finding:
    best = max(rows, key=_rate)
    result = best["result"]
    tied = [
        row
        for row in rows
        if row is not best and row["result"]["time_low_us"] <= result["time_high_us"]
    ]
    name = f"{best['point']['Br']}x{best['point']['Bc']}"
    others = ", ".join(f"{row['point']['Br']}x{row['point']['Bc']}" for row in tied)
    beside = f" Undecided against it: {others}." if tied else ""
    mark = mark_to_reach(dtype, d, n) if case.device.is_m4 else None
    against = ""
    if mark is not None and mark.tflops:
        against = (
            f" That is {_rate(best) / mark.tflops:.2f} of the {mark.tflops:.2f} TFLOP/s that "
            f"{mark.source} published for M4."
        )
    return case.finding(
        kinds=["time"],
        domain="gpu-perf",
        topic=f"rate-{dtype}-D{d}",
        title=f"{dtype} D={d} N={n}: tile {name} reaches {_rate(best):.3g} TFLOP/s "
        f"on {case.device.name}",
        content=(
            f"Of {len(rows)} tiles, {name} is the fastest at {_rate(best):.3g} TFLOP/s "
            f"(4 N N D FLOP a head, softmax not counted).{beside}{against}"
        ),
        tags=["flash-attention", "throughput", "tile-size", dtype],
        evidence=Evidence(
            kind="performance",
            compared="median GPU times of the tiles, 95 % intervals",
            regime=f"one head, Nq = Nkv = {n}, D={d}, {dtype}, no mask",
            overturned_by="a tile outside the list, or a run whose interval excludes this one",
            rows=(best["key"], *_keys(tied)),
            effect=Effect(
                name="throughput",
                value=_rate(best),
                unit="TFLOP/s",
                low=_rate(best, "time_high_us"),
                high=_rate(best, "time_low_us"),
            ),
            n=len(result["samples_us"]),
            cv=float(result["cv"]),
            kernel_hash=result["kernel_hash"],
        ),
    )
