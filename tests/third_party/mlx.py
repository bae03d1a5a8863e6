"""MLX's published Metal kernels, fetched for the tests and never committed.

They come from the pinned mlx-metal wheel, whose hash is checked before it is opened.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from attnproto.msl import cache

VERSION = "0.32.4"
WHEEL = f"mlx_metal-{VERSION}-py3-none-macosx_15_0_arm64.whl"
SHA256 = "9f0a3cc26d89724434d9684932fc6f3e4e83669d2a895d858ed2c8a55eb84e8b"
HEADERS = "mlx/include/mlx/backend/metal/kernels"
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*(?:include[ \t]+"([^"]+)"|pragma[ \t]+once)[^\n]*\n', re.M)


class FetchError(Exception):
    """The wheel could not be had, or is not the pinned one."""


def wheel() -> Path:
    """The wheel, from the cache or downloaded once."""
    place = cache.folder() / "third-party" / WHEEL
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            command = [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                "--only-binary=:all:", "--platform", "macosx_15_0_arm64",
                "--python-version", "3.12", "--dest", scratch, f"mlx-metal=={VERSION}",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise FetchError(
                    f"pip could not download mlx-metal {VERSION}: {done.stderr[-300:]}"
                )
            os.replace(Path(scratch) / WHEEL, place)
    found = hashlib.sha256(place.read_bytes()).hexdigest()
    if found != SHA256:
        place.unlink()
        raise FetchError(f"{WHEEL} has SHA-256 {found}, needs {SHA256}; it was removed")
    return place


def flattened(*headers: str) -> str:
    """Headers of the kernels' folder with everything they include, as one text."""
    seen: set[str] = set()
    with zipfile.ZipFile(wheel()) as archive:

        def expand(name: str) -> str:
            if name in seen:
                return ""
            seen.add(name)
            text = archive.read(f"mlx/include/{name}").decode() + "\n"
            return _INCLUDE.sub(lambda m: expand(m.group(1)) if m.group(1) else "", text)

        return "".join(expand(f"mlx/backend/metal/kernels/{header}") for header in headers)
