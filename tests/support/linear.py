"""Linear attention as a recurrence in FP64, its inputs, and the checks that others run too."""

from __future__ import annotations

import attnproto
import numpy as np
from attnproto.kernels.linear import linear_attention

from . import attention

# The specification's tolerance for FP32. For half and bfloat16 only the inputs and the output are
# rounded: by 2^-11 and 2^-9 of themselves.
TOLERANCE = {"float32": (1e-4, 1e-3), "float16": (1e-3, 2e-3), "bfloat16": (4e-3, 8e-3)}


def recurrence_fp64(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    decay: np.ndarray | None = None,
    normalize: bool = False,
    initial_state: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The recurrence itself, one token after another: output [B, H, N, D], state [B, H, D, D].

    Args:
        q, k, v: [B, H, N, D].
        decay: logarithms [H], [B, H, N] or [B, H, N, D].
        normalize: divide by the sum of weights in place of the square root of D.
        initial_state: [B, H, D, D].
    """
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    b, h, n, d = q.shape
    decay = np.zeros(1) if decay is None else decay.astype(np.float64)
    decay = decay[None, :, None] if decay.ndim == 1 else decay
    factor = np.exp(np.broadcast_to(decay[..., None] if decay.ndim == 3 else decay, q.shape))
    state = np.zeros((b, h, d, d)) if initial_state is None else initial_state.astype(np.float64)
    total, output = np.zeros((b, h, d)), np.zeros(q.shape)
    for t in range(n):
        key = k[:, :, t]
        state = factor[:, :, t, :, None] * state + key[..., None] * v[:, :, t, None, :]
        total = factor[:, :, t] * total + key
        output[:, :, t] = np.einsum("bhd,bhde->bhe", q[:, :, t], state) * d**-0.5
        if normalize:
            output[:, :, t] *= d**0.5 / np.sum(q[:, :, t] * total, axis=-1, keepdims=True)
    return output, state


def random_inputs(
    n: int,
    d: int = 64,
    *,
    b: int = 2,
    h: int = 2,
    dtype: type = np.float32,
    decay: str = "none",
    positive: bool = False,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """q, k and v [B, H, N, D], and logarithms of decay per "head", "token", "key" or "none"."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal((b, h, n, d)) for _ in range(3))
    if positive:
        q, k = np.abs(q), np.abs(k)
    shape = {"none": None, "head": (h,), "token": (b, h, n), "key": (b, h, n, d)}[decay]
    logs = None if shape is None else -rng.exponential(0.3, shape)
    return q.astype(dtype), k.astype(dtype), v.astype(dtype), logs


def assert_within_tolerance(actual: np.ndarray, expected: np.ndarray) -> None:
    """By found's type, with linear attention's tolerances."""
    attention.assert_within_tolerance(actual, expected, TOLERANCE)


def check_linear(
    device: attnproto.Device,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    decay: np.ndarray | None,
    **options,
) -> None:
    """Output and last state agree with the recurrence."""
    output, state = linear_attention(
        q, k, v, decay=decay, return_state=True, device=device, **options
    )
    options.pop("chunk", None)
    expected, final = recurrence_fp64(q, k, v, decay=decay, **options)
    assert_within_tolerance(output, expected)
    assert_within_tolerance(state, final)


def check_decay_that_forgets_at_once(device: attnproto.Device, decay: str) -> None:
    """Decay per "token" or "key" of e^-60 stays finite and right."""
    # Factors of e^-60 a token: 2^-80 apart, and 2^-2700 across a chunk.
    q, k, v, logs = random_inputs(70, decay=decay)
    logs = np.full_like(logs, -60.0)
    check_linear(device, q, k, v, logs, chunk=32)
