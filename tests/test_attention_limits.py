"""Where attention's numbers end: infinities, resets, NaN behind masks, windows, long heads."""

from __future__ import annotations

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto.errors import UnsupportedProblem
from attnproto.kernels import score_dispatch
from attnproto.kernels.flash import flash_attention
from attnproto.kernels.flash_variant import Variant
from attnproto.kernels.linear import linear_attention
from attnproto.kernels.paged import paged_attention
from attnproto.kernels.score_mod import shape_scores
from attnproto.reference.softmax import softmax_attention
from support.attention import TYPES, random_qkv, worst_ratio
from support.attention_limits import (
    KERNELS,
    by_flash,
    by_pages,
    by_parts,
    check_lowest_scores,
    check_many_small_weights,
    check_nan_and_infinity_behind_the_mask,
    check_nan_behind_the_mask,
    check_no_token_spoiled_by_a_later_one,
    check_rescaling_keeps_small_weights,
    check_small_gates_beside_a_reset,
    check_sum_of_rounded_weights,
    check_window_of_any_size,
    query_and_keys_scoring,
)
from support.linear import assert_within_tolerance, recurrence_fp64

LARGEST = float(np.finfo(np.float32).max)


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


@pytest.fixture(params=KERNELS)
def kernel(request, device):
    return lambda *tensors, **options: KERNELS[request.param](device, *tensors, **options)


# 1. Positions, windows, partitions


@pytest.mark.parametrize("window", [4, 2**30, 2**31 - 2, 2**31 - 1, 2**31, 2**63, 10**30])
@pytest.mark.parametrize(("nq", "nkv"), [(3, 1), (4, 1), (1, 4), (40, 70), (70, 40)])
def test_a_window_of_any_size_sees_what_there_is(device, nq, nkv, window):
    check_window_of_any_size(device, nq, nkv, window)


@pytest.mark.parametrize("window", [2**31 - 1, 2**31, 2**63])
def test_stored_scores_take_a_window_of_any_size(device, window):
    scores = np.ones((1, 1, 5, 3), np.float32)
    shaped = shape_scores(scores, Variant(causal=True, window=window), device=device)
    expected = shape_scores(scores, Variant(causal=True), device=device)
    np.testing.assert_array_equal(shaped, expected)
    assert np.isneginf(shaped).any()


@pytest.mark.parametrize("partition", [2**30, 2**31 - 32, 2**31, 2**40])
def test_a_partition_of_any_size_is_all_keys(device, partition):
    q, k, v = random_qkv(np.float32, 3, 70, 8)
    output = by_pages(device, q, k, v, partition=partition, causal=True)
    assert worst_ratio(output, softmax_attention(q, k, v, causal=True)) <= 1.0


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


@pytest.mark.parametrize("size", [-20.0, -100.0, -1e3, -1e5, -float(np.finfo(np.float32).max)])
@pytest.mark.parametrize("form", ["token", "key"])
@pytest.mark.parametrize(("chunk", "every"), [(64, 64), (256, 16), (32, 3)])
def test_small_gates_beside_a_reset_keep_their_digits(device, form, size, chunk, every):
    check_small_gates_beside_a_reset(device, form, size, chunk, every)


@pytest.mark.parametrize("size", [-1e4, -3e38])
def test_a_head_that_forgets_all_returns_its_own_token(device, size):
    x = np.ones((1, 2, 40, 32), np.float32)
    decay = np.array([size, -0.1])
    output = linear_attention(x, x, x, decay=decay, device=device)
    assert_within_tolerance(output, recurrence_fp64(x, x, x, decay=decay)[0])
    np.testing.assert_allclose(output[0, 0], 32**0.5, rtol=1e-6)


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
    check_lowest_scores(kernel, low)


@pytest.mark.parametrize("high", [-3e38, -1e31, 0.0, 3e38])
def test_a_score_above_the_lowest_takes_all(kernel, high):
    q, k = query_and_keys_scoring([-LARGEST] * 40 + [high] + [-LARGEST] * 40)
    v = random_qkv(np.float32, 1, 81, 8)[2]
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
    q, k = query_and_keys_scoring(scores, dtype)
    v = random_qkv(dtype, 1, 70, 8)[2]
    expected = v[0, 0, np.isfinite(scores)].astype(np.float64).mean(axis=0)
    assert worst_ratio(kernel(q, k, v, scale=1.0), expected) <= 1.0
    k[..., 0] = -np.inf
    np.testing.assert_array_equal(kernel(q, k, v, scale=1.0).astype(np.float32), 0.0)


def test_a_product_that_overflows_downwards_weighs_nothing(kernel):
    q, k, v = random_qkv(np.float32, 1, 40, 8)
    q[...], k[...] = 1e30, 0.0
    k[:, :, ::2] = -1e30
    expected = v[:, :, 1::2].mean(axis=2, keepdims=True)
    assert worst_ratio(kernel(q, k, v), expected) <= 1.0


@pytest.mark.parametrize("place", [0, 33, 69])
def test_a_score_of_plus_infinity_makes_its_row_nan(kernel, place):
    q, k = query_and_keys_scoring([0.0] * 70)
    k[0, 0, place, 0] = np.inf
    assert np.isnan(kernel(q, k, np.ones_like(k), scale=1.0)).all()


# 4. Small weights


@pytest.mark.parametrize("first", [0, 2048, 4095])
@pytest.mark.parametrize("height", [10.0, 14.0, 17.5])
@pytest.mark.parametrize("dtype", TYPES)
def test_many_small_weights_add_up(kernel, dtype, height, first):
    check_many_small_weights(kernel, dtype, height, first)


@pytest.mark.parametrize("rescale", ["always", "grown", "threshold"])
def test_every_policy_keeps_small_weights_and_large_sums(device, rescale):
    check_rescaling_keeps_small_weights(device, rescale)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_the_sum_is_of_what_was_rounded(device, dtype):
    check_sum_of_rounded_weights(device, dtype)


# 5. What a row cannot see


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
    check_nan_and_infinity_behind_the_mask(device, nq, nkv, options, d, axes)


@pytest.mark.parametrize("by", [by_flash, by_pages, by_parts])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("place", [0, 6, 31, 40, 76])
def test_every_type_and_source_of_keys_keeps_nan_behind_the_mask(device, place, dtype, by):
    check_nan_behind_the_mask(device, place, dtype, by)


@pytest.mark.parametrize("decay", ["none", "token", "key"])
@pytest.mark.parametrize("place", [0, 5, 32, 39, 62])
@pytest.mark.parametrize("what", ["q", "k", "v"])
def test_no_token_of_linear_attention_is_spoiled_by_a_later_one(device, what, place, decay):
    check_no_token_spoiled_by_a_later_one(device, what, place, decay)


# 6. Heads of 512


@pytest.mark.parametrize("dtype", TYPES)
def test_heads_of_512_agree_with_fp64(device, dtype):
    q, k, v = random_qkv(TYPES[dtype], 20, 45, 512, hq=2)
    output = flash_attention(q, k, v, causal=True, device=device)
    assert worst_ratio(output, softmax_attention(q, k, v, causal=True)) <= 1.0


def test_decoding_with_heads_of_512_agrees_with_fp64(device):
    q, k, v = random_qkv(np.float32, 1, 77, 512)
    assert worst_ratio(by_parts(device, q, k, v), softmax_attention(q, k, v)) <= 1.0
