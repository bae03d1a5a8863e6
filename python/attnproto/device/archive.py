"""Compiled pipelines in one file: built, shipped, loaded, and never trusted unread.

The file says what it is, the SHA-256 of the rest, for which device, system and compiler it was
built, and which pipelines it holds, in lines of fields parted by tabs; an empty line ends them.
What the device itself stores follows (Metal: a binary archive; cpu and cuda: machine code by its
keys), and for the cpu and the cuda device a file of each pipeline that libattnproto opens where
there is no Python (cpp/c_api.h). Where the device or one of the others differs, or a byte is wrong,
the archive is refused and can be built anew.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnproto import _core
from attnproto.compiler.target import host_target, processor_name
from attnproto.errors import ArchiveRefused, KernelCompileError, check_text
from attnproto.files import replace_file

from . import archive_manifest as manifest
from . import pipelines as kept_pipelines
from .library import describe

if TYPE_CHECKING:
    from .device import Device
    from .library import Constants, Library

_MAGIC = b"attnproto archive 2\n"
_CURE = "build it again (archive.load_or_build does)"
# What must agree before a compiled pipeline is used, in the order it is complained about.
_IDENTITY = ("kind", "processor", "os", "compiler")


def identity(device: Device) -> dict[str, str]:
    """Return what compiled pipelines of a device depend on.

    Args:
        device: an open device.

    Returns:
        ``kind``, ``processor``, ``os`` and ``compiler``.
    """
    core = device._core
    # Metal's compiler is part of the operating system.
    compiler = core.os
    if device.kind in ("cpu", "cuda"):
        from attnproto.compiler.frontend import clang
        from attnproto.compiler.frontend.text_key import own_sources

        compiler = f"{clang.compiler_version()}, {own_sources()[:16]}"
        if device.kind == "cpu":
            compiler += f", {processor_name(host_target())}"
    return {
        "kind": device.kind,
        "processor": core.processor,
        "os": core.os,
        "compiler": compiler,
    }


@dataclass(frozen=True)
class Archive:
    """An archive that was read and found fit for its device; pass it as ``archive=``.

    Attributes:
        path: the file.
        payload: the device's own file, unpacked from it.
        manifest: ``device``, and a list ``pipelines`` of ``function``, ``constants``, ``text``
            (a digest), ``linked``, ``private``, and ``c_bytes``: the size of what libattnproto
            loads of it, 0 where the C ABI can't (function tables) and on devices whose own file
            serves C as well.
        rebuilt_because: why ``load_or_build`` built it; empty when it was read.
    """

    path: Path
    payload: Path
    manifest: Mapping[str, Any]
    rebuilt_because: str = ""

    def __fspath__(self) -> str:
        return str(self.payload)

    @property
    def nbytes(self) -> int:
        """Size of the file in bytes."""
        return self.path.stat().st_size

    def __len__(self) -> int:
        return len(self.manifest["pipelines"])


class Builder:
    """Collects pipelines for one archive; get one from :func:`build`."""

    def __init__(self, device: Device):
        self._device = device
        self._core = device._core.new_archive()
        self._pipelines: list[dict[str, Any]] = []
        self._code: list[bytes] = []

    def add(
        self,
        library: Library,
        name: str,
        constants: Constants | None = None,
        *,
        linked: Sequence[str] = (),
        private: Mapping[str, Library] | None = None,
    ) -> None:
        """Compile a pipeline and keep it; arguments as in ``Library.pipeline``.

        Raises:
            KernelCompileError: as ``Library.pipeline``, or the linker fails.
            DeviceUnavailable: there is no linker, which the cpu device needs here.
        """
        described = describe(name, constants, linked, private)
        library = library.holder(name)
        self._core.add(library._core, described)
        code = manifest.code_for_c(library.text, described, self._device)
        self._pipelines.append(
            {
                "function": name,
                "constants": manifest.by_name(self._device, library, constants or {}),
                "text": hashlib.sha256(library.text.encode()).hexdigest()[:16],
                "linked": list(linked),
                "private": sorted(private or {}),
            }
        )
        self._code.append(code)

    def save(self, path: str | os.PathLike[str]) -> Archive:
        """Write the archive, replacing the file in one step.

        Args:
            path: where.

        Returns:
            The archive, loaded from the file.

        Raises:
            KernelCompileError: nothing was added, or the file cannot be written.
        """
        if not self._pipelines:
            raise KernelCompileError(
                "[archive.save] found no pipelines, needs at least one; add it first"
            )
        with tempfile.TemporaryDirectory() as folder:
            payload = Path(folder) / "payload"
            self._core.save(str(payload))
            stored = payload.read_bytes()
        lines = [*identity(self._device).items(), ("payload", str(len(stored)))]
        lines += map(manifest.line, self._pipelines, map(len, self._code))
        head = "".join("\t".join(fields) + "\n" for fields in lines)
        body = b"".join([head.encode(), b"\n", stored, *self._code])
        _write(Path(path), _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        return load(path, self._device)


def build(device: Device) -> Builder:
    """Begin an archive.

    Args:
        device: the device whose pipelines it will hold.

    Raises:
        KernelCompileError: the device stores no pipelines.

    Examples:
        >>> device = attnproto.open_device("cpu")
        >>> builder = attnproto.archive.build(device)
        >>> builder.add(device.library("kernel void f(device int* y) { *y = 1; }"), "f")
        >>> len(builder.save("one.attnproto"))
        1
    """
    return Builder(device)


def load(path: str | os.PathLike[str], device: Device) -> Archive:
    """Read an archive and check all of it.

    On the cpu device, load before compiling the texts it was built from: their kernels are
    then known without running a compiler.

    Args:
        path: the file.
        device: the device it is for.

    Returns:
        The archive, for ``Library.pipeline``.

    Raises:
        ArchiveRefused: the file is missing, damaged or truncated, or was built for another
            device, operating system or compiler.
    """
    try:
        path = Path(check_text(os.fspath(path), "the path", "archive.load"))
        if "\0" in str(path):
            raise KernelCompileError(
                f"[archive.load] found {str(path)!r} as the path, needs one without NUL; check it"
            )
        if path.exists() and not path.is_file():
            raise KernelCompileError(
                f"[archive.load] found {path}, which is no file, needs an archive; check the path"
            )
        read = _core.read_archive(str(path))
    except TypeError:
        raise ArchiveRefused(
            f"[archive.load] found {type(path).__name__} as the path, needs a string"
        ) from None
    except (KernelCompileError, ValueError, OSError) as error:
        raise ArchiveRefused(str(error)) from None
    here, built_for = identity(device), read.device
    for name in _IDENTITY:
        if built_for.get(name) != here[name]:
            raise ArchiveRefused(
                f"[archive.load] found {path} built for {name} {built_for.get(name)!r}, needs "
                f"{here[name]!r}; {_CURE}"
            )
    unpacked = _unpack(read.payload)
    if device.kind in ("cpu", "cuda"):
        from attnproto.compiler.codegen import object_archive
        from attnproto.compiler.frontend import program as library

        library.ship_heads(object_archive.read(str(unpacked)).heads)
    pipelines = [manifest.pipeline(one) for one in read.pipelines]
    return Archive(path, unpacked, {"device": built_for, "pipelines": pipelines})


def load_or_build(
    path: str | os.PathLike[str], device: Device, fill: Callable[[Builder], None]
) -> Archive:
    """Read an archive, or build it where it is missing, damaged or out of date.

    Args:
        path: the file.
        device: the device it is for.
        fill: ``f(builder)`` adds the pipelines.

    Returns:
        The archive; ``rebuilt_because`` says why it was built.

    Raises:
        KernelCompileError: it had to be built and could not.
    """
    try:
        return load(path, device)
    except ArchiveRefused as refused:
        builder = build(device)
        fill(builder)
        saved = builder.save(path)
        return Archive(saved.path, saved.payload, saved.manifest, str(refused))


def use(archive: Archive | None, device: Device) -> None:
    """Serve attnproto's own kernels from an archive; what it does not hold is compiled.

    Args:
        archive: one that was loaded for this device; None to go back to compiling.
        device: the device that ``flash_attention`` and the others are called with.

    Raises:
        ArchiveRefused: it is no archive that was loaded.
    """
    if archive is not None and not isinstance(archive, Archive):
        raise ArchiveRefused(
            f"[archive.use] found {archive!r}, needs an archive; pass what archive.load returns"
        )
    kept_pipelines.look_in(device, archive)


@contextmanager
def collecting(device: Device) -> Iterator[Builder]:
    """Collect the pipelines that attnproto's own kernels use inside a ``with`` block.

    Kernels of one's own are listed instead: ``builder = build(device)``, then
    ``builder.add(library, name, constants)`` for each, which a builder from here takes too.

    Args:
        device: the device that they are called with.

    Yields:
        A builder that has them once the block ends.

    Examples:
        >>> device = attnproto.open_device("cpu")
        >>> q = np.ones((1, 1, 8, 64), np.float32)
        >>> with attnproto.archive.collecting(device) as builder:
        ...     _ = attnproto.flash_attention(q, q, q, device=device)
        >>> attnproto.archive.use(builder.save("flash.attnproto"), device)
    """
    builder = build(device)
    kept_pipelines.collect(device)
    try:
        yield builder
    finally:
        for source, constants in kept_pipelines.collected(device):
            builder.add(device.library(source.text), source.name, constants)


def _unpack(payload: bytes) -> Path:
    """Put the device's own file where it has a name of its own: Metal caches by name."""
    from attnproto.compiler.object_cache import folder

    name = hashlib.sha256(payload).hexdigest()[:40]
    place = folder() / "archives" / name
    if not place.exists() or place.read_bytes() != payload:
        _write(place, payload)
    return place


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise KernelCompileError(
            f"[archive.save] found {path} not writable ({error.strerror}), needs a place for the "
            "file; choose another"
        ) from None
