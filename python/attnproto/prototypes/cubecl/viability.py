"""Whether CubeCL serves attention kernels, computed from the rows: the specification's AC-6.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnproto.measure.stats import EQUAL, FASTER
from attnproto.prototypes.rows import Case, Row, right

# A generated kernel is as good as ours when it has at most this many times our instructions.
MOST_INSTRUCTIONS = 1.1
YES, NO, OPEN = "viable", "not viable", "not known"
_SAME = ("matrix_operations", "device_load_bytes", "device_store_bytes")


@dataclass(frozen=True)
class Verdict:
    """What a way of using CubeCL is good for.

    Args:
        way: In words.
        versions: Of the crates that made the texts.
        off_path: For kernels off the critical path: ``YES`` or ``NO``, by its code.
        on_path: For kernels on it: ``YES``, ``NO``, or ``OPEN`` where nothing was timed.
        why: The figures that decided.
        rows: What it rests on.
    """

    way: str
    versions: str
    off_path: str
    on_path: str
    why: str
    rows: tuple[Row, ...]


def generated(case: Case, *names: str) -> list[Row]:
    """The rows of generated kernels that exist: those that the generator did not refuse."""
    rows = [row for name in names for row in case.of("kernel", name=name)]
    return [row for row in rows if "refused" not in row["result"]]


def beside(case: Case, theirs: str, ours: str) -> list[tuple[Row, Row]]:
    """Pair a generated kernel with ours, at each size and element type where both are right."""

    def place(row: Row) -> tuple:
        return row["point"]["N"], row["point"]["dtype"]

    by_place = {place(row): row for row in case.of("kernel", name=ours) if row["status"] == "ok"}
    return [
        (row, by_place[place(row)])
        for row in generated(case, theirs)
        if row["status"] == "ok" and place(row) in by_place
    ]


def ratios(pairs: Sequence[tuple[Row, Row]], name: str) -> list[float]:
    """Theirs over ours of one result."""
    return [a["result"][name] / b["result"][name] for a, b in pairs]


def verdicts(case: Case) -> list[Verdict]:
    """Judge each way that the rows are about."""
    judgements = (_written(case), _library(case), _translated(case))
    return [verdict for verdict in judgements if verdict is not None]


def _written(case: Case) -> Verdict | None:
    pairs = beside(case, "cmma", "hand8")
    if not pairs:
        return None
    equal = all(a["result"][name] == b["result"][name] for a, b in pairs for name in _SAME)
    most = max(ratios(pairs, "ir_instructions"))
    sound = all(a["result"]["as_generated"] == "right" for a, _ in pairs)
    good = equal and sound and most <= MOST_INSTRUCTIONS
    why = (
        f"right as generated: {_said(sound)}; the matrix operations and bytes of ours at one tile "
        f"a simdgroup: {_said(equal)}; at most {most:.2f} times its instructions, "
        f"{MOST_INSTRUCTIONS} allowed"
    )
    return Verdict(
        "kernels written in CubeCL with cmma",
        pairs[0][0]["result"]["versions"],
        YES if good else NO,
        _by_time(case, "cmma", "hand32") if good else NO,
        why,
        tuple(row for pair in pairs for row in pair),
    )


def _library(case: Case) -> Verdict | None:
    rows = generated(case, "cubek", "flash")
    if not right(rows):
        return None
    broken = [row for row in rows if row["result"]["as_generated"] != "right"]
    # What is undefined may come out right by chance, which only Apple's own compiler would settle.
    chance = case.device.kind != "metal" and any(row["result"]["mends"] for row in rows)
    if broken:
        off_path = on_path = NO
        why = (
            f"{len(broken)} of {len(rows)} texts rest on what MSL leaves undefined, and are wrong "
            "here until it is mended"
        )
    elif chance:
        off_path = on_path = OPEN
        why = (
            f"all {len(rows)} texts are right as generated, but rest on what MSL leaves undefined: "
            "another compiler's luck says nothing of Apple's"
        )
    else:
        off_path, on_path = YES, _by_time(case, "flash", "hand-flash")
        why = f"all {len(rows)} texts are right as generated"
    return Verdict(
        "cubek's own matmul and attention",
        rows[0]["result"]["versions"],
        off_path,
        on_path,
        why,
        tuple(rows),
    )


def _translated(case: Case) -> Verdict | None:
    rows = generated(case, "scalar-wgsl", "unit-wgsl", "cmma-wgsl")
    if not right(rows):
        return None
    without = all(row["result"]["matrix_operations"] == 0 for row in rows)
    sound = all(row["result"]["as_generated"] == "right" for row in rows)
    why = (
        f"right as generated: {_said(sound)}; matrix operations in its texts: "
        f"{'none' if without else 'some'}, so attention's products "
        f"{'run' if without else 'need not run'} as scalar code"
    )
    return Verdict(
        "WGSL translated by naga",
        rows[0]["result"]["versions"],
        YES if sound else NO,
        NO if without or not sound else _by_time(case, "cmma-wgsl", "hand32"),
        why,
        tuple(rows),
    )


def _said(yes: bool) -> str:
    return "yes" if yes else "no"


def _by_time(case: Case, a: str, b: str) -> str:
    """What timed pairs say: as fast as ours or faster in all of them."""
    timed = [row["result"] for row in case.of("pair", a=a, b=b) if "ratio" in row["result"]]
    if case.tier != "measured" or not timed:
        return OPEN
    return YES if all(result["verdict"] in (EQUAL, FASTER) for result in timed) else NO
