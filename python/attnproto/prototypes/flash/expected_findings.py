"""What counts of flash tiles let expect of an M4, before one has run them: tier ``modelled``."""

from __future__ import annotations

from attnproto.model import CHIPS
from attnproto.prototypes.rows import Case, Row, keys, tile_name
from attnproto.results.findings import Effect, Evidence, Finding
from attnproto.results.published import PublishedMark, mark_to_reach

# Mean regret of a tile that was chosen so, among published tiles (bench/model.py).
_REGRET, _PUBLISHED_ROWS = 0.01, 193
_OVERTURNED = "a time on an M4 outside the interval"
_LEAST = "modelled_least_us"


def expectations(case: Case) -> list[Finding]:
    """Conclude what each tile is expected to reach, which one is chosen, and beside whom."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in case.of("expected"):
        if row["status"] == "ok":
            groups.setdefault((row["point"]["dtype"], row["point"]["D"]), []).append(row)
    findings = []
    for _, rows in sorted(groups.items()):
        longest = max(row["point"]["Nkv"] for row in rows)
        rows = [row for row in rows if row["point"]["Nkv"] == longest]
        inside = [row for row in rows if "modelled_us" in row["result"]]
        if not inside:
            findings += _bounded(case, [row for row in rows if _LEAST in row["result"]])
            continue
        best = max(inside, key=_rate)
        findings.append(_chosen(case, best, rows))
        mark = _mark(best)
        if mark and mark.tflops:
            findings.append(_beside(case, best, mark, mark.tflops))
    return findings


def _rate(row: Row, name: str = "modelled_us") -> float:
    return float(row["result"]["flops"]) / float(row["result"][name]) / 1e6


def _chip(row: Row) -> str:
    """The chip that a row expects its time of, with its cores where they are known."""
    name = row["result"]["modelled_chip"]
    return f"{name} with {CHIPS[name].cores.value:g} cores" if name in CHIPS else name


def _tile(row: Row) -> str:
    return tile_name(row["point"])


def _mark(row: Row) -> PublishedMark | None:
    point = row["point"]
    if point["causal"] or (point["B"], point["Hq"]) != (1, 1) or point["Nq"] != point["Nkv"]:
        return None
    return mark_to_reach(point["dtype"], point["D"], point["Nkv"])


def _evidence(
    best: Row, rows: list[Row], compared: str, effect: Effect, overturned_by: str = _OVERTURNED
) -> Evidence:
    point = best["point"]
    return Evidence(
        kind="performance",
        compared=compared,
        regime=f"{point['B'] * point['Hq']} heads, Nq = Nkv = {point['Nkv']}, D={point['D']}, "
        f"{point['dtype']}, no mask, on an {_chip(best)}",
        overturned_by=overturned_by,
        rows=(best["key"], *(key for key in keys(rows) if key != best["key"])),
        effect=effect,
        n=_PUBLISHED_ROWS,
        kernel_hash=best["result"]["kernel_hash"],
    )


def _chosen(case: Case, best: Row, rows: list[Row]) -> Finding:
    point = best["point"]
    dtype, d, n = point["dtype"], point["D"], point["Nkv"]
    said = ", ".join(
        f"{_tile(row)} {_rate(row):.2f}"
        if "modelled_us" in row["result"]
        else f"{_tile(row)} no number ({row['result']['modelled_refused'][0].split(':')[0]})"
        for row in rows
    )
    low, high = _rate(best, "modelled_high_us"), _rate(best, "modelled_low_us")
    return case.expectation(
        topic=f"expected-rate-{dtype}-D{d}",
        title=f"{dtype} D={d} N={n}: tile {_tile(best)} is expected to reach {_rate(best):.2f} "
        f"TFLOP/s on an {best['result']['modelled_chip']}, modelled",
        content=(
            f"By a model fitted to nothing but others' published times, not measured: TFLOP/s by "
            f"tile {said}. {_tile(best)} would be chosen, {low:.2f} to {high:.2f} TFLOP/s in 90 % "
            f"of cases, limited by {best['result']['modelled_limit']}. Among published tiles such "
            f"a choice cost {_REGRET:.0%} on average. Tiles out of the model's scope are not "
            "chosen."
        ),
        tags=["flash-attention", "throughput", "tile-size", "prediction", dtype],
        evidence=_evidence(
            best, rows, "times modelled from exact counts, tile by tile",
            Effect(name="expected throughput", value=_rate(best), unit="TFLOP/s", low=low,
                   high=high),
        ),
    )  # fmt: skip


def _bounded(case: Case, rows: list[Row]) -> list[Finding]:
    """What no tile of a problem can exceed, where the model gives none a number."""
    if not rows:
        return []
    best = max(rows, key=lambda row: _rate(row, _LEAST))
    point, chip = best["point"], best["result"]["modelled_chip"]
    where = f"{point['dtype']} D={point['D']} N={point['Nkv']}"
    said = ", ".join(f"{_tile(row)} {_rate(row, _LEAST):.2f}" for row in rows)
    return [
        case.expectation(
            topic=f"expected-most-{point['dtype']}-D{point['D']}",
            title=f"{where}: no tile tried can exceed {_rate(best, _LEAST):.2f} TFLOP/s on an "
            f"{chip}, modelled",
            content=(
                f"At the rates that an {chip}'s pipes and memories cannot exceed, the counts of "
                f"the tiles allow at most, in TFLOP/s: {said}. What is to be expected below that "
                f"is not said: {'; '.join(best['result']['modelled_refused'])}."
            ),
            tags=["flash-attention", "throughput", "tile-size", "prediction", point["dtype"]],
            evidence=_evidence(
                best, rows, "bounds from exact counts, tile by tile",
                Effect(name="throughput, at most", value=_rate(best, _LEAST), unit="TFLOP/s"),
                overturned_by="a time on an M4 below the bound",
            ),
        )
    ]  # fmt: skip


def _beside(case: Case, best: Row, mark: PublishedMark, tflops: float) -> Finding:
    point = best["point"]
    dtype, d, n = point["dtype"], point["D"], point["Nkv"]
    ratio, low, high = (
        _rate(best, name) / tflops
        for name in ("modelled_us", "modelled_high_us", "modelled_low_us")
    )
    return case.expectation(
        topic=f"expected-beside-mfa-{dtype}-D{d}",
        title=f"{dtype} D={d} N={n}: {ratio:.2f} of Metal FlashAttention's rate on M4 is "
        "expected, modelled",
        content=(
            f"Expected of tile {_tile(best)} are {_rate(best):.2f} TFLOP/s; {mark.source} "
            f"published {tflops:.2f} for the same problem. In 90 % of cases the ratio is "
            f"{low:.2f} to {high:.2f}. The one is modelled, the other measured by others."
        ),
        tags=["flash-attention", "throughput", "prediction", "metal-flash-attention", dtype],
        evidence=_evidence(
            best, [best], "a modelled rate with a published one",
            Effect(name="expected ratio", value=ratio, unit="ratio", low=low, high=high),
        ),
    )  # fmt: skip
