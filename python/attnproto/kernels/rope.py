"""Rotary positions as a kernel of their own, beside the rotation fused into flash."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device.discovery import opened
from attnproto.device.pipelines import pipeline
from attnproto.dtypes import BY_NUMPY, name_of
from attnproto.errors import UnsupportedProblem

from .flash_tile import check_head_dimension, dtype_name
from .flash_variant import Rope, rope_table
from .launching import as_input
from .text import TemplateArgument, instantiate

if TYPE_CHECKING:
    from attnproto.device.device import Device, Timing

_PARAMS = struct.Struct("<2iI")
THREADS = 256


def launch_rope(
    x: np.ndarray, output: np.ndarray, *, rope: Rope, device: Device, position: int = 0
) -> Timing:
    """Rotate a tensor into memory of the caller and return the dispatch's timing.

    Args:
        x: [B, H, N, D], float16, float32 or bfloat16, D a multiple of 8 up to 512.
        output: contiguous, writable, the shape and type of x.
        rope: frequencies, pairing and offset.
        device: an open device.
        position: position of the first token, before the offset.

    Returns:
        The device's Timing.

    Raises:
        UnsupportedProblem: a shape or type the kernel does not rotate.
    """
    if not isinstance(x, np.ndarray) or x.ndim != 4 or 0 in x.shape:
        raise UnsupportedProblem(
            f"[rope.launch] found x of shape {getattr(x, 'shape', type(x).__name__)}, needs a "
            "numpy array of rank 4 with no empty dimension; pass [batch, heads, tokens, D]"
        )
    fits = output.flags.c_contiguous and output.flags.writeable
    if (output.shape, output.dtype) != (x.shape, x.dtype) or not fits:
        raise UnsupportedProblem(
            f"[rope.launch] found output {name_of(output.dtype)} {output.shape}, needs "
            f"{name_of(x.dtype)} {x.shape}, contiguous and writable; pass numpy.empty_like(x)"
        )
    n, d = x.shape[2:]
    check_head_dimension(d)
    msl_type = BY_NUMPY[dtype_name(x.dtype)].msl
    source = instantiate("rope/rope.metal", "rope_rows", (TemplateArgument(msl_type, msl_type),))
    work = x.size // 8
    return device.run(
        pipeline(device, source, {"rope_interleaved": rope.interleaved}),
        threadgroups=(-(-work // THREADS), 1, 1),
        threads=(THREADS, 1, 1),
        buffers={
            0: as_input(x),
            1: output,
            2: rope_table(rope, position, n, d),
            3: _PARAMS.pack(n, d, work),
        },
    )


def apply_rope(
    x: np.ndarray,
    rope: Rope | None = None,
    *,
    position: int = 0,
    device: Device | str | None = None,
) -> np.ndarray:
    """Rotate the pairs of every row by its position.

    Args:
        x: [B, H, N, D], float16, float32 or bfloat16, D a multiple of 8 up to 512.
        rope: frequencies, pairing and offset; ``Rope()`` when None.
        position: position of the first token, before the offset.
        device: an open device or the name of one; ``auto`` when None.

    Returns:
        The shape and type of x.

    Raises:
        UnsupportedProblem: a shape or type the kernel does not rotate.
        DeviceUnavailable: the device is not on this machine.

    Source:
        Su et al., "RoFormer", 2021 (arXiv 2104.09864), section 3.4.2.

    Examples:
        >>> apply_rope(np.ones((1, 1, 4, 64), np.float32))[0, 0, 0, 0]
        np.float32(1.0)
    """
    output = np.empty(getattr(x, "shape", ()), getattr(x, "dtype", np.float32))
    launch_rope(x, output, rope=rope or Rope(), device=opened(device), position=position)
    return output
