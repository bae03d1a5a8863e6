"""Causal linear attention in FP64: by chunks, and token by token as its own check."""

from __future__ import annotations

import numpy as np

from attnproto.errors import UnsupportedProblem


def _decays(decay: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """Broadcast log-decay to ``[B, H, N, D]``; per head and token, or per key dimension."""
    if decay is None:
        return np.zeros(shape)
    decay = np.asarray(decay, dtype=np.float64)
    if decay.ndim == 1:
        decay = decay[None, :, None, None]
    elif decay.ndim == 3:
        decay = decay[..., None]
    try:
        return np.broadcast_to(decay, shape)
    except ValueError as error:
        raise UnsupportedProblem(
            f"[reference.linear_attention] found decay of shape {decay.shape}, needs [H], "
            "[B, H, N] or [B, H, N, D]; reshape it"
        ) from error


def linear_attention_recurrent(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    scale: float | None = None,
    decay: np.ndarray | None = None,
    normalize: bool = False,
    initial_state: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute ``S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T; o_t = scale q_t S_t`` token by token.

    With ``normalize`` each output is divided by ``scale q_t . z_t``, where ``z_t`` sums the
    keys under the same decay.

    Args:
        q: ``[B, H, N, D]``.
        k: ``[B, H, N, D]``.
        v: ``[B, H, N, Dv]``.
        scale: ``D**-0.5`` when None.
        decay: Log of the factor, ``[H]``, ``[B, H, N]`` or ``[B, H, N, D]``; none when None.
        normalize: Divide by the summed weights.
        initial_state: ``[B, H, D, Dv]``; zeros when None.

    Returns:
        O ``[B, H, N, Dv]`` and the final state ``[B, H, D, Dv]``, FP64.

    Source: Katharopoulos et al., Transformers are RNNs, arXiv 2006.16236, section 3.3; with
    decay: Yang et al., Gated Linear Attention, arXiv 2312.06635, equation 3.
    """
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    B, H, N, D = q.shape
    scale = D**-0.5 if scale is None else scale
    keep = np.exp(_decays(decay, q.shape))
    state = np.zeros((B, H, D, v.shape[3]))
    if initial_state is not None:
        state = initial_state.astype(np.float64).copy()
    total = np.zeros((B, H, D))
    out = np.zeros((B, H, N, v.shape[3]))
    for t in range(N):
        state = keep[:, :, t, :, None] * state + k[:, :, t, :, None] * v[:, :, t, None, :]
        out[:, :, t] = scale * np.einsum("bhd,bhde->bhe", q[:, :, t], state)
        if normalize:
            total = keep[:, :, t] * total + k[:, :, t]
            weight = scale * np.einsum("bhd,bhd->bh", q[:, :, t], total)
            out[:, :, t] /= weight[..., None]
    return out, state


def linear_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    chunk: int = 64,
    scale: float | None = None,
    decay: np.ndarray | None = None,
    normalize: bool = False,
    initial_state: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute what ``linear_attention_recurrent`` does, a chunk of tokens at a time.

    Each chunk adds the state before it, carried, to its own causal part; no token sees a
    later one. Cost grows as ``N * chunk``, not ``N**2``.

    Args:
        q: ``[B, H, N, D]``.
        k: ``[B, H, N, D]``.
        v: ``[B, H, N, Dv]``.
        chunk: Tokens at a time; need not divide N.
        scale: ``D**-0.5`` when None.
        decay: As in ``linear_attention_recurrent``.
        normalize: Divide by the summed weights.
        initial_state: ``[B, H, D, Dv]``; zeros when None.

    Returns:
        O ``[B, H, N, Dv]`` and the final state ``[B, H, D, Dv]``, FP64.

    Raises:
        UnsupportedProblem: A chunk below 1.

    Source: Yang et al., arXiv 2312.06635, section 4.2 (the chunkwise form).
    """
    if chunk < 1:
        raise UnsupportedProblem(
            f"[reference.linear_attention] found chunk={chunk}, needs at least 1; pass chunk=64"
        )
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    B, H, N, D = q.shape
    scale = D**-0.5 if scale is None else scale
    log_keep = _decays(decay, q.shape)
    # A column of ones rides along with v, so that its sums are the normaliser's.
    values = np.concatenate([v, np.ones((B, H, N, 1))], axis=-1)
    state = np.zeros((B, H, D, values.shape[3]))
    if initial_state is not None:
        state[..., :-1] = initial_state
    out = np.zeros((B, H, N, v.shape[3]))
    for first in range(0, N, chunk):
        part = slice(first, min(first + chunk, N))
        kept = np.cumsum(log_keep[:, :, part], axis=2)  # [B, H, C, D]
        # exp(kept_i - kept_j) for j <= i only: formed as a difference it cannot overflow.
        gap = kept[:, :, :, None] - kept[:, :, None]
        causal = np.tri(gap.shape[2], dtype=bool)[:, :, None]
        weight = np.exp(np.where(causal, gap, -np.inf))
        scores = np.einsum("bhid,bhjd,bhijd->bhij", q[:, :, part], k[:, :, part], weight)
        both = np.einsum("bhij,bhje->bhie", scores, values[:, :, part])
        both += np.einsum("bhid,bhde->bhie", q[:, :, part] * np.exp(kept), state)
        both *= scale
        out[:, :, part] = both[..., :-1] / both[..., -1:] if normalize else both[..., :-1]
        left = np.exp(kept[:, :, -1:] - kept)
        added = np.einsum("bhjd,bhje->bhde", k[:, :, part] * left, values[:, :, part])
        state = np.exp(kept[:, :, -1])[..., None] * state + added
    return out, state[..., :-1]
