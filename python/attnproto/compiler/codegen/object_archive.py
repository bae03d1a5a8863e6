"""The file behind an archive of the cpu and cuda devices: compiled kernels by their keys."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attnproto.errors import KernelCompileError
from attnproto.files import replace_file

_MAGIC = b"attnproto compiled kernels 1\n"
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Shipped:
    """What a file holds: heads of texts and objects of pipelines, by key."""

    heads: dict[str, bytes]
    objects: dict[str, bytes]


def write(path: str, heads: Mapping[str, bytes], objects: Mapping[str, bytes]) -> None:
    """Write a file, beside its place and renamed into it.

    Raises:
        KernelCompileError: the place cannot be written.
    """
    index: dict[str, dict[str, list[int]]] = {"heads": {}, "objects": {}}
    blobs: list[bytes] = []
    at = 0
    for section, entries in (("heads", heads), ("objects", objects)):
        for key, content in sorted(entries.items()):
            index[section][key] = [at, len(content)]
            blobs.append(content)
            at += len(content)
    body = json.dumps(index).encode() + b"\n" + b"".join(blobs)
    try:
        replace_file(Path(path), _MAGIC + hashlib.sha256(body).digest() + body)
    except OSError as error:
        raise KernelCompileError(
            f"[archive] found {path} not writable ({error.strerror}), needs a folder that exists"
        ) from None


def read(path: str) -> Shipped:
    """Read a file, once while it stays the same.

    Raises:
        KernelCompileError: it is missing, damaged, or no archive of these devices.
    """
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        raise KernelCompileError(
            f"[archive] found no file {path!a}, needs an archive; build it first"
        ) from None
    return _read(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=16)
def _read(path: str, _time: int, _size: int) -> Shipped:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise KernelCompileError(
            f"[archive] found {path} unreadable ({error.strerror}), needs an archive; check "
            "the path"
        ) from None
    body = data[len(_MAGIC) + _DIGEST_BYTES :]
    digest = data[len(_MAGIC) : len(_MAGIC) + _DIGEST_BYTES]
    if not data.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        raise KernelCompileError(
            f"[archive] found {path} damaged or of another kind, needs an archive of this "
            "device; delete it and build it again"
        )
    line, _, blobs = body.partition(b"\n")
    index = json.loads(line)
    heads, objects = (
        {key: blobs[at : at + size] for key, (at, size) in index[section].items()}
        for section in ("heads", "objects")
    )
    return Shipped(heads, objects)
