"""Apple's compiler as a witness: kernels from their text and as Apple compiled them, side by side.

    .venv/bin/python bench/apple_compiled.py             # writes docs/apple-compiled.md
    .venv/bin/python bench/apple_compiled.py --cases 20  # shows it, of some

Each kernel runs twice on the counting device: its text as our clang compiles it, and the module of
MLX's metallib. Counts and outputs are compared, and outputs with FP64.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from attnproto.compiler import object_cache
from attnproto.compiler.frontend.text_key import own_sources
from attnproto.measure.dynamic_counts import Counts, count, counting_device
from support import mlx
from support import witness as kernels

PAGE = Path(__file__).parents[1] / "docs" / "apple-compiled.md"
# What is compared, and what is said of it.
METRICS = {
    "matrix_operations": "matrix operations",
    "shuffles": "shuffles",
    "reductions": "reductions",
    "exponentials": "exponentials",
    "transcendentals": "other functions",
    "conversions": "conversions",
    "threadgroup_barriers": "barriers",
    "device_stores": "device stores",
    "threadgroup_stores": "threadgroup stores",
    "device_loads": "device loads",
    "threadgroup_loads": "threadgroup loads",
    "float_operations": "float operations",
    "integer_operations": "integer operations",
    "branches": "branches",
    "instructions": "instructions",
    "live_registers": "live registers, estimated",
}
_CONFIRMED, _NEAR = 1.0, 0.9  # shares of kernels
_CLOSE = 0.05  # of a ratio to 1


@dataclass(frozen=True)
class Row:
    """A kernel: its case, how the outputs compare, and the counts of both."""

    case: kernels.Case
    judged: kernels.Judged
    text: Mapping[str, float]
    compiled: Mapping[str, float]

    def ratio(self, metric: str) -> float | None:
        """The text's count by the compiled kernel's; None where both are none."""
        ours, theirs = self.text[metric], self.compiled[metric]
        if ours == theirs:
            return 1.0 if ours else None
        return ours / theirs if theirs else math.inf


def measured(cases: Sequence[kernels.Case]) -> Iterator[Row]:
    """Run each case from both, counting; what this compiler has been asked before is kept."""
    device = counting_device()
    both = kernels.witness(device)
    for case in cases:
        constants = json.dumps(sorted((str(k), v) for k, v in case.constants.items()))
        launches = Path(kernels.__file__).read_text()
        parts = ("witness", case.compiled, constants, launches, mlx.MLX.sha256, own_sources())
        name = object_cache.key(*parts)
        if (kept := object_cache.read(name)) is None:
            text, compiled = both.dispatches(case)
            counts = [_numbers(count(device, [one])) for one in (text, compiled)]
            judged = dataclasses.asdict(kernels.judge(case, text, compiled))
            kept = json.dumps([judged, *counts]).encode()
            object_cache.write(name, kept)
        judged, *counts = json.loads(kept)
        yield Row(case, kernels.Judged(**judged), *counts)


def _numbers(counts: Counts) -> dict[str, float]:
    return {metric: float(getattr(counts, metric)) for metric in METRICS}


def page(rows: Sequence[Row]) -> str:
    """The document."""
    equal = sum(row.judged.equal == 1 for row in rows)
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row.case.family.split(" ")[0], []).append(row)
    lines = [
        "# What Apple's compiler says of our counts",
        "",
        "Written by `make apple-compiled`; do not edit.",
        "",
        f"{len(rows)} kernels of MLX {mlx.MLX.version} exist as text and, in the metallib of the",
        "same package, as Apple's compiler compiled them. Each ran twice on the counting device at",
        "odd sizes: from the text, by our clang, and from Apple's module, lifted. "
        f"{equal} of {len(rows)} gave",
        "the same bits in every output.",
        "",
        "This is Apple's front end and optimiser, not its back end: what a GPU executes is made of",
        "it later, by a compiler that unrolls and schedules. The counts of both sides are taken",
        "after one optimiser, ours.",
        "",
        "## Outputs",
        "",
        "| family | kernels | bits equal | largest error of text, of compiled | differences |",
        "|---|---|---|---|---|",
    ]
    for family, members in families.items():
        same = sum(row.judged.equal == 1 for row in members)
        errors = (
            f"{np.max([getattr(row.judged, name) for row in members]):.1e}"
            for name in ("error_of_text", "error_of_compiled")
        )
        why = {row.case.explained for row in members if row.judged.equal < 1}
        said = "; ".join(sorted(why)) or "none"
        lines.append(
            f"| {family} | {len(members)} | {same} | {', '.join(errors)} | {said or 'none'} |"
        )
    lines += [
        "",
        "Errors are against FP64, by the size of the numbers that are summed.",
        "",
        "## Counts: text by compiled",
        "",
        "The median of the ratios of a family's kernels, and in how many the counts are the same.",
        "",
        f"| | {' | '.join(families)} |",
        f"|---|{'---|' * len(families)}",
    ]
    for metric, name in METRICS.items():
        cells = [_cell([row.ratio(metric) for row in members]) for members in families.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_findings(rows), ""])


def _cell(ratios: Sequence[float | None]) -> str:
    known = sorted(r for r in ratios if r is not None)
    if not known:
        return "-"
    same = sum(r == 1 for r in known)
    return f"{known[len(known) // 2]:.2f}, {same}/{len(known)}"


def _findings(rows: Sequence[Row]) -> Iterator[str]:
    yield from (
        "## Which of our counts may be quoted for a kernel that Apple compiles",
        "",
        "Derived from the table. Confirmed: the same in every kernel that has any. Near: within",
        f"{_CLOSE:.0%} in {_NEAR:.0%} of them. Others are our front end's own, and quoted so.",
        "",
        "| count | kernels that have any | the same | within 5 % | smallest, largest ratio | |",
        "|---|---|---|---|---|---|",
    )
    for metric, name in METRICS.items():
        ratios = [r for r in (row.ratio(metric) for row in rows) if r is not None]
        if not ratios:
            continue
        same = sum(r == 1 for r in ratios) / len(ratios)
        close = sum(abs(r - 1) <= _CLOSE for r in ratios) / len(ratios)
        word = "confirmed" if same == _CONFIRMED else "near" if close >= _NEAR else "not confirmed"
        yield (
            f"| {name} | {len(ratios)} | {same:.0%} | {close:.0%} | {min(ratios):.2f}, "
            f"{max(ratios):.2f} | {word} |"
        )


def main() -> None:
    """Run the witness, and write its page or show it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cases", type=int, help="how many, in the order of CI's choice; shown")
    chosen = parser.parse_args().cases
    rows = []
    for row in measured(kernels.cases_in_short(chosen) if chosen else kernels.cases()):
        rows.append(row)
        print(f"{row.case.compiled}: {row.judged}", file=sys.stderr, flush=True)
    text = page(rows)
    print(text) if chosen else PAGE.write_text(text)


if __name__ == "__main__":
    main()
