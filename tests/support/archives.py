"""Archives that say something else than they were saved with."""

from __future__ import annotations

import hashlib
from pathlib import Path


def rewrite_head(path: Path, **changes: str) -> None:
    """Change fields of an archive's head and write a digest that is right again."""
    magic, _, body = path.read_bytes().split(b"\n", 2)
    head, payload = body.split(b"\n\n", 1)
    lines = [line.split(b"\t") for line in head.split(b"\n")]
    for line in lines:
        line[1] = changes.get(line[0].decode(), line[1].decode()).encode()
    body = b"\n".join(map(b"\t".join, lines)) + b"\n\n" + payload
    path.write_bytes(magic + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
