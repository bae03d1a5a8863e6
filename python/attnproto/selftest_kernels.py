"""Kernels in MSL that cheat, run on a device and put before the correctness gate."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from .gate import full_gate
from .kernels.registry import flatten
from .problem import AttentionProblem

_WAYS = {
    "an honest kernel passes": 0,
    "a kernel that skips keys is caught": 1,
    "a kernel that skips a row is caught": 2,
    "a kernel that returns its input is caught": 3,
    "a kernel that writes nothing is caught": 4,
    "a kernel that writes out of bounds is caught": 5,
    "a kernel that caches its answer is caught": 6,
}


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

    def trial(way: int) -> Callable[[], str]:
        def tried() -> str:
            pipeline = library.pipeline("cheat", {"way": way})
            memory = np.zeros(1 + problem.Hq * problem.Nq * problem.D, np.float32)

            def launch(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
                for x in (q, k, v):
                    x.flags.writeable = False
                device.run(
                    pipeline,
                    threadgroups=(problem.Nq, problem.Hq),
                    threads=(1, 1),
                    buffers={0: q, 1: k, 2: v, 3: output, 4: params, 5: memory},
                )
                memory[0] = 1.0

            return full_gate(launch, problem).judgement.reason

        return tried

    return {name: trial(way) for name, way in _WAYS.items()}
