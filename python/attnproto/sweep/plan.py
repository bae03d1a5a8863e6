"""What a run is to do: options checked, points listed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from attnproto.device.discovery import cpu_threads, kind_of
from attnproto.errors import AttnprotoError
from attnproto.prototypes.registry import REGISTRY, Entry, entry, load
from attnproto.results.row import Task
from attnproto.results.store import POINTS

from .points import check_points, keep, parse_axis, parse_sweep, vary
from .preparation import Preparation
from .worker import DEVICE_KINDS, OPENER

RESULTS = Path("results")
# Seconds one point may take before its worker is ended.
_LONGEST_S = 2e6  # that a process can wait for another
_MOST_JOBS = 1024
_SHOWN = 200  # characters of what was given, in a message
# Compiling a tile of D = 256 for a processor with AVX2 takes 40 s of its time, beside other work.
LIMITS_S = {"quick": 180.0, "full": 1800.0}


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
    preparation: Preparation = field(default_factory=Preparation)


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
    jobs: int | None = None,
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
        point: One point as JSON, or a list of them, in place of the prototype's own.
        limit_s: Seconds a point may take.
        protocol: The mode whose protocol times the points; ``mode`` itself when None.
        opener: ``"module:function"`` that opens the device.
        fleet: Address of a dask scheduler whose workers run the points; None for here.
        jobs: How many processes run points here; one at a time has the device. None: as many
            as there are cores on the cpu device, whose times are no evidence, one elsewhere.
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
    if protocol not in LIMITS_S:
        raise UsageError(
            f"[run] found protocol {protocol!r}, needs quick or full; pass --protocol quick"
        )
    limit_s = LIMITS_S[protocol] if limit_s is None else limit_s
    if not limit_s > 0.0:
        raise UsageError(
            f"[run] found --limit-s {limit_s:g}, needs more than 0; leave it out for "
            f"{LIMITS_S[mode]:g}"
        )
    if jobs is not None and not 1 <= jobs <= _MOST_JOBS:
        raise UsageError(
            f"[run] found --jobs {jobs}, needs a number from 1 to {_MOST_JOBS}; leave it out"
        )
    if jobs is None:
        jobs = 1 if fleet is not None or opener != OPENER else _processes(device)
    if fleet is not None and jobs > 1:
        raise UsageError(
            f"[run] found --jobs {jobs} with --fleet, needs one of the two: a machine of a fleet "
            "takes one point at a time; drop --jobs"
        )
    if not limit_s * jobs <= _LONGEST_S:
        raise UsageError(
            f"[run] found --limit-s {limit_s:g} with {jobs} jobs, needs at most "
            f"{_LONGEST_S / jobs:g}; leave it out for {LIMITS_S[protocol]:g}"
        )
    entries = [line for line in REGISTRY if not only or line.name in only]
    own = [name for name in only if ":" in name]
    for name in only:
        if name not in own:
            entry(name)
    names = [*(line.name for line in entries), *own]
    if point is not None and len(names) != 1:
        raise UsageError(
            f"[run] found --point with {len(names)} prototypes, needs exactly one; add --only NAME"
        )
    axes = dict(map(parse_axis, axis))
    keep((), where)  # a condition that is none is said now
    folder = results_folder(out, resume)
    if sweep_text is not None:
        points = [(s.prototype, p) for s in parse_sweep(sweep_text) for p in s.points()]
    elif point is not None:
        points = [(names[0], one) for one in _parse_points(point)]
    else:
        points = [(name, p) for name in names for p in load(name).points(mode)]
    points = _chosen(points, mode, axes, where)
    count = Counter(name for name, _ in points)
    wanted = [line for line in entries if line.name in count]
    # Not before the options are known to be good: it may take minutes, beside the other points.
    preparation = Preparation([line.name for line in wanted], say) if say else Preparation()
    skipped = tuple(
        (line, why)
        for line in wanted
        if not preparation.awaits(line.name) and (why := _missing(line.name))
    )
    if sweep_text is None and point is None:
        left_out = {line.name for line, _ in skipped}
        points = [(name, p) for name, p in points if name not in left_out]
        # One that waits for its programs comes last. A prototype concludes at its last point, so
        # that with the shortest first the first finding comes soon.
        place = {
            name: (preparation.awaits(name), n * load(name).point_s) for name, n in count.items()
        }
        points.sort(key=lambda one: place[one[0]])
    if not points and (where or not skipped):
        raise UsageError(
            "[run] found no point that meets the conditions, needs one at least; loosen --where"
        )
    tasks = tuple(Task(name, p, limit_s) for name, p in points)
    return Plan(tasks, protocol, device, folder, resume, skipped, opener, fleet, jobs, preparation)


def _processes(device: str) -> int:
    return cpu_threads() if kind_of(device) == "cpu" else 1


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
        check_points(name, points, prototype.known_points(mode), prototype.axes)
        chosen += [(name, p) for p in points]
    # Over all prototypes at once: a key that only another one's points have is not misspelt.
    kept = iter(keep([p for _, p in chosen], where))
    wanted = {id(p) for p in kept}
    return [(name, p) for name, p in chosen if id(p) in wanted]


def _missing(name: str) -> str:
    """Why a prototype cannot run here; empty when it can."""
    missing = load(name).missing
    return missing() if missing else ""


def _parse_points(text: str) -> list[dict[str, Any]]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"[run] found --point {text[:_SHOWN]!r} ({error}), needs a JSON object; quote it for "
            "the shell"
        ) from error
    points = given if isinstance(given, list) else [given]
    if not points or not all(isinstance(point, dict) for point in points):
        raise UsageError(
            f"[run] found --point {text[:_SHOWN]!r}, needs a JSON object or a list of them; wrap "
            "it in braces"
        )
    return points


def results_folder(out: Path | None, resume: bool, base: Path = RESULTS) -> Path:
    """Return the folder of a run: the one given, or a fresh or the newest one among others.

    Args:
        out: The one given.
        resume: Go on in a folder that has points.
        base: Where runs of this kind have their folders.

    Raises:
        UsageError: The folder is in use, or there is none to go on in.
    """
    if out is None and resume:
        past = sorted(base.glob(f"*/{POINTS}"), key=lambda path: path.stat().st_mtime)
        if not past:
            raise UsageError(
                f"[run] found no run under {base}/, needs one to resume; pass its folder with --out"
            )
        return past[-1].parent
    if out is None:
        return base / datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    if resume and not out.is_dir():
        raise UsageError(
            f"[run] found no folder {out}, needs one to resume; check the path, or drop --resume"
        )
    if not resume and (out / POINTS).exists():
        check_unused(out)
    return out


def check_unused(out: Path) -> None:
    """Refuse a folder that has points, where no run is to be resumed.

    Raises:
        UsageError: It has some.
    """
    if (out / POINTS).stat().st_size:
        raise UsageError(
            f"[run] found results in {out}, needs an empty folder; pass --resume to continue "
            "them or another --out"
        )


def label(prototype: str, point: Any) -> str:
    """Return a short name for a point."""
    return f"{prototype} " + " ".join(
        f"{key}={value}" for key, value in point.items() if value not in (None, False)
    )
