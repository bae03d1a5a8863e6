"""Compiled pipelines in one file: built, shipped, loaded, and never trusted unread.

The file is three lines and a payload: what it is, the SHA-256 of the rest, a manifest, and
what the device itself stores (Metal: a binary archive; cpu: object code by its keys). The
manifest names the device, the compiler and the operating system; where one of them differs,
or a byte is wrong, the archive is refused and can be built anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ArchiveRefused, KernelCompileError
from .library import describe

if TYPE_CHECKING:
    from .device import Device
    from .library import Constants, Library

_MAGIC = b"attnproto archive 1\n"
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
    if device.kind == "cpu":
        from .msl import clang, library, native

        system = platform.mac_ver()[0] or platform.release()
        return {
            "kind": "cpu",
            "processor": native.host_cpu(),
            "os": f"{platform.system()} {system}",
            "compiler": f"{clang.compiler_version()}, {library.own_sources()[:16]}",
        }
    facts = dict(device._core.properties())
    if device.kind == "cuda":
        from .msl import clang, library

        return {
            "kind": "cuda",
            "processor": facts["architecture"],
            "os": f"NVIDIA driver for CUDA {facts['driver']}",
            "compiler": f"{clang.compiler_version()}, {library.own_sources()[:16]}",
        }
    system = facts.get("os", platform.platform())
    processor = f"{device.name} {facts.get('architecture', '')}".strip()
    # Metal's compiler is part of the operating system.
    return {"kind": device.kind, "processor": processor, "os": system, "compiler": system}


@dataclass(frozen=True)
class Archive:
    """An archive that was read and found fit for its device; pass it as ``archive=``.

    Attributes:
        path: the file.
        payload: the device's own file, unpacked from it.
        manifest: ``device``, and a list ``pipelines`` of ``function``, ``constants``, ``text``
            (a digest), ``linked`` and ``private``.
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
            KernelCompileError: as ``Library.pipeline``.
        """
        self._core.add(library._core, describe(name, constants, linked, private))
        self._pipelines.append(
            {
                "function": name,
                "constants": {str(key): _plain(value) for key, value in (constants or {}).items()},
                "text": hashlib.sha256(library.text.encode()).hexdigest()[:16],
                "linked": list(linked),
                "private": sorted(private or {}),
            }
        )

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
            manifest = {"device": identity(self._device), "pipelines": self._pipelines}
            body = json.dumps(manifest).encode() + b"\n" + payload.read_bytes()
        _write(Path(path), _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        return load(path, self._device)


def build(device: Device) -> Builder:
    """Begin an archive.

    Args:
        device: the device whose pipelines it will hold.

    Raises:
        KernelCompileError: the device stores no pipelines.

    Example:
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
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArchiveRefused(
            f"[archive.load] found no archive at {path} ({error.strerror}), needs one; {_CURE}"
        ) from None
    manifest, payload = _checked(path, data)
    here, built_for = identity(device), manifest.get("device", {})
    for name in _IDENTITY:
        if built_for.get(name) != here[name]:
            raise ArchiveRefused(
                f"[archive.load] found {path} built for {name} {built_for.get(name)!r}, needs "
                f"{here[name]!r}; {_CURE}"
            )
    unpacked = _unpack(payload)
    if device.kind in ("cpu", "cuda"):
        from .msl import library, shipped

        library.ship_heads(shipped.read(str(unpacked)).heads)
    return Archive(path, unpacked, manifest)


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
        made = builder.save(path)
        return Archive(made.path, made.payload, made.manifest, str(refused))


def _checked(path: Path, data: bytes) -> tuple[dict[str, Any], bytes]:
    digest, _, body = data[len(_MAGIC) :].partition(b"\n")
    if not data.startswith(_MAGIC) or hashlib.sha256(body).hexdigest().encode() != digest:
        raise ArchiveRefused(
            f"[archive.load] found {path} damaged, truncated or no archive, needs every byte as "
            f"written; {_CURE}"
        )
    head, _, payload = body.partition(b"\n")
    return json.loads(head), payload


def _unpack(payload: bytes) -> Path:
    """Put the device's own file where it has a name of its own: Metal caches by name."""
    from .msl.cache import folder

    name = hashlib.sha256(payload).hexdigest()[:40]
    place = folder() / "archives" / name
    if not place.exists() or place.read_bytes() != payload:
        _write(place, payload)
    return place


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise KernelCompileError(
            f"[archive.save] found {path} not writable ({error.strerror}), needs a place for the "
            "file; choose another"
        ) from None


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") else value
