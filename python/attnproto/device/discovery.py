"""Which devices there are, and opening them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from typing import TYPE_CHECKING

from attnproto.compiler.targets.engines import CPU_ENGINES
from attnproto.errors import DeviceUnavailable, DispatchError
from attnproto.settings import value_of

from .device import Device, checked_limit

if TYPE_CHECKING:
    from attnproto import _core

    from .device import Device

_MOST_THREADS = 4096
KINDS = ("metal", "cuda", "cpu")


@dataclass(frozen=True)
class DeviceSummary:
    """A device of this machine, or why it has none of that kind."""

    kind: str
    name: str
    tier: str
    available: bool
    reason: str = ""


def cpu_threads() -> int:
    """OS threads of the cpu device: ATTNPROTO_CPU_THREADS, or the cores this process may use.

    Raises:
        DeviceUnavailable: the variable is not a positive whole number.
    """
    chosen = value_of("ATTNPROTO_CPU_THREADS")
    if chosen is not None:
        plain = chosen.isascii() and chosen.isdigit() and len(chosen) < 9
        if not plain or not 1 <= int(chosen) <= _MOST_THREADS:
            raise DeviceUnavailable(
                f"[device] found ATTNPROTO_CPU_THREADS={chosen[:20]!r}, needs a positive whole "
                f"number, {_MOST_THREADS} at most"
            )
        return int(chosen)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open_cpu(validate: str = "", engine: str = CPU_ENGINES[0]) -> Device:
    from attnproto import _core
    from attnproto.compiler.targets.host import NativeFrontEnd

    front_end = NativeFrontEnd(validate=validate, engine=engine)
    return Device(_core.open_cpu(front_end, cpu_threads(), validate=bool(validate)))


def _open_metal() -> Device:
    from attnproto import _core

    return Device(_core.open_metal())


def _open_cuda() -> Device:
    from attnproto import _core

    def front_end_for(architecture: str, alignment: int) -> _core.FrontEnd:
        from attnproto.compiler.targets.nvptx import PtxFrontEnd

        return PtxFrontEnd(architecture, alignment)

    return Device(_core.open_cuda(front_end_for))


_OPEN = {"metal": _open_metal, "cuda": _open_cuda, "cpu": _open_cpu}


def _one_at_a_time(function: Callable) -> Callable:
    """Two threads that open a device at once get the same one: two refuse each other's buffers."""
    lock = threading.RLock()

    def renew() -> None:  # in a child, where the thread that held it is none
        nonlocal lock
        lock = threading.RLock()

    os.register_at_fork(after_in_child=renew)

    @wraps(function)
    def locked(*arguments: object) -> Device:
        with lock:
            return function(*arguments)

    return locked


@_one_at_a_time
@cache
def _opened(kind: str, validate: str = "", engine: str = "") -> Device:
    if not validate and not engine:
        return _OPEN[kind]()
    return _OPEN[kind](validate, engine or CPU_ENGINES[0])


def _checks(kind: str, validate: bool | str | None) -> str:
    """What a device of a kind is to watch kernels for; the environment speaks to cpu only."""
    if validate is None and kind != "cpu":
        return ""
    wanted = value_of("ATTNPROTO_VALIDATE") or "" if validate is None else validate
    known = {"": "", "0": "", "1": "memory", False: "", True: "memory", "nan": "nan"}
    if wanted not in known:
        raise DeviceUnavailable(
            f"[device] found validate={wanted!r}, needs True, False or 'nan' (ATTNPROTO_VALIDATE: "
            "1, 0 or nan)"
        )
    if known[wanted] and kind != "cpu":
        raise DeviceUnavailable(
            f"[device] found validate={wanted!r} for {kind}, needs the cpu device; open 'cpu', or "
            "set MTL_SHADER_VALIDATION=1 before the process starts for Metal's own checks"
        )
    return known[wanted]


def _engine(kind: str, engine: str | None) -> str:
    """The engine to ask a device of a kind for; the environment speaks to cpu only."""
    if engine is None:
        engine = (kind == "cpu" and value_of("ATTNPROTO_CPU_ENGINE")) or ""
    if engine not in ("", *CPU_ENGINES):
        raise DeviceUnavailable(
            f"[device] found engine {engine!r}, needs one of {', '.join(CPU_ENGINES)}; correct "
            "engine or ATTNPROTO_CPU_ENGINE"
        )
    if engine and kind != "cpu":
        raise DeviceUnavailable(
            f"[device] found engine {engine!r} for {kind}, needs the cpu device; open 'cpu'"
        )
    return "" if engine == CPU_ENGINES[0] else engine  # the default is one device


def _time_limit(kind: str, seconds: float | None) -> float:
    """The longest time of a dispatch; the environment speaks to cpu only."""
    if seconds is None:
        given = (kind == "cpu" and value_of("ATTNPROTO_TIME_LIMIT_S")) or ""
        try:
            seconds = float(given or 0)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise DeviceUnavailable(
                f"[device] found ATTNPROTO_TIME_LIMIT_S={given!r}, needs seconds, such as 10"
            )
    try:
        return checked_limit(seconds, kind, "device")
    except DispatchError as error:
        raise DeviceUnavailable(str(error)) from None


@_one_at_a_time
@cache
def _limited(device: Device, seconds: float) -> Device:
    """The same device, of which a dispatch may take no longer."""
    return Device(device._core, seconds)


def kind_of(kind: str) -> str:
    """Return the kind itself, or what ``auto`` stands for here."""
    if kind == "auto":
        kind = value_of("ATTNPROTO_DEVICE") or "auto"
    if kind != "auto":
        return kind
    try:
        _opened("metal")
    except DeviceUnavailable:
        return "cpu"
    return "metal"


def open_device(
    kind: str = "auto",
    *,
    validate: bool | str | None = None,
    engine: str | None = None,
    time_limit_s: float | None = None,
) -> Device:
    """Open a device; the same one each time it is asked for.

    Args:
        kind: ``metal``, ``cuda``, ``cpu``, or ``auto`` for what ATTNPROTO_DEVICE names; unset,
            Metal where there is one and the cpu device elsewhere.
        validate: for the cpu device, watch kernels for races, accesses out of bounds and the
            other kinds of :class:`ValidationError`; ``"nan"`` for instructions that make a NaN
            of numbers, too. Unset, what ATTNPROTO_VALIDATE says (1, nan).
        engine: of the cpu device: ``lockstep`` runs a simdgroup as vectors, and kernels that
            it does not take on fibers (:attr:`Pipeline.engine` says which, and why);
            ``fibers`` runs every lane on its own. Unset, what ATTNPROTO_CPU_ENGINE says, or
            lockstep.
        time_limit_s: of the cpu device: a dispatch that takes longer ends with
            :class:`GpuTimeout`, as Metal's watchdog would end it. 0 for none; unset, what
            ATTNPROTO_TIME_LIMIT_S says, or none.

    Raises:
        DeviceUnavailable: this machine has none of that kind, the kind is unknown, it does not
            validate, or it has no such engine, or can't keep a time limit.
    """
    kind = kind_of(kind)
    if kind not in _OPEN:
        raise DeviceUnavailable(
            f"[device] found kind {kind!r}, needs one of auto, {', '.join(KINDS)}"
        )
    device = _opened(kind, _checks(kind, validate), _engine(kind, engine))
    limit = _time_limit(kind, time_limit_s)
    return _limited(device, limit) if limit else device


def devices() -> list[DeviceSummary]:
    """Every kind of device, and whether this machine has it."""
    summaries = []
    for kind in KINDS:
        try:
            device = _opened(kind)
            summaries.append(DeviceSummary(kind, device.name, device.tier, True))
        except DeviceUnavailable as error:
            summaries.append(DeviceSummary(kind, "", "", False, str(error)))
    return summaries


def opened(device: Device | str | None) -> Device:
    """Return ``device`` itself, or the open device of that name; ``auto`` for None.

    Raises:
        DeviceUnavailable: the device is not on this machine, or what was passed is none.
    """
    from attnproto.device.device import Device
    from attnproto.device.discovery import open_device

    return (
        device if isinstance(device, Device) else open_device("auto" if device is None else device)
    )
