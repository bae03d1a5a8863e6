"""Caches for the paged prototype: the same tokens in scattered, shared pages and in one piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnproto.dtypes import BY_NAME
from attnproto.kernels.paged import KeyCache

# Tokens that neighbouring sequences share at most: whole pages of every page size.
_LARGEST_PAGE = 128
# Pages of the pool that no sequence names.
_SPARE = 3


@dataclass(frozen=True)
class Tokens:
    """Queries, and keys and values both paged and contiguous; unused slots hold NaN.

    ``shared`` counts the entries of the block table that name a page of another sequence.
    """

    q: np.ndarray
    paged: KeyCache
    contiguous: KeyCache
    shared: int


def context_lens(point: Mapping[str, Any]) -> np.ndarray:
    """Return each sequence's tokens: all Nkv, or falling from Nkv to none."""
    n, b = point["Nkv"], point["B"]
    if point["contexts"] == "equal":
        return np.full(b, n, np.int32)
    return np.array([n * (b - 1 - s) // (b - 1) for s in range(b)], np.int32)


def draw(point: Mapping[str, Any], seed: int = 0) -> Tokens:
    """Draw a point's tensors, the same for the same seed on every machine.

    Every second sequence starts with the tokens of the one before, in the same pages.

    Args:
        point: ``B, Hq, Hkv, Nq, Nkv, D, dtype, page, contexts``.
        seed: Of numpy's PCG64 stream.
    """
    stream = np.random.Generator(np.random.PCG64(seed))
    element = BY_NAME[point["dtype"]].dtype
    b, hkv, n, d, page = (point[name] for name in ("B", "Hkv", "Nkv", "D", "page"))
    lengths = context_lens(point)

    def normal(*shape: int) -> np.ndarray:
        return stream.standard_normal(shape, dtype=np.float32).astype(element)

    q, k, v = normal(b, point["Hq"], point["Nq"], d), normal(b, hkv, n, d), normal(b, hkv, n, d)
    each = -(-n // page)
    table = stream.permutation(b * each + _SPARE)[: b * each].reshape(b, each).astype(np.int32)
    shared = 0
    for s in range(1, b, 2):
        same = int(min(lengths[s - 1], lengths[s])) // 2 // _LARGEST_PAGE * _LARGEST_PAGE
        k[s, :, :same], v[s, :, :same] = k[s - 1, :, :same], v[s - 1, :, :same]
        table[s, : same // page] = table[s - 1, : same // page]
        shared += same // page
    pages = [np.full((b * each + _SPARE, hkv, page, d), np.nan, element) for _ in range(2)]
    for s, length in enumerate(lengths):
        for first in range(0, int(length), page):
            last = min(first + page, int(length))
            for pool, contiguous in zip(pages, (k, v), strict=True):
                pool[table[s, first // page], :, : last - first] = contiguous[s, :, first:last]
        table[s, -(-int(length) // page) :] = -1
        k[s, :, length:], v[s, :, length:] = np.nan, np.nan
    return Tokens(q, KeyCache(*pages, lengths, table), KeyCache(k, v, lengths), shared)
