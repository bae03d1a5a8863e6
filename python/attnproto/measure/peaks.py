"""What a device can do at most, measured once; and kernels repeated in one submission."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from attnproto.device.lock import alone
from attnproto.device.recording import Repeated
from attnproto.kernels.text import flatten

from .protocol import Peaks

_COPY_BYTES = 128 << 20
_MATRIX_GROUPS, _SIMDGROUPS, _CHAINS, _ROUNDS = 2048, 4, 8, 1024
_MATRIX_FLOPS = 2 * 8 * 8 * 8
# The best of this many submissions, after as many thrown away: a peak is what was reached once.
_TRIES = 8

_peaks: weakref.WeakKeyDictionary[Any, Peaks] = weakref.WeakKeyDictionary()


def peaks_of(device: Any) -> Peaks:
    """Probe a device's bandwidth, matrix rate and empty dispatch, once for each device.

    Args:
        device: An open device.

    Returns:
        The best of several tries of each.
    """
    if device not in _peaks:
        with alone:
            _peaks[device] = probe(device)
    return _peaks[device]


def probe(
    device: Any, copy_bytes: int = _COPY_BYTES, groups: int = _MATRIX_GROUPS, rounds: int = _ROUNDS
) -> Peaks:
    """Probe a device; see ``peaks_of``.

    Args:
        device: An open device.
        copy_bytes: Bytes copied, a multiple of 4096; far above any cache for a true answer.
        groups: Threadgroups of the matrix probe.
        rounds: Products in each of its chains.

    Returns:
        The peaks.
    """
    library = device.library(flatten("probe/probe.metal"))
    constants = {"rounds": rounds}

    def fastest(name: str, buffers: Mapping[int, Any], grid: int, threads: int, out: int) -> float:
        pipeline = library.pipeline(name, constants if "matrix" in name else None)
        kernel = Repeated(device, pipeline, (grid,), (threads,), buffers, out)
        for _ in range(_TRIES):
            kernel.run(4)
        return min(kernel.run(4) / 4 for _ in range(_TRIES))

    both = {0: device.buffer(copy_bytes), 1: device.buffer(copy_bytes)}
    copy_us = fastest("probe_copy", both, copy_bytes // 16 // 256, 256, 1)
    simdgroups = groups * _SIMDGROUPS
    out = {0: device.buffer(simdgroups * 64 * 4)}
    matrix_us = min(
        fastest(f"probe_matrix_{kind}", out, groups, 32 * _SIMDGROUPS, 0)
        for kind in ("float", "half")
    )
    # Last: the products before it have brought the clock up, which an empty dispatch cannot.
    empty_us = fastest("probe_empty", {0: device.buffer(16)}, 1, 32, 0)
    work = simdgroups * _CHAINS * rounds * _MATRIX_FLOPS
    return Peaks(work / matrix_us * 1e6, 2 * copy_bytes / copy_us * 1e6, empty_us)
