"""Pipelines of kernels, made once a device."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnproto.compiler.interface import Value

from .library import plain

if TYPE_CHECKING:
    from .device import Device, Pipeline

_pipelines: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# Of devices: where pipelines are looked for before they are compiled, and who is told of each.
_archives: weakref.WeakKeyDictionary[Device, os.PathLike[str]] = weakref.WeakKeyDictionary()
_collectors: weakref.WeakKeyDictionary[Device, dict] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class KernelSource:
    """A kernel's name and the text that defines it."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the text's SHA-256: equal texts, equal digests."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def pipeline(
    device: Device, source: KernelSource, constants: Mapping[str, Value] | None = None
) -> Pipeline:
    """Return the pipeline of a kernel, made once a device.

    Args:
        device: an open device.
        source: kernel text.
        constants: function constants by name.

    Raises:
        KernelCompileError: the device refuses the text or a constant.
    """
    constants = {name: plain(value) for name, value in (constants or {}).items()}
    of_device = _pipelines.setdefault(device, {})
    key = (source.name, source.digest, repr(sorted(constants.items())))
    if key not in of_device:
        of_device[key] = device.library(source.text).pipeline(
            source.name, constants=constants, archive=_archives.get(device)
        )
    if device in _collectors:
        _collectors[device].setdefault(key, (source, constants))
    return of_device[key]


def look_in(device: Device, archive: os.PathLike[str] | None) -> None:
    """Look pipelines of a device up in an archive before they are compiled; None ends it."""
    _pipelines.pop(device, None)
    if archive is None:
        _archives.pop(device, None)
    else:
        _archives[device] = archive


def collect(device: Device) -> None:
    """Begin to note the pipelines that kernels ask a device for."""
    _collectors[device] = {}


def collected(device: Device) -> list[tuple[KernelSource, dict[str, Value]]]:
    """Return the pipelines noted since ``collect``, kernel and constants, and end noting."""
    return list(_collectors.pop(device).values())
