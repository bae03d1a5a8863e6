"""A finding to be changed in one respect."""

from __future__ import annotations

from typing import Any

from attnproto.results.findings import Device, Evidence, Finding, make_finding


def sample_finding(**changes: Any) -> Finding:
    """A derived count, but for what is given: make_finding's arguments or its evidence's.

    Raises:
        FindingForbidden: the rules of confidence forbid what is asked for.
        ValidationError: a field is outside the schema.
    """
    kind = changes.pop("kind", "count")
    evidence = {"compared": "a with b", "regime": "all", "overturned_by": "c", "rows": ("r1",)}
    evidence |= {
        name: changes.pop(name) for name in ("effect", "cv", "n", "rows") if name in changes
    }
    parts = {
        "domain": "msl-kernels",
        "topic": "t",
        "title": "A title",
        "content": "A claim.",
        "tags": ["one", "two"],
        "tier": "derived",
        "device": Device(kind="cpu", name="host"),
        "proto": "flash",
        "replay": "attnproto run",
        "evidence": Evidence(kind=kind, **evidence),
    }
    return make_finding(**{**parts, **changes})
