"""Where attention's numbers end: infinities, resets, NaN behind masks, windows, long heads."""

from __future__ import annotations

import attnproto
import ml_dtypes
import numpy as np
import pytest
import test_linear
from attnproto.errors import UnsupportedProblem
from attnproto.kernels import score_dispatch
from attnproto.kernels.flash import flash_attention, problem_of
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.flash_variant import Variant
from attnproto.kernels.linear import linear_attention
from attnproto.kernels.paged import paged_attention
from attnproto.kernels.score_mod import shape_scores
from attnproto.reference.softmax import softmax_attention
from test_flash import TOLERANCE, tensors, worst_ratio

TYPES = {"f16": np.float16, "f32": np.float32, "bf16": ml_dtypes.bfloat16}
LARGEST = float(np.finfo(np.float32).max)


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


def in_pages(k, page=8):
    """One sequence's keys [1, H, N, D] as pages and their table."""
    _, h, n, d = k.shape
    count = -(-n // page)
    padded = np.full((1, h, count * page, d), np.nan, k.dtype)
    padded[:, :, :n] = k
    pages = padded.reshape(h, count, page, d).swapaxes(0, 1)
    return np.ascontiguousarray(pages), np.arange(count, dtype=np.int32)[None]


def by_flash(device, q, k, v, **options):
    return flash_attention(q, k, v, device=device, **options)


def by_pages(device, q, k, v, *, partition=None, causal=False, scale=None):
    (k_pages, table), (v_pages, _) = in_pages(k), in_pages(v)
    lengths = np.array([k.shape[2]], np.int32)
    tile = FlashTile(8, 32, q.shape[3], q.dtype.name)
    return paged_attention(
        q, k_pages, v_pages, table, lengths, causal=causal, scale=scale, tile=tile,
        partition=partition or 2**31, device=device,
    )  # fmt: skip


def by_parts(device, q, k, v, **options):
    return by_pages(device, q, k, v, partition=32, **options)


def by_way(device, q, k, v, *, scale=None):
    problem = problem_of(q, k, v, scale=scale)
    tile = FlashTile(8, 32, q.shape[3], q.dtype.name)
    ready = score_dispatch.prepare(
        device, problem, tile, "inline", score_dispatch.Modification("scale")
    )
    return score_dispatch.run(device, ready, q, k, v)[0]


KERNELS = {"flash": by_flash, "pages": by_pages, "parts": by_parts, "way": by_way}


@pytest.fixture(params=KERNELS)
def kernel(request, device):
    return lambda *tensors, **options: KERNELS[request.param](device, *tensors, **options)


def scoring(scores, dtype=np.float32, d=8):
    """q [1, 1, 1, d] and k whose products are ``scores``, each as one product of two floats."""
    q, k = np.zeros((1, 1, 1, d), dtype), np.zeros((1, 1, len(scores), d), dtype)
    q[..., 0], k[0, 0, :, 0] = 1.0, scores
    return q, k


# 1. Positions, windows, partitions


@pytest.mark.parametrize("window", [4, 2**30, 2**31 - 2, 2**31 - 1, 2**31, 2**63, 10**30])
@pytest.mark.parametrize(("nq", "nkv"), [(3, 1), (4, 1), (1, 4), (40, 70), (70, 40)])
def test_a_window_of_any_size_sees_what_there_is(device, nq, nkv, window):
    q, k, v = tensors(np.float32, nq, nkv, 8)
    options = {"causal": True, "window": window}
    found = flash_attention(q, k, v, device=device, **options)
    assert worst_ratio(found, softmax_attention(q, k, v, **options)) <= 1.0


@pytest.mark.parametrize("window", [2**31 - 1, 2**31, 2**63])
def test_stored_scores_take_a_window_of_any_size(device, window):
    scores = np.ones((1, 1, 5, 3), np.float32)
    found = shape_scores(scores, Variant(causal=True, window=window), device=device)
    expected = shape_scores(scores, Variant(causal=True), device=device)
    np.testing.assert_array_equal(found, expected)
    assert np.isneginf(found).any()


@pytest.mark.parametrize("partition", [2**30, 2**31 - 32, 2**31, 2**40])
def test_a_partition_of_any_size_is_all_keys(device, partition):
    q, k, v = tensors(np.float32, 3, 70, 8)
    found = by_pages(device, q, k, v, partition=partition, causal=True)
    assert worst_ratio(found, softmax_attention(q, k, v, causal=True)) <= 1.0


def many(n, d=32):
    return np.broadcast_to(np.zeros((1, 1, 1, d), np.float16), (1, 1, n, d))


def test_more_tokens_than_positions_can_count_are_refused(device):
    few, lots = many(1), many(2**30 + 1)
    pages, table = np.zeros((1, 1, 128, 32), np.float16), np.zeros((1, 2**23 + 1), np.int32)
    for call in (
        lambda: flash_attention(lots, few, few, device=device),
        lambda: flash_attention(few, lots, lots, device=device),
        lambda: linear_attention(lots, lots, lots, device=device),
        lambda: paged_attention(
            few, pages, pages, table, np.array([2**30 + 1], np.int32), device=device
        ),
    ):
        with pytest.raises(UnsupportedProblem, match=r"needs at most 1073741824; divide the seq"):
            call()


@pytest.mark.parametrize("window", [0, -1, 2**24 + 1, 1.5])
def test_a_modification_refuses_a_window_that_its_number_does_not_hold(window):
    with pytest.raises(UnsupportedProblem, match="needs a whole number from 1 to 16777216"):
        score_dispatch.Modification("window", window=window)


# 2. Resets of linear attention


def resets(form, n, every, size, small=-0.1, b=1, h=2, d=32):
    shape = {"token": (b, h, n), "key": (b, h, n, d)}[form]
    logs = np.random.default_rng(0).uniform(2 * small, 0.0, shape)
    if form == "key":  # each dimension forgets at other tokens
        for i in range(d):
            logs[:, :, i % every :: every, i] = size
    else:
        logs[:, :, ::every] = size
    return logs


@pytest.mark.parametrize("size", [-20.0, -100.0, -1e3, -1e5, -float(np.finfo(np.float32).max)])
@pytest.mark.parametrize("form", ["token", "key"])
@pytest.mark.parametrize(("chunk", "every"), [(64, 64), (256, 16), (32, 3)])
def test_small_gates_beside_a_reset_keep_their_digits(device, form, size, chunk, every):
    rng = np.random.default_rng(1)
    q, k, v = (rng.uniform(0.5, 1.5, (1, 2, 256, 32)).astype(np.float32) for _ in range(3))
    decay = resets(form, 256, every, size)
    test_linear.check(device, q, k, v, decay, chunk=chunk)
    test_linear.check(device, q, k, v, decay, chunk=chunk, normalize=True)


@pytest.mark.parametrize("size", [-1e4, -3e38])
def test_a_head_that_forgets_all_returns_its_own_token(device, size):
    x = np.ones((1, 2, 40, 32), np.float32)
    decay = np.array([size, -0.1])
    found = linear_attention(x, x, x, decay=decay, device=device)
    test_linear.close(found, test_linear.by_token(x, x, x, decay=decay)[0])
    np.testing.assert_allclose(found[0, 0], 32**0.5, rtol=1e-6)


@pytest.mark.parametrize("value", [-1e39, 1e39, -np.inf, np.nan])
def test_a_decay_that_no_float32_holds_is_refused(device, value):
    x = np.ones((1, 1, 5, 32), np.float32)
    decay = np.zeros((1, 1, 5))
    decay[..., 2] = value
    with pytest.raises(UnsupportedProblem, match="not finite float32 numbers"):
        linear_attention(x, x, x, decay=decay, device=device)


# 3. Scores of any size


@pytest.mark.parametrize("low", [-1e29, -1e31, -1e37, -2e38, -LARGEST])
def test_the_lowest_finite_scores_weigh_as_any_other(kernel, low):
    q, k = scoring([low] * 5)
    v = tensors(np.float32, 1, 5, 8)[2]
    found = kernel(q, k, v, scale=1.0)
    assert worst_ratio(found, softmax_attention(q, k, v, scale=1.0)) <= 1.0


@pytest.mark.parametrize("high", [-3e38, -1e31, 0.0, 3e38])
def test_a_score_above_the_lowest_takes_all(kernel, high):
    q, k = scoring([-LARGEST] * 40 + [high] + [-LARGEST] * 40)
    v = tensors(np.float32, 1, 81, 8)[2]
    np.testing.assert_allclose(kernel(q, k, v, scale=1.0)[0, 0, 0], v[0, 0, 40], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=["f32", "bf16"])
def test_products_of_large_factors_are_finite_scores(kernel, dtype):
    q, k, v = (np.ones((1, 1, 1, 8), dtype) for _ in range(3))
    q, k = q * dtype(4e14), k * dtype(-4e14)
    np.testing.assert_array_equal(kernel(q, k, v).astype(np.float32), 1.0)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_score_of_minus_infinity_weighs_nothing(kernel, dtype):
    dtype = TYPES[dtype]
    scores = np.where(np.arange(70) % 3 == 0, -np.inf, 0.5)
    q, k = scoring(scores, dtype)
    v = tensors(dtype, 1, 70, 8)[2]
    expected = v[0, 0, np.isfinite(scores)].astype(np.float64).mean(axis=0)
    assert worst_ratio(kernel(q, k, v, scale=1.0), expected) <= 1.0
    k[..., 0] = -np.inf
    np.testing.assert_array_equal(kernel(q, k, v, scale=1.0).astype(np.float32), 0.0)


def test_a_product_that_overflows_downwards_weighs_nothing(kernel):
    q, k, v = tensors(np.float32, 1, 40, 8)
    q[...], k[...] = 1e30, 0.0
    k[:, :, ::2] = -1e30
    expected = v[:, :, 1::2].mean(axis=2, keepdims=True)
    assert worst_ratio(kernel(q, k, v), expected) <= 1.0


@pytest.mark.parametrize("place", [0, 33, 69])
def test_a_score_of_plus_infinity_makes_its_row_nan(kernel, place):
    q, k = scoring([0.0] * 70)
    k[0, 0, place, 0] = np.inf
    assert np.isnan(kernel(q, k, np.ones_like(k), scale=1.0)).all()


# 4. Small weights


@pytest.mark.parametrize("first", [0, 2048, 4095])
@pytest.mark.parametrize("height", [10.0, 14.0, 17.5])
@pytest.mark.parametrize("dtype", TYPES)
def test_many_small_weights_add_up(kernel, dtype, height, first):
    # 4095 keys of weight exp(-17.5) = 2^-25: each less than half can hold, together 1e-4 of all.
    dtype = TYPES[dtype]
    scores = np.zeros(4096)
    scores[first] = height
    q, k = scoring(scores, dtype)
    v = np.full(k.shape, 100.0, dtype)
    v[0, 0, first] = 0.0
    found = kernel(q, k, v, scale=1.0).astype(np.float64)
    expected = softmax_attention(q, k, v, scale=1.0)
    rtol = {"float16": 2e-3, "float32": 1e-4, "bfloat16": 8e-3}[np.dtype(dtype).name]
    np.testing.assert_allclose(found, expected, rtol=rtol)


@pytest.mark.parametrize("rescale", ["always", "grown", "threshold"])
def test_every_policy_keeps_small_weights_and_large_sums(device, rescale):
    # Keys that grow by less than the threshold, up to its limit, before 4000 far below.
    scores = np.concatenate([np.linspace(0.0, 5.5, 96), np.full(4000, -12.0)])
    q, k = scoring(scores, np.float16)
    v = np.where(np.arange(4096) < 96, 0.0, 60000.0)[None, None, :, None] * np.ones(8)
    tile = FlashTile(8, 32, 8, "float16", rescale=rescale)
    v = v.astype(np.float16)
    found = flash_attention(q, k, v, scale=1.0, tile=tile, device=device).astype(np.float64)
    np.testing.assert_allclose(found, softmax_attention(q, k, v, scale=1.0), rtol=5e-3)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_the_sum_is_of_what_was_rounded(device, dtype):
    # 512 equal weights just below the middle of two numbers of the type: all are rounded down by
    # nearly half a unit, and the output too where the sum is not.
    dtype = TYPES[dtype]
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[np.dtype(dtype).name]
    q, k = scoring(np.zeros(513), dtype)
    q[...] = 1.0
    left = np.log(0.25 * (1 + 0.95 * unit))
    for i in range(4):
        k[0, 0, 1:, i] = left
        left -= float(k[0, 0, 1, i])
    found = flash_attention(q, k, np.ones_like(k), scale=1.0, device=device)
    np.testing.assert_array_equal(found.astype(np.float32), 1.0)


# 5. What a row cannot see


def seen_apart(q, k, v, *, causal=True, window=None):
    """FP64, each row from the keys that it sees alone."""
    nq, nkv = q.shape[2], k.shape[2]
    out = np.zeros(q.shape)
    for row in range(nq):
        at = row + nkv - nq
        keys = slice(max(0, at - window + 1) if window else 0, max(0, at + 1 if causal else nkv))
        if keys.stop > keys.start:
            parts = (q[:, :, row : row + 1], k[:, :, keys], v[:, :, keys])
            with np.errstate(invalid="ignore"):
                out[:, :, row] = softmax_attention(*parts)[:, :, 0]
    return out


def same_with_nan(found, expected):
    found = found.astype(np.float64)
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(found), kind(expected))
    atol, rtol = TOLERANCE["bfloat16"]
    finite = np.isfinite(expected)
    np.testing.assert_allclose(found[finite], expected[finite], rtol, atol)


AXES = [
    dict(br=8, bc=32),
    dict(br=32, bc=64),
    dict(br=16, bc=80, rows=16),
    dict(br=16, bc=32, keys="matrix"),
    dict(br=32, bc=32, keys="staged16"),
    dict(br=32, bc=32, keys="staged8", rows=16),
]


@pytest.mark.parametrize("axes", AXES, ids=["-".join(map(str, a.values())) for a in AXES])
@pytest.mark.parametrize("d", [40, 64])
@pytest.mark.parametrize("options", [{}, {"window": 20}], ids=["causal", "window"])
@pytest.mark.parametrize(("nq", "nkv"), [(77, 77), (64, 64), (45, 77)])
def test_nan_and_infinity_stay_behind_the_mask(device, nq, nkv, options, d, axes):
    q, k, v = tensors(np.float32, nq, nkv, d)
    v[0, 0, nkv - 1, 3] = np.nan
    v[0, 0, nkv - 30, d - 1] = np.inf
    v[0, 0, 35, 0], v[0, 0, 38, 0] = -np.inf, np.inf
    k[0, 0, nkv - 2] = np.nan
    tile = FlashTile(d=d, dtype="float32", **axes)
    found = flash_attention(q, k, v, causal=True, tile=tile, device=device, **options)
    same_with_nan(found, seen_apart(q, k, v, **options))


@pytest.mark.parametrize("by", [by_flash, by_pages, by_parts])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("place", [0, 6, 31, 40, 76])
def test_every_type_and_source_of_keys_keeps_nan_behind_the_mask(device, place, dtype, by):
    q, k, v = tensors(TYPES[dtype], 40, 77, 64)
    v[0, 0, place, 5], v[0, 0, 70, 9] = np.nan, -np.inf
    same_with_nan(by(device, q, k, v, causal=True), seen_apart(q, k, v))


@pytest.mark.parametrize("decay", ["none", "token", "key"])
@pytest.mark.parametrize("place", [0, 5, 32, 39, 62])
@pytest.mark.parametrize("what", ["q", "k", "v"])
def test_no_token_of_linear_attention_is_spoiled_by_a_later_one(device, what, place, decay):
    q, k, v, logs = test_linear.tensors(63, 32, decay=decay)
    clean = linear_attention(q, k, v, decay=logs, chunk=32, device=device)
    {"q": q, "k": k, "v": v}[what][:, :, place, 3] = np.nan
    found = linear_attention(q, k, v, decay=logs, chunk=32, device=device)
    np.testing.assert_array_equal(found[:, :, :place], clean[:, :, :place])
    spoiled = np.isnan(found[:, :, place:])
    expected = np.isnan(test_linear.by_token(q, k, v, decay=logs)[0][:, :, place:])
    np.testing.assert_array_equal(spoiled, expected)


# 6. Heads of 512


@pytest.mark.parametrize("dtype", TYPES)
def test_heads_of_512_agree_with_fp64(device, dtype):
    q, k, v = tensors(TYPES[dtype], 20, 45, 512, hq=2)
    found = flash_attention(q, k, v, causal=True, device=device)
    assert worst_ratio(found, softmax_attention(q, k, v, causal=True)) <= 1.0


def test_decoding_with_heads_of_512_agrees_with_fp64(device):
    q, k, v = tensors(np.float32, 1, 77, 512)
    assert worst_ratio(by_parts(device, q, k, v), softmax_attention(q, k, v)) <= 1.0
