"""The tables of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .compilation import CompiledText

_HEAD = """# Kernels that others published

`make conformance` makes this page: kernels of other projects, as they published them, fetched
by version and hash (`tests/support/third_party.py`) and never committed.
"""


def refused(text: CompiledText) -> int:
    """Kernels of a text that do not compile, for one of the targets."""
    return bool(text.error) + sum(bool(one.cpu or one.ptx) for one in text.compiled)


def tables(texts: Sequence[CompiledText], shares: Mapping[str, int]) -> str:
    """The page."""
    projects = list(dict.fromkeys(one.project for one in texts))
    parts = [_HEAD, _compiled(texts, projects, shares), _fibers(texts), _lints(texts)]
    return "\n".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def _compiled(texts: Sequence[CompiledText], projects: list[str], shares: Mapping) -> str:
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
    head = ("project", "texts taken", "kernels", "tried", "compiled on cpu", "to PTX", "lockstep",
            "fibers", "lint errors")  # fmt: skip
    sampled = ", ".join(f"{name} 1 of {share}" for name, share in shares.items())
    return (
        "## Every kernel compiles\n\n"
        f"{_table(head, rows)}\n"
        f"Of the larger projects a sample is tried, chosen by a hash of a kernel's name, at least "
        f'one of each text: {sampled}. `make conformance ARGS="--share 1"` tries every one.\n'
    )


def _fibers(texts: Sequence[CompiledText]) -> str:
    reasons = Counter(
        (one.project, kernel.reason)
        for one in texts
        for kernel in one.compiled
        if kernel.engine == "fibers"
    )
    if not reasons:
        return ""
    rows = [(*key, count) for key, count in sorted(reasons.items())]
    return f"## Why some run on fibers\n\n{_table(('project', 'reason', 'kernels'), rows)}"


def _lints(texts: Sequence[CompiledText]) -> str:
    found = Counter((one.project, one.name, *lint) for one in texts for lint in one.lints)
    if not found:
        return "## Lint errors\n\nThere is none.\n"
    rows = [(*key, count) for key, count in sorted(found.items())]
    head = ("project", "text", "rule", "message", "places")
    return f"## Lint errors\n\n{_table(head, rows)}"
