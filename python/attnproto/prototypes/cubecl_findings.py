"""What rows of the CubeCL prototype allow to conclude; nothing here is about speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..findings import Effect, Evidence, Finding
from .case import Case, Row, keys, right, several, worst

_TAGS = ["cubecl", "code-generation"]


def conclude(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Draw the findings of one device's rows."""
    case = Case(rows)
    if not right(case.of("scores", side="cubecl")):
        return []
    return [*_right(case), *_matrix(case), *_gap(case), *_tiling(case)]


def _versions(rows: Sequence[Row]) -> str:
    return rows[0]["result"]["versions"]


def _regime(rows: Sequence[Row]) -> str:
    row = rows[0]["point"]
    return f"N {row['N']}, D {row['D']}, {several(rows, 'dtype')}"


def _right(case: Case) -> list[Finding]:
    rows = case.of("scores", side="cubecl")
    largest = worst(rows, "worst_ratio")
    return [
        case.finding(
            kinds=["scores"],
            domain="msl-kernels",
            topic="generated-right",
            title="CubeCL's MSL for Q K^T, generated without a Mac, is right against FP64",
            content=(
                f"{_versions(rows)} writes the {len(rows)} kernels (scalar and cmma) on a machine "
                "without Metal, from a kernel definition built by hand. All compile unchanged as "
                f"MSL here and are within tolerance; the worst error is {largest:.2g} of what is "
                "allowed, and nothing past the output is written. Apple's compiler has not seen "
                "them."
            ),
            tags=[*_TAGS, "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="scores of each generated kernel with FP64 products of the same inputs",
                regime=_regime(rows),
                overturned_by="a generated kernel that misses the tolerance or does not compile",
                rows=keys(rows),
                effect=Effect(name="worst error over allowed error", value=largest, unit=""),
                n=len(rows),
            ),
        )
    ]


def _matrix(case: Case) -> list[Finding]:
    rows = case.of("scores", side="cubecl", way="cmma")
    scalar = case.of("scores", side="cubecl", way="scalar")
    if not scalar or any(row["result"]["matrix_operations"] == 0 for row in rows):
        return []
    if any(row["result"]["text_matrix_operations"] for row in scalar):
        return []
    executed = rows[0]["result"]["matrix_operations"]
    return [
        case.finding(
            kinds=["scores"],
            tier="derived",
            domain="simd-wave",
            topic="cmma-is-simdgroup-matrix",
            title="CubeCL's cmma becomes simdgroup_multiply_accumulate, no scalar loop",
            content=(
                f"In {_versions(rows)} a kernel that calls cubecl::cmma comes out with "
                "simdgroup_load, simdgroup_multiply_accumulate and simdgroup_store on 8 x 8 "
                f"tiles; it executes {executed:g} of them for the whole product, the least "
                "there can be. The same product as a plain loop has none: the matrix unit is "
                "the kernel author's choice and not the generator's."
            ),
            tags=[*_TAGS, "simdgroup-matrix"],
            evidence=Evidence(
                kind="count",
                compared="matrix operations in the generated texts and executed by them",
                regime=_regime(rows),
                overturned_by="a version of CubeCL whose cmma emits scalar code for Metal",
                rows=keys([*rows, *scalar]),
                effect=Effect(name="matrix operations", value=executed, unit="operations"),
                n=len(rows) + len(scalar),
            ),
        )
    ]


def _paired(case: Case, columns: int) -> list[tuple[Row, Row]]:
    """CubeCL's cmma kernel and ours of a width, by element type."""
    theirs = {row["point"]["dtype"]: row for row in case.of("scores", way="cmma")}
    ours = case.of("scores", side="hand", columns=columns)
    if not right(ours):
        return []
    return [(theirs[row["point"]["dtype"]], row) for row in ours if row["point"]["dtype"] in theirs]


def _gap(case: Case) -> list[Finding]:
    pairs = _paired(case, 8)
    if not pairs:
        return []
    rows = [row for pair in pairs for row in pair]
    same = ("matrix_operations", "device_load_bytes", "device_store_bytes")
    equal = all(a["result"][name] == b["result"][name] for a, b in pairs for name in same)
    ratio = max(a["result"]["ir_instructions"] / b["result"]["ir_instructions"] for a, b in pairs)
    figures = "; ".join(
        f"{a['point']['dtype']} {a['result']['ir_instructions']} to "
        f"{b['result']['ir_instructions']} instructions"
        for a, b in pairs
    )
    work = (
        "The two execute the same matrix operations and move the same bytes."
        if equal
        else "They differ in matrix operations or bytes moved."
    )
    viable = equal and ratio <= 1.1
    advice = (
        "Recommendation: by its code this version is viable for kernels off the critical path, "
        "tiled by their author; its speed on an M4 is not measured."
        if viable
        else "Recommendation: look at the differing code before using it, on or off the critical "
        "path."
    )
    return [
        case.finding(
            kinds=["scores"],
            tier="derived",
            domain="msl-kernels",
            topic="gap-at-equal-tiles",
            title=f"At equal tiles CubeCL's cmma kernel has {ratio:.2g} times our instructions",
            content=(
                f"Q K^T with one 8 x 8 tile a simdgroup, by {_versions(rows)} and by hand, "
                f"through the same compiler: {figures}. {work} Both have "
                f"the sizes as constants. {advice}"
            ),
            tags=[*_TAGS, "simdgroup-matrix", "instruction-count"],
            evidence=Evidence(
                kind="count",
                compared="instructions of both kernels in the optimised IR of one clang",
                regime=_regime(rows),
                overturned_by="Apple's compiler giving the two machine code of another ratio",
                rows=keys(rows),
                effect=Effect(name="instructions, CubeCL over ours", value=ratio, unit=""),
                n=len(pairs),
            ),
        )
    ]


def _tiling(case: Case) -> list[Finding]:
    pairs = _paired(case, 32)
    if not pairs:
        return []
    rows = [row for pair in pairs for row in pair]
    ratios = [a["result"]["device_load_bytes"] / b["result"]["device_load_bytes"] for a, b in pairs]
    return [
        case.finding(
            kinds=["scores"],
            tier="derived",
            domain="gpu-perf",
            topic="tiling-is-the-authors",
            title=f"One tile a simdgroup loads {min(ratios):.2g} times the bytes of four",
            content=(
                "cmma's matrices are 8 x 8, so a CubeCL kernel with one accumulator reads two "
                "tiles for each product. Ours with four accumulators reads 1.25, for the same "
                f"product: {min(ratios):.2g} times fewer bytes from device memory. CubeCL does not "
                "widen a tile by itself; the author must."
            ),
            tags=[*_TAGS, "tile-size", "memory-traffic"],
            evidence=Evidence(
                kind="count",
                compared="bytes loaded by CubeCL's cmma kernel and by ours with 32 columns",
                regime=_regime(rows),
                overturned_by="a CubeCL that merges neighbouring cmma tiles",
                rows=keys(rows),
                effect=Effect(name="bytes loaded, one over four", value=min(ratios), unit=""),
                n=len(pairs),
            ),
        )
    ]
