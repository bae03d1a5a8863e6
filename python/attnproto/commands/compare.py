"""Comparing two sets of results point by point."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attnproto.errors import AttnprotoError, UnstableMeasurement
from attnproto.measure import stats
from attnproto.prototypes.registry import metrics_of, text_hash
from attnproto.results import published
from attnproto.results.row import Task
from attnproto.results.row_diff import NOTHING, Change, Row, changes_of
from attnproto.results.store import latest_rows
from attnproto.settings import value_of
from attnproto.sweep import environment
from attnproto.sweep.plan import label
from attnproto.sweep.worker import OPENER, Worker, run_tasks

_KERNELS_ENV = "ATTNPROTO_COMPARE_KERNELS"
_LIMIT_S = 900.0
# A turn of a block is a whole run of the point, so blocks are few.
_LOOKS = (3, 6, 12)


class CompareError(AttnprotoError):
    """The two sides cannot be compared."""


@dataclass(frozen=True)
class Comparison:
    """All points of two sides; ``unmatched`` are those that only one side has.

    ``marks`` are an M4's rates, of the second side, beside the published ones; ``undeclared`` are
    results of both sides that no prototype declares, so that they are not compared.
    """

    changes: tuple[Change, ...]
    points: int
    unmatched: int
    margin: float
    marks: tuple[published.Reached, ...] = ()
    undeclared: tuple[str, ...] = ()

    @property
    def regressions(self) -> list[Change]:
        """What got wrong, slower, larger or less accurate."""
        return [change for change in self.changes if change.regression]


def compare_folders(before: Path, after: Path, margin: float = 0.02) -> Comparison:
    """Compare two results folders.

    Times stored in two runs cannot be paired any more, so their medians' ratio gets a
    bootstrap interval, and of the differences found only those stand that survive the
    false-discovery correction over all points.

    Args:
        before: A results folder.
        after: Another.
        margin: Largest difference called equal.

    Returns:
        The comparison.

    Raises:
        CompareError: They have no point on the same device in common.
    """
    return compare_rows(latest_rows(before), latest_rows(after), margin)


def compare_rows(
    before: Iterable[Row],
    after: Iterable[Row],
    margin: float = 0.02,
    paired: Mapping[str, stats.Ratio] | None = None,
) -> Comparison:
    """Compare two lists of rows; see ``compare_folders``.

    ``paired`` has the ratios after / before of times taken in turns, by ``identity``.
    """
    old = {identity(row): row for row in before}
    new = {identity(row): row for row in after}
    shared = [name for name in old if name in new]
    if not shared:
        devices = " and ".join(
            ", ".join(sorted({row["device"]["name"] for row in side.values()})) or "no row"
            for side in (old, new)
        )
        raise CompareError(
            f"[compare] found no point that both sides have ({devices}), needs the same points "
            "on the same device; run one side again"
        )
    metrics = {proto: metrics_of(proto) for proto in {old[name]["proto"] for name in shared}}
    undeclared = {
        result
        for name in shared
        for result in old[name]["result"].keys() & new[name]["result"].keys()
        if result not in metrics[old[name]["proto"]]
    }
    changes = list(
        itertools.chain.from_iterable(
            changes_of(
                label(new[name]["proto"], new[name]["point"]),
                old[name],
                new[name],
                margin,
                (paired or {}).get(name),
                metrics[old[name]["proto"]],
            )
            for name in shared
        )
    )
    timed = [i for i, change in enumerate(changes) if change.p_value is not None]
    stands = stats.benjamini_hochberg([changes[i].p_value or 0.0 for i in timed])
    for i, keeps in zip(timed, stands, strict=True):
        if not keeps and changes[i].verdict in (stats.FASTER, stats.SLOWER):
            changes[i] = replace(changes[i], verdict=stats.UNDECIDED, regression=False)
    unmatched = len(old) + len(new) - 2 * len(shared)
    marks = tuple(published.reached(new.values()))
    names = tuple(sorted(undeclared))
    return Comparison(tuple(changes), len(shared), unmatched, margin, marks, names)


def identity(row: Row) -> str:
    """Name a row by what it is about, whatever mode it was run in."""
    return json.dumps(
        [row["proto"], row["point"], row["device"]["kind"], row["device"]["name"]], sort_keys=True
    )


def compare_with_revision(
    before: Path,
    revision: str,
    margin: float = 0.02,
    openers: tuple[str, str] = (OPENER, "attnproto.commands.compare:open_with_kernels"),
) -> Comparison:
    """Compare a folder with the kernels of a git revision, run now on the folder's points.

    Only the kernel texts are taken from the revision; the host code is today's. Where the
    folder's kernels are still those of this checkout, timed points are run in turns, A-B-B-A,
    until the ratio's interval decides; elsewhere the folder's stored samples have to do.

    Args:
        before: A results folder.
        revision: A git revision of this project.
        margin: Largest difference called equal.
        openers: ``"module:function"`` that open the device with today's and with the
            revision's kernels.

    Raises:
        CompareError: No such revision, it has no kernels, or the folder's device is not here.
    """
    rows = latest_rows(before)
    after: list[dict[str, Any]] = []
    paired: dict[str, stats.Ratio] = {}
    with tempfile.TemporaryDirectory() as kernels:
        _extract(revision, Path(kernels))
        os.environ[_KERNELS_ENV] = str(Path(kernels) / "metal")
        try:
            for (kind, mode), members in _grouped(rows).items():
                fresh = run_tasks(
                    [Task(row["proto"], row["point"], _LIMIT_S) for row in members],
                    kind=kind,
                    mode=mode,
                    environment=environment.describe(),
                    opener=openers[1],
                )
                by_identity = {identity(row): row for row in fresh}
                after += by_identity.values()
                for row in members:
                    if _can_be_paired(row, by_identity.get(identity(row))):
                        ratio = _run_in_turns(row, kind, mode, margin, openers)
                        paired |= {} if ratio is None else {identity(row): ratio}
        finally:
            del os.environ[_KERNELS_ENV]
    return compare_rows(rows, after, margin, paired)


def _grouped(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["device"]["kind"], row["mode"]), []).append(row)
    return groups


def _can_be_paired(old: Row, new: Row | None) -> bool:
    if new is None or not all("samples_us" in row["result"] for row in (old, new)):
        return False
    today = text_hash(old["proto"], old["point"])
    return today is not None and today == old["result"].get("kernel_hash")


def _run_in_turns(
    row: Row, kind: str, mode: str, margin: float, openers: tuple[str, str]
) -> stats.Ratio | None:
    """Return the time of the revision / today's; None when a turn did not go well."""
    ours, theirs = workers = [Worker(kind, mode, opener).opened() for opener in openers]
    try:
        return stats.compare_paired(
            _turn(theirs, row), _turn(ours, row), margin=margin, looks=_LOOKS
        )
    except (CompareError, UnstableMeasurement):
        return None
    finally:
        for worker in workers:
            worker.stop()


def _turn(worker: Worker, row: Row) -> Callable[[], float]:
    def run() -> float:
        status, value = worker.run(Task(row["proto"], row["point"], _LIMIT_S))
        if status != "ok":
            raise CompareError(f"[compare] found a turn {status}, needs all to go well; run again")
        return float(value[1]["time_us"])

    return run


def _extract(revision: str, folder: Path) -> None:
    here = Path(__file__).resolve().parent
    top = subprocess.run(
        ["git", "rev-parse", "--show-toplevel"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    archive = subprocess.run(
        ["git", "archive", "--format=tar", revision, "metal"],
        cwd=top.stdout.strip() or here,
        capture_output=True,
        check=False,
    )
    if top.returncode or archive.returncode:
        said = archive.stderr.decode(errors="replace").strip().splitlines()
        raise CompareError(
            f"[compare] found {revision!r} is neither a folder nor a revision with kernels "
            f"({said[0] if said else 'git failed'}), needs one; check the name"
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        for member in tar.getmembers():
            if member.isfile() and ".." not in Path(member.name).parts:
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                target.write_bytes(source.read() if source else b"")


def open_with_kernels(kind: str) -> Any:
    """Open a device whose kernel texts come from the folder being compared."""
    from attnproto import open_device
    from attnproto.kernels import text

    root = Path(value_of(_KERNELS_ENV) or "")
    text.metal_root = lambda: root
    return open_device(kind)


def render(comparison: Comparison) -> str:
    """Write a comparison as text: a line for each change, an M4's marks, then the totals."""
    changes = comparison.changes
    lines = [
        f"{'REGRESSED' if change.regression else change.verdict:<10} {change.point}: "
        f"{change.detail}"
        for change in changes
        if change.verdict not in (stats.EQUAL, NOTHING)
    ]
    lines += [
        f"{'published':<10} {m.mark.kernel} {m.mark.dtype} D={m.mark.D} N={m.mark.N} "
        f"({m.mark.source}): {m.tflops:.3g} TFLOP/s here, {m.ratio:.2f} of {m.mark.tflops:.3g}"
        for m in comparison.marks
    ]
    if not comparison.marks:
        lines.append(
            "published  no rate measured on an M4 to set beside the published ones; the marks to "
            "reach stand in the report"
        )
    if comparison.undeclared:
        lines.append(
            f"{'undeclared':<10} {', '.join(comparison.undeclared)}: not compared; name them in "
            "their prototype's metrics"
        )
    names = (stats.EQUAL, stats.FASTER, stats.UNDECIDED, NOTHING)
    counts = {name: sum(change.verdict == name for change in changes) for name in names}
    said = [f"{counts[stats.EQUAL]} equal within {100 * comparison.margin:g} %"]
    said += [
        f"{counts[name]} {words}"
        for name, words in (
            (stats.FASTER, "faster"),
            (stats.UNDECIDED, "undecided"),
            (NOTHING, "with nothing to compare"),
        )
        if counts[name]
    ]
    regressed = len({change.point for change in comparison.regressions})
    lines.append(
        f"{comparison.points} points compared: {', '.join(said)}, {regressed} regressed; "
        f"{comparison.unmatched} on one side only"
    )
    return "\n".join(lines)
