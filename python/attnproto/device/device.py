"""A device, and what runs on it.

The three kinds keep one contract (discovery.py). A dispatch takes numpy arrays as they are:
read-only ones are inputs, writable ones receive what the kernel wrote.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from attnproto.errors import DispatchError, GpuOutOfMemory, KernelCompileError, check_text

from . import binding, metallib, outputs
from .includes import checked_macros, define, put_in_place
from .library import Library, Pipeline
from .lock import alone

if TYPE_CHECKING:
    from attnproto import _core

Axes = tuple[int, int, int] | tuple[int, int] | tuple[int] | int


@dataclass(frozen=True)
class Timing:
    """Start and end of one submission on the device's own clock, in microseconds.

    Attributes:
        each: start and end of every dispatch, where they were asked for and the device's
            counters could be believed; else empty.
        each_refused: why ``each`` is empty, where it was asked for.
        out: arrays by index that :meth:`Device.run` made for the kernel to write.
    """

    gpu_start_us: float
    gpu_end_us: float
    each: tuple[tuple[float, float], ...] = ()
    each_refused: str = ""
    out: Mapping[int, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    @property
    def gpu_us(self) -> float:
        """Time between start and end, in microseconds."""
        return self.gpu_end_us - self.gpu_start_us


class Buffer:
    """Memory of a device that is kept between dispatches.

    Other libraries take it by DLPack, as bytes; ``numpy(dtype)`` as numbers.

    Examples:
        >>> import attnproto, numpy as np
        >>> buffer = attnproto.open_device("cpu").buffer(np.arange(4, dtype=np.float32))
        >>> buffer.numpy(np.float32)
        array([0., 1., 2., 3.], dtype=float32)
    """

    def __init__(self, core: _core.Buffer, offset: int = 0):
        self._core = core
        self._offset = offset

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._core.nbytes - self._offset

    def at(self, offset: int) -> Buffer:
        """The same memory from a byte on, as a kernel is to see it.

        Args:
            offset: in bytes; a multiple of what the kernel reads there, and of 4 where it reads it
                as ``constant``.

        Raises:
            DispatchError: the offset does not lie inside the buffer.

        Examples:
            >>> import attnproto, numpy as np
            >>> buffer = attnproto.open_device("cpu").buffer(np.arange(4, dtype=np.float32))
            >>> buffer.at(8).numpy(np.float32)
            array([2., 3.], dtype=float32)
        """
        if not binding.is_whole_number(offset) or not 0 <= offset <= self.nbytes:
            raise DispatchError(
                f"[buffer] found offset {offset!r}, needs a number of bytes from 0 to {self.nbytes}"
            )
        return Buffer(self._core, self._offset + int(offset))

    def numpy(
        self, dtype: np.dtype | type = np.uint8, shape: tuple[int, ...] = (-1,)
    ) -> np.ndarray:
        """A view of the contents; valid while no dispatch runs."""
        return self._core.view()[self._offset :].view(dtype).reshape(shape)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array.astype(dtype or array.dtype, copy=bool(copy))

    def __dlpack__(self, **options: object) -> object:
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.numpy().__dlpack_device__()


@dataclass(frozen=True)
class Dispatch:
    """One kernel launch, for :meth:`Device.submit`.

    Attributes:
        pipeline: what runs.
        threadgroups: how many, on up to three axes.
        threads: threads in each threadgroup, on up to three axes.
        buffers: by index: numpy array, :class:`Buffer`, bytes, numpy scalar or
            :class:`FunctionTable`; or another library's array in the host's memory, taken where
            it lies by DLPack or the buffer protocol.
        threadgroup_bytes: sizes of ``[[threadgroup(i)]]`` arguments, multiples of 16.
        grid: threads in the whole grid where that is not threadgroups times threads;
            the threadgroups at its far edges are then smaller.
        barrier_before: in a concurrent submission, wait for everything before.
        view: indices of buffers whose bits are taken as they are; others are refused where the
            kernel reads numbers of another type. Integers of its size are always taken, and
            16-bit ones for bfloat.
    """

    pipeline: Pipeline
    threadgroups: Axes
    threads: Axes
    buffers: Mapping[int, object]
    threadgroup_bytes: Mapping[int, int] | None = None
    grid: Axes | None = None
    barrier_before: bool = False
    view: Collection[int] = ()


class Device:
    """A device that compiles MSL and runs it; get one from :func:`attnproto.open_device`."""

    def __init__(self, core: _core.Device, time_limit_s: float = 0.0):
        self._core = core
        self._time_limit_s = time_limit_s

    @property
    def kind(self) -> str:
        """``metal``, ``cuda`` or ``cpu``."""
        return self._core.kind

    @property
    def name(self) -> str:
        """What the hardware calls itself."""
        return self._core.name

    @property
    def driver(self) -> str:
        """What makes machine code of a kernel's text: macOS's version, or NVIDIA's driver's."""
        return self._core.os

    @property
    def time_limit_s(self) -> float:
        """Longest time of a dispatch, in seconds, where a call does not say another; 0: any."""
        return self._time_limit_s

    @property
    def tier(self) -> str:
        """What a time measured here is worth: ``measured`` or ``emulated``."""
        return self._core.tier

    def library(
        self,
        text: str,
        *,
        fast_math: bool = False,
        macros: Mapping[str, str] | None = None,
        include: Mapping[str, str] | None = None,
    ) -> Library:
        """Compile an MSL text.

        Args:
            text: includes no files but Metal's own.
            fast_math: allow the compiler to reorder and assume finite values, and to use the
                fast functions. Metal does; the other devices need not, and compute as without.
            macros: names and what they stand for, as by ``#define`` before the text.
            include: texts by the names that ``#include`` gives them, in the text or in one
                another; they are put in their places, and so are part of what the kernel is.

        Raises:
            KernelCompileError: it is not valid; the message names the line. Or a macro has no
                name, or its value is none on one line.
        """
        if not isinstance(text, str):
            raise KernelCompileError(
                f"[library] found {type(text).__name__}, needs MSL text; pass a string"
            )
        check_text(text, "the text", "library")
        if include is not None:
            text = put_in_place(text, include)
        _check_truth(fast_math, "fast_math", "library")
        defined = checked_macros(macros)
        if self.kind == "metal" and (fast_math or defined):
            return Library(self._core.library_with(text, bool(fast_math), list(defined.items())))
        return Library(self._core.library(define(text, defined)))

    def metallib(self, source: str | os.PathLike[str] | bytes) -> Library:
        """The kernels that Apple's compiler has compiled into a metallib.

        The cpu and the cuda device lift them: to IR, and from there as a text's. Arithmetic on
        denormal numbers keeps them, also where a kernel was compiled to flush them. Metal loads
        the file itself.

        Args:
            source: the file's path, which is mapped and must not change while the library is in
                use, or its content.

        Raises:
            KernelCompileError: it is no whole metallib. What a kernel has that a device does not
                lift is said when its pipeline is made.

        Examples:
            >>> library = device.metallib("kernels.metallib")
            >>> pipeline = library.pipeline(library.functions()[0])
        """
        return metallib.opened(self._core, source)

    def buffer(self, source: int | np.ndarray) -> Buffer:
        """Memory on the device: ``source`` bytes of zeros, or a copy of an array.

        Any array that a kernel could be given is taken, another library's too.

        Raises:
            DispatchError: it is neither, or an array that no kernel could read.
            GpuOutOfMemory: there is no memory for it.
        """
        number = binding.is_whole_number(source)
        if not number and not isinstance(source, np.ndarray):
            source = binding.host_array(source, "a buffer")
        if isinstance(source, np.ndarray):
            contiguous = source if source.flags.c_contiguous else source.copy(order="C")
            contents = binding.raw(contiguous, "a buffer")
            buffer = self.buffer(source.nbytes)
            buffer.numpy()[:] = contents
            return buffer
        if not number or not 0 <= source < 2**63:
            raise DispatchError(
                f"[buffer] found {source!r}, needs an array, or a number of bytes from 0"
            )
        try:
            return Buffer(self._core.new_buffer(int(source)))
        except MemoryError:
            raise GpuOutOfMemory(
                f"[buffer] found {source} bytes, needs no more than there is memory for"
            ) from None

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
        view: Collection[int] = (),
        out: Mapping[int, object] | None = None,
        time_limit_s: float | None = None,
    ) -> Timing:
        """Run one dispatch and wait for it; arguments as in :class:`Dispatch`.

        Args:
            pipeline: what runs.
            threadgroups: how many.
            threads: in each.
            buffers: by index.
            threadgroup_bytes: by index.
            grid: threads in the whole grid.
            view: indices of buffers whose bits are taken as they are.
            out: by index, the shapes of arrays that are made for the kernel to write:
                ``{1: (4, 8)}``, or ``{1: ((4, 8), numpy.float32)}`` where the device does not
                know the kernel's type. Numbers of floating point start as NaN, so that one that
                the kernel leaves out is seen, others as 0.
            time_limit_s: as :meth:`submit` takes it.

        Returns:
            The times; its ``out`` has the arrays.

        Raises:
            DispatchError: as :meth:`submit`; or what ``out`` has is no shape.

        Examples:
            >>> timing = device.run(pipeline, threadgroups=1, threads=4, buffers={0: x}, out={1: 4})
            >>> timing.out[1]
            array([0., 2., 4., 6.], dtype=float32)
        """
        described = {} if out is None else dict(_numbered(out, "out"))
        outs = outputs.arrays(described, pipeline, buffers)
        dispatch = Dispatch(
            pipeline, threadgroups, threads, {**buffers, **outs} if outs else buffers,
            threadgroup_bytes, grid, view=view,
        )  # fmt: skip
        limit = {}
        if time_limit_s is not None:
            limit["time_limit_s"] = checked_limit(time_limit_s, self.kind, "run")
        return replace(self.submit([dispatch], **limit), out=outs)

    def submit(
        self,
        dispatches: Sequence[Dispatch],
        *,
        concurrent: bool = False,
        time_each: bool = False,
        time_limit_s: float | None = None,
    ) -> Timing:
        """Run several dispatches as one submission, in order, and wait for the last.

        Args:
            dispatches: what runs.
            concurrent: let dispatches overlap, save across ``barrier_before``.
            time_each: read the device's counters around every dispatch, which then has an
                encoder of its own and overlaps with none.
            time_limit_s: of the cpu device, the longest time a dispatch may take, in seconds;
                0 for any, None for the device's own.

        Raises:
            DispatchError: a dispatch breaks a rule of the device; nothing has run.
            GpuFault: a kernel did not come to its end: it faulted (GpuPageFault), took too long
                (GpuTimeout), or Metal ended it. The device works on.
        """
        _check_truth(concurrent, "concurrent", "submit")
        _check_truth(time_each, "time_each", "submit")
        encoded = _encode_all(dispatches, "submit")
        limit = self._time_limit_s
        if time_limit_s is not None:
            limit = checked_limit(time_limit_s, self.kind, "submit")
        with alone:
            timing = self._core.submit_with(encoded, bool(concurrent), bool(time_each), limit)
        spans = tuple(timing.spans())
        return Timing(timing.gpu_start_us, timing.gpu_end_us, spans, timing.each_refused)

    def submit_repeated(
        self,
        dispatches: Sequence[Dispatch],
        times: int,
        *,
        ahead: int = 0,
        explain_faults: bool = False,
    ) -> Timing:
        """Run dispatches in rounds as one submission, encoded once, and wait for the last.

        Each dispatch sees what the ones before it wrote, those of earlier rounds too; arrays of
        the caller are read before the first round and written after the last.

        Args:
            dispatches: what runs, in order, in each round.
            times: rounds between start and end of the timing.
            ahead: rounds that run just before and are not timed, so that a GPU is at work when
                the clock starts.
            explain_faults: let Metal keep the state of every encoder, so that a fault names its
                kernel, as the submission that follows a fault does anyway.

        Raises:
            DispatchError: a number of rounds is none, or as :meth:`submit`.
            GpuFault: as :meth:`submit`.
        """
        for name, rounds, least in (("times", times, 1), ("ahead", ahead, 0)):
            number = binding.is_whole_number(rounds)
            if not number or not least <= rounds < 2**32:
                raise DispatchError(
                    f"[submit_repeated] found {name}={rounds!r}, needs a whole number from {least}"
                )
        _check_truth(explain_faults, "explain_faults", "submit_repeated")
        encoded = _encode_all(dispatches, "submit_repeated")
        rounds = int(times), int(ahead)
        with alone:
            timing = self._core.submit_repeated(
                encoded, *rounds, self._time_limit_s, bool(explain_faults)
            )
        return Timing(timing.gpu_start_us, timing.gpu_end_us)

    def conditions(self) -> dict[str, str]:
        """What changes a time and is not the program's doing: thermal state, power.

        Returns:
            On Metal ``thermal`` (nominal, fair, serious or critical), ``low_power_mode`` (on or
            off) and ``power`` (macOS's name of the source); on other devices nothing.
        """
        return dict(self._core.conditions())

    def __repr__(self) -> str:
        return f"Device({self.kind!r}, {self.name!r}, tier={self.tier!r})"


def checked_limit(seconds: object, kind: str, where: str) -> float:
    """A time limit as a number of seconds, 0 for none.

    Raises:
        DispatchError: it is no such number, or the device can't end a kernel.
    """
    number = isinstance(seconds, (int, float, np.integer, np.floating))
    if not number or isinstance(seconds, bool) or not 0 <= seconds < math.inf:
        raise DispatchError(
            f"[{where}] found time_limit_s={seconds!r}, needs seconds; pass a number, 0 for none"
        )
    if seconds and kind != "cpu":
        raise DispatchError(
            f"[{where}] found time_limit_s={seconds!r} for {kind}, needs the cpu device: a GPU's "
            "own watchdog ends its kernels; leave it out"
        )
    return float(seconds)


def _check_truth(value: object, what: str, where: str) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise DispatchError(f"[{where}] found {what}={value!r}, needs True or False")


def _axes(value: Axes, what: str) -> tuple[int, int, int]:
    axes = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value,)
    valid = all(isinstance(n, (int, np.integer)) and 0 <= n < 2**32 for n in axes)
    if not valid or not 1 <= len(axes) <= 3:
        raise DispatchError(
            f"[dispatch] found {what}={value!r}, needs one to three whole numbers, none negative "
            "and each below 2^32"
        )
    return tuple(int(n) for n in (*axes, 1, 1)[:3])


def _encode_all(dispatches: Sequence[Dispatch], where: str) -> list[_core.Dispatch]:
    if not isinstance(dispatches, Sequence):
        raise DispatchError(
            f"[{where}] found {dispatches!r}, needs a list of dispatches; pass [Dispatch(...)]"
        )
    # What is repeated is encoded once.
    known: dict[int, _core.Dispatch] = {}
    return [
        known.get(id(one)) or known.setdefault(id(one), _encode(one, where)) for one in dispatches
    ]


def _encode(dispatch: Dispatch, where: str) -> _core.Dispatch:
    from attnproto import _core

    if not isinstance(dispatch, Dispatch):
        raise DispatchError(f"[{where}] found {dispatch!r}, needs a Dispatch")
    if isinstance(dispatch.view, (str, bytes)) or not isinstance(dispatch.view, Collection):
        raise DispatchError(
            f"[dispatch] found view={dispatch.view!r}, needs indices of buffers; pass view=[0]"
        )
    _check_truth(dispatch.barrier_before, "barrier_before", "dispatch")
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
    known = binding.elements(dispatch.pipeline._core)
    for index, value in _numbered(dispatch.buffers, "buffers"):
        binding.bind(core, index, value, known, index in dispatch.view)
    room = {} if dispatch.threadgroup_bytes is None else dispatch.threadgroup_bytes
    for index, nbytes in _numbered(room, "threadgroup_bytes"):
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
    from attnproto import _core

    if not isinstance(bound, Mapping):
        raise DispatchError(f"[dispatch] found {what}={bound!r}, needs a dict with indices as keys")
    for index in bound:
        if not isinstance(index, (int, np.integer)) or not 0 <= index < _core.MAX_BUFFERS:
            raise DispatchError(
                f"[dispatch] found {index!r} in {what}, needs an index below "
                f"{_core.MAX_BUFFERS}, from 0"
            )
    return [(int(index), value) for index, value in bound.items()]
