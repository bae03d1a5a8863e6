"""Compiled kernels on disk, shared by processes.

An entry is one file, written beside its place and renamed into it, so that a reader
sees a whole one or none and two writers do no harm.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path


def folder() -> Path:
    """ATTNPROTO_CACHE_DIR, or the user's cache folder."""
    chosen = os.environ.get("ATTNPROTO_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "attnproto"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnproto"


def key(*parts: str) -> str:
    """A name for what depends on ``parts`` and nothing else."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part.encode())
    return digest.hexdigest()[:40]


def read(name: str) -> bytes | None:
    """The entry, or None; a damaged one counts as none."""
    try:
        data = (folder() / name).read_bytes()
    except OSError:
        return None
    digest, content = data[:32], data[32:]
    return content if hashlib.sha256(content).digest() == digest else None


def write(name: str, content: bytes) -> None:
    """Keep an entry; where the folder cannot be written, the next process compiles again."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder(), prefix="new-")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, folder() / name)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
