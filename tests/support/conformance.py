"""Which device answers for MSL as this project's compiler reads it."""

from __future__ import annotations

import attnproto
from attnproto.device.discovery import kind_of


def conformance_device() -> attnproto.Device:
    """The GPU where our compiler makes its code, else the cpu device.

    Never Metal: such texts hold what Apple's headers refuse or leave open, and one error takes a
    whole text. What a device promises is asked in test_metal.py and test_device.py, one library a
    kernel; that kernels are right on any device, where they meet their truth in FP64.
    """
    return attnproto.open_device("cuda" if kind_of("auto") == "cuda" else "cpu")
