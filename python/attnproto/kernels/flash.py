"""FlashAttention forward: checks, and the launch of ``metal/flash``.

Letters: ``B`` batch, ``Hq`` and ``Hkv`` query and KV heads, ``Nq`` queries, ``Nkv`` keys, ``D``
dimensions of a head.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device.device import Timing
from attnproto.device.discovery import opened
from attnproto.device.pipelines import KernelSource, pipeline
from attnproto.dtypes import BY_NUMPY, name_of
from attnproto.errors import UnsupportedProblem

from .flash_tile import FlashTile, check_head_dimension, dtype_name, tile_for
from .flash_variant import Rope, Variant, number_of, rope_table
from .launching import as_arrays, as_input
from .tuned import TUNED, tuned_tile

if TYPE_CHECKING:
    from attnproto.device.device import Device

# Between these the scale and its inverse are ordinary floats, and so is a cap divided by it.
SMALLEST_SCALE, LARGEST_SCALE = 1e-20, 1e20

# A dispatch of half a second risks the watchdog of macOS. At 1 TFLOP/s, half of what published
# kernels reach on an M4 (2 to 3.3), this much work stays well below it.
DISPATCH_FLOPS = 4e11

# Positions, sums of two of them and sizes of tiles then stay within the kernels' 32 bits.
MOST_TOKENS = 2**30
_LARGEST_INT = 2**31 - 1
_PARAMS = struct.Struct("<4i3f2i")
PARAMS_BYTES = _PARAMS.size
if PARAMS_BYTES != 36:
    raise ImportError(f"FlashParams packs to {PARAMS_BYTES} bytes, metal/flash/params.h has 36")


@dataclass(frozen=True)
class FlashProblem:
    """One attention, checked: its dimensions and what is done to the scores.

    Args:
        b, hq, hkv, nq, nkv, d: dimensions.
        dtype: element type, by name.
        scale: factor of the scores.
        variant: masks, caps, biases and positions.
    """

    b: int
    hq: int
    hkv: int
    nq: int
    nkv: int
    d: int
    dtype: str
    scale: float
    variant: Variant = field(default_factory=Variant)


def problem_of(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    scale: float | None = None,
    variant: Variant | None = None,
) -> FlashProblem:
    """Check tensors against what the kernel computes and return their dimensions.

    Args:
        q: [B, Hq, Nq, D], float16, float32 or bfloat16.
        k: [B, Hkv, Nkv, D], the type of q; Hkv divides Hq.
        v: the shape and type of k.
        scale: factor of the scores; D**-0.5 when None.
        variant: masks, caps, biases and positions; none when None.

    Returns:
        The problem.

    Raises:
        UnsupportedProblem: a rank, dimension, type or the scale is none the kernel computes.
    """
    for label, tensor in (("q", q), ("k", k), ("v", v)):
        if not isinstance(tensor, np.ndarray) or tensor.ndim != 4:
            shape = getattr(tensor, "shape", None)
            what = f"type {type(tensor).__name__}" if shape is None else f"shape {shape}"
            raise UnsupportedProblem(
                f"[flash.launch] found {label} of {what}, needs a numpy array of rank 4; "
                "pass [batch, heads, tokens, D]"
            )
    if not q.dtype == k.dtype == v.dtype:
        raise UnsupportedProblem(
            f"[flash.launch] found dtypes {name_of(q.dtype)}, {name_of(k.dtype)}, "
            f"{name_of(v.dtype)}, needs one for q, k and v; convert two of them"
        )
    name = dtype_name(q.dtype)
    if k.shape != v.shape:
        raise UnsupportedProblem(
            f"[flash.launch] found k {k.shape} and v {v.shape}, needs equal shapes; "
            "pass [B, Hkv, Nkv, D] for both"
        )
    b, hq, nq, d = q.shape
    _, hkv, nkv, _ = k.shape
    if (k.shape[0], k.shape[3]) != (b, d):
        raise UnsupportedProblem(
            f"[flash.launch] found q {q.shape} and k {k.shape}, needs one B and one D; "
            f"pass k of shape ({b}, {hkv}, {nkv}, {d})"
        )
    if 0 in q.shape or 0 in k.shape:
        raise UnsupportedProblem(
            f"[flash.launch] found q {q.shape} and k {k.shape}, needs no empty dimension; "
            "pass at least one token"
        )
    check_heads(hq, hkv)
    check_head_dimension(d)
    check_tokens(max(nq, nkv))
    return FlashProblem(b, hq, hkv, nq, nkv, d, name, checked_scale(scale, d), variant or Variant())


def check_heads(hq: int, hkv: int) -> None:
    """Refuse query heads that do not share KV heads evenly.

    Raises:
        UnsupportedProblem: unless Hq is a multiple of Hkv.
    """
    if hq % hkv:
        raise UnsupportedProblem(
            f"[flash.launch] found Hq={hq} and Hkv={hkv}, needs Hq a multiple of Hkv; "
            f"pass Hq={(hq // hkv + 1) * hkv}"
        )


def check_tokens(tokens: int) -> None:
    """Refuse sequences whose positions the kernels cannot count.

    Raises:
        UnsupportedProblem: there are more than 2^30 tokens.
    """
    if tokens > MOST_TOKENS:
        raise UnsupportedProblem(
            f"[flash.launch] found {tokens} tokens, needs at most {MOST_TOKENS}; divide the "
            "sequence"
        )


def checked_scale(scale: float | None, d: int) -> float:
    """Return the factor of the scores, D**-0.5 by default.

    Raises:
        UnsupportedProblem: it is not a number from 1e-20 to 1e20.
    """
    if scale is None:
        return d**-0.5
    value = number_of(scale)
    if not SMALLEST_SCALE <= value <= LARGEST_SCALE:
        raise UnsupportedProblem(
            f"[flash.launch] found scale={scale!r}, needs a number from {SMALLEST_SCALE:g} to "
            f"{LARGEST_SCALE:g}; pass scale=None for D**-0.5"
        )
    return value


@dataclass(frozen=True)
class FlashPlan:
    """Everything of a dispatch but its tensors.

    Args:
        source: kernel text.
        constants: function constants by name.
        threadgroups: grid, in threadgroups.
        threads: threads of a threadgroup.
        params: bytes of buffer 4.
        turns: buffer 5, [positions, D / 2, 2] of (cos, sin); None where nothing is rotated.
    """

    source: KernelSource
    constants: dict[str, bool]
    threadgroups: tuple[int, int, int]
    threads: tuple[int, int, int]
    params: bytes
    turns: np.ndarray | None = None

    def buffers(self, q: object, k: object, v: object, output: object) -> dict[int, object]:
        """Return the buffers by index, for arrays or device buffers alike."""
        bound = {0: q, 1: k, 2: v, 3: output, 4: self.params}
        return bound if self.turns is None else bound | {5: self.turns}


def pack_params(problem: FlashProblem, first_tile: int = 0) -> bytes:
    """Return the FlashParams of a problem from a query tile on, 36 bytes."""
    variant = problem.variant
    return _PARAMS.pack(
        problem.hq,
        problem.hq // problem.hkv,
        problem.nq,
        problem.nkv,
        problem.scale * math.log2(math.e),
        1.0 / problem.scale,
        (variant.softcap or 0.0) / problem.scale,
        min(int(variant.window or 0), _LARGEST_INT),  # as good as any larger one
        first_tile,
    )


def plan(problem: FlashProblem, tile: FlashTile | tuple[int, int] | None = None) -> FlashPlan:
    """Lay a problem out on a tile.

    Args:
        problem: what to compute.
        tile: how, or its (Br, Bc); ``default_tile`` when None.

    Returns:
        The dispatch.

    Raises:
        UnsupportedProblem: the tile is none, or was made for another D or type.
    """
    tile = tile_for(tile, problem.nq, problem.d, problem.dtype)
    rope = problem.variant.rope
    # The first query may stand before the first key.
    first = min(0, problem.nkv - problem.nq)
    return FlashPlan(
        source=tile.source,
        constants={
            **problem.variant.constants,
            "aligned_queries": problem.nq % tile.br == 0,
            "aligned_keys": problem.nkv % tile.bc == 0,
        },
        threadgroups=(-(-problem.nq // tile.br), problem.hq, problem.b),
        threads=(tile.threads, 1, 1),
        params=pack_params(problem),
        turns=rope and rope_table(rope, first, problem.nkv - first, problem.d),
    )


def in_pieces(todo: FlashPlan, problem: FlashProblem) -> list[FlashPlan]:
    """Divide the query tiles of a plan over dispatches that stay below ``DISPATCH_FLOPS``.

    Args:
        todo: the plan of the whole problem.
        problem: the problem.

    Returns:
        Plans that cover every tile once; the plan itself when it is short enough.
    """
    tiles, heads, batches = todo.threadgroups
    flops = 4 * problem.b * problem.hq * problem.nq * problem.nkv * problem.d
    each = max(1, int(tiles * DISPATCH_FLOPS // flops))
    return [
        replace(
            todo,
            threadgroups=(min(each, tiles - first), heads, batches),
            params=pack_params(problem, first),
        )
        for first in range(0, tiles, each)
    ]


def launch(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    output: np.ndarray,
    *,
    device: Device,
    scale: float | None = None,
    tile: FlashTile | tuple[int, int] | str | None = None,
    variant: Variant | None = None,
) -> Timing:
    """Compute attention into memory of the caller and return the timing.

    Work that would hold the GPU for too long goes out in several dispatches, one after another.

    Args:
        q: [B, Hq, Nq, D].
        k: [B, Hkv, Nkv, D].
        v: [B, Hkv, Nkv, D].
        output: contiguous, writable, the type of q, at least B Hq Nq D elements; the first ones
            receive [B, Hq, Nq, D], any others are left alone.
        device: an open device.
        scale: factor of the scores; D**-0.5 when None.
        tile: geometry, or its (Br, Bc); ``"tuned"`` for what ``attnproto tune`` found fastest on
            the device; ``default_tile`` when None.
        variant: masks, caps, biases and positions; none when None.

    Returns:
        The device's Timing, from the start of the first dispatch to the end of the last; its
        ``gpu_us`` is the microseconds between.

    Raises:
        UnsupportedProblem: as ``problem_of`` and ``plan``, or the output does not fit.
        TuningError: as ``tuned_tile``.
    """
    problem = problem_of(q, k, v, scale=scale, variant=variant)
    todo = plan(problem, _chosen(tile, problem, device))
    writable = output.flags.writeable and output.flags.c_contiguous
    if output.dtype != q.dtype or output.size < q.size or not writable:
        raise UnsupportedProblem(
            f"[flash.launch] found output {name_of(output.dtype)} of {output.size} elements, needs "
            f"{name_of(q.dtype)}, {q.size} or more, contiguous and writable; pass "
            "numpy.empty(q.shape, q.dtype)"
        )
    pipe = pipeline(device, todo.source, todo.constants)
    inputs = [as_input(x) for x in (q, k, v)]
    timings = [
        device.run(
            pipe,
            threadgroups=piece.threadgroups,
            threads=piece.threads,
            buffers=piece.buffers(*inputs, output),
        )
        for piece in in_pieces(todo, problem)
    ]
    return Timing(timings[0].gpu_start_us, timings[-1].gpu_end_us)


def _chosen(
    tile: FlashTile | tuple[int, int] | str | None, problem: FlashProblem, device: Device
) -> FlashTile | tuple[int, int] | None:
    """What a caller's ``tile=`` is before it is known to fit: a tuned one by what it is for."""
    if not (isinstance(tile, str) and tile == TUNED):
        return tile
    return tuned_tile(
        device,
        nq=problem.nq,
        nkv=problem.nkv,
        d=problem.d,
        dtype=BY_NUMPY[problem.dtype].name,
        causal=bool(problem.variant.causal),
        heads=problem.b * problem.hq,
    )


def flash_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    causal: bool = False,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    alibi: bool = False,
    rope: Rope | None = None,
    tile: FlashTile | tuple[int, int] | str | None = None,
    device: Device | str | None = None,
) -> np.ndarray:
    """Compute softmax(scale Q K^T + mask) V without storing the scores.

    Scores, softmax and the output sums are FP32: values so large that a sum of Nkv of them is past
    3.4e38 may give infinity. A row that sees no key is 0. What a row cannot see
    takes no part in it: NaN and infinity in a key or value behind the mask stay there, elsewhere
    they propagate; they never fault. Every finite score counts, down to the lowest float. A score
    of minus infinity, by overflow or otherwise, weighs 0, and a row of nothing else is 0 as if it
    saw no key; one score of plus infinity, or NaN, makes its row NaN.

    Args:
        q: queries, [B, Hq, Nq, D], float16, float32 or ml_dtypes.bfloat16; D a multiple of 8 up to
            512. A tensor that is not contiguous is copied.
        k: keys, [B, Hkv, Nkv, D], the type of q; Hkv divides Hq, and query head h reads KV head
            h // (Hq / Hkv).
        v: values, the shape and type of k.
        causal: whether query i sees only keys j <= i + (Nkv - Nq).
        scale: factor of the scores; D**-0.5 when None.
        window: keys a query may look back on, itself included, of any number; needs causal. All
            when None.
        softcap: scores become softcap tanh(score / softcap); not when None.
        alibi: whether scores get the bias slope(head) (key - position); see ``alibi_slopes``.
        rope: rotation of q and k by their positions, key j standing on j and query i on
            i + (Nkv - Nq); not when None.
        tile: geometry of the kernel, or its (Br, Bc); ``"tuned"`` for what ``attnproto tune``
            found fastest on the device, at the sizes nearest to these; ``default_tile`` when None.
        device: an open device, or the name of one (``auto``, ``cpu``, ``metal``, ``cuda``);
            ``auto`` when None.

    Returns:
        [B, Hq, Nq, D], the type of q.

    Raises:
        UnsupportedProblem: a shape, type, number or tile that the kernel does not compute.
        DeviceUnavailable: the device is not on this machine.
        TuningError: nothing was tuned for this D, type and mask on the device.

    Source:
        Dao et al., "FlashAttention", NeurIPS 2022, algorithm 1; Dao, "FlashAttention-2", ICLR 2024,
        section 3.

    Examples:
        >>> q = np.ones((1, 8, 128, 64), np.float16)
        >>> k = v = np.ones((1, 2, 128, 64), np.float16)
        >>> flash_attention(q, k, v, causal=True).shape
        (1, 8, 128, 64)
    """
    q, k, v = as_arrays(q=q, k=k, v=v)
    variant = Variant(causal=causal, window=window, softcap=softcap, alibi=alibi, rope=rope)
    problem_of(q, k, v, scale=scale, variant=variant)
    output = np.empty(q.shape, q.dtype)
    launch(q, k, v, output, device=opened(device), scale=scale, tile=tile, variant=variant)
    return output
