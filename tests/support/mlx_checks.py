"""MLX's kernels as they were published, run and judged against FP64."""

from __future__ import annotations

import attnproto
import ml_dtypes
import numpy as np
from attnproto.kernels.flash_variant import Variant

from . import mlx
from .attention import attention_fp64

TYPES = {
    "float": (np.float32, 1e-5, 1e-4),
    "half": (np.float16, 5e-3, 1e-2),
    "bfloat": (ml_dtypes.bfloat16, 2e-2, 2e-2),
}
_ROWS, _COLUMNS = 3, 1000


def _normal(shape: tuple[int, ...], dtype: type, seed: int) -> np.ndarray:
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_within_tolerance(actual: np.ndarray, wanted: np.ndarray, name: str) -> None:
    """By the type of the name, as MSL spells it."""
    _, atol, rtol = TYPES[name]
    np.testing.assert_allclose(actual.astype(np.float64), wanted, atol=atol, rtol=rtol)


def check_steel_attention(
    device: attnproto.Device, name: str, d: int, nq: int, nkv: int, causal: bool
) -> None:
    """steel_attention, 4 heads on 2."""
    dtype = TYPES[name][0]
    q = _normal((2, 4, nq, d), dtype, 1)
    k, v = (_normal((2, 2, nkv, d), dtype, seed) for seed in (2, 3))
    out = np.full(q.shape, np.nan, dtype)
    kernel = mlx.SteelAttention(name, d)
    device.submit([kernel.dispatch(device, (q, k, v, out), causal=causal)])
    assert_within_tolerance(out, attention_fp64(q, k, v, Variant(causal=causal)), name)


def check_sdpa_vector(device: attnproto.Device, name: str, d: int, causal: bool) -> None:
    """sdpa_vector, which decodes: 3 queries of 101 keys."""
    dtype = TYPES[name][0]
    text = mlx.flattened("utils.h", "sdpa_vector.h")
    library = device.library(mlx.instantiated(text, vector=f"sdpa_vector<{name}, {d}, {d}>"))
    pipeline = library.pipeline(
        "vector", {20: False, 21: False, 22: causal, 23: False, 24: False, 25: False, 26: 1}
    )
    heads, kv_heads, rows, keys = 4, 2, 3, 101
    q = _normal((1, heads, rows, d), dtype, 1)
    k, v = (_normal((1, kv_heads, keys, d), dtype, seed) for seed in (2, 3))
    out = np.full(q.shape, np.nan, dtype)
    stride = np.uint64(keys * d)
    device.run(
        pipeline,
        threadgroups=(heads, rows, 1),
        threads=(1024, 1, 1),
        buffers={
            0: q, 1: k, 2: v, 3: out, 4: np.int32(heads // kv_heads), 5: np.int32(keys),
            6: stride, 7: np.uint64(d), 8: stride, 9: np.uint64(d), 10: np.float32(d**-0.5),
        },
    )  # fmt: skip
    assert_within_tolerance(out, attention_fp64(q, k, v, Variant(causal=causal)), name)


def _launch_rows(device: attnproto.Device, file: str, kernel: str, x, y) -> None:
    """A threadgroup a row of x."""
    library = device.library(mlx.instantiated(mlx.flattened("utils.h", file), rows=kernel))
    device.run(
        library.pipeline("rows"),
        threadgroups=_ROWS,
        threads=256,
        buffers={0: x, 1: y, 2: np.int32(_COLUMNS)},
    )


def check_softmax(device: attnproto.Device, name: str) -> None:
    """softmax_single_row."""
    x = _normal((_ROWS, _COLUMNS), TYPES[name][0], 4)
    y = np.full_like(x, np.nan)
    _launch_rows(device, "softmax.h", f"softmax_single_row<{name}, float>", x, y)
    wide = np.exp(x.astype(np.float64))
    assert_within_tolerance(y, wide / wide.sum(-1, keepdims=True), name)


def check_logsumexp(device: attnproto.Device, name: str) -> None:
    """logsumexp."""
    x = _normal((_ROWS, _COLUMNS), TYPES[name][0], 5)
    y = np.full(_ROWS, np.nan, x.dtype)
    _launch_rows(device, "logsumexp.h", f"logsumexp<{name}>", x, y)
    assert_within_tolerance(y, np.log(np.exp(x.astype(np.float64)).sum(-1)), name)


def check_gemv(device: attnproto.Device, name: str, bn: int) -> None:
    """gemv, whose simdgroups share a row where ``bn`` is above 1."""
    dtype = TYPES[name][0]
    bm = 8 // bn
    text = mlx.flattened("gemv.h")
    call = f"gemv<{name}, {bm}, {bn}, 1, 32, 4, 4, false, false>"
    pipeline = device.library(mlx.instantiated(text, product=call)).pipeline("product")
    rows, columns = 77, 517
    matrix, vector = _normal((rows, columns), dtype, 6), _normal((columns,), dtype, 7)
    out = np.full(rows, np.nan, dtype)
    zero, none = np.zeros(1, np.int64), np.zeros(1, dtype)
    device.run(
        pipeline,
        threadgroups=(-(-rows // (bm * 4)), 1, 1),
        threads=(32, bn, bm),
        buffers={
            0: matrix, 1: vector, 2: none, 3: out, 4: np.int32(columns), 5: np.int32(rows),
            6: np.int32(columns), 7: np.float32(1), 8: np.float32(0), 9: np.int32(1),
            10: np.ones(1, np.int32), 11: zero, 12: zero, 13: zero, 14: np.int32(1),
        },
    )  # fmt: skip
    wanted = matrix.astype(np.float64) @ vector.astype(np.float64)
    # Sums of 517 products of unit variance: the tolerance is on their scale, 23.
    _, atol, rtol = TYPES[name]
    np.testing.assert_allclose(out.astype(np.float64), wanted, atol=23 * atol, rtol=rtol)
