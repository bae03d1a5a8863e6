"""Kernels that others published run unmodified and agree with FP64.

The texts are MLX's (tests/third_party/mlx.py fetches them); only the explicit
instantiations at the end of each are written here.
"""

from __future__ import annotations

import os

import attnproto
import ml_dtypes
import numpy as np
import pytest
from third_party import mlx

TYPES = {
    "float": (np.float32, 1e-5, 1e-4),
    "half": (np.float16, 5e-3, 1e-2),
    "bfloat": (ml_dtypes.bfloat16, 2e-2, 2e-2),
}


@pytest.fixture(scope="module")
def device():
    try:
        mlx.wheel()
    except mlx.FetchError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"MLX's kernels could not be fetched: {error}")
    # The front end is what is tested here; ATTNPROTO_DEVICE chooses another that has it.
    return attnproto.open_device(os.environ.get("ATTNPROTO_DEVICE", "cpu"))


def normal(shape: tuple[int, ...], dtype: type, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def attention(q, k, v, scale: float, causal: bool) -> np.ndarray:
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(x, group, axis=1) for x in (k, v))
    scores = np.einsum("bhqd,bhkd->bhqk", q, k) * scale
    if causal:
        rows, columns = scores.shape[-2:]
        seen = np.arange(columns)[None] <= np.arange(rows)[:, None] + columns - rows
        scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def close(found: np.ndarray, wanted: np.ndarray, name: str) -> None:
    _, atol, rtol = TYPES[name]
    np.testing.assert_allclose(found.astype(np.float64), wanted, atol=atol, rtol=rtol)


STEEL = [
    (name, d, nq, nkv, causal)
    for name in TYPES
    for d in (64, 128)
    for nq, nkv, causal in ((64, 96, False), (100, 131, False), (77, 77, True), (1, 63, False))
]


@pytest.mark.parametrize(
    ("name", "d", "nq", "nkv", "causal"),
    STEEL,
    ids=[f"{n}-D{d}-Nq{nq}-Nkv{nkv}-causal{int(c)}" for n, d, nq, nkv, c in STEEL],
)
def test_steel_attention_agrees_with_fp64(device, name, d, nq, nkv, causal):
    dtype = TYPES[name][0]
    q = normal((2, 4, nq, d), dtype, 1)
    k, v = (normal((2, 2, nkv, d), dtype, seed) for seed in (2, 3))
    out = np.full(q.shape, np.nan, dtype)
    kernel = mlx.SteelAttention(name, d)
    device.submit([kernel.dispatch(device, (q, k, v, out), causal=causal)])
    close(out, attention(q, k, v, d**-0.5, causal), name)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("d", [64, 128])
@pytest.mark.parametrize("causal", [False, True])
def test_sdpa_vector_agrees_with_fp64(device, name, d, causal):
    dtype = TYPES[name][0]
    text = mlx.flattened("utils.h", "sdpa_vector.h")
    library = device.library(mlx.instantiated(text, vector=f"sdpa_vector<{name}, {d}, {d}>"))
    pipeline = library.pipeline(
        "vector", {20: False, 21: False, 22: causal, 23: False, 24: False, 25: False, 26: 1}
    )
    heads, kv_heads, rows, keys = 4, 2, 3, 101
    q = normal((1, heads, rows, d), dtype, 1)
    k, v = (normal((1, kv_heads, keys, d), dtype, seed) for seed in (2, 3))
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
    close(out, attention(q, k, v, d**-0.5, causal), name)


ROWS, COLUMNS = 3, 1000


@pytest.mark.parametrize("name", TYPES)
def test_softmax_agrees_with_fp64(device, name):
    dtype = TYPES[name][0]
    text = mlx.flattened("utils.h", "softmax.h")
    library = device.library(mlx.instantiated(text, rows=f"softmax_single_row<{name}, float>"))
    x = normal((ROWS, COLUMNS), dtype, 4)
    y = np.full_like(x, np.nan)
    device.run(
        library.pipeline("rows"),
        threadgroups=ROWS,
        threads=256,
        buffers={0: x, 1: y, 2: np.int32(COLUMNS)},
    )
    wide = np.exp(x.astype(np.float64))
    close(y, wide / wide.sum(-1, keepdims=True), name)


@pytest.mark.parametrize("name", TYPES)
def test_logsumexp_agrees_with_fp64(device, name):
    dtype = TYPES[name][0]
    text = mlx.flattened("utils.h", "logsumexp.h")
    library = device.library(mlx.instantiated(text, rows=f"logsumexp<{name}>"))
    x = normal((ROWS, COLUMNS), dtype, 5)
    y = np.full(ROWS, np.nan, dtype)
    device.run(
        library.pipeline("rows"),
        threadgroups=ROWS,
        threads=256,
        buffers={0: x, 1: y, 2: np.int32(COLUMNS)},
    )
    close(y, np.log(np.exp(x.astype(np.float64)).sum(-1)), name)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("bn", [1, 4], ids=lambda bn: f"BN{bn}")
def test_gemv_agrees_with_fp64(device, name, bn):
    if bn > 1 and os.environ.get("ATTNPROTO_VALIDATE"):
        # A barrier of it stands where not every thread comes by; test_validation.py shows that.
        device = attnproto.open_device("cpu", validate=False)
    gemv(device, name, bn)


def gemv(device, name, bn):
    dtype = TYPES[name][0]
    bm = 8 // bn
    text = mlx.flattened("gemv.h")
    call = f"gemv<{name}, {bm}, {bn}, 1, 32, 4, 4, false, false>"
    pipeline = device.library(mlx.instantiated(text, product=call)).pipeline("product")
    rows, columns = 77, 517
    matrix, vector = normal((rows, columns), dtype, 6), normal((columns,), dtype, 7)
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
