"""Files that a reader finds whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes, *, synced: bool = False) -> None:
    """Write a file beside its place and rename it there, so that no reader sees half of it.

    Where that fails the file is as it was, and nothing is left beside it. Two writers of one file
    do each other no harm: one of their contents stays.

    Args:
        path: the file, in a folder that exists.
        content: all of it.
        synced: whether the content is on the disk before the name is its own.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    draft = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with open(draft, "xb") as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
