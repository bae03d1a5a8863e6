"""Prototype 7: what RoPE, ALiBi, caps, windows and grouped heads add to the base kernel.

Each variant is a function constant of one flash kernel. Beside it stands the same rule as a
kernel of its own, over tensors or scores that are stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from attnproto import reference
from attnproto.device.recording import Launch, watch
from attnproto.dtypes import BY_NAME
from attnproto.kernels import flash
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Rope, Variant
from attnproto.kernels.gqa import launch_expand
from attnproto.kernels.rope import launch_rope
from attnproto.kernels.score_mod import launch_scores
from attnproto.measure.dynamic_counts import NAMES, count_launch
from attnproto.measure.pairs import compare, recorded
from attnproto.model.launches import block_ratio
from attnproto.problem import AttentionProblem
from attnproto.prototypes.registry import OK, WRONG, Outcome, Prototype
from attnproto.reference import gate
from attnproto.results.store import content_key

from .findings import conclude

_CAP, _WINDOW = 3.0, 40
# What each name switches on; the grouped ones are shapes of the base kernel.
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "rope-interleaved": {"rope": Rope()},
    "rope-half-split": {"rope": Rope(interleaved=False)},
    "alibi": {"alibi": True},
    "softcap": {"softcap": _CAP},
    "causal": {"causal": True},
    "window": {"causal": True, "window": _WINDOW},
    "gqa": {},
    "mqa": {},
    "rope-alibi-gqa": {"rope": Rope(), "alibi": True},
    "all": {
        "causal": True,
        "window": _WINDOW,
        "softcap": _CAP,
        "alibi": True,
        "rope": Rope(interleaved=False),
    },
}
_KEY_HEADS = {"gqa": 2, "mqa": 1, "rope-alibi-gqa": 2, "all": 2}
_HEADS = 6
STANDALONE = ("rope-interleaved", "rope-half-split", "alibi", "softcap", "window", "gqa")
_COUNTED = ("rope-interleaved", "rope-half-split", "alibi", "softcap")
# Blocks of keys that a count is averaged over.
_COUNTED_BLOCKS = 16


def _point(kind: str, variant: str, **values: Any) -> dict[str, Any]:
    base = {"B": 1, "Hq": _HEADS, "Hkv": _KEY_HEADS.get(variant, _HEADS), "D": 64, "dtype": "f32"}
    return {"kind": kind, "variant": variant, **base, "Br": 32, "Bc": 64, **values}


def points(mode: str) -> list[dict[str, Any]]:
    """List the points: each variant fused, alone, counted and compared.

    Args:
        mode: ``"quick"`` keeps to problems that the cpu device does in well under a second.

    Returns:
        Points; ``kind`` says what each is for.
    """
    dtypes = ("f16", "f32") if mode == "quick" else ("f16", "bf16", "f32")
    dimensions = (64,) if mode == "quick" else (64, 128)
    listed = [
        _point("fused", name, D=d, dtype=dtype, Nq=nq, Nkv=nkv)
        for name, d, dtype, (nq, nkv) in itertools.product(
            VARIANTS, dimensions, dtypes, ((77, 131), (1, 100))
        )
    ]
    listed += [
        _point("alone", name, dtype="f32", D=d, Nq=77, Nkv=131, **_grouped(name))
        for name, d in itertools.product(STANDALONE, dimensions)
    ]
    listed += [
        # How often a maximum grows depends on the data, and rescaling always does not.
        _point(
            "count",
            name,
            Hq=1,
            Hkv=1,
            Nq=8,
            Br=8,
            Nkv=64 * (1 + _COUNTED_BLOCKS),
            rescale="always",
        )
        for name in _COUNTED
    ]
    listed += [
        _point("traffic", name, Nq=128, Nkv=128, Hq=8, Hkv=2 if name == "gqa" else 8)
        for name in ("rope-interleaved", "gqa")
    ]
    n, heads = (512, 2) if mode == "quick" else (4096, 8)
    pair = {"dtype": "f16", "Hq": heads, "Nq": n, "Nkv": n}
    grouped = {name: heads // 2 for name in ("gqa", "rope-alibi-gqa")} | {"mqa": 1}
    listed += [
        _point("pair", name, Hkv=grouped.get(name, heads), first="fused", against="base", **pair)
        for name in ("rope-interleaved", "rope-half-split", "alibi", "softcap", *grouped)
    ]
    listed += [
        _point("pair", name, Hkv=grouped.get(name, heads), first=first, against=against, **pair)
        for name in ("rope-interleaved", "gqa")
        for first, against in (("alone", "base"), ("fused", "alone"))
    ]
    listed += [
        _point("pair", name, Hkv=heads, first="alone", against="base", **pair)
        for name in ("alibi", "softcap")
    ]
    return listed


def _grouped(name: str) -> dict[str, int]:
    return {"Hkv": _KEY_HEADS[name]} if name in _KEY_HEADS else {}


def variant_of(point: Mapping[str, Any]) -> Variant:
    """Return a point's switches."""
    return Variant(**VARIANTS[point["variant"]])


def tile_of(point: Mapping[str, Any]) -> FlashTile:
    """Return a point's tile geometry."""
    rescale = point.get("rescale", "grown")
    element = BY_NAME[point["dtype"]].numpy
    return FlashTile(point["Br"], point["Bc"], point["D"], element, rescale=rescale)


def problem_of(point: Mapping[str, Any]) -> AttentionProblem:
    """Return a point's problem, without its variant."""
    names = ("B", "Hq", "Hkv", "Nq", "Nkv", "D", "dtype")
    return AttentionProblem(**{name: point[name] for name in names})


def kernel_hash(point: Mapping[str, Any]) -> str:
    """Hash what a point runs today: the kernel text and the switches."""
    return content_key([tile_of(point).source.digest, variant_of(point).constants])


def truth(point: Mapping[str, Any], tensors: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the variant's output in FP64."""
    variant, (q, k, v) = variant_of(point), tensors
    if variant.rope is not None:
        turns = {"theta": variant.rope.theta, "interleaved": variant.rope.interleaved}
        offset = variant.rope.offset
        # The last query stands beside the last key.
        q = reference.rope(q, offset=offset + k.shape[2] - q.shape[2], **turns)
        k = reference.rope(k, offset=offset, **turns)
    slopes = reference.alibi_slopes(q.shape[1])
    given = {"causal": variant.causal, "window": variant.window, "softcap": variant.softcap}
    if variant.alibi:
        given["score_mod"] = lambda scores, head, query, key: (
            scores + slopes[head] * (key[None, :] - query[:, None])
        )
    return reference.softmax_attention(q, k, v, **given)


def run(point: dict[str, Any], device: Any, mode: str) -> Outcome:
    """Run one point: count it, or judge it and, where times are worth something, compare it.

    Raises:
        AttnprotoError: The point cannot run on this device.
    """
    if point["kind"] == "count":
        return _count(point)
    if point["kind"] == "traffic":
        return _traffic(point)
    tensors = problem_of(point).inputs(0)
    expected = truth(point, tensors)
    tried, watched = _judged(point, tensors, _fused, expected, device)
    result: dict[str, Any] = {
        **tried.judgement.numbers,
        "threadgroup_bytes": watched.threadgroup_bytes,
        "compile_us": watched.compile_us,
        "kernels": len({id(d.pipeline) for d in watched.dispatches}),
        "source": tile_of(point).source.digest,
        "kernel_hash": kernel_hash(point),
    }
    if not tried.judgement.passed:
        return Outcome(WRONG, tried.judgement.reason, result)
    if point["kind"] == "alone" or "alone" in (point.get("first"), point.get("against")):
        make = _alone_scores if _on_scores(point) else _alone
        other, watched = _judged(point, tensors, make, expected, device)
        gap = np.abs(other.output.astype(np.float64) - tried.output.astype(np.float64))
        result |= {
            "alone_worst_ratio": other.judgement.worst_ratio,
            "alone_dispatches": len(watched.dispatches),
            "alone_equals_fused": other.output.tobytes() == tried.output.tobytes(),
            "largest_difference": float(gap.max()),
        }
        if not other.judgement.passed:
            return Outcome(WRONG, f"standalone: {other.judgement.reason}", result)
    if point["kind"] == "pair" and device.tier != "emulated":
        result.update(_paired(point, tensors, device, mode))
    return Outcome(OK, "", result)


def _judged(
    point: Mapping[str, Any],
    tensors: tuple[np.ndarray, ...],
    make: Any,
    expected: np.ndarray,
    device: Any,
) -> tuple[gate.Trial, Any]:
    watched = watch(device)
    allowed = reference.tolerance(problem_of(point), *tensors)
    tried = gate.attempt(
        lambda output: make(point, tensors, output)(watched), expected, point["dtype"], allowed
    )
    return tried, watched


def _fused(point: Mapping[str, Any], tensors: tuple[np.ndarray, ...], output: np.ndarray) -> Launch:
    given = {"tile": tile_of(point), "variant": variant_of(point)}
    return lambda device: flash.launch(*tensors, output, device=device, **given)


def _base(point: Mapping[str, Any], tensors: tuple[np.ndarray, ...], output: np.ndarray) -> Launch:
    return _fused({**point, "variant": "base"}, tensors, output)


def _on_scores(point: Mapping[str, Any]) -> bool:
    return point["variant"] in ("alibi", "softcap", "window")


def _alone(point: Mapping[str, Any], tensors: tuple[np.ndarray, ...], output: np.ndarray) -> Launch:
    """Return the standalone kernel over stored tensors, followed by the base kernel."""
    q, k, v = tensors
    rope = variant_of(point).rope
    if rope is not None:
        turned = np.empty_like(q), np.empty_like(k)

        def rotate(device: Any) -> Any:
            position = k.shape[2] - q.shape[2]
            launch_rope(q, turned[0], rope=rope, device=device, position=position)
            launch_rope(k, turned[1], rope=rope, device=device)
            return _base(point, (*turned, v), output)(device)

        return rotate
    shape = (k.shape[0], q.shape[1], *k.shape[2:])
    wide = np.empty(shape, k.dtype), np.empty(shape, k.dtype)

    def expand(device: Any) -> Any:
        launch_expand(k, wide[0], device=device)
        launch_expand(v, wide[1], device=device)
        return _base(point, (q, *wide), output)(device)

    return expand


def _alone_scores(
    point: Mapping[str, Any], tensors: tuple[np.ndarray, ...], output: np.ndarray
) -> Launch:
    """Return the standalone kernel over stored scores; both products are the host's."""
    q, k, v = tensors

    def launch(device: Any) -> Any:
        scores = np.einsum("bhqd,bhkd->bhqk", q, k) * np.float32(q.shape[3] ** -0.5)
        timing = launch_scores(scores, variant_of(point), device=device)
        weights = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        output[: q.size] = np.einsum("bhqk,bhkd->bhqd", weights, v).reshape(-1)
        return timing

    return launch


def _pass_over_scores(
    point: Mapping[str, Any], tensors: tuple[np.ndarray, ...], output: np.ndarray
) -> Launch:
    """Return the standalone kernel over a stored score matrix, followed by the base kernel.

    What it costs to store the scores and to read them again is not among it.
    """
    q, k, _ = tensors
    scores = np.zeros((*q.shape[:3], k.shape[2]), q.dtype)

    def launch(device: Any) -> Any:
        launch_scores(scores, variant_of(point), device=device)
        return _base(point, tensors, output)(device)

    return launch


def _whole_heads(tensors: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Give every query head a KV head of its own."""
    q, k, v = tensors
    return q, *(np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))


def _paired(
    point: Mapping[str, Any], tensors: tuple[np.ndarray, ...], device: Any, mode: str
) -> dict[str, Any]:
    alone = _pass_over_scores if _on_scores(point) else _alone
    makes = {"fused": _fused, "alone": alone, "base": _base}
    kernels = []
    for side in (point["first"], point["against"]):
        given = _whole_heads(tensors) if side == "base" else tensors
        output, again = (np.zeros_like(tensors[0]) for _ in range(2))
        makes[side](point, given, output)(device)
        kernels.append(recorded(device, makes[side](point, given, again), again, output))
    return compare(kernels, mode=mode)


def _count(point: Mapping[str, Any]) -> Outcome:
    """Count what a lane does for 8 query rows and a block of keys, with the variant and without.

    The difference of two lengths that differ by whole blocks leaves what a block costs.
    """
    fewer = {**point, "Nkv": point["Nkv"] - point["Bc"] * _COUNTED_BLOCKS}

    def counted(point: Mapping[str, Any], make: Any) -> Any:
        tensors = problem_of(point).inputs(0)
        return count_launch(make(point, tensors, np.empty_like(tensors[0])))

    result: dict[str, Any] = {"kernel_hash": kernel_hash(point)}
    blocks = []
    for side, make in (("variant", _fused), ("base", _base)):
        total = counted(point, make)
        more = total - counted(fewer, make)
        blocks.append(more)
        lanes = 32 * _COUNTED_BLOCKS
        result[f"{side}_counts"] = total.as_row()
        result |= {f"{side}_{name}": getattr(more, name) / lanes for name in NAMES}
    result |= block_ratio(*blocks, point["D"], point["Bc"] * _COUNTED_BLOCKS)
    return Outcome(OK, "", result)


def _traffic(point: Mapping[str, Any]) -> Outcome:
    """Count the device bytes of the whole attention: base, fused, and standalone before base."""
    tensors = problem_of(point).inputs(0)
    result: dict[str, Any] = {"kernel_hash": kernel_hash(point)}
    result["key_bytes"] = tensors[1].nbytes + tensors[2].nbytes
    for side, make in (("base", _base), ("fused", _fused), ("alone", _alone)):
        counts = count_launch(make(point, tensors, np.empty_like(tensors[0])))
        result[f"{side}_load_bytes"] = counts.device_load_bytes
        result[f"{side}_store_bytes"] = counts.device_store_bytes
        result[f"{side}_float_operations"] = counts.float_operations
    return Outcome(OK, "", result)


PROTOTYPE = Prototype(
    "variants",
    points,
    run,
    conclude,
    kernel_hash,
    unmodelled={
        "pair": "kernel: found several dispatches, published times are of one; points of kind "
        "count have the ratio expected of a block of keys"
    },
)
