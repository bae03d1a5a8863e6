"""Inputs of the linear prototype's points, and launches of linear and softmax attention on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from attnproto.device.recording import Launch
from attnproto.dtypes import BY_NAME
from attnproto.kernels.flash_variant import Variant
from attnproto.kernels.linear import launch_linear


def draw(point: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """Draw q, k, v, the decay and the state before the first token, the same on every machine."""
    stream = np.random.Generator(np.random.PCG64(seed))
    b, h, n, d = (point[name] for name in ("B", "H", "N", "D"))
    q, k, v = (stream.standard_normal((b, h, n, d), dtype=np.float32) for _ in range(3))
    if point["normalize"]:
        # Weights of either sign sum to anything, 0 included; a normaliser is for positive ones.
        q, k = np.abs(q), np.abs(k)
    shape = {"none": None, "head": (h,), "token": (b, h, n), "key": (b, h, n, d)}[point["decay"]]
    decay = None if shape is None else -stream.exponential(0.3, shape).astype(np.float32)
    state = np.zeros((b, h, d, d), np.float32)
    if point["state"]:
        state = stream.standard_normal(state.shape, dtype=np.float32)
    element = BY_NAME[point["dtype"]].dtype
    q, k, v = (x.astype(element) for x in (q, k, v))
    return {"q": q, "k": k, "v": v, "decay": decay, "state": state}


def linear(
    point: Mapping[str, Any],
    drawn: Mapping[str, Any],
    output: np.ndarray,
    state: np.ndarray | None = None,
) -> Launch:
    """Return a launch on a device; ``state`` receives the one after the last token."""
    left = drawn["state"].copy() if state is None else state
    options = {"chunk": point["chunk"], "decay": drawn["decay"], "normalize": point["normalize"]}

    def launch(device: Any) -> Any:
        left[...] = drawn["state"]
        q, k, v = (drawn[name] for name in ("q", "k", "v"))
        return launch_linear(q, k, v, output, left, device=device, **options)

    return launch


def softmax(point: Mapping[str, Any], drawn: Mapping[str, Any], output: np.ndarray) -> Launch:
    """Return a launch of causal softmax attention on the same inputs, on its default tile."""
    from attnproto.kernels import flash

    tensors = (drawn[name] for name in ("q", "k", "v"))
    return lambda device: flash.launch(
        *tensors, output, device=device, variant=Variant(causal=True)
    )
