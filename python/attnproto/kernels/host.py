"""What every launcher does: open a device, keep its pipelines, hand it tensors it can read."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from attnproto.device import Device, Pipeline
    from attnproto.kernels.registry import KernelSource

_pipelines: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def opened(device: Device | str | None) -> Device:
    """Return ``device`` itself, or the open device of that name; ``auto`` for None.

    Raises:
        DeviceUnavailable: the device is not on this machine, or what was passed is none.
    """
    from attnproto.device import Device, open_device

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
        made[key] = device.library(source.text).pipeline(source.name, constants=constants)
    return made[key]


def as_input(tensor: np.ndarray) -> np.ndarray:
    """Return a read-only tensor the kernels can read: contiguous, and aligned for vector loads."""
    fit = np.require(tensor, requirements="C")
    if fit.ctypes.data % 16:
        fit = fit.copy()
    fit = fit.view()
    fit.flags.writeable = False
    return fit
