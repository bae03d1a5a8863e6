"""Prototype 1: which tile serves flash attention.

Points are problems with a tile. Each is judged against FP64 before anything else is said;
on a device whose times are measured it is then timed by protocol.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from attnproto.errors import UnsupportedProblem, WrongResult
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Variant
from attnproto.measure.stats import LOOKS
from attnproto.model.launches import flash_ratio, flash_result
from attnproto.problem import AttentionProblem
from attnproto.prototypes.registry import OK, WRONG, Outcome, Prototype
from attnproto.reference import gate
from attnproto.results.store import content_key

from . import tuning
from .findings import conclude
from .timing import dispatch_of, paired, timed

BR, BC, D = (16, 32, 64), (64, 80, 128), (64, 128, 256)
_BASE = {"B": 1, "Hq": 1, "Hkv": 1, "causal": False, "input": "normal", "Br": 32, "Bc": 64}

# A tile whose simdgroups share their reads, the next ones being on their way.
_SHARING = {"Br": 64, "Bc": 64, "rows": 16, "keys": "ahead32"}

_DUELS = (tuning.DUEL, tuning.CHOSEN)
# What a tile leaves open beyond its geometry.
_AXES = ("rows", "keys", "query", "rescale")
# The axes that the design leaves open, each choice beside the base tile's.
PAIRS = (
    ("keys", "lane", "matrix"),
    ("keys", "lane", "staged16"),
    ("keys", "staged32", "ahead32"),
    ("rows", 8, 16),
    ("rescale", "grown", "always"),
)
# Blocks of keys that a count is averaged over: how often a maximum grows depends on the data.
_COUNTED_BLOCKS = 16


def _point(kind: str, **values: Any) -> dict[str, Any]:
    return {"kind": kind, **_BASE, **values}


def points(mode: str) -> list[dict[str, Any]]:
    """List the points: all 27 tiles in f16 and f32, then lengths, masks, inputs, times.

    Args:
        mode: ``"quick"`` keeps to problems that the cpu device does in well under a second;
            ``"full"`` adds longer ones and times every tile. What an M4 is expected to take is
            modelled from counts of a few blocks, so that its points are long in both.

    Returns:
        Points; ``kind`` says what each is for.
    """
    listed = [
        _point("tile", Br=br, Bc=bc, D=d, dtype=dtype, Hq=2, Nq=77, Nkv=131)
        for dtype, br, bc, d in itertools.product(("f16", "f32"), BR, BC, D)
    ]
    lengths = (1, 63, 100, 1000, 1024) if mode == "quick" else (1, 63, 100, 1000, 1024, 8192)
    for dtype in ("f16", "bf16", "f32"):
        listed += [_point("length", D=64, dtype=dtype, Nq=n, Nkv=n) for n in lengths]
        listed += [
            _point("mask", D=64, dtype=dtype, Nq=nq, Nkv=nkv, causal=True)
            for nq, nkv in ((100, 100), (63, 100), (100, 63))
        ]
        listed.append(_point("group", D=64, dtype=dtype, Hq=8, Hkv=2, B=2, Nq=63, Nkv=100))
        listed.append(_point("scores", D=64, dtype=dtype, Nq=257, Nkv=257, input="large"))
    listed += [
        _point("dimension", D=d, dtype=dtype, Nq=63, Nkv=100)
        for d, dtype in itertools.product((72, 96, 192), ("f16", "f32"))
    ]
    listed += [
        _point("count", D=d, dtype=dtype, Nq=16, Nkv=64 * (1 + _COUNTED_BLOCKS), Br=16)
        for d, dtype in itertools.product(D, ("f16", "f32"))
    ]
    listed += [
        _point("pair", D=d, dtype=dtype, Nq=n, Nkv=n, axis=axis, a=a, b=b)
        for d, n in (((64, 1024),) if mode == "quick" else ((64, 4096), (128, 4096)))
        for dtype in ("f16", "f32")
        for axis, a, b in PAIRS
    ]
    listed += [
        _point("expected", Br=br, Bc=bc, D=d, dtype=dtype, Nq=4096, Nkv=4096)
        for br, bc, d in (
            itertools.product(BR, BC, D)
            if mode == "full"
            else (*itertools.product((32,), BC, D[:2]), (16, 64, D[2]))
        )
        for dtype in ("f16", "f32")
    ]
    tiles = itertools.product(BR, BC, D) if mode == "full" else ((32, 64, d) for d in (64, 128))
    sizes = (1024, 2048, 4096, 8192) if mode == "full" else (1024,)
    listed += [
        _point("time", Br=br, Bc=bc, D=d, dtype=dtype, Nq=n, Nkv=n)
        for (br, bc, d), dtype, n in itertools.product(tiles, ("f16", "f32"), sizes)
    ]
    if mode == "full":
        listed += [
            _point("time", D=d, dtype=dtype, Nq=n, Nkv=n, **_SHARING)
            for d, dtype, n in itertools.product(D[:2], ("f16", "f32"), sizes)
        ]
    return listed


def peer_points(mode: str) -> list[dict[str, Any]]:
    """List a problem for each peer that is installed: ``attnproto run --only flash --peers``."""
    from .peers import installed

    sizes = (1024,) if mode == "quick" else (1024, 4096)
    axes = (64, 128), ("f16", "f32"), sizes, (False, True)
    return [
        _point("peer", D=d, dtype=dtype, Nq=n, Nkv=n, causal=causal, peer=peer)
        for peer in installed()
        for d, dtype, n, causal in itertools.product(*axes)
    ]


def problem_of(point: Mapping[str, Any]) -> AttentionProblem:
    """Return a point's problem."""
    names = ("B", "Hq", "Hkv", "Nq", "Nkv", "D", "dtype", "causal")
    return AttentionProblem(**{name: point[name] for name in names})


def tile_of(point: Mapping[str, Any]) -> Any:
    """Return a point's tile geometry."""
    options = {name: point[name] for name in _AXES if name in point}
    problem = problem_of(point)
    return FlashTile(point["Br"], point["Bc"], problem.D, problem.element_type.name, **options)


def _sides(point: Mapping[str, Any]) -> list[Any]:
    """The two tiles of a point that compares two."""
    if point["kind"] in _DUELS:
        return [tile_of(point), tile_of(tuning.rival_of(point))]
    return [tile_of({**point, point["axis"]: point[side]}) for side in ("a", "b")]


def kernel_hash(point: Mapping[str, Any]) -> str:
    """Hash the kernel text that a point runs today; of a pair, both texts."""
    if point["kind"] in ("pair", *_DUELS):
        return content_key([tile.source.digest for tile in _sides(point)])
    return tile_of(point).source.digest


def run(point: dict[str, Any], device: Any, mode: str) -> Outcome:
    """Run one point: count it, or judge it and, where times are worth something, time it.

    Raises:
        AttnprotoError: The point cannot run on this device.
    """
    if point["kind"] == "count":
        return _count(point)
    if point["kind"] == "pair":
        return _pair(point, device, mode)
    if point["kind"] in _DUELS:
        return _duel(point, device, mode)
    if point["kind"] == "expected":
        return _expected(point)
    problem, tile = problem_of(point), tile_of(point)
    tried = _tried(problem, tile, device, point["input"])
    judged = tried.judgement
    if point["kind"] == "peer":
        return _peer(point, judged, device, mode)
    pipe, _ = dispatch_of(problem, tile, device)
    result = {
        "flops": problem.flops,
        "bytes": problem.bytes,
        **judged.numbers,
        "threadgroup_bytes": int(pipe.static_threadgroup_bytes),
        "declared_bytes": tile.threadgroup_bytes,
        "query_place": tile.query,
        "compile_us": float(pipe.compile_us),
        "kernel_hash": tile.source.digest,
    }
    if problem.causal and problem.Nq > problem.Nkv:
        blind = problem.Nq - problem.Nkv
        result["blind_rows"] = blind
        result["blind_rows_are_zero"] = not np.any(tried.output[:, :, :blind].astype(np.float32))
    if not judged.passed:
        return Outcome(WRONG, judged.reason, result)
    if point["kind"] == "time":
        result |= flash_result(problem, tile)
    if device.tier == "emulated":
        result["emulated_us"] = float(tried.returned.gpu_us)
    elif point["kind"] == "time":
        result.update(timed(problem, tile, device, mode))
    return Outcome(OK, "", result)


def _peer(point: Mapping[str, Any], judged: Any, device: Any, mode: str) -> Outcome:
    """Compare with another library's kernel; on an emulated device the numbers say so by name."""
    from .peers import compared

    problem, tile = problem_of(point), tile_of(point)
    result: dict[str, Any] = {**judged.numbers, "kernel_hash": tile.source.digest}
    if not judged.passed:
        return Outcome(WRONG, judged.reason, result)
    emulated = "emulated_" if device.tier == "emulated" else ""
    seen = compared(problem, tile, point["peer"], device, mode)
    texts = ("peer", "peer_device", "peer_worst_ratio")
    result |= flash_result(problem, tile)
    result |= {name if name in texts else emulated + name: value for name, value in seen.items()}
    return Outcome(OK, "", result)


def _tried(problem: AttentionProblem, tile: Any, device: Any, input_class: str) -> gate.Trial:
    from attnproto.kernels import flash

    def launch(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> Any:
        variant = Variant(causal=problem.causal)
        return flash.launch(q, k, v, output, device=device, tile=tile, variant=variant)

    return gate.trial(launch, problem, input_class=input_class)


def _pair(point: Mapping[str, Any], device: Any, mode: str) -> Outcome:
    """Judge two tiles that differ in one axis and, where times count, compare them paired."""
    problem = problem_of(point)
    tiles = _sides(point)
    judged = [_tried(problem, tile, device, point["input"]).judgement for tile in tiles]
    result: dict[str, Any] = {
        "worst_ratio": max(judgement.worst_ratio for judgement in judged),
        "kernel_hash": content_key([tile.source.digest for tile in tiles]),
    }
    for side, judgement in zip(("a", "b"), judged, strict=True):
        if not judgement.passed:
            return Outcome(WRONG, f"{point['axis']} {point[side]}: {judgement.reason}", result)
    result |= flash_ratio(problem, tiles)
    if device.tier != "emulated":
        result.update(paired(problem, tiles, device, mode))
    return Outcome(OK, "", result)


def _duel(point: Mapping[str, Any], device: Any, mode: str) -> Outcome:
    """Compare two tiles of a search, both of which are judged before and after."""
    tiles = _sides(point)
    known = {"kernel_hash": kernel_hash(point)}
    if device.tier == "emulated":
        raise UnsupportedProblem(
            f"[flash.tune] found {device.name} ({device.kind}), whose times are emulated, needs a "
            "device whose times are measured; pass --device metal or cuda"
        )
    compared = paired(problem_of(point), tiles, device, mode, tuning.looks_of(point))
    return Outcome(OK, "", known | compared)


def _expected(point: Mapping[str, Any]) -> Outcome:
    """Model what an M4 takes for a problem; nothing is run but a few blocks that are counted."""
    problem, tile = problem_of(point), tile_of(point)
    said = {"flops": problem.flops, "kernel_hash": tile.source.digest}
    return Outcome(OK, "", said | flash_result(problem, tile))


def _count(point: Mapping[str, Any]) -> Outcome:
    """Count what a lane does for 8 query rows and 64 keys.

    The difference of two runs that differ by whole blocks leaves what a block costs, without
    what precedes and follows the loop over keys.
    """
    from attnproto.device.device import Dispatch
    from attnproto.kernels import flash
    from attnproto.measure.dynamic_counts import NAMES, count, counting_device

    device = counting_device()
    problem, tile = problem_of(point), tile_of(point)
    fewer = replace(problem, Nkv=problem.Nkv - 64 * _COUNTED_BLOCKS)

    def counted(problem: AttentionProblem) -> Any:
        q, k, v = problem.inputs(0, point["input"])
        todo = flash.plan(flash.problem_of(q, k, v, variant=Variant(causal=problem.causal)), tile)
        buffers = {0: q, 1: k, 2: v, 3: np.empty_like(q), 4: todo.params}
        pipe = flash.pipeline(device, todo.source, todo.constants)
        return count(device, [Dispatch(pipe, todo.threadgroups, todo.threads, buffers)])

    total = counted(problem)
    more = total - counted(fewer)
    threads = tile.threads * -(-problem.Nq // point["Br"]) * problem.Hq * problem.B
    per_lane = {name: getattr(more, name) / threads / _COUNTED_BLOCKS for name in NAMES}
    least = 2 * 8 * (problem.D // 8)
    if per_lane["matrix_operations"] < least:
        raise WrongResult(
            f"[flash.count] found {per_lane['matrix_operations']:g} matrix operations, needs at "
            f"least {least} for 8 rows and 64 keys; check the counter"
        )
    row = {**per_lane, "counts": total.as_row(), "kernel_hash": tile.source.digest}
    return Outcome(OK, "", row)


def _examples() -> list[dict[str, Any]]:
    problem = AttentionProblem(1, 1, 1, 1024, 1024, 64, "f16")
    tile = FlashTile(32, 64, 64, "float16")
    return [
        _point("peer", D=64, dtype="f16", Nq=1024, Nkv=1024, peer="mlx"),
        tuning.judged_point(problem, tile),
        *(tuning.duel_point(kind, problem, tile, tile, LOOKS) for kind in _DUELS),
    ]


_SEARCHED = "search: found a tile beside another, needs one alone; see the points of kind expected"
PROTOTYPE = Prototype(
    "flash",
    points,
    run,
    conclude,
    kernel_hash,
    axes=_AXES,
    examples=_examples(),
    sections=tuning.sections,
    unmodelled=dict.fromkeys(_DUELS, _SEARCHED),
)
