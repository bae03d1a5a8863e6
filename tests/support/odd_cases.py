"""Cases that end as none may, to see that each is found."""

from __future__ import annotations

import os
import time

from attnproto.errors import AttnprotoError, InternalError


def attempt(seed: int) -> None:
    """End as the seed says."""
    if seed == 1:
        os.abort()
    if seed == 2:
        time.sleep(60)
    if seed == 3:
        raise KeyError("odd")
    if seed == 4:
        raise AttnprotoError("[odd] found 4, needs 0; pass 0")
    if seed == 5:
        raise AttnprotoError("found 5")
    if seed == 6:
        raise InternalError("[compiler] found an internal error")
