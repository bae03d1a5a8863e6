"""The tables of a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from .compilation import CompiledText
from .execution import AGREES, CLEAN, EXPECTED, Executed

# What tells classes of one name apart, in IR's names.
_INSTANCES = re.compile(r"(?:\.N)+")
_HEAD = """# Kernels that others published

`make conformance` makes this page: kernels of other projects, as they published them, fetched
by version and hash (`tests/support/third_party.py`) and never committed. Left out is what Metal 4
has for matrices (MLX's `*_nax.h`, ggml's kernels for tensors), and MLX's `hadamard_m`, for which
its host writes a function. `make conformance ARGS="ggml candle --only run"` runs a part.
"""


def refused(text: CompiledText) -> int:
    """Kernels of a text that do not compile, for one of the targets."""
    return bool(text.error) + sum(bool(one.cpu or one.ptx) for one in text.compiled)


def tables(texts: Sequence[CompiledText], executed: Sequence[Executed]) -> str:
    """The page."""
    projects = list(dict.fromkeys(one.project for one in texts))
    parts = [_HEAD, _compiled(texts, projects), _refusals(texts), _limits(texts), _fibers(texts)]
    parts += [_lints(texts), _executed(executed), _failures(executed), _reports(executed)]
    return "\n".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def _compiled(texts: Sequence[CompiledText], projects: list[str]) -> str:
    rows = []
    for project in projects:
        own = [one for one in texts if one.project == project]
        kernels = [kernel for one in own for kernel in one.compiled]
        rows.append(
            (
                project,
                f"{sum(not one.error for one in own)} of {len(own)}",
                sum(one.kernels for one in own),
                len(kernels),
                sum(not one.cpu for one in kernels),
                sum(not one.ptx for one in kernels),
                sum(one.engine == "lockstep" for one in kernels),
                sum(one.engine == "fibers" for one in kernels),
                sum(len(one.lints) for one in own),
            )
        )
    total = [sum(row[i] for row in rows) for i in range(2, 9)]
    taken = sum(not one.error for one in texts)
    rows.append(("all", f"{taken} of {len(texts)}", *total))
    head = ("project", "texts taken", "kernels", "tried", "compiled on cpu", "to PTX", "lockstep",
            "fibers", "lint errors")  # fmt: skip
    shares = {one.project: one.share for one in texts if one.share > 1}
    sampled = ", ".join(f"{name} 1 of {share}" for name, share in shares.items())
    which = (
        "Of the larger projects a sample is tried, chosen by a hash of a kernel's name, at least "
        f'one of each text: {sampled}. `make conformance ARGS="--share 1"` tries every one.'
    )
    return (
        "## Every kernel compiles\n\n"
        f"{_table(head, rows)}\n"
        f"{which if shares else 'Every kernel is tried.'}\n"
    )


def _refusals(texts: Sequence[CompiledText]) -> str:
    rows = [(one.project, one.name, "", _cell(one.error)) for one in texts if one.error]
    rows += [
        (one.project, one.name, kernel.kernel, _cell(kernel.cpu or kernel.ptx))
        for one in texts
        for kernel in one.compiled
        if kernel.cpu or kernel.ptx
    ]
    head = ("project", "text", "kernel", "error")
    return f"## What is refused\n\n{_table(head, rows)}" if rows else ""


def _limits(texts: Sequence[CompiledText]) -> str:
    rows = [
        (one.project, one.name, kernel.kernel, kernel.limit)
        for one in texts
        for kernel in one.compiled
        if kernel.limit
    ]
    head = ("project", "text", "kernel", "its pipeline is refused, as Metal's would be")
    return f"## Compiled, and too large for a pipeline\n\n{_table(head, rows)}" if rows else ""


def _executed(executed: Sequence[Executed]) -> str:
    rows = []
    for project in dict.fromkeys(one.project for one in executed):
        own = [one for one in executed if one.project == project]
        rows.append(
            (
                project,
                len(own),
                sum(one.fp64 == AGREES for one in own),
                sum(one.validated == CLEAN for one in own),
                sum(one.validated == EXPECTED for one in own),
            )
        )
    total = [sum(row[i] for row in rows) for i in range(1, 5)]
    head = ("project", "run", "agree with FP64", "clean under validation", "rightly reported")
    return (
        "## Kernels against FP64, at odd sizes, and under validation\n\n"
        f"{_table(head, [*rows, ('all', *total)])}"
    )


def _failures(executed: Sequence[Executed]) -> str:
    rows = [
        (one.project, one.name, _cell(one.fp64), _cell(one.validated))
        for one in executed
        if not one.passed
    ]
    head = ("project", "kernel", "against FP64", "under validation")
    return f"## What is wrong\n\n{_table(head, rows)}" if rows else ""


def _reports(executed: Sequence[Executed]) -> str:
    reports: dict[tuple[str, str], list[str]] = {}
    for one in executed:
        if one.report:
            reports.setdefault((one.project, one.report), []).append(one.name)
    rows = [(project, "; ".join(names), _cell(text)) for (project, text), names in reports.items()]
    head = ("project", "kernels", "report")
    return f"## Reports that are right\n\n{_table(head, rows)}" if rows else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:400]


def _fibers(texts: Sequence[CompiledText]) -> str:
    reasons = Counter(
        (one.project, _INSTANCES.sub("", kernel.reason))
        for one in texts
        for kernel in one.compiled
        if kernel.engine == "fibers"
    )
    if not reasons:
        return ""
    rows = [(*key, count) for key, count in sorted(reasons.items())]
    return f"## Why some run on fibers\n\n{_table(('project', 'reason', 'kernels'), rows)}"


def _lints(texts: Sequence[CompiledText]) -> str:
    counts = Counter((one.project, one.name, *lint) for one in texts for lint in one.lints)
    if not counts:
        return "## Lint errors\n\nThere is none.\n"
    rows = [(*key, count) for key, count in sorted(counts.items())]
    head = ("project", "text", "rule", "message", "places")
    return f"## Lint errors\n\n{_table(head, rows)}"
