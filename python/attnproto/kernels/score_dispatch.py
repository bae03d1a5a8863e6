"""One score modification of attention, chosen in six ways inside the same flash kernel."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device import pipelines
from attnproto.device.library import Call, Input
from attnproto.errors import UnsupportedProblem

from . import flash
from . import text as registry
from .flash_variant import alibi_slopes

if TYPE_CHECKING:
    from attnproto.device.device import Device
    from attnproto.device.library import Library, Pipeline
    from attnproto.device.pipelines import KernelSource

WAYS = ("inline", "argument", "constant", "stitched", "table", "noinline")
MODIFICATIONS = ("scale", "alibi", "softcap", "window", "custom")

_NUMBERS = struct.Struct("<3fI")
_NO_CONTRACTION = "#pragma METAL fp contract(off)\n"
_STITCHED, _TABLE = "stitched", "table"
# What a way declares, put before the kernel's text (metal/score_mod/ways.h).
_BEFORE = {"constant": "constant.h", _STITCHED: "declared.h", _TABLE: "visible.h"}
_SHARED = (Input(1), Input(2), Input(3))


@dataclass(frozen=True)
class Modification:
    """What is done to scores before the softmax (metal/score_mod/modifications.h).

    Args:
        name: ``scale``, ``alibi``, ``softcap``, ``window`` or ``custom``.
        cap: of ``softcap`` and ``custom``, in scaled units.
        window: of ``window``: keys j <= i - window are masked; from 1 to 2^24, which a float holds.
        rate: of ``custom``: after the cap, scores lose slope(head) log2(1 + rate |j - i|).

    Raises:
        UnsupportedProblem: the name is none of these, or the window out of range.
    """

    name: str
    cap: float = 2.0
    window: int = 16
    rate: float = 0.5

    def __post_init__(self):
        _check("modification", self.name, MODIFICATIONS)
        if not isinstance(self.window, (int, np.integer)) or not 1 <= self.window <= 2**24:
            raise UnsupportedProblem(
                f"[score_ways] found window={self.window!r}, needs a whole number from 1 to "
                "16777216; pass window=16777216 for all keys"
            )

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Modify scaled scores [B, Hq, Nq, Nkv] in FP64."""
        nq, nkv = scores.shape[-2:]
        distance = np.arange(nkv)[None, :] - (np.arange(nq)[:, None] + nkv - nq)
        slopes = alibi_slopes(scores.shape[1])[:, None, None]
        if self.name == "alibi":
            return scores + slopes * distance
        if self.name == "window":
            return np.where(distance <= -self.window, -np.inf, scores)
        if self.name in ("softcap", "custom"):
            scores = self.cap * np.tanh(scores / self.cap)
        if self.name == "custom":
            scores = scores - slopes * np.log2(1 + self.rate * np.abs(distance))
        return scores


def source(
    tile: flash.FlashTile, way: str, modification: Modification, *, contract: bool = True
) -> KernelSource:
    """Return the flash kernel's text with a modification chosen in one way.

    Args:
        tile: geometry.
        way: one of ``WAYS``.
        modification: what to do; only ``inline`` and ``noinline`` write it into the text.
        contract: whether the compiler may fuse multiplications and additions.

    Raises:
        UnsupportedProblem: no such way.
    """
    _check("way", way, WAYS)
    head = f"#define ATTN_SCORE_WAY {WAYS.index(way) + 1}\n"
    if way in ("inline", "noinline"):
        head += f"#define ATTN_SCORE_MODIFICATION {modification.name}_score\n"
    if way in _BEFORE:
        head += registry.plain(f"score_mod/{_BEFORE[way]}", way).text
    if not contract:
        head = _NO_CONTRACTION + head
    return pipelines.KernelSource(tile.source.name, head + tile.source.text)


def parts_source(*, contract: bool = True) -> KernelSource:
    """Return the text whose functions a stitching graph composes."""
    plain = registry.plain("score_mod/stitched.metal", "parts")
    return pipelines.KernelSource("parts", ("" if contract else _NO_CONTRACTION) + plain.text)


def graph(modification: Modification) -> Call:
    """Return the stitching graph of a modification; custom takes two calls."""
    if modification.name != "custom":
        return Call(f"{modification.name}_part", Input(0), *_SHARED)
    return Call("distance_part", Call("softcap_part", Input(0), *_SHARED), *_SHARED)


@dataclass(frozen=True)
class Prepared:
    """A kernel with its modification chosen, ready for tensors.

    Attributes:
        way: one of ``WAYS``.
        pipeline: what runs.
        plan: the flash kernel's own plan.
        extra: buffers 6 and up.
        library: the kernel's library.
        linked: arguments of ``Library.pipeline`` beside name and constants.
        constants: function constants.
        compile_us: time until the pipeline was ready, library, stitching and all.
    """

    way: str
    pipeline: Pipeline
    plan: flash.FlashPlan
    extra: dict[int, object]
    library: Library
    linked: dict[str, object]
    constants: dict[str, object]
    compile_us: float

    def buffers(self, q: object, k: object, v: object, output: object) -> dict[int, object]:
        """Return the buffers by index."""
        return self.plan.buffers(q, k, v, output) | self.extra


def prepare(
    device: Device,
    problem: flash.FlashProblem,
    tile: flash.FlashTile,
    way: str,
    modification: Modification,
    *,
    contract: bool = True,
    rewrite: Callable[[str], str] = str,
) -> Prepared:
    """Make the pipeline of a way on a device.

    Args:
        device: an open device.
        problem: dimensions; its own variant should switch nothing on but causal.
        tile: geometry.
        way: one of ``WAYS``.
        modification: what to do to scores.
        contract: whether the compiler may fuse multiplications and additions.
        rewrite: what is done to the kernel's text before it is compiled.

    Returns:
        Pipeline and buffers.

    Raises:
        UnsupportedProblem: no such way.
        KernelCompileError: the device cannot link, stitch or call in this way.
    """
    text = source(tile, way, modification, contract=contract)
    plan = flash.plan(problem, tile)
    choice = MODIFICATIONS.index(modification.name)
    constants: dict[str, object] = dict(plan.constants)
    linked: dict[str, object] = {}
    begin = time.perf_counter()
    library = device.library(rewrite(text.text))
    if way == "constant":
        constants["score_choice"] = choice
    elif way == _STITCHED:
        parts = device.library(parts_source(contract=contract).text)
        stitched = parts.stitch({"modify_score": graph(modification)})
        linked["private"] = {"modify_score": stitched}
    elif way == _TABLE:
        linked["linked"] = [f"{name}_visible" for name in MODIFICATIONS]
    pipeline = library.pipeline(text.name, constants, **linked)
    compile_us = (time.perf_counter() - begin) * 1e6
    numbers = _NUMBERS.pack(
        modification.cap / problem.scale, modification.window, modification.rate, choice
    )
    extra: dict[int, object] = {6: numbers}
    if way == _TABLE:
        extra[7] = pipeline.function_table(linked["linked"])
    return Prepared(way, pipeline, plan, extra, library, linked, constants, compile_us)


def run(
    device: Device, ready: Prepared, q: np.ndarray, k: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, float]:
    """Run a prepared kernel once.

    Args:
        device: the device it was prepared on.
        ready: from ``prepare``.
        q: [B, Hq, Nq, D].
        k: [B, Hkv, Nkv, D].
        v: [B, Hkv, Nkv, D].

    Returns:
        The output, [B, Hq, Nq, D], and the dispatch's time in microseconds.
    """
    output = np.full(q.shape, np.nan, q.dtype)
    timing = device.run(
        ready.pipeline,
        threadgroups=ready.plan.threadgroups,
        threads=ready.plan.threads,
        buffers=ready.buffers(*(flash.as_input(x) for x in (q, k, v)), output),
    )
    return output, timing.gpu_us


def reference(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, modification: Modification
) -> np.ndarray:
    """Compute softmax(modify(Q K^T / sqrt(D))) V in FP64.

    Args:
        q: [B, Hq, Nq, D].
        k: [B, Hkv, Nkv, D]; Hkv divides Hq.
        v: the shape of k.
        modification: what is done to scores.

    Returns:
        [B, Hq, Nq, D], float64.
    """
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = modification(q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1]))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights @ v / weights.sum(axis=-1, keepdims=True)


def _check(what: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UnsupportedProblem(
            f"[score_ways] found {what}={value!r}, needs one of {', '.join(known)}; pass "
            f"{what}={known[0]!r}"
        )
