"""A library of kernels that Apple's compiler has compiled, on a device that lifts them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from attnproto.compiler.air.container import Metallib
from attnproto.compiler.frontend import compiled_kernel
from attnproto.errors import KernelCompileError

from .library import Call, Library

if TYPE_CHECKING:
    from attnproto import _core


class CompiledLibrary(Library):
    """The kernels of a metallib; get one from ``Device.metallib``.

    Each has a module of its own, which is read when the kernel is first asked for.
    """

    def __init__(self, device: _core.Device, container: Metallib):
        self._device, self._container = device, container
        self._kernels: dict[str, Library] = {}

    @property
    def text(self) -> str:
        """Empty: the kernels have no text, and no module that all of them share."""
        return ""

    def functions(self) -> list[str]:
        """Names of the kernels."""
        return self._container.kernels()

    def holder(self, name: str) -> Library:
        """The library of one kernel."""
        if name not in self._kernels:
            text = compiled_kernel.text_of(self._container.bitcode(name))
            self._kernels[name] = Library(self._device.library(text))
        return self._kernels[name]

    def stitch(self, functions: Mapping[str, Call], *, inline: bool = True) -> NoReturn:
        """Refused: stitching needs the text of the functions."""
        raise KernelCompileError(
            "[stitch] found functions of a metallib, needs those of a text; pass device.library"
        )


def opened(device: _core.Device, source: object) -> Library:
    """The kernels of a metallib on a device, which loads it itself where it is Metal.

    Raises:
        KernelCompileError: the source is no file and no bytes, or no whole metallib.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        content = None
    else:
        raise KernelCompileError(
            f"[metallib] found {type(source).__name__}, needs a file or its content; pass a path "
            "or bytes"
        )
    if device.kind != "metal":
        return CompiledLibrary(device, Metallib(source if content is None else content))
    if content is None:
        return Library(device.compiled_library(os.fspath(source)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.metallib"
        path.write_bytes(content)
        return Library(device.compiled_library(str(path)))
