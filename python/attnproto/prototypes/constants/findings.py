"""What rows of the constants prototype allow to conclude, by rules written out here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnproto.prototypes.rows import Case, Row, concluding, keys, right
from attnproto.results.findings import Effect, Evidence, Finding

_TAGS = ("function-constants", "compilation", "pipeline-cache")


def _largest(case: Case) -> Row | None:
    rows = [row for row in case.of("compile") if row["status"] == "ok"]
    return max(rows, key=lambda row: row["point"]["count"], default=None)


def _regime(rows: Sequence[Row]) -> str:
    counts = ", ".join(str(row["point"]["count"]) for row in rows)
    return (
        f"{counts} variants of flash (D 64, 128, 256; Br 8 to 64; Bc 32 to 128; flags by function "
        f"constants), float16, compiler {rows[0]['result']['compiler']}"
    )


def _compiled_once(case: Case) -> list[Finding]:
    rows = case.of("compile")
    if not right(rows):
        return []
    for row in rows:
        result, count = row["result"], row["point"]["count"]
        if case.device.kind != "cpu" or result["cached_cold"]:
            return []
        if result["cached_memory"] != count or result["cached_disk"] != count:
            return []
    total = sum(row["point"]["count"] for row in rows)
    return [
        case.finding(
            tier="derived",
            domain="metal-compute",
            topic="compiled-once",
            title=f"{total} cold variants run the compiler {total} times, and never again",
            content=(
                "Variants with a nonce in their arithmetic miss every cache; compiled again in the "
                "same process, or in a new one, each is served from memory or from disk. A text "
                "that was compiled before is no cold compile, whatever process asks for it."
            ),
            tags=[*_TAGS, "cold-compile"],
            evidence=Evidence(
                kind="count",
                compared="pipelines that ran a compiler, cold, from disk and from memory",
                regime=_regime(rows),
                overturned_by="a cold variant served by a cache, or a warm one that is compiled",
                rows=keys(rows),
                effect=Effect(name="compilers run when warm", value=0.0, unit=""),
                n=total,
            ),
        )
    ]


def _served(case: Case) -> list[Finding]:
    row = _largest(case)
    if row is None or row["result"].get("served") != row["point"]["count"]:
        return []
    count = row["point"]["count"]
    forbidden = " in a process where the compiler raises" if case.device.kind == "cpu" else ""
    return [
        case.finding(
            domain="metal-compute",
            topic="archive-serves",
            title=f"An archive serves {count} specialised variants to a new process, no miss",
            content=(
                f"Shipped as one file, {count} pipelines with function constants load in a new "
                f"process that fails on a miss{forbidden}; a variant that was not stored is "
                "refused. The file names device, system and compiler and is refused where one of "
                "them differs or a byte is wrong."
            ),
            tags=[*_TAGS, "binary-archive"],
            evidence=Evidence(
                kind="correctness",
                compared="pipelines served from the archive with pipelines asked for",
                regime=_regime([row]),
                overturned_by="a stored variant that misses, or an absent one that is served",
                rows=(row["key"],),
                effect=Effect(name="variants served", value=count, unit=""),
                n=count,
                kernel_hash=row["result"]["kernel_hash"],
            ),
        )
    ]


def _distinct(case: Case) -> list[Finding]:
    row = _largest(case)
    if row is None or row["result"].get("distinct_objects") != row["point"]["count"]:
        return []
    count = row["point"]["count"]
    return [
        case.finding(
            tier="derived",
            domain="msl-kernels",
            topic="variants-differ",
            title=f"All {count} variants are different machine code",
            content=(
                f"The {count} variants, each a template instance with its function constants, give "
                f"{count} different objects though they share one nonce: compile costs are those "
                "of variants that a program could need, not of one kernel compiled again."
            ),
            tags=[*_TAGS, "code-generation"],
            evidence=Evidence(
                kind="count",
                compared="SHA-256 of the objects in the archive",
                regime=_regime([row]),
                overturned_by="two variants with the same object",
                rows=(row["key"],),
                effect=Effect(name="different objects", value=count, unit=""),
                n=count,
                kernel_hash=row["result"]["kernel_hash"],
            ),
        )
    ]


def _bytes(case: Case) -> list[Finding]:
    row = _largest(case)
    if row is None or "archive_bytes" not in row["result"]:
        return []
    count = row["point"]["count"]
    each = row["result"]["archive_bytes"] / count
    return [
        case.finding(
            domain="metal-compute",
            topic="archive-bytes",
            title=f"An archived variant takes {each / 1024:.3g} KiB on {case.device.kind}",
            content=(
                f"An archive of {count} variants has {row['result']['archive_bytes']:,} bytes. The "
                f"base set of 72 would take {72 * each / 2**20:.3g} MiB if the rest is like them."
            ),
            tags=[*_TAGS, "binary-archive", "size"],
            evidence=Evidence(
                kind="budget",
                compared="size of the archive with the variants in it",
                regime=_regime([row]),
                overturned_by="an archive of these variants of another size",
                rows=(row["key"],),
                effect=Effect(name="archive bytes a variant", value=each, unit="bytes"),
                n=count,
                kernel_hash=row["result"]["kernel_hash"],
            ),
        )
    ]


def _cv(values: Sequence[float]) -> float:
    return float(np.std(values) / np.mean(values)) if len(values) > 1 else 1.0


def _cold(case: Case) -> list[Finding]:
    row = _largest(case)
    if case.tier != "measured" or row is None:
        return []
    result = row["result"]
    stages = {s: result[f"cold_{s}_all_us"] for s in ("library", "function", "pipeline")}
    totals = np.sum(list(stages.values()), axis=0) / 1e3
    parts = ", ".join(f"{name} {np.median(times) / 1e3:.3g}" for name, times in stages.items())
    median = float(np.median(totals))
    return [
        case.finding(
            domain="metal-compute",
            topic="cold-compile",
            title=f"A cold variant of flash takes {median:.3g} ms to compile on {case.device.name}",
            content=(
                f"Over {len(totals)} variants that no cache had seen the median is {median:.3g} ms "
                f"(ms by stage: {parts})."
            ),
            tags=[*_TAGS, "cold-compile"],
            evidence=Evidence(
                kind="cost",
                compared="wall-clock times of the stages, cold",
                regime=_regime([row]),
                overturned_by="a cold run with another median, or a cache that had seen the text",
                rows=(row["key"],),
                effect=Effect(name="cold compile", value=median, unit="ms"),
                n=len(totals),
                cv=_cv(totals),
                kernel_hash=result["kernel_hash"],
            ),
        )
    ]


def _speedup(case: Case) -> list[Finding]:
    row = _largest(case)
    if case.tier != "measured" or row is None or "archive_pipeline_all_us" not in row["result"]:
        return []
    result = row["result"]
    pairs = zip(result["cold_pipeline_all_us"], result["archive_pipeline_all_us"], strict=True)
    ratios = [cold / max(stored, 1e-3) for cold, stored in pairs]
    median = float(np.median(ratios))
    compiled, served, read, created = (
        f"{result[f'{name}_us'] / 1e6:.3g} s"
        for name in ("cold_wall", "archive_wall", "archive_load", "archive_create")
    )
    return [
        case.finding(
            domain="metal-compute",
            topic="archive-speedup",
            title=f"An archive makes pipelines {median:.3g} times faster on {case.device.name}",
            content=(
                f"In a new process that fails on a miss, {len(ratios)} pipelines come from the "
                f"archive {median:.3g} times faster than they are made cold (median of ratios). "
                f"All stages of all of them took {compiled} cold, and {served} here after {read} "
                f"to read the archive, which took {created} to make."
            ),
            tags=[*_TAGS, "binary-archive"],
            evidence=Evidence(
                kind="cost",
                compared="pipeline time cold with that from the archive, variant by variant",
                regime=_regime([row]),
                overturned_by="a run whose median ratio is another",
                rows=(row["key"],),
                effect=Effect(name="cold over archive", value=median, unit=""),
                n=len(ratios),
                cv=_cv(ratios),
                kernel_hash=result["kernel_hash"],
            ),
        )
    ]


def _threads(case: Case) -> list[Finding]:
    rows = [row for row in case.of("threads") if row["status"] == "ok"]
    walls = {row["point"]["threads"]: row["result"].get("wall_us") for row in rows}
    if case.tier != "measured" or 1 not in walls or len(walls) < 2 or len(walls[1]) < 3:
        return []
    most = max(walls)
    gained = float(np.median(walls[1]) / np.median(walls[most]))
    return [
        case.finding(
            domain="metal-compute",
            topic="compile-threads",
            title=f"{most} compile threads are {gained:.3g} times as fast as one",
            content=f"{rows[0]['point']['count']} cold variants, the same work on 1 to {most}.",
            tags=[*_TAGS, "compile-threads"],
            evidence=Evidence(
                kind="cost",
                compared="wall-clock time of all variants on one thread and on more",
                regime=_regime(rows),
                overturned_by="a run with another ratio",
                rows=keys(rows),
                effect=Effect(name="one thread over many", value=gained, unit=""),
                n=len(walls[most]),
                cv=max(_cv(walls[1]), _cv(walls[most])),
                kernel_hash=rows[0]["result"]["kernel_hash"],
            ),
        )
    ]


conclude = concluding(_compiled_once, _served, _distinct, _bytes, _cold, _speedup, _threads)
