"""What rows of the stitch prototype allow to conclude, by rules written out here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnproto.kernels.score_dispatch import WAYS
from attnproto.prototypes.rows import Case, Row, concluding, keys, right, several
from attnproto.results.findings import Effect, Evidence, Finding

_TAGS = ("function-stitching", "dispatch", "score-modification")
LARGEST_OVERHEAD, LARGEST_COMPILE_MS = 0.01, 50.0


def recommend(overhead: float, compile_ms: float) -> str:
    """Apply the specification's rule (AC-2.6).

    Args:
        overhead: Of a stitched function against inline code, as a fraction; where there is an
            interval, its upper end.
        compile_ms: Of one variant by function constants, compiled cold.

    Returns:
        ``stitching`` below 1 % of overhead, else ``function constants`` below 50 ms a variant,
        else ``pre-compiled variants``.
    """
    if overhead < LARGEST_OVERHEAD:
        return "stitching"
    return "function constants" if compile_ms < LARGEST_COMPILE_MS else "pre-compiled variants"


def _sizes(rows: Sequence[Row]) -> str:
    return (
        f"D {several(rows, 'D')}, Nq {several(rows, 'Nq')}, Nkv {several(rows, 'Nkv')}, float32, "
        f"Br {several(rows, 'Br')}, Bc {several(rows, 'Bc')}, "
        f"modifications {several(rows, 'modification')}"
    )


def _ways(rows: Sequence[Row]) -> list[str]:
    """Ways that the device could take in every row."""
    return [way for way in WAYS if all(way in row["result"]["ways"] for row in rows)]


def _bits(case: Case) -> list[Finding]:
    rows = case.of("equal", contract=False)
    if not right(rows):
        return []
    ways = _ways(rows)
    if len(ways) < 2:
        return []
    worst = max(float(row["result"][f"worst_ratio_{way}"]) for row in rows for way in ways)
    return [
        case.finding(
            domain="msl-kernels",
            topic="ways-equal",
            title=f"{len(ways)} ways to choose a score modification give the same bits",
            content=(
                f"{len(rows)} score modifications of flash attention, chosen by "
                f"{', '.join(ways)}, agree to the last bit with contraction off. Against FP64 the "
                "worst error is "
                f"{worst:.2g} of what is allowed, so how to dispatch is a matter of cost alone."
            ),
            tags=[*_TAGS, "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="outputs of the ways with those of inline, and all with FP64",
                regime=_sizes(rows),
                overturned_by="one bit that differs between two ways with contraction off",
                rows=keys(rows),
                effect=Effect(name="worst error over allowed error", value=worst, unit=""),
                n=len(rows) * len(ways),
            ),
        )
    ]


def _rounding(case: Case) -> list[Finding]:
    rows = case.of("equal", contract=True)
    if not right(rows):
        return []
    ways = _ways(rows)
    largest = max(float(row["result"][f"row_ulp_{way}"]) for row in rows for way in ways)
    return [
        case.finding(
            domain="simd-wave",
            topic="ways-ulp",
            title=f"With contraction on the ways stay within {largest:.2g} ULP of inline",
            content=(
                "A call hides multiplications from the additions beside it, so a compiler that "
                "fuses them may round otherwise on its two sides. The largest difference from "
                f"inline is {largest:.2g} ULP of the largest element of a row."
            ),
            tags=[*_TAGS, "ulp", "fma"],
            evidence=Evidence(
                kind="accuracy",
                compared="outputs of the ways with those of inline, contraction on",
                regime=_sizes(rows),
                overturned_by="a compiler that fuses across what it inlines, as Apple's may",
                rows=keys(rows),
                effect=Effect(name="largest difference from inline", value=largest, unit="ULP"),
                n=len(rows) * len(ways),
            ),
        )
    ]


def _code(case: Case) -> tuple[list[Row], dict[str, Any]]:
    rows = case.of("code")
    return rows, dict(rows[0]["result"]) if right(rows) else {}


def _same_code(case: Case) -> list[Finding]:
    rows, result = _code(case)
    same = [way for way in WAYS if way != "inline" and result.get(f"same_{way}")]
    if not same:
        return []
    more = int(result["instructions_argument"]) - int(result["instructions_inline"])
    return [
        case.finding(
            tier="derived",
            domain="metal-compute",
            topic="same-code",
            title=f"{' and '.join(same)} leave the very instructions of inline, under clang",
            content=(
                f"Compiled by clang for the host, the kernel whose modification is chosen by "
                f"{' or '.join(same)} has the same instructions, in the same order, as the one "
                f"with the modification written inline: {result['instructions_inline']} of them. "
                f"A run-time argument leaves {more} more. Where the code is the same there is no "
                "overhead for this compiler; Apple's is another."
            ),
            tags=[*_TAGS, "function-constants", "code-generation"],
            evidence=Evidence(
                kind="count",
                compared="optimised LLVM IR of each way with that of inline, names apart",
                regime=f"{_sizes(rows)}, clang for the host",
                overturned_by="a compiler that does not inline a privately linked function",
                rows=keys(rows),
                effect=Effect(name="further instructions, argument", value=more, unit=""),
                n=1,
                kernel_hash=result["kernel_hash"],
            ),
        )
    ]


def _calls_left(case: Case) -> list[Finding]:
    rows, result = _code(case)
    direct, indirect = result.get("calls_noinline", 0), result.get("indirect_table", 0)
    if not direct or not indirect:
        return []
    others = [way for way in WAYS if way not in ("noinline", "table")]
    if any(result[f"calls_{way}"] or result[f"indirect_{way}"] for way in others):
        return []
    return [
        case.finding(
            tier="derived",
            domain="metal-compute",
            topic="calls-left",
            title="Only a function table and a noinline function leave calls in the key loop",
            content=(
                f"Under clang the table leaves {indirect} indirect and the noinline function "
                f"{direct} direct call sites, each executed for every two scores; inline, "
                "argument, constant and stitched leave none. A stitched private function is "
                "therefore no indirect call, and a cost measured on noinline calls says nothing "
                "about stitching."
            ),
            tags=[*_TAGS, "function-table", "noinline"],
            evidence=Evidence(
                kind="count",
                compared="call sites of the modification that optimisation leaves",
                regime=f"{_sizes(rows)}, clang for the host",
                overturned_by="a compiler that calls a stitched function marked AlwaysInline",
                rows=keys(rows),
                effect=Effect(name="indirect call sites of the table", value=indirect, unit=""),
                n=1,
                kernel_hash=result["kernel_hash"],
            ),
        )
    ]


def _measured(case: Case) -> list[Row]:
    if case.tier != "measured":
        return []
    return [row for row in case.of("cost") if row["status"] == "ok" and "ratio" in row["result"]]


def _costs(case: Case) -> list[Finding]:
    findings = []
    for row in _measured(case):
        result, point = row["result"], row["point"]
        after = result["break_even_dispatches"]
        paid = (
            "Compiling the modification inline never pays off against it"
            if after is None
            else f"Compiling it inline instead has paid off after {after:.3g} dispatches"
        )
        percent = 100.0 * (result["ratio"] - 1.0)
        findings.append(
            case.finding(
                domain="gpu-perf",
                topic=f"cost-{point['way']}-{point['modification']}",
                title=(
                    f"{point['way']} takes {percent:+.2g} % against inline for "
                    f"{point['modification']}, {result['ns_per_call']:.3g} ns a call"
                ),
                content=(
                    f"Chosen by {point['way']}, the modification {point['modification']} takes "
                    f"{result['ratio']:.4g} of the time of inline code "
                    f"({result['verdict']} at a margin of 1 %), {result['ns_per_call']:.3g} ns "
                    f"({result['ns_per_call_low']:.3g} to {result['ns_per_call_high']:.3g}) of the "
                    f"dispatch for each of {result['calls']} calls. {paid}."
                ),
                tags=[*_TAGS, point["way"]],
                evidence=Evidence(
                    kind="performance",
                    compared="times in A-B-B-A blocks, the way against inline",
                    regime=_sizes([row]),
                    overturned_by="a paired run whose interval excludes this ratio",
                    rows=(row["key"],),
                    effect=Effect(
                        name="time over that of inline",
                        value=result["ratio"],
                        unit="",
                        low=result["ratio_low"],
                        high=result["ratio_high"],
                    ),
                    n=result["blocks"],
                    cv=result["cv"],
                    kernel_hash=result["kernel_hash"],
                ),
            )
        )
    return findings


def _recommendation(case: Case) -> list[Finding]:
    """By measured numbers where there are any; otherwise only where the code itself decides."""
    rows = _measured(case)
    stitched = [row for row in rows if row["point"]["way"] == "stitched"]
    constant = [row for row in rows if row["point"]["way"] == "constant"]
    where = f"on {case.device.name} ({case.device.kind})"
    if stitched and constant:
        worst = max(stitched, key=lambda row: row["result"]["ratio_high"])
        overhead = worst["result"]["ratio_high"] - 1.0
        compile_ms = max(row["result"]["compile_way_us"] for row in constant) / 1e3
        chosen = recommend(overhead, compile_ms)
        said = (
            f"the overhead of stitching is at most {100 * overhead:.2g} % and a variant by "
            f"function constants takes {compile_ms:.3g} ms to compile cold"
        )
        parts: dict[str, Any] = {"kind": "performance", "cv": worst["result"]["cv"]}
        parts["n"] = worst["result"]["blocks"]
        tier, evidence = None, [*stitched, *constant]
    else:
        evidence, result = _code(case)
        if case.tier == "measured" or not result.get("same_stitched"):
            return []
        overhead, chosen = 0.0, recommend(0.0, 0.0)
        said = "stitched code is that of inline code, instruction by instruction"
        parts, tier = {"kind": "count", "n": 1}, "derived"
    return [
        case.finding(
            tier=tier,
            domain="metal-compute",
            topic="recommendation",
            title=f"The dispatch rule recommends {chosen} {where}",
            content=(
                f"The rule: stitching if its overhead is below 1 %, function constants if a "
                f"variant compiles in less than 50 ms, else variants compiled ahead. Here {said}; "
                f"so {chosen}. This holds {where} and its compiler, and for no other."
            ),
            tags=[*_TAGS, "recommendation"],
            evidence=Evidence(
                compared="overhead of stitching and compile time with the limits of the rule",
                regime=_sizes(evidence),
                overturned_by="numbers on the target that fall on the other side of a limit",
                rows=keys(evidence),
                effect=Effect(name="overhead of stitching", value=overhead, unit="fraction"),
                **parts,
            ),
        )
    ]


conclude = concluding(_bits, _rounding, _same_code, _calls_left, _costs, _recommendation)
