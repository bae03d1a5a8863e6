"""The record of a run: one fsynced JSON line for each point."""

from __future__ import annotations

import fcntl
import gc
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attnproto.errors import AttnprotoError
from attnproto.files import replace_file

POINTS, FINDINGS = "points.jsonl", "findings.jsonl"


class StoreError(AttnprotoError):
    """A results folder cannot be written, or a line before its last is not JSON."""


def content_key(value: Any, length: int = 16) -> str:
    """Hash a JSON value by its content, whatever the order of its keys."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def plain(value: Any) -> Any:
    """Turn numpy scalars, tuples and non-finite numbers into what JSON can say.

    NaN and infinities become the strings ``"nan"``, ``"inf"`` and ``"-inf"``, which float()
    reads back.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def is_text(value: str) -> bool:
    """Whether a file can hold it: half of a surrogate pair is no character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Store:
    """Appends records to a JSON-lines file so that a kill at any moment loses at most one.

    A record is on disk when ``append`` returns. A last line without its newline, left by a
    kill in mid-write, is cut off when the file is opened again. While it is open no other
    process opens it; the lock ends with its holder, however that ends.

    Args:
        path: The file; its folder is created.

    Raises:
        StoreError: The folder or file cannot be written, or another run writes to it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")  # noqa: SIM115 - held open for the run
        except OSError as error:
            raise StoreError(
                f"[store] found {self.path.parent} not writable ({error.strerror}), needs a "
                "folder to write to; pass another --out"
            ) from error
        try:
            self._lock()
            self._cut_torn_line()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._file.fileno()).st_nlink == 0:  # its holder removed it meanwhile
                raise BlockingIOError
        except BlockingIOError as error:
            raise StoreError(
                f"[store] found another run that writes to {self.path.parent}, needs a folder of "
                "its own; wait for that run to end or pass another --out"
            ) from error
        except OSError as error:
            raise StoreError(
                f"[store] found {self.path} cannot be locked ({error.strerror}), needs a file "
                "system with locks; pass another --out"
            ) from error

    def _cut_torn_line(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - 65536)
            self._file.seek(start)
            newline = self._file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            self._file.truncate(end)
            os.fsync(self._file.fileno())

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record as one line and wait until it is on disk."""
        line = json.dumps(plain(record), ensure_ascii=False, allow_nan=False) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_records(path: Path | str) -> Iterator[dict[str, Any]]:
    """Yield the records of a file in order, passing over a torn last line.

    Args:
        path: A JSON-lines file; a missing one has no records.

    Raises:
        StoreError: A line before the last is not a JSON object.
    """
    from pydantic_core import from_json

    path = Path(path)
    if not path.exists():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = from_json(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    return
                raise StoreError(
                    f"[store] found line {number} of {path} is not JSON ({error}), needs one "
                    "JSON object a line; restore the file or remove the line"
                ) from error
            if not isinstance(record, dict):
                raise StoreError(
                    f"[store] found line {number} of {path} is not a JSON object, needs one; "
                    "remove the line"
                )
            yield record


def write_atomically(path: Path | str, text: str) -> None:
    """Replace a file's text in one step, so that no reader sees half of it.

    Raises:
        StoreError: The folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode("utf-8"), synced=True)
    except OSError as error:
        raise StoreError(
            f"[store] found {path.parent} not writable ({error.strerror}), needs a folder to "
            "write to; pass another --out"
        ) from error


def read_rows(path: Path | str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file in order, passing over a torn last line.

    Args:
        path: A ``points.jsonl``; a missing one has no rows.

    Raises:
        StoreError: A line is no row; the message names it.
    """
    from .row_schema import mistake

    for number, record in enumerate(read_records(path), start=1):
        wrong = mistake(record)
        if wrong:
            raise StoreError(
                f"[store] found line {number} of {path} is no row ({wrong}), needs every field "
                "of one; correct or remove the line"
            )
        yield record


def latest_rows(path: Path | str) -> list[dict[str, Any]]:
    """Read a folder's rows, the last one of each key.

    Raises:
        StoreError: As ``read_rows``.
    """
    # Rows hold no cycles; collecting while their number grows would double the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        rows = {row["key"]: row for row in read_rows(Path(path) / POINTS)}
    finally:
        if collecting:
            gc.enable()
    gc.freeze()
    return list(rows.values())
