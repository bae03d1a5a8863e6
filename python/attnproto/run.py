"""Running prototypes into a results folder: the part of the command line that works."""

from __future__ import annotations

import gc
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import environment
from .errors import AttnprotoError, DeviceUnavailable
from .prototypes import REGISTRY, Entry, entry, is_built, load
from .runner import DEVICE_KINDS, OPENER, DeviceRecord, Task, run_tasks, task_key
from .store import FINDINGS, POINTS, Store, read_records
from .sweep import check_points, keep, parse_axis, parse_sweep, vary

# Seconds one point may take before its worker is ended.
_LIMITS_S = {"quick": 60.0, "full": 1800.0}


class UsageError(AttnprotoError, ValueError):
    """A command line that cannot be followed."""


@dataclass(frozen=True)
class Plan:
    """What a run is to do."""

    tasks: tuple[Task, ...]
    mode: str
    device: str
    out: Path
    resume: bool
    skipped: tuple[tuple[Entry, str], ...]
    opener: str = OPENER
    fleet: str | None = None
    jobs: int = 1


@dataclass(frozen=True)
class Finished:
    """What a run did."""

    rows: int
    not_ok: int
    findings: tuple[tuple[str, str, str], ...]  # prototype, tier, title
    report: Path


def make_plan(
    *,
    mode: str,
    device: str,
    only: Sequence[str] = (),
    out: Path | None = None,
    resume: bool = False,
    where: Sequence[str] = (),
    axis: Sequence[str] = (),
    sweep_text: str | None = None,
    point: str | None = None,
    limit_s: float | None = None,
    protocol: str | None = None,
    opener: str = OPENER,
    fleet: str | None = None,
    jobs: int = 1,
    say: Callable[[str], None] | None = None,
) -> Plan:
    """Check the options, build what prototypes need that can be built, and list the points.

    Args:
        mode: ``"quick"`` or ``"full"``.
        device: One of ``DEVICE_KINDS``.
        only: Prototypes; all of them when empty.
        out: Results folder; a fresh one under ``results`` when None.
        resume: Go on in a folder that has points.
        where: Conditions on points.
        axis: Axes such as ``"D=64,128"`` whose values take the place of the points' own.
        sweep_text: TOML with sweeps, in place of the prototypes' own points.
        point: One point as JSON, in place of the prototype's own.
        limit_s: Seconds a point may take.
        protocol: The mode whose protocol times the points; ``mode`` itself when None.
        opener: ``"module:function"`` that opens the device.
        fleet: Address of a dask scheduler whose workers run the points; None for here.
        jobs: How many processes run points here; one at a time has the device.
        say: Told what takes long; where None, nothing is built.

    Raises:
        UsageError: An unknown device, a folder in use, options that exclude each other, or no
            point left to run.
        SweepError: A condition, an axis or a point that its prototype does not understand.
        UnknownPrototype: A name in ``only`` that no prototype bears.
    """
    if device not in DEVICE_KINDS and opener == OPENER:
        raise UsageError(
            f"[run] found device {device!r}, needs one of {', '.join(DEVICE_KINDS)}; "
            "pass --device cpu"
        )
    protocol = mode if protocol is None else protocol
    if protocol not in _LIMITS_S:
        raise UsageError(
            f"[run] found protocol {protocol!r}, needs quick or full; pass --protocol quick"
        )
    limit_s = _LIMITS_S[protocol] if limit_s is None else limit_s
    if not limit_s > 0.0:
        raise UsageError(
            f"[run] found --limit-s {limit_s:g}, needs more than 0; leave it out for "
            f"{_LIMITS_S[mode]:g}"
        )
    if jobs < 1:
        raise UsageError(f"[run] found --jobs {jobs}, needs at least 1; leave it out for 1")
    if fleet is not None and jobs > 1:
        raise UsageError(
            f"[run] found --jobs {jobs} with --fleet, needs one of the two: a machine of a fleet "
            "takes one point at a time; drop --jobs"
        )
    entries = [line for line in REGISTRY if not only or line.name in only]
    own = [name for name in only if ":" in name]
    for name in only:
        if name not in own:
            entry(name)
    built = [*(line.name for line in entries if is_built(line.name)), *own]
    if point is not None and len(built) != 1:
        raise UsageError(
            f"[run] found --point with {len(built)} prototypes, needs exactly one; add --only NAME"
        )
    axes = dict(map(parse_axis, axis))
    keep((), where)  # a condition that is none is said now
    folder = _folder(out, resume)
    points: list[tuple[str, dict[str, Any]]] = []
    if sweep_text is not None:
        points = [(s.prototype, p) for s in parse_sweep(sweep_text) for p in s.points()]
    elif point is not None:
        points = [(built[0], _parse_point(point))]
    if say:
        # Not before the options are known to be good: it may take minutes.
        _prepare(only, say)
    skipped = tuple((line, why) for line in entries if (why := _missing(line.name)))
    if sweep_text is None and point is None:
        runnable = (name for name in built if not _missing(name))
        points = [(name, p) for name in runnable for p in load(name).points(mode)]
    points = _chosen(points, mode, axes, where)
    if not points and (where or not skipped):
        raise UsageError(
            "[run] found no point that meets the conditions, needs one at least; loosen --where"
        )
    tasks = tuple(Task(name, p, limit_s) for name, p in points)
    return Plan(tasks, protocol, device, folder, resume, skipped, opener, fleet, jobs)


def _chosen(
    listed: list[tuple[str, dict[str, Any]]],
    mode: str,
    axes: dict[str, list[Any]],
    where: Sequence[str],
) -> list[tuple[str, dict[str, Any]]]:
    """Vary points along axes, check them and keep those that meet the conditions."""
    chosen: list[tuple[str, dict[str, Any]]] = []
    for name in dict.fromkeys(name for name, _ in listed):
        prototype = load(name)
        points = vary([p for of, p in listed if of == name], axes)
        check_points(name, points, prototype.points(mode), prototype.axes)
        chosen += [(name, p) for p in points]
    # Over all prototypes at once: a key that only another one's points have is not misspelt.
    kept = iter(keep([p for _, p in chosen], where))
    wanted = {id(p) for p in kept}
    return [(name, p) for name, p in chosen if id(p) in wanted]


def _prepare(only: Sequence[str], say: Callable[[str], None]) -> None:
    """Let prototypes get what they lack here, such as programs that can be built."""
    names = [line.name for line in REGISTRY if not only or line.name in only]
    for name in names:
        ready = load(name).prepare if is_built(name) else None
        if ready is not None:
            ready(say)


def _missing(name: str) -> str:
    """Why a prototype cannot run here; empty when it can."""
    if ":" not in name and not is_built(name):
        return "not built yet"
    missing = load(name).missing
    return missing() if missing else ""


def _parse_point(text: str) -> dict[str, Any]:
    try:
        point = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"[run] found --point {text!r} ({error}), needs a JSON object; quote it for the shell"
        ) from error
    if not isinstance(point, dict):
        raise UsageError(f"[run] found --point {text!r}, needs a JSON object; wrap it in braces")
    return point


def _folder(out: Path | None, resume: bool) -> Path:
    base = Path("results")
    if out is None and resume:
        past = sorted(base.glob(f"*/{POINTS}"), key=lambda path: path.stat().st_mtime)
        if not past:
            raise UsageError(
                "[run] found no run under results/, needs one to resume; pass its folder with --out"
            )
        return past[-1].parent
    if out is None:
        return base / datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    if not resume and (out / POINTS).exists() and (out / POINTS).stat().st_size:
        raise UsageError(
            f"[run] found results in {out}, needs an empty folder; pass --resume to continue "
            "them or another --out"
        )
    return out


def run_plan(plan: Plan) -> Finished:
    """Run a plan, showing progress, then draw its findings and report.

    A KeyboardInterrupt leaves every finished point on disk and says how to go on.

    Raises:
        StoreError: The folder cannot be written.
        DeviceUnavailable: The device does not open.
    """
    from .progress import Progress

    for line, why in plan.skipped:
        print(f"skipped {line.name}: {why}")
    with Store(plan.out / POINTS) as store:
        existing = list(read_records(store.path))
        done = {task_key(row["proto"], row["point"], row["mode"]) for row in existing}
        todo = {task_key(task.prototype, task.point, plan.mode) for task in plan.tasks}
        progress = Progress(len(todo), len(todo & done))

        def started(task: Task, device: DeviceRecord) -> None:
            progress.started(label(task.prototype, task.point), device)

        try:
            with progress:
                for row in _rows(plan, existing, started):
                    store.append(row)
                    progress.finished(row)
        except DeviceUnavailable:
            _discard_empty(store)
            raise
        except KeyboardInterrupt:
            kept = sum(1 for _ in read_records(store.path))
            print(
                f"\nstopped; {kept} points are kept. Continue with:\n  {resume_command(plan)}",
                file=sys.stderr,
            )
            raise
    return conclude(plan.out)


def _rows(
    plan: Plan, existing: list[dict[str, Any]], started: Callable[[Task, DeviceRecord], None]
) -> Iterator[dict[str, Any]]:
    if plan.fleet is not None:
        from .fleet import run_fleet

        return run_fleet(
            plan.tasks,
            address=plan.fleet,
            kind=plan.device,
            mode=plan.mode,
            rows=existing,
            opener=plan.opener,
        )
    made_with = environment.describe()
    if plan.jobs > 1:
        made_with["jobs"] = plan.jobs
    return run_tasks(
        plan.tasks,
        kind=plan.device,
        mode=plan.mode,
        environment=made_with,
        done=[row["key"] for row in existing],
        opener=plan.opener,
        started=started,
        jobs=plan.jobs,
    )


def _discard_empty(store: Store) -> None:
    """Remove what a run that never began left behind: an empty file and its new folder."""
    if store.path.stat().st_size == 0:
        store.close()
        store.path.unlink()
        if not any(store.path.parent.iterdir()):
            store.path.parent.rmdir()


def resume_command(plan: Plan) -> str:
    """Return the command that goes on with a run."""
    program = sys.argv[0]
    words = [w for w in sys.argv[1:] if w != "--resume"]
    if not any(word.split("=")[0] == "--out" for word in words):
        words += ["--out", str(plan.out)]
    call = ["python", program] if program.endswith(".py") else [Path(program).name]
    return shlex.join([*call, *words, "--resume"])


def label(prototype: str, point: Any) -> str:
    """Return a short name for a point."""
    return f"{prototype} " + " ".join(
        f"{key}={value}" for key, value in point.items() if value not in (None, False)
    )


def latest_rows(path: Path | str) -> list[dict[str, Any]]:
    """Read a folder's rows, the last one of each key."""
    # Rows hold no cycles; collecting while their number grows would double the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        rows = {row["key"]: row for row in read_records(Path(path) / POINTS)}
    finally:
        if collecting:
            gc.enable()
    gc.freeze()
    return list(rows.values())


def conclude(out: Path) -> Finished:
    """Draw findings and the report from a folder's rows, and write them."""
    from .findings import merge_findings, read_findings, write_findings
    from .report import write_report

    rows = latest_rows(out)
    fresh = draw_findings(rows)
    findings = merge_findings(read_findings(out / FINDINGS), fresh)
    write_findings(out / FINDINGS, findings)
    report = write_report(out, rows, findings)
    not_ok = sum(row["status"] != "ok" for row in rows)
    titles = tuple((f.proto, f.tier, f.title) for f in findings)
    return Finished(len(rows), not_ok, titles, report)


def draw_findings(rows: Iterable[dict[str, Any]]) -> list[Any]:
    """Let each prototype conclude from its rows, device by device."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        group = (row["proto"], row["device"]["kind"], row["device"]["name"])
        groups.setdefault(group, []).append(row)
    drawn = []
    for (name, _, _), members in groups.items():
        drawn += load(name).conclude(members)
    return drawn
