"""What a kernel is given: host memory bound as bytes, after its type was looked at.

A kernel reads bits. Where it says what numbers it reads, an array of another type is refused,
unless the caller says that its bits are meant; what no kernel could read is refused everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnproto.compiler.interface import NUMBER_KINDS
from attnproto.errors import DispatchError

from .library import FunctionTable

if TYPE_CHECKING:
    from attnproto import _core

_READABLE = "biufcV"  # dtype kinds whose bits are numbers; ml_dtypes.bfloat16 is of kind V
_KINDS = {number: kind for kind, number in NUMBER_KINDS.items()}
_NAMES = {
    ("integer", 1): "int8", ("integer", 2): "int16", ("integer", 4): "int32",
    ("integer", 8): "int64", ("float", 2): "float16", ("float", 4): "float32",
    ("bool", 1): "bool", ("bfloat", 2): "ml_dtypes.bfloat16",
}  # fmt: skip


@dataclass(frozen=True)
class Element:
    """The numbers that a kernel's argument points at; ``kind`` as in ``NUMBER_KINDS``."""

    name: str
    kind: str
    nbytes: int

    def takes(self, dtype: np.dtype) -> bool:
        """Whether the bits of such numbers are what the kernel reads."""
        if dtype.names:
            return all(self.takes(dtype[name].base) for name in dtype.names)
        if dtype.name == "bfloat16":
            return self.kind == "bfloat"
        if dtype.kind in "iu" or (dtype.kind == "b" and self.nbytes == 1):
            return self.kind != "float" and dtype.itemsize == self.nbytes
        parts = 2 if dtype.kind == "c" else 1
        return dtype.kind in "fc" and self.kind == "float" and dtype.itemsize == self.nbytes * parts

    @property
    def wanted(self) -> str:
        """A numpy type that fits."""
        return _NAMES[self.kind, self.nbytes]


def elements(pipeline: _core.Pipeline) -> dict[int, Element]:
    """By index, the elements of a pipeline's buffers, of those whose type is known."""
    return {
        index: Element(name, _KINDS[code // 16], code % 16)
        for index, (code, name) in pipeline.info.elements.items()
    }


def raw(array: np.ndarray, what: str) -> np.ndarray:
    """The bytes of an array where they are.

    Raises:
        DispatchError: no kernel could read them; ``what`` says what the array is for.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise DispatchError(
            f"[dispatch] found a masked array for {what}, whose mask no kernel sees, needs a plain "
            "one; pass array.filled(value)"
        )
    check_readable(array.dtype, what)
    plain = array.view(np.ndarray)  # a subclass may copy where it reshapes
    if not plain.flags.c_contiguous:
        raise DispatchError(
            f"[dispatch] found an array with gaps for {what}, needs a contiguous one; "
            "pass numpy.ascontiguousarray(array)"
        )
    return plain.reshape(-1).view(np.uint8)


def check_readable(dtype: np.dtype, what: str) -> None:
    """Refuse elements that are no numbers, or not in this machine's byte order."""
    for leaf in _leaves(np.dtype(dtype)):
        if leaf.hasobject:
            raise DispatchError(
                f"[dispatch] found an array of Python objects for {what}, needs numbers; "
                "pass array.astype(numpy.float32)"
            )
        if not leaf.isnative:
            raise DispatchError(
                f"[dispatch] found {leaf.str} for {what}, needs this machine's byte order; "
                "pass array.astype(array.dtype.newbyteorder('='))"
            )
        if leaf.kind not in _READABLE:
            raise DispatchError(
                f"[dispatch] found {leaf.name} for {what}, needs numbers; pass array.view of an "
                "integer type"
            )


def _leaves(dtype: np.dtype) -> Iterator[np.dtype]:
    if dtype.names:
        for name in dtype.names:
            yield from _leaves(dtype[name].base)
    else:
        yield dtype


def bind(
    core: _core.Dispatch, index: int, value: object, known: Mapping[int, Element], as_is: bool
) -> None:
    """Bind one buffer of a dispatch.

    Args:
        core: the dispatch.
        index: of the buffer.
        value: as in :class:`attnproto.Dispatch`.
        known: elements of the kernel's buffers.
        as_is: whether the bits are taken whatever the type.

    Raises:
        DispatchError: the value is nothing a kernel can read, or of another type.
    """
    what = f"buffer {index}"
    if isinstance(value, (np.generic, np.ndarray)) and index in known and not as_is:
        _check_type(value.dtype, index, known[index])
    if isinstance(value, FunctionTable):
        core.bind_table(index, value._core)
    elif hasattr(value, "_core"):
        core.bind_buffer(index, value._core, 0)
    elif isinstance(value, np.ndarray):
        _bind_memory(core, index, raw(value, what), value.flags.writeable)
    elif isinstance(value, np.generic):
        check_readable(value.dtype, what)
        core.bind_bytes(index, value.tobytes())
    elif isinstance(value, (bytearray, memoryview)) and not memoryview(value).readonly:
        view = memoryview(value)
        if not view.c_contiguous:
            raise DispatchError(
                f"[dispatch] found a memoryview with gaps for {what}, needs a contiguous one; "
                "pass bytes(view)"
            )
        _bind_memory(core, index, np.asarray(view.cast("B")), True)
    elif isinstance(value, (bytes, memoryview)):
        core.bind_bytes(index, bytes(value))
    else:
        raise DispatchError(
            f"[dispatch] found {type(value).__name__} for {what}, needs a numpy array, a "
            "Buffer, bytes or a numpy scalar; a Python number has no size, pass numpy.int32(n)"
        )


def _bind_memory(core: _core.Dispatch, index: int, memory: np.ndarray, writable: bool) -> None:
    (core.bind_writable if writable else core.bind_readonly)(index, memory)


def _check_type(dtype: np.dtype, index: int, known: Element) -> None:
    what = f"buffer {index} ({known.name})"
    check_readable(dtype, what)
    if not known.takes(dtype):
        raise DispatchError(
            f"[dispatch] found {dtype.name} for {what}, needs {known.wanted}, which the kernel "
            f"reads there; pass array.astype({known.wanted}), or view=[{index}] for the bits as "
            "they are"
        )
