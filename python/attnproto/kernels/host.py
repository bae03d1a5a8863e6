"""What every launcher does: open a device, keep its pipelines, hand it tensors it can read."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device import Timing

if TYPE_CHECKING:
    from attnproto.archive import Archive, Builder
    from attnproto.device import Device, Dispatch, Pipeline
    from attnproto.kernels.registry import KernelSource

_pipelines: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# Of devices: where pipelines are looked for before they are compiled, and who is told of each.
_archives: weakref.WeakKeyDictionary[Device, Archive] = weakref.WeakKeyDictionary()
_collectors: weakref.WeakKeyDictionary[Device, dict] = weakref.WeakKeyDictionary()


def opened(device: Device | str | None) -> Device:
    """Return ``device`` itself, or the open device of that name; ``auto`` for None.

    Raises:
        DeviceUnavailable: the device is not on this machine, or what was passed is none.
    """
    from attnproto.device import Device
    from attnproto.opening import open_device

    return (
        device if isinstance(device, Device) else open_device("auto" if device is None else device)
    )


def pipeline(
    device: Device, source: KernelSource, constants: Mapping[str, bool | int] | None = None
) -> Pipeline:
    """Return the pipeline of a kernel, made once a device.

    Args:
        device: an open device.
        source: kernel text.
        constants: function constants by name.

    Raises:
        KernelCompileError: the device refuses the text or a constant.
    """
    constants = dict(constants or {})
    made = _pipelines.setdefault(device, {})
    key = (source.name, source.digest, tuple(sorted(constants.items())))
    if key not in made:
        made[key] = device.library(source.text).pipeline(
            source.name, constants=constants, archive=_archives.get(device)
        )
    if device in _collectors:
        _collectors[device].setdefault(key, (source, constants))
    return made[key]


def look_in(device: Device, archive: Archive | None) -> None:
    """Look pipelines of a device up in an archive before they are compiled; None ends it."""
    _pipelines.pop(device, None)
    if archive is None:
        _archives.pop(device, None)
    else:
        _archives[device] = archive


def collect(device: Device) -> None:
    """Begin to note the pipelines that kernels ask a device for."""
    _collectors[device] = {}


def collected(device: Device, builder: Builder) -> None:
    """Give the pipelines noted since ``collect`` to a builder, and end noting."""
    for source, constants in _collectors.pop(device).values():
        builder.add(device.library(source.text), source.name, constants)


def as_input(tensor: np.ndarray) -> np.ndarray:
    """Return a read-only tensor the kernels can read: contiguous, and aligned for vector loads."""
    fit = np.require(tensor, requirements="C")
    if fit.ctypes.data % 16:
        fit = fit.copy()
    fit = fit.view()
    fit.flags.writeable = False
    return fit


def submit_in_turn(device: Device, work: Sequence[tuple[Dispatch, float]], budget: float) -> Timing:
    """Submit dispatches in order, in as few submissions as stay within a budget each.

    Kernels that only move tensors need no such care: what fits an M4's memory passes through them
    in less than half a second.

    Args:
        device: an open device.
        work: dispatches with what each costs.
        budget: largest cost of a submission of several dispatches, in the same unit.

    Returns:
        The Timing from the start of the first to the end of the last.
    """
    groups: list[list[Dispatch]] = []
    spent = 0.0
    for dispatch, cost in work:
        if not groups or spent + cost > budget:
            groups.append([])
            spent = 0.0
        groups[-1].append(dispatch)
        spent += cost
    timings = [device.submit(group) for group in groups]
    return Timing(timings[0].gpu_start_us, timings[-1].gpu_end_us)
