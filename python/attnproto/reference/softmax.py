"""Softmax attention in FP64, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from attnproto.errors import UnsupportedProblem

# Scores held at once: 2^21 FP64 values are 16 MiB, so N = 8192 never needs N x N.
_SCORES_AT_ONCE = 1 << 21

ScoreMod = Callable[[np.ndarray, int, np.ndarray, np.ndarray], np.ndarray]


def softmax_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    causal: bool = False,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    score_mod: ScoreMod | None = None,
    return_lse: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Compute ``O = softmax(scale * Q K^T + bias) V`` in FP64.

    Query ``i`` stands at position ``i + (Nkv - Nq)``, so the last query sees the last key.

    Args:
        q: ``[B, Hq, Nq, D]``, any float dtype.
        k: ``[B, Hkv, Nkv, D]``; query head ``h`` reads key head ``h // (Hq / Hkv)``.
        v: ``[B, Hkv, Nkv, Dv]``.
        causal: A query sees keys at or before its own position.
        scale: Of the scores; ``D**-0.5`` when None.
        window: A query sees only the ``window`` newest keys up to its position.
        softcap: Scores ``s`` become ``softcap * tanh(s / softcap)`` before the mask.
        score_mod: ``f(scores [rows, Nkv], head, query_positions, key_positions)`` added
            after scaling, such as a bias of the position.
        return_lse: Also return ``log(sum(exp(scores)))``.

    Returns:
        O ``[B, Hq, Nq, Dv]`` FP64 and, when asked, the log-sum-exp ``[B, Hq, Nq]``. A query
        that sees no key gets O = 0 and log-sum-exp = -inf.

    Raises:
        UnsupportedProblem: Shapes that do not belong together.

    Source: Dao et al., FlashAttention-2, arXiv 2307.08691, section 2.1; the convention for
    the mask is that of its released kernels from version 2.1.
    """
    _check(q, k, v)
    B, Hq, Nq, D = q.shape
    Hkv, Nkv = k.shape[1], k.shape[2]
    scale = D**-0.5 if scale is None else float(scale)
    out = np.zeros((B, Hq, Nq, v.shape[3]), dtype=np.float64)
    lse = np.full((B, Hq, Nq), -np.inf)
    key_positions = np.arange(Nkv)
    rows = max(1, _SCORES_AT_ONCE // max(1, Nkv))
    for b in range(B):
        for h in range(Hq):
            keys = k[b, h * Hkv // Hq].astype(np.float64)
            values = v[b, h * Hkv // Hq].astype(np.float64)
            for first in range(0, Nq, rows):
                last = min(first + rows, Nq)
                positions = np.arange(first, last) + (Nkv - Nq)
                scores = (q[b, h, first:last].astype(np.float64) @ keys.T) * scale
                if softcap is not None:
                    scores = softcap * np.tanh(scores / softcap)
                if score_mod is not None:
                    scores = score_mod(scores, h, positions, key_positions)
                hidden = _hidden(positions, key_positions, causal, window)
                if hidden is not None:
                    scores[hidden] = -np.inf
                out[b, h, first:last], lse[b, h, first:last] = _softmax_times(scores, values)
    return (out, lse) if return_lse else out


def _hidden(
    query: np.ndarray, key: np.ndarray, causal: bool, window: int | None
) -> np.ndarray | None:
    if not causal and window is None:
        return None
    distance = query[:, None] - key[None, :]
    hidden = np.zeros(distance.shape, dtype=bool)
    if causal:
        hidden |= distance < 0
    if window is not None:
        hidden |= distance >= window
    return hidden


def _softmax_times(scores: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    top = scores.max(axis=1, keepdims=True)
    blind = np.isneginf(top)
    weights = np.exp(scores - np.where(blind, 0.0, top))
    total = weights.sum(axis=1, keepdims=True)
    # A blind row has total 0; dividing by 1 leaves its defined result, 0.
    out = (weights @ values) / np.where(blind, 1.0, total)
    with np.errstate(divide="ignore"):
        lse = np.where(blind, -np.inf, np.where(blind, 0.0, top) + np.log(total))
    return out, lse[:, 0]


def _check(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> None:
    where = "[reference.softmax_attention]"
    if q.ndim != 4 or k.ndim != 4 or v.ndim != 4:
        raise UnsupportedProblem(
            f"{where} found {q.ndim}, {k.ndim} and {v.ndim} dimensions for q, k and v, needs 4 "
            "each; pass [B, H, N, D]"
        )
    if q.shape[0] != k.shape[0] or k.shape[:3] != v.shape[:3] or q.shape[3] != k.shape[3]:
        raise UnsupportedProblem(
            f"{where} found shapes {q.shape}, {k.shape} and {v.shape}, needs one B, one D and "
            "as many values as keys; pass q [B, Hq, Nq, D], k and v [B, Hkv, Nkv, D]"
        )
    if q.shape[1] % k.shape[1]:
        raise UnsupportedProblem(
            f"{where} found Hq={q.shape[1]} and Hkv={k.shape[1]}, needs Hq a multiple of Hkv; "
            "pass key heads that divide the query heads"
        )
