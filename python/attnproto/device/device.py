"""A device, and what runs on it.

The three kinds keep one contract (opening.py). A dispatch takes numpy arrays as they are:
read-only ones are inputs, writable ones receive what the kernel wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnproto.errors import DispatchError, KernelCompileError

from .library import FunctionTable, Library, Pipeline
from .lock import alone

if TYPE_CHECKING:
    from attnproto import _core

# Metal's argument tables hold as many.
_INDICES = 31

Axes = tuple[int, int, int] | tuple[int, int] | tuple[int] | int


@dataclass(frozen=True)
class Timing:
    """Start and end of one submission on the device's own clock, in microseconds.

    Attributes:
        each: start and end of every dispatch, where they were asked for and the device's
            counters could be believed; else empty.
    """

    gpu_start_us: float
    gpu_end_us: float
    each: tuple[tuple[float, float], ...] = ()

    @property
    def gpu_us(self) -> float:
        """Time between start and end, in microseconds."""
        return self.gpu_end_us - self.gpu_start_us


class Buffer:
    """Memory of a device that is kept between dispatches.

    Example:
        >>> import attnproto, numpy as np
        >>> buffer = attnproto.open_device("cpu").buffer(np.arange(4, dtype=np.float32))
        >>> buffer.numpy(np.float32)
        array([0., 1., 2., 3.], dtype=float32)
    """

    def __init__(self, core: _core.Buffer):
        self._core = core

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._core.nbytes

    def numpy(
        self, dtype: np.dtype | type = np.uint8, shape: tuple[int, ...] = (-1,)
    ) -> np.ndarray:
        """A view of the contents; valid while no dispatch runs."""
        return self._core.view().view(dtype).reshape(shape)


@dataclass(frozen=True)
class Dispatch:
    """One kernel launch, for :meth:`Device.submit`.

    Attributes:
        pipeline: what runs.
        threadgroups: how many, on up to three axes.
        threads: threads in each threadgroup, on up to three axes.
        buffers: by index: numpy array, :class:`Buffer`, bytes, numpy scalar or
            :class:`FunctionTable`.
        threadgroup_bytes: sizes of ``[[threadgroup(i)]]`` arguments, multiples of 16.
        grid: threads in the whole grid where that is not threadgroups times threads;
            the threadgroups at its far edges are then smaller.
        barrier_before: in a concurrent submission, wait for everything before.
    """

    pipeline: Pipeline
    threadgroups: Axes
    threads: Axes
    buffers: Mapping[int, object]
    threadgroup_bytes: Mapping[int, int] | None = None
    grid: Axes | None = None
    barrier_before: bool = False


class Device:
    """A device that compiles MSL and runs it; get one from :func:`attnproto.open_device`."""

    def __init__(self, core: _core.Device):
        self._core = core

    @property
    def kind(self) -> str:
        """``metal``, ``cuda`` or ``cpu``."""
        return self._core.kind

    @property
    def name(self) -> str:
        """What the hardware calls itself."""
        return self._core.name

    @property
    def tier(self) -> str:
        """What a time measured here is worth: ``measured`` or ``emulated``."""
        return self._core.tier

    def library(
        self, text: str, *, fast_math: bool = False, macros: Mapping[str, str] | None = None
    ) -> Library:
        """Compile an MSL text.

        Args:
            text: with every include already in it.
            fast_math: let the compiler reorder and assume finite values, and use the fast
                functions; Metal only.
            macros: names and what they stand for; Metal only, elsewhere write them into the
                text.

        Raises:
            KernelCompileError: it is not valid; the message names the line. Or the device
                takes no options.
        """
        if not isinstance(text, str):
            raise KernelCompileError(
                f"[library] found {type(text).__name__}, needs MSL text; pass a string"
            )
        if not fast_math and not macros:
            return Library(self._core.library(text))
        return Library(self._core.library_with(text, fast_math, list((macros or {}).items())))

    def buffer(self, source: int | np.ndarray) -> Buffer:
        """Memory on the device: ``source`` bytes of zeros, or a copy of an array."""
        if isinstance(source, np.ndarray):
            made = Buffer(self._core.new_buffer(source.nbytes))
            made.numpy()[:] = np.ascontiguousarray(source).reshape(-1).view(np.uint8)
            return made
        return Buffer(self._core.new_buffer(int(source)))

    def allocated_bytes(self) -> int:
        """Memory the device holds for this process, for leak checks; 0 where it can't say."""
        return self._core.allocated_bytes()

    def run(
        self,
        pipeline: Pipeline,
        *,
        threadgroups: Axes,
        threads: Axes,
        buffers: Mapping[int, object],
        threadgroup_bytes: Mapping[int, int] | None = None,
        grid: Axes | None = None,
    ) -> Timing:
        """Run one dispatch and wait for it; arguments as in :class:`Dispatch`.

        Raises:
            DispatchError: the dispatch breaks a rule of the device; nothing has run.
        """
        return self.submit(
            [Dispatch(pipeline, threadgroups, threads, buffers, threadgroup_bytes, grid)]
        )

    def submit(
        self,
        dispatches: Sequence[Dispatch],
        *,
        concurrent: bool = False,
        time_each: bool = False,
    ) -> Timing:
        """Run several dispatches as one submission, in order, and wait for the last.

        Args:
            dispatches: what runs.
            concurrent: let dispatches overlap, save across ``barrier_before``.
            time_each: read the device's counters around every dispatch, which then has an
                encoder of its own and overlaps with none.

        Raises:
            DispatchError: a dispatch breaks a rule of the device; nothing has run.
            GpuFault: Metal ended the submission.
        """
        encoded = [_encode(dispatch) for dispatch in dispatches]
        with alone:
            timing = self._core.submit_with(encoded, concurrent, time_each)
        return Timing(timing.gpu_start_us, timing.gpu_end_us, tuple(timing.spans()))

    def __repr__(self) -> str:
        return f"Device({self.kind!r}, {self.name!r}, tier={self.tier!r})"


def _axes(value: Axes, what: str) -> tuple[int, int, int]:
    axes = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value,)
    whole = all(isinstance(n, (int, np.integer)) and 0 <= n < 2**32 for n in axes)
    if not whole or not 1 <= len(axes) <= 3:
        raise DispatchError(
            f"[dispatch] found {what}={value!r}, needs one to three whole numbers, none negative "
            "and each below 2^32"
        )
    return tuple(int(n) for n in (*axes, 1, 1)[:3])


def _encode(dispatch: Dispatch) -> _core.Dispatch:
    from attnproto import _core

    if not isinstance(dispatch.pipeline, Pipeline):
        raise DispatchError(
            f"[dispatch] found {dispatch.pipeline!r}, needs a pipeline; pass "
            "device.library(text).pipeline(name)"
        )
    grid = None if dispatch.grid is None else _axes(dispatch.grid, "grid")
    core = _core.Dispatch(
        dispatch.pipeline._core,
        _axes(dispatch.threadgroups, "threadgroups"),
        _axes(dispatch.threads, "threads"),
        grid,
    )
    for index, value in _numbered(dispatch.buffers, "buffers"):
        _bind(core, index, value)
    for index, nbytes in _numbered(dispatch.threadgroup_bytes or {}, "threadgroup_bytes"):
        if not isinstance(nbytes, (int, np.integer)) or not 0 <= nbytes < 2**32:
            raise DispatchError(
                f"[dispatch] found {nbytes!r} bytes of threadgroup memory {index}, needs a whole "
                "number, a multiple of 16"
            )
        core.threadgroup_bytes(index, int(nbytes))
    if dispatch.barrier_before:
        core.barrier_before()
    return core


def _numbered(bound: Mapping[int, object], what: str) -> list[tuple[int, object]]:
    """Items by index, which must be one Metal has."""
    if not isinstance(bound, Mapping):
        raise DispatchError(f"[dispatch] found {what}={bound!r}, needs a dict with indices as keys")
    for index in bound:
        if not isinstance(index, (int, np.integer)) or not 0 <= index < _INDICES:
            raise DispatchError(
                f"[dispatch] found {index!r} in {what}, needs an index below {_INDICES}, from 0"
            )
    return [(int(index), value) for index, value in bound.items()]


def _bind(core: _core.Dispatch, index: int, value: object) -> None:
    if isinstance(value, FunctionTable):
        core.bind_table(index, value._core)
    elif isinstance(value, Buffer):
        core.bind_buffer(index, value._core, 0)
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        raise DispatchError(
            f"[dispatch] found an array of Python objects for buffer {index}, needs numbers; "
            "pass array.astype(numpy.float32)"
        )
    elif isinstance(value, np.ndarray) and value.ndim:
        if not value.flags.c_contiguous:
            raise DispatchError(
                f"[dispatch] found an array with gaps for buffer {index}, needs a contiguous one; "
                "pass numpy.ascontiguousarray(array)"
            )
        raw = value.reshape(-1).view(np.uint8)
        if value.flags.writeable:
            core.bind_writable(index, raw)
        else:
            core.bind_readonly(index, raw)
    elif isinstance(value, (np.generic, np.ndarray)):
        core.bind_bytes(index, value.tobytes())
    elif isinstance(value, (bytes, bytearray, memoryview)):
        core.bind_bytes(index, bytes(value))
    else:
        raise DispatchError(
            f"[dispatch] found {type(value).__name__} for buffer {index}, needs a numpy array, a "
            "Buffer, bytes or a numpy scalar; a Python number has no size, pass numpy.int32(n)"
        )
