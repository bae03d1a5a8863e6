"""Comparing two sets of results point by point."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import environment, stats
from .errors import AttnprotoError
from .run import label, latest_rows
from .runner import Task, run_tasks

# Numbers that repeat exactly: any growth is a change of the kernel.
_EXACT = (
    "threadgroup_bytes",
    "matrix_operations",
    "shuffles",
    "exponentials",
    "float_operations",
    "conversions",
    "threadgroup_loads",
    "device_load_bytes",
    "threadgroup_barriers",
)
_KERNELS_ENV = "ATTNPROTO_COMPARE_KERNELS"
_LIMIT_S = 900.0


class CompareError(AttnprotoError):
    """The two sides cannot be compared."""


@dataclass(frozen=True)
class Change:
    """What happened to one point: ``verdict`` is about the second side."""

    point: str
    verdict: str
    detail: str
    regression: bool
    p_value: float | None = None


@dataclass(frozen=True)
class Comparison:
    """All points of two sides; ``unmatched`` are those that only one side has."""

    changes: tuple[Change, ...]
    unmatched: int
    margin: float

    @property
    def regressions(self) -> list[Change]:
        """Points that got wrong, slower, larger or less accurate."""
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
    """
    return compare_rows(latest_rows(before), latest_rows(after), margin)


def compare_rows(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]], margin: float = 0.02
) -> Comparison:
    """Compare two lists of rows; see ``compare_folders``."""
    old = {_identity(row): row for row in before}
    new = {_identity(row): row for row in after}
    shared = [identity for identity in old if identity in new]
    changes = [_change(old[identity], new[identity], margin) for identity in shared]
    timed = [i for i, change in enumerate(changes) if change.p_value is not None]
    stands = stats.benjamini_hochberg([changes[i].p_value or 0.0 for i in timed])
    for i, keeps in zip(timed, stands, strict=True):
        if not keeps and changes[i].verdict in (stats.FASTER, stats.SLOWER):
            changes[i] = replace(changes[i], verdict=stats.UNDECIDED, regression=False)
    return Comparison(tuple(changes), len(old) + len(new) - 2 * len(shared), margin)


def _identity(row: Mapping[str, Any]) -> str:
    return json.dumps(
        [row["proto"], row["point"], row["device"]["kind"], row["device"]["name"]], sort_keys=True
    )


def _change(old: Mapping[str, Any], new: Mapping[str, Any], margin: float) -> Change:
    point = label(new["proto"], new["point"])
    if old["status"] != new["status"]:
        detail = f"{old['status']} became {new['status']}"
        detail += f": {new['reason']}" if new["reason"] else ""
        return Change(point, "status", detail, new["status"] != "ok")
    was, now = old["result"], new["result"]
    for name in _EXACT:
        if name in was and name in now and was[name] != now[name]:
            detail = f"{name} {was[name]} became {now[name]}"
            return Change(point, "counted", detail, now[name] > was[name])
    if "p99_ulp" in was and "p99_ulp" in now:
        then, today = float(was["p99_ulp"]), float(now["p99_ulp"])
        if abs(today - then) > 0.1 * then:
            detail = f"error {then:.3g} became {today:.3g} ULP"
            return Change(point, "accuracy", detail, today > then)
    if "samples_us" in was and "samples_us" in now:
        return _time_change(point, was["samples_us"], now["samples_us"], margin)
    return Change(point, stats.EQUAL, "same result", False)


def _time_change(point: str, old: list[float], new: list[float], margin: float) -> Change:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    a, b = np.asarray(new), np.asarray(old)
    medians = [np.median(x[rng.integers(0, len(x), (2000, len(x)))], axis=1) for x in (a, b)]
    low, high = np.quantile(medians[0] / medians[1], [0.025, 0.975])
    ratio = float(np.median(a) / np.median(b))
    verdict = stats.decide(float(low), float(high), margin)
    detail = f"time ratio {ratio:.3f} ({low:.3f} to {high:.3f})"
    p_value = float(mannwhitneyu(a, b).pvalue)
    return Change(point, verdict, detail, verdict == stats.SLOWER, p_value)


def compare_with_revision(before: Path, revision: str, margin: float = 0.02) -> Comparison:
    """Compare a folder with the kernels of a git revision, run now on the folder's points.

    Only the kernel texts are taken from the revision; the host code is today's.

    Args:
        before: A results folder.
        revision: A git revision of this project.
        margin: Largest difference called equal.

    Raises:
        CompareError: No such revision, or it has no kernels.
    """
    rows = latest_rows(before)
    with tempfile.TemporaryDirectory() as kernels:
        _extract(revision, Path(kernels))
        os.environ[_KERNELS_ENV] = str(Path(kernels) / "metal")
        try:
            after = list(
                run_tasks(
                    [Task(row["proto"], row["point"], _LIMIT_S) for row in rows],
                    kind=rows[0]["device"]["kind"],
                    mode=rows[0]["mode"],
                    environment=environment.describe(),
                    opener="attnproto.compare:open_with_kernels",
                )
            )
        finally:
            del os.environ[_KERNELS_ENV]
    return compare_rows(rows, after, margin)


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

    from .kernels import registry

    root = Path(os.environ[_KERNELS_ENV])
    registry.metal_root = lambda: root
    return open_device(kind)


def render(comparison: Comparison) -> str:
    """Write a comparison as text: a line for each point that changed, then the totals."""
    lines = [
        f"{'REGRESSED' if change.regression else change.verdict:<10} {change.point}: "
        f"{change.detail}"
        for change in comparison.changes
        if change.verdict != stats.EQUAL
    ]
    equal = sum(change.verdict == stats.EQUAL for change in comparison.changes)
    lines.append(
        f"{len(comparison.changes)} points compared: {equal} equal within "
        f"{100 * comparison.margin:g} %, {len(comparison.regressions)} regressed; "
        f"{comparison.unmatched} on one side only"
    )
    return "\n".join(lines)
