"""A prototype on the cuda device whose points write where they should, or far away."""

from __future__ import annotations

from typing import Any

import numpy as np
from attnproto.device.device import Device
from attnproto.prototypes.registry import Outcome, Prototype

from .msl import read_text

TEXT = read_text("cuda.metal")


def multiply_indices(device: Device, factor: int = 3, **options) -> np.ndarray:
    """``factor`` times 0 to 63, made by the kernel ``scale``; options are its pipeline's."""
    x = np.arange(64, dtype=np.float32)
    pipeline = device.library(TEXT).pipeline("scale", {0: factor}, **options)
    device.run(pipeline, threadgroups=(2, 1, 1), threads=(32, 1, 1), buffers={0: x})
    return x


def run(point: dict[str, Any], device: Device, mode: str) -> Outcome:
    """Scale numbers, or write ``far`` elements past the start of a buffer."""
    if point["far"]:
        pipeline = device.library(TEXT).pipeline("wild")
        buffers = {0: np.zeros(64, np.float32), 1: np.uint64(point["far"])}
        device.run(pipeline, threadgroups=1, threads=32, buffers=buffers)
        return Outcome("wrong", "nothing was said of a wild write", {})
    right = (multiply_indices(device) == 3 * np.arange(64, dtype=np.float32)).all()
    return Outcome("ok" if right else "wrong", "", {})


NAME = "support.cuda_prototype:PROTOTYPE"
PROTOTYPE = Prototype(NAME, lambda mode: [], run, lambda rows: [])
