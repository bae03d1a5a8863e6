"""A kernel, run and compared with FP64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import attnproto


@dataclass(frozen=True)
class Case:
    """What a device can be asked to run.

    Args:
        project: whose kernel it is.
        name: of the kernel, with what tells it from others of its kind.
        check: runs it on a device; raises AssertionError where it disagrees with FP64.
    """

    project: str
    name: str
    check: Callable[[attnproto.Device], None]
