"""What rows of the flash prototype allow to conclude about memory, operations and time."""

from __future__ import annotations

from attnproto.dtypes import BY_NAME
from attnproto.prototypes.expected_ratios import measured_beside_expected
from attnproto.prototypes.pair_findings import pair_finding, weighed
from attnproto.prototypes.rows import Case, Row, keys, regime, right, several, tile_name, worst
from attnproto.results.findings import Effect, Evidence, Finding
from attnproto.results.published import reached

_LIMIT_BYTES = 32768
# A claim about "all tiles" needs more of them than a replay of a few points brings.
LEAST_TILES = 9
# How the counter's fields read in a sentence.
_COUNTED = {
    "matrix_operations": "matrix operations",
    "shuffles": "shuffles",
    "votes": "votes",
    "exponentials": "exponentials",
    "float_operations": "FP additions, multiplications and maxima",
    "conversions": "half-float conversions",
    "threadgroup_loads": "threadgroup loads",
    "device_load_bytes": "bytes loaded from device memory",
    "threadgroup_barriers": "threadgroup barriers",
}


def budget(case: Case) -> list[Finding]:
    """Conclude that every tile fits the limit, where all do."""
    rows = case.of("tile")
    if not right(rows) or len(rows) < LEAST_TILES:
        return []
    largest = int(worst(rows, "threadgroup_bytes"))
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
                regime=f"Br {several(rows, 'Br')}, Bc {several(rows, 'Bc')}, {regime(rows)}",
                overturned_by="a pipeline of these geometries that reports other bytes on Metal",
                rows=keys(rows),
                effect=Effect(name="largest threadgroup memory", value=largest, unit="bytes"),
                n=len(rows),
            ),
        )
    ]


def budget_law(case: Case) -> list[Finding]:
    """Conclude that the bytes are Br x D elements, where that holds of every tile."""
    rows = [row for row in case.of("tile") if row["result"].get("query_place") == "threadgroup"]
    follows = all(
        row["result"]["threadgroup_bytes"]
        == row["point"]["Br"] * row["point"]["D"] * BY_NAME[row["point"]["dtype"]].nbytes
        for row in rows
        if row["status"] == "ok"
    )
    if (
        not right(rows)
        or len(rows) < LEAST_TILES
        or not follows
        or len({row["point"]["Bc"] for row in rows}) < 2
    ):
        return []
    return [
        case.finding(
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
                regime=f"Br {several(rows, 'Br')}, Bc {several(rows, 'Bc')}, {regime(rows)}, "
                "Q in threadgroup memory",
                overturned_by="a pipeline whose bytes differ from the product",
                rows=keys(rows),
                effect=Effect(name="difference from Br x D x size", value=0.0, unit="bytes"),
                n=len(rows),
            ),
        )
    ]


def counts(case: Case) -> list[Finding]:
    """Conclude what a block of keys costs in operations, a finding for each count."""
    findings = []
    for row in case.of("count"):
        result, point = row["result"], row["point"]
        if row["status"] != "ok":
            continue
        d, dtype = point["D"], point["dtype"]
        least = 2 * 8 * (d // 8)
        matrix = float(result["matrix_operations"])
        said = ", ".join(f"{_amount(result[name])} {text}" for name, text in _COUNTED.items())
        reached = "the minimum" if matrix == least else f"the minimum being {least}"
        findings.append(
            case.finding(
                tier="derived",
                domain="simd-wave",
                topic=f"counts-{dtype}-D{d}",
                title=(
                    f"{dtype} D={d} flash attention: {matrix:g} matrix operations and "
                    f"{_amount(result['float_operations'])} FP operations a lane per 8 x 64 block"
                ),
                content=(
                    f"Counted exactly by instrumented code, a lane does per 8 query rows and 64 "
                    f"keys: {said}. The two products take {matrix:g} 8x8x8 matrix operations, "
                    f"{reached}. A count says what the kernel asks of a GPU, not how fast it is."
                ),
                tags=["flash-attention", "operation-count", "simdgroup-matrix", dtype],
                evidence=Evidence(
                    kind="count",
                    compared=f"counted matrix operations with the minimum of {least}",
                    regime=f"8 rows a simdgroup, D={d}, {dtype}, no mask, averaged over 16 "
                    "blocks of seeded normal inputs, as optimised by clang for the host",
                    overturned_by="another count of this kernel text, as from Apple's compiler",
                    rows=(row["key"],),
                    effect=Effect(name="matrix operations", value=matrix, unit="per lane"),
                    n=1,
                    kernel_hash=result["kernel_hash"],
                ),
            )
        )
    return findings


def _amount(value: float) -> str:
    return f"{float(value):.1f}".removesuffix(".0")


def rates(case: Case) -> list[Finding]:
    """Name the fastest tile of each dtype and D at the longest length, where times count."""
    if case.tier != "measured":
        return []
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in case.of("time"):
        if row["status"] == "ok" and "time_us" in row["result"]:
            groups.setdefault((row["point"]["dtype"], row["point"]["D"]), []).append(row)
    findings = []
    for (dtype, d), rows in sorted(groups.items()):
        longest = max(row["point"]["Nkv"] for row in rows)
        rows = [row for row in rows if row["point"]["Nkv"] == longest]
        findings.append(_fastest(case, dtype, d, longest, rows))
    return findings


def _rate(row: Row, name: str = "time_us") -> float:
    return float(row["result"]["flops"]) / float(row["result"][name]) / 1e6


def _fastest(case: Case, dtype: str, d: int, n: int, rows: list[Row]) -> Finding:
    best = max(rows, key=_rate)
    result = best["result"]
    tied = [
        row
        for row in rows
        if row is not best and row["result"]["time_low_us"] <= result["time_high_us"]
    ]
    name, others = tile_name(best["point"]), ", ".join(tile_name(row["point"]) for row in tied)
    beside = f" Undecided against it: {others}." if tied else ""
    against = "".join(
        f" That is {met.ratio:.2f} of the {met.mark.tflops:.2f} TFLOP/s that {met.mark.source} "
        "published for M4."
        for met in reached([best])
    )
    against += measured_beside_expected(case, result)
    return case.finding(
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
            rows=(best["key"], *(key for key in keys(rows) if key != best["key"])),
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


def pairs(case: Case) -> list[Finding]:
    """Conclude which of two choices is faster or equal, or that neither is shown."""
    return [_pair(case, row) for row in weighed(case, "pair")]


def _pair(case: Case, row: Row) -> Finding:
    point = row["point"]
    axis, a, b = point["axis"], point["a"], point["b"]
    where = f"{point['dtype']} D={point['D']} N={point['Nkv']}"
    return pair_finding(
        case,
        row,
        names=(f"{axis} {a}", f"{axis} {b}"),
        where=where,
        regime=f"tile {point['Br']}x{point['Bc']}, one head, {where}, no mask",
        topic=f"pair-{axis}-{a}-{b}-{point['dtype']}-D{point['D']}",
        tags=["flash-attention", "paired-comparison", axis, point["dtype"]],
    )
