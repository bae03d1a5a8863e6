"""The best tile for a problem on a device: searched, judged first, compared in pairs, recorded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from attnproto.errors import AttnprotoError
from attnproto.kernels.flash_tile import FlashTile, default_tile
from attnproto.kernels.tuned import TunedTile, read_tuned
from attnproto.measure.halving import find_fastest
from attnproto.measure.stats import FASTER, LOOKS, Ratio
from attnproto.problem import AttentionProblem
from attnproto.prototypes.flash.tuning import (
    CHOSEN,
    DUEL,
    STAGES,
    duel_point,
    judged_point,
    variations,
)
from attnproto.prototypes.registry import text_changed
from attnproto.results.row import DeviceRecord, Task, make_row, row_key
from attnproto.results.store import POINTS, Store, latest_rows, write_atomically
from attnproto.sweep import environment
from attnproto.sweep.plan import LIMITS_S, RESULTS, label, results_folder
from attnproto.sweep.progress import Progress
from attnproto.sweep.worker import OPENER, SPENT, Worker, naming_its_text, open_by

from .conclude import Finished, conclude
from .run import resumable

# A search ends where a round through all axes changes nothing; chance must not lead it in circles.
_ROUNDS = 3


class TuneError(AttnprotoError, ValueError):
    """Nothing can be tuned."""


@dataclass(frozen=True)
class Tuning:
    """What a search gave: its record, the record's file, and its results folder."""

    record: TunedTile
    path: Path
    finished: Finished


def tune(
    problem: AttentionProblem,
    *,
    kind: str = "auto",
    mode: str = "quick",
    out: Path | None = None,
    resume: bool = False,
    budget_s: float | None = None,
    opener: str = OPENER,
) -> Tuning:
    """Search the fastest tile of flash attention for a problem on a device, and record it.

    Every tile is judged against FP64 at the problem itself before it is timed; one that is wrong,
    or cannot run, is out, and that is said. A KeyboardInterrupt leaves every comparison on disk and
    says how to go on.

    Args:
        problem: What is computed.
        kind: Device to open.
        mode: ``"quick"`` or ``"full"``: the protocol of each comparison.
        out: Results folder; a fresh one by default.
        resume: Go on in a folder that has points: those of this device, driver and kernel text
            are not run again.
        budget_s: Seconds after which the best tile so far is compared for the last time; None for
            a search to its end.
        opener: ``"module:function"`` that opens the device.

    Returns:
        The record, which ``flash_attention(tile="tuned")`` reads, and the report.

    Raises:
        TuneError: The device's times are not measured, or the default tile is wrong or cannot run.
        UsageError: The folder is in use, or there is none to go on in.
        DeviceUnavailable: The device does not open.
        StoreError: The folder cannot be written.
    """
    if budget_s is not None and not budget_s > 0:
        raise TuneError(f"[tune] found --budget-s {budget_s:g}, needs more than 0; leave it out")
    device = open_by(opener, kind)
    if device.tier != "measured":
        raise TuneError(
            f"[tune] found {device.name} ({device.kind}), whose times are {device.tier}: there is "
            "nothing to tune; run it on a Mac, or pass --device cuda"
        )
    folder = results_folder(out, resume, RESULTS / "tune")
    record = DeviceRecord(device.kind, device.name, device.tier)
    with Store(folder / POINTS) as store:
        search = _Search(problem, record, device.driver, mode, kind, opener, store, budget_s)
        try:
            with resumable(store), search.progress:
                chosen, ratio = search.run()
        finally:
            search.close()
    tuned = TunedTile(
        kind=device.kind,
        device=device.name,
        driver=device.driver,
        problem=problem,
        tile=chosen,
        ratio=ratio.ratio,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        tried=len(search.judged),
        complete=not search.over,
        tuned_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        kernel_hash=chosen.source.digest,
    )
    write_atomically(tuned.path, tuned.text())
    return Tuning(tuned, tuned.path, conclude(folder))


@dataclass
class _Search:
    """One search: what was asked, what is known, and the worker that answers."""

    problem: AttentionProblem
    device: DeviceRecord
    driver: str
    mode: str
    kind: str
    opener: str
    store: Store
    budget_s: float | None
    judged: dict[FlashTile, bool] = field(default_factory=dict)
    over: bool = False

    def __post_init__(self) -> None:
        self._worker: Worker | None = None
        self._began = time.monotonic()
        self._environment = {**environment.describe(), "driver": self.driver}
        self.rows = {
            row["key"]: row
            for row in latest_rows(self.store.path.parent)
            if row["environment"].get("driver") == self.driver and not text_changed(row)
        }
        self.progress = Progress(0, 0)

    def run(self) -> tuple[FlashTile, Ratio]:
        """Return the tile that is chosen, and its time beside that of the default tile."""
        p = self.problem
        default = best = default_tile(p.Nq, p.D, p.element_type)
        if not self._is_right(default):
            reason = self._answer(judged_point(p, default))["reason"]
            raise TuneError(
                f"[tune] found the default tile {default.name} to fail ({reason}), needs it right "
                "to compare others with; see attnproto doctor"
            )
        for _ in range(_ROUNDS):
            before = best
            for axes in STAGES:
                if self._stop():
                    break
                tiles = variations(best, axes)
                self.progress.said(f"{', '.join(axes)}: {len(tiles)} tiles beside {best.name}")
                best = find_fastest(tiles, best, self._compare, stop=self._stop)
            if best == before or self._stop():
                break
        if best != default:
            ratio = self._duel(CHOSEN, best, default, LOOKS)
            if ratio is not None and ratio.verdict == FASTER:
                return best, ratio
        return default, Ratio(1.0, 1.0, 1.0, 0.0, "equal", 0, 1.0)

    def _stop(self) -> bool:
        spent = time.monotonic() - self._began
        self.over = self.over or (self.budget_s is not None and spent > self.budget_s)
        return self.over

    def _is_right(self, tile: FlashTile) -> bool:
        if tile not in self.judged:
            row = self._answer(judged_point(self.problem, tile))
            self.judged[tile] = row["status"] == "ok"
        return self.judged[tile]

    def _compare(self, tile: FlashTile, rival: FlashTile, looks: Sequence[int]) -> Ratio | None:
        return self._duel(DUEL, tile, rival, looks) if self._is_right(tile) else None

    def _duel(
        self, kind: str, tile: FlashTile, rival: FlashTile, looks: Sequence[int]
    ) -> Ratio | None:
        row = self._answer(duel_point(kind, self.problem, tile, rival, looks))
        if row["status"] != "ok" and rival.name in row["reason"]:
            raise TuneError(
                f"[tune] found {rival.name} wrong after it was judged right ({row['reason']}), "
                "needs the same answer each time; look for a race: docs/validation.md"
            )
        if row["status"] != "ok":
            return None
        result = row["result"]
        names = ("ratio", "ratio_low", "ratio_high")
        ratio, low, high = (float(result[name]) for name in names)
        verdict, blocks = str(result["verdict"]), int(result["blocks"])
        return Ratio(ratio, low, high, 0.0, verdict, blocks, float(result["p_value"]))

    def _answer(self, point: dict[str, Any]) -> dict[str, Any]:
        """The row of a point: the one that there is, or one that is made now."""
        task = Task("flash", point, LIMITS_S[self.mode])
        key = row_key(task.prototype, point, self.mode, self.device)
        self.progress.expected(1)
        if key not in self.rows:
            if self._worker is None:
                self._worker = Worker(self.kind, self.mode, self.opener).opened()
            self.progress.started(label("flash", point), self.device)
            at, clock = datetime.now(timezone.utc), time.monotonic()
            answer = naming_its_text(task, self._worker.run(task))
            elapsed_s = time.monotonic() - clock
            if answer[0] in SPENT:
                self.close()
            args = (self.device, self._environment, answer, at, elapsed_s)
            self.rows[key] = make_row(task, self.mode, *args)
            self.store.append(self.rows[key])
        self.progress.finished(self.rows[key])
        return self.rows[key]

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


def list_tuned() -> list[str]:
    """Return a line for each record there is."""
    lines = []
    for one in read_tuned():
        p = one.problem
        heads = f"B={p.B} Hq={p.Hq} Hkv={p.Hkv}"
        shape = f"{p.dtype} D={p.D} Nq={p.Nq} Nkv={p.Nkv} {heads}{' causal' * p.causal}"
        lines.append(f"{one.device} ({one.kind}) {shape}: {said(one)}, tuned {one.tuned_utc[:10]}")
    return lines


def said(one: TunedTile) -> str:
    """Say in a line what a search chose."""
    if one.ratio == 1.0:
        gain = "the default tile, than which none was found faster"
    else:
        interval = f"{one.ratio_low:.3f} to {one.ratio_high:.3f}"
        gain = f"{one.ratio:.3f} of the default tile's time ({interval})"
    ended = "" if one.complete else "; its budget ended the search"
    return f"{one.tile.name}, {gain}, of {one.tried} tiles tried{ended}"
