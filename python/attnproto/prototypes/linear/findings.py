"""What rows of the linear prototype allow to conclude, by rules written out here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attnproto.prototypes.rows import Case, Row, concluding, keys, right, several, worst
from attnproto.results.findings import Effect, Evidence, Finding

from .expected import expected_crossovers, searched_beside_expected

_TAGS = ("linear-attention", "chunkwise")
_CHUNKS = 4
# How far the counts at a third length may lie from the line through the other two.
_OFF_LINE = 0.02


def _regime(rows: Sequence[Row]) -> str:
    return (
        f"N {several(rows, 'N')}, D {several(rows, 'D')}, chunk {several(rows, 'chunk')}, "
        f"{several(rows, 'dtype')}, decay {several(rows, 'decay')}, {several(rows, 'H')} heads"
    )


# Kind: topic, least rows, title, what the content says.
_CLAIMS: Mapping[str, tuple[str, int, str, str]] = {
    "chunk": (
        "chunks-right",
        _CHUNKS,
        "Linear attention in chunks of 32 to 256 tokens agrees with the FP64 recurrence",
        "The state is stored before each chunk and carried on the GPU, so no token sees a later "
        "one; the chunk is a run-time number of the same kernels and need not divide N.",
    ),
    "decay": (
        "decay-right",
        4,
        "Decay per head, token or key dimension and a normaliser agree with the FP64 recurrence",
        "Every exponential is of a later sum of log-decay minus an earlier one, so none overflows "
        "however fast the factors shrink; the normaliser is summed on the way.",
    ),
    "state": (
        "state-right",
        4,
        "A state given before the first token and the one after the last agree with FP64",
        "A sequence may thus be computed in parts, each continuing from the last. Output and "
        "final state are both judged.",
    ),
    "length": (
        "lengths-right",
        3,
        "FP32 linear attention without decay stays within tolerance of the FP64 recurrence",
        "Without decay the state only grows, the worst case for FP32 sums. A chunk's tokens are "
        "summed apart, added once, and the rounding of that addition is kept for the next.",
    ),
}


def _right(case: Case) -> list[Finding]:
    findings = []
    for kind, (topic, least, title, content) in _CLAIMS.items():
        rows = case.of(kind)
        if not right(rows) or len(rows) < least:
            continue
        largest = max(worst(rows, "worst_ratio"), worst(rows, "state_ratio"))
        longest = max(row["point"]["N"] for row in rows)
        end = f", to N = {longest}" if kind == "length" else ""
        findings.append(
            case.finding(
                domain="msl-kernels",
                topic=topic,
                title=title + end,
                content=f"{content} The worst error is {largest:.2g} of what is allowed (atol, "
                "rtol: FP32 1e-4, 1e-3; FP16 1e-3, 2e-3).",
                tags=[*_TAGS, kind, "correctness"],
                evidence=Evidence(
                    kind="correctness",
                    compared="outputs and final state with the recurrence, token by token in FP64",
                    regime=f"{_regime(rows)}, seeded normal inputs",
                    overturned_by="a length, chunk, decay or seed whose error exceeds tolerance",
                    rows=keys(rows),
                    effect=Effect(name="worst error over allowed error", value=largest, unit=""),
                    n=len(rows),
                ),
            )
        )
    return findings


def _memory(case: Case) -> list[Finding]:
    rows = case.of("chunk")
    if not right(rows) or len({row["point"]["chunk"] for row in rows}) < _CHUNKS:
        return []
    if worst(rows, "threadgroup_bytes") or not all(_states_follow(row) for row in rows):
        return []
    shares = {
        (row["point"]["D"], row["point"]["chunk"]): row["point"]["D"] / row["point"]["chunk"]
        for row in rows
        if row["point"]["dtype"] == "f32"
    }
    if not shares:
        return []
    said = ", ".join(f"D {d} chunk {c}: {share:.2g}" for (d, c), share in sorted(shares.items()))
    return [
        case.finding(
            tier="derived",
            domain="gpu-perf",
            topic="memory",
            title="Linear attention uses no threadgroup memory; its states take D / chunk of K",
            content=(
                "Read from the pipelines, chunk_h and chunk_o declare 0 bytes of threadgroup "
                "memory for every D and chunk, so 32 KB limits neither. What the chunk decides is "
                "device memory: one FP32 state of D x D is kept for each chunk, in units of an "
                f"FP32 key tensor D / chunk ({said})."
            ),
            tags=[*_TAGS, "threadgroup-memory", "chunk-size", "budget"],
            evidence=Evidence(
                kind="budget",
                compared="static threadgroup bytes with 32768; bytes of states with bytes of K",
                regime=_regime(rows),
                overturned_by="a pipeline of these kernels that reports other bytes on Metal",
                rows=keys(rows),
                effect=Effect(name="threadgroup memory", value=0.0, unit="bytes"),
                n=len(rows),
            ),
        )
    ]


def _states_follow(row: Row) -> bool:
    """Say whether one FP32 state of D x D was kept for each head and chunk."""
    point = row["point"]
    states = point["B"] * point["H"] * -(-point["N"] // point["chunk"])
    return row["result"]["state_bytes"] == states * point["D"] ** 2 * 4


def _chunk_work(case: Case) -> list[Finding]:
    findings = []
    for d in sorted({row["point"]["D"] for row in case.of("work")}):
        every = case.of("work", D=d)
        longest = max(row["point"]["N"] for row in every)
        rows = sorted(case.of("work", D=d, N=longest), key=lambda row: row["point"]["chunk"])
        if not right(rows) or len(rows) < _CHUNKS:
            continue
        said = "; ".join(
            f"chunk {row['point']['chunk']}: {row['result']['linear_flop']:.0f} FLOP, "
            f"{row['result']['linear_load_bytes']:.0f} bytes asked for, "
            f"{row['result']['linear_store_bytes']:.0f} written"
            for row in rows
        )
        first, last = rows[0]["result"], rows[-1]["result"]
        growth = float(last["linear_flop"]) / float(first["linear_flop"])
        findings.append(
            case.finding(
                tier="derived",
                domain="gpu-perf",
                topic=f"chunk-work-D{d}",
                title=f"D={d}: chunks of 256 do {growth:.2f} times the FLOP of chunks of 32",
                content=(
                    f"Counted exactly by instrumented code, a token costs: {said}. The causal "
                    "part within a chunk grows with it, the states written shrink with it. A "
                    "count says what the kernels ask of a GPU, not which chunk is fastest."
                ),
                tags=[*_TAGS, "operation-count", "chunk-size"],
                evidence=Evidence(
                    kind="count",
                    compared="counts of chunk_h and chunk_o together, over chunks",
                    regime=f"{_regime(rows)}, one matrix operation taken as 1024 FLOP, loads "
                    "summed over lanes before any cache, as optimised by clang for the host",
                    overturned_by="another count of this kernel text, as from Apple's compiler",
                    rows=keys(rows),
                    effect=Effect(name="FLOP of chunk 256 over chunk 32", value=growth, unit=""),
                    n=len(rows),
                ),
            )
        )
    return findings


def _equal_work(rows: Sequence[Row], name: str) -> float | None:
    """Return the N at which softmax's count a token equals linear's at the longest length.

    Softmax's count a token is a line in N; None where a third length is off it.
    """
    rows = sorted(rows, key=lambda row: row["point"]["N"])
    if len(rows) < 3:
        return None
    n = [float(row["point"]["N"]) for row in rows]
    cost = [float(row["result"][f"softmax_{name}"]) for row in rows]
    slope = (cost[-1] - cost[0]) / (n[-1] - n[0])
    offset = cost[0] - slope * n[0]
    middle = offset + slope * n[1]
    if slope <= 0 or abs(middle - cost[1]) > _OFF_LINE * cost[1]:
        return None
    return (float(rows[-1]["result"][f"linear_{name}"]) - offset) / slope


def _work_crossover(case: Case) -> list[Finding]:
    findings = []
    for d in sorted({row["point"]["D"] for row in case.of("work")}):
        rows = [row for row in case.of("work", D=d, chunk=64)]
        if not right(rows):
            continue
        flop, loads = _equal_work(rows, "flop"), _equal_work(rows, "load_bytes")
        if not flop or not loads or flop <= 0 or loads <= 0:
            continue
        last = max(rows, key=lambda row: row["point"]["N"])
        saved = float(last["result"]["softmax_flop"]) / float(last["result"]["linear_flop"])
        findings.append(
            case.finding(
                tier="derived",
                domain="gpu-perf",
                topic=f"work-crossover-D{d}",
                title=(
                    f"D={d}: linear attention does fewer FLOP than causal softmax beyond N = "
                    f"{flop:.0f}, and asks for fewer bytes beyond {loads:.0f}"
                ),
                content=(
                    "Both kernels' work was counted over whole sequences. Softmax's grows by a "
                    f"line in N a token, linear's does not: they meet at N = {flop:.0f} in FLOP "
                    f"and {loads:.0f} in bytes loaded by lanes. At N = {last['point']['N']} "
                    f"softmax does {saved:.1f} times the FLOP. This is a crossover of work, not of "
                    "time: chunk_h goes through its chunks one after another and keeps few "
                    "threads busy, so the lengths where times cross may be far larger."
                ),
                tags=[*_TAGS, "softmax", "crossover", "operation-count"],
                evidence=Evidence(
                    kind="count",
                    compared="counts a token of chunk_h and chunk_o with those of causal flash",
                    regime=f"{_regime(rows)}, the default flash tile, lines through "
                    "the counted lengths, loads summed over lanes before any cache",
                    overturned_by="counts off these lines, or of another compiler",
                    rows=keys(rows),
                    effect=Effect(name="N of equal FLOP", value=flop, unit="tokens"),
                    n=len(rows),
                ),
            )
        )
    return findings


def _rates(case: Case) -> list[Finding]:
    if case.tier != "measured":
        return []
    groups: dict[tuple[str, int, int], list[Row]] = {}
    for row in case.of("time"):
        if row["status"] == "ok" and "time_us" in row["result"]:
            point = row["point"]
            groups.setdefault((point["dtype"], point["D"], point["N"]), []).append(row)
    findings = []
    for (dtype, d, n), rows in sorted(groups.items()):
        best = min(rows, key=lambda row: float(row["result"]["time_us"]))
        result, where = best["result"], f"{dtype} D={d} N={n}"
        tied = [
            row
            for row in rows
            if row is not best and row["result"]["time_low_us"] <= result["time_high_us"]
        ]
        beside = f" Undecided against it: {several(tied, 'chunk')}." if tied else ""
        findings.append(
            case.finding(
                domain="gpu-perf",
                topic=f"rate-{dtype}-D{d}-N{n}",
                title=f"{where}: chunk {best['point']['chunk']} takes {result['time_us']:.4g} us "
                f"on {case.device.name}",
                content=(
                    f"Of chunks {several(rows, 'chunk')} this one is the fastest, "
                    f"{float(result['time_us']) / n:.3g} us a token for {best['point']['H']} "
                    f"heads.{beside}"
                ),
                tags=[*_TAGS, "throughput", "chunk-size", dtype],
                evidence=Evidence(
                    kind="performance",
                    compared="median GPU times of the chunks, 95 % intervals",
                    regime=f"{where}, {best['point']['H']} heads, no decay",
                    overturned_by="a run whose interval excludes this one",
                    rows=(best["key"], *keys(tied)),
                    effect=Effect(
                        name="time",
                        value=float(result["time_us"]),
                        unit="us",
                        low=float(result["time_low_us"]),
                        high=float(result["time_high_us"]),
                    ),
                    n=len(result["samples_us"]),
                    cv=float(result["cv"]),
                    kernel_hash=result["kernel_hash"],
                ),
            )
        )
    return findings


def _crossover(case: Case) -> list[Finding]:
    if case.tier != "measured":
        return []
    findings = []
    for row in case.of("crossover"):
        point, result = row["point"], row["result"]
        if row["status"] != "ok" or result.get("status") in (None, "undecided"):
            continue
        where = f"{point['dtype']} D={point['D']}, {point['H']} heads"
        low, high = float(result["crossover_low"]), float(result["crossover_high"])
        said, value = {
            "bracketed": (f"from an N of {low:.0f} to {high:.0f} up", high),
            "never": (f"at no N up to {point['longest']}", low),
            "always": (f"at every N tried, {point['N']} and up,", low),
        }[result["status"]]
        findings.append(
            case.finding(
                domain="gpu-perf",
                topic=f"crossover-{point['dtype']}-D{point['D']}",
                title=f"{where}: linear attention is faster than softmax {said} "
                f"on {case.device.name}",
                content=(
                    "Searched by bisection over paired A-B-B-A comparisons with causal flash; "
                    f"sizes inside the interval are undecided or equal. Probed: N "
                    f"{', '.join(str(probe['N']) for probe in result['probes'])}. The work "
                    f"differs: at N = {high:.0f} softmax attention does "
                    f"{result['softmax_flops'] / 1e9:.3g} GFLOP and linear attention "
                    f"{result['linear_flops'] / 1e9:.3g}.{searched_beside_expected(case, result)}"
                ),
                tags=[*_TAGS, "softmax", "crossover", point["dtype"]],
                evidence=Evidence(
                    kind="performance",
                    compared="GPU times of linear attention and causal flash attention, paired",
                    regime=f"{where}, chunk {point['chunk']}, N {point['N']} to "
                    f"{point['longest']}, no decay, the default flash tile",
                    overturned_by="a search whose interval excludes this one",
                    rows=(row["key"],),
                    effect=Effect(name="crossover", value=value, unit="tokens", low=low, high=high),
                    n=4 * int(result["probe_blocks"]),
                    cv=float(result["probe_cv"]),
                    kernel_hash=result["kernel_hash"],
                ),
            )
        )
    return findings


conclude = concluding(
    _right, _memory, _chunk_work, _work_crossover, expected_crossovers, _rates, _crossover
)
