"""Prototype 3: whether attention over a paged cache fits threadgroup memory, and at what cost.

The paged kernel and its contiguous twin are one template with another key loader, so that what
differs between them is the block table alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from attnproto import reference
from attnproto.device.recording import watch
from attnproto.dtypes import BY_NAME
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Variant
from attnproto.kernels.paged import PAGE_SIZES, KeyCache, attend_source, launch_paged, reduce_source
from attnproto.measure.dynamic_counts import NAMES, count_launch
from attnproto.measure.pairs import COLD, HOT, compare, recorded
from attnproto.model.launches import block_ratio
from attnproto.problem import AttentionProblem
from attnproto.prototypes.registry import OK, WRONG, Outcome, Prototype
from attnproto.reference import gate
from attnproto.results.store import content_key

from .cache import Tokens, draw
from .findings import conclude

_BASE = {"B": 4, "Hq": 8, "Hkv": 2, "Nq": 1, "Nkv": 389, "D": 64, "page": 16, "Br": 8, "Bc": 64}
_BASE |= {"dtype": "f32", "contexts": "falling", "partition": 512}
# Blocks of keys that a count is averaged over.
_COUNTED_BLOCKS = 16
_PREFILL = {"Nq": 40, "Br": 32, "Hq": 4}


def _point(kind: str, **values: Any) -> dict[str, Any]:
    return {"kind": kind, **_BASE, **values}


def points(mode: str) -> list[dict[str, Any]]:
    """List the points: decoding and prefill for every page size, partitions, counts, pairs.

    Args:
        mode: ``"quick"`` keeps to problems that the cpu device does in well under a second.

    Returns:
        Points; ``kind`` says what each is for.
    """
    dtypes = ("f16", "f32") if mode == "quick" else ("f16", "bf16", "f32")
    listed = [
        _point("decode", page=page, D=d, dtype=dtype)
        for d, dtype, page in itertools.product((64, 128, 256), dtypes, PAGE_SIZES)
    ]
    listed += [
        _point("prefill", page=page, D=d, dtype=dtype, **_PREFILL)
        for d in ((64,) if mode == "quick" else (64, 128))
        for dtype, page in itertools.product(dtypes, PAGE_SIZES)
    ]
    listed += [
        _point("partition", B=3, Nkv=64 * parts - 7, partition=64)
        for parts in ((1, 2, 7, 128) if mode == "quick" else (1, 2, 7, 32, 128))
    ]
    listed += [
        _point(
            "count",
            B=1,
            Hkv=1,
            Nkv=64 * (1 + _COUNTED_BLOCKS),
            page=page,
            dtype=dtype,
            contexts="equal",
        )
        for dtype, page in itertools.product(("f16", "f32"), PAGE_SIZES)
    ]
    long = 1024 if mode == "quick" else 8192
    listed += [
        _point("pair", Nkv=long, page=page, dtype="f16", contexts="equal", against="twin", **place)
        # Decoding reads each key once: whether it was in the cache is half of its time.
        for place in ({}, {"memory": COLD})
        for page in PAGE_SIZES
    ]
    wide = {"Nq": 128, "Br": 32, "Hq": 8} if mode == "quick" else {"Nq": 2048, "Br": 32, "Hq": 8}
    listed += [
        _point(
            "pair",
            B=1,
            Nkv=max(wide["Nq"], long // 2),
            page=page,
            dtype="f16",
            contexts="equal",
            partition=4096,
            against="flash",
            **wide,
        )
        for page in PAGE_SIZES
    ]
    return listed


def tile_of(point: Mapping[str, Any]) -> FlashTile:
    """Return a point's tile geometry."""
    return FlashTile(point["Br"], point["Bc"], point["D"], BY_NAME[point["dtype"]].numpy)


def kernel_hash(point: Mapping[str, Any]) -> str:
    """Hash the kernel texts that a point runs today, the twin's among them."""
    tile = tile_of(point)
    texts = [attend_source(tile, point["page"]), attend_source(tile, 0), reduce_source(tile)]
    return content_key([text.digest for text in texts])


def run(point: dict[str, Any], device: Any, mode: str) -> Outcome:
    """Run one point: count it, or judge it and, where times are worth something, compare it.

    Raises:
        AttnprotoError: The point cannot run on this device.
    """
    if point["kind"] == "count":
        return _count(point)
    tokens = draw(point)
    tried, watched = _tried(point, tokens, tokens.paged, device)
    result: dict[str, Any] = {
        **tried.judgement.numbers,
        "threadgroup_bytes": watched.threadgroup_bytes,
        "staged_bytes": _staged_bytes(point),
        "compile_us": watched.compile_us,
        "submissions": len(watched.submissions),
        "dispatches": len(watched.dispatches),
        "partitions": max(1, -(-int(point["Nkv"]) // point["partition"])),
        "scratch_bytes": _scratch_bytes(watched.dispatches),
        "shared_pages": tokens.shared,
        "kernel_hash": kernel_hash(point),
    }
    if not tried.judgement.passed:
        return Outcome(WRONG, tried.judgement.reason, result)
    empty = tokens.paged.context_lens == 0
    result["empty_contexts"] = int(empty.sum())
    result["empty_are_zero"] = not np.any(tried.output[empty].astype(np.float32))
    twin, _ = _tried(point, tokens, tokens.contiguous, device)
    result["equals_twin"] = tried.output.tobytes() == twin.output.tobytes()
    if not twin.judgement.passed:
        return Outcome(WRONG, f"contiguous twin: {twin.judgement.reason}", result)
    if result["partitions"] == 1:
        result["equals_flash"] = _flash(point, tokens, device).tobytes() == tried.output.tobytes()
    if point["kind"] == "pair" and device.tier != "emulated":
        result.update(_paired(point, tokens, device, mode, tried.output))
    return Outcome(OK, "", result)


def _tried(
    point: Mapping[str, Any], tokens: Tokens, cache: KeyCache, device: Any
) -> tuple[gate.Trial, Any]:
    """Judge attention over one of the two caches; both have the same FP64 truth."""
    paged = tokens.paged
    expected = reference.paged_attention(
        tokens.q, paged.k, paged.v, paged.block_table, paged.context_lens, causal=True
    )
    sizes = {name: point[name] for name in ("B", "Hq", "Hkv", "Nq", "Nkv", "D", "dtype")}
    finite = (np.nan_to_num(x.astype(np.float32)) for x in (paged.k, paged.v))
    allowed = reference.tolerance(AttentionProblem(**sizes, causal=True), tokens.q, *finite)
    watched = watch(device)
    launch = _launch(point, tokens, cache)
    return gate.attempt(
        lambda output: launch(watched, output), expected, point["dtype"], allowed
    ), watched


def _launch(point: Mapping[str, Any], tokens: Tokens, cache: KeyCache) -> Any:
    options = {"tile": tile_of(point), "partition": point["partition"]}
    return lambda device, output: launch_paged(tokens.q, cache, output, device=device, **options)


def _flash(point: Mapping[str, Any], tokens: Tokens, device: Any) -> np.ndarray:
    """Attend to each sequence by the flash kernel, with the same tile; no keys give zeros."""
    from attnproto.kernels import flash

    output = np.zeros_like(tokens.q)
    for s, length in enumerate(tokens.contiguous.context_lens):
        if not length:
            continue
        one = slice(s, s + 1)
        keys = (x[one, :, :length] for x in (tokens.contiguous.k, tokens.contiguous.v))
        variant = Variant(causal=True)
        flash.launch(
            tokens.q[one], *keys, output[one], device=device, tile=tile_of(point), variant=variant
        )
    return output


def _staged_bytes(point: Mapping[str, Any]) -> int:
    """Return what a kernel would use that copied a page of K and V to threadgroup memory."""
    tile = tile_of(point)
    return (tile.br + 2 * point["page"]) * tile.d * tile.element_bytes


def _scratch_bytes(dispatches: Any) -> int:
    """Return the bytes of the buffers that carry partial results to the second phase."""
    if len(dispatches) < 2:
        return 0
    return sum(dispatches[-1].buffers[index].nbytes for index in (0, 1))


def _paired(
    point: Mapping[str, Any], tokens: Tokens, device: Any, mode: str, judged: np.ndarray
) -> dict[str, Any]:
    outputs = [np.zeros_like(tokens.q) for _ in range(2)]
    launches = [_launch(point, tokens, cache) for cache in (tokens.paged, tokens.contiguous)]
    if point["against"] == "flash":
        from attnproto.kernels import flash

        def run_flash(device: Any, output: np.ndarray) -> Any:
            k, v = tokens.contiguous.k, tokens.contiguous.v
            options = {"tile": tile_of(point), "variant": Variant(causal=True)}
            return flash.launch(tokens.q, k, v, output, device=device, **options)

        launches[1] = run_flash
    pairs = zip(launches, outputs, strict=True)
    memory = point.get("memory", HOT)
    kernels = [recorded(device, lambda on, f=f, o=o: f(on, o), o, judged, memory) for f, o in pairs]
    return {**compare(kernels, mode=mode), "memory": memory}


def _count(point: Mapping[str, Any]) -> Outcome:
    """Count what a lane does for 8 query rows and a block of keys, paged and contiguous.

    The difference of two contexts that differ by whole blocks leaves what a block costs.
    """
    fewer = {**point, "Nkv": point["Nkv"] - point["Bc"] * _COUNTED_BLOCKS}
    one_partition = {"partition": point["Bc"] * (1 + _COUNTED_BLOCKS)}

    def counted(point: Mapping[str, Any], side: str) -> Any:
        tokens = draw(point)
        launch = _launch({**point, **one_partition}, tokens, getattr(tokens, side))
        return count_launch(lambda device: launch(device, np.empty_like(tokens.q)))

    result: dict[str, Any] = {"kernel_hash": kernel_hash(point)}
    blocks = []
    for side in ("paged", "contiguous"):
        whole_run = counted(point, side)
        more = whole_run - counted(fewer, side)
        blocks.append(more)
        lanes = 32 * _COUNTED_BLOCKS
        result[f"{side}_counts"] = whole_run.as_row()
        result |= {f"{side}_{name}": getattr(more, name) / lanes for name in NAMES}
    result |= block_ratio(*blocks, point["D"], point["Bc"] * _COUNTED_BLOCKS)
    return Outcome(OK, "", result)


PROTOTYPE = Prototype(
    "paged",
    points,
    run,
    conclude,
    kernel_hash,
    unmodelled={
        "pair": "mask: found causal, needs none, as published times; points of kind count have the "
        "ratio expected of a block of keys"
    },
)
