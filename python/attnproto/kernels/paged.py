"""Attention over a paged KV cache: checks, and the launch of ``metal/paged``.

Letters as in ``flash``; ``P`` pages of ``page`` tokens each.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnproto.device.device import Dispatch
from attnproto.device.discovery import opened
from attnproto.device.pipelines import KernelSource, pipeline
from attnproto.dtypes import BY_NUMPY, name_of
from attnproto.errors import UnsupportedProblem

from . import flash
from .flash import FlashProblem, check_heads, check_tokens, checked_scale, pack_params
from .flash_tile import FlashTile, check_head_dimension, dtype_name, tile_for
from .flash_variant import Variant
from .launching import as_arrays, as_input, submit_in_turn
from .text import TemplateArgument, instantiate

if TYPE_CHECKING:
    from attnproto.device.device import Device, Timing

PAGE_SIZES = (8, 16, 32, 64, 128)
_EXTRA = struct.Struct("<4i")
PARAMS_BYTES = flash.PARAMS_BYTES + _EXTRA.size


@dataclass(frozen=True)
class KeyCache:
    """Keys and values of several sequences.

    Args:
        k: pages [P, Hkv, page, D]; or, contiguous, [B, Hkv, capacity, D].
        v: the shape and type of k.
        context_lens: [B] int32, tokens of each sequence.
        block_table: [B, max_pages] int32, the pages of each sequence in order; None when
            contiguous. Entries and slots past a sequence's length may hold anything.
    """

    k: np.ndarray
    v: np.ndarray
    context_lens: np.ndarray
    block_table: np.ndarray | None = None

    @property
    def page(self) -> int:
        """Tokens of a page; 0 when contiguous."""
        return 0 if self.block_table is None else self.k.shape[2]

    @property
    def capacity(self) -> int:
        """Entries of a sequence's block table; tokens a sequence may have when contiguous."""
        return self.k.shape[2] if self.block_table is None else self.block_table.shape[1]


def attend_source(tile: FlashTile, page: int) -> KernelSource:
    """Return the text of the first phase for a tile and a page size, 0 for contiguous keys."""
    keep = [a for a in tile.template_arguments if not a.label.startswith("keys_")]
    place = TemplateArgument(str(page), f"page{page}")
    arguments = (*keep[:5], place, *keep[5:])
    return instantiate("paged/paged.metal", "attend_pages", arguments)


def reduce_source(tile: FlashTile) -> KernelSource:
    """Return the text of the second phase."""
    msl_type = BY_NUMPY[tile.dtype].msl
    arguments = (TemplateArgument(msl_type, msl_type), TemplateArgument(str(tile.d), f"d{tile.d}"))
    return instantiate("paged/paged.metal", "reduce_partitions", arguments)


def check_cache(q: np.ndarray, cache: KeyCache) -> None:
    """Refuse a cache that does not belong to the queries.

    Args:
        q: [B, Hq, Nq, D].
        cache: keys and values.

    Raises:
        UnsupportedProblem: a rank, shape, type, page size, length or page number the kernel cannot
            read.
    """
    for label, tensor, rank in (
        ("q", q, 4),
        ("k", cache.k, 4),
        ("v", cache.v, 4),
        ("context_lens", cache.context_lens, 1),
        ("block_table", cache.block_table, 2),
    ):
        if label == "block_table" and tensor is None:
            continue
        if not isinstance(tensor, np.ndarray) or tensor.ndim != rank or 0 in tensor.shape:
            shape = getattr(tensor, "shape", type(tensor).__name__)
            raise UnsupportedProblem(
                f"[paged.launch] found {label} of shape {shape}, needs a numpy array of rank "
                f"{rank} with no empty dimension; pass one"
            )
        if isinstance(tensor, np.ma.MaskedArray):
            raise UnsupportedProblem(
                f"[paged.launch] found a masked array as {label}, whose mask no kernel sees, needs "
                f"a plain one; pass {label}.filled(value)"
            )
        if rank < 4 and tensor.dtype != np.int32:
            raise UnsupportedProblem(
                f"[paged.launch] found {label} of {name_of(tensor.dtype)}, needs int32; "
                f"pass {label}.astype(numpy.int32)"
            )
    k, v = cache.k, cache.v
    if not q.dtype == k.dtype == v.dtype or k.shape != v.shape or k.shape[3] != q.shape[3]:
        raise UnsupportedProblem(
            f"[paged.launch] found q {name_of(q.dtype)} {q.shape}, k {name_of(k.dtype)} {k.shape}, "
            f"v {name_of(v.dtype)} {v.shape}, needs one type, one D and equal k and v; convert or "
            "reshape"
        )
    dtype_name(q.dtype)
    check_head_dimension(q.shape[3])
    check_heads(q.shape[1], k.shape[1])
    check_tokens(max(q.shape[2], int(cache.context_lens.max())))
    tables = cache.context_lens if cache.block_table is None else cache.block_table
    if not q.shape[0] == len(cache.context_lens) == len(tables):
        raise UnsupportedProblem(
            f"[paged.launch] found {q.shape[0]} sequences in q, {len(cache.context_lens)} in "
            f"context_lens and {len(tables)} in block_table, needs one number; pass one row each"
        )
    if cache.block_table is None and k.shape[0] != q.shape[0]:
        raise UnsupportedProblem(
            f"[paged.launch] found k of {k.shape[0]} sequences, needs {q.shape[0]}; pass [B, Hkv, "
            "capacity, D]"
        )
    _check_lengths(cache)


def _check_lengths(cache: KeyCache) -> None:
    page = cache.page
    if cache.block_table is not None and page not in PAGE_SIZES:
        raise UnsupportedProblem(
            f"[paged.launch] found pages of {page} tokens, needs {PAGE_SIZES}; pass page=16"
        )
    room = cache.capacity * (page or 1)
    lengths = cache.context_lens
    if lengths.min() < 0 or lengths.max() > room:
        worst = lengths.min() if lengths.min() < 0 else lengths.max()
        raise UnsupportedProblem(
            f"[paged.launch] found a context of {worst} tokens, needs 0 to {room}; correct "
            "context_lens or pass a longer block_table"
        )
    if cache.block_table is None:
        return
    pages, hkv = cache.k.shape[:2]
    if pages * hkv * page >= 2**31:
        raise UnsupportedProblem(
            f"[paged.launch] found {pages * hkv * page} rows in all pages, needs fewer than 2^31; "
            "split the cache"
        )
    used = np.arange(cache.capacity)[None, :] * page < lengths[:, None]
    named = cache.block_table[used]
    if named.size and (named.min() < 0 or named.max() >= pages):
        worst = named.min() if named.min() < 0 else named.max()
        raise UnsupportedProblem(
            f"[paged.launch] found page {worst} in block_table, needs 0 to {pages - 1}; correct "
            "the entries below each context length"
        )


def launch_paged(
    q: np.ndarray,
    cache: KeyCache,
    output: np.ndarray,
    *,
    device: Device,
    partition: int = 512,
    scale: float | None = None,
    causal: bool = True,
    tile: FlashTile | tuple[int, int] | None = None,
) -> Timing:
    """Attend to a cache into memory of the caller and return the timing.

    Work that would hold the GPU for too long goes out in several dispatches, one after another.

    Args:
        q: [B, Hq, Nq, D], the last Nq tokens of each sequence.
        cache: keys and values, paged or contiguous.
        output: contiguous, writable, the type of q, at least B Hq Nq D elements; any beyond those
            are left alone.
        device: an open device.
        partition: keys of a partition, a multiple of the tile's Bc.
        scale: factor of the scores; D**-0.5 when None.
        causal: whether query i sees only keys j <= i + (context - Nq).
        tile: geometry, or its (Br, Bc); its keys are read in place.

    Returns:
        The Timing of both phases together, one submission unless the work is too long for one.

    Raises:
        UnsupportedProblem: as ``check_cache``; a partition, scale, tile or output that does not
            fit, or a partition too long for one dispatch.
    """
    check_cache(q, cache)
    b, hq, nq, d = q.shape
    hkv = cache.k.shape[1]
    if nq == 1:
        # One query a head sees every key, so the heads of a group may be the rows of one tile:
        # their keys are then read once, and the memory of q and output is the same.
        hq, nq, causal = hkv, hq // hkv, False
    tile = tile_for(tile, nq, d, q.dtype)
    if tile.keys != "lane":
        raise UnsupportedProblem(
            f"[paged.launch] found tile {tile.name}, needs keys='lane'; pass tile=None"
        )
    if not isinstance(partition, (int, np.integer)) or partition < 1 or partition % tile.bc:
        raise UnsupportedProblem(
            f"[paged.launch] found partition={partition!r}, needs a multiple of Bc={tile.bc}; "
            f"pass partition={8 * tile.bc}"
        )
    writable = output.flags.writeable and output.flags.c_contiguous
    if output.dtype != q.dtype or output.size < q.size or not writable:
        raise UnsupportedProblem(
            f"[paged.launch] found output {name_of(output.dtype)} of {output.size} elements, needs "
            f"{name_of(q.dtype)}, {q.size} or more, contiguous and writable; pass "
            "numpy.empty_like(q)"
        )
    lengths = cache.context_lens
    longest = max(1, int(lengths.max()))
    partition = min(int(partition), -(-longest // tile.bc) * tile.bc)
    partitions = -(-longest // partition)
    problem = FlashProblem(
        b, hq, hkv, nq, 0, d, tile.dtype, checked_scale(scale, d), Variant(causal=causal)
    )
    split = partitions > 1
    table = np.zeros((b, 1), np.int32) if cache.block_table is None else cache.block_table
    constants = {
        **problem.variant.constants,
        "aligned_queries": nq % tile.br == 0,
        "aligned_keys": bool((lengths % tile.bc == 0).all()),
        "split_keys": split,
    }
    extra = _EXTRA.pack(hkv, cache.capacity, partition, partitions)
    buffers = {
        0: as_input(q),
        1: as_input(cache.k),
        2: as_input(cache.v),
        3: output,
        5: as_input(table),
        6: as_input(lengths),
    }
    rows = b * hq * nq * partitions
    if split:
        buffers |= {7: device.buffer(rows * d * 4), 8: device.buffer(rows * 8)}
    attend = pipeline(device, attend_source(tile, cache.page), constants)
    todo = []
    for first, count, flops in slices(problem, tile, partitions, partition, lengths):
        dispatch = Dispatch(
            attend,
            threadgroups=(count, hq, b),
            threads=(tile.threads, 1, 1),
            buffers=buffers | {4: pack_params(problem, first) + extra},
        )
        todo.append((dispatch, flops))
    if split:
        reduce = Dispatch(
            pipeline(device, reduce_source(tile)),
            threadgroups=(nq, hq, b),
            threads=(32, 1, 1),
            buffers={0: buffers[7], 1: buffers[8], 2: output, 3: pack_params(problem) + extra},
        )
        todo.append((reduce, 2.0 * rows * d))
    return submit_in_turn(device, todo, flash.DISPATCH_FLOPS)


def slices(
    problem: FlashProblem, tile: FlashTile, partitions: int, partition: int, lengths: np.ndarray
) -> list[tuple[int, int, float]]:
    """Divide pairs of a query tile and a partition over dispatches that stay below a limit.

    Returns:
        First pair, number of pairs and cost of each dispatch, in FLOP.
    """
    longest = min(partition, int(lengths.max()))
    # Of one pair, for every head and sequence; rows that pad a tile cost as much as others. A few
    # rows are read for, not computed: at 100 GB/s a byte takes as long as 10 FLOP.
    each_key = max(4.0 * tile.br, 10.0 * 2 * tile.element_bytes)
    flops = problem.b * problem.hq * max(1, longest) * problem.d * each_key
    if flops > flash.DISPATCH_FLOPS:
        most = int(longest * flash.DISPATCH_FLOPS / flops) // tile.bc * tile.bc
        raise UnsupportedProblem(
            f"[paged.launch] found partition={partition}, too long for one dispatch of "
            f"{problem.b} sequences and {problem.hq} heads, needs at most {most}; pass a shorter "
            "one or fewer sequences"
        )
    count = -(-problem.nq // tile.br) * partitions
    each = int(flash.DISPATCH_FLOPS // flops)
    pieces = [(first, min(each, count - first)) for first in range(0, count, each)]
    return [(first, size, size * flops) for first, size in pieces]


def paged_attention(
    q: np.ndarray,
    k_pages: np.ndarray,
    v_pages: np.ndarray,
    block_table: np.ndarray,
    context_lens: np.ndarray,
    *,
    partition: int = 512,
    causal: bool = True,
    scale: float | None = None,
    tile: FlashTile | tuple[int, int] | None = None,
    device: Device | str | None = None,
) -> np.ndarray:
    """Compute attention over keys and values that lie in pages.

    The queries are the last Nq tokens of each sequence: one to decode, many to prefill. Every
    partition of the keys is attended to on its own, and the parts are joined by their log-sum-exp;
    a context within one partition gives the very bits of ``flash_attention`` with the same tile.
    Scores that are infinite, and NaN behind the mask, are as there.

    Args:
        q: [B, Hq, Nq, D], float16, float32 or ml_dtypes.bfloat16; D a multiple of 8 up to 512.
        k_pages: [P, Hkv, page, D], the type of q; page 8, 16, 32, 64 or 128. Pages may be shared
            between sequences, and unused slots may hold anything, NaN included.
        v_pages: the shape and type of k_pages.
        block_table: [B, max_pages] int32: token t of sequence b is slot t % page of page
            block_table[b, t // page]. Entries past the context are not read.
        context_lens: [B] int32, tokens of each sequence; 0 gives rows of 0.
        partition: keys of a partition, a multiple of the tile's Bc. Partial results take
            4 D + 8 bytes a query row, head and partition: many queries want a partition that
            holds the longest context, which takes none.
        causal: whether query i sees only keys j <= i + (context - Nq).
        scale: factor of the scores; D**-0.5 when None.
        tile: geometry, or its (Br, Bc); ``default_tile`` when None.
        device: an open device or the name of one; ``auto`` when None.

    Returns:
        [B, Hq, Nq, D], the type of q.

    Raises:
        UnsupportedProblem: a shape, type, page size, partition, context length or page number that
            the kernel cannot read.
        DeviceUnavailable: the device is not on this machine.

    Source:
        Kwon et al., "PagedAttention", SOSP 2023, section 4.1; Dao et al., "Flash-Decoding", 2023.

    Examples:
        >>> pages = np.ones((4, 2, 16, 64), np.float16)
        >>> table = np.array([[3, 1]], np.int32)
        >>> q = np.ones((1, 8, 1, 64), np.float16)
        >>> paged_attention(q, pages, pages, table, np.array([20], np.int32)).shape
        (1, 8, 1, 64)
    """
    q, k_pages, v_pages = as_arrays(q=q, k_pages=k_pages, v_pages=v_pages)
    block_table, context_lens = as_arrays(block_table=block_table, context_lens=context_lens)
    cache = KeyCache(k_pages, v_pages, context_lens, block_table)
    check_cache(q, cache)
    output = np.empty(q.shape, q.dtype)
    launch_paged(
        q,
        cache,
        output,
        device=opened(device),
        partition=partition,
        scale=scale,
        causal=causal,
        tile=tile,
    )
    return output
