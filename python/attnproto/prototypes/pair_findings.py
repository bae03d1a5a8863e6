"""Two kernels timed against each other, and what a finding may say of the ratio."""

from __future__ import annotations

from collections.abc import Sequence

from attnproto.measure import stats
from attnproto.measure.pairs import MARGIN
from attnproto.results.findings import Effect, Evidence, Finding

from .rows import Case, Row


def weighed(case: Case, *kinds: str) -> list[Row]:
    """Return the timed pairs, each with the verdict that stands.

    Over all pairs of the run only those differences stand that survive the false-discovery
    correction; the others count as undecided.
    """
    rows = [row for row in case.of(*kinds) if row["status"] == "ok" and "ratio" in row["result"]]
    if case.tier != "measured" or not rows:
        return []
    stands = stats.benjamini_hochberg([float(row["result"]["p_value"]) for row in rows])
    return [
        row if stand or row["result"]["verdict"] == stats.EQUAL else _undecided(row)
        for row, stand in zip(rows, stands, strict=True)
    ]


def _undecided(row: Row) -> Row:
    return {**row, "result": {**row["result"], "verdict": stats.UNDECIDED}}


def verdict_in_words(row: Row, other: str) -> str:
    """Say what a comparison found of A beside B."""
    return {
        stats.EQUAL: f"as fast as {other} within {100 * MARGIN:g} %",
        stats.FASTER: f"faster than {other}",
        stats.SLOWER: f"slower than {other}",
        stats.UNDECIDED: f"not told apart from {other} in time",
    }[row["result"]["verdict"]]


def _meaning(row: Row, more: str) -> str:
    """Say what follows from the ratio; of an undecided one only what it excludes."""
    result = row["result"]
    if result["verdict"] != stats.UNDECIDED:
        return more
    largest = max(float(result["ratio_high"]), 1.0 / float(result["ratio_low"])) - 1.0
    return (
        " No difference is claimed: neither is one shown that chance among this run's comparisons "
        f"does not explain, nor is it below {100 * MARGIN:g} %. One of more than "
        f"{100 * largest:.2g} % is excluded."
    )


def pair_finding(
    case: Case,
    row: Row,
    *,
    names: tuple[str, str],
    where: str,
    regime: str,
    topic: str,
    tags: Sequence[str],
    more: str = "",
) -> Finding:
    """Make the finding of one comparison; of an undecided one, that nothing was found.

    Args:
        case: The row's case.
        row: One of ``weighed``.
        names: Of A and B.
        where: The size, in few words.
        regime: The size and everything else that was held.
        topic: Stable name.
        tags: Of the finding.
        more: Sentences after a decided ratio.
    """
    result = row["result"]
    a, b = names
    ratio, low, high = (float(result[name]) for name in ("ratio", "ratio_low", "ratio_high"))
    return case.finding(
        domain="gpu-perf",
        topic=topic,
        title=f"{where}: {a} is {verdict_in_words(row, b)} on {case.device.name}",
        content=(
            f"Time with {a} divided by time with {b} is {ratio:.3f} ({low:.3f} to {high:.3f}), "
            f"both right against FP64, over {result['blocks']} A-B-B-A blocks.{_meaning(row, more)}"
        ),
        tags=[*tags, *(["non-finding"] if result["verdict"] == stats.UNDECIDED else [])],
        evidence=Evidence(
            kind="performance",
            compared=f"GPU times of {a} and {b}, all else equal",
            regime=regime,
            overturned_by="a paired run whose interval of the ratio excludes this one",
            rows=(row["key"],),
            effect=Effect(name="time ratio", value=ratio, unit="", low=low, high=high),
            n=4 * int(result["blocks"]),
            cv=float(result["cv"]),
            kernel_hash=result["kernel_hash"],
        ),
    )
