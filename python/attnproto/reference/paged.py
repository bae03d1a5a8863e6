"""Attention over keys and values that lie in pages, in FP64."""

from __future__ import annotations

import numpy as np

from attnproto.errors import UnsupportedProblem

from .softmax import softmax_attention


def gather_pages(pages: np.ndarray, table: np.ndarray, length: int) -> np.ndarray:
    """Copy one sequence out of its pages.

    Args:
        pages: ``[P, Hkv, page, D]``.
        table: ``[max_pages]`` int32, the pages of this sequence in order.
        length: Tokens in the sequence; slots after it are never looked at.

    Returns:
        ``[Hkv, length, D]`` in the dtype of ``pages``.

    Raises:
        UnsupportedProblem: A negative or too long length, or a page out of range.
    """
    page = pages.shape[2]
    needed = -(-length // page)
    if length < 0 or needed > len(table):
        raise UnsupportedProblem(
            f"[reference.paged] found a context of {length} tokens and {len(table)} pages of "
            f"{page}, needs 0 to {len(table) * page} tokens; lengthen the block table"
        )
    used = np.asarray(table[:needed])
    if used.size and (used.min() < 0 or used.max() >= len(pages)):
        raise UnsupportedProblem(
            f"[reference.paged] found page {int(used.max(initial=used.min()))} in the block "
            f"table, needs 0 to {len(pages) - 1}; correct the table"
        )
    if not needed:
        return np.zeros((pages.shape[1], 0, pages.shape[3]), dtype=pages.dtype)
    return np.concatenate([pages[i] for i in used], axis=1)[:, :length]


def paged_attention(
    q: np.ndarray,
    k_pages: np.ndarray,
    v_pages: np.ndarray,
    block_table: np.ndarray,
    context_lens: np.ndarray,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> np.ndarray:
    """Compute softmax attention where each sequence's K and V are scattered over pages.

    Args:
        q: ``[B, Hq, Nq, D]``.
        k_pages: ``[P, Hkv, page, D]``.
        v_pages: ``[P, Hkv, page, D]``.
        block_table: ``[B, max_pages]`` int32.
        context_lens: ``[B]`` int32, tokens of each sequence; 0 gives zeros.
        causal: As in ``softmax_attention``, the last query being the newest token.
        scale: ``D**-0.5`` when None.

    Returns:
        ``[B, Hq, Nq, D]`` FP64.

    Raises:
        UnsupportedProblem: A page out of range or a length that the table cannot hold.

    Source: Kwon et al., PagedAttention, arXiv 2309.06180, section 4.1.
    """
    out = np.zeros(q.shape, dtype=np.float64)
    for b in range(q.shape[0]):
        length = int(context_lens[b])
        k = gather_pages(k_pages, block_table[b], length)
        v = gather_pages(v_pages, block_table[b], length)
        if length:
            out[b] = softmax_attention(q[b : b + 1], k[None], v[None], causal=causal, scale=scale)[
                0
            ]
    return out
