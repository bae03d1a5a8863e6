"""A cpu device on arm64, run by QEMU: what an Apple machine's processor would execute."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attnproto import _core
from attnproto.compiler.target import processor_target
from attnproto.compiler.targets.host import NativeFrontEnd
from attnproto.compiler.targets.shared_object import shared_object
from attnproto.device.device import Buffer, Device, Dispatch, Timing, _axes
from attnproto.device.library import Library, Pipeline, describe

# Debian's C library for arm64, which lies beside this machine's own.
ROOT = Path("/usr/aarch64-linux-gnu")
TARGET = processor_target("aarch64", "unknown-linux-gnu", "apple-m1")


class _Library(Library):
    """Keeps with a pipeline what it was made of."""

    def pipeline(self, name, constants=None, **options) -> Pipeline:
        pipeline = super().pipeline(name, constants, **options)
        pipeline.source = self.text, describe(name, constants, **options)
        return pipeline


class Arm64Device(Device):
    """Checks what it is given as the host's cpu device does, and runs it elsewhere.

    Args:
        tools: folder of run_kernel and libattnproto.so, built for arm64.
        engine: ``lockstep`` or ``fibers``.
        threads: OS threads of the engine.
    """

    def __init__(self, tools: Path, engine: str, threads: int = 2):
        super().__init__(_core.open_cpu(NativeFrontEnd(engine="fibers"), 1))
        self.tools, self.engine, self.threads = tools, engine, threads
        self.runs = 0

    def library(self, text: str, **options) -> Library:
        return _Library(super().library(text, **options)._core)

    def submit(self, dispatches: Sequence[Dispatch], **options) -> Timing:
        for dispatch in dispatches:
            self._run(dispatch)
        return Timing(0.0, 0.0)

    def _run(self, dispatch: Dispatch) -> None:
        assert dispatch.grid is None, "the C ABI has whole threadgroups only"
        text, described = dispatch.pipeline.source
        with tempfile.TemporaryDirectory() as folder:
            kernel = Path(folder) / "kernel.so"
            kernel.write_bytes(shared_object(text, described, TARGET, self.engine))
            words, written = [], []
            for index, value in dispatch.buffers.items():
                path = Path(folder) / str(index)
                kind = "b"
                if isinstance(value, Buffer):
                    value = value.numpy()
                if isinstance(value, np.ndarray) and value.ndim:
                    kind = "w" if value.flags.writeable else "r"
                    if kind == "w":
                        written.append((value, path))
                path.write_bytes(value if isinstance(value, bytes) else value.tobytes())
                words.append(f"{index}:{kind}:{path}")
            for index, nbytes in (dispatch.threadgroup_bytes or {}).items():
                words.append(f"{index}:t:{nbytes}")
            numbers = _axes(dispatch.threadgroups, "threadgroups")
            numbers += _axes(dispatch.threads, "threads")
            command = ["qemu-aarch64", "-L", ROOT, self.tools / "run_kernel", kernel]
            command += [str(n) for n in (self.threads, *numbers)]
            done = subprocess.run([*command, *words], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            for array, path in written:
                array.reshape(-1).view(np.uint8)[:] = np.frombuffer(path.read_bytes(), np.uint8)
        self.runs += 1


def tools() -> Path | None:
    """Where `make arm64-test` has put what runs; nothing in other test runs."""
    folder = os.environ.get("ATTNPROTO_ARM64")
    return Path(folder) if folder else None
