"""One device for several processes: whoever runs or measures something has it alone.

Who computes on the processor meanwhile is not barred. The lock is one on a file, which the system
takes back from a process that ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path


class Alone:
    """``with alone:`` waits until no other process is inside; may be entered again within itself.

    Costs nothing and bars nobody until a file is shared.
    """

    def __init__(self) -> None:
        self._file: int | None = None
        self._threads = threading.RLock()
        self._depth = 0

    def share(self, path: Path | str) -> None:
        """From now on be alone among the processes that share the same file, which exists."""
        self._file = os.open(path, os.O_RDONLY)

    def __enter__(self) -> None:
        if self._file is None:
            return
        self._threads.acquire()
        try:
            if self._depth == 0:
                fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:  # Ctrl-C while another process is inside
            self._threads.release()
            raise
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        if self._file is None:
            return
        self._depth -= 1
        if self._depth == 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()


alone = Alone()
