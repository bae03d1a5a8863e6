"""What a kernel is given: host memory bound as bytes, after its type was looked at.

A kernel reads bits. Where it says what numbers it reads, an array of another type is refused,
unless the caller says that its bits are meant; what no kernel could read is refused everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnproto.compiler.interface import NUMBER_KINDS
from attnproto.errors import DispatchError

from .library import FunctionTable

if TYPE_CHECKING:
    from attnproto import _core

_READABLE = "biufcV"  # dtype kinds whose bits are numbers; ml_dtypes.bfloat16 is of kind V
# What is bound as it is; a Buffer too, which knows of this module.
_TAKEN = (np.ndarray, np.generic, bytes, bytearray, memoryview, FunctionTable)
_HOST = 1  # DLPack's kDLCPU
# DLPack's codes of types, and numpy's letters.
_DLPACK = {0: "i", 1: "u", 2: "f", 4: "bfloat", 5: "c", 6: "b"}
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

    @property
    def dtype(self) -> np.dtype:
        """That type itself."""
        import ml_dtypes

        name = self.wanted.removeprefix("ml_dtypes.")
        return np.dtype(getattr(ml_dtypes, name) if name == "bfloat16" else name)


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
            f"[dispatch] found an array {_layout(plain)} for {what}, needs elements one after the "
            "other in C order; pass numpy.ascontiguousarray(array)"
        )
    return plain.reshape(-1).view(np.uint8)


def _layout(array: np.ndarray) -> str:
    """How the elements of an array lie that are not one after the other in C order."""
    if array.flags.f_contiguous:
        return "in Fortran order"
    if any(step < 0 for step in array.strides):
        return "read backwards"
    if 0 in array.strides:
        return "that repeats its elements"
    if np.ndim(array) > 1 and _has_no_gaps(array):
        return "with its axes in another order"
    return "with gaps"


def _has_no_gaps(array: np.ndarray) -> bool:
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    return array.transpose(order).flags.c_contiguous


def is_whole_number(value: object) -> bool:
    """Whether a value counts something: an integer of Python's or numpy's, and no truth value."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def host_array(value: object, what: str) -> object:
    """Another library's array as one of numpy's over the same memory; else the value itself.

    Args:
        value: anything; what exports an array does so by DLPack or the buffer protocol.
        what: what the array is for.

    Raises:
        DispatchError: its library does not export it, it lies in a GPU's memory, its elements not
            one after the other, or they are of a type that numpy has no counterpart of.
    """
    from attnproto import _core

    exports = hasattr(type(value), "__dlpack__")
    plain = None if exports else _of_buffer(value, what)
    if plain is not None:
        return plain
    exported = _core.host_array(_export(value, what) if exports else value)
    if exported is None:
        return value
    memory, code, bits, lanes, shape, place, writable = exported
    name = _name(value)
    if place != _HOST:
        raise DispatchError(
            f"[dispatch] found {name} in memory of another device for {what}, needs the host's; "
            "copy it there first"
        )
    if memory is None:
        raise DispatchError(
            f"[dispatch] found {name} of shape {shape} for {what}, whose elements do not lie one "
            "after the other in C order, needs that; make it contiguous first"
        )
    if code not in _DLPACK or lanes != 1:
        raise DispatchError(
            f"[dispatch] found {name} of elements that numpy has not (DLPack {code}, {bits} bits) "
            f"for {what}, needs numbers; view it as integers"
        )
    kind = _DLPACK[code]
    array = memory.view(Element("", kind, 2).dtype if kind == "bfloat" else f"{kind}{bits // 8}")
    array.flags.writeable = writable
    return array.reshape(shape)


def _name(value: object) -> str:
    """What to call another library's array."""
    return f"{type(value).__module__.split('.')[0]}'s {type(value).__name__}"


def _export(value: Any, what: str) -> object:
    """DLPack's capsule of an array; its library is asked, which may refuse."""
    try:
        try:
            return value.__dlpack__(max_version=(1, 0))
        except TypeError:  # as it was before capsules had versions
            return value.__dlpack__()
    except Exception as error:  # a library may raise what it likes
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise DispatchError(
            f"[dispatch] found {_name(value)} for {what}, whose library gives no access to its "
            f"memory ({reason}), needs elements that lie in the host's memory; pass a plain copy "
            "of it"
        ) from error


def _of_buffer(value: object, what: str) -> np.ndarray | None:
    """What a value exports by the buffer protocol; None where it exports nothing."""
    try:
        view = memoryview(value)
    except (TypeError, BufferError):
        return None
    try:
        return np.asarray(view)
    except (ValueError, NotImplementedError) as error:
        raise DispatchError(
            f"[dispatch] found {type(value).__name__} of elements {view.format!r} for {what}, "
            "needs numbers; pass memoryview(x).cast('B')"
        ) from error


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
    if not isinstance(value, _TAKEN) and not hasattr(value, "_offset"):
        value = host_array(value, what)
        if isinstance(value, np.ndarray):
            core.keep(value)
    if isinstance(value, (np.generic, np.ndarray)) and index in known and not as_is:
        _check_type(value.dtype, index, known[index])
    if isinstance(value, FunctionTable):
        core.bind_table(index, value._core)
    elif hasattr(value, "_offset"):  # a Buffer
        core.bind_buffer(index, value._core, value._offset)
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
        fitting = known[index].wanted if index in known else "int32"
        fitting = fitting if "." in fitting else f"numpy.{fitting}"
        raise DispatchError(
            f"[dispatch] found {type(value).__name__} for {what}, needs an array, a "
            f"Buffer, bytes or a numpy scalar; a Python number has no size, pass {fitting}(n)"
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
