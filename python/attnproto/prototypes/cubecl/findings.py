"""What rows of the CubeCL prototype allow to conclude; about speed only where it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnproto.measure.static_counts import NVIDIA_ARCHITECTURE
from attnproto.prototypes.pair_findings import pair_finding, weighed
from attnproto.prototypes.rows import Case, Row, concluding, keys, right, several, worst
from attnproto.results.findings import Effect, Evidence, Finding

from .kernels import MENDS, THEIRS
from .viability import beside, generated, ratios, verdicts

_TAGS = ("cubecl", "code-generation")
_MATRIX = ("cmma", "cubek", "flash")
_TRANSLATED = ("scalar-wgsl", "unit-wgsl")


def _regime(rows: Sequence[Row]) -> str:
    return f"N {several(rows, 'N')}, D {several(rows, 'D')}, {several(rows, 'dtype')}"


def _versions(rows: Sequence[Row]) -> str:
    return ", ".join(
        dict.fromkeys(one for row in rows for one in row["result"]["versions"].split(", "))
    )


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def _counted(
    case: Case, rows: Sequence[Row], effect: tuple[str, float, str], *tags: str, **parts: Any
) -> Finding:
    """A finding on counts, which are the same on any device."""
    name, value, unit = effect
    return case.finding(
        tier="derived",
        tags=[*_TAGS, *tags],
        evidence=Evidence(
            kind="count",
            compared=parts.pop("compared"),
            regime=_regime(rows),
            overturned_by=parts.pop("overturned_by"),
            rows=keys(rows),
            effect=Effect(name=name, value=value, unit=unit),
            n=len(rows),
        ),
        **parts,
    )


def _right(case: Case) -> list[Finding]:
    rows = [row for row in generated(case, "scalar", "cmma", *_TRANSLATED)]
    if not right(rows) or any(row["result"]["as_generated"] != "right" for row in rows):
        return []
    largest = worst(rows, "worst_ratio")
    return [
        case.finding(
            domain="msl-kernels",
            topic="generated-right",
            title="CubeCL's MSL for Q K^T, generated without a Mac, is right against FP64",
            content=(
                f"{_versions(rows)} write {len(rows)} kernels for Q K^T (scalar, cmma, and over "
                "WGSL) on a machine without Metal: a runtime without a device takes their "
                "launches. All compile unchanged as MSL here and are within tolerance; the worst "
                f"error is {largest:.2g} of what is allowed, and nothing past the output is "
                "written."
            ),
            tags=[*_TAGS, "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="output of each generated kernel with FP64 products of the same inputs",
                regime=_regime(rows),
                overturned_by="a generated kernel that misses the tolerance or does not compile",
                rows=keys(rows),
                effect=Effect(name="worst error over allowed error", value=largest, unit=""),
                n=len(rows),
            ),
        )
    ]


def _undefined(case: Case) -> list[Finding]:
    rows = [row for row in generated(case, "cubek", "flash") if row["result"]["mends"]]
    if not right(rows):
        return []
    wrong = [row for row in rows if row["result"]["as_generated"] != "right"]
    faults = [mend for mend in MENDS if any(mend.name in row["result"]["mends"] for row in rows)]
    products = [row["result"] for row in rows if row["point"]["name"] == "cubek"]
    left = [result["as_generated_ir_matrix_operations"] for result in products]
    lost = (
        f" Optimisation by clang leaves {max(left)} of the "
        f"{max(r['ir_matrix_operations'] for r in products)} matrix operations of the product."
        if left
        else ""
    )
    return [
        case.finding(
            domain="msl-kernels",
            topic="generated-undefined",
            title=(
                f"{len(wrong)} of {len(rows)} of cubek's cmma kernels are wrong as generated, "
                "right when mended"
                if wrong
                else f"{len(rows)} of cubek's cmma kernels rest on what MSL leaves undefined, and "
                f"are right on {case.device.kind} all the same"
            ),
            content=(
                f"The texts of {_versions(rows)} rest on what MSL leaves undefined: "
                f"{'; '.join(mend.why for mend in faults)}.{lost} With these mended and nothing "
                f"else, all {len(rows)} agree with FP64, the worst error "
                f"{worst(rows, 'worst_ratio'):.2g} of what is allowed. Whether Apple's "
                "compiler forgives this only a Mac tells."
            ),
            tags=[*_TAGS, "undefined-behaviour", "simdgroup-matrix"],
            evidence=Evidence(
                kind="correctness",
                compared="each text as generated, and mended, with FP64",
                regime=_regime(rows),
                overturned_by="Apple's compiler giving right results for the texts as generated",
                rows=keys(rows),
                effect=Effect(name="texts wrong as generated", value=len(wrong), unit="texts"),
                n=len(rows),
            ),
        )
    ]


def _refused(case: Case) -> list[Finding]:
    rows = [row for row in case.of("kernel") if "refused" in row["result"]]
    if not right(rows):
        return []
    asked = len([row for row in case.of("kernel") if row["point"]["name"] in THEIRS])
    reasons: dict[str, set[str]] = {}
    for row in rows:
        reasons.setdefault(row["point"]["name"], set()).add(row["result"]["refused"].strip()[:110])
    said = "; ".join(f"{name}: {' / '.join(sorted(why))}" for name, why in sorted(reasons.items()))
    return [
        _counted(
            case,
            rows,
            ("kernels refused", len(rows), "kernels"),
            "limits",
            domain="msl-kernels",
            topic="generator-refuses",
            title=f"CubeCL refuses {len(rows)} of {asked} kernels: {', '.join(sorted(reasons))}",
            content=f"{_versions(rows)} refuse what they are asked for. {said}.",
            compared="what was asked of the generator with what it wrote",
            overturned_by="a version that generates one of them",
        )
    ]


def _matrix(case: Case) -> list[Finding]:
    rows, scalar = generated(case, *_MATRIX), generated(case, "scalar", *_TRANSLATED)
    if not right(rows) or not right(scalar):
        return []
    if not all(row["result"]["matrix_operations"] for row in rows):
        return []
    if any(row["result"]["matrix_operations"] for row in scalar):
        return []
    executed = rows[0]["result"]["matrix_operations"]
    return [
        _counted(
            case,
            [*rows, *scalar],
            ("matrix operations", executed, "operations"),
            "simdgroup-matrix",
            domain="simd-wave",
            topic="cmma-is-simdgroup-matrix",
            title="CubeCL's cmma becomes simdgroup_multiply_accumulate, no scalar loop",
            content=(
                f"In {_versions(rows)} what calls cubecl::cmma, cubek's matmul and attention too, "
                "comes out with simdgroup_load, simdgroup_multiply_accumulate and simdgroup_store "
                f"on 8 x 8 tiles; the product of N {rows[0]['point']['N']} executes {executed:g} "
                "of them, the least there can be. A plain loop has none, nor has anything that "
                f"goes over WGSL and naga ({_versions(generated(case, *_TRANSLATED))})."
            ),
            compared="matrix operations executed by each generated kernel",
            overturned_by="a version of CubeCL whose cmma emits scalar code for Metal",
        )
    ]


def _gap(case: Case) -> list[Finding]:
    pairs = beside(case, "cmma", "hand8")
    if not pairs:
        return []
    rows = [row for pair in pairs for row in pair]
    ratio = ratios(pairs, "ir_instructions")
    return [
        _counted(
            case,
            rows,
            ("instructions, CubeCL over ours", max(ratio), ""),
            "instruction-count",
            domain="msl-kernels",
            topic="gap-at-equal-tiles",
            title=f"At equal tiles CubeCL's cmma kernel has {_span(ratio)} times our instructions",
            content=(
                f"Q K^T with one 8 x 8 tile a simdgroup, by {_versions([a for a, _ in pairs])} and "
                f"by hand, through the same clang: {_span(ratio)} times the instructions, "
                f"{_span(ratios(pairs, 'matrix_operations'))} times the matrix operations, "
                f"{_span(ratios(pairs, 'device_load_bytes'))} times the bytes loaded. Both have "
                "the sizes as constants."
            ),
            compared="instructions of both kernels in the optimised IR of one clang",
            overturned_by="Apple's compiler giving the two machine code of another ratio",
        )
    ]


def _tiling(case: Case) -> list[Finding]:
    pairs, library = beside(case, "cmma", "hand32"), beside(case, "cubek", "hand32")
    if not pairs or not library:
        return []
    rows = [row for pair in [*pairs, *library] for row in pair]
    loaded = ratios(pairs, "device_load_bytes")
    return [
        _counted(
            case,
            rows,
            ("bytes loaded, one tile over four", min(loaded), ""),
            "tile-size",
            "memory-traffic",
            domain="gpu-perf",
            topic="tiling-is-the-authors",
            title=f"One tile a simdgroup loads {min(loaded):.2g} times the bytes of four",
            content=(
                "cmma's matrices are 8 x 8, so a CubeCL kernel with one accumulator reads two "
                "tiles for each product; ours with four reads 1.25, "
                f"{_span(loaded)} times fewer bytes. CubeCL does not widen a tile by "
                "itself: its author must, as cubek's matmul does, which goes through threadgroup "
                f"memory and loads {_span(ratios(library, 'device_load_bytes'))} times the bytes "
                "of ours, for "
                f"{_span(ratios(library, 'ir_instructions'))} times its instructions."
            ),
            compared="bytes loaded from device memory for the same product",
            overturned_by="a CubeCL that merges neighbouring cmma tiles",
        )
    ]


def _flash(case: Case) -> list[Finding]:
    pairs = beside(case, "flash", "hand-flash")
    if not pairs:
        return []
    rows = [row for pair in pairs for row in pair]
    theirs, ours = (row["result"] for row in pairs[0])
    loads, operations = (
        theirs[name] / ours[name] for name in ("threadgroup_loads", "float_operations")
    )
    registers = (
        f" ptxas {theirs['ptxas']} gives them {theirs['ptx_registers']} and "
        f"{ours['ptx_registers']} registers for {NVIDIA_ARCHITECTURE}."
        if "ptx_registers" in theirs and "ptx_registers" in ours
        else ""
    )
    barriers = theirs["barriers_a_thread"]
    return [
        _counted(
            case,
            rows,
            ("threadgroup barriers a thread", barriers, "barriers"),
            "flash-attention",
            "threadgroup-memory",
            domain="msl-kernels",
            topic="flash-beside-ours",
            title=(
                f"cubek's flash attention meets {barriers:g} threadgroup barriers a thread, ours "
                f"{ours['barriers_a_thread']:g}"
            ),
            content=(
                f"At {_regime([pairs[0][0]])} both execute the same "
                f"{theirs['matrix_operations']:g} matrix operations "
                f"({_span(ratios(pairs, 'matrix_operations'))} times ours). cubek "
                f"({theirs['versions']}) keeps scores and output in threadgroup memory, "
                f"{theirs['threadgroup_bytes']} bytes to our {ours['threadgroup_bytes']}, with "
                f"{loads:.3g} times our loads from it and {operations:.3g} times our scalar float "
                f"operations.{registers}"
            ),
            compared="counts of both kernels for the same attention",
            overturned_by="a version of cubek that keeps scores in registers",
        )
    ]


def _timed(case: Case) -> list[Finding]:
    return [
        pair_finding(
            case,
            row,
            names=(f"CubeCL's {row['point']['a']}", row["point"]["b"]),
            where=_regime([row]),
            regime=_regime([row]),
            topic=f"time-{row['point']['a']}-{row['point']['b']}-{row['point']['dtype']}"
            f"-n{row['point']['N']}",
            tags=[*_TAGS, "paired-comparison"],
            more=(
                f" That is {row['result']['a_tflops']:.3g} and {row['result']['b_tflops']:.3g} "
                "TFLOP/s for the same operations; generated texts are mended where MSL leaves them "
                "undefined."
            ),
        )
        for row in weighed(case, "pair")
    ]


def _recommendation(case: Case) -> list[Finding]:
    judged = verdicts(case)
    if not judged:
        return []
    rows = [row for verdict in judged for row in verdict.rows]
    said = " ".join(
        f"{one.way[0].upper()}{one.way[1:]} ({one.versions}): {one.off_path} off the critical "
        f"path, {one.on_path} on it; {one.why}."
        for one in judged
    )
    viable = [one.way for one in judged if one.off_path == "viable"]
    return [
        _counted(
            case,
            rows,
            ("ways viable off the critical path", len(viable), "ways"),
            "recommendation",
            domain="msl-kernels",
            topic="recommendation",
            title=f"CubeCL off the critical path: {len(viable)} of {len(judged)} ways are viable",
            content=f"Computed from the comparison. {said}",
            compared="results, instructions, matrix operations and bytes of their texts and ours",
            overturned_by="another version of the crates, or times from an M4",
        )
    ]


conclude = concluding(
    _right, _undefined, _refused, _matrix, _gap, _tiling, _flash, _timed, _recommendation
)
