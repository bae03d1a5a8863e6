"""Prototype 6: from which length on linear attention in chunks wins over softmax attention.

Both kernels' work is counted, so that the length where their work is equal is derived; the length
where their times are equal is searched on a device whose times are measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from attnproto import reference
from attnproto.device.recording import watch
from attnproto.dtypes import BY_NAME
from attnproto.errors import WrongResult
from attnproto.kernels.flash_tile import default_tile
from attnproto.kernels.linear import CHUNKS, LinearProblem
from attnproto.measure import protocol, stats
from attnproto.measure.crossover import find_crossover
from attnproto.measure.dynamic_counts import count_launch
from attnproto.measure.pairs import ratio_of, recorded
from attnproto.problem import AttentionProblem
from attnproto.prototypes.registry import OK, WRONG, Outcome, Prototype
from attnproto.reference import Tolerance, gate
from attnproto.results.store import content_key

from . import expected
from .findings import conclude
from .launches import draw, linear, softmax

# Specification AC-4.2 for FP32. Of half and bfloat16 only inputs and output are rounded, by 2^-11
# and 2^-9 of themselves.
_ALLOWED = {
    "f32": Tolerance(1e-4, 1e-3),
    "f16": Tolerance(1e-3, 2e-3),
    "bf16": Tolerance(4e-3, 8e-3),
}
_BASE = {"B": 1, "H": 2, "N": 300, "D": 64, "dtype": "f32", "chunk": 64}
_BASE |= {"decay": "none", "normalize": False, "state": False}
DECAYS = ("none", "head", "token", "key")
_WORK_LENGTHS = (64, 256, 1024)


def _point(kind: str, **values: Any) -> dict[str, Any]:
    return {"kind": kind, **_BASE, **values}


def points(mode: str) -> list[dict[str, Any]]:
    """List the points: chunks, decays, states, lengths, work, times, a search for the crossover.

    Args:
        mode: ``"quick"`` keeps to problems that the cpu device does in well under a second.

    Returns:
        Points; ``kind`` says what each is for.
    """
    listed = [
        _point("chunk", D=d, chunk=chunk, dtype=dtype)
        for d, chunk, dtype in itertools.product((64, 128), CHUNKS, ("f16", "f32"))
    ]
    listed += [
        _point("decay", D=d, decay=decay, normalize=normalize, N=150)
        for d in ((64,) if mode == "quick" else (64, 128))
        for decay, normalize in itertools.product(DECAYS, (False, True))
    ]
    listed += [_point("state", decay=decay, state=True, N=100) for decay in DECAYS]
    listed += [_point("length", N=n, H=1) for n in (1, 63, 1000, 4096)]
    longest = [(64, 64)] if mode == "quick" else itertools.product((64, 128), CHUNKS)
    listed += [_point("length", N=65536, H=1, D=d, chunk=chunk) for d, chunk in longest]
    listed += [
        _point("work", D=d, chunk=chunk, N=n, H=1)
        for d, chunk, n in itertools.product((64, 128), CHUNKS, _WORK_LENGTHS)
        if chunk == _BASE["chunk"] or n == _WORK_LENGTHS[-1]
    ]
    if mode == "quick":
        listed += [_point("time", N=1024, H=2, chunk=chunk) for chunk in CHUNKS]
        listed.append(_point("crossover", N=256, H=8, longest=4096))
        return listed
    listed += [
        _point("time", N=n, H=8, D=d, chunk=chunk, dtype=dtype)
        for d, dtype, n, chunk in itertools.product(
            (64, 128), ("f16", "f32"), (1024, 4096, 16384, 65536), CHUNKS
        )
    ]
    listed += [
        _point("crossover", N=128, H=16, D=d, dtype=dtype, longest=16384)
        for d, dtype in itertools.product((64, 128), ("f16", "f32"))
    ]
    return listed


def _sources(point: Mapping[str, Any]) -> list[Any]:
    gates = {"none": "none", "head": "token"}.get(point["decay"], point["decay"])
    sizes = (point[name] for name in ("B", "H", "N", "D"))
    dtype = BY_NAME[point["dtype"]].numpy
    problem = LinearProblem(*sizes, dtype, point["chunk"], gates, point["normalize"])
    names = ("chunk_h", "chunk_o", *(() if gates == "none" else ("chunk_gates",)))
    return [problem.source(name) for name in names]


def kernel_hash(point: Mapping[str, Any]) -> str:
    """Hash the kernel texts that a point runs today, those of softmax where it compares them."""
    texts = _sources(point)
    if point["kind"] in ("work", "crossover"):
        texts.append(default_tile(point["N"], point["D"], BY_NAME[point["dtype"]].numpy).source)
    return content_key([text.digest for text in texts])


def run(point: dict[str, Any], device: Any, mode: str) -> Outcome:
    """Run one point: count it, or judge it and, where times are worth something, time it.

    Raises:
        AttnprotoError: The point cannot run on this device.
    """
    if point["kind"] == "work":
        return _work(point)
    tried, result, drawn = _tried(point, device)
    if not tried.judgement.passed:
        return Outcome(WRONG, tried.judgement.reason, result)
    if result["state_ratio"] > 1.0:
        return Outcome(WRONG, f"final state off by {result['state_ratio']:.3g} of allowed", result)
    if point["kind"] == "time":
        result.update(expected.least_result(point))
    elif point["kind"] == "crossover":
        result.update(expected.crossover_result(point))
    if device.tier == "emulated":
        return Outcome(OK, "", result)
    if point["kind"] == "time":
        result.update(_timed(point, drawn, tried.output, device, mode))
    elif point["kind"] == "crossover":
        result.update(_crossover(point, device, mode))
    return Outcome(OK, "", result)


def _tried(
    point: Mapping[str, Any], device: Any
) -> tuple[gate.Trial, dict[str, Any], dict[str, Any]]:
    drawn = draw(point)
    names = ("q", "k", "v", "decay")
    given = {name: drawn[name] for name in names} | {"initial_state": drawn["state"]}
    truth, final = reference.linear_attention_recurrent(**given, normalize=point["normalize"])
    watched, allowed = watch(device), _ALLOWED[point["dtype"]]
    state = np.empty_like(drawn["state"])

    def launch(output: np.ndarray) -> Any:
        return linear(point, drawn, output, state)(watched)

    tried = gate.attempt(launch, truth, point["dtype"], allowed)
    # The state is FP32 whatever the inputs, whose rounding the truth shares.
    judged = reference.judge(state, final, "f32", _ALLOWED["f32"])
    elements = point["B"] * point["H"] * point["N"] * point["D"]
    # chunk_h, the first with such a buffer, stores the states there.
    states = next(d.buffers[6] for d in watched.dispatches if 6 in d.buffers)
    result = {
        **tried.judgement.numbers,
        "state_ratio": judged.worst_ratio,
        "threadgroup_bytes": watched.threadgroup_bytes,
        "state_bytes": states.nbytes,
        "tensor_bytes": 4 * elements * BY_NAME[point["dtype"]].nbytes,
        "dispatches": len(watched.dispatches),
        "submissions": len(watched.submissions),
        "compile_us": watched.compile_us,
        "kernel_hash": kernel_hash(point),
    }
    return tried, result, drawn


def flops(point: Mapping[str, Any]) -> int:
    """Return the recurrence's own work in FLOP, ``4 B H N D**2``: no chunk adds to it."""
    return 4 * point["B"] * point["H"] * point["N"] * point["D"] ** 2


def kernel_flops(point: Mapping[str, Any]) -> tuple[int, int]:
    """Return what the kernels do in FLOP: linear attention in chunks, and causal softmax.

    The state costs ``4 D**2`` a token, the causal part within a chunk ``2 D (C + 8)``
    (metal/linear/README.md); exponentials are not counted.
    """
    b, h, n, d = (point[name] for name in ("B", "H", "N", "D"))
    softmax = AttentionProblem(b, h, h, n, n, d, point["dtype"], True).flops
    return b * h * n * (4 * d * d + 2 * d * (point["chunk"] + 8)), softmax


def _timed(
    point: Mapping[str, Any],
    drawn: Mapping[str, Any],
    judged: np.ndarray,
    device: Any,
    mode: str,
) -> dict[str, Any]:
    from attnproto.measure.peaks import peaks_of

    output = np.zeros(judged.shape, judged.dtype)
    kernel = recorded(device, linear(point, drawn, output), output, judged)
    taken = protocol.measure(
        kernel.run,
        gate=lambda: _tried(point, device)[0].judgement,
        protocol=protocol.of_mode(mode),
        flops=flops(point),
        device_bytes=judged.nbytes * 4,
        peaks=peaks_of(device),
    )
    return {**taken.as_result(), "flops": flops(point)}


def _crossover(point: Mapping[str, Any], device: Any, mode: str) -> dict[str, Any]:
    """Search the length at which linear attention becomes faster than causal softmax."""

    def ratio(n: int) -> stats.Ratio:
        sized = {**point, "N": n}
        drawn = draw(sized)
        q, k, v = (drawn[name][:, :1] for name in ("q", "k", "v"))
        truths = (
            reference.softmax_attention(q, k, v, causal=True),
            reference.linear_attention_recurrent(q, k, v)[0],
        )
        sizes = AttentionProblem(point["B"], 1, 1, n, n, point["D"], point["dtype"], True)
        allowed = (reference.tolerance(sizes, q, k, v), _ALLOWED[point["dtype"]])
        kernels = []
        for make, truth, limits in zip((softmax, linear), truths, allowed, strict=True):
            output, again = np.zeros_like(drawn["q"]), np.zeros_like(drawn["q"])
            make(sized, drawn, output)(device)
            judged = reference.judge(output[:, :1], truth, point["dtype"], limits)
            if not judged.passed:
                raise WrongResult(
                    f"[linear.crossover] found a wrong output at N={n} ({judged.reason}), needs "
                    "one within tolerance; no time is reported"
                )
            kernels.append(recorded(device, make(sized, drawn, again), again, output))
        return ratio_of(kernels, mode)

    crossover = find_crossover(ratio, point["N"], point["longest"], step=64)
    linear_flops, softmax_flops = kernel_flops({**point, "N": int(crossover.high)})
    return {
        "linear_flops": linear_flops,
        "softmax_flops": softmax_flops,
        "status": crossover.status,
        "crossover_low": crossover.low,
        "crossover_high": crossover.high,
        "crossover_estimate": crossover.estimate,
        "probes": [
            {"N": n, "ratio": p.ratio, "low": p.low, "high": p.high, "verdict": p.verdict}
            for n, p in crossover.probes
        ],
        "probe_cv": max(p.cv for _, p in crossover.probes),
        "probe_blocks": sum(p.blocks for _, p in crossover.probes),
    }


def _work(point: Mapping[str, Any]) -> Outcome:
    """Count what linear and causal softmax attention do a token, over the whole sequence."""
    drawn = draw(point)
    result: dict[str, Any] = {"kernel_hash": kernel_hash(point)}
    for name, make in (("linear", linear), ("softmax", softmax)):
        counted = count_launch(make(point, drawn, np.empty_like(drawn["q"])))
        tokens = point["B"] * point["H"] * point["N"]
        # Each of a simdgroup's 32 lanes counts the 2 x 8 x 8 x 8 FLOP that they do together.
        flop = counted.matrix_operations * 1024 // 32 + counted.float_operations
        result |= {
            f"{name}_counts": counted.as_row(),
            f"{name}_flop": flop / tokens,
            f"{name}_matrix_flop": counted.matrix_operations * 32 / tokens,
            f"{name}_exponentials": counted.exponentials / tokens,
            f"{name}_load_bytes": counted.device_load_bytes / tokens,
            f"{name}_store_bytes": counted.device_store_bytes / tokens,
        }
    return Outcome(OK, "", result)


PROTOTYPE = Prototype("linear", points, run, conclude, kernel_hash)
