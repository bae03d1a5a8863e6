"""Sequences of tokens for paged attention, and the check of their last partition."""

from __future__ import annotations

from collections.abc import Sequence

import attnproto
import numpy as np
from attnproto.kernels.flash_variant import Variant
from attnproto.kernels.paged import KeyCache, launch_paged

from .attention import assert_within_tolerance, attention_fp64


def paged_attention_fp64(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, context: int, *, causal: bool = True
) -> np.ndarray:
    """Attention of one sequence's last tokens q [Hq, Nq, D] over its first ``context`` keys."""
    return attention_fp64(q, k[:, :context], v[:, :context], Variant(causal=causal))


class Sequences:
    """Tokens of several sequences, contiguous and in scattered pages whose unused slots are NaN.

    Args:
        contexts: keys of each sequence.
        nq: query tokens of each, its last ones.
        page: tokens of a page.
        d: head dimension.
        hq, hkv: heads of queries, and of keys and values.
    """

    def __init__(
        self,
        contexts: Sequence[int],
        *,
        nq: int = 1,
        page: int = 16,
        d: int = 64,
        hq: int = 2,
        hkv: int = 1,
        dtype: type = np.float32,
        seed: int = 0,
    ):
        rng = np.random.default_rng(seed)
        b, capacity = len(contexts), max(1, max(contexts))
        self.contexts = np.array(contexts, np.int32)
        self.q = rng.standard_normal((b, hq, nq, d)).astype(dtype)
        self.k = rng.standard_normal((b, hkv, capacity, d)).astype(dtype)
        self.v = rng.standard_normal((b, hkv, capacity, d)).astype(dtype)
        each = -(-capacity // page)
        self.table = rng.permutation(b * each + 3)[: b * each].reshape(b, each).astype(np.int32)
        self.k_pages = np.full((b * each + 3, hkv, page, d), np.nan, dtype)
        self.v_pages = self.k_pages.copy()
        for s, context in enumerate(contexts):
            for first in range(0, context, page):
                slots = slice(first, min(first + page, context))
                to = (self.table[s, first // page], slice(None), slice(0, slots.stop - first))
                self.k_pages[to], self.v_pages[to] = self.k[s, :, slots], self.v[s, :, slots]
            self.table[s, -(-context // page) :] = -1

    def paged(self, device: attnproto.Device, **options) -> np.ndarray:
        """Attention [B, Hq, Nq, D] by the pages."""
        cache = KeyCache(self.k_pages, self.v_pages, self.contexts, self.table)
        return self.launched(device, cache, **options)

    def contiguous(self, device: attnproto.Device, **options) -> np.ndarray:
        """Attention [B, Hq, Nq, D] by the contiguous twin."""
        return self.launched(device, KeyCache(self.k, self.v, self.contexts), **options)

    def launched(self, device: attnproto.Device, cache: KeyCache, **options) -> np.ndarray:
        """Attention over a cache; nothing after the output may be written."""
        field = np.full(self.q.size + 512, np.nan, self.q.dtype)
        launch_paged(self.q, cache, field, device=device, **options)
        assert np.isnan(field[self.q.size :]).all(), "written outside the output"
        return field[: self.q.size].reshape(self.q.shape)

    def check(self, output: np.ndarray, *, causal: bool = True) -> None:
        """What was found agrees with FP64, sequence by sequence."""
        for s, context in enumerate(self.contexts):
            expected = paged_attention_fp64(self.q[s], self.k[s], self.v[s], context, causal=causal)
            assert_within_tolerance(output[s], expected)


def check_largest_score_in_the_last_partition(device: attnproto.Device) -> None:
    """The largest score may lie in the last of 33 partitions."""
    # 200 above the others: taken for no maximum, its exponential is infinite.
    sequences = Sequences([64 * 33 - 7])
    sequences.q[...], sequences.k[..., 0] = 0.0, 0.0
    sequences.q[..., 0], sequences.k[..., -1, 0] = 16.0, 100.0
    sequences.check(sequences.contiguous(device, partition=64))
