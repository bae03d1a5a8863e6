"""LLVM for one user at a time, and for none while the process forks.

A child has no threads but the one that forked it: a lock that another one held would be held for
ever, and LLVM be left half-way. So whoever forks waits for those who are at work. For that, all
that calls llvmlite does so in functions that are ``alone``, and the objects that they get there
end there: llvmlite has a lock of its own, which a call takes, and an object's end is one.
"""

from __future__ import annotations

import functools
import os
import threading
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P, R = ParamSpec("P"), TypeVar("R")
_lock = threading.RLock()
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


def alone(function: Callable[P, R]) -> Callable[P, R]:
    """A function that no other of these runs beside; it returns no object of llvmlite's."""

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        with _lock:
            try:
                return function(*arguments, **named)
            except BaseException as error:
                # Its frames would keep their objects for as long as the error is looked at.
                traceback.clear_frames(error.__traceback__)
                raise

    return call
