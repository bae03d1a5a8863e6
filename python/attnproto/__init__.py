"""A laboratory for attention kernels on Apple GPUs.

>>> import attnproto
>>> device = attnproto.open_device("auto")

The kernels are Metal Shading Language. They run on Metal, and where there is none on
the ``cpu`` device, from the same text.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .device.device import Buffer, Device, Dispatch, Timing
from .device.discovery import DeviceSummary, devices, open_device
from .device.library import Call, FunctionTable, Input, Library, Pipeline
from .errors import (
    ArchiveRefused,
    AttnprotoError,
    DeviceLost,
    DeviceUnavailable,
    DispatchError,
    GpuFault,
    GpuOutOfMemory,
    GpuPageFault,
    GpuTimeout,
    KernelCompileError,
    UnstableMeasurement,
    UnsupportedProblem,
    ValidationError,
    WrongResult,
)

if TYPE_CHECKING:
    from . import model
    from .compiler.lint.lint import lint
    from .device import archive
    from .kernels.flash import flash_attention
    from .kernels.linear import linear_attention
    from .kernels.paged import paged_attention
    from .measure.dynamic_counts import count_launch as count

__version__ = "0.1.0"

# Operations by the module they live in, and their name there where it is another; loaded when first
# used.
_OPERATIONS = {
    "count": ".measure.dynamic_counts:count_launch",
    "flash_attention": ".kernels.flash",
    "linear_attention": ".kernels.linear",
    "lint": ".compiler.lint.lint",
    "paged_attention": ".kernels.paged",
}
_MODULES = ("archive", "model")


def __getattr__(name: str) -> object:
    if name in _OPERATIONS:
        module, _, inner = _OPERATIONS[name].partition(":")
        return getattr(importlib.import_module(module, __name__), inner or name)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ArchiveRefused",
    "AttnprotoError",
    "Buffer",
    "Call",
    "Device",
    "DeviceLost",
    "DeviceSummary",
    "DeviceUnavailable",
    "Dispatch",
    "DispatchError",
    "FunctionTable",
    "GpuFault",
    "GpuOutOfMemory",
    "GpuPageFault",
    "GpuTimeout",
    "Input",
    "KernelCompileError",
    "Library",
    "Pipeline",
    "Timing",
    "UnstableMeasurement",
    "UnsupportedProblem",
    "ValidationError",
    "WrongResult",
    "archive",
    "count",
    "devices",
    "flash_attention",
    "linear_attention",
    "lint",
    "model",
    "open_device",
    "paged_attention",
]
