"""Where attention's numbers end: kernels under one signature, inputs at a limit, their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attnproto
import numpy as np
from attnproto.kernels import score_dispatch
from attnproto.kernels.flash import flash_attention, problem_of
from attnproto.kernels.flash_tile import FlashTile
from attnproto.kernels.linear import linear_attention
from attnproto.kernels.paged import paged_attention
from attnproto.reference.softmax import softmax_attention

from .attention import TOLERANCE, TYPES, random_qkv, worst_ratio
from .linear import check_linear, random_inputs, recurrence_fp64


def divide_into_pages(k: np.ndarray, page: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """One sequence's keys [1, H, N, D] as pages [P, H, page, D] and their table [1, P]."""
    _, h, n, d = k.shape
    count = -(-n // page)
    padded = np.full((1, h, count * page, d), np.nan, k.dtype)
    padded[:, :, :n] = k
    pages = padded.reshape(h, count, page, d).swapaxes(0, 1)
    return np.ascontiguousarray(pages), np.arange(count, dtype=np.int32)[None]


def by_flash(device: attnproto.Device, q, k, v, **options) -> np.ndarray:
    """Flash attention."""
    return flash_attention(q, k, v, device=device, **options)


def by_pages(
    device: attnproto.Device, q, k, v, *, partition=None, causal=False, scale=None
) -> np.ndarray:
    """Paged attention, in one partition unless another size is given."""
    (k_pages, table), (v_pages, _) = divide_into_pages(k), divide_into_pages(v)
    lengths = np.array([k.shape[2]], np.int32)
    tile = FlashTile(8, 32, q.shape[3], q.dtype.name)
    return paged_attention(
        q, k_pages, v_pages, table, lengths, causal=causal, scale=scale, tile=tile,
        partition=partition or 2**31, device=device,
    )  # fmt: skip


def by_parts(device: attnproto.Device, q, k, v, **options) -> np.ndarray:
    """Paged attention in partitions of 32 keys."""
    return by_pages(device, q, k, v, partition=32, **options)


def by_way(device: attnproto.Device, q, k, v, *, scale=None) -> np.ndarray:
    """Attention whose score modification is written inline."""
    problem = problem_of(q, k, v, scale=scale)
    tile = FlashTile(8, 32, q.shape[3], q.dtype.name)
    ready = score_dispatch.prepare(
        device, problem, tile, "inline", score_dispatch.Modification("scale")
    )
    return score_dispatch.run(device, ready, q, k, v)[0]


KERNELS = {"flash": by_flash, "pages": by_pages, "parts": by_parts, "way": by_way}


def query_and_keys_scoring(
    scores: Sequence[float], dtype: type = np.float32, d: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """q [1, 1, 1, d] and k whose products are ``scores``, each as one product of two floats."""
    q, k = np.zeros((1, 1, 1, d), dtype), np.zeros((1, 1, len(scores), d), dtype)
    q[..., 0], k[0, 0, :, 0] = 1.0, scores
    return q, k


def decay_with_resets(form: str, n: int, every: int, size: float, d: int = 32) -> np.ndarray:
    """Logarithms of decay per "token" or "key" of 2 heads, small but for a reset of ``size``."""
    shape = {"token": (1, 2, n), "key": (1, 2, n, d)}[form]
    logs = np.random.default_rng(0).uniform(-0.2, 0.0, shape)
    if form == "key":  # each dimension forgets at other tokens
        for i in range(d):
            logs[:, :, i % every :: every, i] = size
    else:
        logs[:, :, ::every] = size
    return logs


def attention_of_seen_keys(q, k, v, *, causal: bool = True, window: int | None = None):
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


def assert_same_with_nan(actual: np.ndarray, expected: np.ndarray) -> None:
    """NaN and infinities at the same places; the rest within bfloat16's tolerance."""
    actual = actual.astype(np.float64)
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(actual), kind(expected))
    atol, rtol = TOLERANCE["bfloat16"]
    finite = np.isfinite(expected)
    np.testing.assert_allclose(actual[finite], expected[finite], rtol, atol)


def check_window_of_any_size(device: attnproto.Device, nq: int, nkv: int, window: int) -> None:
    """A window sees what there is, however wide."""
    q, k, v = random_qkv(np.float32, nq, nkv, 8)
    options = {"causal": True, "window": window}
    output = flash_attention(q, k, v, device=device, **options)
    assert worst_ratio(output, softmax_attention(q, k, v, **options)) <= 1.0


def check_small_gates_beside_a_reset(
    device: attnproto.Device, form: str, size: float, chunk: int, every: int
) -> None:
    """Gates near 1 keep their digits in a chunk in which others are e^``size``."""
    rng = np.random.default_rng(1)
    q, k, v = (rng.uniform(0.5, 1.5, (1, 2, 256, 32)).astype(np.float32) for _ in range(3))
    decay = decay_with_resets(form, 256, every, size)
    check_linear(device, q, k, v, decay, chunk=chunk)
    check_linear(device, q, k, v, decay, chunk=chunk, normalize=True)


def check_lowest_scores(kernel: Callable[..., np.ndarray], low: float) -> None:
    """Scores of ``low`` alone weigh as any other; ``kernel`` takes q, k, v and scale."""
    q, k = query_and_keys_scoring([low] * 5)
    v = random_qkv(np.float32, 1, 5, 8)[2]
    output = kernel(q, k, v, scale=1.0)
    assert worst_ratio(output, softmax_attention(q, k, v, scale=1.0)) <= 1.0


def check_many_small_weights(
    kernel: Callable[..., np.ndarray], dtype: str, height: float, first: int
) -> None:
    """Weights below half's smallest add up; ``kernel`` takes q, k, v and scale."""
    # 4095 keys of weight exp(-17.5) = 2^-25: each less than half can hold, together 1e-4 of all.
    dtype = TYPES[dtype]
    scores = np.zeros(4096)
    scores[first] = height
    q, k = query_and_keys_scoring(scores, dtype)
    v = np.full(k.shape, 100.0, dtype)
    v[0, 0, first] = 0.0
    output = kernel(q, k, v, scale=1.0).astype(np.float64)
    expected = softmax_attention(q, k, v, scale=1.0)
    rtol = {"float16": 2e-3, "float32": 1e-4, "bfloat16": 8e-3}[np.dtype(dtype).name]
    np.testing.assert_allclose(output, expected, rtol=rtol)


def check_rescaling_keeps_small_weights(device: attnproto.Device, rescale: str) -> None:
    """A policy of rescaling keeps small weights beside large sums."""
    # Keys that grow by less than the threshold, up to its limit, before 4000 far below.
    scores = np.concatenate([np.linspace(0.0, 5.5, 96), np.full(4000, -12.0)])
    q, k = query_and_keys_scoring(scores, np.float16)
    v = np.where(np.arange(4096) < 96, 0.0, 60000.0)[None, None, :, None] * np.ones(8)
    tile = FlashTile(8, 32, 8, "float16", rescale=rescale)
    v = v.astype(np.float16)
    output = flash_attention(q, k, v, scale=1.0, tile=tile, device=device).astype(np.float64)
    np.testing.assert_allclose(output, softmax_attention(q, k, v, scale=1.0), rtol=5e-3)


def check_sum_of_rounded_weights(device: attnproto.Device, dtype: str) -> None:
    """The sum that divides is of weights as they were rounded."""
    # 512 equal weights just below the middle of two numbers of the type: all are rounded down by
    # nearly half a unit, and the output too where the sum is not.
    dtype = TYPES[dtype]
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[np.dtype(dtype).name]
    q, k = query_and_keys_scoring(np.zeros(513), dtype)
    q[...] = 1.0
    left = np.log(0.25 * (1 + 0.95 * unit))
    for i in range(4):
        k[0, 0, 1:, i] = left
        left -= float(k[0, 0, 1, i])
    output = flash_attention(q, k, np.ones_like(k), scale=1.0, device=device)
    np.testing.assert_array_equal(output.astype(np.float32), 1.0)


def check_nan_and_infinity_behind_the_mask(
    device: attnproto.Device,
    nq: int,
    nkv: int,
    options: Mapping[str, int],
    d: int,
    axes: Mapping[str, int | str],
) -> None:
    """What is not finite in k and v reaches the rows that see it and no other."""
    q, k, v = random_qkv(np.float32, nq, nkv, d)
    v[0, 0, nkv - 1, 3] = np.nan
    v[0, 0, nkv - 30, d - 1] = np.inf
    v[0, 0, 35, 0], v[0, 0, 38, 0] = -np.inf, np.inf
    k[0, 0, nkv - 2] = np.nan
    tile = FlashTile(d=d, dtype="float32", **axes)
    output = flash_attention(q, k, v, causal=True, tile=tile, device=device, **options)
    assert_same_with_nan(output, attention_of_seen_keys(q, k, v, **options))


def check_nan_behind_the_mask(
    device: attnproto.Device, place: int, dtype: str, by: Callable[..., np.ndarray]
) -> None:
    """A NaN in key ``place`` reaches the rows that see it and no other, by one of KERNELS."""
    q, k, v = random_qkv(TYPES[dtype], 40, 77, 64)
    v[0, 0, place, 5], v[0, 0, 70, 9] = np.nan, -np.inf
    assert_same_with_nan(by(device, q, k, v, causal=True), attention_of_seen_keys(q, k, v))


def check_no_token_spoiled_by_a_later_one(
    device: attnproto.Device, what: str, place: int, decay: str
) -> None:
    """A NaN in "q", "k" or "v" of a token of linear attention leaves earlier tokens alone."""
    q, k, v, logs = random_inputs(63, 32, decay=decay)
    clean = linear_attention(q, k, v, decay=logs, chunk=32, device=device)
    {"q": q, "k": k, "v": v}[what][:, :, place, 3] = np.nan
    output = linear_attention(q, k, v, decay=logs, chunk=32, device=device)
    np.testing.assert_array_equal(output[:, :, :place], clean[:, :, :place])
    spoiled = np.isnan(output[:, :, place:])
    expected = np.isnan(recurrence_fp64(q, k, v, decay=logs)[0][:, :, place:])
    np.testing.assert_array_equal(spoiled, expected)
