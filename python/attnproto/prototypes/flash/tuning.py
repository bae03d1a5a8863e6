"""The best tile of one problem on one device: what is tried, in which order, what is said of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from attnproto.errors import UnsupportedProblem
from attnproto.kernels.flash_tile import (
    BLOCK_KEYS,
    BLOCK_ROWS,
    KEY_PATHS,
    QUERY_PLACES,
    RESCALES,
    ROWS,
    FlashTile,
)
from attnproto.problem import AttentionProblem
from attnproto.prototypes.pair_findings import pair_finding, weighed
from attnproto.prototypes.rows import Case, Row
from attnproto.results.findings import Finding
from attnproto.results.tables import Table

# A tile's axes: their names in points, their names in FlashTile, and their values.
_AXES: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "Br": ("br", BLOCK_ROWS),
    "Bc": ("bc", BLOCK_KEYS),
    "rows": ("rows", ROWS),
    "keys": ("keys", tuple(KEY_PATHS)),
    "query": ("query", tuple(QUERY_PLACES)),
    "rescale": ("rescale", tuple(RESCALES)),
}
# Axes are searched in turn, the others as the best so far has them; those of the blocks together,
# since how many rows a simdgroup takes decides what a block costs; and ways of reading with Br,
# since so many simdgroups share what is staged.
STAGES = (("Br", "Bc", "rows"), ("keys", "Br"), ("query",), ("rescale",))
JUDGED, DUEL, CHOSEN = "candidate", "duel", "tuned"
_RIVAL = "rival_"


def variations(tile: FlashTile, axes: Sequence[str]) -> list[FlashTile]:
    """Return the tiles that differ from one in these axes alone, itself among them.

    Where queries no longer fit threadgroup memory they stay in device memory.

    Args:
        tile: The best so far.
        axes: Their names in points.
    """
    names = [_AXES[axis][0] for axis in axes]
    varied: dict[FlashTile, None] = {}
    for values in itertools.product(*(_AXES[axis][1] for axis in axes)):
        changes = dict(zip(names, values, strict=True))
        for more in ({}, {} if "query" in axes else {"query": None}):
            try:
                varied.setdefault(replace(tile, **changes, **more))
                break
            except UnsupportedProblem:
                continue
    return list(varied)


def _point(kind: str, problem: AttentionProblem, tile: FlashTile) -> dict[str, Any]:
    return {"kind": kind, **problem.as_dict(), "input": "normal", **_axes_of(tile)}


def _axes_of(tile: FlashTile, prefix: str = "") -> dict[str, Any]:
    return {prefix + axis: getattr(tile, name) for axis, (name, _) in _AXES.items()}


def judged_point(problem: AttentionProblem, tile: FlashTile) -> dict[str, Any]:
    """Return the point that judges a tile against FP64 before it is timed."""
    return _point(JUDGED, problem, tile)


def duel_point(
    kind: str, problem: AttentionProblem, tile: FlashTile, rival: FlashTile, looks: Sequence[int]
) -> dict[str, Any]:
    """Return the point that compares a tile with another.

    Args:
        kind: ``DUEL`` in a search, ``CHOSEN`` for the last one, of the winner and the default.
        problem: What both compute.
        tile: A.
        rival: B.
        looks: Block counts after which it is looked whether the ratio is decided.
    """
    listed = ",".join(map(str, looks))
    return {**_point(kind, problem, tile), **_axes_of(rival, _RIVAL), "looks": listed}


def rival_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a duel's point with the axes of B in place of those of A."""
    return {**point, **{axis: point[_RIVAL + axis] for axis in _AXES}}


def looks_of(point: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the block counts after which a duel is looked at."""
    return tuple(int(count) for count in point["looks"].split(","))


def _label(point: Mapping[str, Any]) -> str:
    """A tile in few words."""
    axes = f"{point['rows']} rows, keys {point['keys']}, query {point['query']}"
    return f"{point['Br']}x{point['Bc']}, {axes}, rescale {point['rescale']}"


def _shape(point: Mapping[str, Any]) -> str:
    """A problem in few words."""
    keys = f" Nkv={point['Nkv']}" if point["Nkv"] != point["Nq"] else ""
    heads = f" B={point['B']} Hq={point['Hq']} Hkv={point['Hkv']}"
    causal = " causal" if point["causal"] else ""
    return f"{point['dtype']} D={point['D']} N={point['Nq']}{keys}{heads}{causal}"


def tuned(case: Case) -> list[Finding]:
    """Say how much faster than the default tile the one is that a search chose."""
    findings = []
    for row in weighed(case, CHOSEN):
        point = row["point"]
        tried = [one for one in case.of(JUDGED) if _shape(one["point"]) == _shape(point)]
        findings.append(
            pair_finding(
                case,
                row,
                names=(f"tile {_label(point)}", f"the default tile {_label(rival_of(point))}"),
                where=_shape(point),
                regime=f"{_shape(point)}, seeded normal inputs",
                topic=f"tuned-{_shape(point).replace(' ', '-')}",
                tags=["flash-attention", "tile-size", "tuning", point["dtype"]],
                more=f" It is the winner of {len(tried)} tiles, by successive halving.",
            )
        )
    return findings


_COLUMNS = ("tile", "found", "time / best so far", "from", "to", "blocks", "best so far")


def sections(rows: Sequence[Row]) -> list[Table]:
    """Make a table of each search: every tile with its longest comparison."""
    case = Case(rows)
    searched: dict[str, list[Row]] = {}
    for row in case.of(JUDGED, DUEL, CHOSEN):
        searched.setdefault(_shape(row["point"]), []).append(row)
    return [
        Table(
            f"Tiles tried for {shape}",
            "Each tile with the comparison that had the most blocks, in the order of the search; "
            "a wrong tile is out before it is timed.",
            _COLUMNS,
            tuple(_lines(members)),
        )
        for shape, members in searched.items()
    ]


def _lines(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    longest: dict[str, Row] = {}
    for row in rows:
        label = _label(row["point"])
        if _blocks(row) >= _blocks(longest.get(label, row)):
            longest[label] = row
    return [_line(label, row) for label, row in longest.items()]


def _blocks(row: Row) -> int:
    return int(row["result"].get("blocks", 0))


def _line(label: str, row: Row) -> tuple[Any, ...]:
    result = row["result"]
    if row["status"] != "ok":
        return (label, f"{row['status']}: {row['reason']}", None, None, None, None, None)
    if "ratio" not in result:
        return (label, "right", None, None, None, None, None)
    numbers = (round(result[name], 3) for name in ("ratio", "ratio_low", "ratio_high"))
    rival = _label(rival_of(row["point"]))
    return (label, result["verdict"], *numbers, result["blocks"], rival)
