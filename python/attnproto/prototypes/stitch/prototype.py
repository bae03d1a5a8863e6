"""Prototype 2: what it costs to choose a score modification, in six ways, inside flash.

Points judge all ways of one modification against FP64 and against each other; look at the
code that each way leaves; and, where times count, compare each way with inline, paired.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from attnproto.errors import KernelCompileError
from attnproto.kernels import flash, score_dispatch
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.score_dispatch import MODIFICATIONS, WAYS, Modification, Prepared
from attnproto.measure.pairs import compare
from attnproto.prototypes.constants.cold_compile import fresh, new_nonce, wake_compiler
from attnproto.prototypes.registry import OK, WRONG, Outcome, Prototype

from .findings import conclude
from .static_code import code_of_ways

# A difference of 1 % is what the specification's rule asks about (AC-2.6).
MARGIN = 0.01
# NFR-4, FP32 against FP64.
ATOL, RTOL = 1e-5, 1e-4
_HEADS = 2


def points(mode: str) -> list[dict[str, Any]]:
    """List the points.

    Args:
        mode: ``"quick"`` judges with contraction for one modification only and times short
            problems; ``"full"`` judges all, and times length 2048 and every modification.

    Returns:
        Points; ``kind`` says what each is for: ``equal``, ``code`` or ``cost``.
    """
    small = {"Nq": 37, "Nkv": 70, "D": 40, "Br": 16, "Bc": 32}
    listed: list[dict[str, Any]] = [
        {"kind": "equal", "modification": name, "contract": False, **small}
        for name in MODIFICATIONS
    ]
    fused = MODIFICATIONS if mode == "full" else ("custom",)
    listed += [{"kind": "equal", "modification": name, "contract": True, **small} for name in fused]
    listed.append({"kind": "code", "modification": "custom", **small})
    n, br, bc = (2048, 32, 64) if mode == "full" else (128, 16, 32)
    timed = MODIFICATIONS if mode == "full" else ("custom",)
    listed += [
        {
            "kind": "cost", "modification": name, "way": way,
            "Nq": n, "Nkv": n, "D": 64, "Br": br, "Bc": bc,
        }
        for name in timed
        for way in WAYS
        if way != "inline"
    ]  # fmt: skip
    return listed


def tile_of(point: Mapping[str, Any]) -> FlashTile:
    """Return a point's tile geometry."""
    return FlashTile(point["Br"], point["Bc"], point["D"], "float32")


def kernel_hash(point: Mapping[str, Any]) -> str:
    """Hash the kernel text that a point runs today, in all of its ways."""
    modification = Modification(point["modification"])
    ways = [point["way"]] if "way" in point else WAYS
    texts = [score_dispatch.source(tile_of(point), way, modification).text for way in ways]
    texts.append(score_dispatch.parts_source().text)
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def run(point: dict[str, Any], device: Any, mode: str) -> Outcome:
    """Run one point.

    Raises:
        AttnprotoError: The device cannot choose in this way.
    """
    if point["kind"] == "code":
        return _code(point)
    return _equal(point, device) if point["kind"] == "equal" else _cost(point, device, mode)


def _tensors(point: Mapping[str, Any], seed: int = 0) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    keys = (1, 1, point["Nkv"], point["D"])
    shapes = ((1, _HEADS, point["Nq"], point["D"]), keys, keys)
    return tuple(random.standard_normal(shape).astype(np.float32) for shape in shapes)


def _ratio(actual: np.ndarray, expected: np.ndarray) -> float:
    """Worst error over allowed error; infinite where anything is not finite."""
    if not np.isfinite(actual).all():
        return math.inf
    return float((np.abs(actual - expected) / (ATOL + RTOL * np.abs(expected))).max())


def _equal(point: Mapping[str, Any], device: Any) -> Outcome:
    tensors, modification = _tensors(point), Modification(point["modification"])
    problem, expected = flash.problem_of(*tensors), score_dispatch.reference(*tensors, modification)
    outputs: dict[str, np.ndarray] = {}
    refused: dict[str, str] = {}
    result: dict[str, Any] = {"kernel_hash": kernel_hash(point), "refused": refused}
    for way in WAYS:
        try:
            ready = score_dispatch.prepare(
                device, problem, tile_of(point), way, modification, contract=point["contract"]
            )
        except KernelCompileError as error:
            if way == "inline":
                raise
            refused[way] = str(error)
            continue
        outputs[way] = score_dispatch.run(device, ready, *tensors)[0]
        ratio = result[f"worst_ratio_{way}"] = _ratio(outputs[way], expected)
        if ratio > 1.0:
            return Outcome(WRONG, f"{way} misses FP64 by {ratio:.3g} of what is allowed", result)
    result["ways"] = list(outputs)
    inline = outputs["inline"]
    row = np.spacing(np.abs(inline).max(axis=-1, keepdims=True))
    for way, output in outputs.items():
        result[f"row_ulp_{way}"] = float((np.abs(output - inline) / row).max())
        result[f"different_{way}"] = int((output != inline).sum())
    differing = [way for way in outputs if result[f"different_{way}"]]
    if differing and not point["contract"]:
        return Outcome(WRONG, f"{', '.join(differing)} differ from inline in bits", result)
    return Outcome(OK, "", result)


def _code(point: Mapping[str, Any]) -> Outcome:
    """What each way leaves in the code; clang's for the host, whatever device runs the rest."""
    tensors = _tensors(point)
    code = code_of_ways(
        flash.problem_of(*tensors), tile_of(point), Modification(point["modification"])
    )
    return Outcome(OK, "", {**code, "kernel_hash": kernel_hash(point)})


def _cost(point: Mapping[str, Any], device: Any, mode: str) -> Outcome:
    """Time a way and inline, both compiled from a text no cache has seen.

    On an emulated device too, for its counts and the road to them; its numbers say so by name.
    """
    tensors, modification = _tensors(point), Modification(point["modification"])
    problem, expected = flash.problem_of(*tensors), score_dispatch.reference(*tensors, modification)
    wake_compiler(device)
    ready = {
        way: score_dispatch.prepare(
            device, problem, tile_of(point), way, modification, rewrite=fresh(new_nonce())
        )
        for way in ("inline", point["way"])
    }
    calls = _HEADS * point["Nq"] * point["Nkv"] // 2
    result: dict[str, Any] = {"calls": calls, "kernel_hash": kernel_hash(point)}
    emulated = "emulated_" if device.tier == "emulated" else ""
    for way, one in ready.items():
        ratio = _ratio(score_dispatch.run(device, one, *tensors)[0], expected)
        if ratio > 1.0:
            return Outcome(WRONG, f"{way} misses FP64 by {ratio:.3g} of what is allowed", result)
        name = "inline" if way == "inline" else "way"
        result[f"{emulated}compile_{name}_us"] = one.compile_us
        result[f"{emulated}function_{name}_us"] = one.pipeline.function_us
    compared = compare(
        [_on_device(device, ready[way], tensors) for way in (point["way"], "inline")],
        MARGIN,
        mode,
    )
    result.update({f"{emulated}{name}": value for name, value in compared.items()})
    inline_us = compared["b_us"]
    for end in ("", "_low", "_high"):
        extra_us = (compared[f"ratio{end}"] - 1.0) * inline_us
        result[f"{emulated}ns_per_call{end}"] = extra_us / calls * 1e3
    # One pipeline serves every modification where the choice is made at run time.
    again_us = 0.0 if point["way"] in ("argument", "table") else ready[point["way"]].compile_us
    result[f"{emulated}break_even_dispatches"] = break_even(
        ready["inline"].compile_us, again_us, inline_us, compared["ratio"] * inline_us
    )
    return Outcome(OK, "", result)


def break_even(
    compile_a_us: float, compile_b_us: float, run_a_us: float, run_b_us: float
) -> float | None:
    """Return after how many dispatches A, slower to compile and faster to run, has paid off.

    Args:
        compile_a_us: Of A, once.
        compile_b_us: Of B, once; 0 where it is compiled anyway.
        run_a_us: Of A, each dispatch.
        run_b_us: Of B, each dispatch.

    Returns:
        0 when A never costs more, None when it never pays off.
    """
    gained_us, owed_us = run_b_us - run_a_us, compile_a_us - compile_b_us
    if owed_us <= 0.0:
        return 0.0 if gained_us >= 0.0 else None
    return owed_us / gained_us if gained_us > 0.0 else None


def _on_device(device: Any, ready: Prepared, tensors: tuple[np.ndarray, ...]) -> Any:
    from attnproto.device.recording import repeated

    return repeated(
        device,
        ready.pipeline,
        inputs=dict(enumerate(tensors)),
        output=(3, tensors[0].nbytes),
        constants={4: ready.plan.params, **ready.extra},
        threadgroups=ready.plan.threadgroups,
        threads=ready.plan.threads,
    )


PROTOTYPE = Prototype(
    "stitch",
    points,
    run,
    conclude,
    kernel_hash,
    unmodelled={"cost": "kernel: found calls of functions, published times are without any"},
)
