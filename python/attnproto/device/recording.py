"""What a launcher sends to a device: watched while it runs, or recorded and then repeated."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .device import Buffer, Device, Dispatch, Timing

# An untimed round for so many that are timed: the GPU must not idle while the timed ones come.
_AHEAD = 8

Launch = Callable[[Device], Any]


class Watched(Device):
    """A device that runs what it is sent and keeps the dispatches, to be looked at.

    Args:
        device: An open device.
    """

    def __init__(self, device: Device) -> None:
        super().__init__(device._core)
        self.submissions: list[Sequence[Dispatch]] = []

    def submit(self, dispatches: Sequence[Dispatch]) -> Timing:
        """Run several dispatches as one submission and remember them."""
        self.submissions.append(tuple(dispatches))
        return super().submit(dispatches)

    @property
    def dispatches(self) -> list[Dispatch]:
        """All dispatches, in order."""
        return [dispatch for submission in self.submissions for dispatch in submission]

    @property
    def threadgroup_bytes(self) -> int:
        """The most threadgroup memory that one of the pipelines declares."""
        return max(int(d.pipeline.static_threadgroup_bytes) for d in self.dispatches)

    @property
    def compile_us(self) -> float:
        """Time until the pipelines of all dispatches were ready, each counted once."""
        return sum({id(d.pipeline): d.pipeline.compile_us for d in self.dispatches}.values())


_watched: weakref.WeakKeyDictionary[Device, Watched] = weakref.WeakKeyDictionary()


def watch(device: Device) -> Watched:
    """Return the watched twin of a device, with no submission remembered."""
    if device not in _watched:
        _watched[device] = Watched(device)
    _watched[device].submissions = []
    return _watched[device]


class _Recorder(Device):
    """A device that runs nothing and gives every array a buffer of its own on the device."""

    def __init__(self, device: Device) -> None:
        super().__init__(device._core)
        self.recorded: list[Dispatch] = []
        self.buffers: dict[tuple[int, int], Buffer] = {}
        # An array that is freed could give its address to another.
        self._kept: list[np.ndarray] = []

    def submit(self, dispatches: Sequence[Dispatch]) -> Timing:
        for dispatch in dispatches:
            bound = {index: self._place(value) for index, value in dispatch.buffers.items()}
            self.recorded.append(replace(dispatch, buffers=bound))
        return Timing(0.0, 0.0)

    def _place(self, value: object) -> object:
        if not isinstance(value, np.ndarray) or not value.ndim:
            return value
        key = place_of(value)
        if key not in self.buffers:
            self._kept.append(value)
            self.buffers[key] = self.buffer(value)
        return self.buffers[key]


def place_of(array: np.ndarray) -> tuple[int, int]:
    """Return the address and size of an array: views of the same memory have the same."""
    return array.ctypes.data, array.nbytes


class Recording:
    """Dispatches with their tensors on the device, to be run many times in one submission.

    A launcher that goes through several kernels is recorded whole; an array that one writes
    and another reads is one buffer. Repeats follow one another and write the same buffers, so
    none can overlap another.

    Args:
        device: An open device.
        launch: ``f(device)`` calls launchers on the device it is given.
        spread_bytes: Least bytes that repeats go through before they come to a buffer again, by
            copies of all of them: above the last cache's size no input is found there. 0: the
            same buffers each time.
    """

    def __init__(self, device: Device, launch: Launch, spread_bytes: int = 0) -> None:
        recorder = _Recorder(device)
        launch(recorder)
        self._device = device
        self._buffers = recorder.buffers
        held = sum(buffer.nbytes for buffer in self._buffers.values())
        self._copies = [recorder.recorded]
        for _ in range(-(-spread_bytes // held) - 1 if held else 0):
            self._copies.append(_copied(device, recorder.recorded))

    def run(self, repeats: int = 1) -> float:
        """Run everything that often in one submission and return its GPU time in us.

        With copies, whole rounds of them run, and the time is that of so many repeats.
        """
        copies = self._copies[:repeats]
        rounds = -(-repeats // len(copies))
        dispatches = [dispatch for copy in copies for dispatch in copy]
        took_us = _timed(self._device, dispatches, rounds)
        return took_us * repeats / (rounds * len(copies))

    def run_once(self) -> None:
        """Run everything once and nothing ahead of it; a launcher may go on from its own output."""
        self._device.submit(self._copies[0])

    @property
    def copies(self) -> int:
        """How many sets of buffers repeats go through."""
        return len(self._copies)

    def read(self, array: np.ndarray) -> np.ndarray:
        """Copy back what the device has in place of an array."""
        return self._buffers[place_of(array)].numpy(array.dtype, array.shape).copy()


def _copied(device: Device, dispatches: Sequence[Dispatch]) -> list[Dispatch]:
    """The same dispatches with a copy of each buffer; what was one buffer stays one."""
    twins: dict[int, Buffer] = {}

    def twin(value: object) -> object:
        if not isinstance(value, Buffer):
            return value
        if id(value) not in twins:
            twins[id(value)] = device.buffer(value.numpy())
        return twins[id(value)]

    return [
        replace(one, buffers={index: twin(value) for index, value in one.buffers.items()})
        for one in dispatches
    ]


def _timed(device: Device, dispatches: Sequence[Dispatch], repeats: int) -> float:
    """GPU time in us of so many rounds; on a GPU as many as an eighth of them run ahead."""
    ahead = 0 if device.kind == "cpu" else -(-repeats // _AHEAD)
    return device.submit_repeated(dispatches, repeats, ahead=ahead).gpu_us


class Repeated:
    """A kernel with its buffers on the device, to be run many times in one submission.

    Each dispatch writes the output that the one before wrote, so none can overlap another.

    Args:
        device: An open device.
        pipeline: What runs.
        threadgroups: Grid in threadgroups.
        threads: Threads of a threadgroup.
        buffers: By index: a device Buffer, bytes or a numpy scalar.
        output: Index of the buffer written.
    """

    def __init__(
        self,
        device: Any,
        pipeline: Any,
        threadgroups: tuple[int, ...],
        threads: tuple[int, ...],
        buffers: Mapping[int, Any],
        output: int,
    ) -> None:
        from attnproto.device.device import Dispatch

        self._device = device
        self._buffers = dict(buffers)
        self._output = output
        self.dispatch = Dispatch(pipeline, threadgroups, threads, self._buffers)

    def load(self, inputs: Mapping[int, np.ndarray], fill: np.ndarray) -> None:
        """Copy inputs to the device and set the output to ``fill``, an array of its size."""
        for index, array in {**inputs, self._output: fill}.items():
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self._buffers[index].numpy()[:] = flat

    def run(self, repeats: int = 1) -> float:
        """Run that many dispatches in one submission and return its GPU time in us."""
        return _timed(self._device, [self.dispatch], repeats)

    def read(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """Copy the output back."""
        return self._buffers[self._output].numpy(dtype, shape).copy()


def repeated(
    device: Any,
    pipeline: Any,
    *,
    inputs: Mapping[int, np.ndarray],
    output: tuple[int, int],
    constants: Mapping[int, bytes],
    threadgroups: tuple[int, ...],
    threads: tuple[int, ...],
) -> Repeated:
    """Put a kernel's buffers on a device.

    Args:
        device: An open device.
        pipeline: What runs.
        inputs: Arrays by buffer index, copied.
        output: Buffer index and bytes of the output.
        constants: Bytes by buffer index.
        threadgroups: Grid in threadgroups.
        threads: Threads of a threadgroup.

    Returns:
        The kernel, ready to run.
    """
    index, output_bytes = output
    buffers: dict[int, Any] = {i: device.buffer(array) for i, array in inputs.items()}
    buffers[index] = device.buffer(output_bytes)
    return Repeated(device, pipeline, threadgroups, threads, {**buffers, **constants}, index)
