"""Kernels as files for the C ABI, for an open device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from attnproto import _core
from attnproto.compiler.target import Target, host_target
from attnproto.compiler.targets.shared_object import shared_object
from attnproto.errors import KernelCompileError
from attnproto.files import replace_file

if TYPE_CHECKING:
    from .device import Device
    from .library import Constants


def code(text: str, descriptor: _core.PipelineDescriptor, device: Device) -> bytes:
    """Compile one kernel into what ``attnproto_load`` reads on a device.

    Args:
        text: MSL.
        descriptor: kernel, constants and privately linked functions.
        device: an open cpu or cuda device.

    Raises:
        KernelCompileError: as ``shared_object`` or ``ptx.exported``.
        DeviceUnavailable: there is no compiler.
    """
    if device.kind == "cuda":
        from attnproto.compiler.targets import nvptx

        return nvptx.exported(text, descriptor, device._core.processor)
    return shared_object(text, descriptor)


def target_of(device: Device) -> Target:
    """What texts are compiled for on an open cpu or cuda device."""
    if device.kind == "cuda":
        from attnproto.compiler.targets import nvptx

        return nvptx.gpu_target(device._core.processor)
    return host_target()


def export(
    text: str,
    function: str,
    path: str | os.PathLike[str],
    constants: Constants | None = None,
    device: Device | str = "cpu",
) -> Path:
    """Compile one kernel for the cpu or the cuda device and write it as a file.

    Args:
        text: MSL.
        function: the kernel.
        path: where; the file is replaced in one step.
        constants: function constants by name.
        device: the device that will run it, or its name.

    Returns:
        The file's path, for ``attnproto_load``.

    Raises:
        KernelCompileError: as ``code``, or the file cannot be written.
        DeviceUnavailable: there is no compiler, or no such device.
    """
    from .discovery import opened
    from .library import describe

    content = code(text, describe(function, constants), opened(device))
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise KernelCompileError(
            f"[export] found {path} not writable ({error.strerror}), needs a folder that can be "
            "written; choose another"
        ) from None
    return path
