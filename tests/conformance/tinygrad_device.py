"""tinygrad with our device in the place of its Metal runtime.

tinygrad schedules, generates MSL and chooses sizes as it does on a Mac; only the module that calls
Metal (``tinygrad.runtime.ops_metal``) is another, and each launch is ours.
"""

from __future__ import annotations

import importlib
import os
import struct
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import attnproto
import numpy as np

FAMILY = "Apple9"  # an M4's: with matrix units and bfloat


@dataclass
class Launches:
    """What tinygrad launched: the name of the kernel by its text, which tells more apart."""

    device: attnproto.Device
    texts: dict[str, str] = field(default_factory=dict)


def install(wheel: Path, launches: Launches) -> types.ModuleType:
    """Import tinygrad from its wheel, with a METAL device that is ours; returns the package.

    Args:
        wheel: unpacked.
        launches: where kernels run, and what keeps their texts.
    """
    module = types.ModuleType("tinygrad.runtime.ops_metal")
    sys.modules[module.__name__] = module
    # Read at the import: no files of its own, no workers, no tuning by time.
    settings = {"DEV": "METAL", "CACHELEVEL": "0", "PARALLEL": "0", "BEAM": "0"}
    with mock.patch.dict(os.environ, settings):
        sys.path.insert(0, str(wheel))
        package = importlib.import_module("tinygrad")
        vars(module).update(_runtime(launches))
        sys.path.remove(str(wheel))
    return package


def _runtime(launches: Launches) -> dict[str, type | Callable]:
    device_module = importlib.import_module("tinygrad.device")

    class MetalCompiler(device_module.Compiler):
        def __init__(self):
            super().__init__(None)

        def compile(self, src: str) -> bytes:
            return src.encode()

    class Memory(device_module.Allocator):
        def _alloc(self, size: int, options: object) -> np.ndarray:
            return np.full(size, 0xFF, np.uint8)

        def _as_buffer(self, buffer: np.ndarray) -> memoryview:
            return memoryview(buffer)

        def _copyin(self, dest: np.ndarray, src: memoryview) -> None:
            memoryview(dest)[:] = src.cast("B")

        def _copyout(self, dest: memoryview, src: np.ndarray) -> None:
            dest.cast("B")[:] = memoryview(src)

        def _offset(self, buffer: np.ndarray, size: int, offset: int) -> np.ndarray:
            return buffer[offset : offset + size]

    class MetalProgram(device_module.Program):
        def __init__(self, dev: object, obj: object):
            self.signature = obj.signature
            self.name, self.text = obj.name, obj.lib.decode()
            launches.texts[self.text] = self.name

        def __call__(self, *bufs, global_size, local_size, vals=(), **others):
            buffers: dict[int, object] = dict(enumerate(bufs))
            for value, (_, slot, dtype, _) in zip(vals, self.signature[len(bufs) :], strict=True):
                buffers[slot] = struct.pack("q" if dtype.itemsize == 8 else "i", value)
            launches.device.run(
                launches.device.library(self.text).pipeline(self.name),
                threadgroups=global_size,
                threads=local_size,
                buffers=buffers,
                view=range(len(bufs)),
            )
            return 1e-3

    class MetalDevice(device_module.Compiled):
        def __init__(self, device: str):
            cstyle = importlib.import_module("tinygrad.renderer.cstyle")
            super().__init__(
                device, Memory(self), [cstyle.MetalRenderer], MetalProgram, arch=FAMILY
            )

    return {"MetalCompiler": MetalCompiler, "MetalDevice": MetalDevice}
