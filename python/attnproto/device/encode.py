"""Short forms of the launches most kernels need: memory, a line or a plane of threads."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from attnproto.errors import DispatchError

from .device import Buffer, Device, Pipeline, Timing

_LINE_THREADS = 256
_PLANE_THREADS = (16, 16)


def alloc_buffer(device: Device, shape: int | tuple[int, ...], dtype: np.dtype | type) -> Buffer:
    """Allocate zeroed memory of the device for an array.

    Args:
        device: where the memory lies.
        shape: of the array.
        dtype: of its elements.

    Examples:
        >>> import attnproto, numpy as np
        >>> from attnproto.device.encode import alloc_buffer
        >>> alloc_buffer(attnproto.open_device("cpu"), (2, 3), np.float16).nbytes
        12
    """
    return device.buffer(np.zeros(shape, dtype))


def dispatch_1d(
    device: Device,
    pipeline: Pipeline,
    n: int,
    buffers: Mapping[int, object],
    *,
    threads: int = 0,
    threadgroup_bytes: Mapping[int, int] | None = None,
) -> Timing:
    """Run exactly ``n`` threads in a line and wait for them.

    Args:
        device: what runs them.
        pipeline: the kernel.
        n: threads in the grid; the last threadgroup is smaller where n asks for it.
        buffers: by index, as for :meth:`Device.run`.
        threads: in a threadgroup; as many as fit, up to 256, when 0.
        threadgroup_bytes: by index.

    Raises:
        DispatchError: n is not positive, or a rule of the device is broken.
    """
    width = threads or min(_LINE_THREADS, pipeline.max_threads)
    return _dispatch(device, pipeline, (n,), (width,), buffers, threadgroup_bytes)


def dispatch_2d(
    device: Device,
    pipeline: Pipeline,
    width: int,
    height: int,
    buffers: Mapping[int, object],
    *,
    threads: tuple[int, int] = _PLANE_THREADS,
    threadgroup_bytes: Mapping[int, int] | None = None,
) -> Timing:
    """Run exactly ``width`` by ``height`` threads and wait for them.

    Args:
        device: what runs them.
        pipeline: the kernel.
        width: threads along x.
        height: threads along y.
        buffers: by index, as for :meth:`Device.run`.
        threads: in a threadgroup, along x and y.
        threadgroup_bytes: by index.

    Raises:
        DispatchError: an extent is not positive, or a rule of the device is broken.
    """
    return _dispatch(device, pipeline, (width, height), threads, buffers, threadgroup_bytes)


def read_buffer_slice(
    buffer: Buffer, start: int, count: int, dtype: np.dtype | type = np.float32
) -> np.ndarray:
    """Copy ``count`` elements from element ``start`` out of a buffer.

    Raises:
        DispatchError: the slice does not lie inside the buffer.

    Examples:
        >>> import attnproto, numpy as np
        >>> from attnproto.device.encode import read_buffer_slice
        >>> buffer = attnproto.open_device("cpu").buffer(np.arange(8, dtype=np.float32))
        >>> read_buffer_slice(buffer, 2, 3)
        array([2., 3., 4.], dtype=float32)
    """
    held = buffer.nbytes // np.dtype(dtype).itemsize
    if start < 0 or count < 0 or start + count > held:
        raise DispatchError(
            f"[encode.read_buffer_slice] found elements {start} to {start + count}, needs a slice "
            f"of the {held} in the buffer; check start, count and dtype"
        )
    return buffer.numpy()[: held * np.dtype(dtype).itemsize].view(dtype)[start:][:count].copy()


def _dispatch(
    device: Device,
    pipeline: Pipeline,
    grid: tuple[int, ...],
    threads: tuple[int, ...],
    buffers: Mapping[int, object],
    threadgroup_bytes: Mapping[int, int] | None,
) -> Timing:
    if min(grid) <= 0 or min(threads) <= 0:
        raise DispatchError(
            f"[encode] found a grid of {prod(grid)} threads in groups of {prod(threads)}, needs at "
            "least one of each; leave the dispatch out"
        )
    threadgroups = tuple(-(-n // t) for n, t in zip(grid, threads, strict=True))
    return device.run(
        pipeline,
        threadgroups=threadgroups,
        threads=threads,
        buffers=buffers,
        threadgroup_bytes=threadgroup_bytes,
        grid=grid,
    )
