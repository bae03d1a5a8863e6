"""What rows of the paged prototype allow to conclude, by rules written out here."""

from __future__ import annotations

from collections.abc import Sequence

from attnproto.prototypes.expected_ratios import expected, expected_ratio_finding
from attnproto.prototypes.pair_findings import pair_finding, weighed
from attnproto.prototypes.rows import Case, Row, concluding, keys, right, several, worst
from attnproto.results.findings import Effect, Evidence, Finding

_LIMIT_BYTES = 32768
_RUN = ("decode", "prefill", "partition")
# A claim about "every page size" needs them all.
_PAGES = 5
_TAGS = ("paged-attention", "kv-cache")


def _regime(rows: Sequence[Row]) -> str:
    return (
        f"pages of {several(rows, 'page')} tokens, D {several(rows, 'D')}, "
        f"{several(rows, 'dtype')}, Nq {several(rows, 'Nq')}, contexts up to "
        f"{several(rows, 'Nkv')}, {several(rows, 'Hq')} query heads on "
        f"{several(rows, 'Hkv')} key heads"
    )


def _every_page(rows: Sequence[Row]) -> bool:
    return right(rows) and len({row["point"]["page"] for row in rows}) >= _PAGES


def _pages_are_right(case: Case) -> list[Finding]:
    rows = case.of("decode", "prefill")
    if not _every_page(rows):
        return []
    largest, shared = worst(rows, "worst_ratio"), int(worst(rows, "shared_pages"))
    return [
        case.finding(
            domain="msl-kernels",
            topic="pages-right",
            title=f"Paged attention agrees with FP64 for every page size, {len(rows)} cases",
            content=(
                "With keys and values scattered over a pool of pages in random order, up to "
                f"{shared} pages shared by two sequences, a context length per sequence and "
                "several query heads on one key head, decoding and prefill are within the "
                f"specified tolerances; the worst error is {largest:.2g} of what is allowed."
            ),
            tags=[*_TAGS, "page-size", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="the paged kernel's output with FP64 attention over the gathered tokens",
                regime=f"{_regime(rows)}, 4 sequences, seeded normal inputs",
                overturned_by="a page size, table or seed whose error exceeds its tolerance",
                rows=keys(rows),
                effect=Effect(name="worst error over allowed error", value=largest, unit=""),
                n=len(rows),
            ),
        )
    ]


def _same_bits(case: Case) -> list[Finding]:
    rows = case.of(*_RUN)
    same = all(row["result"]["equals_twin"] for row in rows if row["status"] == "ok")
    flash = [row for row in rows if "equals_flash" in row["result"]]
    same = same and all(row["result"]["equals_flash"] for row in flash)
    if not _every_page(rows) or not flash or not same:
        return []
    return [
        case.finding(
            domain="msl-kernels",
            topic="same-bits",
            title="Reading keys through a block table changes no bit of the output",
            content=(
                f"In all {len(rows)} cases the paged output equals that of the contiguous twin, "
                f"the same template without a table, to the bit; in the {len(flash)} with one "
                "partition it also equals the flash kernel's, sequence by sequence. So a time "
                "measured between them is that of the indirection and nothing else."
            ),
            tags=[*_TAGS, "bit-exact", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="output bytes of the paged kernel, its contiguous twin and flash",
                regime=f"{_regime(rows)}, equal tiles and partitions",
                overturned_by=(
                    "one differing bit, as where a compiler contracts the arithmetic of the two "
                    "instantiations differently"
                ),
                rows=keys(rows),
                effect=Effect(name="outputs that differ", value=0.0, unit=""),
                n=len(rows),
            ),
        )
    ]


def _unused_slots(case: Case) -> list[Finding]:
    rows = [row for row in case.of(*_RUN) if row["result"].get("empty_contexts")]
    zero = all(row["result"]["empty_are_zero"] for row in rows)
    if not right(case.of(*_RUN)) or not rows or not zero:
        return []
    return [
        case.finding(
            domain="msl-kernels",
            topic="unused-slots",
            title="NaN in unused page slots and empty contexts disturb no output",
            content=(
                "Every slot past a sequence's length, every page that no sequence names and "
                "every table entry past the length (-1) was poisoned; outputs are finite and "
                "right, and rows of the sequences without any token are exactly 0. A cache need "
                "not be cleared when pages are handed on."
            ),
            tags=[*_TAGS, "numerics", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="outputs beside poisoned slots with FP64, rows of empty contexts with 0",
                regime=_regime(rows),
                overturned_by="a NaN in an output, or a row of an empty context that is not 0",
                rows=keys(rows),
                effect=Effect(
                    name="empty contexts found zero",
                    value=sum(int(row["result"]["empty_contexts"]) for row in rows),
                    unit="sequences",
                ),
                n=len(rows),
            ),
        )
    ]


def _partitions(case: Case) -> list[Finding]:
    rows = sorted(case.of("partition"), key=lambda row: row["result"].get("partitions", 0))
    if not right(rows) or len(rows) < 2:
        return []
    counts = [int(row["result"]["partitions"]) for row in rows]
    if counts[-1] < 2 or any(row["result"]["submissions"] != 1 for row in rows):
        return []
    largest, last = worst(rows, "worst_ratio"), rows[-1]
    scratch = int(last["result"]["scratch_bytes"])
    return [
        case.finding(
            domain="metal-compute",
            topic="partitions",
            title=f"1 to {counts[-1]} partitions of the keys are joined within one submission",
            content=(
                f"With {', '.join(map(str, counts))} partitions, attention in two phases "
                "(partition, then a log-sum-exp reduction) is within tolerance, the worst error "
                f"{largest:.2g} of what is allowed, and takes two dispatches of one submission, "
                "one when nothing is divided. No intermediate goes through the host: "
                f"{counts[-1]} partitions of {several(rows, 'B')} sequences need {scratch} bytes "
                "of device memory, (4 D + 8) for each row and partition."
            ),
            tags=[*_TAGS, "split-k", "log-sum-exp", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="two-phase output with FP64; submissions and scratch bytes as recorded",
                regime=f"{_regime(rows)}, partitions of 64 keys",
                overturned_by="a number of partitions whose error exceeds tolerance",
                rows=keys(rows),
                effect=Effect(name="partitions in one submission", value=counts[-1], unit=""),
                n=len(rows),
            ),
        )
    ]


def _budget(case: Case) -> list[Finding]:
    rows = case.of("decode", "prefill")
    by_tile: dict[tuple, set[int]] = {}
    for row in rows:
        point = row["point"]
        place = (point["Br"], point["D"], point["dtype"])
        by_tile.setdefault(place, set()).add(int(row["result"].get("threadgroup_bytes", -1)))
    if not _every_page(rows) or any(len(values) > 1 for values in by_tile.values()):
        return []
    largest = int(worst(rows, "threadgroup_bytes"))
    if largest > _LIMIT_BYTES:
        return []
    over = [row for row in rows if row["result"]["staged_bytes"] > _LIMIT_BYTES]
    smallest: dict[str, int] = {}
    for row in over:
        point = row["point"]
        size = point["page"] * point["D"]
        smallest[point["dtype"]] = min(size, smallest.get(point["dtype"], size))
    mapped = ", ".join(
        f"{max(sizes)} for D {d} {dtype} Br {br}"
        for (br, d, dtype), sizes in sorted(by_tile.items())
    )
    begins = " and ".join(f"{size} ({dtype})" for dtype, size in sorted(smallest.items()))
    parts = {
        "tier": "derived",
        "domain": "gpu-perf",
        "tags": [*_TAGS, "threadgroup-memory", "budget"],
    }
    evidence = {
        "kind": "budget",
        "regime": f"{_regime(rows)}, Br {several(rows, 'Br')}",
        "rows": keys(rows),
        "n": len(rows),
    }
    findings = [
        case.finding(
            **parts,
            topic="budget",
            title="Paged attention fits 32 KB: page size does not enter its threadgroup memory",
            content=(
                f"Read from the pipelines of {len(rows)} cases of page x D x dtype, threadgroup "
                f"memory is the same for every page size ({several(rows, 'page')}) and at most "
                f"{largest} of {_LIMIT_BYTES} bytes: {mapped}. Only Q lies there, Br x D elements, "
                "and pages are read in place."
            ),
            evidence=Evidence(
                **evidence,
                compared="static threadgroup bytes of the pipelines over page sizes",
                overturned_by="a pipeline of these geometries that reports other bytes on Metal",
                effect=Effect(name="largest threadgroup memory", value=largest, unit="bytes"),
            ),
        )
    ]
    if over:
        findings.append(
            case.finding(
                **parts,
                topic="staged-budget",
                title=(
                    f"Copying a page of K and V to threadgroup memory would not fit in {len(over)} "
                    f"of {len(rows)} cases"
                ),
                content=(
                    "A kernel that stages one page of K and one of V beside its Q tile needs "
                    "(Br + 2 page) D elements. By that sum the limit of 32768 bytes is passed in "
                    f"{len(over)} of the {len(rows)} cases that this kernel runs, the smallest "
                    f"page x D being {begins}; staging would make the page size a matter of the "
                    "head dimension."
                ),
                evidence=Evidence(
                    **evidence,
                    compared="(Br + 2 page) D x element size with 32768",
                    overturned_by="a staging scheme that copies less than a page at a time",
                    effect=Effect(name="cases over the limit", value=len(over), unit=""),
                ),
            )
        )
    return findings


def _counts(case: Case) -> list[Finding]:
    findings = []
    for dtype in ("f16", "bf16", "f32"):
        rows = sorted(case.of("count", dtype=dtype), key=lambda row: row["point"]["page"])
        if not _every_page(rows):
            continue

        def more(row: Row, name: str) -> float:
            return float(row["result"][f"paged_{name}"]) - float(
                row["result"][f"contiguous_{name}"]
            )

        same = ("matrix_operations", "float_operations", "exponentials", "threadgroup_barriers")
        if any(more(row, name) for row in rows for name in same):
            continue
        base = float(rows[0]["result"]["contiguous_device_load_bytes"])
        said = ", ".join(
            f"page {row['point']['page']}: {more(row, 'device_loads'):.3g} loads and "
            f"{more(row, 'device_load_bytes'):.3g} bytes"
            for row in rows
        )
        most = max(more(row, "device_load_bytes") for row in rows)
        point = rows[0]["point"]
        findings.append(
            case.finding(
                tier="derived",
                domain="gpu-perf",
                topic=f"indirection-{dtype}-D{point['D']}",
                title=(
                    f"{dtype} D={point['D']}: a block table adds at most {100 * most / base:.2g} % "
                    "to the bytes a lane loads, and no arithmetic in floating point"
                ),
                content=(
                    f"Counted exactly by instrumented code, a lane loads per block of "
                    f"{point['Bc']} keys, beyond the {base:g} bytes of the contiguous twin: "
                    f"{said}. Matrix operations, FP operations, exponentials and barriers are "
                    "equal. Every lane asks for the same entry, so hardware that merges uniform "
                    "loads fetches less; integer address arithmetic is not counted. A count says "
                    "what is asked of a GPU, not the time it takes."
                ),
                tags=[*_TAGS, "operation-count", "block-table", dtype],
                evidence=Evidence(
                    kind="count",
                    compared="counts of the paged kernel and of its contiguous twin",
                    regime=f"decoding, 8 rows a simdgroup, D={point['D']}, {dtype}, Bc "
                    f"{point['Bc']}, averaged over 16 blocks, as optimised by clang for the host",
                    overturned_by="another count of this kernel text, as from Apple's compiler",
                    rows=keys(rows),
                    effect=Effect(
                        name="most bytes of indirection", value=most, unit="per lane and block"
                    ),
                    n=len(rows),
                ),
            )
        )
    return findings


def _expected(case: Case) -> list[Finding]:
    return [
        expected_ratio_finding(
            case,
            row,
            names=(f"paged attention with pages of {point['page']}", "its contiguous twin"),
            where=f"{point['dtype']} D={point['D']}",
            topic=f"expected-page{point['page']}-{point['dtype']}-D{point['D']}",
            tags=[*_TAGS, "page-size"],
        )
        for row in expected(case, "count")
        for point in (row["point"],)
    ]


def _pairs(case: Case) -> list[Finding]:
    findings = []
    for row in weighed(case, "pair"):
        point, percent = row["point"], 100 * (float(row["result"]["ratio"]) - 1)
        act = "decoding" if point["Nq"] == 1 else f"prefill of {point['Nq']}"
        where = f"{point['dtype']} D={point['D']} N={point['Nkv']}, {act}"
        cold = point.get("memory") == "cold"
        where += ", inputs not in a cache" if cold else ""
        other = "the contiguous twin" if point["against"] == "twin" else "flash"
        findings.append(
            pair_finding(
                case,
                row,
                names=(f"paged attention with pages of {point['page']}", other),
                where=where,
                regime=f"{where}, {point['B']} sequences, {point['Hq']} query heads on "
                f"{point['Hkv']}, partitions of {point['partition']}, pages in random order",
                topic=f"overhead-page{point['page']}-{act.split()[0]}-{point['dtype']}"
                + ("-cold" if cold else ""),
                tags=[*_TAGS, "paired-comparison", "overhead", "page-size"],
                more=f" The table costs {percent:+.1f} % of the time.",
            )
        )
    return findings


conclude = concluding(
    _pages_are_right,
    _same_bits,
    _unused_slots,
    _partitions,
    _budget,
    _counts,
    _pairs,
    _expected,
)
