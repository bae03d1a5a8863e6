"""KV heads written out for every query head: what the attention kernels avoid, to be compared."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device.discovery import opened
from attnproto.device.pipelines import pipeline
from attnproto.dtypes import name_of
from attnproto.errors import UnsupportedProblem

from .flash import check_heads
from .launching import as_input
from .text import plain

if TYPE_CHECKING:
    from attnproto.device.device import Device, Timing

_PARAMS = struct.Struct("<3I")
THREADS = 64


def launch_expand(x: np.ndarray, output: np.ndarray, *, device: Device) -> Timing:
    """Repeat KV heads into memory of the caller and return the dispatch's timing.

    Args:
        x: [B, Hkv, N, D], N D elements a multiple of 16 bytes.
        output: [B, Hq, N, D], contiguous, writable, the type of x; Hkv divides Hq.
        device: an open device.

    Returns:
        The device's Timing.

    Raises:
        UnsupportedProblem: shapes or types that do not belong together.
    """
    ranks = isinstance(x, np.ndarray) and x.ndim == output.ndim == 4 and 0 not in x.shape
    same = ranks and (x.shape[0], *x.shape[2:]) == (output.shape[0], *output.shape[2:])
    fits = output.dtype == getattr(x, "dtype", None) and output.flags.c_contiguous
    if not (same and fits and output.flags.writeable and output.size):
        raise UnsupportedProblem(
            f"[gqa.launch] found x {getattr(x, 'shape', type(x).__name__)} and output "
            f"{name_of(output.dtype)} {output.shape}, needs [B, Hkv, N, D] and a contiguous "
            "[B, Hq, N, D] of one type; pass numpy.empty of that shape"
        )
    b, hq = output.shape[:2]
    check_heads(hq, x.shape[1])
    head_bytes = x[0, 0].nbytes
    if head_bytes % 16:
        raise UnsupportedProblem(
            f"[gqa.launch] found {head_bytes} bytes a head, needs a multiple of 16; pass D a "
            "multiple of 8"
        )
    quads = head_bytes // 16
    return device.run(
        pipeline(device, plain("gqa/gqa.metal", "expand_heads")),
        threadgroups=(-(-quads // THREADS), hq, b),
        threads=(THREADS, 1, 1),
        buffers={0: as_input(x), 1: output, 2: _PARAMS.pack(quads, hq, hq // x.shape[1])},
        view=(0, 1),  # moved as they are
    )


def expand_heads(x: np.ndarray, hq: int, *, device: Device | str | None = None) -> np.ndarray:
    """Repeat every KV head for the query heads that share it.

    Args:
        x: [B, Hkv, N, D], N D elements a multiple of 16 bytes.
        hq: query heads, a multiple of Hkv.
        device: an open device or the name of one; ``auto`` when None.

    Returns:
        [B, Hq, N, D], the type of x.

    Raises:
        UnsupportedProblem: a shape that cannot be repeated.
        DeviceUnavailable: the device is not on this machine.

    Source:
        Ainslie et al., "GQA", 2023 (arXiv 2305.13245), section 2.2.

    Examples:
        >>> expand_heads(np.ones((1, 2, 4, 8), np.float32), 8).shape
        (1, 8, 4, 8)
    """
    shape = getattr(x, "shape", ())
    output = np.empty((*shape[:1], hq, *shape[2:]), getattr(x, "dtype", np.float32))
    launch_expand(x, output, device=opened(device))
    return output
