"""Positions: rotary embedding and linear biases, in FP64."""

from __future__ import annotations

import numpy as np

from attnproto.errors import UnsupportedProblem


def rope(
    x: np.ndarray,
    *,
    theta: float = 10000.0,
    offset: int = 0,
    interleaved: bool = True,
    dimensions: int | None = None,
) -> np.ndarray:
    """Rotate pairs of coordinates by an angle that grows with the position.

    Pair ``i`` of position ``p`` turns by ``(p + offset) * theta**(-2 i / dimensions)``.

    Args:
        x: ``[..., N, D]``, any float dtype.
        theta: Base of the frequencies.
        offset: Position of the first row.
        interleaved: Pairs are ``(2i, 2i+1)``; otherwise ``(i, i + dimensions / 2)``.
        dimensions: How many leading coordinates turn; all D when None.

    Returns:
        FP64 array of x's shape.

    Raises:
        UnsupportedProblem: An odd number of rotated coordinates, or more than D.

    Source: Su et al., RoFormer, arXiv 2104.09864, equation 34; the half-split pairing is
    that of GPT-NeoX.
    """
    D = x.shape[-1]
    turned = D if dimensions is None else dimensions
    if turned % 2 or not 0 < turned <= D:
        raise UnsupportedProblem(
            f"[reference.rope] found {turned} rotated coordinates of {D}, needs an even number "
            f"up to {D}; pass dimensions={D - D % 2}"
        )
    x = x.astype(np.float64)
    half = turned // 2
    frequency = float(theta) ** (-2.0 * np.arange(half) / turned)
    angle = (np.arange(x.shape[-2]) + offset)[:, None] * frequency[None, :]  # [N, turned / 2]
    cos, sin = np.cos(angle), np.sin(angle)
    if interleaved:
        first, second = slice(0, turned, 2), slice(1, turned, 2)
    else:
        first, second = slice(0, half), slice(half, turned)
    out = x.copy()
    out[..., first] = x[..., first] * cos - x[..., second] * sin
    out[..., second] = x[..., first] * sin + x[..., second] * cos
    return out


def alibi_slopes(heads: int) -> np.ndarray:
    """Return the slope of each head, ``2**(-8 (h + 1) / heads)`` for a power of two.

    Other head counts take the slopes of the next lower power of two, then every second
    slope of the next higher one, as the paper's released code does.

    Args:
        heads: Query heads, at least 1.

    Returns:
        FP64 ``[heads]``, positive.

    Source: Press et al., Train Short, Test Long, arXiv 2108.12409, section 3.
    """
    if heads < 1:
        raise UnsupportedProblem(
            f"[reference.alibi_slopes] found {heads} heads, needs at least 1; pass heads=1"
        )
    power = 1 << (heads.bit_length() - 1)
    slopes = 2.0 ** (-8.0 * np.arange(1, power + 1) / power)
    if power == heads:
        return slopes
    finer = 2.0 ** (-8.0 * np.arange(1, 2 * power + 1) / (2 * power))
    return np.concatenate([slopes, finer[0::2][: heads - power]])


def alibi_bias(slopes: np.ndarray):
    """Make a score_mod that adds ``-slope[h] * |query position - key position|``.

    Args:
        slopes: ``[Hq]``.

    Returns:
        A function for ``softmax_attention(score_mod=...)``.
    """

    def add(scores: np.ndarray, head: int, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        return scores - slopes[head] * np.abs(query[:, None] - key[None, :])

    return add
