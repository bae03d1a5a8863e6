"""What counts of two kernels let expect of the ratio of their times on an M4: ``modelled``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attnproto.model.beside import beats_bound, beside_expected
from attnproto.results.findings import Effect, Evidence, Finding

from .rows import Case, Row


def expected(case: Case, *kinds: str) -> list[Row]:
    """Return the right rows of some kinds whose ratio the model's scope allows."""
    return [
        row
        for row in case.of(*kinds)
        if row["status"] == "ok" and "modelled_ratio" in row["result"]
    ]


def expected_ratio_finding(
    case: Case, row: Row, *, names: tuple[str, str], where: str, topic: str, tags: Sequence[str]
) -> Finding:
    """Make the finding of one expected ratio.

    Args:
        case: The row's case.
        row: One of ``expected``.
        names: Of the kernel, and of what it is compared with.
        where: The size, in few words.
        topic: Stable name.
        tags: Of the finding.
    """
    result = row["result"]
    ratio, low, high = (float(result[f"modelled_ratio{end}"]) for end in ("", "_low", "_high"))
    a, b, chip = *names, result["modelled_chip"]
    return case.expectation(
        topic=topic,
        title=f"{where}: {a} is expected to take {ratio:.2f} of {b}'s time on an {chip}, modelled",
        content=(
            f"From what {a} and {b} do a block of keys, counted, a model of an {chip} expects "
            f"{ratio:.3f} of the time; ratios of published kernels fell within {low:.2f} to "
            f"{high:.2f} of such in 90 % of cases, so a difference of less is not told apart. "
            "Nothing was measured."
        ),
        tags=[*tags, "prediction", "overhead"],
        evidence=Evidence(
            kind="cost",
            compared="times modelled from counts of both kernels, the same tile",
            regime=f"{where}, as many queries as keys, enough to fill an {chip}",
            overturned_by="a paired run on an M4 whose ratio lies outside the interval",
            rows=(row["key"],),
            effect=Effect(name="expected time ratio", value=ratio, unit="", low=low, high=high),
            kernel_hash=result["kernel_hash"],
        ),
    )


def measured_beside_expected(case: Case, result: Mapping[str, Any]) -> str:
    """Say whether a time measured on the model's chip is what it expected; nothing elsewhere."""
    if beats_bound(case.device.name, result):
        return (
            f" A model called {result['modelled_least_us']:.4g} us the least before the run; the "
            "time is a surprise, below it."
        )
    beside = beside_expected(case.device.name, result)
    if beside is None:
        return ""
    ratio, inside = beside
    low, high = (float(result[f"modelled_{end}_us"]) for end in ("low", "high"))
    verdict = "as expected," if inside else "a surprise,"
    return (
        f" A model expected {result['modelled_us']:.4g} us ({low:.4g} to {high:.4g}) before the "
        f"run; the time is {verdict} {ratio:.2f} of it."
    )
