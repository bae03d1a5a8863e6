"""Tiles that ``attnproto tune`` found fastest: one file each, by device and problem."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnproto.errors import AttnprotoError, UnsupportedProblem
from attnproto.problem import AttentionProblem
from attnproto.settings import value_of

from .flash_tile import FlashTile

if TYPE_CHECKING:
    from attnproto.device.device import Device

TUNED = "tuned"
_SCHEMA = 1
_AXES = ("br", "bc", "rows", "keys", "query", "rescale")


class TuningError(AttnprotoError, ValueError):
    """There is no tuned tile for what was asked, or a record of one cannot be used."""


@dataclass(frozen=True)
class TunedTile:
    """The tile that was found fastest for a problem on a device.

    Attributes:
        kind: Of the device.
        device: Its name.
        driver: What made machine code then; see ``Device.driver``.
        problem: What was computed.
        tile: The fastest.
        ratio: Its time divided by that of the default tile; 1 where it is the default tile.
        ratio_low: Where the interval of that ratio begins.
        ratio_high: Where it ends.
        tried: How many tiles were judged.
        complete: Whether the search came to its end before its budget did.
        tuned_utc: When.
        kernel_hash: Digest of the kernel text that was timed.
    """

    kind: str
    device: str
    driver: str
    problem: AttentionProblem
    tile: FlashTile
    ratio: float
    ratio_low: float
    ratio_high: float
    tried: int
    complete: bool
    tuned_utc: str
    kernel_hash: str

    def stale(self, driver: str) -> str:
        """Why the tile may no longer be the fastest under a driver; empty while it may."""
        changed = []
        if driver != self.driver:
            changed.append(f"the driver is {driver}, it was {self.driver}")
        if self.tile.source.digest != self.kernel_hash:
            changed.append("the kernel's text has changed")
        return "; ".join(changed)

    @property
    def path(self) -> Path:
        """Its file: a later record of the same device and problem takes its place."""
        asked = json.dumps([self.kind, self.device, self.problem.as_dict()], sort_keys=True)
        return folder() / f"flash-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"

    def text(self) -> str:
        """The file's text."""
        record = {
            "schema": _SCHEMA,
            **{name: getattr(self, name) for name in _PLAIN},
            "problem": self.problem.as_dict(),
            "tile": {name: getattr(self.tile, name) for name in _AXES},
        }
        return json.dumps(record, indent=1) + "\n"


_PLAIN = (
    "kind", "device", "driver", "ratio", "ratio_low", "ratio_high", "tried", "complete",
    "tuned_utc", "kernel_hash",
)  # fmt: skip


def folder() -> Path:
    """Where the records are: ATTNPROTO_TUNED_DIR, or the user's folder for programs' data."""
    chosen = value_of("ATTNPROTO_TUNED_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "attnproto" / TUNED
    data = value_of("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "attnproto" / TUNED


def read_tuned() -> tuple[TunedTile, ...]:
    """Read all records.

    Raises:
        TuningError: A file is none.
    """
    try:
        # Every record is renamed into its place, which changes the folder's own time.
        stamp = folder().stat().st_mtime_ns
    except OSError:
        return ()
    return _read(folder(), stamp)


@lru_cache(maxsize=1)
def _read(place: Path, stamp: int) -> tuple[TunedTile, ...]:
    return tuple(_parse(path) for path in sorted(place.glob("flash-*.json")))


def _parse(path: Path) -> TunedTile:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] != _SCHEMA:
            raise ValueError(f"its schema is {record['schema']}")
        problem = AttentionProblem(**record["problem"])
        tile = FlashTile(d=problem.D, dtype=problem.element_type.name, **record["tile"])
        plain = {name: _of_kind(record, name) for name in _PLAIN}
        return TunedTile(problem=problem, tile=tile, **plain)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TuningError(
            f"[flash.tuned] found {path} to be no record of a tuned tile ({error}), needs what "
            "attnproto tune writes; remove it and tune again"
        ) from error


def _of_kind(record: Mapping[str, Any], name: str) -> Any:
    value = record[name]
    kinds = {"tried": int, "complete": bool}
    kind = kinds.get(name, float if name.startswith("ratio") else str)
    if not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"{name} is {value!r}")
    return kind(value)


def tuned_tile(
    device: Device, *, nq: int, nkv: int, d: int, dtype: str, causal: bool, heads: int = 1
) -> FlashTile:
    """Return the tile that was found fastest on a device, for the sizes nearest to those asked.

    The record is of the same D, element type and causality. One of another driver or kernel text
    is used and said to be stale by a RuntimeWarning: its result is right, its speed is not known.

    Args:
        device: An open device.
        nq: Queries.
        nkv: Keys.
        d: Dimensions of a head.
        dtype: Element type, ``"f16"``, ``"bf16"`` or ``"f32"``.
        causal: Whether a query sees earlier keys only.
        heads: Query heads of all batch entries.

    Raises:
        TuningError: There is no record, or one that cannot be read.
        UnsupportedProblem: The device's times are not measured.
    """
    if device.tier != "measured":
        raise UnsupportedProblem(
            f"[flash.tuned] found tile='tuned' on {device.name} ({device.kind}), whose times are "
            f"{device.tier}: there is nothing to tune; pass tile=None"
        )
    near = [
        one
        for one in read_tuned()
        if (one.problem.D, one.problem.dtype, one.problem.causal) == (d, dtype, causal)
    ]
    of_device = [one for one in near if (one.kind, one.device) == (device.kind, device.name)]
    if not of_device:
        others = ", ".join(sorted({one.device for one in near}))
        raise TuningError(
            f"[flash.tuned] found no tile tuned for D={d} {dtype}{' causal' * causal} on "
            f"{device.name}{' but on ' * bool(others)}{others}, needs one; run "
            f"{command(device.kind, nq, nkv, d, dtype, causal)}"
        )

    def distance(one: TunedTile) -> float:
        sizes = (one.problem.Nq, one.problem.Nkv, one.problem.B * one.problem.Hq)
        asked = zip(sizes, (nq, nkv, heads), strict=True)
        return sum(abs(math.log(a / b)) for a, b in asked)

    nearest = min(of_device, key=distance)
    why = nearest.stale(device.driver)
    if why:
        p = nearest.problem
        warnings.warn(
            f"[flash.tuned] found a stale tile for D={d} {dtype} ({why}), needs one of today; run "
            f"{command(device.kind, p.Nq, p.Nkv, d, dtype, causal)}",
            RuntimeWarning,
            stacklevel=2,
        )
    return nearest.tile


def command(kind: str, nq: int, nkv: int, d: int, dtype: str, causal: bool) -> str:
    """Return the command that tunes for a problem."""
    keys = f" --Nkv {nkv}" if nkv != nq else ""
    mask = " --causal" if causal else ""
    return (
        f"attnproto tune --only flash --D {d} --dtype {dtype} --N {nq}{keys}{mask} --device {kind}"
    )
