"""What rows of the variants prototype allow to conclude, by rules written out here."""

from __future__ import annotations

from collections.abc import Sequence

from attnproto.prototypes.expected_ratios import expected, expected_ratio_finding
from attnproto.prototypes.pair_findings import pair_finding, weighed
from attnproto.prototypes.rows import Case, Row, concluding, keys, regime, right, several, worst
from attnproto.results.findings import Effect, Evidence, Finding

_TAGS = ("flash-attention", "function-constants")
# A claim about the variants together needs most of them.
_LEAST = 6


def _variants(rows: Sequence[Row]) -> set[str]:
    return {row["point"]["variant"] for row in rows}


def _fused(case: Case) -> list[Finding]:
    rows = case.of("fused")
    if not right(rows) or len(_variants(rows)) < _LEAST or "all" not in _variants(rows):
        return []
    texts: dict[tuple, set[str]] = {}
    for row in rows:
        size = (row["point"]["D"], row["point"]["dtype"])
        texts.setdefault(size, set()).add(row["result"]["source"])
    if any(len(sources) > 1 for sources in texts.values()):
        return []
    largest = worst(rows, "worst_ratio")
    return [
        case.finding(
            domain="metal-compute",
            topic="one-kernel",
            title=(
                "RoPE, ALiBi, GQA, cap and window are function constants of one kernel, alone "
                "and all at once"
            ),
            content=(
                f"{len(_variants(rows))} variants ({several(rows, 'variant')}) come from one "
                "kernel text per D and dtype, specialised by constants; grouped heads need none, "
                "being an index. Every one agrees with FP64, the combination of all included; "
                f"the worst error is {largest:.2g} of what is allowed."
            ),
            tags=[*_TAGS, "rope", "alibi", "gqa", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="each variant's output with FP64 attention under the same rule",
                regime=f"{regime(rows)}, {several(rows, 'Hq')} query heads, seeded normal inputs",
                overturned_by="a variant, combination or seed whose error exceeds tolerance",
                rows=keys(rows),
                effect=Effect(name="worst error over allowed error", value=largest, unit=""),
                n=len(rows),
            ),
        )
    ]


def _alone(case: Case) -> list[Finding]:
    rows = case.of("alone")
    if not right(rows) or len(_variants(rows)) < 3:
        return []
    same = [row for row in rows if row["result"]["alone_equals_fused"]]
    bits = f"{several(same, 'variant')}: the same bits. " if same else "None gives the same bits. "
    gap = worst(rows, "largest_difference")
    return [
        case.finding(
            domain="msl-kernels",
            topic="alone-and-fused",
            title=f"Fused and standalone variants differ by at most {gap:.2g} in FP32",
            content=(
                "Each rule was also run as a kernel of its own: RoPE and head expansion before "
                "the base kernel, bias, cap and window on stored scores between products of the "
                f"host. {bits}Both roads are within tolerance of FP64, so a time compared "
                "between them is that of the same result."
            ),
            tags=[*_TAGS, "fusion", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="output of the fused variant with that of the standalone kernel's road",
                regime=f"{regime(rows)}, {several(rows, 'variant')}, seeded normal inputs",
                overturned_by="a larger difference, or one of both outside its tolerance",
                rows=keys(rows),
                effect=Effect(name="largest difference", value=gap, unit=""),
                n=len(rows),
            ),
        )
    ]


def _budget(case: Case) -> list[Finding]:
    rows = case.of("fused")
    if not right(rows) or len(_variants(rows)) < _LEAST:
        return []
    sizes: dict[tuple, set[int]] = {}
    for row in rows:
        point = row["point"]
        place = (point["Br"], point["D"], point["dtype"])
        sizes.setdefault(place, set()).add(int(row["result"]["threadgroup_bytes"]))
    if any(len(used) > 1 for used in sizes.values()):
        return []
    largest = int(worst(rows, "threadgroup_bytes"))
    return [
        case.finding(
            tier="derived",
            domain="gpu-perf",
            topic="budget",
            title="No variant adds a byte of threadgroup memory to the base kernel",
            content=(
                f"Read from the pipelines, {len(_variants(rows))} variants use the base kernel's "
                f"threadgroup memory, at most {largest} of 32768 bytes here: slopes are computed, "
                "rotations are read from device memory, masks are comparisons of indices."
            ),
            tags=[*_TAGS, "threadgroup-memory", "budget"],
            evidence=Evidence(
                kind="budget",
                compared="static threadgroup bytes of each variant with those of the base kernel",
                regime=f"Br {several(rows, 'Br')}, {regime(rows)}, {several(rows, 'variant')}",
                overturned_by="a variant's pipeline that reports other bytes on Metal",
                rows=keys(rows),
                effect=Effect(name="additional threadgroup memory", value=0.0, unit="bytes"),
                n=len(rows),
            ),
        )
    ]


def _counts(case: Case) -> list[Finding]:
    findings = []
    for row in case.of("count"):
        point, result = row["point"], row["result"]
        if row["status"] != "ok":
            continue

        def more(name: str, result: dict = result) -> float:
            return float(result[f"variant_{name}"]) - float(result[f"base_{name}"])

        base = float(result["base_float_operations"])
        matrix = float(result["base_matrix_operations"])
        # 8 rows and Bc keys a block, whose scores the 32 lanes share.
        pairs = 8 * point["Bc"] / 32
        each = more("float_operations") / pairs
        share = 100 * more("float_operations") / (base + 1024 / 32 * matrix)
        name = point["variant"]
        # The counter sees tanh as a call, not as operations.
        tanh = " and a tanh" if name == "softcap" else ""
        beside = ", its tanh not among them," if tanh else ""
        findings.append(
            case.finding(
                tier="derived",
                domain="simd-wave",
                topic=f"counts-{name}",
                title=(
                    f"{name} adds {each:.3g} FP operations{tanh} a query-key pair to flash "
                    f"attention at D={point['D']}"
                ),
                content=(
                    "Counted exactly by instrumented code, a lane does per 8 query rows and "
                    f"{point['Bc']} keys, beyond the base kernel's {base:.4g} FP operations and "
                    f"{matrix:.0f} matrix operations: {more('float_operations'):.4g} FP "
                    f"operations{beside} and {more('device_loads'):.3g} loads of "
                    f"{more('device_load_bytes'):.4g} bytes; matrix operations, exponentials and "
                    f"shuffles change by {more('matrix_operations'):g}, {more('exponentials'):g} "
                    f"and {more('shuffles'):g}. The FP operations are {share:.2g} % of the base "
                    "kernel's FLOP. A query token costs that for each of its keys. A count says "
                    "what is asked of a GPU, not the time it takes."
                ),
                tags=[*_TAGS, "operation-count", name],
                evidence=Evidence(
                    kind="count",
                    compared="counts of the variant and of the base kernel, the same tile",
                    regime=f"8 rows a simdgroup, O rescaled always, D={point['D']}, "
                    f"{point['dtype']}, averaged over 16 blocks, as optimised by clang for the "
                    "host; a matrix operation taken as 1024 FLOP",
                    overturned_by="another count of this kernel text, as from Apple's compiler",
                    rows=(row["key"],),
                    effect=Effect(name="FP operations", value=each, unit="per query and key"),
                    n=1,
                    kernel_hash=result["kernel_hash"],
                ),
            )
        )
    return findings


def _expansion(case: Case) -> list[Finding]:
    findings = []
    for row in case.of("traffic", variant="gqa"):
        point, result = row["point"], row["result"]
        if row["status"] != "ok" or result["fused_load_bytes"] != result["base_load_bytes"]:
            continue
        group = point["Hq"] // point["Hkv"]
        kept = int(result["key_bytes"])
        written = int(result["alone_store_bytes"]) - int(result["base_store_bytes"])
        findings.append(
            case.finding(
                tier="derived",
                domain="unified-memory",
                topic="gqa-expansion",
                title=f"Expanding KV heads {group}-fold writes {written / kept:.3g} times the KV "
                "cache; grouped heads by index write nothing",
                content=(
                    f"With {point['Hq']} query heads on {point['Hkv']}, expansion before attention "
                    f"writes {written} bytes of copies that attention with heads read by index "
                    f"does without, and reads K and V ({kept} bytes) to make them. Attention "
                    "itself asks for as many bytes either way; by index, the heads of a group ask "
                    "for the same addresses, which a cache can serve."
                ),
                tags=[*_TAGS, "gqa", "memory-traffic"],
                evidence=Evidence(
                    kind="count",
                    compared="device bytes counted of expansion and attention with those of "
                    "attention by index",
                    regime=f"Nq {point['Nq']}, Nkv {point['Nkv']}, D {point['D']}, "
                    f"{point['dtype']}",
                    overturned_by="another count of these kernel texts",
                    rows=(row["key"],),
                    effect=Effect(
                        name="bytes written over bytes of K and V", value=written / kept, unit=""
                    ),
                    n=1,
                    kernel_hash=result["kernel_hash"],
                ),
            )
        )
    return findings


def _rotations(case: Case) -> list[Finding]:
    findings = []
    for row in case.of("traffic", variant="rope-interleaved"):
        point, result = row["point"], row["result"]
        if row["status"] != "ok":
            continue

        def more(side: str, name: str, result: dict = result) -> int:
            return int(result[f"{side}_{name}"]) - int(result[f"base_{name}"])

        fused, alone = more("fused", "float_operations"), more("alone", "float_operations")
        if fused <= 0 or alone <= 0:
            continue
        times = fused / alone
        findings.append(
            case.finding(
                tier="derived",
                domain="gpu-perf",
                topic="rope-again",
                title=(
                    f"Fused RoPE does {times:.1f} times the rotations of a standalone kernel at "
                    f"N={point['Nq']}, growing with N, and stores nothing"
                ),
                content=(
                    "Fused, each simdgroup turns every key block that it reads, so keys are "
                    "turned again for every 8 query rows and queries once: (Nq / 8 + 1) / 2 times "
                    f"the work. Counted: {fused} additional FP operations against {alone} of "
                    "kernels that turn Q and K once. Those write turned copies, "
                    f"{more('alone', 'store_bytes')} bytes, and need two more dispatches. By work "
                    "alone, a long prefill speaks for turning K once, when it enters the cache; "
                    "which is faster must be measured."
                ),
                tags=[*_TAGS, "rope", "fusion", "operation-count"],
                evidence=Evidence(
                    kind="count",
                    compared="FP operations and bytes beyond the base kernel, fused and standalone",
                    regime=f"Nq = Nkv = {point['Nq']}, D {point['D']}, {point['dtype']}, Br "
                    f"{point['Br']}, {point['Hq']} heads, no mask",
                    overturned_by="another count of these kernel texts",
                    rows=(row["key"],),
                    effect=Effect(name="rotations fused over standalone", value=times, unit=""),
                    n=1,
                    kernel_hash=result["kernel_hash"],
                ),
            )
        )
    return findings


def _pairs(case: Case) -> list[Finding]:
    findings = []
    for row in weighed(case, "pair"):
        point, result = row["point"], row["result"]
        name = point["variant"]
        where = f"{point['dtype']} D={point['D']} N={point['Nkv']}"
        sides = {
            "fused": f"{name} fused",
            "alone": f"{name} by a standalone kernel before the base kernel",
            "base": "the base kernel",
        }
        extra = (float(result["a_us"]) - float(result["b_us"])) / point["Nq"]
        findings.append(
            pair_finding(
                case,
                row,
                names=(sides[point["first"]], sides[point["against"]]),
                where=where,
                regime=f"tile {point['Br']}x{point['Bc']}, {point['Hq']} query heads on "
                f"{point['Hkv']}, {where}, no mask",
                topic=f"pair-{name}-{point['first']}-{point['against']}-{point['dtype']}",
                tags=[*_TAGS, "paired-comparison", "overhead", name],
                more=f" That is {extra:+.3g} us a query token, by the medians, or "
                f"{100 * (float(result['ratio']) - 1):+.1f} %.",
            )
        )
    return findings


def _expected(case: Case) -> list[Finding]:
    return [
        expected_ratio_finding(
            case,
            row,
            names=(f"attention with {point['variant']}", "the base kernel"),
            where=f"{point['dtype']} D={point['D']}",
            topic=f"expected-{point['variant']}-{point['dtype']}-D{point['D']}",
            tags=[*_TAGS, point["variant"]],
        )
        for row in expected(case, "count")
        for point in (row["point"],)
    ]


conclude = concluding(_fused, _alone, _budget, _counts, _expansion, _rotations, _pairs, _expected)
