"""Compiled kernels on disk, shared by the processes of one user.

An entry is one file, written beside its place and renamed into it, so that a reader
sees a whole one or none and two writers do no harm. It is machine code that will run: the
folder is used only where nobody else may write, and an entry only under its own key.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import hashlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attnproto.errors import KernelCompileError
from attnproto.settings import value_of

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_DIGEST_BYTES = 32
# Longer than a large kernel takes to compile on a busy machine.
_WAIT_S = 60.0


def folder() -> Path:
    """Where entries are: ATTNPROTO_CACHE_DIR or the user's cache folder, made where absent.

    In its place, where it is not the user's own or others may write to it, or there can be none,
    a temporary folder of this process, which a RuntimeWarning says once.

    Raises:
        KernelCompileError: no temporary folder can be made either.
    """
    try:
        with _opened() as (path, _):
            return path
    except OSError as error:
        raise KernelCompileError(
            f"[cache] found no place for a folder ({error.strerror}), needs one; set "
            "ATTNPROTO_CACHE_DIR"
        ) from None


def key(*parts: str) -> str:
    """A name for what depends on ``parts`` and nothing else."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part.encode())
    return digest.hexdigest()[:40]


def read(name: str) -> bytes | None:
    """The entry, or None; a damaged one, or another's under this name, counts as none."""
    try:
        with _opened() as (_, place):
            data = _content(name, place)
    except OSError:
        return None
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return content if _digest(name, content) == digest else None


def write(name: str, content: bytes) -> None:
    """Keep an entry; where the folder cannot be written, the next process compiles again."""
    draft = f"new-{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with _opened() as (_, place):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            handle = os.open(draft, flags, 0o600, dir_fd=place)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_digest(name, content) + content)
                os.replace(draft, name, src_dir_fd=place, dst_dir_fd=place)
            except OSError:
                os.unlink(draft, dir_fd=place)
    except OSError:
        return


@contextmanager
def making(name: str) -> Iterator[bool]:
    """While an entry is made: other processes and threads that want it wait, and then read it.

    An optimisation and no promise: a wait ends after ``_WAIT_S``, and where the system has no
    file locks nobody waits. A process that ends lets its lock go.

    Yields:
        Whether somebody else may have made the entry meanwhile.
    """
    handle = None
    waited = False
    try:
        with suppress(OSError), _opened() as (_, place):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            handle = os.open(f"lock-{name[:2]}", flags, 0o600, dir_fd=place)
        if handle is not None:
            waited = _wait(handle)
        yield waited
    finally:
        if handle is not None:
            with suppress(OSError):
                # Closing it does not do, where a child was forked meanwhile: it has it open too.
                fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)


def _wait(handle: int) -> bool:
    """Take a lock; returns whether another had it first."""
    end, waited = time.monotonic() + _WAIT_S, False
    while time.monotonic() < end:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return waited
        except BlockingIOError:
            waited = True
            time.sleep(0.01)
        except OSError:  # a file system without locks
            return waited
    return True


def _digest(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + content).digest()


def _content(name: str, place: int) -> bytes:
    """What a regular file of the user's holds; nothing else is read, nor waited for."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(name, flags, dir_fd=place), "rb") as file:
        status = os.fstat(file.fileno())
        fits = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()
        return file.read() if fits and not status.st_mode & _OTHERS_WRITE else b""


@contextmanager
def _opened() -> Iterator[tuple[Path, int]]:
    """The folder's path, and the folder itself: what was looked at is what is used."""
    path = _chosen()
    place = None
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        wrong = _wrong(os.fstat(place))
    except (OSError, ValueError) as error:
        wrong = getattr(error, "strerror", None) or str(error)
    if wrong:
        if place is not None:
            os.close(place)
        path = _private(os.getpid(), f"{path} {wrong}" if place is not None else f"{path}: {wrong}")
        place = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield path, place
    finally:
        os.close(place)


def _wrong(status: os.stat_result) -> str:
    """Why what is in a folder may be somebody else's; nothing where it is the user's."""
    if status.st_uid != os.getuid():
        return f"of user {status.st_uid}"
    return "that others may write to" if status.st_mode & _OTHERS_WRITE else ""


@functools.cache
def _private(process: int, refused: str) -> Path:
    """A folder of this process alone, which ends with it."""
    directory = _temporary(process)
    warnings.warn(
        f"[cache] found the folder {refused}, needs one of your own that only you may write to; "
        f"compiled kernels go to {directory} until this process ends. Set ATTNPROTO_CACHE_DIR, or "
        "chmod go-w",
        RuntimeWarning,
        stacklevel=2,
    )
    return directory


@functools.cache
def _temporary(process: int) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="attnproto-"))
    atexit.register(_remove, process, directory)
    return directory


def _remove(process: int, directory: Path) -> None:
    if os.getpid() == process:  # a child that was forked has it only lent
        shutil.rmtree(directory, ignore_errors=True)


def _chosen() -> Path:
    chosen = value_of("ATTNPROTO_CACHE_DIR")
    if chosen:
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError:  # no such user
        home = Path(os.devnull)
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "attnproto"
    return Path(value_of("XDG_CACHE_HOME") or home / ".cache") / "attnproto"
