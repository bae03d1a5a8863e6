"""What prototypes lack and can be got, got while others run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from attnproto.prototypes.registry import load

# What is over sooner needs no waiting: whether it went well is known at once.
_AT_ONCE_S = 0.25


class Preparation:
    """Prepares prototypes in a thread of its own; one that fails is still missing afterwards.

    Args:
        names: Prototypes that will run.
        say: Told before something takes long.
    """

    def __init__(self, names: Sequence[str] = (), say: Callable[[str], None] | None = None) -> None:
        ready = {name: load(name).prepare for name in names}
        self._names = [name for name, prepare in ready.items() if prepare is not None]
        # Prototypes may share what makes them ready.
        own = dict.fromkeys(ready[name] for name in self._names)
        self._thread = threading.Thread(
            target=lambda: [prepare(say) for prepare in own], daemon=True
        )
        if self._names:
            self._thread.start()
            self._thread.join(_AT_ONCE_S)

    def awaits(self, name: str) -> bool:
        """Say whether a prototype is being prepared."""
        return name in self._names and self._thread.is_alive()

    def missing(self, name: str) -> str:
        """Wait until a prototype is prepared; say what it still lacks, empty when nothing."""
        if name not in self._names:
            return ""
        self._thread.join()
        missing = load(name).missing
        return missing() if missing else ""
