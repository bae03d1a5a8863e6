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
    __version__: str
    from . import model
    from .compiler.lint.lint import lint
    from .device import archive
    from .kernels.flash import flash_attention
    from .kernels.flash_tile import FlashTile
    from .kernels.linear import linear_attention
    from .kernels.paged import paged_attention
    from .measure.dynamic_counts import Counts
    from .measure.dynamic_counts import count_launch as count

# What is loaded when first used, by the module it lives in, and its name there.
_LATER = {
    "Counts": (".measure.dynamic_counts", "Counts"),
    "FlashTile": (".kernels.flash_tile", "FlashTile"),
    "count": (".measure.dynamic_counts", "count_launch"),
    "flash_attention": (".kernels.flash", "flash_attention"),
    "linear_attention": (".kernels.linear", "linear_attention"),
    "lint": (".compiler.lint.lint", "lint"),
    "paged_attention": (".kernels.paged", "paged_attention"),
}
_MODULES = ("archive", "model")


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version(__name__)
    except metadata.PackageNotFoundError:  # run from a folder that was not installed
        return "0+unknown"


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    if name in _LATER:
        module, attribute = _LATER[name]
        return getattr(importlib.import_module(module, __name__), attribute)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ArchiveRefused",
    "AttnprotoError",
    "Buffer",
    "Call",
    "Counts",
    "Device",
    "DeviceLost",
    "DeviceSummary",
    "DeviceUnavailable",
    "Dispatch",
    "DispatchError",
    "FlashTile",
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
