"""Flash, paged and linear attention against FP64 over random problems.

A short setting runs with the suite; ``ATTNPROTO_FUZZ_EXAMPLES=100000`` runs each test that often,
for an hour or more.
"""

from __future__ import annotations

import os

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto.kernels.flash import flash_attention
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.linear import linear_attention
from attnproto.kernels.paged import paged_attention
from attnproto.reference.linear import linear_attention_recurrent
from attnproto.reference.softmax import softmax_attention
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.attention_limits import (
    assert_same_with_nan,
    attention_of_seen_keys,
    divide_into_pages,
)

EXAMPLES = int(os.environ.get("ATTNPROTO_FUZZ_EXAMPLES", "20"))
TYPES = (np.float16, np.float32, ml_dtypes.bfloat16)
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="ATTNPROTO_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


@st.composite
def tensors(draw, heads=True):
    """q, k and v whose scores are exact in FP32 at every magnitude, so that only softmax errs."""
    dtype, d = draw(st.sampled_from(TYPES)), draw(st.sampled_from((8, 40, 64)))
    nq, nkv = draw(st.integers(1, 90)), draw(st.integers(1, 150))
    hkv, group = (draw(st.integers(1, 2)), draw(st.integers(1, 2))) if heads else (1, 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    q = rng.integers(-4, 5, (1, hkv * group, nq, d)) * 2.0 ** draw(st.integers(-4, 3))
    k = rng.integers(-4, 5, (1, hkv, nkv, d)) * 2.0 ** draw(st.integers(-4, 3))
    v = rng.standard_normal((1, hkv, nkv, d)) * 2.0 ** draw(st.integers(-8, 8))
    return tuple(x.astype(dtype) for x in (q, k, v))


def near(actual, expected, v):
    """Within the tolerance of the type, at the size of the values."""
    rtol = {"float16": 5e-3, "float32": 1e-4, "bfloat16": 2e-2}[actual.dtype.name]
    size = float(np.abs(v.astype(np.float64)).max())
    error = np.abs(actual.astype(np.float64) - expected)
    assert (error <= rtol * (size + np.abs(expected))).all(), error.max() / size


@fuzzed
@given(tensors(), st.booleans(), st.none() | st.integers(1, 2**65), st.data())
def test_flash_attention_agrees_with_fp64(device, qkv, causal, window, data):
    q, k, v = qkv
    tile = FlashTile(
        data.draw(st.sampled_from((8, 16))), 32, q.shape[3], q.dtype.name,
        keys=data.draw(st.sampled_from(("lane", "matrix"))),
        rescale=data.draw(st.sampled_from(("grown", "threshold"))),
    )  # fmt: skip
    if window and data.draw(st.booleans()):
        window = window % 200 + 1
    options = {"causal": causal, "window": window if causal else None}
    output = flash_attention(q, k, v, tile=tile, device=device, **options)
    near(output, softmax_attention(q, k, v, **options), v)


@fuzzed
@given(tensors(heads=False), st.none() | st.integers(1, 200), st.data())
def test_what_is_not_finite_stays_behind_the_mask(device, qkv, window, data):
    q, k, _ = qkv
    q, k = (np.clip(x, -1, 1).astype(np.float32) for x in (q, k))
    v = np.random.default_rng(0).standard_normal(k.shape).astype(np.float32)
    for value in (np.nan, np.inf, -np.inf):
        place = data.draw(st.integers(0, k.shape[2] - 1)), data.draw(st.integers(0, 7))
        v[0, 0, place[0], place[1]] = value
    output = flash_attention(
        q, k, v, causal=True, window=window, tile=FlashTile(8, 32, q.shape[3], "float32"),
        device=device, scale=0.01,
    )  # fmt: skip
    scaled = (q * np.float32(0.01 * q.shape[3] ** 0.5)).astype(np.float32)
    assert_same_with_nan(output, attention_of_seen_keys(scaled, k, v, window=window))


@fuzzed
@given(tensors(), st.sampled_from((8, 16, 64)), st.booleans(), st.integers(1, 10))
def test_paged_attention_agrees_with_fp64(device, qkv, page, causal, parts):
    q, k, v = qkv
    (k_pages, table), (v_pages, _) = divide_into_pages(k, page), divide_into_pages(v, page)
    output = paged_attention(
        q, k_pages, v_pages, table, np.array([k.shape[2]], np.int32), causal=causal,
        partition=32 * parts, tile=FlashTile(8, 32, q.shape[3], q.dtype.name), device=device,
    )  # fmt: skip
    near(output, softmax_attention(q, k, v, causal=causal), v)


@fuzzed
@given(st.data())
def test_linear_attention_agrees_with_fp64(device, data):
    n, chunk = data.draw(st.integers(1, 300)), data.draw(st.sampled_from((32, 64, 256)))
    dtype = data.draw(st.sampled_from(TYPES))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    q, k, v = (rng.uniform(0.5, 1.5, (1, 1, n, 32)).astype(dtype) for _ in range(3))
    shape = data.draw(st.sampled_from(((1,), (1, 1, n), (1, 1, n, 32))))
    decay = -rng.exponential(10.0 ** data.draw(st.integers(-4, 1)), shape)
    resets = rng.random(shape) < data.draw(st.sampled_from((0.0, 0.02, 0.3)))
    decay[resets] = -(10.0 ** data.draw(st.integers(1, 38)))
    normalize = data.draw(st.booleans())
    output = linear_attention(q, k, v, decay=decay, chunk=chunk, normalize=normalize, device=device)
    expected, _ = linear_attention_recurrent(q, k, v, decay=decay, normalize=normalize)
    rtol = {"float16": 2e-3, "float32": 1e-3, "bfloat16": 8e-3}[output.dtype.name]
    np.testing.assert_allclose(output.astype(np.float64), expected, rtol, 1e-4)
