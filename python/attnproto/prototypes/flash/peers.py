"""Other libraries' attention on the same machine, in the same run, by one protocol.

Both sides are timed by the clock on the wall around work that is waited for: that many calls, each
taking the output of the one before as its queries so that none can overlap another, on inputs made
alike, warmed up alike, in A-B-B-A blocks. What a peer computes is judged against FP64 first.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from attnproto import reference
from attnproto.dtypes import BY_NAME
from attnproto.errors import DeviceUnavailable, WrongResult
from attnproto.measure.pairs import compare
from attnproto.problem import AttentionProblem


class MlxAttention:
    """MLX's ``scaled_dot_product_attention`` on its own default device."""

    def __init__(self, problem: AttentionProblem, tensors: tuple[np.ndarray, ...]) -> None:
        import mlx.core as mx

        element = getattr(mx, BY_NAME[problem.dtype].numpy)
        self._mx = mx
        # MLX reads no bfloat16 of NumPy's; these numbers are of that type already.
        self._tensors = [mx.array(np.asarray(x, np.float32)).astype(element) for x in tensors]
        self._options = {"scale": problem.scale, "mask": "causal" if problem.causal else None}
        mx.eval(self._tensors)
        self.where = str(mx.default_device())

    def _call(self, repeats: int) -> Any:
        q, k, v = self._tensors
        for _ in range(repeats):
            q = self._mx.fast.scaled_dot_product_attention(q, k, v, **self._options)
        self._mx.eval(q)
        return q

    def run(self, repeats: int = 1) -> float:
        """Run that many calls, wait for them, and return what they took in us."""
        return _clocked(lambda: self._call(repeats))

    def output(self) -> np.ndarray:
        """What one call gives, as float32."""
        return np.array(self._call(1).astype(self._mx.float32))


class TorchAttention:
    """torch's ``scaled_dot_product_attention`` on the GPU it finds, else on the processor."""

    def __init__(self, problem: AttentionProblem, tensors: tuple[np.ndarray, ...]) -> None:
        import torch

        element = getattr(torch, BY_NAME[problem.dtype].numpy)
        accelerators = {"cuda": torch.cuda, "mps": torch.backends.mps}
        present = [name for name, one in accelerators.items() if one.is_available()]
        self.where = (present or ["cpu"])[0]
        self._torch = torch
        self._tensors = [
            torch.from_numpy(np.array(x, np.float32)).to(self.where, element) for x in tensors
        ]
        self._options = {"scale": problem.scale, "is_causal": problem.causal}
        if problem.group > 1:
            self._options["enable_gqa"] = True

    def _call(self, repeats: int) -> Any:
        q, k, v = self._tensors
        attend = self._torch.nn.functional.scaled_dot_product_attention
        for _ in range(repeats):
            q = attend(q, k, v, **self._options)
        if self.where != "cpu":
            getattr(self._torch, self.where).synchronize()
        return q

    def run(self, repeats: int = 1) -> float:
        """Run that many calls, wait for them, and return what they took in us."""
        return _clocked(lambda: self._call(repeats))

    def output(self) -> np.ndarray:
        """What one call gives, as float32."""
        return self._call(1).float().cpu().numpy()


PEERS: Mapping[str, Callable[..., Any]] = {"mlx": MlxAttention, "torch": TorchAttention}


class _Ours:
    """Our kernel by the peers' clock; its GPU time beside it."""

    def __init__(self, device: Any, dispatch: Any) -> None:
        self._device, self._dispatch = device, dispatch
        self.gpu_us: list[float] = []

    def run(self, repeats: int = 1) -> float:
        def work() -> None:
            timing = self._device.submit_repeated([self._dispatch], repeats)
            self.gpu_us.append(timing.gpu_us / repeats)

        return _clocked(work)


def _clocked(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6


def installed() -> list[str]:
    """Names of the peers that can be imported here."""
    return [name for name in PEERS if importlib.util.find_spec(name) is not None]


def compared(
    problem: AttentionProblem, tile: Any, peer: str, device: Any, mode: str
) -> dict[str, Any]:
    """Time our kernel against a peer's.

    Args:
        problem: What both compute; as many queries as keys where it is causal.
        tile: How ours does.
        peer: ``"mlx"`` or ``"torch"``.
        device: An open device.
        mode: ``"quick"`` or ``"full"``.

    Returns:
        As ``pairs.compare``, ours being A; and ``peer``, ``peer_device``, ``peer_worst_ratio``
        and ``own_gpu_us``, the median of our GPU times.

    Raises:
        DeviceUnavailable: The peer is not installed.
        WrongResult: What the peer computes misses FP64 by more than is allowed.
    """
    if importlib.util.find_spec(peer) is None:
        raise DeviceUnavailable(f"[flash.peers] found no {peer}, needs it; pip install {peer}")
    from .timing import on_device

    tensors = problem.inputs(0)
    theirs = PEERS[peer](problem, tensors)
    expected = reference.softmax_attention(*tensors, causal=problem.causal)
    allowed = reference.tolerance(problem, *tensors)
    output = theirs.output().astype(problem.element_type)
    judged = reference.judge(output, expected, problem.dtype, allowed)
    if not judged.passed:
        raise WrongResult(
            f"[flash.peers] found a wrong output of {peer} ({judged.reason}), needs one within "
            "tolerance; no time is reported"
        )
    ours = _Ours(device, on_device(problem, tile, device).dispatch)
    result = compare([ours, theirs], mode=mode)
    return {
        **result,
        "peer": peer,
        "peer_device": theirs.where,
        "peer_worst_ratio": judged.worst_ratio,
        "own_gpu_us": float(np.median(ours.gpu_us)),
    }
