"""The project's own kernels, each run once on small inputs by a device."""

from __future__ import annotations

from collections.abc import Callable

import attnproto
import ml_dtypes
import numpy as np
from attnproto.kernels import flash, gqa, linear, paged, rope, score_dispatch, score_mod
from attnproto.kernels.flash_variant import Rope, Variant


def normal(*shape: int, dtype: type = np.float32) -> np.ndarray:
    """Normal numbers, the same for every shape of one rank."""
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def _attention(device, dtype=np.float32, nq=37, nkv=70, d=64, **variant) -> np.ndarray:
    q, k, v = (normal(1, heads, n, d, dtype=dtype) for heads, n in ((2, nq), (1, nkv), (1, nkv)))
    out = np.empty_like(q)
    flash.launch(q, k, v, out, device=device, variant=Variant(**variant))
    return out


def _pages(device, nq) -> np.ndarray:
    k, v = normal(5, 1, 32, 64), normal(5, 1, 32, 64) + 1
    table = np.array([[3, 0, 4], [1, 2, 2]], np.int32)
    lengths = np.array([70, 41], np.int32)
    return paged.paged_attention(
        normal(2, 2, nq, 64), k, v, table, lengths, partition=64, device=device
    )


def _way(device, name) -> np.ndarray:
    q, k, v = normal(1, 2, 37, 40), normal(1, 1, 70, 40), normal(1, 1, 70, 40)
    ready = score_dispatch.prepare(
        device,
        flash.problem_of(q, k, v),
        flash.FlashTile(16, 32, 40, "float32"),
        name,
        score_dispatch.Modification(score_dispatch.MODIFICATIONS[1]),
    )
    return score_dispatch.run(device, ready, q, k, v)[0]


PROJECT_KERNELS: dict[str, Callable[[attnproto.Device], np.ndarray]] = {
    "flash-f32": _attention,
    "flash-f16-causal": lambda d: _attention(d, np.float16, causal=True),
    "flash-bf16": lambda d: _attention(d, ml_dtypes.bfloat16, nq=32, nkv=64),
    "flash-window-alibi": lambda d: _attention(d, causal=True, window=20, alibi=True),
    "flash-softcap-rope": lambda d: _attention(d, softcap=20.0, rope=Rope()),
    "flash-D40": lambda d: _attention(d, np.float16, d=40),
    "paged-decode": lambda d: _pages(d, 1),
    "paged-prefill": lambda d: _pages(d, 9),
    "linear": lambda d: linear.linear_attention(*(normal(1, 2, 100, 64),) * 3, device=d),
    "rope": lambda d: rope.apply_rope(normal(1, 2, 9, 64), Rope(), device=d),
    "gqa": lambda d: gqa.expand_heads(normal(1, 2, 9, 64), 6, device=d),
    "scores": lambda d: score_mod.shape_scores(
        normal(1, 2, 9, 33), Variant(causal=True, softcap=5.0), device=d
    ),
    **{f"way-{name}": lambda d, name=name: _way(d, name) for name in score_dispatch.WAYS},
}
