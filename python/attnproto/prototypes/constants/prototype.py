"""Prototype 4: what variants by function constants cost to compile, to keep and to load again.

A point compiles a number of variants through every cache in turn: truly cold, in a new process
from the cache on disk, again in the same process, and from an archive in a new process that fails
on a miss. Another compiles with several threads.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attnproto.device import archive as archives
from attnproto.errors import KernelCompileError
from attnproto.kernels import flash
from attnproto.prototypes.registry import OK, WRONG, Outcome, Prototype

from .cold_compile import (
    compile_variants,
    in_new_process,
    new_nonce,
    source,
    variants,
    wake_compiler,
)
from .findings import conclude

STAGES = ("library", "function", "pipeline")
# Half against FP64: NFR-3.
ATOL, RTOL = 5e-3, 1e-2


def points(mode: str) -> list[dict[str, Any]]:
    """List the points: 1, 10, 50, 72, 100 and 500 variants, and threads.

    Quick has 1 and 4, which are of every D: each variant is compiled cold, and for the archive
    once more for either engine.
    """
    counts, together, threads = (1, 10, 50, 72, 100, 500), 24, (1, 2, 4, 8)
    if mode == "quick":
        counts, together, threads = (1, 4), 2, (1, 2)
    listed = [{"kind": "compile", "count": count} for count in counts]
    return listed + [{"kind": "threads", "count": together, "threads": n} for n in threads]


def kernel_hash(point: Mapping[str, Any]) -> str:
    """Hash the texts and constants of a point's variants."""
    parts = [
        variant.tile.source.digest + repr(sorted(variant.constants.items()))
        for variant in variants(point["count"])
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def run(point: dict[str, Any], device: Any, mode: str) -> Outcome:
    """Run one point.

    Returns:
        Status and numbers; times of an emulated device bear ``emulated_`` in their names, and
        are of its own compiler, clang.

    Raises:
        AttnprotoError: A variant does not compile.
    """
    nonce, count = new_nonce(), point["count"]
    prefix = "emulated_" if device.tier == "emulated" else ""
    result: dict[str, Any] = {"kernel_hash": kernel_hash(point), "compiler": _compiler(device)}
    wake_compiler(device)
    if point["kind"] == "threads":
        runs = [
            compile_variants(device, count, new_nonce(), threads=point["threads"])
            for _ in range(3 if mode == "full" else 1)
        ]
        result[f"{prefix}wall_us"] = [one["wall_us"] for one in runs]
        result["cached"] = sum(one["cached"] for one in runs)
        return Outcome(OK, "", result)

    def keep(name: str, measured: Mapping[str, Any]) -> None:
        for stage in STAGES:
            times = measured[f"{stage}_us"]
            result[f"{prefix}{name}_{stage}_us"] = float(np.median(times))
            result[f"{prefix}{name}_{stage}_all_us"] = times
        result[f"{prefix}{name}_wall_us"] = measured["wall_us"]
        result[f"cached_{name}"] = measured["cached"]

    keep("cold", compile_variants(device, count, nonce))
    keep("memory", compile_variants(device, count, nonce))
    keep("disk", in_new_process(device, count, nonce))
    try:
        # Texts that were compiled before would cost an archive nothing.
        archived, missed = _archived(device, count, new_nonce())
    except KernelCompileError as error:
        # Metal may store no specialised functions; what was measured before still holds.
        result["archive_refused"] = str(error)
        missed = True
    else:
        keep("archive", archived["served"])
        result["served"] = len(archived["served"]["pipeline_us"])
        result[f"{prefix}archive_load_us"] = archived["served"]["load_us"]
        result[f"{prefix}archive_create_us"] = archived["create_us"]
        result["archive_bytes"] = archived["bytes"]
        if device.kind == "cpu":
            result["distinct_objects"] = archived["distinct"]
    result["worst_ratio"] = _worst_ratio(device, nonce)
    if not missed:
        return Outcome(WRONG, "the archive served a variant that it does not hold", result)
    if result["worst_ratio"] > 1.0:
        return Outcome(WRONG, "the first variant misses FP64 by more than is allowed", result)
    return Outcome(OK, "", result)


def _compiler(device: Any) -> str:
    return archives.identity(device)["compiler"]


def _archived(device: Any, count: int, nonce: int) -> tuple[dict[str, Any], bool]:
    """Store variants, load them in a new process, and see that an absent one is refused."""
    cpu = device.kind == "cpu"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "variants.attnproto"
        begin = time.perf_counter()
        stored = _store(device, count, nonce, path)
        archived = {
            "create_us": (time.perf_counter() - begin) * 1e6,
            "bytes": stored.nbytes,
            "distinct": _distinct(stored) if cpu else None,
            "served": in_new_process(device, count, nonce, archive=str(path), forbid_compilers=cpu),
        }
        return archived, _misses(device, path, nonce)


def _store(device: Any, count: int, nonce: int, path: Path) -> archives.Archive:
    builder = archives.build(device)
    for index, variant in enumerate(variants(count)):
        name, text = source(variant, nonce, index)
        builder.add(device.library(text), name, variant.constants)
    return builder.save(path)


def _distinct(stored: archives.Archive) -> int:
    """How many different object codes there are."""
    from attnproto.compiler.codegen import object_archive
    from attnproto.compiler.targets import host

    objects = host.one_a_pipeline(object_archive.read(str(stored.payload)).objects.values())
    return len({hashlib.sha256(code).digest() for code in objects})


def _misses(device: Any, path: Path, nonce: int) -> bool:
    """Whether a variant that is not in the archive fails to load from it."""
    name, text = source(variants(1)[0], nonce, 99999)
    library = device.library(text)
    try:
        library.pipeline(
            name, variants(1)[0].constants, archive=archives.load(path, device), fail_on_miss=True
        )
    except KernelCompileError:
        return True
    return False


def _worst_ratio(device: Any, nonce: int) -> float:
    """Worst error over allowed error of the first variant, with the nonce in its text."""
    from attnproto.reference import softmax_attention

    variant = variants(1)[0]
    tile = variant.tile
    random = np.random.default_rng(0)
    shapes = ((1, 1, tile.br, tile.d), (1, 1, 2 * tile.bc, tile.d), (1, 1, 2 * tile.bc, tile.d))
    q, k, v = (random.standard_normal(shape).astype(np.float16) for shape in shapes)
    todo = flash.plan(flash.problem_of(q, k, v), tile)
    name, text = source(variant, nonce, 0)
    output = np.full(q.shape, np.nan, q.dtype)
    device.run(
        device.library(text).pipeline(name, variant.constants),
        threadgroups=todo.threadgroups,
        threads=todo.threads,
        buffers=todo.buffers(q, k, v, output),
    )
    expected = softmax_attention(q, k, v, causal=variant.constants["causal"])
    error = np.abs(output.astype(np.float64) - expected) / (ATOL + RTOL * np.abs(expected))
    return float(error.max()) if np.isfinite(output).all() else float("inf")


_COMPILATION = "kernel: found the compilation of several, the model is of what kernels take"
PROTOTYPE = Prototype(
    "constants",
    points,
    run,
    conclude,
    kernel_hash,
    point_s=20.0,  # all that is compiled is compiled anew
    unmodelled=dict.fromkeys(("compile", "threads"), _COMPILATION),
)
