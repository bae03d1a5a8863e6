"""Arrays that are made for a kernel to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from attnproto.errors import DispatchError

from . import binding
from .library import Pipeline

if TYPE_CHECKING:
    from collections.abc import Container


def arrays(
    out: Mapping[int, object], pipeline: Pipeline, bound: Container[int]
) -> dict[int, np.ndarray]:
    """Make the arrays that ``out`` describes.

    Args:
        out: as :meth:`attnproto.Device.run` takes it.
        pipeline: the kernel, which may say what numbers it writes.
        bound: indices that have a buffer already.

    Raises:
        DispatchError: a shape or type is none, is not known, or the index is bound.
    """
    known = binding.elements(pipeline._core) if isinstance(pipeline, Pipeline) else {}
    arrays_by_index = {}
    for index, described in out.items():
        if index in bound:
            raise DispatchError(
                f"[dispatch] found index {index} in buffers and in out, needs it in one; leave it "
                "out of buffers"
            )
        shape, dtype = _parts(index, described, known)
        arrays_by_index[index] = np.full(shape, np.nan if _is_float(dtype) else 0, dtype)
    return arrays_by_index


def _parts(
    index: int, described: object, known: Mapping[int, binding.Element]
) -> tuple[tuple[int, ...], np.dtype]:
    typed = isinstance(described, tuple) and len(described) == 2 and not _is_size(described[1])
    shape, dtype = described if typed else (described, None)
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    if not all(_is_size(size) for size in sizes):
        raise DispatchError(
            f"[dispatch] found {described!r} for output {index}, needs a shape; pass (4, 8), or "
            "((4, 8), numpy.float32)"
        )
    if dtype is None and index not in known:
        raise DispatchError(
            f"[dispatch] found shape {shape!r} for output {index}, whose type this device does not "
            f"know, needs the type too; pass out={{{index}: ({shape!r}, numpy.float32)}}"
        )
    try:
        return tuple(map(int, sizes)), known[index].dtype if dtype is None else np.dtype(dtype)
    except TypeError:
        raise DispatchError(
            f"[dispatch] found type {dtype!r} for output {index}, needs one of numpy's"
        ) from None


def _is_size(value: object) -> bool:
    return binding.is_whole_number(value) and value >= 0


def _is_float(dtype: np.dtype) -> bool:
    return dtype.kind in "fc" or dtype.name == "bfloat16"
