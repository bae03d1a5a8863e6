"""Kernels in MSL that cheat, run on a device and put before the correctness gate."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from attnproto.errors import ValidationError
from attnproto.kernels.text import flatten
from attnproto.problem import AttentionProblem
from attnproto.reference.gate import full_gate

_WAYS = {
    "an honest kernel passes": 0,
    "a kernel that skips keys is caught": 1,
    "a kernel that skips a row is caught": 2,
    "a kernel that returns its input is caught": 3,
    "a kernel that writes nothing is caught": 4,
    "a kernel that writes out of bounds is caught": 5,
    "a kernel that caches its answer is caught": 6,
    "simdgroups that share by a barrier pass": 0,
    "simdgroups that race for want of a barrier are caught": 7,
}
# What runs of a row: one thread, or two simdgroups that share threadgroup memory. That memory
# starts as NaN on the cpu device, so what is read before it is written shows.
_ALONE, _SHARED = ("cheat", 1), ("shared", 64)


def device_trials(device: Any, problem: AttentionProblem) -> dict[str, Callable[[], str]]:
    """List the trials: each returns why the gate refused the kernel, or nothing.

    Args:
        device: An open device.
        problem: Of one batch entry, in float.

    Returns:
        Trials by what should come of them.
    """
    library = device.library(flatten("selftest/cheats.metal"))
    params = struct.pack("<4if", problem.group, problem.Nq, problem.Nkv, problem.D, problem.scale)

    def trial(name: str, way: int) -> Callable[[], str]:
        kernel, threads = _SHARED if name.startswith("simdgroups") else _ALONE

        def tried() -> str:
            pipeline = library.pipeline(kernel, {"way": way})
            memory = np.zeros(1 + problem.Hq * problem.Nq * problem.D, np.float32)

            def launch(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
                for x in (q, k, v):
                    x.flags.writeable = False
                buffers = {0: q, 1: k, 2: v, 3: output, 4: params}
                device.run(
                    pipeline,
                    threadgroups=(problem.Nq, problem.Hq),
                    threads=(threads, 1),
                    buffers=buffers if threads > 1 else {**buffers, 5: memory},
                )
                memory[0] = 1.0

            try:
                return full_gate(launch, problem).judgement.reason
            except ValidationError as error:  # a device that validates is a gate of its own
                return str(error)

        return tried

    return {name: trial(name, way) for name, way in _WAYS.items()}
