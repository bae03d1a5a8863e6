"""What rows of the flash prototype allow to conclude, by rules written out here."""

from __future__ import annotations

from attnproto.prototypes.rows import Case, concluding, keys, regime, right, several, worst
from attnproto.results.findings import Effect, Evidence, Finding

from .cost_findings import LEAST_TILES, budget, budget_law, counts, pairs, rates
from .expected_findings import expectations
from .tuning import tuned


def _tiles_are_right(case: Case) -> list[Finding]:
    rows = case.of("tile")
    if not right(rows) or len(rows) < LEAST_TILES:
        return []
    dtypes = several(rows, "dtype")
    largest = worst(rows, "worst_ratio")
    return [
        case.finding(
            domain="msl-kernels",
            topic="tiles-right",
            title=f"All {len(rows)} flash tile configurations agree with FP64",
            content=(
                f"One kernel template, instantiated for Br {several(rows, 'Br')}, Bc "
                f"{several(rows, 'Bc')}, D {several(rows, 'D')} in {dtypes}, gives outputs "
                f"within the specified tolerances in all {len(rows)} configurations; the worst "
                f"error is {largest:.2g} of what is allowed. Nothing past the output is written."
            ),
            tags=["flash-attention", "simdgroup-matrix", "tile-size", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="the kernel's output with FP64 softmax attention of the same inputs",
                regime=f"{regime(rows)}, two query heads on one key head, seeded normal inputs",
                overturned_by=(
                    "a configuration or seed whose error exceeds atol + rtol |expected|, or an "
                    "Apple GPU whose simdgroup_matrix or exp2 rounds differently enough to"
                ),
                rows=keys(rows),
                effect=Effect(name="worst error over allowed error", value=largest, unit=""),
                n=len(rows),
                kernel_hash=None,
            ),
        )
    ]


def _lengths_are_right(case: Case) -> list[Finding]:
    rows = case.of("length", "dimension", "group")
    if not right(rows):
        return []
    largest = worst(rows, "worst_ratio")
    return [
        case.finding(
            domain="msl-kernels",
            topic="ragged-right",
            title="Ragged lengths, head dimensions off the powers of two and GQA need no padding",
            content=(
                "The tail variant of the flash kernel, with clamped rows and 8-key steps, is "
                "right for lengths that no tile divides, for head dimensions that are any "
                "multiple of 8, and for four query heads on a key head read by index; the worst "
                f"error is {largest:.2g} of what is allowed."
            ),
            tags=["flash-attention", "ragged", "gqa", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="the kernel's output with FP64 softmax attention of the same inputs",
                regime=regime(rows),
                overturned_by="a length, dimension or head grouping whose error exceeds tolerance",
                rows=keys(rows),
                effect=Effect(name="worst error over allowed error", value=largest, unit=""),
                n=len(rows),
            ),
        )
    ]


def _masks_are_right(case: Case) -> list[Finding]:
    rows = case.of("mask")
    blind = [row for row in rows if row["result"].get("blind_rows")]
    zero = all(row["result"]["blind_rows_are_zero"] for row in blind)
    if not right(rows) or not blind or not zero:
        return []
    hidden = sum(int(row["result"]["blind_rows"]) for row in blind)
    return [
        case.finding(
            domain="msl-kernels",
            topic="masked-rows",
            title="Rows that a causal mask hides entirely come out as zero, not NaN",
            content=(
                f"With more queries than keys the first Nq - Nkv rows see nothing. All {hidden} "
                "such rows are exactly 0: masked scores are minus infinity and the running maximum "
                "starts at the lowest finite float, so no infinity is subtracted from another. "
                "Other causal shapes are within tolerance."
            ),
            tags=["flash-attention", "causal", "numerics", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="rows without a visible key with exact zero, other rows with FP64",
                regime=regime(rows),
                overturned_by="a fully masked row that holds anything but 0",
                rows=keys(rows),
                effect=Effect(name="masked rows found zero", value=hidden, unit="rows"),
                n=len(rows),
            ),
        )
    ]


def _large_scores(case: Case) -> list[Finding]:
    rows = case.of("scores")
    if not right(rows):
        return []
    largest = worst(rows, "max_abs_error")
    return [
        case.finding(
            domain="msl-kernels",
            topic="large-scores",
            title="Scores near 1e4 stay finite and within the error of FP32 score sums",
            content=(
                "With query and key deviations of 45 the scores reach about 1e4, where softmax "
                "is close to a choice of one key. Every output is finite and within the bound "
                f"that FP32 score sums imply; the largest absolute error is {largest:.2g}."
            ),
            tags=["flash-attention", "numerics", "overflow", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="the kernel's output with FP64, allowing the a priori FP32 score error",
                regime=f"{regime(rows)}, scores to about 1e4",
                overturned_by="a non-finite output, or an error above that bound",
                rows=keys(rows),
                effect=Effect(name="largest absolute error", value=largest, unit=""),
                n=len(rows),
            ),
        )
    ]


def _errors(case: Case) -> list[Finding]:
    findings = []
    for dtype in ("f16", "bf16", "f32"):
        rows = [
            row
            for row in case.of("length", dtype=dtype)
            if row["status"] == "ok" and row["point"]["Nkv"] >= 63
        ]
        if not rows or not right(case.of("length", dtype=dtype)):
            continue
        p99, largest = worst(rows, "p99_ulp"), worst(rows, "max_ulp")
        median, scaled = worst(rows, "median_ulp"), worst(rows, "max_row_ulp")
        findings.append(
            case.finding(
                domain="simd-wave",
                topic=f"ulp-{dtype}",
                title=f"Flash attention in {dtype} is within {scaled:.3g} ULP of its row of FP64",
                content=(
                    f"In {dtype}, with FP32 scores, softmax and sums, no output is further from "
                    f"the FP64 truth than {scaled:.3g} ULP of the largest element of its row. In "
                    f"its own ULP, half of the elements are within {median:.2g}, 99 % within "
                    f"{p99:.3g} and all within {largest:.3g}: those far off are near zero, where a "
                    "ULP is small. Correct rounding gives 0.5."
                ),
                tags=["flash-attention", "ulp", "accuracy", dtype],
                evidence=Evidence(
                    kind="accuracy",
                    compared="each output element with the unrounded FP64 result",
                    regime=f"{regime(rows)}, seeded normal inputs",
                    overturned_by=(
                        "a GPU whose fast exp2 or matrix unit rounds worse than the emulation, "
                        "or inputs with larger scores"
                    ),
                    rows=keys(rows),
                    effect=Effect(
                        name="largest error in ULP of its row's largest element",
                        value=scaled,
                        unit="ULP",
                    ),
                    n=len(rows),
                ),
            )
        )
    return findings


conclude = concluding(
    _tiles_are_right,
    _lengths_are_right,
    _masks_are_right,
    _large_scores,
    _errors,
    budget,
    budget_law,
    counts,
    rates,
    pairs,
    tuned,
    expectations,
)
